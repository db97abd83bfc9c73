//! What the ELF files of packages say that package headers do not: where their libraries lie and are looked for, and
//! which symbols they export and import.
//!
//! rpm writes sonames into package headers without saying where a library lies. So a library that a package keeps
//! for itself, in a directory of its own, looks like one for everybody. Here the files are read: soname, needed
//! libraries, `RPATH` and `RUNPATH` ([`ElfFile`]), the loader's configuration, and by them what the loader would find
//! ([`private_libraries`], [`needs`]). Symbols are read where somebody asks what differs between two builds
//! ([`symbols`]).
//!
//! What it is not: it decides nothing about rebuilds, executes nothing and looks at no file of the host. What other
//! packages have it asks through [`Installed`].

mod elf;
mod package;
mod path;
mod search;
pub mod symbols;
#[cfg(test)]
mod testing;

pub use elf::{ElfFault, ElfFile, ElfKind, read_elf};
pub use package::{BuiltFiles, PackagedElf, UnreadFile, read_built};
pub use path::is_default_directory;
pub use search::{Installed, PrivateLibraries, needs, private_libraries};
