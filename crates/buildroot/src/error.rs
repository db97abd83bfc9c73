//! What can go wrong with layers: always with the path and the operation.

use std::io;
use std::path::{Path, PathBuf};

use rpm_model::ContentDigest;

use crate::layer::{PackageFault, TreeFault, UnpackFault};

/// Reasons why a layer cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The RPM file does not have the expected size.
    #[error("`{}` has {found} bytes, expected {expected}", .path.display())]
    Size {
        /// RPM file.
        path: PathBuf,
        /// Size in bytes that was asked for.
        expected: u64,
        /// Size in bytes of the file.
        found: u64,
    },
    /// The RPM file does not have the expected SHA-256.
    #[error("`{}` has SHA-256 {found}, expected {expected}", .path.display())]
    Digest {
        /// RPM file.
        path: PathBuf,
        /// SHA-256 that was asked for.
        expected: ContentDigest,
        /// SHA-256 of the file.
        found: ContentDigest,
    },
    /// The package cannot become a layer.
    #[error("cannot unpack `{}`: {fault}", .path.display())]
    Package {
        /// RPM file.
        path: PathBuf,
        /// Why.
        fault: PackageFault,
    },
    /// The payload cannot be unpacked.
    #[error("cannot unpack `{}`", .path.display())]
    Unpack {
        /// RPM file.
        path: PathBuf,
        /// Why.
        #[source]
        fault: UnpackFault,
    },
    /// A layer cannot be put together of parts of others.
    #[error("cannot make `{}`", .path.display())]
    Assemble {
        /// File or directory concerned.
        path: PathBuf,
        /// Cause.
        source: TreeFault,
    },
    /// A file operation failed.
    #[error("cannot {operation} `{}`", .path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// File or directory concerned.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl LayerError {
    /// Returns whether the package itself is to blame, so that every attempt on every host ends the same way.
    pub fn is_of_package(&self) -> bool {
        match self {
            Self::Package { .. } => true,
            Self::Unpack { fault, .. } => fault.is_of_package(),
            Self::Size { .. } | Self::Digest { .. } | Self::Assemble { .. } | Self::Io { .. } => false,
        }
    }

    /// Returns whether the store's disk was full.
    pub fn is_for_want_of_space(&self) -> bool {
        let cause = match self {
            Self::Unpack { fault: UnpackFault::Write { source: TreeFault::System(cause), .. }, .. }
            | Self::Assemble { source: TreeFault::System(cause), .. }
            | Self::Io { source: cause, .. } => cause,
            _ => return false,
        };
        matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Names the operation and the path of a failed file operation.
pub(crate) trait PathContext<T> {
    /// Names them; the operation completes the sentence "cannot ... `path`".
    fn context(self, operation: &'static str, path: &Path) -> Result<T, LayerError>;
}

impl<T, E: Into<io::Error>> PathContext<T> for Result<T, E> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, LayerError> {
        self.map_err(|error| LayerError::Io { operation, path: path.to_path_buf(), source: error.into() })
    }
}
