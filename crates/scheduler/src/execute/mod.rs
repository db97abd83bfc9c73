//! Jobs, attempts, engines: how work is given away and how its results are believed.
//!
//! What it is: the engine-neutral job ([`JobSpec`]), one [`Attempt`] at it, the engine behind [`Executor`], what
//! workers report past the engine ([`Ledger`]), what survives a crash ([`Book`], [`Journal`]) and the [`Machine`]
//! that decides everything. What it is not: it knows neither RPM nor the order of packages; the queue and
//! acceptance are given to it. `docs/decisions/0010-a-run-is-a-state-machine.md` says why it is cut like this.

mod attempt;
mod book;
mod desk;
mod executor;
#[cfg(test)]
mod fake;
mod hosts;
mod job;
mod journal;
mod ledger;
mod local;
mod machine;

pub use attempt::{Attempt, AttemptId, AttemptIdError, Caller, Token};
pub use book::{Begun, Book, Current, Entry, PackageResult, PackageState, VoidReason};
pub(crate) use desk::{Call, Called, Desk};
pub use executor::{Capabilities, EngineState, Executor, SubmitError, Unreachable};
pub use hosts::HostRules;
pub use job::{Input, InputKind, JobDigest, JobFacts, JobSpec, OutputRule};
pub use journal::{Journal, JournalError};
pub use ledger::{Beat, Begin, Finish, Ledger};
pub use local::{Fence, Worker};
pub(crate) use local::{LOCAL, LocalExecutor, Pulse};
pub(crate) use machine::times;
pub use machine::{
    Action, Answer, Ending, Machine, MachineEvent, MachineSettings, PICTURES, Prepared, Request, Taken, Told,
};
