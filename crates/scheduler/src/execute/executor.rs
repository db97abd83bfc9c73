//! What runs attempts: an engine, and how little is expected of it.
//!
//! An engine places a process on a host, supervises it and can kill it. It is not believed: that an attempt is
//! running, gone or done is only a hint. What counts comes from the worker itself, through the
//! [`Ledger`](super::Ledger). The calls are made from the run's own thread, one at a time, and must not wait for
//! builds; an engine that needs an asynchronous library hides that behind them.

use std::collections::BTreeMap;

use crate::demand::{Capacity, Demand};

use super::attempt::{Attempt, AttemptId};
use super::job::JobSpec;

/// What an engine can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether attempts go on when the scheduler ends, and are found again by a new one.
    pub outlives_scheduler: bool,
    /// Whether all attempts run on one host, so that there is no other to turn to when it fails.
    pub single_host: bool,
    /// Whether it holds attempts to the memory of their demand.
    pub enforces_memory: bool,
    /// Whether cancelling ends every process of an attempt.
    pub kills_tree: bool,
    /// Whether the priority of a submitted attempt can be changed.
    pub can_reprioritise: bool,
}

/// Why an attempt was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Nobody knows whether it was taken; the same attempt is submitted again.
    #[error("{0}")]
    Transient(String),
    /// It was not taken and never will be.
    #[error("{0}")]
    Rejected(String),
}

/// An engine that cannot be asked; what it would have said is unknown, not "nothing".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine cannot be reached: {0}")]
pub struct Unreachable(pub String);

/// What an engine says of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// Not started.
    Queued,
    /// Started.
    Running,
    /// Ended, however.
    Ended,
}

/// An engine; see the module text.
pub trait Executor {
    /// Returns what it can do.
    fn capabilities(&self) -> Capabilities;

    /// Returns what this run may use of it altogether, its own attempts included, with a few more slots where the
    /// engine is quicker with something to choose from.
    fn capacity(&self) -> Result<Capacity, Unreachable>;

    /// Takes an attempt. Submitting an attempt again that it has taken already changes nothing and succeeds.
    fn submit(&self, attempt: &Attempt, job: &JobSpec, demand: &Demand) -> Result<(), SubmitError>;

    /// Returns all attempts that it knows of, as one picture.
    fn observe(&self) -> Result<BTreeMap<AttemptId, EngineState>, Unreachable>;

    /// Ends an attempt, as far as it can; one that it does not know is none of its business.
    fn cancel(&self, attempt: &AttemptId);

    /// Moves an attempt that was not started before or behind others.
    fn set_priority(&self, attempt: &AttemptId, priority: i64);
}
