//! What the scheduler knows of a spec when its turn comes.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use grapher::BuildOrder;
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
    pub root_specs: RootSpecs,
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

/// Specs whose packages may enter a build root; made up when somebody asks, for most specs of a large tree nobody does.
#[derive(Clone, Debug, Default)]
pub struct RootSpecs {
    /// The order that they are taken from, and the spec.
    of: Option<(Arc<BuildOrder>, String)>,
    whole: OnceLock<BTreeSet<String>>,
}

impl RootSpecs {
    /// Returns all prerequisites of a spec in an order.
    pub fn of(order: &Arc<BuildOrder>, spec: &str) -> Self {
        Self { of: Some((Arc::clone(order), spec.to_owned())), whole: OnceLock::new() }
    }
}

impl Deref for RootSpecs {
    type Target = BTreeSet<String>;

    fn deref(&self) -> &BTreeSet<String> {
        self.whole
            .get_or_init(|| self.of.as_ref().map_or_else(BTreeSet::new, |(order, spec)| order.closure(spec)))
    }
}
