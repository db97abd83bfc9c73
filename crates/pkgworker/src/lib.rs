//! Builds one SRPM in one fresh build root.
//!
//! What it is: the worker. A self-contained [`rpm_model::JobDocument`] goes in; rpmbuild runs in a sandbox
//! over the exact packages that the job names, without network and without rights; packages that the spec
//! announced come out, with a [`rpm_model::ResultDocument`] that says what happened. The Azure toolkit's
//! flags make such a job from an SRPM and directories of RPMs ([`resolve`]). A kept root is entered again
//! ([`enter`]), run again from one of its sections ([`rerun`]) and looked at ([`difference()`]). One process can build
//! job after job ([`service`]).
//!
//! What it is not: it decides nothing about other packages, publishes nothing and is not trusted: whoever
//! takes its results verifies them again.
//!
//! On disk: `<work>/<name-version-release>.<pid>/` while it runs, see `workdir`; of a small build nothing (`place`). Killing it at any moment
//! leaves no process and no mount (both live in the sandbox), and a directory that the next worker removes.

mod build;
mod caches;
mod check;
mod collect;
mod command;
mod conclusion;
mod difference;
mod disk;
mod enter;
mod error;
mod generated;
mod kept;
mod left;
mod log;
mod log_file;
mod memory;
mod network;
mod output;
mod patience;
mod phases;
mod place;
mod refused;
mod rerun;
pub mod resolve;
mod section;
pub mod service;
mod tuning;
mod unused;
mod workdir;

pub use build::{Host, build};
pub use collect::packages_refused;
pub use command::{Invocation, TOP_DIRECTORY, WORKER_SEMANTICS, invocation};
pub use difference::{Change, ChangeKind, Difference, difference};
pub use enter::{Entrance, enter};
pub use error::WorkerError;
pub use generated::{MOST_ROUNDS, changed_requirements};
pub use kept::{KeptRoot, find_kept};
pub use memory::memory_for_builds;
pub use rerun::{Rerun, RerunHost, rerun};
pub use section::{Section, SectionError};
pub use tuning::TuningMemory;
pub use unused::{UnusedAnswer, UnusedReport, build_and_find_unused};
pub use workdir::remove_leftovers;
