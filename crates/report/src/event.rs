//! What can happen in a run.

use std::collections::BTreeMap;

use rpm_model::{
    BuildReason, CacheUse, ChangedPackage, CheckReport, FailureClass, PhaseUsage, UnusedRequirement,
    UsageSource,
};
use serde::{Deserialize, Serialize};

use crate::planned::RunPlan;

/// The stages of a run, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Toolchain repository from the base distribution.
    Toolchain,
    /// Worker from the toolchain.
    Worker,
    /// Fetching and verifying sources.
    Sources,
    /// Specs to SRPMs.
    Pack,
    /// Specs to package data.
    Read,
    /// Packages of other repositories.
    Fetch,
    /// Dependency graph.
    Graph,
    /// What to build and why.
    Plan,
    /// Building packages.
    Build,
    /// Repository metadata.
    Publish,
}

impl Stage {
    /// Returns the stage as reports write it, with the pipeline's alignment in mind (at most nine letters).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Toolchain => "toolchain",
            Self::Worker => "worker",
            Self::Sources => "sources",
            Self::Pack => "pack",
            Self::Read => "read",
            Self::Fetch => "fetch",
            Self::Graph => "graph",
            Self::Plan => "plan",
            Self::Build => "build",
            Self::Publish => "publish",
        }
    }
}

/// How the build of one package ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum PackageEnd {
    /// Built; its packages differ from the published ones, or are new.
    Built,
    /// Built; every package is identical to the published one, so nothing that depends on it is rebuilt.
    Identical,
    /// Failed.
    Failed {
        /// Whose fault it is.
        class: FailureClass,
        /// One sentence.
        message: String,
        /// The lines of the log that tell why.
        decisive_lines: Vec<String>,
        /// The log file.
        log: String,
    },
    /// Not built in this round because of what it turned out to need.
    Postponed {
        /// What that is.
        why: String,
    },
    /// Not tried.
    Blocked {
        /// The packages whose failure prevents it.
        by: Vec<String>,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Everything that was asked for is there.
    Done,
    /// Some goals failed or are blocked; the rest is done.
    GoalsFailed,
    /// The user stopped it; running builds came to their end.
    Stopped,
    /// It could not go on, for a reason that is no package's.
    Aborted,
    /// It was ended from outside: nobody wrote down how. Told by the run after it.
    Killed,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run that builds begins.
    RunStarted {
        /// Its name, which is that of its report.
        run: String,
        /// What was typed.
        command: String,
        /// When, in seconds since 1970.
        started_at: u64,
    },
    /// A plan was made; a run in rounds has several, and the last says what stays blocked.
    Planned(RunPlan),
    /// A run that builds ended.
    RunFinished {
        /// How.
        outcome: RunOutcome,
        /// Why it could not go on, where it could not.
        message: Option<String>,
        /// How long it took.
        seconds: f64,
        /// How many packages ended in each way, as in the run's report ([`crate::RunReport::counts`]).
        #[serde(default)]
        counts: BTreeMap<String, usize>,
    },
    /// A stage begins.
    StageStarted {
        /// Which.
        stage: Stage,
        /// How many steps it has, where that is known.
        total: Option<usize>,
    },
    /// A stage made a step.
    StageProgress {
        /// Which.
        stage: Stage,
        /// Steps done.
        done: usize,
        /// All steps.
        total: usize,
        /// What was done last.
        detail: String,
    },
    /// A stage ended well.
    StageFinished {
        /// Which.
        stage: Stage,
        /// What came out, in a few words.
        summary: String,
        /// How long it took.
        seconds: f64,
    },
    /// A round of builds begins; told where a run has several.
    RoundStarted {
        /// Which, counted from 1.
        round: usize,
        /// How many packages it builds.
        to_build: usize,
        /// How many wait for what these will provide.
        waiting: usize,
    },
    /// A package's build begins.
    PackageStarted {
        /// The spec's name.
        package: String,
        /// Why it is built.
        reasons: Vec<BuildReason>,
        /// How many are still to be started.
        waiting: usize,
    },
    /// A package's build entered a section, for example `%build`.
    PackagePhase {
        /// The spec's name.
        package: String,
        /// The section.
        phase: String,
    },
    /// What a package's build used and found; told before its end where that was asked for.
    PackageUsage {
        /// The spec's name.
        package: String,
        /// What each section used, in order.
        phases: Vec<PhaseUsage>,
        /// Who counted.
        source: Option<UsageSource>,
        /// What `%check` found.
        check: CheckReport,
        /// What compiler caches did.
        caches: Vec<CacheUse>,
    },
    /// Which build requirements a build that was watched opened nothing of; told before its end.
    PackageUnused {
        /// The spec's name.
        package: String,
        /// How many build requirements it has.
        requirements: usize,
        /// How many files of its root it opened.
        opened_files: usize,
        /// Those that nothing was opened of, sorted.
        unused: Vec<UnusedRequirement>,
    },
    /// A package's result was taken from a store of results: nothing is built.
    PackageReused {
        /// The spec's name.
        package: String,
        /// The store's name.
        store: String,
    },
    /// A package's result was compared with what was published of it before.
    PackageCompared {
        /// The spec's name.
        package: String,
        /// In what its packages differ; empty when they are the same apart from signatures, or the difference
        /// cannot be told.
        changes: Vec<ChangedPackage>,
        /// When nothing changed: how many packages that need it, however indirectly, are not looked at again.
        spared: usize,
    },
    /// A package's build ended.
    PackageFinished {
        /// The spec's name.
        package: String,
        /// How.
        #[serde(flatten)]
        end: PackageEnd,
        /// How long it took.
        seconds: f64,
        /// Ended, out of all that the plan holds.
        done: usize,
        /// All that the plan holds.
        total: usize,
    },
    /// A mass rebuild made a step. Counted over its whole set, whichever run built what.
    MassRebuildProgress {
        /// The set's name.
        name: String,
        /// Built again.
        done: usize,
        /// Tried, and not built again yet.
        failed: usize,
        /// All that the set holds.
        total: usize,
    },
    /// Something that the user should know and may act on.
    Warning {
        /// One sentence.
        message: String,
    },
    /// Something that the user may want to know.
    Note {
        /// One sentence.
        message: String,
    },
}
