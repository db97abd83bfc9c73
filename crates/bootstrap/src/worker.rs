//! The worker: the frozen set of packages that every build root starts from, and rpm's database of them.
//!
//! On disk: `worker/worker.json` (a [`WorkerManifest`]), `worker/rpmdb/` with `/var/lib/rpm` as rpm itself made
//! it, and `worker/inputs`, written last, which says what both were made from. A worker is made anew only when
//! the core list or the toolchain changes; its generation then changes, and with it every build root's lock.

use crate::configuration::Configuration;
use crate::error::BootstrapError;
use crate::files::{exchange_directory, lock_build_directory, staging_directory, to_json, write_atomically};
use crate::progress::{Event, Reporter};
use crate::toolchain::Toolchain;
use buildroot::{
    BindMount, Capabilities, Layer, LayerRequest, LayerStore, Sandbox, SandboxSpec, SetuidPolicy,
};
use repository::{PackageDirectory, SolveRequest, Solver};
use rpm_model::{ContentHasher, Dependency, LockedPackage, PackageOrigin, Requirement, WorkerManifest};
use std::path::{Path, PathBuf};

/// A number that changes whenever equal packages would become a different worker.
const WORKER_VERSION: u32 = 1;

/// The layer store of a build directory, which builds use too.
pub(crate) const LAYER_DIRECTORY: &str = "cache/layers";

/// The architecture that is bridged and built for.
const ARCH: &str = "x86_64";

/// rpm records when it installed a package; the time is fixed so that equal workers are equal.
const INSTALL_TIME: &str = "1700000000";

/// A worker on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The manifest's file.
    pub path: PathBuf,
    /// The manifest.
    pub manifest: WorkerManifest,
    /// False when it was up to date.
    pub was_made: bool,
}

/// Makes the worker of a toolchain in `build_directory/worker`, or finds that it is there.
///
/// # Errors
/// [`BootstrapError::Unresolved`] when the core list cannot be satisfied; what reading packages, unpacking them
/// and running the worker's rpm can fail with; [`BootstrapError::Busy`] when another bootstrap works there.
pub fn make_worker(
    build_directory: &Path,
    configuration: &Configuration,
    toolchain: &Toolchain,
    reporter: &dyn Reporter,
) -> Result<Worker, BootstrapError> {
    let directory = build_directory.join("worker");
    std::fs::create_dir_all(&directory).map_err(BootstrapError::file("create", &directory))?;
    // Absolute from here on: the paths go into the manifest and into sandboxes.
    let directory = directory.canonicalize().map_err(BootstrapError::file("resolve", &directory))?;
    let build_directory = directory.parent().unwrap_or(build_directory);
    let _lock = lock_build_directory(build_directory)?;
    let inputs = inputs_hash(configuration, toolchain);
    if let Some(worker) = read_worker(&directory, &inputs) {
        reporter.report(Event::UpToDate { what: "worker" });
        return Ok(worker);
    }
    let core = core_set(configuration, toolchain)?;
    let rpmdb = directory.join("rpmdb");
    let manifest = WorkerManifest {
        schema: WorkerManifest::SCHEMA,
        arch: ARCH.into(),
        core,
        rpmdb: rpmdb.to_string_lossy().into_owned(),
    };
    let staging = staging_directory(&directory)?;
    let packages = manifest.core.packages();
    reporter.report(Event::Unpacking { packages: packages.len() });
    let layers = core_layers(&build_directory.join(LAYER_DIRECTORY), packages)?;
    reporter.report(Event::MakingDatabase);
    make_database(packages, &toolchain.directory, directories(&layers), staging.path())?;
    drop_transient_files(staging.path())?;
    exchange_directory(staging.path(), &rpmdb)?;
    let path = directory.join("worker.json");
    write_atomically(&path, &to_json(&manifest))?;
    write_atomically(&directory.join("inputs"), &inputs)?;
    reporter.report(Event::WorkerMade { packages: manifest.core.packages().len() });
    Ok(Worker { path, manifest, was_made: true })
}

/// Returns the worker of a toolchain in `build_directory/worker` where it is there and up to date. Makes nothing and
/// waits for nobody.
pub fn present_worker(
    build_directory: &Path,
    configuration: &Configuration,
    toolchain: &Toolchain,
) -> Option<Worker> {
    let directory = build_directory.join("worker").canonicalize().ok()?;
    read_worker(&directory, &inputs_hash(configuration, toolchain))
}

fn inputs_hash(configuration: &Configuration, toolchain: &Toolchain) -> String {
    let mut hasher = ContentHasher::new("worker-inputs", WORKER_VERSION);
    hasher.list("core", &configuration.core);
    hasher.field("toolchain", toolchain.content.as_str());
    hasher.field("directory", &toolchain.directory.to_string_lossy());
    hasher.finish().as_str().to_owned()
}

