//! Runs a plan: order, workers, acceptance, records.
//!
//! What it is: the queue ([`Queue`], pure), the loop that plays it ([`run`]), the local executor that starts
//! one `pkgworker` process per attempt ([`LocalBuilder`]), the acceptance that verifies, compares, publishes
//! and records ([`RepositoryAcceptor`]), and what they share: the packages that exist ([`Universe`]), build
//! records ([`RecordStore`]) and the lock that keeps a second run out ([`BuildDirectoryLock`]).
//!
//! What it is not: it parses no specs and draws no graph; which specs there are and which of them must be
//! finished before which is given to it ([`PackageTask`]). Workers are never trusted; acceptance is.

mod accept;
mod local;
mod lock;
mod plan;
mod queue;
mod records;
mod run;
mod task;
#[cfg(test)]
mod testing;
mod universe;

pub use accept::{AcceptError, RepositoryAcceptor};
pub use local::{KeepRoots, LocalBuilder, LocalDirectories};
pub use lock::{BuildDirectoryLock, LockError};
pub use plan::{PlaceInGraph, PlanDocument, PlanInput, PlannedAction, PlannedPackage, estimate};
pub use queue::{Queue, Task, TaskState};
pub use records::{RecordError, RecordStore};
pub use run::{Acceptance, Acceptor, Attempt, Builder, RunError, RunSettings, RunSummary, run};
pub use task::PackageTask;
pub use universe::{Published, Root, RootRequest, Universe};
