//! Makes a toolchain repository and a worker from a base distribution.
//!
//! What it is: the way from a host that has only Debian and Rust to RPMs that can build RPMs. A [`BaseSource`]
//! gives packages: [`DebianBase`] fetches Debian's through a private apt ([`AptRoot`]) and turns them into RPMs
//! ([`bridge`]), [`RepositoryBase`] takes them from any repository of RPMs. [`make_toolchain`] publishes them as a
//! directory, [`make_worker`] freezes the core set that every build root starts from and lets rpm itself record it;
//! [`export`] and [`import`] carry a worker to other machines, [`save`] and [`put_back`] directories of packages. Everything is keyed by content: when nothing
//! changed, nothing runs.
//!
//! What it is not: a package manager for the host, whose state it neither reads nor changes; nor a builder of
//! packages.

mod apt;
mod archive;
mod base;
mod bridge;
mod carry;
mod command;
mod configuration;
mod deb;
mod error;
mod files;
mod generated;
mod progress;
mod toolchain;
mod worker;

pub use apt::{AptRoot, DebianPackage, Indexes, SourceFile};
pub use archive::{ArchivedPackage, ArchivedWorker, export, import};
pub use base::{BaseNote, BaseSource, DebianBase, RepositoryBase, Selection};
pub use bridge::{
    BRIDGE_VERSION, BridgeNote, DebFileReference, ElfDependencies, NameTable, bridge, elf_dependencies,
};
pub use carry::{CarriedPart, PutBack, put_back, save};
pub use configuration::Configuration;
pub use error::BootstrapError;
pub use progress::{Event, Reporter, Silent};
pub use toolchain::{Toolchain, ToolchainPackage, make_toolchain, make_toolchain_from, present_toolchain};
pub use worker::{Worker, make_worker, present_worker};
