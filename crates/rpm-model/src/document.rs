//! The documents that scheduler and worker exchange, and what is kept of a build.
//!
//! A [`JobDocument`] is self-contained: with it and the files it names by SHA-256 a worker needs nothing
//! else. A [`ResultDocument`] is what came out; a [`BuildRecord`] is what the tree remembers of a build.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::cascade::CascadeFacts;
use crate::check::CheckReport;
use crate::dependency::Requirement;
use crate::difference::ChangedPackage;
use crate::evr::Evr;
use crate::hash::ContentDigest;
use crate::inputs::{InputChange, InputParts};
use crate::limits::{BuildLimits, LimitReport};
use crate::linkage::LostLibrary;
use crate::nevra::Nevra;
use crate::reused::ReusedResult;
use crate::surroundings::Surroundings;
use crate::trigger::SeenTriggers;
use crate::tuning::{TuningMode, TuningReport};
use crate::usage::{CacheUse, PhaseUsage, ResourceUsage, UsageSource};
use crate::worker::BuildrootLock;

/// One build of one SRPM, self-contained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDocument {
    /// This code reads and writes [`JobDocument::SCHEMA`].
    pub schema: u32,
    /// The spec's name.
    pub package: String,
    /// The SRPM file on this host.
    pub srpm_path: String,
    /// SHA-256 of the SRPM file.
    pub srpm_sha256: ContentDigest,
    /// The exact content of the build root.
    pub lock: BuildrootLock,
    /// Packages that most build roots have in common (the worker's core): a hint for stacking them, which
    /// influences no result.
    #[serde(default)]
    pub common: BTreeSet<ContentDigest>,
    /// The architecture to build for.
    pub arch: String,
    /// Macro definitions, `-D 'key value'` each, for example `dist` → `.mw1`.
    pub defines: BTreeMap<String, String>,
    /// What is appended to the value of `%dist`, after a dot; see `rebuild::bump`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dist_counter: Option<NonZeroU32>,
    /// A file of macros that the build reads besides the worker's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macros_file: Option<String>,
    /// Whether `%check` runs, as a phase of the build.
    pub run_check: bool,
    /// Whether the spec has a `%check` section; `None` means "not known".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_check: Option<bool>,
    /// What `%generate_buildrequires` is known to ask for besides what the spec states, sorted; the lock holds it.
    /// A spec that has the section is built only when it asks for exactly this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generated: Vec<Requirement>,
    /// Processors that the build may count on; `None` means all of the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cpu: Option<u32>,
    /// Seconds after which the build is killed.
    pub timeout_seconds: u64,
    /// Bytes that the build's directory and each of its directories in memory may hold, which share the sum.
    pub disk_limit_bytes: u64,
    /// What else it may use.
    #[serde(default, flatten)]
    pub limits: BuildLimits,
    /// Bytes of output that the log keeps: of more, the beginning and the end. A build that writes
    /// [`JobDocument::FLOOD`] times as much is ended.
    pub log_limit_bytes: u64,
    /// Where ccache keeps its objects, when it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ccache: Option<CcacheMount>,
    /// Where sccache keeps its objects, when it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sccache: Option<CcacheMount>,
    /// The packages that the spec says will come out; anything else is refused. Empty means "not known".
    #[serde(default)]
    pub expected: Vec<Nevra>,
    /// What stands for rpmbuild's helper scripts; it influences no result.
    #[serde(default)]
    pub tuning: TuningMode,
    /// What the build sees around it; other than usual only for a verification, which publishes nothing.
    #[serde(default, skip_serializing_if = "Surroundings::is_usual")]
    pub surroundings: Surroundings,
}

/// A compiler cache's directory that the build may write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CcacheMount {
    /// The directory on this host.
    pub directory: String,
    /// Its configuration file, where one is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

impl JobDocument {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 2;

    /// What the log keeps when nobody says otherwise, in bytes.
    pub const LOG_LIMIT: u64 = 100 << 20;

    /// How many times the log's limit a build may write before it is ended.
    pub const FLOOD: u64 = 100;
}

/// Why a build did not succeed; only `InfrastructureFailure` is retried without a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// `%prep`, `%build`, `%install` or packaging failed: the package's fault.
    PackageFailure,
    /// `%check` failed.
    CheckFailure,
    /// The time limit ended it.
    Timeout,
    /// It ran out of memory.
    OutOfMemory,
    /// It ran out of disk space, or made more files than it may.
    NoSpace,
    /// It tried to reach the network, which builds do not have.
    NetworkNeeded,
    /// The host's or the worker's fault.
    InfrastructureFailure,
}

