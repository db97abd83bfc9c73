//! Reads Debian binary packages: control data, conffiles, maintainer scripts and every file, into memory.
//!
//! What it is not: an installer. Nothing is unpacked to disk and no script is run.

mod alternatives;
mod archive;
mod control;

pub use alternatives::{Alternative, find_alternatives};
pub use archive::{Deb, DebFile, DebFileKind};
pub use control::{DebDependency, Paragraph, parse_dependencies};
