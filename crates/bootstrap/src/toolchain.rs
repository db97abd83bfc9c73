//! The toolchain repository: `build/toolchain_rpms/{x86_64,noarch}/*.rpm`, published as a whole.
//!
//! On disk: `toolchain_rpms/` and beside it `toolchain.json`, which says what the directory was made from and
//! what it holds. The state is written after the directory, so a crash between the two costs a repetition and
//! never a wrong repository. One bootstrap at a time works in a build directory (`toolchain.lock`).

use crate::apt::{AptRoot, Indexes};
use crate::bridge::{self, BRIDGE_VERSION, BridgeNote, DebFileReference};
use crate::configuration::Configuration;
use crate::deb::sha256_of_file;
use crate::error::BootstrapError;
use crate::generated;
use crate::progress::{Event, Reporter};
use rayon::prelude::*;
use rpm_model::{ContentDigest, ContentHasher};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One RPM of the toolchain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ToolchainPackage {
    /// Path relative to the toolchain directory.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Size of the file in bytes.
    pub size: u64,
}

/// A published toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The directory of RPMs.
    pub directory: PathBuf,
    /// Hash of all that decides the packages: lists, names, macros, the bridge, the Debian packages.
    pub content: String,
    /// Its packages, sorted by path.
    pub packages: Vec<ToolchainPackage>,
    /// False when it was up to date.
    pub was_made: bool,
    /// What was left out while bridging; empty when it was up to date.
    pub notes: Vec<BridgeNote>,
}

/// `toolchain.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    schema: u32,
    /// Hash of everything but the Debian packages: lists, names, macros, bridge.
    inputs: String,
    /// Hash of `inputs` and the Debian packages.
    content: String,
    packages: Vec<ToolchainPackage>,
}

impl State {
    const SCHEMA: u32 = 1;
}

/// Makes the toolchain of `configuration` in `build_directory`, or finds that it is there.
///
/// With [`Indexes::Keep`] and unchanged configuration no process is started; with [`Indexes::Refresh`] the
/// host's Debian sources are asked for newer packages, and the RPMs are made anew only when there are any.
///
/// # Errors
/// Whatever fetching, bridging and writing can fail with; the published directory is then unchanged.
pub fn make_toolchain(
    build_directory: &Path,
    configuration: &Configuration,
    indexes: Indexes,
    reporter: &dyn Reporter,
) -> Result<Toolchain, BootstrapError> {
    std::fs::create_dir_all(build_directory).map_err(BootstrapError::file("create", build_directory))?;
    let _lock = lock(build_directory)?;
    let build_directory =
        &build_directory.canonicalize().map_err(BootstrapError::file("resolve", build_directory))?;
    let place = Place::new(build_directory);
    let generated = generated_packages(configuration)?;
    let inputs = inputs_hash(configuration, &generated)?;
    let state = place.read_state().filter(|state| place.holds(&state.packages));
    let up_to_date = |state: State| {
        reporter.report(Event::UpToDate { what: "toolchain" });
        Ok(place.toolchain(state, false, Vec::new()))
    };
    if let Some(state) = state.as_ref()
        && indexes == Indexes::Keep
        && state.inputs == inputs
    {
        return up_to_date(state.clone());
    }
    let apt = AptRoot::prepare(&build_directory.join("apt"), indexes, reporter)?;
    let debs = fetch(&apt, &debian_names(configuration), reporter)?;
    let content = content_hash(&inputs, &debs);
    if let Some(state) = state
        && state.content == content
    {
        return up_to_date(state);
    }
    let staging = tempfile::Builder::new()
        .prefix(".toolchain-")
        .tempdir_in(build_directory)
        .map_err(BootstrapError::file("create a directory in", build_directory))?;
    let made = staging.path().join("rpms");
    let notes = bridge::bridge(&debs, &configuration.names, &made, reporter)?;
    for (package, payload) in &generated {
        bridge::write_rpm(&made, package, payload)?;
    }
    let state = State { schema: State::SCHEMA, inputs, content, packages: list_packages(&made)? };
    crate::files::exchange_directory(&made, &place.directory)?;
    place.write_state(&state)?;
    reporter.report(Event::Published { packages: state.packages.len() });
    Ok(place.toolchain(state, true, notes))
}

/// Fetches the closure; when the mirror has moved on since the indexes were fetched, fetches those again once.
fn fetch(
    apt: &AptRoot,
    names: &[String],
    reporter: &dyn Reporter,
) -> Result<Vec<DebFileReference>, BootstrapError> {
    let attempt = || {
        let closure = apt.closure(names)?;
        let files = apt.download(names, &closure, reporter)?;
        let references = closure.into_iter().zip(files);
        Ok(references.map(|(package, path)| DebFileReference { path, sha256: package.sha256 }).collect())
    };
    match attempt() {
        Err(BootstrapError::Command { .. }) => {
            apt.refresh(reporter)?;
            attempt()
        }
        result => result,
    }
}