/// What can be done about a failure without anybody looking at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing: it would fail again.
    Mend,
    /// The same once more, perhaps elsewhere.
    TryAgain,
    /// Once more with more memory, where that was asked for.
    TryWithMoreMemory,
}

impl FailureClass {
    /// Returns what can be done about it without anybody looking.
    pub fn remedy(self) -> Remedy {
        match self {
            Self::InfrastructureFailure => Remedy::TryAgain,
            Self::OutOfMemory => Remedy::TryWithMoreMemory,
            Self::PackageFailure
            | Self::CheckFailure
            | Self::Timeout
            | Self::NoSpace
            | Self::NetworkNeeded => Remedy::Mend,
        }
    }

    /// Returns the class as reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PackageFailure => "package-failure",
            Self::CheckFailure => "check-failure",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out-of-memory",
            Self::NoSpace => "no-space",
            Self::NetworkNeeded => "network-needed",
            Self::InfrastructureFailure => "infrastructure-failure",
        }
    }

    /// Returns what a packager does next.
    pub fn advice(self) -> &'static str {
        match self {
            Self::PackageFailure => "read the end of the log",
            Self::CheckFailure => {
                "the package was compiled but its tests fail; --run-check=false builds without them"
            }
            Self::Timeout => {
                "raise the time limit (--timeout, cpu-limit), or find out in the log where the build hangs"
            }
            Self::OutOfMemory => {
                "lower max-cpu for this package, build fewer packages at once (--workers) or raise its memory-limit-mib; \
                 with memory-retry in [build] it is tried once more with more by itself"
            }
            Self::NoSpace => {
                "free space in the build directory or raise the package's disk limit (disk-limit-mib, file-limit)"
            }
            Self::NetworkNeeded => {
                "builds have no network: whatever they need belongs into the spec, as `Source` with its hash in the \
                 signature file or as `BuildRequires`"
            }
            Self::InfrastructureFailure => {
                "the host or the worker failed, not the package; the build was tried again as configured"
            }
        }
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// All went well.
    Succeeded,
    /// `%generate_buildrequires` asks for other packages than the build root was made for: nothing was built
    /// yet, and a root that holds these is needed.
    RequirementsGenerated {
        /// All that it asks for, sorted.
        requirements: Vec<Requirement>,
    },
    /// It failed.
    Failed {
        /// Whose fault it is.
        class: FailureClass,
        /// The section that failed, for example `%build`, where one is known.
        phase: Option<String>,
        /// One sentence.
        message: String,
    },
}

/// One file that came out of a build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageArtifact {
    /// What it is.
    pub nevra: Nevra,
    /// Its path: in a result, where the worker left it; in a record, relative to the repository.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: ContentDigest,
    /// Its size in bytes.
    pub size: u64,
}

/// What a worker says of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultDocument {
    /// This code reads and writes [`ResultDocument::SCHEMA`].
    pub schema: u32,
    /// The job's package.
    pub package: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The binary RPMs, sorted by NEVRA.
    pub rpms: Vec<PackageArtifact>,
    /// The SRPM as it belongs in the repository, when the build succeeded.
    pub srpm: Option<PackageArtifact>,
    /// Results of `%check`.
    pub check: CheckReport,
    /// The file of them in JUnit's form, when `%check` ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub junit: Option<String>,
    /// The log file.
    pub log: String,
    /// Bytes of output that the log does not hold because of its limit.
    #[serde(default)]
    pub log_omitted_bytes: u64,
    /// The last lines that tell why it failed; empty on success.
    pub decisive_lines: Vec<String>,
    /// What rpmbuild used.
    pub usage: ResourceUsage,
    /// The sections that ran, in order, and what each used.
    pub phases: Vec<PhaseUsage>,
    /// Who counted for the sections; `None` when nothing ran.
    pub usage_source: Option<UsageSource>,
    /// What compiler caches did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<CacheUse>,
    /// Seconds spent outside rpmbuild: layers, mounts, collecting.
    pub overhead_seconds: f64,
    /// Packages that had to be unpacked for this job; the others were in the layer store.
    pub layers_made: usize,
    /// Packages whose scriptlets a build root would need but did not run.
    pub skipped_scriptlets: Vec<String>,
    /// What was noteworthy about its build root, in words: what rpm warned of when the packages' scriptlets ran,
    /// packages with different files of one path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub root_notes: Vec<String>,
    /// Where the failed root was kept, if it was.
    pub kept_root: Option<String>,
    /// What held the build within its limits.
    #[serde(default)]
    pub limits: LimitReport,
    /// What stood for rpmbuild's helper scripts.
    #[serde(default)]
    pub tuning: TuningReport,
    /// Where it was taken from, when no worker built it in this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<ReusedResult>,
}

