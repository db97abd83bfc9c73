//! A tree of `millwright` over the Azure Linux specs in which everything was built, without a build.
//!
//! The specs are packed by `millwright`; for every package a small RPM file with what it declares and what generators
//! would add is written, and for every spec the record that acceptance would have written: identity and parts of its
//! inputs, a build root of the worker and the packages of all specs that it needs, packages with their dependencies.
//! What comes of it is what a distribution has the morning after a build of everything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use pkgworker::WORKER_SEMANTICS;
use rebuild::{IdentityFacts, InputFacts};
use rpm_model::{
    BuildReason, BuildRecord, BuildrootLock, CascadeFacts, ContentDigest, InputParts, LockedPackage,
    PackageArtifact, PackageHeader, PackageOrigin, PackagesDocument, RecordedPackage, ResourceUsage,
    SpecData, WorkerManifest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Place;
use crate::azure::{ARCH, DIST_TAG};
use crate::error::BenchError;
use crate::solver::synthetic;
use crate::specs::Prepared;
use crate::tree::{Tree, With, empty_directory};

/// What the made-up parts of packages are drawn with.
const SEED: u64 = 6;

/// The tree, and how much is in it.
pub(crate) struct History {
    pub(crate) tree: Tree,
    /// Specs that nothing blocks: the goals of a build that has nothing to do.
    pub(crate) goals: Vec<String>,
    pub(crate) packages: usize,
    /// Bytes of all records.
    pub(crate) record_bytes: u64,
}

/// What goes into every build.
struct Common {
    defines: BTreeMap<String, String>,
    macros_file: ContentDigest,
    worker: WorkerManifest,
}

impl History {
    /// Makes it; `macros` is the file of macros that every spec is read with.
    pub(crate) fn make(place: &Place, prepared: &Prepared, macros: &Path) -> Result<Self, BenchError> {
        let nothing = place.scratch.join("no-specs");
        empty_directory(&nothing)?;
        let tree = Tree::new(place, place.scratch.join("history"), &nothing, With::Toolchain)?;
        configure(&tree, prepared, macros)?;
        // A worker of the tree's own, so that it counts as made; then that distribution's in its place.
        link_layers(&tree, prepared)?;
        tree.millwright("worker", &["worker"])?;
        let worker_file = tree.path("build/worker/worker.json");
        let own: WorkerManifest = read(&worker_file)?;
        let worker = WorkerManifest { rpmdb: own.rpmdb, ..prepared.worker.manifest.clone() };
        write(&worker_file, &worker)?;
        match tree.millwright("pack", &["pack", "--quiet"]) {
            // Some specs of that tree are for other architectures: they are not packed, which is the exit code.
            Err(BenchError::Ended { status, .. }) if status.code() == Some(1) => {}
            packed => drop(packed?),
        }
        let document: PackagesDocument = read(&tree.path("build/pkg_artifacts/packages.json"))?;
        let text = fs::read(macros).map_err(BenchError::io("read", macros))?;
        let defines = [
            ("dist", DIST_TAG),
            ("azl", "3"),
            ("distro_release_version", "1.0"),
            ("distro_build_number", "0"),
        ];
        let common = Common {
            defines: defines.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            macros_file: ContentDigest::of_bytes(&text),
            worker,
        };
        let (packages, record_bytes) = write_history(&tree, &document, &common)?;
        Ok(Self { goals: unblocked(&tree)?, tree, packages, record_bytes })
    }
}

/// Writes the configuration of a distribution whose specs are those.
fn configure(tree: &Tree, prepared: &Prepared, macros: &Path) -> Result<(), BenchError> {
    let directories = ["SPECS", "SPECS-EXTENDED", "SPECS-SIGNED"].map(|name| prepared.tree.file(name));
    let directories = directories.map(|path| format!("\"{}\"", path.display())).join(", ");
    let text = format!(
        "[distribution]\ndist = \"{DIST_TAG}\"\nmacros = {{ azl = \"3\" }}\n[directories]\nspecs = [{directories}]\n\
         [sources]\nsignature-handling = \"skip\"\nupstream = false\noffline = true\n[build]\nmacros-file = \"{}\"\n",
        macros.display()
    );
    let path = tree.path("configs/millwright.toml");
    fs::write(&path, text).map_err(BenchError::io("write", &path))
}

/// Shares the layers of the prepared worker, in which the macros of the distribution are.
fn link_layers(tree: &Tree, prepared: &Prepared) -> Result<(), BenchError> {
    let path = tree.path("build/cache");
    fs::create_dir_all(&path).map_err(BenchError::io("create", &path))?;
    let path = path.join("layers");
    std::os::unix::fs::symlink(&prepared.worker.layers, &path).map_err(BenchError::io("link", &path))
}

/// Writes packages and records; returns how many packages there are and how large the records.
fn write_history(
    tree: &Tree,
    document: &PackagesDocument,
    common: &Common,
) -> Result<(usize, u64), BenchError> {
    let headers: HashMap<String, PackageHeader> = synthetic::completed(document, SEED)
        .into_iter()
        .map(|header| (header.nevra.to_string(), header))
        .collect();
    let provided: BTreeSet<&str> =
        headers.values().flat_map(|header| &header.provides).map(|one| one.name.as_str()).collect();
    let mut made: BTreeMap<&str, Vec<RecordedPackage>> = BTreeMap::new();
    for spec in &document.specs {
        let of_spec = spec.packages.iter().filter_map(|package| headers.get(&package.nevra.to_string()));
        // What cannot be a package, because a macro of another spec is not defined, was never built.
        if let Ok(packages) = of_spec.map(|header| write_package(tree, header)).collect::<Result<Vec<_>, _>>()
        {
            made.insert(&spec.name, packages);
        }
    }
    let mut bytes = 0;
    let mut count = 0;
    for spec in &document.specs {
        let srpm = tree.path(&format!("build/INTERMEDIATE_SRPMS/{ARCH}/{}", spec.source.file_name()));
        // What could not be packed was never built.
        let (Ok(content), true) = (fs::read(&srpm), made.contains_key(spec.name.as_str())) else { continue };
        let record = record(spec, &content, &made, &provided, common, &srpm)?;
        count += record.rpms.len();
        bytes += write(&tree.path(&format!("build/records/{}.json", spec.name)), &record)?;
    }
    Ok((count, bytes))
}

/// Writes one package file where acceptance would put it.
fn write_package(tree: &Tree, header: &PackageHeader) -> Result<RecordedPackage, BenchError> {
    let relative = format!("{}/{}", header.nevra.arch, header.nevra.file_name());
    let path = tree.path("out/RPMS").join(&relative);
    let content = synthetic::package_bytes(header)
        .map_err(|source| BenchError::WriteSynthetic { package: header.nevra.to_string(), source })?;
    let directory = path.parent().unwrap_or(&path);
    fs::create_dir_all(directory).map_err(BenchError::io("create", directory))?;
    fs::write(&path, &content).map_err(BenchError::io("write", &path))?;
    Ok(RecordedPackage {
        artifact: PackageArtifact {
            nevra: header.nevra.clone(),
            path: relative,
            sha256: ContentDigest::of_bytes(&content),
            size: content.len() as u64,
        },
        provides: header.provides.clone(),
        requires: header.requires.clone(),
    })
}

fn record(
    spec: &SpecData,
    srpm: &[u8],
    made: &BTreeMap<&str, Vec<RecordedPackage>>,
    provided: &BTreeSet<&str>,
    common: &Common,
    path: &Path,
) -> Result<BuildRecord, BenchError> {
    let sha256 = ContentDigest::of_bytes(srpm);
    let inputs = InputFacts {
        srpm: &sha256,
        defines: &common.defines,
        macros_file: Some(&common.macros_file),
        arch: ARCH,
        worker_semantics: WORKER_SEMANTICS,
    }
    .digest();
    let files = repository_files(path)?;
    let rpms = made[spec.name.as_str()].clone();
    let unknown = |requirement: &&rpm_model::Requirement| {
        !requirement.leaves().iter().any(|leaf| provided.contains(leaf.name.as_str()))
    };
    let required: BTreeSet<_> = rpms.iter().flat_map(|rpm| &rpm.requires).collect();
    let unmet = required.into_iter().filter(unknown).cloned().collect();
    let lock = root_of(spec, made, common);
    Ok(BuildRecord {
        schema: BuildRecord::SCHEMA,
        package: spec.name.clone(),
        source: spec.source.clone(),
        dist_counter: None,
        identity: IdentityFacts {
            inputs: &inputs,
            dist_counter: None,
            run_check: false,
            lock: &lock.digest(),
            ccache: false,
            sccache: false,
        }
        .digest(),
        inputs,
        worker: common.worker.generation(),
        lock,
        checked: false,
        reasons: vec![BuildReason::NeverBuilt],
        rpms,
        unmet,
        srpm: PackageArtifact {
            nevra: spec.source.clone(),
            path: spec.source.file_name(),
            sha256,
            size: srpm.len() as u64,
        },
        usage: ResourceUsage { wall_seconds: 60.0, ..ResourceUsage::default() },
        phases: Vec::new(),
        usage_source: None,
        check: None,
        generated: Vec::new(),
        caches: Vec::new(),
        triggers: Default::default(),
        cpus: None,
        reused: None,
        changes: Vec::new(),
        input_parts: Some(InputParts {
            files,
            defines: common.defines.clone(),
            macros_file: Some(common.macros_file.clone()),
            arch: ARCH.to_owned(),
            worker_semantics: WORKER_SEMANTICS,
        }),
        cascade: Some(CascadeFacts::default()),
    })
}

fn repository_files(srpm: &Path) -> Result<BTreeMap<String, String>, BenchError> {
    let contents = ::repository::read_contents(srpm)?;
    Ok(contents.files.into_iter().map(|file| (file.path, file.digest)).collect())
}

/// Returns a root of the worker's core and of the packages that the spec's requirements name.
fn root_of(spec: &SpecData, made: &BTreeMap<&str, Vec<RecordedPackage>>, common: &Common) -> BuildrootLock {
    let named: BTreeSet<&str> =
        spec.build_requires.iter().flat_map(|one| one.leaves()).map(|leaf| leaf.name.as_str()).collect();
    let ours = made.values().flatten().filter(|rpm| named.contains(rpm.artifact.nevra.name.as_str()));
    let locked = |rpm: &RecordedPackage| LockedPackage {
        nevra: rpm.artifact.nevra.clone(),
        sha256: rpm.artifact.sha256.clone(),
        size: rpm.artifact.size,
        path: rpm.artifact.path.clone(),
        origin: PackageOrigin::Tree,
    };
    BuildrootLock::new(common.worker.core.packages().iter().cloned().chain(ours.map(locked)).collect())
}

/// Returns the specs that the plan over this history does not block.
fn unblocked(tree: &Tree) -> Result<Vec<String>, BenchError> {
    let mut command = tree.command("millwright", &["plan", "--quiet"]);
    // Something of that tree is always blocked, which is the exit code; the document says what.
    let _ = command.status().map_err(BenchError::io("start", &tree.program("millwright")))?;
    let plan: serde_json::Value = read(&tree.path("build/pkg_artifacts/plan.json"))?;
    let packages = plan["packages"].as_array().into_iter().flatten();
    let right = packages.filter(|package| package["action"] == "up-to-date");
    Ok(right.filter_map(|package| package["package"].as_str().map(str::to_owned)).collect())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, BenchError> {
    let text = fs::read(path).map_err(BenchError::io("read", path))?;
    let document = |source| BenchError::Document { what: "document", path: path.to_owned(), source };
    serde_json::from_slice(&text).map_err(document)
}

fn write(path: &Path, document: &impl Serialize) -> Result<u64, BenchError> {
    let text = serde_json::to_vec(document).map_err(|error| BenchError::io("write", path)(error.into()))?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(BenchError::io("create", directory))?;
    }
    fs::write(path, &text).map_err(BenchError::io("write", path))?;
    Ok(text.len() as u64)
}
