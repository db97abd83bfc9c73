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
    /// Nothing.
    pub const NONE: Self = Self { slots: 0, cpus: 0, memory_bytes: 0 };

    /// Returns whether a build of this demand may be started now.
    pub fn holds(&self, demand: &Demand) -> bool {
        self.slots > 0 && self.cpus >= demand.cpus && self.memory_bytes >= demand.memory_bytes
    }

    /// Returns both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            slots: self.slots.saturating_add(other.slots),
            cpus: self.cpus.saturating_add(other.cpus),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    /// Returns what is left of it; nothing where the other has more.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        Self {
            slots: self.slots.saturating_sub(other.slots),
            cpus: self.cpus.saturating_sub(other.cpus),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }

    /// Returns the smaller of both in each respect.
    #[must_use]
    pub fn at_most(&self, other: &Self) -> Self {
        Self {
            slots: self.slots.min(other.slots),
            cpus: self.cpus.min(other.cpus),
            memory_bytes: self.memory_bytes.min(other.memory_bytes),
        }
    }
}

/// A build that the queue handed out, with what it is promised until it has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// The spec.
    pub package: String,
    /// Processors that nobody else is promised.
    pub cpus: u32,
    /// Memory that nobody else is promised, in bytes.
    pub memory_bytes: u64,
    /// How long it is expected to take, in seconds.
    pub estimate: f64,
    /// Greater is sooner: the longest estimated way to the end of the plan, in milliseconds.
    pub priority: i64,
}

impl Dispatch {
    /// Returns what it takes of a machine.
    pub fn promised(&self) -> Capacity {
        Capacity { slots: 1, cpus: self.cpus, memory_bytes: self.memory_bytes }
    }

    /// Returns the demand of an attempt, with the limits that are not the queue's to know.
    pub fn demand(&self, disk_bytes: u64, wall: Duration) -> Demand {
        Demand {
            cpus: self.cpus,
            memory_bytes: self.memory_bytes,
            disk_bytes,
            wall,
            estimate: Duration::try_from_secs_f64(self.estimate).unwrap_or_default(),
            priority: self.priority,
        }
    }
}
