//! Reads Debian binary packages: control data, conffiles, maintainer scripts and every file, into memory.
//!
//! What it is not: an installer. Nothing is unpacked to disk and no script is run.

mod alternatives;
mod archive;
mod control;

pub(crate) use alternatives::{Alternative, find_alternatives};
pub(crate) use archive::{Deb, DebFile, DebFileKind};
pub(crate) use control::{DebDependency, Paragraph, parse_dependencies};
