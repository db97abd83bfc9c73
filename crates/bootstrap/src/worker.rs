//! The worker: the frozen set of packages that every build root starts from, and rpm's database of them.
//!
//! On disk: `worker/worker.json` (a [`WorkerManifest`]), `worker/rpmdb/` with `/var/lib/rpm` as rpm itself made
//! it, and `worker/inputs`, written last, which says what both were made from. A worker is made anew only when
//! the core list or the toolchain changes; its generation then changes, and with it every build root's lock.

use crate::command::run;
use crate::configuration::Configuration;
use crate::error::BootstrapError;
use crate::files::{exchange_directory, to_json, write_atomically};
use crate::progress::{Event, Reporter};
use crate::toolchain::Toolchain;
use crate::tree;
use repository::{PackageDirectory, SolveRequest, Solver};
use rpm_model::{ContentHasher, Dependency, LockedPackage, PackageOrigin, Requirement, WorkerManifest};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A number that changes whenever equal packages would become a different worker.
const WORKER_VERSION: u32 = 1;

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
/// and running the worker's rpm can fail with.
pub fn make_worker(
    build_directory: &Path,
    configuration: &Configuration,
    toolchain: &Toolchain,
    reporter: &dyn Reporter,
) -> Result<Worker, BootstrapError> {
    let directory = build_directory.join("worker");
    std::fs::create_dir_all(&directory).map_err(BootstrapError::file("create", &directory))?;
    let directory = directory.canonicalize().map_err(BootstrapError::file("resolve", &directory))?;
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
    let root = staging.path().join("root");
    reporter.report(Event::Unpacking { packages: manifest.core.packages().len() });
    std::fs::create_dir(&root).map_err(BootstrapError::file("create", &root))?;
    tree::unpack(manifest.core.packages(), &root)?;
    reporter.report(Event::MakingDatabase);
    make_database(manifest.core.packages(), &root)?;
    publish_database(&root.join("var/lib/rpm"), &directory, &rpmdb)?;
    let path = directory.join("worker.json");
    write_atomically(&path, &to_json(&manifest))?;
    write_atomically(&directory.join("inputs"), &inputs)?;
    reporter.report(Event::WorkerMade { packages: manifest.core.packages().len() });
    Ok(Worker { path, manifest, was_made: true })
}

fn inputs_hash(configuration: &Configuration, toolchain: &Toolchain) -> String {
    let mut hasher = ContentHasher::new("worker-inputs", WORKER_VERSION);
    hasher.list("core", &configuration.core);
    hasher.field("toolchain", &toolchain.content);
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

/// Returns a directory for half-done work on the same file system.
fn staging_directory(directory: &Path) -> Result<tempfile::TempDir, BootstrapError> {
    tempfile::Builder::new()
        .prefix(".staging-")
        .tempdir_in(directory)
        .map_err(BootstrapError::file("create a directory in", directory))
}

/// Lets the tree's own rpm record the packages, in one transaction with all its checks of dependencies and
/// conflicts, so that a worker whose core does not hold together cannot come to be.
fn make_database(packages: &[LockedPackage], root: &Path) -> Result<(), BootstrapError> {
    let inside = root.join("tmp/packages");
    std::fs::create_dir(&inside).map_err(BootstrapError::file("create", &inside))?;
    let mut command = command_inside(root, "/usr/bin/rpm");
    command.args(["-i", "--justdb", "--nosignature", "--noscripts", "--notriggers"]);
    for package in packages {
        let source = Path::new(&package.path);
        let name = package.nevra.file_name();
        let place = inside.join(&name);
        // A link where possible; the toolchain may lie on another file system.
        if std::fs::hard_link(source, &place).is_err() {
            std::fs::copy(source, &place).map_err(BootstrapError::file("copy", source))?;
        }
        command.arg(format!("/tmp/packages/{name}"));
    }
    run(&mut command)?;
    std::fs::remove_dir_all(&inside).map_err(BootstrapError::file("remove", &inside))
}

/// Returns a command that runs a program of the tree with the tree as its root.
///
/// No mounts are needed: rpm works without `/proc` and `/dev`, and nothing else is run.
fn command_inside(root: &Path, program: &str) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("chroot")
    } else {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "chroot"]);
        command
    };
    command.arg(root).arg(program).env_clear();
    command.envs([("PATH", "/usr/bin:/usr/sbin"), ("HOME", "/root"), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC")]);
    command.env("SOURCE_DATE_EPOCH", INSTALL_TIME);
    command
}

fn publish_database(made: &Path, directory: &Path, place: &Path) -> Result<(), BootstrapError> {
    // rpm's lock, and sqlite's shared memory and journal: with an empty journal, as after every orderly end,
    // the database file is complete without them.
    let journal = made.join("rpmdb.sqlite-wal");
    let is_complete = std::fs::metadata(&journal).map_or(true, |found| found.len() == 0);
    for name in [".rpm.lock", "rpmdb.sqlite-shm", "rpmdb.sqlite-wal"] {
        let path = made.join(name);
        if path.exists() && (is_complete || name == ".rpm.lock") {
            std::fs::remove_file(&path).map_err(BootstrapError::file("remove", &path))?;
        }
    }
    let staging = staging_directory(directory)?;
    let inside = staging.path().join("rpmdb");
    std::fs::rename(made, &inside).map_err(BootstrapError::file("move", made))?;
    exchange_directory(&inside, place)
}
