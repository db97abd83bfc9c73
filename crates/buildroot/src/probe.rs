//! What a running sandbox has used so far: plain data, asked for through [`Running::probe`](crate::Running::probe).
//!
//! A probe is cheap (well below a fifth of a millisecond), so that it can be taken whenever a build enters
//! another section. Two probes give what happened between them: processor time and bytes written are sums
//! from the beginning, the peak of memory counts from the probe before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a run used up to one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Microseconds since the run began.
    pub wall_us: u64,
    /// Processor time in microseconds of all processes since the beginning, ended ones included.
    pub cpu_us: u64,
    /// Peak memory in bytes since the probe before, memory file systems included; `None` where no cgroup counts
    /// it.
    pub peak_memory_bytes: Option<u64>,
    /// Bytes that processes have written to file systems on disk since the beginning, ended ones included; what
    /// goes to memory file systems counts as memory. `None` where the kernel does not tell.
    pub written_bytes: Option<u64>,
    /// Who counted time and memory.
    pub source: AccountingSource,
}

/// Returns a duration in whole microseconds, at most what a probe can hold.
pub(crate) fn in_microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Who counted the processor time and the memory of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountingSource {
    /// A cgroup of the unified hierarchy.
    CgroupV2,
    /// Cgroups of version 1 (`cpuacct`, `memory`).
    CgroupV1,
    /// A sum over the processes alive and what each has reaped, to a hundredth of a second; no peak of memory.
    Processes,
}