/// Debian names of everything the lists ask for; generated packages have none.
fn debian_names(configuration: &Configuration) -> Vec<String> {
    let wanted = configuration.core.iter().chain(&configuration.extra);
    let mut names: Vec<String> = wanted
        .filter(|name| !matches!(name.as_str(), "filesystem" | "toolchain-macros"))
        .map(|name| configuration.names.deb_name(name).to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A generated package ready to be written.
type Generated = (rpm_writer::Package, rpm_writer::Payload);

fn generated_packages(configuration: &Configuration) -> Result<Vec<Generated>, BootstrapError> {
    [generated::filesystem(), generated::toolchain_macros(&configuration.macros)]
        .into_iter()
        .map(|(package, files)| match rpm_writer::Payload::pack(files) {
            Ok(payload) => Ok((package, payload)),
            Err(source) => Err(BootstrapError::Write { package: package.name, source }),
        })
        .collect()
}

fn inputs_hash(configuration: &Configuration, generated: &[Generated]) -> Result<String, BootstrapError> {
    let mut hasher = ContentHasher::new("toolchain-inputs", State::SCHEMA);
    hasher.field("bridge", &BRIDGE_VERSION.to_string());
    for (name, text) in configuration.sources() {
        hasher.field(name, text);
    }
    for (package, payload) in generated {
        let bytes = package
            .to_bytes(payload)
            .map_err(|source| BootstrapError::Write { package: package.name.clone(), source })?;
        hasher.field(&package.name, ContentDigest::of_bytes(&bytes).as_str());
    }
    Ok(hasher.finish().as_str().to_owned())
}

fn content_hash(inputs: &str, debs: &[DebFileReference]) -> String {
    let mut hasher = ContentHasher::new("toolchain-content", State::SCHEMA);
    hasher.field("inputs", inputs);
    let name =
        |deb: &DebFileReference| deb.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    hasher.list("debs", debs.iter().map(|deb| format!("{} {}", name(deb), deb.sha256)));
    hasher.finish().as_str().to_owned()
}

fn lock(build_directory: &Path) -> Result<std::fs::File, BootstrapError> {
    let path = build_directory.join("toolchain.lock");
    let file = std::fs::File::create(&path).map_err(BootstrapError::file("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(BootstrapError::Busy { directory: build_directory.to_owned() })
        }
        Err(std::fs::TryLockError::Error(error)) => Err(BootstrapError::file("lock", &path)(error)),
    }
}

fn list_packages(directory: &Path) -> Result<Vec<ToolchainPackage>, BootstrapError> {
    let mut paths = Vec::new();
    for arch in ["noarch", "x86_64"] {
        let below = directory.join(arch);
        let entries = std::fs::read_dir(&below).map_err(BootstrapError::file("read", &below))?;
        for entry in entries {
            let name = entry.map_err(BootstrapError::file("read", &below))?.file_name();
            paths.push(format!("{arch}/{}", name.to_string_lossy()));
        }
    }
    paths.sort();
    paths
        .into_par_iter()
        .map(|path| {
            let file = directory.join(&path);
            let size = std::fs::metadata(&file).map_err(BootstrapError::file("read", &file))?.len();
            Ok(ToolchainPackage { sha256: sha256_of_file(&file)?, size, path })
        })
        .collect()
}

/// The files of one build directory.
struct Place {
    directory: PathBuf,
    state: PathBuf,
}

impl Place {
    fn new(build_directory: &Path) -> Self {
        Self {
            directory: build_directory.join("toolchain_rpms"),
            state: build_directory.join("toolchain.json"),
        }
    }

    /// Returns the state, or nothing when there is none that this code understands.
    fn read_state(&self) -> Option<State> {
        let text = std::fs::read_to_string(&self.state).ok()?;
        serde_json::from_str(&text).ok().filter(|state: &State| state.schema == State::SCHEMA)
    }

    fn write_state(&self, state: &State) -> Result<(), BootstrapError> {
        crate::files::write_atomically(&self.state, &crate::files::to_json(state))
    }

    /// Returns true when every package is there with its size. Published RPMs are never written again, so a
    /// file of the right name and size is the right one; whoever reads it checks its digests.
    fn holds(&self, packages: &[ToolchainPackage]) -> bool {
        packages.iter().all(|package| {
            std::fs::metadata(self.directory.join(&package.path))
                .is_ok_and(|found| found.len() == package.size)
        })
    }

    fn toolchain(&self, state: State, was_made: bool, notes: Vec<BridgeNote>) -> Toolchain {
        let State { content, packages, .. } = state;
        Toolchain { directory: self.directory.clone(), content, packages, was_made, notes }
    }
}
