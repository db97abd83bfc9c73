//! Files digested, ordered and compressed: the expensive half of a package, independent of its metadata.
//!
//! It is apart from [`crate::Package`] so that files can be packed in parallel before dependencies, which may
//! depend on all other packages, are known.

use crate::cpio;
use crate::error::WriteError;
use crate::file::{Content, FileEntry, FileFlags, FileKind};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};

/// One file as the header records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Path as in [`FileEntry::path`].
    pub path: String,
    /// Size in bytes; a symbolic link has the length of its target, a directory 0.
    pub size: u32,
    /// Mode with file type.
    pub mode: u16,
    /// Modification time in seconds since 1970.
    pub mtime: u32,
    /// Lower-case hexadecimal SHA-256 of a regular file, else empty.
    pub sha256: String,
    /// Target of a symbolic link, else empty.
    pub link_target: String,
    /// Attributes.
    pub flags: FileFlags,
    /// Owner's name.
    pub user: String,
    /// Group's name.
    pub group: String,
    /// Number of the inode within the package; equal for the members of a hard link set.
    pub inode: u32,
}

/// The packed files of one package.
#[derive(Debug, Clone)]
pub struct Payload {
    /// zstd-compressed cpio archive.
    pub(crate) bytes: Vec<u8>,
    /// Size of the archive before compression.
    pub(crate) archive_size: u64,
    /// SHA-256 of the archive before compression.
    pub(crate) archive_sha256: String,
    records: Vec<FileRecord>,
}

impl Payload {
    /// The compression level written into headers and used by [`Self::pack`].
    ///
    /// Level 3 because these packages are unpacked far more often than they are kept: level 19 costs 50 to
    /// 100 ms of CPU more on a small package and changes nothing for the reader.
    pub const COMPRESSION_LEVEL: i32 = 3;

    /// Returns the files digested, sorted by path and compressed.
    ///
    /// # Errors
    /// [`WriteError::Path`], [`WriteError::Duplicate`], [`WriteError::HardLink`] for inconsistent entries,
    /// [`WriteError::Read`] when content lies on disk and cannot be read, [`WriteError::TooLarge`] for a file of
    /// 4 GiB or more, [`WriteError::Compress`].
    pub fn pack(files: Vec<FileEntry>) -> Result<Self, WriteError> {
        Self::pack_below("./", files, check_absolute)
    }

    /// Returns the files of a source package packed: bare names, no leading `./`.
    ///
    /// # Errors
    /// As [`Self::pack`]; a path with a slash is a [`WriteError::Path`].
    pub fn pack_source(files: Vec<FileEntry>) -> Result<Self, WriteError> {
        Self::pack_below("", files, |path| !path.is_empty() && !path.contains(['/', '\0']))
    }

    fn pack_below(
        prefix: &str,
        mut files: Vec<FileEntry>,
        is_valid: impl Fn(&str) -> bool,
    ) -> Result<Self, WriteError> {
        files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        for (position, file) in files.iter().enumerate() {
            if !is_valid(&file.path) {
                return Err(WriteError::Path { path: file.path.clone() });
            }
            if position > 0 && files[position - 1].path == file.path {
                return Err(WriteError::Duplicate { path: file.path.clone() });
            }
        }
        let sets = link_sets(&files)?;
        let sink = Sink { hash: Sha256::new(), encoder: new_encoder().map_err(WriteError::Compress)? };
        let mut packer = Packer {
            prefix,
            files: &files,
            records: empty_records(&files),
            archive: cpio::Writer::new(sink),
        };
        for set in &sets {
            packer.add_set(set)?;
        }
        packer.finish()
    }

    /// Returns the files in the order of the header, which is by path.
    pub fn records(&self) -> &[FileRecord] {
        &self.records
    }

