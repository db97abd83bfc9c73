//! Build roots: unpacked packages stacked into a root directory, and programs run inside it.
//!
//! What it is:
//! - [`LayerStore`]: the content of each RPM, unpacked once per host into a content-addressed store.
//!   A published layer is never opened for writing again.
//! - [`SandboxSpec`] and [`Sandbox`]: an overlay of layers as root, new namespaces, limits, one program.
//!   A specification is plain data; so is the list of mounts that it means (`plan`).
//!
//! What it is not: it knows nothing of specs, rpmbuild, jobs or repositories and resolves no dependencies.
//! It executes what its caller has decided; scriptlets are run by the packages' own rpm, inside.
//!
//! The only crate that mounts, and the only library that may hold `unsafe`. Namespaces, mounts and
//! forks happen in helper processes, `buildroot-init`, each of which has one thread and one task at a time; the
//! calling process only spawns them, so it may have any number of threads.

mod calls;
mod capability;
mod cgroup;
mod error;
mod file_work;
mod held;
mod helper;
pub mod init;
mod kernel_file;
mod layer;
pub mod lifeline;
mod memory_tree;
mod opened;
mod outcome;
mod plan;
mod probe;
mod remove;
mod root;
mod sandbox;
mod spec;
mod spread;
mod wire;

pub use calls::{CallAnswer, CallCondition, CallRule, FAMILIES, call_rules};
pub use capability::{Capability, ProbeError};
pub use error::LayerError;
pub use held::{Held, held_by};
pub use layer::{
    Collected, CollectedLayer, KindStatistics, Layer, LayerCounts, LayerKey, LayerKeyError, LayerMissReason,
    LayerOutcome, LayerRequest, LayerStore, PackageFault, Payload, PayloadFile, Scriptlet, ScriptletKind,
    SetuidPolicy, StoreDirectory, StoreStatistics, TreeFault, UnpackFault,
};
pub use memory_tree::MemoryTree;
pub use opened::OpenedFiles;
pub use outcome::{End, IdMapping, LimitKind, Limiter, Outcome, SetupFailure, SetupOperation, Usage};
pub use plan::PlanError;
pub use probe::{AccountingSource, Probe};
pub use remove::remove_tree;
pub use root::{
    PackageScriptlet, RootError, RootNote, RootOptions, RootOutcome, RootPlan, TransactionFault,
    TransactionLimits,
};
pub use sandbox::{Captured, INIT_PROGRAM, KillHandle, Running, Sandbox, SandboxError, SandboxIo};
pub use spec::{
    BUILDER_ID, BindMount, Capabilities, Limits, MAX_LOWERS, Network, SandboxSpec, SystemCalls, TmpfsMount,
    Upper,
};
pub use spread::spread_subdirectories;
