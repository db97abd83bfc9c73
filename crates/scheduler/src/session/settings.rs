//! What a session is given and how it can fail: plain data.
//!
//! What it is: paths and settings, names that the user asked for, packed specs, and the errors of a session with
//! their exit status. What it is not: it does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use grapher::{GoalErrors, did_you_mean};
use report::{ExitStatus, Failure};
use repository::RepositoryError;
use rpm_model::{BuildReason, CleanPolicy, ContentDigest, PackageRules, TuningMode};

use crate::caches::CompilerCaches;
use crate::local::LocalDirectories;
use crate::records::RecordError;
use crate::run::{RunError, RunSettings};
use crate::triggers::TriggerError;

/// Where a session reads and writes, and how it builds.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// Binary packages of the repository.
    pub rpms: PathBuf,
    /// Source packages of the repository.
    pub srpms: PathBuf,
    /// Build records.
    pub records: PathBuf,
    /// The journal of a run that has not come to its end.
    pub journal: PathBuf,
    /// What each package was made of: `<name-version-release>/`.
    pub provenance: PathBuf,
    /// Remembered repository metadata.
    pub repodata_cache: PathBuf,
    /// `graph.dot`, `graph.json`, `plan.json`.
    pub artifacts: PathBuf,
    /// `build_state.csv`.
    pub state_csv: PathBuf,
    /// Where workers find and leave things.
    pub workers: LocalDirectories,
    /// The `pkgworker` program.
    pub program: PathBuf,
    /// Macros that every build is given.
    pub defines: BTreeMap<String, String>,
    /// A file of macros that every build reads.
    pub macros_file: Option<PathBuf>,
    /// What stands for rpmbuild's helper scripts.
    pub tuning: TuningMode,
    /// Compiler caches, as far as they are used.
    pub caches: CompilerCaches,
    /// When build roots are removed.
    pub clean: CleanPolicy,
    /// Which packages build roots may use.
    pub rules: PackageRules,
    /// Whether `%check` counts for the graph.
    pub run_check: bool,
    /// How the loop behaves.
    pub run: RunSettings,
    /// How many layers of dependants a rebuild brings along; `None` is all.
    pub max_layers: Option<u32>,
}

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The repository's metadata cannot be written.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A goal does not exist.
    #[error(transparent)]
    Goal(#[from] GoalErrors),
    /// A name in the rebuild or ignore list does not exist.
    #[error("`{name}` is in the {list} list, but no spec is called so{}", did_you_mean(near))]
    Unknown {
        /// The name.
        name: String,
        /// `rebuild` or `ignore`.
        list: &'static str,
        /// Names that look similar.
        near: Vec<String>,
    },
    /// A name is in both lists.
    #[error("`{0}` is in the rebuild list and in the ignore list")]
    Contradiction(String),
    /// A package cannot be built at all.
    #[error("there is no build root for `{package}`: {reason}")]
    NoJob {
        /// The spec.
        package: String,
        /// The solver's words, or what is missing.
        reason: String,
    },
    /// The triggers of a spec cannot be looked at.
    #[error(transparent)]
    Trigger(#[from] TriggerError),
    /// The loop failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file cannot be read or written.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// `read` or `write`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the user asked for, by name.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Specs or packages; empty means all.
    pub goals: Vec<String>,
    /// Specs to build again.
    pub rebuild: BTreeSet<String>,
    /// Why, where it is for more than the user's word.
    pub causes: BTreeMap<String, BuildReason>,
    /// Specs not to build.
    pub ignore: BTreeSet<String>,
    /// How many layers of those that need the goals are goals too.
    pub extra_layers: usize,
}

/// A packed spec.
#[derive(Clone, Debug)]
pub struct PackedSrpm {
    /// The file.
    pub path: PathBuf,
    /// Its content.
    pub sha256: ContentDigest,
}

/// What became of packing, by spec.
#[derive(Clone, Debug, Default)]
pub struct PackedTree {
    /// Specs that have an SRPM.
    pub srpms: BTreeMap<String, PackedSrpm>,
    /// Why a spec has none.
    pub failures: BTreeMap<String, String>,
}

/// Gives a session's error its exit status and advice, for the programs that end with it.
pub fn failure(error: SessionError) -> Failure {
    match error {
        SessionError::Goal(_) | SessionError::Unknown { .. } => Failure::new(ExitStatus::Usage, error)
            .hint("a plan without names lists all specs: `millwright plan`"),
        SessionError::NoJob { .. } => Failure::new(ExitStatus::GoalsFailed, error),
        SessionError::Contradiction(_) => Failure::new(ExitStatus::Usage, error),
        SessionError::Trigger(_) => Failure::new(ExitStatus::Usage, error),
        SessionError::Run(RunError::Journal(_)) => Failure::new(ExitStatus::Environment, error).hint(
            "free space in the build directory, or choose another one (--build-dir); then run it again",
        ),
        SessionError::Run(RunError::Threads { .. }) => Failure::new(ExitStatus::Environment, error),
        SessionError::Run(RunError::Stuck(_)) => Failure::new(ExitStatus::Internal, error),
        SessionError::Record(_) | SessionError::Repository(_) | SessionError::Io { .. } => {
            Failure::new(ExitStatus::Environment, error)
        }
    }
}
