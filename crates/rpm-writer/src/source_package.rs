//! Writes source packages as `rpmbuild -bs` does, from the header that rpm's parse of the spec leaves.
//!
//! The parse says everything about the package but its files and its build; `rpmbuild -bs` adds to it, and so
//! does [`SourcePackage::write`]: build time, host and cookie, the files' records, the `rpmlib(...)` features,
//! encoding, the payload's format and digests, and around it lead and signature header with room for an
//! OpenPGP signature. With equal facts the file is that of rpm 4.18 byte for byte; only the payload's
//! compression depends on whose library compresses.
//!
//! What is expected in the exported header beside what the parse leaves: `RPMVERSION` (whose format this is)
//! and `SPEC` (the parsed text), which only the parser knows.
//!
//! Files are read once, in pieces, and digested while they pass by: a file whose bytes are not those that were
//! verified before is an error ([`WriteError::Changed`]), so no other check is needed.

use crate::compression::{Compression, Encoder};
use crate::cpio;
use crate::error::WriteError;
use crate::exported::{ExportedHeader, HeaderFault};
use crate::file::FileFlags;
use crate::header::Header;
use crate::lead::{self, LeadKind};
use crate::main_header::{self, SHA256};
use crate::package::BuildStamp;
use crate::payload::{FileRecord, hex};
use crate::signature::{self, Signed};
use crate::source_features::requires_with_features;
use crate::tag;
use md5::Md5;
use rpm_model::ContentDigest;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// Archives up to this size are compressed in memory; larger ones go to the output piece by piece.
const IN_MEMORY: u64 = 4 << 20;
/// Every file of a source package has these permissions, whatever it has in the tree.
const MODE: u16 = 0o100_644;

/// A file of a source package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where its bytes are.
    pub path: PathBuf,
    /// What its bytes are; others are refused.
    pub sha256: ContentDigest,
}

/// What neither the spec nor its files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// Build time, which is every file's time too, and build host.
    pub stamp: BuildStamp,
    /// The architecture packed on, for the lead.
    pub arch: String,
    /// How the payload is compressed.
    pub compression: Compression,
}

/// Why a source package is not written here, although `rpmbuild` might.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SourceRefusal {
    /// The header is damaged.
    #[error("the header from the parse cannot be used: {message}")]
    Damaged {
        /// What is wrong.
        message: String,
    },
    /// The header lacks what only the parser knows.
    #[error("the header from the parse lacks tag {tag}")]
    Lacks {
        /// The tag.
        tag: u32,
    },
    /// A text of the header is not UTF-8.
    #[error("the text of tag {tag} is not UTF-8")]
    Encoding {
        /// The tag.
        tag: u32,
    },
    /// Sources or patches are left out (`NoSource`, `NoPatch`).
    #[error("the spec has NoSource or NoPatch")]
    NoSource,
    /// The header names a file that was not given.
    #[error("the header from the parse names `{file}`, which is no source of the spec")]
    Unknown {
        /// The file.
        file: String,
    },
}

impl From<HeaderFault> for SourceRefusal {
    fn from(fault: HeaderFault) -> Self {
        Self::Damaged { message: fault.to_string() }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenPackage {
    /// Size in bytes.
    pub size: u64,
    /// The whole file's SHA-256.
    pub sha256: ContentDigest,
}

/// A source package without its files.
#[derive(Debug, Clone)]
pub struct SourcePackage<'a> {
    header: ExportedHeader<'a>,
    name: &'a str,
    version: &'a str,
    release: &'a str,
}

/// A file with what its record says before it is read.
struct Member<'a> {
    name: &'a str,
    file: &'a SourceFile,
    size: u32,
    flags: FileFlags,
    inode: u32,
}

/// What is known of the payload when it is written.
struct PayloadFacts {
    sha256: String,
    archive_sha256: String,
}

