//! Runs a plan: order, workers, acceptance, records.
//!
//! What it is: the queue ([`Queue`], pure), the machine that decides what becomes of attempts ([`execute`]), its
//! driver ([`run`]), the local executor's `pkgworker` processes ([`LocalBuilder`]), the acceptance that verifies, compares, publishes
//! and records ([`RepositoryAcceptor`]), and what they share: the packages that exist ([`Universe`]), build
//! records ([`RecordStore`]) and the lock that keeps a second run out ([`BuildDirectoryLock`]). [`Session`]
//! is the whole run over a tree that has been read and packed.
//!
//! What it is not: it parses no specs and packs none; package data and SRPMs are given to it. Workers are
//! never trusted; acceptance is.

mod accept;
mod caches;
mod demand;
mod drive;
pub mod execute;
mod external;
mod following;
mod generated;
mod inputs;
mod libraries;
mod linked;
mod local;
mod lock;
mod overlap;
mod plan;
mod programs;
mod provenance;
mod published;
mod queue;
mod records;
mod releases;
mod reuse;
mod root;
mod rounds;
mod run;
mod session;
mod simulate;
mod state_csv;
mod stop;
mod task;
mod tasks;
#[cfg(test)]
mod testing;
mod trial;
mod triggers;
mod universe;
mod weights;
mod why;
mod words;
mod workers;

pub use accept::{AcceptError, RepositoryAcceptor};
pub use caches::{CacheGroups, CacheGroupsError, CompilerCaches};
pub use demand::{Capacity, Demand, Dispatch};
pub use external::ExternalNeeds;
pub use following::Following;
pub use generated::Learned;
pub use grapher::Style;
pub use local::{LocalBuilder, LocalDirectories};
pub use lock::{BuildDirectoryLock, LockError};
pub use overlap::FileOverlap;
pub use plan::{
    Estimate, Estimates, GuessSource, LocalCause, PathStep, PlaceInGraph, PlanCause, PlanDocument, PlanInput,
    PlannedAction, PlannedImpact, PlannedPackage, PlannedTime, PossibleRebuild, SourcesState, Touch,
};
pub use programs::{NoPrograms, ProgramRequest, VersionPrograms};
pub use provenance::ProvenanceWriter;
pub use queue::{Queue, Task, TaskState};
pub use records::{RecordError, RecordStore};
pub use releases::PlannedRelease;
pub use reuse::{ResultPlaces, ResultReuse, WaitingResult};
pub use root::Roots;
pub use rounds::{Finished, Rounds, build_in_rounds};
pub use run::{
    Acceptance, Acceptor, Builder, Generated, Halt, Job, Preparation, PrepareRequest, Refused, RunContext,
    RunError, RunSettings, RunSummary, run,
};
pub use session::{
    Chosen, Graphed, PackedSrpm, PackedTree, Planned, Session, SessionError, SessionSettings, Wanted, failure,
};
pub use simulate::{
    ChainLink, LimitedBy, PlayedBuild, PlayedSchedule, Simulation, SimulationDocument, StartCause, simulate,
};
pub use stop::Stop;
pub use task::{PackageTask, RootSpecs};
pub use trial::Rises;
pub use universe::{Outside, Published, RelevantPackage, Root, RootFacts, RootRequest, Universe};
pub use weights::{Weight, Weights};
pub use why::{CausedBy, Compared, LastBuild, Stricter, Verdict, WhyDocument, WhyPackage};
pub use words::{
    PlanWords, blocked_text, duration, plan_text, run_status, simulation_text, summary_text, why_text,
};
pub use workers::Workers;
