//! Places that may have a source file, behind one trait, and what each of them answers.
//!
//! Order is the caller's: the tree, the store, then servers as configured. A provider asks one place (or a
//! few directories) for one file and says what came of it; it never decides whether to go on. Bytes are
//! only *found* when they have the listed hash, unless the request accepts any.

mod debian;
mod local;
mod remote;
mod setup;

use std::fmt;
use std::path::PathBuf;

use rpm_model::ContentDigest;
use serde::Serialize;

use crate::download::TransferFailure;
use crate::store::SourceStore;

pub use debian::{DebianFile, DebianSourceProvider, DebianSources, DebianSourcesError};
pub use local::{StoreProvider, TreeProvider};
pub use remote::{SourceServerProvider, UpstreamProvider};
pub use setup::{DebianPlace, RemotePlaces, RemotePlacesError};

/// One file that a spec needs.
#[derive(Clone, Copy, Debug)]
pub struct FileRequest<'a> {
    /// The file's base name as the spec gives it.
    pub file: &'a str,
    /// The spec's own URL for it.
    pub url: Option<&'a str>,
    /// Where it would be in the tree, best place first.
    pub candidates: &'a [PathBuf],
    /// Its hash by the signature file.
    pub listed: Option<&'a ContentDigest>,
    /// Whether bytes with another hash than the listed one are taken (`skip` and `update`).
    pub accept_any: bool,
}

impl<'a> FileRequest<'a> {
    /// Returns the hash that bytes must have.
    pub fn required(&self) -> Option<&'a ContentDigest> {
        self.listed.filter(|_| !self.accept_any)
    }
}

/// A place that was asked for a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Place {
    /// A file of the tree.
    Tree {
        /// Its path.
        path: PathBuf,
    },
    /// The store of sources on this host.
    Store {
        /// The object's path.
        path: PathBuf,
    },
    /// A configured source server.
    SourceServer {
        /// The file's URL there.
        url: String,
    },
    /// The URL that the spec itself gives.
    Upstream {
        /// The URL.
        url: String,
    },
    /// A Debian source package.
    Debian {
        /// The source package.
        package: String,
        /// Its version.
        version: String,
        /// The file's name there.
        file: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree { path } => write!(f, "tree {}", path.display()),
            Self::Store { path } => write!(f, "store {}", path.display()),
            Self::SourceServer { url } => write!(f, "source server {url}"),
            Self::Upstream { url } => write!(f, "upstream {url}"),
            Self::Debian { package, version, file } => write!(f, "Debian source {package}={version} {file}"),
        }
    }
}

/// A file with the right bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoundFile {
    /// Where it can be read; never written to.
    pub path: PathBuf,
    /// Its hash.
    pub sha256: ContentDigest,
}

/// Why a place that may have the file could not give it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FetchFailure {
    /// The transfer from a server failed.
    #[error("{failure}")]
    Transfer {
        /// What ended it.
        failure: TransferFailure,
    },
    /// This host could not read or write a file.
    #[error("{message}")]
    Local {
        /// Operation, path and the system's words.
        message: String,
    },
    /// The private root of apt has not been made.
    #[error("there is no apt configuration {}", path.display())]
    NoAptRoot {
        /// Where its configuration was looked for.
        path: PathBuf,
    },
    /// apt knows the package in other versions only.
    #[error("version {version} is not available; available: {}", available.join(", "))]
    VersionNotAvailable {
        /// The mapped version.
        version: String,
        /// What apt offers, newest first.
        available: Vec<String>,
    },
    /// apt does not know the source package.
    #[error("apt knows no source package `{package}` (is there a `deb-src` entry?)")]
    PackageUnknown {
        /// The mapped package.
        package: String,
    },
    /// The source package does not contain the mapped file.
    #[error("the source package has no file `{file}`; it has: {}", files.join(", "))]
    NoSuchFile {
        /// The mapped file.
        file: String,
        /// What the package consists of.
        files: Vec<String>,
    },
    /// apt failed otherwise.
    #[error("apt-get: {message}")]
    Apt {
        /// apt's own words.
        message: String,
    },
}

impl FetchFailure {
    /// Returns an error of this host with all its causes.
    pub(crate) fn local(error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Self::Local { message }
    }
}

/// What a place answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It has the right bytes.
    Found(FoundFile),
    /// It does not have the file (`404` from a server).
    NotFound,
    /// It has the file with other bytes.
    WrongHash {
        /// The hash of its bytes.
        got: ContentDigest,
    },
    /// It could not say.
    Failed {
        /// Why.
        reason: FetchFailure,
    },
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(_) => f.write_str("found"),
            Self::NotFound => f.write_str("not found"),
            Self::WrongHash { got } => write!(f, "wrong hash: sha256 is {got}"),
            Self::Failed { reason } => reason.fmt(f),
        }
    }
}

/// A place together with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The place.
    pub place: Place,
    /// Its answer.
    #[serde(flatten)]
    pub answer: Answer,
}

/// A kind of place that may have source files.
pub trait SourceProvider: Send + Sync {
    /// Asks for a file; what is fetched lands in the store.
    ///
    /// Returns every place that was asked, in order; only the last can be [`Answer::Found`]. Empty when the
    /// provider has no such place for this file, for example because the spec gives no URL.
    fn ask(&self, request: &FileRequest<'_>, store: &SourceStore) -> Vec<Asked>;
}

#[cfg(test)]
mod tests;
