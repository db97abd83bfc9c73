//! The ways in which writing a package can fail; nothing here prints or chooses a wording for the user.

use crate::source_package::SourceRefusal;
use std::path::PathBuf;

/// An error of [`crate::Payload::pack`], [`crate::Package::to_bytes`] or [`crate::SourcePackage::write`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A file's path is relative, empty, ends in a slash, or holds `.`, `..`, `//` or a NUL.
    #[error("file path is not absolute and normalised: `{path}`")]
    Path {
        /// The path as given.
        path: String,
    },
    /// Two entries have the same path.
    #[error("file listed twice: `{path}`")]
    Duplicate {
        /// The path listed twice.
        path: String,
    },
    /// A hard link names a path that is not a regular file of this package.
    #[error("hard link `{path}` points to `{target}`, which is not a regular file of the package")]
    HardLink {
        /// The link.
        path: String,
        /// What it should be a second name of.
        target: String,
    },
    /// The content of a file could not be read.
    #[error("cannot read `{}`", source_path.display())]
    Read {
        /// The file on the host that holds the content.
        source_path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Compressing the payload, or writing what comes out, failed.
    #[error("cannot compress the payload")]
    Compress(#[source] std::io::Error),
    /// A file has other bytes than those that were verified.
    #[error("`{}` changed while it was packed", source_path.display())]
    Changed {
        /// The file on the host.
        source_path: PathBuf,
    },
    /// The output cannot be written or read again.
    #[error("cannot write the package")]
    Output(#[source] std::io::Error),
    /// This source package is not written here.
    #[error(transparent)]
    Refused(SourceRefusal),
    /// A file, or the package, exceeds the 32-bit sizes of the format written here.
    #[error("`{what}` has {size} bytes, more than an RPM v4 header with 32-bit sizes can say")]
    TooLarge {
        /// The path, or `payload`.
        what: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A field that becomes part of the package's name is empty or holds a character rpm refuses there.
    #[error("`{value}` is no valid {field}")]
    Field {
        /// `name`, `version`, `release` or `architecture`.
        field: &'static str,
        /// The value as given.
        value: String,
    },
}
