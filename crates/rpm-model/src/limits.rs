//! Limits on one build besides time and disk: plain data on its way from the configuration to the sandbox.

use serde::{Deserialize, Serialize};

/// What one build may use. In documents these are fields beside the others; absent ones have safe values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildLimits {
    /// Bytes of memory of all processes and in-memory file systems together. `None` means what the host has
    /// without a reserve for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads at the same time.
    pub process_limit: u64,
    /// Seconds of processor time of all processes together; `None` means as much as there is wall time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_seconds: Option<u64>,
    /// Files and directories that the build's directory may hold, and each in-memory file system.
    pub file_limit: u64,
}

impl Default for BuildLimits {
    /// Returns limits that no ordinary build meets and that end a runaway one before its host suffers.
    fn default() -> Self {
        Self {
            memory_limit_bytes: None,
            // Half of what the smallest usual `pid_max` leaves for the whole host.
            process_limit: 16_384,
            cpu_limit_seconds: None,
            // Five times the files of the largest source trees there are.
            file_limit: 2_000_000,
        }
    }
}

/// What held a build within its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitReport {
    /// The mechanism: `cgroup-v2`, `cgroup-v1` or `resource-limits`.
    pub enforced_by: String,
    /// Whose ids the ids inside were, for example `host`.
    pub id_mapping: String,
    /// Limits that nothing on the host enforced, for example `memory`.
    pub unenforced: Vec<String>,
    /// The memory limit in bytes that was set, also where none was asked for.
    pub memory_limit_bytes: Option<u64>,
    /// Whether the host's disk was full when the build ended; one that ran out of space otherwise has reached a limit
    /// of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub host_disk_full: bool,
}