impl ResultDocument {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 2;
}

/// A build requirement that a build opened nothing of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnusedRequirement {
    /// The requirement, as the spec has it.
    pub requirement: String,
    /// The packages that were in the root because of it alone or that provide it, sorted.
    pub packages: Vec<String>,
}

/// When a package whose own inputs did not change is built again.
///
/// Ordered: each policy counts everything that the ones before it count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RebuildPolicy {
    /// Never: own inputs only.
    Local,
    /// When a published requirement lost its provider or a compiled-in input changed.
    #[default]
    Relevant,
    /// When any direct build requirement changed.
    Direct,
    /// When anything in the build root changed.
    Exact,
}

/// Why a package is (re)built. One per cause; a package may have several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum BuildReason {
    /// No record of a build exists.
    NeverBuilt,
    /// The record of the last build is damaged or of another version, so nothing is known of that build.
    RecordUnreadable,
    /// The user named it in the rebuild list.
    Requested,
    /// It belongs to a set of packages that are built again for one cause.
    MassRebuild {
        /// The set's name.
        name: String,
        /// What its packages have in common, as it was asked for.
        cause: String,
    },
    /// The SRPM's content (spec, sources, macros, defines) differs.
    InputsChanged {
        /// The recorded identity of the inputs.
        recorded: ContentDigest,
        /// The present one.
        present: ContentDigest,
        /// What differs; empty where the record does not tell (it is of an older version).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<InputChange>,
    },
    /// Check was off when it was built and is on now.
    CheckNotRun,
    /// A recorded RPM is missing from the repository or is not the recorded content.
    OutputMissing {
        /// Path relative to the repository.
        path: String,
    },
    /// A published requirement of its packages lost its provider.
    RequirementLost {
        /// The package that requires it.
        package: String,
        /// The requirement.
        requirement: String,
        /// The spec whose change it is; `None` where it came from outside the tree or nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// Both sides, where it is a library and the record says who provided it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        library: Option<LostLibrary>,
    },
    /// A static or header-only input of its build root changed.
    StaticInputChanged {
        /// The input package.
        package: String,
        /// Its recorded content.
        recorded: ContentDigest,
        /// Its present content.
        present: ContentDigest,
        /// The spec whose change it is; `None` where it came from outside the tree or nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A direct build requirement changed (policy `direct` and `exact`).
    BuildRequirementChanged {
        /// The input package.
        package: String,
        /// Its recorded identity, if it was there.
        recorded: Option<Nevra>,
        /// Its present identity, if it is there.
        present: Option<Nevra>,
        /// The spec whose change it is; `None` where it came from outside the tree or nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A package that the spec's `%_mkpkg_depends` watches changed as the trigger says.
    TriggerFired {
        /// The trigger, `name` or `name operator level-or-version`.
        trigger: String,
        /// What the last build saw; `None` where nothing had the name then.
        recorded: Option<Nevra>,
        /// What has the name now.
        present: Nevra,
        /// The two versions compared, then and now, as far as the trigger looks at them.
        compared: Option<(String, String)>,
        /// The spec whose change it is; `None` where it came from outside the tree or nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A program that the spec's `%_mkpkg_depends_programs` names gives a version that fires a trigger.
    TriggerAnswerChanged {
        /// The trigger, `name` or `name operator level-or-version`.
        trigger: String,
        /// The command that gives the version.
        command: String,
        /// What it gave at the last build; `None` where it gave none.
        recorded: Option<Evr>,
        /// What it gives now.
        present: Evr,
    },
    /// A file that the spec's `%_mkpkg_depends_files` watches changed.
    TriggerFileChanged {
        /// The pattern that names it.
        pattern: String,
        /// Its path relative to the spec's directory.
        file: String,
        /// Its recorded content, if it was there.
        recorded: Option<ContentDigest>,
        /// Its present content, if it is there.
        present: Option<ContentDigest>,
    },
    /// A shared library that it is linked to comes from a package that changed as the soname policy says.
    SonameChanged {
        /// The package that is linked.
        package: String,
        /// The library as rpm writes it, for example `libz.so.1()(64bit)`.
        soname: String,
        /// Who provided it at the last build.
        recorded: Nevra,
        /// Who provides it now.
        present: Nevra,
        /// The policy: `newer` or a level of versions.
        policy: String,
        /// The spec whose change it is; `None` where it came from outside the tree or nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// The worker generation differs (policy `exact`).
    WorkerChanged {
        /// The recorded generation.
        recorded: ContentDigest,
        /// The present one.
        present: ContentDigest,
    },
}

impl BuildReason {
    /// Returns whether the user or the packager asks for a build, whatever an earlier one of the same inputs made:
    /// a trigger watches what the inputs need not show.
    pub fn demands_a_build(&self) -> bool {
        matches!(
            self,
            Self::Requested
                | Self::TriggerFired { .. }
                | Self::MassRebuild { .. }
                | Self::TriggerAnswerChanged { .. }
                | Self::TriggerFileChanged { .. }
        )
    }

    /// Returns whether nothing is known of an earlier build.
    pub fn is_first_build(&self) -> bool {
        matches!(self, Self::NeverBuilt | Self::RecordUnreadable)
    }

    /// Returns the spec of the tree whose change is the reason; `None` where the reason is the package's own, the
    /// user's, or comes from outside the tree.
    pub fn caused_by(&self) -> Option<&str> {
        match self {
            Self::RequirementLost { by, .. }
            | Self::StaticInputChanged { by, .. }
            | Self::BuildRequirementChanged { by, .. }
            | Self::TriggerFired { by, .. }
            | Self::SonameChanged { by, .. } => by.as_deref(),
            _ => None,
        }
    }
}

/// A binary package as recorded: the artifact and what dependants can see of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPackage {
    /// The file; its path is relative to the repository.
    #[serde(flatten)]
    pub artifact: PackageArtifact,
    /// What it provides.
    pub provides: Vec<crate::Dependency>,
    /// What it requires.
    pub requires: Vec<crate::Requirement>,
}

/// `build/records/<name>.json`: what went into the last accepted build of a spec, and what came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// This code reads and writes [`BuildRecord::SCHEMA`].
    pub schema: u32,
    /// The spec's name.
    pub package: String,
    /// The source package.
    pub source: Nevra,
    /// The counter behind `%dist` that its packages were built with; the source package has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dist_counter: Option<NonZeroU32>,
    /// Identity of the inputs without the build root.
    pub inputs: ContentDigest,
    /// Identity of everything: inputs and build root.
    pub identity: ContentDigest,
    /// The worker generation.
    pub worker: ContentDigest,
    /// The exact build root.
    pub lock: BuildrootLock,
    /// Whether `%check` ran and passed.
    pub checked: bool,
    /// Why it was built.
    pub reasons: Vec<BuildReason>,
    /// The packages, sorted by NEVRA.
    pub rpms: Vec<RecordedPackage>,
    /// Run-time requirements of them that nothing satisfied when they were accepted, sorted: what was never
    /// there cannot be lost, and building again would not bring it.
    #[serde(default)]
    pub unmet: Vec<crate::Requirement>,
    /// The source package file.
    pub srpm: PackageArtifact,
    /// What it used; the next schedule's estimate.
    pub usage: ResourceUsage,
    /// Processors that it was given; absent in records of older versions.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// What each of its sections used, in order; empty in records of older versions.
    #[serde(default)]
    pub phases: Vec<PhaseUsage>,
    /// Who counted for the sections.
    #[serde(default)]
    pub usage_source: Option<UsageSource>,
    /// What `%check` found, without the single tests; absent in records of older versions.
    #[serde(default)]
    pub check: Option<CheckReport>,
    /// What `%generate_buildrequires` asked for, sorted.
    #[serde(default)]
    pub generated: Vec<Requirement>,
    /// What compiler caches did.
    #[serde(default)]
    pub caches: Vec<CacheUse>,
    /// What the spec's triggers stood for; empty in records of older versions.
    #[serde(default, skip_serializing_if = "SeenTriggers::is_empty")]
    pub triggers: SeenTriggers,
    /// The parts of [`Self::inputs`]; absent in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_parts: Option<InputParts>,
    /// What a later decision must know of this build besides; absent in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<CascadeFacts>,
    /// Where it was taken from, when no worker built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<ReusedResult>,
    /// In what its packages differ from those published before; empty when they are the same, or the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangedPackage>,
}

impl BuildRecord {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;
}
