//! Layers: the content of packages, unpacked once per host, never written again.
//!
//! # On disk
//!
//! ```text
//! <store>/<format>/layers/<key>/root/        the tree, used as an overlay lower
//!                              /layer.json   what it is (`LayerRecord`)
//!                              /paths        every path with type, mode, owner and content
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
//! - What a killed process leaves is in `temp`, beside a lock file that the kernel has released; the
//!   next process that opens the store removes it.
//! - Layers are not synced to disk: that would stall every build behind the writes of all others.
//!   Instead each carries the boot id of the machine. A layer of another boot may have lost data
//!   and is made again ([`LayerMissReason::OtherBoot`]).

mod assemble;
mod cpio;
mod index;
mod package;
mod record;
mod scriptlet;
mod store;
mod tree;
mod unpack;
mod vet;

pub use package::PackageFault;
pub use record::{
    Layer, LayerCounts, LayerKey, LayerKeyError, LayerMissReason, LayerOutcome, LayerRequest, SetuidPolicy,
};
pub use scriptlet::{Scriptlet, ScriptletKind};
pub use store::{LayerStore, StoreDirectory};
pub use tree::TreeFault;
pub use unpack::UnpackFault;

pub(crate) use assemble::Part;
pub(crate) use index::{Node, PathKind, read_index};
pub(crate) use tree::Attributes;
