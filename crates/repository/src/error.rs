//! What can go wrong with package files, directories and repositories; every error names its file.

use std::io;
use std::path::{Path, PathBuf};

use rpm_model::{ContentDigest, DependencyError, EvrError, Nevra};

use crate::repodata::{BadRepodata, FetchError};

/// Why an operation of this crate failed.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The operating system refused a file operation.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `rename`, ...
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is not a usable RPM package.
    #[error("{}: {reason}", path.display())]
    BadPackage {
        /// The package file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Box<BadPackage>,
    },
    /// A file of a repository could not be had.
    #[error("cannot get {name} of the repository {location}: {source}")]
    Fetch {
        /// The repository.
        location: String,
        /// The file, relative to the repository.
        name: String,
        /// Why not.
        source: FetchError,
    },
    /// Repository metadata is unusable, or cannot be made.
    #[error("{location}: {reason}")]
    Repodata {
        /// The repository or one of its files.
        location: String,
        /// What is wrong with it.
        reason: BadRepodata,
    },
}

/// What is wrong with a file that should be an RPM package.
#[derive(Debug, thiserror::Error)]
pub enum BadPackage {
    /// The file does not begin as an RPM package.
    #[error("not an RPM package (it begins with {found})")]
    Magic {
        /// The first bytes, in hexadecimal.
        found: String,
    },
    /// The file ends inside a part.
    #[error("cut short: {part} needs {needed} bytes, the file has {available}")]
    Truncated {
        /// Which part of the file.
        part: HeaderPart,
        /// The offset in the file that the part reaches.
        needed: u64,
        /// The size of the file.
        available: u64,
    },
    /// A part claims a size that no real package has.
    #[error("{part} claims {entries} entries and {bytes} bytes, more than any real package has")]
    TooLarge {
        /// Which part of the file.
        part: HeaderPart,
        /// Claimed number of entries.
        entries: u32,
        /// Claimed number of bytes.
        bytes: u32,
    },
    /// An index entry points outside its part, has an unknown type or no end.
    #[error("{part} is damaged: entry {tag} {problem}")]
    Damaged {
        /// Which part of the file.
        part: HeaderPart,
        /// The entry's tag number.
        tag: u32,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A value that every package has is absent.
    #[error("the header has no {what}")]
    Missing {
        /// The value's name.
        what: &'static str,
    },
    /// A part of its identity, which becomes a part of a file name, cannot be one.
    #[error("`{text}` is no {what}")]
    Identity {
        /// The part's name.
        what: &'static str,
        /// The part, printable.
        text: String,
    },
    /// A source package where a binary package is needed, or the reverse.
    #[error("it is a {found} package, a {expected} package is needed")]
    WrongKind {
        /// `source` or `binary`.
        expected: &'static str,
        /// `source` or `binary`.
        found: &'static str,
    },
    /// The package's own version is malformed.
    #[error("version: {0}")]
    Version(#[from] EvrError),
    /// A dependency is malformed.
    #[error("{list}: {source}")]
    Dependency {
        /// Which list it is from: `Requires`, `Provides`, ...
        list: &'static str,
        /// What is wrong.
        source: DependencyError,
    },
    /// The file is another one than was announced.
    #[error("the SHA-256 is {found}, {expected} was announced")]
    WrongHash {
        /// As announced.
        expected: ContentDigest,
        /// Of the file.
        found: ContentDigest,
    },
    /// The package is another one than was announced.
    #[error("it is {found}, {expected} was announced")]
    WrongIdentity {
        /// As announced.
        expected: Box<Nevra>,
        /// What the header says.
        found: Box<Nevra>,
    },
    /// A digest in the file does not match its bytes.
    #[error("a digest does not match: {message}")]
    Digest {
        /// Which, and both values.
        message: String,
    },
    /// The header parser refused the file for another reason.
    #[error("the header cannot be parsed: {message}")]
    Parser {
        /// The parser's words.
        message: String,
    },
}

/// A part of an RPM file that has the form of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderPart {
    /// The 96 bytes in front.
    Lead,
    /// Digests and signatures.
    Signature,
    /// The package's own data.
    Header,
}

impl std::fmt::Display for HeaderPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lead => "the lead",
            Self::Signature => "the signature header",
            Self::Header => "the header",
        })
    }
}

/// Names the file and the operation of an I/O error.
pub(crate) trait IoContext<T> {
    /// Turns an I/O result into this crate's, for example `fs::read(p).context("read", p)`.
    fn context(self, operation: &'static str, path: &Path) -> Result<T, RepositoryError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, RepositoryError> {
        self.map_err(|source| RepositoryError::Io { operation, path: path.to_owned(), source })
    }
}

impl BadPackage {
    /// Names the package file.
    pub(crate) fn at(self, path: &Path) -> RepositoryError {
        RepositoryError::BadPackage { path: path.to_owned(), reason: Box::new(self) }
    }
}