    /// Returns the compressed archive.
    pub fn compressed(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the sum of the sizes of all regular files and links, each inode once.
    pub fn installed_size(&self) -> u64 {
        let mut inodes: Vec<(u32, u32)> = self.records.iter().map(|r| (r.inode, r.size)).collect();
        inodes.sort_unstable();
        inodes.dedup();
        inodes.iter().map(|(_, size)| u64::from(*size)).sum()
    }
}

/// Absolute, and equal to its own normal form.
fn check_absolute(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains('\0')
        && (path == "/" || path[1..].split('/').all(|part| !part.is_empty() && part != "." && part != ".."))
}

/// Returns the positions of the files grouped by inode, each set in path order, sets in the order of their
/// last members: where rpmbuild writes a set too.
fn link_sets(files: &[FileEntry]) -> Result<Vec<Vec<usize>>, WriteError> {
    let by_path: HashMap<&str, usize> =
        files.iter().enumerate().map(|(position, file)| (file.path.as_str(), position)).collect();
    let mut sets: HashMap<usize, Vec<usize>> = HashMap::new();
    for (position, file) in files.iter().enumerate() {
        let owner = match &file.kind {
            FileKind::HardLink { to } => *by_path
                .get(to.as_str())
                .filter(|target| matches!(files[**target].kind, FileKind::Regular(_)))
                .ok_or_else(|| WriteError::HardLink { path: file.path.clone(), target: to.clone() })?,
            _ => position,
        };
        sets.entry(owner).or_default().push(position);
    }
    let mut sets: Vec<Vec<usize>> = sets.into_values().collect();
    sets.sort_unstable_by_key(|set| set.last().copied());
    Ok(sets)
}

fn empty_records(files: &[FileEntry]) -> Vec<FileRecord> {
    let record = |file: &FileEntry| FileRecord {
        path: file.path.clone(),
        size: 0,
        mode: file.full_mode(),
        mtime: file.mtime,
        sha256: String::new(),
        link_target: String::new(),
        flags: file.flags,
        user: file.user.clone(),
        group: file.group.clone(),
        inode: 0,
    };
    files.iter().map(record).collect()
}

fn new_encoder() -> io::Result<zstd::Encoder<'static, Vec<u8>>> {
    zstd::Encoder::new(Vec::new(), Payload::COMPRESSION_LEVEL)
}

/// Digests what it passes to the compressor.
struct Sink {
    hash: Sha256,
    encoder: zstd::Encoder<'static, Vec<u8>>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.encoder.write(bytes)?;
        self.hash.update(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

struct Packer<'a> {
    prefix: &'a str,
    files: &'a [FileEntry],
    records: Vec<FileRecord>,
    archive: cpio::Writer<Sink>,
}

impl Packer<'_> {
    /// Writes the members of one hard link set (mostly a set of one), the content with the last member.
    fn add_set(&mut self, set: &[usize]) -> Result<(), WriteError> {
        let content = content_of(self.files, set)?;
        let is_regular = self.files[set[0]].full_mode() & 0o170_000 == 0o100_000;
        let sha256 = if is_regular { hex(&Sha256::digest(&content)) } else { String::new() };
        let size = u32::try_from(content.len()).map_err(|_| WriteError::TooLarge {
            what: self.files[set[0]].path.clone(),
            size: content.len() as u64,
        })?;
        // Inode numbers start at 1; the first member's position is unique to the set.
        let inode = set[0] as u32 + 1;
        for (place, position) in set.iter().enumerate() {
            let record = &mut self.records[*position];
            record.inode = inode;
            record.size = size;
            record.sha256.clone_from(&sha256);
            if let FileKind::Symlink { target } = &self.files[*position].kind {
                record.link_target.clone_from(target);
            }
            if record.flags.contains(FileFlags::GHOST) {
                record.sha256.clear();
                continue;
            }
            let path = format!("{}{}", self.prefix, record.path.trim_start_matches('/'));
            let numbers = cpio::Record {
                path: &path,
                inode,
                mode: record.mode,
                links: set.len() as u32,
                mtime: record.mtime,
            };
            let is_last = place + 1 == set.len();
            let data: &[u8] = if is_last { &content } else { &[] };
            self.archive.record(&numbers, data).map_err(WriteError::Compress)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Payload, WriteError> {
        let (sink, archive_size) = self.archive.finish().map_err(WriteError::Compress)?;
        let bytes = sink.encoder.finish().map_err(WriteError::Compress)?;
        let archive_sha256 = hex(&sink.hash.finalize());
        Ok(Payload { bytes, archive_size, archive_sha256, records: self.records })
    }
}

/// Returns what the archive holds for the set: a file's bytes, a link's target, nothing for a directory.
fn content_of<'a>(files: &'a [FileEntry], set: &[usize]) -> Result<Cow<'a, [u8]>, WriteError> {
    for position in set {
        match &files[*position].kind {
            FileKind::Regular(Content::Bytes(bytes)) => return Ok(Cow::Borrowed(bytes)),
            FileKind::Regular(Content::Path(path)) => {
                return std::fs::read(path)
                    .map(Cow::Owned)
                    .map_err(|source| WriteError::Read { source_path: path.clone(), source });
            }
            FileKind::Symlink { target } => return Ok(Cow::Borrowed(target.as_bytes())),
            FileKind::Directory | FileKind::HardLink { .. } => {}
        }
    }
    Ok(Cow::Borrowed(&[]))
}

/// Returns lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