impl<'a> SourcePackage<'a> {
    /// Takes over a header in rpm's exported form.
    ///
    /// # Errors
    /// [`SourceRefusal`], when nothing equal to rpmbuild's package can be written.
    pub fn from_exported(bytes: &'a [u8]) -> Result<Self, SourceRefusal> {
        let header = ExportedHeader::parse(bytes)?;
        if let Some(tag) = header.foreign_text() {
            return Err(SourceRefusal::Encoding { tag });
        }
        if let Some(tag) = [tag::RPM_VERSION, tag::SPEC].into_iter().find(|tag| !header.contains(*tag)) {
            return Err(SourceRefusal::Lacks { tag });
        }
        if header.contains(tag::NO_SOURCE) || header.contains(tag::NO_PATCH) {
            return Err(SourceRefusal::NoSource);
        }
        let part = |tag| {
            let text = header.text(tag).and_then(|text| std::str::from_utf8(text).ok());
            let text = text.ok_or(SourceRefusal::Lacks { tag })?;
            // It becomes part of a file name.
            match text.is_empty() || text.contains('/') {
                true => Err(SourceRefusal::Damaged { message: format!("tag {tag} is `{text}`") }),
                false => Ok(text),
            }
        };
        let (name, version, release) = (part(tag::NAME)?, part(tag::VERSION)?, part(tag::RELEASE)?);
        Ok(Self { header, name, version, release })
    }

    /// Returns the date of the newest changelog entry in seconds since 1970, as rpm takes it for the package's
    /// own: an entry without a time of day is dated noon and counts from midnight.
    pub fn changelog_date(&self) -> Option<u32> {
        const DAY: u32 = 86_400;
        const NOON: u32 = DAY / 2;
        let date = self.header.numbers(tag::CHANGELOG_TIME).next()?;
        Some(if date % DAY == NOON { date - NOON } else { date })
    }

