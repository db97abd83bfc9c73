//! What the scheduler knows of a spec when its turn comes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use rebuild::trigger::TriggerFacts;
use rpm_model::{
    BuildLimits, ContentDigest, PackageArtifact, RebuildPolicy, ReleaseBump, Requirement, SpecData,
};

/// A spec that can be built: its data, its packed source, its limits.
#[derive(Clone, Debug)]
pub struct PackageTask {
    /// The spec as read under the worker's macros.
    pub spec: SpecData,
    /// Its SRPM.
    pub srpm: PathBuf,
    /// The SRPM's hash.
    pub srpm_sha256: ContentDigest,
    /// Identity of its inputs.
    pub inputs: ContentDigest,
    /// Specs whose packages may enter its build root, all transitive ones included.
    pub root_specs: BTreeSet<String>,
    /// Whether `%check` runs.
    pub run_check: bool,
    /// Time limit.
    pub timeout: Duration,
    /// What the private upper directory may hold, in bytes.
    pub disk_limit_bytes: u64,
    /// What else it may use.
    pub limits: BuildLimits,
    /// What the log keeps of the build's output, in bytes.
    pub log_limit_bytes: u64,
    /// Processors that the build may count on.
    pub max_cpu: u32,
    /// What `%generate_buildrequires` asked for when the spec was last built; empty when it never was.
    pub generated_before: Vec<Requirement>,
    /// What its last build published, as its record says; empty where all of that is there.
    pub published_before: Vec<PackageArtifact>,
    /// How its release rises when it is built again for others' sake.
    pub bump: ReleaseBump,
    /// Which changes of others count.
    pub policy: RebuildPolicy,
    /// What the spec watches.
    pub triggers: TriggerFacts,
}
