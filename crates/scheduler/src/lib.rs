//! Runs a plan: order, workers, acceptance, records.

mod lock;
mod queue;
mod records;
mod run;
#[cfg(test)]
mod testing;

pub use lock::{BuildDirectoryLock, LockError};
pub use queue::{Queue, Task, TaskState};
pub use records::{RecordError, RecordStore};
pub use run::{Acceptance, Acceptor, Attempt, Builder, RunError, RunSettings, RunSummary, run};
