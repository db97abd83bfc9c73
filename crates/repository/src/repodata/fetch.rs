//! Where the files of a repository come from.
//!
//! This crate reads directories. Other transports (HTTP) implement [`Fetch`] and are passed in by the
//! binaries, so that nothing here opens a connection.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::BadRepodata;

/// Gives the bytes of a repository's files.
pub trait Fetch: Sync {
    /// Returns the content of a file, named relative to the repository, for example
    /// `repodata/repomd.xml`.
    ///
    /// # Errors
    /// When the file cannot be had or has more than `limit` bytes.
    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>, FetchError>;

    /// Returns the content of a file that passes a check, usually of its checksum.
    ///
    /// Where a file can be had from several places, an implementation asks the next place when the bytes of
    /// one do not pass; where it keeps files, it returns the kept one if that passes.
    ///
    /// # Errors
    /// As [`Fetch::get`]; [`FetchError::Bad`] when no bytes pass.
    fn get_checked(
        &self,
        name: &str,
        limit: u64,
        check: &dyn Fn(&[u8]) -> Result<(), BadRepodata>,
    ) -> Result<Vec<u8>, FetchError> {
        let bytes = self.get(name, limit)?;
        check(&bytes).map_err(|reason| FetchError::Bad(Box::new(reason)))?;
        Ok(bytes)
    }

    /// Names the repository for messages.
    fn location(&self) -> String;
}

/// Why a file of a repository could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It does not exist there.
    #[error("not found")]
    NotFound,
    /// It is larger than it may be.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// It is there, but is not what it should be.
    #[error(transparent)]
    Bad(Box<BadRepodata>),
    /// Reading or transferring failed.
    #[error(transparent)]
    Transport(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// A repository in a local directory.
#[derive(Clone, Debug)]
pub struct DirectoryFetch {
    directory: PathBuf,
}

impl DirectoryFetch {
    /// Returns the repository in a directory, the one that holds `repodata/`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Returns the repository at a path or `file:` URL; `None` for any other URL.
    pub fn at(location: &str) -> Option<Self> {
        match location.split_once(':') {
            Some(("file", rest)) => Some(Self::new(rest.strip_prefix("//").unwrap_or(rest))),
            Some((scheme, rest)) if rest.starts_with("//") && !scheme.contains('/') => None,
            _ => Some(Self::new(location)),
        }
    }

    /// Returns the directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Fetch for DirectoryFetch {
    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let transport = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => FetchError::NotFound,
            _ => FetchError::Transport(error.into()),
        };
        let file = File::open(self.directory.join(name)).map_err(transport)?;
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(transport)?;
        if bytes.len() as u64 > limit {
            return Err(FetchError::TooLarge { limit });
        }
        Ok(bytes)
    }

    fn location(&self) -> String {
        self.directory.display().to_string()
    }
}
