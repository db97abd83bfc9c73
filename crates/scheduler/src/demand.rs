//! What a build needs of a machine, and what a machine has: plain data, beside the job and not part of it.
//!
//! A job's digest says what is built; nothing here can change a byte of the result, so nothing here is in that
//! digest. Whoever orders builds packs [`Demand`]s into a [`Capacity`]; whoever runs them enforces them.

use std::time::Duration;

/// What one attempt is expected to use, and what it is given at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Processors that the build may count on.
    pub cpus: u32,
    /// Memory that it is expected to use at its peak, in bytes.
    pub memory_bytes: u64,
    /// What its private upper directory may hold, in bytes.
    pub disk_bytes: u64,
    /// How long it may take before it is ended.
    pub wall: Duration,
    /// How long it is expected to take.
    pub estimate: Duration,
    /// Greater is sooner: the longest estimated way to the end of the plan, in milliseconds.
    pub priority: i64,
}

/// What is free for builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Builds that may be started.
    pub slots: usize,
    /// Processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

impl Capacity {
    /// Returns whether a build of this demand may be started now.
    pub fn holds(&self, demand: &Demand) -> bool {
        self.slots > 0 && self.cpus >= demand.cpus && self.memory_bytes >= demand.memory_bytes
    }
}
