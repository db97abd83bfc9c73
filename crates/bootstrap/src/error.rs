//! What can go wrong in a bootstrap: each error names the file or command, the operation and the cause.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// A file operation failed.
    #[error("cannot {operation} `{}`", path.display())]
    File {
        /// What was tried, as a verb: `read`, `write`, `create`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A program could not be started.
    #[error("cannot start `{program}`; is it installed?")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A program ended with an error.
    #[error("`{command}` failed ({status}): {message}")]
    Command {
        /// The program and its arguments.
        command: String,
        /// Exit code or signal, in words.
        status: String,
        /// The last lines it wrote.
        message: String,
    },
    /// No package source of the host belongs to Debian.
    #[error(
        "none of the host's package sources is Debian's: {}; enable Debian's sources in apt's configuration",
        if considered.is_empty() { "there are none".to_owned() } else { considered.join(", ") }
    )]
    NoDebianSource {
        /// The sources that were considered, each with the reason why it was left out.
        considered: Vec<String>,
    },
    /// A Debian package is not what it should be.
    #[error("`{}` is no usable Debian package: {problem}", path.display())]
    Deb {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A downloaded file is not the one that the package index promised.
    #[error("`{}` has SHA-256 {found}, the package index says {expected}; delete it and try again", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// SHA-256 promised.
        expected: rpm_model::ContentDigest,
        /// SHA-256 found.
        found: rpm_model::ContentDigest,
    },
    /// A configuration file of the bootstrap cannot be used.
    #[error("`{file}`: {problem}")]
    Configuration {
        /// The file as the user knows it.
        file: String,
        /// What is wrong and where.
        problem: String,
    },
    /// Two Debian packages would become RPMs of one name.
    #[error("Debian packages `{first}` and `{second}` would both become `{name}`; correct `names.toml`")]
    NameTaken {
        /// The RPM name.
        name: String,
        /// One Debian package.
        first: String,
        /// The other.
        second: String,
    },
    /// An RPM could not be written.
    #[error("cannot write RPM `{package}`")]
    Write {
        /// Its name.
        package: String,
        /// The reason.
        #[source]
        source: rpm_writer::WriteError,
    },
    /// An RPM file cannot be read.
    #[error("`{}` is no usable RPM: {problem}", path.display())]
    Rpm {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The core list cannot be satisfied from the base.
    #[error("the core list cannot be satisfied: {explanation}")]
    Unresolved {
        /// The solver's explanation.
        explanation: String,
    },
    /// A repository of RPMs cannot be used.
    #[error("repository `{location}`: {problem}")]
    Repository {
        /// Its address or directory.
        location: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The keys for signatures cannot be used.
    #[error("cannot check signatures")]
    Keys {
        /// The reason.
        #[source]
        source: package_fetcher::KeyringError,
    },
    /// Downloads cannot be made from this host at all.
    #[error("cannot set up downloads")]
    Downloads {
        /// The reason.
        #[source]
        source: sources::DownloadSetupError,
    },
    /// The core packages could not be unpacked.
    #[error("cannot unpack the core packages")]
    Layers {
        /// The reason.
        #[source]
        source: buildroot::LayerError,
    },
    /// No program could be run inside the worker.
    #[error("cannot run a program inside the worker")]
    Sandbox {
        /// The reason.
        #[source]
        source: buildroot::SandboxError,
    },
    /// A worker archive that is cut short, or not a worker archive.
    #[error("`{}` is no complete archive: {problem}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Another bootstrap works in the same build directory.
    #[error("another bootstrap is running in `{}`; wait for it to end", directory.display())]
    Busy {
        /// The directory in use.
        directory: PathBuf,
    },
}

impl BootstrapError {
    /// Returns a closure for `map_err` on a file operation.
    pub(crate) fn file(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { operation, path, source }
    }

    /// Returns a closure for `map_err` on reading a Debian package.
    pub(crate) fn deb<E: std::fmt::Display>(path: &Path, doing: &str) -> impl FnOnce(E) -> Self {
        let (path, doing) = (path.to_owned(), doing.to_owned());
        move |error| Self::Deb { path, problem: format!("{doing}: {error}") }
    }
}