    /// Returns the file name that rpmbuild gives it.
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.src.rpm", self.name, self.version, self.release)
    }

    /// Writes the package at the beginning of an empty output.
    ///
    /// `spec` is the name of the spec among `files`, the others are sources and patches by the name that the
    /// header knows them by; what the header does not name is left out, as rpmbuild leaves it out.
    ///
    /// # Errors
    /// [`WriteError::Refused`] and [`WriteError::TooLarge`] before anything is written;
    /// [`WriteError::Read`], [`WriteError::Changed`], [`WriteError::Compress`] (which is also a full disk),
    /// [`WriteError::Output`] later: the output is of no use then.
    pub fn write(
        &self,
        spec: &str,
        files: &BTreeMap<String, SourceFile>,
        facts: &SourceFacts,
        output: &mut (impl Read + Write + Seek),
    ) -> Result<WrittenPackage, WriteError> {
        let members = self.members(spec, files)?;
        let archive_size = archive_size(&members)?;
        let records = records(&members, &facts.stamp);
        let head = |payload: &PayloadFacts| self.encode(&records, facts, payload);
        if archive_size <= IN_MEMORY {
            let (payload, compressed) = pack(&members, facts, Vec::new())?;
            let header = head(&payload)?;
            let md5 = Md5::new().chain_update(&header).chain_update(&compressed.inner).finalize().into();
            let mut bytes = self.begin(&header, md5, compressed.size, archive_size, facts)?;
            bytes.extend_from_slice(&compressed.inner);
            output.write_all(&bytes).map_err(WriteError::Output)?;
            return Ok(WrittenPackage { size: bytes.len() as u64, sha256: ContentDigest::of_bytes(&bytes) });
        }
        // Digests have fixed lengths, so everything before the payload has its size before it has its content.
        let nothing = PayloadFacts { sha256: "0".repeat(64), archive_sha256: "0".repeat(64) };
        let room = self.begin(&head(&nothing)?, [0; 16], 0, 0, facts)?.len() as u64;
        output.seek(SeekFrom::Start(room)).map_err(WriteError::Output)?;
        let (payload, compressed) = pack(&members, facts, &mut *output)?;
        let size = compressed.size;
        let header = head(&payload)?;
        let md5 = digest_from(output, room, Md5::new().chain_update(&header))?;
        let bytes = self.begin(&header, md5.into(), size, archive_size, facts)?;
        output.seek(SeekFrom::Start(0)).map_err(WriteError::Output)?;
        output.write_all(&bytes).map_err(WriteError::Output)?;
        let sha256 = digest_from(output, room, Sha256::new().chain_update(&bytes))?;
        Ok(WrittenPackage { size: room + size, sha256: ContentDigest::from_hash(&sha256) })
    }

    /// Returns the files that the header names and the spec, in the order of the archive, which is by name.
    fn members<'f>(
        &self,
        spec: &'f str,
        files: &'f BTreeMap<String, SourceFile>,
    ) -> Result<Vec<Member<'f>>, WriteError> {
        // How often each is listed: rpm numbers inodes before it drops what is listed twice.
        let mut wanted = BTreeMap::from([(spec, (FileFlags::SPECFILE, 1))]);
        for name in self.header.texts(tag::SOURCE).chain(self.header.texts(tag::PATCH)) {
            let name = String::from_utf8_lossy(name);
            let Some((name, _)) = files.get_key_value(name.as_ref()) else {
                return Err(WriteError::Refused(SourceRefusal::Unknown { file: name.into_owned() }));
            };
            wanted.entry(name.as_str()).or_insert((FileFlags::NONE, 0)).1 += 1;
        }
        let mut members = Vec::with_capacity(wanted.len());
        let mut inode = 1;
        for (name, (flags, times)) in wanted {
            let file = files.get(name);
            let file =
                file.ok_or_else(|| WriteError::Refused(SourceRefusal::Unknown { file: name.to_owned() }))?;
            let metadata = std::fs::metadata(&file.path);
            let size = metadata.map_err(|source| read_error(file, source))?.len();
            let size =
                u32::try_from(size).map_err(|_| WriteError::TooLarge { what: name.to_owned(), size })?;
            members.push(Member { name, file, size, flags, inode });
            inode += times;
        }
        Ok(members)
    }

    /// Returns the encoded main header.
    fn encode(
        &self,
        records: &[FileRecord],
        facts: &SourceFacts,
        payload: &PayloadFacts,
    ) -> Result<Vec<u8>, WriteError> {
        let mut header = Header::new(tag::HEADER_IMMUTABLE);
        for (tag, value) in self.header.values() {
            header.encoded(tag, value);
        }
        let stamp = &facts.stamp;
        header.int32(tag::BUILD_TIME, vec![stamp.time]);
        header.text(tag::BUILD_HOST, &stamp.host);
        header.text(tag::COOKIE, format!("{} {}", stamp.host, stamp.time));
        header.int32(tag::SOURCE_PACKAGE, vec![1]);
        header.text(tag::ENCODING, "utf-8");
        requires_with_features(&self.header, facts.compression, &mut header).map_err(WriteError::Refused)?;
        main_header::add_files(&mut header, records);
        let size = records.iter().map(|record| u64::from(record.size)).sum();
        let size = u32::try_from(size).map_err(|_| WriteError::TooLarge { what: self.name.into(), size })?;
        header.int32(tag::SIZE, vec![size]);
        header.text(tag::PAYLOAD_FORMAT, "cpio");
        if let Some(name) = facts.compression.name() {
            header.text(tag::PAYLOAD_COMPRESSOR, name);
        }
        header.text(tag::PAYLOAD_FLAGS, facts.compression.flags());
        header.texts(tag::PAYLOAD_DIGEST, vec![payload.sha256.clone()]);
        header.int32(tag::PAYLOAD_DIGEST_ALGORITHM, vec![SHA256]);
        header.texts(tag::PAYLOAD_DIGEST_UNCOMPRESSED, vec![payload.archive_sha256.clone()]);
        Ok(header.encode())
    }

    /// Returns everything before the payload.
    fn begin(
        &self,
        header: &[u8],
        md5: [u8; 16],
        payload_size: u64,
        archive_size: u64,
        facts: &SourceFacts,
    ) -> Result<Vec<u8>, WriteError> {
        let room = signature::ROOM_OF_RPMBUILD;
        let signature = signature::encode(&Signed { header, md5, payload_size, archive_size, room })?;
        let epoch =
            self.header.numbers(tag::EPOCH).next().map(|epoch| format!("{epoch}:")).unwrap_or_default();
        let shown = format!("{}-{epoch}{}-{}", self.name, self.version, self.release);
        let mut bytes = lead::encode(LeadKind::Source, &facts.arch, &shown).to_vec();
        bytes.extend_from_slice(&signature);
        bytes.extend_from_slice(header);
        Ok(bytes)
    }
}

