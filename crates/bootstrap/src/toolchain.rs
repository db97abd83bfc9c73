//! The toolchain repository: `build/toolchain_rpms/{x86_64,noarch}/*.rpm`, published as a whole.
//!
//! On disk: `toolchain_rpms/` and beside it `toolchain.json`, which says what the directory was made from and
//! what it holds. The state is written after the directory, so a crash between the two costs a repetition and
//! never a wrong repository. One bootstrap at a time works in a build directory (`bootstrap.lock`).

use crate::apt::Indexes;
use crate::base::{BaseNote, BaseSource, DebianBase};
use crate::configuration::Configuration;
use crate::error::BootstrapError;
use crate::files;
use crate::progress::{Event, Reporter};
use rayon::prelude::*;
use rpm_model::ContentDigest;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One RPM of the toolchain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ToolchainPackage {
    /// Path relative to the toolchain directory.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: ContentDigest,
    /// Size of the file in bytes.
    pub size: u64,
}

/// A published toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The directory of RPMs.
    pub directory: PathBuf,
    /// Hash of all that decides the packages: lists, names, macros, the base and its packages.
    pub content: ContentDigest,
    /// Its packages, sorted by path.
    pub packages: Vec<ToolchainPackage>,
    /// False when it was up to date.
    pub was_made: bool,
    /// What the base did not give; empty when it was up to date.
    pub notes: Vec<BaseNote>,
}

/// `toolchain.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    schema: u32,
    /// Hash of everything but the base's packages: lists, names, macros, addresses.
    inputs: ContentDigest,
    /// Hash of `inputs` and the base's packages.
    content: ContentDigest,
    packages: Vec<ToolchainPackage>,
}

impl State {
    const SCHEMA: u32 = 2;
}

/// Makes the toolchain of `configuration` from Debian in `build_directory`, or finds that it is there.
///
/// # Errors
/// As [`make_toolchain_from`].
pub fn make_toolchain(
    build_directory: &Path,
    configuration: &Configuration,
    indexes: Indexes,
    reporter: &dyn Reporter,
) -> Result<Toolchain, BootstrapError> {
    let base = DebianBase::new(configuration, &build_directory.join("apt"))?;
    make_toolchain_from(build_directory, &base, indexes, reporter)
}

/// Makes the toolchain of a base in `build_directory`, or finds that it is there.
///
/// With [`Indexes::Keep`] and unchanged inputs no process is started and nothing is fetched; with
/// [`Indexes::Refresh`] the base is asked for newer packages, and the RPMs are made anew only when there are any.
///
/// # Errors
/// Whatever fetching, bridging and writing can fail with; the published directory is then unchanged.
/// [`BootstrapError::Busy`] when another bootstrap works in the directory.
pub fn make_toolchain_from(
    build_directory: &Path,
    base: &dyn BaseSource,
    indexes: Indexes,
    reporter: &dyn Reporter,
) -> Result<Toolchain, BootstrapError> {
    std::fs::create_dir_all(build_directory).map_err(BootstrapError::file("create", build_directory))?;
    let _lock = files::lock_build_directory(build_directory)?;
    let build_directory =
        &build_directory.canonicalize().map_err(BootstrapError::file("resolve", build_directory))?;
    let place = Place::new(build_directory);
    let inputs = base.inputs();
    let state = place.read_state().filter(|state| place.holds(&state.packages));
    let up_to_date = |state: State| {
        reporter.report(Event::UpToDate { what: "toolchain" });
        Ok(place.toolchain(state, false, Vec::new()))
    };
    if let Some(state) = state.as_ref()
        && indexes == Indexes::Keep
        && state.inputs == *inputs
    {
        return up_to_date(state.clone());
    }
    let selection = base.select(indexes, reporter)?;
    let content = selection.content();
    if let Some(state) = state
        && state.content == content
    {
        return up_to_date(state);
    }
    let staging = files::staging_directory(build_directory)?;
    let made = staging.path().join("rpms");
    let notes = selection.write(&made, reporter)?;
    let packages = list_packages(&made)?;
    let state = State { schema: State::SCHEMA, inputs: inputs.clone(), content, packages };
    files::exchange_directory(&made, &place.directory)?;
    place.write_state(&state)?;
    reporter.report(Event::Published { packages: state.packages.len() });
    Ok(place.toolchain(state, true, notes))
}

/// Returns the toolchain of `configuration` in `build_directory` where it is there and up to date. Makes nothing and
/// waits for nobody.
///
/// # Errors
/// What is wrong with the configuration.
pub fn present_toolchain(
    build_directory: &Path,
    configuration: &Configuration,
) -> Result<Option<Toolchain>, BootstrapError> {
    let base = DebianBase::new(configuration, &build_directory.join("apt"))?;
    let Ok(build_directory) = build_directory.canonicalize() else { return Ok(None) };
    let place = Place::new(&build_directory);
    let state = place.read_state().filter(|state| state.inputs == *base.inputs());
    let state = state.filter(|state| place.holds(&state.packages));
    Ok(state.map(|state| place.toolchain(state, false, Vec::new())))
}

/// Returns the packages in the directories of all architectures, sorted by path.
fn list_packages(directory: &Path) -> Result<Vec<ToolchainPackage>, BootstrapError> {
    let mut paths = Vec::new();
    for entry in walkdir::WalkDir::new(directory).min_depth(2).max_depth(2) {
        let entry = entry.map_err(|error| BootstrapError::file("read", directory)(error.into()))?;
        let below = entry.path().strip_prefix(directory).unwrap_or(entry.path());
        paths.push(below.to_string_lossy().into_owned());
    }
    paths.sort();
    paths
        .into_par_iter()
        .map(|path| {
            let file = directory.join(&path);
            let size = std::fs::metadata(&file).map_err(BootstrapError::file("read", &file))?.len();
            Ok(ToolchainPackage { sha256: files::hash(&file)?, size, path })
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
        files::write_atomically(&self.state, &files::to_json(state))
    }

    /// Returns true when every package is there with its size. Published RPMs are never written again, so a
    /// file of the right name and size is the right one; whoever reads it checks its digests.
    fn holds(&self, packages: &[ToolchainPackage]) -> bool {
        packages.iter().all(|package| {
            std::fs::metadata(self.directory.join(&package.path))
                .is_ok_and(|found| found.len() == package.size)
        })
    }

    fn toolchain(&self, state: State, was_made: bool, notes: Vec<BaseNote>) -> Toolchain {
        let State { content, packages, .. } = state;
        Toolchain { directory: self.directory.clone(), content, packages, was_made, notes }
    }
}
