//! What workers tell the scheduler, past the engine.
//!
//! A worker begins, says again and again that it lives, and hands in its result. Each call carries the attempt's
//! secret; whoever does not make the current attempt at a package is told so and ends itself. Results never come
//! through an engine.

use rpm_model::{JobDocument, ResultDocument};

use super::attempt::Caller;

/// The answer to a worker that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It is to do this.
    Run(Box<JobDocument>),
    /// Another makes the attempt, or nobody should: it ends itself.
    Fenced,
}

/// The answer to a worker that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// It has another lease.
    Continue,
    /// It ends itself.
    Fenced,
}

/// The answer to a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It was taken, now or before: a repeated call is answered like the first.
    Accepted,
    /// It was not: it is not, or no longer, the current attempt's.
    Stale,
}

/// Where workers report; see the module text.
pub trait Ledger: Sync {
    /// A worker begins.
    fn begin(&self, caller: &Caller) -> Begin;

    /// A worker lives.
    fn beat(&self, caller: &Caller) -> Beat;

    /// A worker wrote to its log. `at` is the place of the first byte.
    fn log(&self, caller: &Caller, at: u64, bytes: &[u8]);

    /// A worker has ended its work: a compare-and-swap on the package's current attempt. An error is the sentence on
    /// why there is no result.
    fn finish(&self, caller: &Caller, result: Result<ResultDocument, String>) -> Finish;
}
