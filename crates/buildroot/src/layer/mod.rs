//! Layers: the content of packages, unpacked once per host, never written again.
//!
//! # On disk
//!
//! ```text
//! <store>/<format>/layers/<key>/root/        the tree, used as an overlay lower
//!                              /layer.json   what it is (`LayerRecord`)
//!                              /paths        every path with type, mode, owner and content
//!                 /leases/<random>          flock by whoever uses the layers that it names
//!                 /gate                     flock: leases are written, or layers are collected
//!                 /collection               flock while layers are collected
//!                 /locks/<2 digits>          flock while a layer whose key falls there is made
//!                 /sets/<hash>.json          root plans that were worked out
//!                 /temp/<session>[.lock]     what is not finished
//! ```
//!
//! `<format>` names the version of this layout and everything that changes the content of a layer but
//! is not in its key (set-id bits kept or not, real owners or only the own user).
//!
//! # Rules
//!
//! - A layer appears by one `rename` and is complete from then on. Nothing opens it for writing.
//! - Two processes that want the same layer take turns by `flock`; the second finds it made.
//! - A layer that is used has a lease and is never collected (`lease`); what is collected vanishes by one
//!   `rename` (`collect`). What is remembered of a set goes with the first of its layers.
//! - What a killed process leaves is in `temp`, beside a lock file that the kernel has released; the
//!   next process that opens the store removes it.
//! - Layers are not synced to disk: that would stall every build behind the writes of all others.
//!   Instead each carries the boot id of the machine. A layer of another boot may have lost data
//!   and is made again ([`LayerMissReason::OtherBoot`]).

mod assemble;
mod collect;
mod cpio;
mod index;
mod lease;
mod package;
mod payload;
mod record;
mod scriptlet;
mod statistics;
mod store;
mod tree;
mod unpack;
mod verify;
mod vet;

pub use collect::{Collected, CollectedLayer};
pub use package::PackageFault;
pub use payload::{Payload, PayloadFile};
pub use record::{
    Layer, LayerCounts, LayerKey, LayerKeyError, LayerMissReason, LayerOutcome, LayerRequest, SetuidPolicy,
};
pub use scriptlet::{Scriptlet, ScriptletKind};
pub use statistics::{KindStatistics, StoreStatistics};
pub use store::{LayerStore, StoreDirectory};
pub use tree::TreeFault;
pub use unpack::UnpackFault;

pub(crate) use assemble::Part;
pub(crate) use index::{Node, PathKind, read_index};
pub(crate) use lease::Lease;
pub(crate) use store::count;
pub(crate) use tree::Attributes;
pub(crate) use verify::{identity_and_build_time, verify_sha256};
