//! Debian source packages: upstream's tarballs as Debian keeps them.
//!
//! A map (`configs/debian-sources.toml`) says which file of which source package and version is the file
//! that a spec names:
//!
//! ```toml
//! [sources."zlib_1.2.13.dfsg.orig.tar.bz2"]
//! package = "zlib"
//! version = "1:1.2.13.dfsg-1"
//! file = "zlib_1.2.13.dfsg.orig.tar.bz2"
//! ```
//!
//! The package comes by `apt-get source --download-only` under a private apt configuration, one process per
//! package and version, however many files are wanted from it. apt checks what it fetches against the signed
//! index; the signature file's hash decides as everywhere.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Deserialize;
use tempfile::TempDir;

use super::{Answer, Asked, FetchFailure, FileRequest, FoundFile, Place, SourceProvider};
use crate::store::{SourceStore, StoreError};

/// Which Debian source package has which source file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianSources {
    /// By the base name that specs use.
    #[serde(default)]
    pub sources: BTreeMap<String, DebianFile>,
}

/// One file of a Debian source package.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianFile {
    /// The source package's name.
    pub package: String,
    /// Its version, epoch and revision included.
    pub version: String,
    /// The file's name in the source package.
    pub file: String,
}

/// Why the map cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DebianSourcesError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The map.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It is not of the form described in the module text.
    #[error("{}: {message}", path.display())]
    Form {
        /// The map.
        path: PathBuf,
        /// What is wrong, with line and column.
        message: String,
    },
}

impl DebianSources {
    /// Reads the map.
    ///
    /// # Errors
    /// When it cannot be read or has another form.
    pub fn read(path: &Path) -> Result<Self, DebianSourcesError> {
        let text = fs::read_to_string(path)
            .map_err(|source| DebianSourcesError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|error| DebianSourcesError::Form { path: path.to_owned(), message: error.to_string() })
    }
}

/// A fetched source package, or why there is none.
type FetchedPackage = Arc<OnceLock<Result<TempDir, FetchFailure>>>;

/// Fetches source packages by apt.
#[derive(Debug)]
pub struct DebianSourceProvider {
    map: DebianSources,
    apt_config: PathBuf,
    scratch: PathBuf,
    packages: Mutex<BTreeMap<(String, String), FetchedPackage>>,
}

impl DebianSourceProvider {
    /// Returns the provider; `apt_config` is the configuration file of a private apt root whose package lists
    /// (`deb-src` included) are up to date, `scratch` a directory for what apt fetches.
    pub fn new(map: DebianSources, apt_config: &Path, scratch: &Path) -> Self {
        let (apt_config, scratch) = (apt_config.to_owned(), scratch.to_owned());
        Self { map, apt_config, scratch, packages: Mutex::default() }
    }

    fn fetch(&self, wanted: &DebianFile, request: &FileRequest<'_>, store: &SourceStore) -> Answer {
        let key = (wanted.package.clone(), wanted.version.clone());
        let slot = {
            let mut packages = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(packages.entry(key).or_default())
        };
        // Others that want the same package wait here for the one process.
        let directory = match slot.get_or_init(|| self.download(wanted)) {
            Ok(directory) => directory.path(),
            Err(reason) => return Answer::Failed { reason: reason.clone() },
        };
        let path = directory.join(&wanted.file);
        if !path.is_file() {
            let reason = FetchFailure::NoSuchFile { file: wanted.file.clone(), files: names_in(directory) };
            return Answer::Failed { reason };
        }
        match store.add_file(&path, request.required()) {
            Ok((sha256, path)) => Answer::Found(FoundFile { path, sha256 }),
            Err(StoreError::WrongHash { got, .. }) => Answer::WrongHash { got },
            Err(error) => Answer::Failed { reason: FetchFailure::local(&error) },
        }
    }

    /// Runs apt for one source package.
    fn download(&self, wanted: &DebianFile) -> Result<TempDir, FetchFailure> {
        if !self.apt_config.is_file() {
            return Err(FetchFailure::NoAptRoot { path: self.apt_config.clone() });
        }
        fs::create_dir_all(&self.scratch).map_err(|error| local("create", &self.scratch, &error))?;
        let directory =
            TempDir::new_in(&self.scratch).map_err(|error| local("write to", &self.scratch, &error))?;
        let package = format!("{}={}", wanted.package, wanted.version);
        let output = self.run(
            Command::new("apt-get")
                .args(["source", "--download-only", "--only-source", "-qq", "--", &package])
                .current_dir(directory.path()),
        )?;
        if output.status.success() {
            return Ok(directory);
        }
        let available = self.versions(&wanted.package)?;
        if available.is_empty() {
            return Err(FetchFailure::PackageUnknown { package: wanted.package.clone() });
        }
        if !available.contains(&wanted.version) {
            return Err(FetchFailure::VersionNotAvailable { version: wanted.version.clone(), available });
        }
        Err(FetchFailure::Apt { message: errors_of(&output) })
    }

    /// Returns the versions of a source package that apt knows, in apt's order.
    fn versions(&self, package: &str) -> Result<Vec<String>, FetchFailure> {
        let output = self.run(Command::new("apt-cache").args(["showsrc", "--only-source", "--", package]))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let versions = text.lines().filter_map(|line| line.strip_prefix("Version: "));
        let mut seen = Vec::new();
        for version in versions.map(|version| version.trim().to_owned()) {
            if !seen.contains(&version) {
                seen.push(version);
            }
        }
        Ok(seen)
    }

    fn run(&self, command: &mut Command) -> Result<Output, FetchFailure> {
        command.env("APT_CONFIG", &self.apt_config).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        let name = command.get_program().to_string_lossy().into_owned();
        command
            .output()
            .map_err(|error| FetchFailure::Apt { message: format!("cannot start {name}: {error}") })
    }
}

impl SourceProvider for DebianSourceProvider {
    fn ask(&self, request: &FileRequest<'_>, store: &SourceStore) -> Vec<Asked> {
        let Some(wanted) = self.map.sources.get(request.file) else { return Vec::new() };
        let DebianFile { package, version, file } = wanted.clone();
        let answer = self.fetch(wanted, request, store);
        vec![Asked { place: Place::Debian { package, version, file }, answer }]
    }
}

fn local(operation: &str, path: &Path, error: &io::Error) -> FetchFailure {
    FetchFailure::Local { message: format!("cannot {operation} {}: {error}", path.display()) }
}

/// apt's errors begin with `E:`; everything else is talk.
fn errors_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("E: ")).collect();
    if errors.is_empty() { format!("{}: {}", output.status, text.trim()) } else { errors.join("; ") }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
