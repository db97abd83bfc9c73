//! What can go wrong in the worker itself, as opposed to in the package that it builds.

use std::io;
use std::path::{Path, PathBuf};

/// A failure of the host, the inputs or the worker; never the package's fault.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A file operation failed.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was tried, for example `create`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A document is not what it should be.
    #[error("`{path}` is no valid {what}")]
    Document {
        /// The file.
        path: PathBuf,
        /// What it should be, for example `job document`.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A document was written by another version.
    #[error("`{path}` has schema {found}; this program reads schema {expected}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The SRPM is not the one that the job names.
    #[error("`{path}` has SHA-256 {found}, the job names {expected}")]
    WrongSrpm {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The job's.
        expected: String,
    },
    /// A kept root has lost its spec: its build ended well, and rpmbuild removes it then.
    #[error("there is no spec in `{directory}`")]
    NoSpecKept {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// The layer store failed.
    #[error(transparent)]
    Layer(#[from] buildroot::LayerError),
    /// The packages cannot be stacked into a root.
    #[error(transparent)]
    Root(#[from] buildroot::RootError),
    /// The sandbox could not be started.
    #[error(transparent)]
    Sandbox(#[from] buildroot::SandboxError),
    /// A repository or package file is unusable.
    #[error(transparent)]
    Repository(#[from] repository::RepositoryError),
    /// The build requirements cannot be satisfied.
    #[error("{package}: {explanation}")]
    Unresolvable {
        /// The SRPM.
        package: String,
        /// The solver's words.
        explanation: String,
    },
    /// `%generate_buildrequires` asks for something else each time.
    #[error("{package}: %generate_buildrequires does not settle: in round {rounds} it {difference}")]
    NeverSettles {
        /// The spec.
        package: String,
        /// How many rounds there were.
        rounds: usize,
        /// What the last one changed, in words.
        difference: String,
    },
    /// A repository is given that cannot be used here.
    #[error("`{path}`: repository `{url}` is not on this host")]
    RemoteRepository {
        /// The `.repo` file.
        path: PathBuf,
        /// Its `baseurl`.
        url: String,
    },
}

/// Adds path and operation to an I/O error.
pub(crate) trait IoContext<T> {
    /// Returns the error with what was tried and on what.
    fn context(self, operation: &'static str, path: &Path) -> Result<T, WorkerError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, WorkerError> {
        self.map_err(|source| WorkerError::Io { operation, path: path.to_owned(), source })
    }
}