/// Returns the worker in a directory when it was made from these inputs and is complete.
fn read_worker(directory: &Path, inputs: &str) -> Option<Worker> {
    let path = directory.join("worker.json");
    let is_current = std::fs::read_to_string(directory.join("inputs")).is_ok_and(|text| text == inputs);
    let text = std::fs::read_to_string(&path).ok().filter(|_| is_current)?;
    let manifest: WorkerManifest = serde_json::from_str(&text).ok()?;
    let is_complete = manifest.schema == WorkerManifest::SCHEMA && Path::new(&manifest.rpmdb).is_dir();
    is_complete.then_some(Worker { path, manifest, was_made: false })
}

/// Resolves the core list over the toolchain.
fn core_set(
    configuration: &Configuration,
    toolchain: &Toolchain,
) -> Result<rpm_model::BuildrootLock, BootstrapError> {
    let directory = &toolchain.directory;
    let unreadable = |error: &repository::RepositoryError| BootstrapError::Rpm {
        path: directory.clone(),
        problem: error.to_string(),
    };
    let scan =
        PackageDirectory::new(directory, PackageOrigin::Toolchain).scan().map_err(|e| unreadable(&e))?;
    if let Some(failure) = scan.failures.first() {
        return Err(unreadable(failure));
    }
    let requirements: Vec<Requirement> =
        configuration.core.iter().map(|name| Requirement::Simple(Dependency::any(name))).collect();
    let resolved = Solver::new(&scan.packages)
        .solve(&SolveRequest::new(ARCH, &requirements))
        .map_err(|explanation| BootstrapError::Unresolved { explanation: explanation.to_string() })?;
    Ok(resolved.to_lock())
}

/// Returns the unpacked packages, `filesystem` topmost: its directories' owners and modes are the right ones.
/// They are there as long as the values are kept.
pub(crate) fn core_layers(store: &Path, packages: &[LockedPackage]) -> Result<Vec<Layer>, BootstrapError> {
    let mut packages: Vec<&LockedPackage> = packages.iter().collect();
    packages.sort_by_key(|package| package.nevra.name != "filesystem");
    let requests: Vec<LayerRequest> = packages.into_iter().map(LayerRequest::from).collect();
    let unpack = || LayerStore::open(store, SetuidPolicy::Strip)?.ensure_all(&requests);
    unpack().map_err(|source| BootstrapError::Layers { source })
}

/// Returns where the trees of layers are.
pub(crate) fn directories(layers: &[Layer]) -> Vec<PathBuf> {
    layers.iter().map(|layer| layer.dir().to_owned()).collect()
}

/// Where the toolchain is seen inside the sandbox.
const TOOLCHAIN_INSIDE: &str = "/mnt";

/// Lets the worker's own rpm record the packages in `database`, in one transaction with all its checks of
/// dependencies and conflicts, so that a worker whose core does not hold together cannot come to be.
fn make_database(
    packages: &[LockedPackage],
    toolchain: &Path,
    layers: Vec<PathBuf>,
    database: &Path,
) -> Result<(), BootstrapError> {
    let options = ["rpm", "-i", "--justdb", "--nosignature", "--noscripts", "--notriggers"];
    let mut arguments: Vec<String> = options.map(str::to_owned).to_vec();
    for package in packages {
        let path = Path::new(&package.path);
        let below = path.strip_prefix(toolchain).unwrap_or(path);
        arguments.push(Path::new(TOOLCHAIN_INSIDE).join(below).to_string_lossy().into_owned());
    }
    let mut spec = SandboxSpec::new(layers, arguments);
    (spec.uid, spec.gid) = (0, 0);
    spec.capabilities = Capabilities::PackageTransaction;
    spec.environment.insert("SOURCE_DATE_EPOCH".into(), INSTALL_TIME.into());
    let bind = |source: &Path, target: &str, read_only: bool| BindMount {
        source: source.to_owned(),
        target: target.into(),
        read_only,
    };
    spec.binds = vec![bind(toolchain, TOOLCHAIN_INSIDE, true), bind(database, "/var/lib/rpm", false)];
    let captured = Sandbox::discover()
        .and_then(|sandbox| sandbox.capture(&spec))
        .map_err(|source| BootstrapError::Sandbox { source })?;
    if captured.outcome.is_success() {
        return Ok(());
    }
    Err(BootstrapError::Command {
        command: "rpm -i --justdb (inside the worker)".into(),
        status: captured.outcome.end.to_string(),
        message: String::from_utf8_lossy(&captured.stderr).trim_end().to_owned(),
    })
}

/// Removes rpm's lock, and sqlite's shared memory and journal: with an empty journal, as after every orderly
/// end, the database file is complete without them.
fn drop_transient_files(database: &Path) -> Result<(), BootstrapError> {
    let journal = database.join("rpmdb.sqlite-wal");
    let is_complete = std::fs::metadata(&journal).map_or(true, |found| found.len() == 0);
    for name in [".rpm.lock", "rpmdb.sqlite-shm", "rpmdb.sqlite-wal"] {
        let path = database.join(name);
        if path.exists() && (is_complete || name == ".rpm.lock") {
            std::fs::remove_file(&path).map_err(BootstrapError::file("remove", &path))?;
        }
    }
    Ok(())
}
