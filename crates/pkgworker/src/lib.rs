//! Builds one SRPM in one fresh build root.
//!
//! What it is: the worker. A self-contained [`rpm_model::JobDocument`] goes in; rpmbuild runs in a sandbox
//! over the exact packages that the job names, without network and without rights; packages that the spec
//! announced come out, with a [`rpm_model::ResultDocument`] that says what happened. The Azure toolkit's
//! flags make such a job from an SRPM and directories of RPMs ([`resolve`]).
//!
//! What it is not: it decides nothing about other packages, publishes nothing and is not trusted: whoever
//! takes its results verifies them again.
//!
//! On disk: `<work>/<name-version-release>.<pid>/` while it runs, see `workdir`. Killing it at any moment
//! leaves no process and no mount (both live in the sandbox), and a directory that the next worker removes.

mod build;
mod collect;
mod command;
mod disk;
mod error;
mod log;
mod output;
mod patience;
pub mod resolve;
mod tuning;
mod workdir;

pub use build::{Host, Keep, build};
pub use command::{TOP_DIRECTORY, WORKER_SEMANTICS};
pub use error::WorkerError;
