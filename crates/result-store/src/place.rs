//! What a store must be able to do: read, look, and put things there whole.

use std::io::Write;
use std::path::Path;

use crate::document::StoredFile;

/// Why a place could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Nothing has this name.
    #[error("there is nothing of this name")]
    Absent,
    /// Nobody answered, or nothing that can be understood.
    #[error("it cannot be reached: {message}")]
    Unreachable {
        /// The last answer or system error.
        message: String,
    },
    /// No answer, or no further byte, came in time.
    #[error("it did not answer within {seconds} seconds")]
    TimedOut {
        /// The time that was waited.
        seconds: u64,
    },
    /// The credentials do not suffice.
    #[error("it refuses access: {message}")]
    Denied {
        /// Its words.
        message: String,
    },
    /// It sent more than there can be.
    #[error("it sent more than {most} bytes")]
    TooLong {
        /// The most that was expected.
        most: u64,
    },
    /// It is left alone for the rest of the run, for a reason that was told before.
    #[error("it is not asked any more")]
    LeftAlone,
    /// This host could not read or write a file of its own.
    #[error("{message}")]
    Local {
        /// What was tried, on what, and why it failed.
        message: String,
    },
}

impl AccessError {
    /// Returns whether nobody is there, so that asking again in the same run is a waste of time.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }

    /// Returns the error for a file that is not any more what was to be put into a store.
    pub(crate) fn changed(path: &Path) -> Self {
        Self::Local { message: format!("`{}` was changed before it was put into the store", path.display()) }
    }

    /// Returns the error of a failed operation on a file of this host.
    pub(crate) fn local(operation: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::Local { message: format!("cannot {operation} `{}`: {error}", path.display()) }
    }
}

/// Where a store's objects are. An object appears whole or not at all.
pub(crate) trait Place: Send + Sync {
    /// Returns an object of at most `most` bytes.
    fn read(&self, name: &str, most: u64) -> Result<Vec<u8>, AccessError>;

    /// Writes an object's bytes to `to`, and fails as soon as there are more than `most`.
    fn fetch(&self, name: &str, most: u64, to: &mut dyn Write) -> Result<(), AccessError>;

    /// Returns an object's size, if it is there.
    fn size(&self, name: &str) -> Result<Option<u64>, AccessError>;

    /// Puts a file of this host there, replacing what has the name, unless its content is another than `file` says.
    fn put_file(&self, name: &str, from: &Path, file: &StoredFile) -> Result<(), AccessError>;

    /// Puts some bytes there, replacing what has the name.
    fn put_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), AccessError>;
}
