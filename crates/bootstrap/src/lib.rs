//! Makes a toolchain repository and a worker from a base distribution.
//!
//! What it is: the way from a host that has only Debian and Rust to RPMs that can build RPMs. [`AptRoot`] fetches
//! Debian packages through a private apt, [`bridge`] turns them into RPMs, [`make_toolchain`] does both and
//! publishes the directory. Everything is keyed by content: when nothing changed, nothing runs.
//!
//! What it is not: a package manager for the host, whose state it neither reads nor changes; nor a builder of
//! packages.

mod apt;
mod archive;
mod base;
mod bridge;
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
pub use base::{BaseNote, BaseSource, DebianBase, HttpFetch, RepositoryBase, Selection, SignaturePolicy};
pub use bridge::{
    BRIDGE_VERSION, BridgeNote, DebFileReference, ElfDependencies, NameTable, bridge, elf_dependencies,
    parse_list,
};
pub use configuration::Configuration;
pub use deb::{
    Alternative, Deb, DebDependency, DebFile, DebFileKind, Paragraph, find_alternatives, parse_dependencies,
};
pub use error::BootstrapError;
pub use progress::{Event, Reporter, Silent};
pub use toolchain::{Toolchain, ToolchainPackage, make_toolchain, make_toolchain_from};
pub use worker::{Worker, make_worker};
