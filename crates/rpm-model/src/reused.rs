//! Where a result comes from that was not built in this run.

use serde::{Deserialize, Serialize};

use crate::hash::ContentDigest;
use crate::limits::BuildLimits;
use crate::tuning::TuningMode;

/// What is told of a host: nothing that identifies it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Release of the kernel.
    pub kernel: String,
    /// Architecture of the kernel.
    pub arch: String,
    /// Number of processors.
    pub processors: u32,
    /// Version of Millwright.
    pub millwright: String,
}

/// A result that was taken from a store of results instead of being built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReusedResult {
    /// The store's name.
    pub store: String,
    /// The build identity under which the store has it.
    pub identity: ContentDigest,
    /// The trusted key that signed it; absent where the store needs no signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// The host that built it, in its own words.
    pub host: HostFacts,
    /// When it was accepted there, in seconds since 1970 UTC.
    pub finished_at: u64,
    /// Settings of the build there, which may be others than here.
    pub settings: ReusedSettings,
}

/// What a build was given that does not show in packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReusedSettings {
    /// Processors that it counted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cpu: Option<u32>,
    /// Its time limit in seconds.
    pub timeout_seconds: u64,
    /// Its disk limit in bytes.
    pub disk_limit_bytes: u64,
    /// Its other limits.
    #[serde(default)]
    pub limits: BuildLimits,
    /// What stood for rpmbuild's helper scripts.
    #[serde(default)]
    pub tuning: TuningMode,
}
