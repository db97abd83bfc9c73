//! Why a benchmark could not be carried out.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why a benchmark could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// Mounts and chroots need it.
    #[error("building packages beside the peer commands needs root")]
    NotRoot,
    /// A file operation failed.
    #[error("cannot {operation} `{path}`")]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    /// A program could not be started.
    #[error("cannot start `{program}`")]
    Start { program: String, source: io::Error },
    /// A program ended with a failure.
    #[error("`{program}` ended with {status}\n{last_lines}")]
    Ended { program: String, status: ExitStatus, last_lines: String, log: PathBuf },
    /// A document of Millwright is not as documented.
    #[error("`{path}` is no valid {what}")]
    Document { what: &'static str, path: PathBuf, source: serde_json::Error },
    /// The build root of a job could not be made of layers.
    #[error("cannot open the layer store")]
    Layers(#[from] buildroot::LayerError),
    /// The same.
    #[error("cannot make the build root")]
    Root(#[from] buildroot::RootError),
    /// The sandbox did not run.
    #[error("cannot run the empty sandbox: {0}")]
    Sandbox(String),
    /// Both ways must give the same packages, or they did not do the same work.
    #[error("{package}: ours made {ours:?}, the peer {peer:?}")]
    DifferentWork { package: String, ours: Vec<String>, peer: Vec<String> },
}

impl BenchError {
    /// Returns what turns an I/O error into this one.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}