fn read_error(file: &SourceFile, source: io::Error) -> WriteError {
    WriteError::Read { source_path: file.path.clone(), source }
}

/// Returns the size of the archive, or why the format's 32-bit sizes cannot say it.
fn archive_size(members: &[Member<'_>]) -> Result<u64, WriteError> {
    let sizes = members.iter().map(|member| cpio::record_size(member.name, member.size));
    let size = sizes.sum::<u64>() + cpio::TRAILER_SIZE;
    // A compressor may add a little to what it cannot compress.
    const LIMIT: u64 = u32::MAX as u64 - (64 << 20);
    if size > LIMIT {
        return Err(WriteError::TooLarge { what: "payload".into(), size });
    }
    Ok(size)
}

fn records(members: &[Member<'_>], stamp: &BuildStamp) -> Vec<FileRecord> {
    let record = |member: &Member<'_>| FileRecord {
        path: member.name.to_owned(),
        size: member.size,
        mode: MODE,
        mtime: stamp.time,
        sha256: member.file.sha256.as_str().to_owned(),
        link_target: String::new(),
        flags: member.flags,
        user: "root".into(),
        group: "root".into(),
        inode: member.inode,
    };
    members.iter().map(record).collect()
}

/// Digests and counts what passes through to the output.
struct Digesting<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Digesting<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(bytes)?;
        self.hash.update(&bytes[..taken]);
        self.size += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes the compressed archive of all files; returns its digests, and the output with its size.
fn pack<W: Write>(
    members: &[Member<'_>],
    facts: &SourceFacts,
    output: W,
) -> Result<(PayloadFacts, Digesting<W>), WriteError> {
    let encoder: Encoder<Digesting<W>> =
        facts.compression.encoder(Digesting::new(output)).map_err(WriteError::Compress)?;
    let mut archive = cpio::Writer::new(Digesting::new(encoder));
    for member in members {
        let record = cpio::Record {
            path: member.name,
            inode: member.inode,
            mode: MODE,
            links: 1,
            mtime: facts.stamp.time,
        };
        let mut file = File::open(&member.file.path).map_err(|source| read_error(member.file, source))?;
        let mut hash = Sha256::new();
        let length =
            archive.stream(&record, member.size, &mut file, |piece| hash.update(piece)).map_err(|error| {
                match error {
                    cpio::StreamError::Read(source) => read_error(member.file, source),
                    cpio::StreamError::Write(source) => WriteError::Compress(source),
                }
            })?;
        if length != u64::from(member.size)
            || ContentDigest::from_hash(&hash.finalize()) != member.file.sha256
        {
            return Err(WriteError::Changed { source_path: member.file.path.clone() });
        }
    }
    let (sink, _) = archive.finish().map_err(WriteError::Compress)?;
    let compressed = sink.inner.finish().map_err(WriteError::Compress)?;
    let payload = PayloadFacts {
        sha256: hex(&compressed.hash.clone().finalize()),
        archive_sha256: hex(&sink.hash.finalize()),
    };
    Ok((payload, compressed))
}

/// Digests an output from a place to its end.
fn digest_from<D: Digest + Write>(
    output: &mut (impl Read + Seek),
    start: u64,
    mut digest: D,
) -> Result<sha2::digest::Output<D>, WriteError> {
    output.seek(SeekFrom::Start(start)).map_err(WriteError::Output)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match output.read(&mut buffer) {
            Ok(0) => return Ok(digest.finalize()),
            Ok(length) => digest.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(WriteError::Output(error)),
        }
    }
}
