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
    /// Records of a made-up history cannot be read.
    #[error(transparent)]
    Records(#[from] scheduler::RecordError),
    /// A made-up trigger is none.
    #[error("`{text}` is no list of triggers")]
    Triggers { text: String, source: rebuild::trigger::TriggerSyntaxError },
    /// Nothing changed, and yet something is due.
    #[error("{package} is due although nothing changed: {reason}")]
    NotUpToDate { package: String, reason: String },
    /// A document of Millwright is not as documented.
    #[error("`{path}` is no valid {what}")]
    Document { what: &'static str, path: PathBuf, source: serde_json::Error },
    /// The build root of a job could not be made of layers.
    #[error("cannot open the layer store")]
    Layers(#[from] buildroot::LayerError),
    /// The same.
    #[error("cannot make the build root")]
    Root(#[from] buildroot::RootError),
    /// What a package was made of could not be written down.
    #[error("cannot write the documents of a package")]
    Acceptance(#[from] scheduler::AcceptError),
    /// No tree of specs was named.
    #[error("no tree of specs to measure with is named")]
    NoAzureTree,
    /// The directory is no checkout of the expected tree, or of another version of it.
    #[error("`{path}` is not laid out as the Azure Linux 3.0 tree: it lacks `{missing}`")]
    NotAzureTree { path: PathBuf, missing: String },
    /// No spec has the name that was asked for.
    #[error("the tree has no spec called `{name}`")]
    UnknownSpec { name: String },
    /// rpm's own macros are not those that Debian 12 ships.
    #[error("the worker's rpm macros are not those of Debian's rpm 4.18, from which the benchmark starts")]
    UnknownRpmMacros,
    /// A package could not be written.
    #[error("cannot write the package {name}")]
    WritePackage { name: &'static str, source: rpm_writer::WriteError },
    /// A package of a made-up repository could not be written.
    #[error("cannot write {package}")]
    WriteSynthetic { package: String, source: rpm_writer::WriteError },
    /// dnf's library gives no answer.
    #[error("cannot ask dnf")]
    Oracle(#[from] testkit::OracleError),
    /// dnf is not installed.
    #[error("dnf is not installed")]
    NoDnf,
    /// dnf did not read the repository that was written for it.
    #[error("dnf knows {known} packages of {expected}")]
    DnfKnows { known: usize, expected: usize },
    /// A made-up run did not come to its end.
    #[error("only {ended} of {jobs} jobs were handed out")]
    Unfinished { ended: usize, jobs: usize },
    /// Too few build roots can be solved for a figure.
    #[error("only {count} of {solvable} build roots are small enough beside a core of {core} packages")]
    FewJobs { count: usize, solvable: usize, core: usize },
    /// A package could not be read.
    #[error("cannot read the toolchain")]
    Repository(#[from] ::repository::RepositoryError),
    /// The toolchain lacks something.
    #[error("the toolchain cannot be completed to an Azure worker: {explanation}")]
    Unresolved { explanation: String },
    /// The engine under test does not work.
    #[error("the engine cannot read")]
    Engine(#[from] specreader::EngineError),
    /// A sandbox could not be started.
    #[error("cannot start a sandbox")]
    SandboxStart(#[from] buildroot::SandboxError),
    /// A command of the peer in its sandbox failed.
    #[error("`{command}` in the worker ended with {end}\n{last_lines}")]
    Peer { command: String, end: String, last_lines: String },
    /// The engine works, but not as it is meant to be measured.
    #[error("the engine does not work as it is to be measured: {notes}")]
    EngineFellBack { notes: String },
    /// The reader did not do the work that was to be measured.
    #[error("{good} of {all} specs were read, {remembered} of them remembered instead of {expected}")]
    UnexpectedReading { good: usize, all: usize, remembered: usize, expected: usize },
    /// Specs that the engine must read were refused.
    #[error("{count} of {all} specs cannot be read\n{list}")]
    BadSpecs { count: usize, all: usize, list: String },
    /// The sandbox did not run.
    #[error("cannot run the empty sandbox: {0}")]
    Sandbox(String),
    /// The worker has no result.
    #[error("pkgworker built nothing: {0}")]
    Worker(String),
    /// A spec was not packed as it is to be measured.
    #[error("{spec} was not written natively: {outcome}")]
    NotNative { spec: String, outcome: String },
    /// Nothing could be packed.
    #[error("the packer does not work")]
    Packer(#[from] srpmpacker::PackerError),
    /// The store of sources could not be opened.
    #[error("the store of sources does not work")]
    Store(#[from] sources::StoreError),
    /// A repository was opened, but is not what was made.
    #[error("{opened} packages were found where {made} were made; see `{log}`")]
    OtherRepository { opened: String, made: usize, log: PathBuf },
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
