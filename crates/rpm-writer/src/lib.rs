//! Writes RPM version 4 package files as bytes, in process and without rpmbuild.
//!
//! What it is: an encoder. The caller describes a package as plain data ([`Package`]) and its files
//! ([`FileEntry`]); [`Payload::pack`] digests and compresses the files, [`Package::to_bytes`] puts lead,
//! signature header, main header and payload together. Equal input gives equal bytes: nothing here reads a
//! clock, a host name or the environment, and every list is sorted before it is encoded.
//!
//! A source package is written from the header that rpm's own parse of the spec leaves ([`SourcePackage`]), and
//! is then what `rpmbuild -bs` would write.
//!
//! What it is not: a builder (no dependency generators, no scriptlets run, no policy), a reader (that is the
//! `rpm` crate), or a signer (digests only).
//!
//! Facts of the format come from rpm's own `docs/manual/format*.md` and `rpmtag.h`. Two of them are easy to get
//! wrong and silent when wrong: rpm finds a file by binary search, so entries are sorted by path; and the
//! members of a hard link set must follow one another in the cpio payload, with the content on the last of
//! them, or rpm links the wrong files together.
//!
//! ```
//! use rpm_writer::{FileEntry, Package, Payload};
//!
//! let mut package = Package::new("hello", "1.0", "1", "noarch");
//! package.license = "MIT".into();
//! let payload = Payload::pack(vec![FileEntry::file("/usr/bin/hello", 0o755, "#!/bin/sh\necho hello\n")])?;
//! let bytes = package.to_bytes(&payload)?;
//! assert_eq!(&bytes[..4], b"\xed\xab\xee\xdb");
//! # Ok::<(), rpm_writer::WriteError>(())
//! ```

mod compression;
mod cpio;
mod dependency;
mod error;
mod exported;
mod file;
mod header;
mod lead;
mod main_header;
mod package;
mod payload;
mod signature;
mod source_features;
mod source_package;
mod tag;

pub use compression::{Compression, CompressionError, ZstdThreads, zstd_version};
pub use dependency::{Dependency, Sense};
pub use error::WriteError;
pub use file::{Content, FileEntry, FileFlags, FileKind};
pub use package::{BuildStamp, ChangelogEntry, Package, PackageKind, Phase, Scriptlet};
pub use payload::{FileRecord, Payload};
pub use source_package::{SourceFacts, SourceFile, SourcePackage, SourceRefusal, WrittenPackage};
