//! Unpacks the payload of one package into an empty directory.
//!
//! The header says what there is (paths, types, modes, owners, times, sizes); the payload brings the
//! content. Both must agree entirely, and everything the header lists must come.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use sha2::digest::DynDigest;
use sha2::{Sha256, Sha384, Sha512};

use super::cpio::{CpioEntry, CpioFault, CpioReader};
use super::index::{Node, PathKind, write_index};
use super::package::{FileDigests, FileKind, PackageContent, PackageFile};
use super::payload::decompressed;
use super::record::LayerCounts;
use super::tree::{Attributes, TreeFault, TreeWriter};

const BUFFER_BYTES: usize = 128 << 10;

/// Type bits of a mode.
const TYPE_MASK: u32 = 0o170_000;

/// Why a payload cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackFault {
    /// Reading or decompressing failed; the payload is damaged or cut short.
    #[error("cannot read the payload")]
    Read(#[source] io::Error),
    /// The archive is not one.
    #[error("the payload is damaged: no archive header at byte {position} of the archive")]
    Malformed {
        /// Bytes into the decompressed payload.
        position: u64,
    },
    /// Files over 4 GiB are stored in a form of rpm's own, which is not supported.
    #[error("the payload has entries in rpm's form for files over 4 GiB, which is not supported")]
    Stripped,
    /// The payload has something that the header does not list.
    #[error("the payload contains `{0}`, which the header does not list")]
    Unlisted(String),
    /// The payload has the same path twice.
    #[error("the payload contains `{0}` twice")]
    Repeated(String),
    /// Header and payload disagree about type, size or target.
    #[error("header and payload disagree about `{0}`")]
    Disagreement(String),
    /// A file's content is not what its digest says.
    #[error("the content of `{0}` does not have the digest that the header lists")]
    Content(String),
    /// The header lists what the payload does not have.
    #[error("the payload lacks `{0}`")]
    Missing(String),
    /// It could not be written.
    #[error("cannot make `{path}`")]
    Write {
        /// Path in the package.
        path: String,
        /// Cause.
        source: TreeFault,
    },
}

impl UnpackFault {
    /// Returns whether the payload is to blame, and not the host on which it was unpacked.
    pub(crate) fn is_of_package(&self) -> bool {
        match self {
            Self::Read(_) => false,
            Self::Write { source, .. } => !matches!(source, TreeFault::System(_)),
            Self::Malformed { .. }
            | Self::Stripped
            | Self::Unlisted(_)
            | Self::Repeated(_)
            | Self::Disagreement(_)
            | Self::Content(_)
            | Self::Missing(_) => true,
        }
    }
}

impl From<CpioFault> for UnpackFault {
    fn from(fault: CpioFault) -> Self {
        match fault {
            CpioFault::Read(source) => Self::Read(source),
            CpioFault::Stripped => Self::Stripped,
            CpioFault::Malformed { position } => Self::Malformed { position },
        }
    }
}

/// What unpacking made.
pub(super) struct Unpacked {
    pub(super) counts: LayerCounts,
    /// Text of the index of all paths.
    pub(super) index: String,
}

/// Unpacks `payload` into the empty directory `root`.
pub(super) fn unpack(
    content: &PackageContent,
    payload: impl BufRead,
    root: &Path,
) -> Result<Unpacked, UnpackFault> {
    let mut work = Unpacking::new(content, root)?;
    work.read(decompressed(content.compression, payload).map_err(UnpackFault::Read)?)?;
    work.finish()
}

struct Unpacking<'a> {
    content: &'a PackageContent,
    tree: TreeWriter,
    by_path: BTreeMap<&'a str, usize>,
    done: Vec<bool>,
    hard_links: BTreeMap<(u64, u32), HardLinks>,
    counts: LayerCounts,
}

/// Names of one file, of which the content has come or is still to come.
#[derive(Default)]
struct HardLinks {
    /// The name that has the content.
    first: Option<usize>,
    /// Names that wait for it.
    waiting: Vec<usize>,
}

impl<'a> Unpacking<'a> {
    fn new(content: &'a PackageContent, root: &Path) -> Result<Self, UnpackFault> {
        let tree = TreeWriter::new(root, content.build_time)
            .map_err(|source| UnpackFault::Write { path: "/".to_owned(), source: source.into() })?;
        Ok(Self {
            content,
            tree,
            by_path: content
                .files
                .iter()
                .enumerate()
                .map(|(index, file)| (file.path.as_str(), index))
                .collect(),
            done: vec![false; content.files.len()],
            hard_links: BTreeMap::new(),
            counts: LayerCounts::default(),
        })
    }

    fn read(&mut self, archive: impl Read) -> Result<(), UnpackFault> {
        let mut reader = CpioReader::new(BufReader::with_capacity(BUFFER_BYTES, archive));
        while let Some(entry) = reader.next()? {
            let index = self.find(&entry)?;
            if std::mem::replace(&mut self.done[index], true) {
                return Err(UnpackFault::Repeated(self.path(index)));
            }
            self.unpack_entry(index, &entry, &mut reader)?;
        }
        self.link_empty_files()
    }

    /// Returns which file of the header an entry is.
    fn find(&self, entry: &CpioEntry) -> Result<usize, UnpackFault> {
        let name = String::from_utf8_lossy(&entry.name);
        let path = match name.strip_prefix("./").or(name.strip_prefix('/')).unwrap_or(&name) {
            "" | "." => "/".to_owned(),
            plain => format!("/{plain}"),
        };
        self.by_path.get(path.as_str()).copied().ok_or(UnpackFault::Unlisted(name.into_owned()))
    }

    fn unpack_entry(
        &mut self,
        index: usize,
        entry: &CpioEntry,
        reader: &mut CpioReader<impl BufRead>,
    ) -> Result<(), UnpackFault> {
        let content = self.content;
        let file = &content.files[index];
        let agree = |type_bits| {
            if entry.mode & TYPE_MASK == type_bits {
                Ok(())
            } else {
                Err(UnpackFault::Disagreement(file.path.clone()))
            }
        };
        match &file.kind {
            FileKind::Directory => {
                agree(0o040_000)?;
                self.tree.directory(&file.path, attributes(file)).map_err(|source| write_fault(file, source))
            }
            FileKind::Symlink { target } => {
                agree(0o120_000)?;
                if read_target(reader, entry)? != target.as_bytes() {
                    return Err(UnpackFault::Disagreement(file.path.clone()));
                }
                self.counts.symlinks += 1;
                self.tree
                    .symlink(&file.path, target.as_bytes(), attributes(file))
                    .map_err(|source| write_fault(file, source))
            }
            FileKind::Regular { size, .. } => {
                agree(0o100_000)?;
                self.counts.files += 1;
                if entry.links > 1 {
                    return self.unpack_hard_link(index, *size, entry, reader);
                }
                self.unpack_file(index, *size, entry, reader)
            }
        }
    }

    fn unpack_file(
        &mut self,
        index: usize,
        size: u64,
        entry: &CpioEntry,
        reader: &mut CpioReader<impl BufRead>,
    ) -> Result<(), UnpackFault> {
        let content = self.content;
        let file = &content.files[index];
        let mut digest = Checksum::new(content.file_digests, file);
        if entry.size != size {
            return Err(UnpackFault::Disagreement(file.path.clone()));
        }
        let attributes = attributes(file);
        let mut out = self.tree.file(&file.path, attributes).map_err(|source| write_fault(file, source))?;
        loop {
            let piece = reader.content()?;
            if piece.is_empty() {
                break;
            }
            digest.update(piece);
            out.write_all(piece).map_err(|source| write_fault(file, source.into()))?;
            let taken = piece.len();
            reader.take(taken);
        }
        if !digest.agrees() {
            return Err(UnpackFault::Content(file.path.clone()));
        }
        self.counts.bytes += size;
        self.tree.finish_file(&out, attributes).map_err(|source| write_fault(file, source))
    }

    /// Handles one name of several. Only one of them brings the content: the last as rpm writes
    /// them, but any is accepted.
    fn unpack_hard_link(
        &mut self,
        index: usize,
        size: u64,
        entry: &CpioEntry,
        reader: &mut CpioReader<impl BufRead>,
    ) -> Result<(), UnpackFault> {
        let links = self.hard_links.entry(entry.inode).or_default();
        match links.first {
            Some(first) if entry.size == 0 => return self.link(first, index),
            None if entry.size == 0 => {
                links.waiting.push(index);
                return Ok(());
            }
            Some(_) => return Err(UnpackFault::Disagreement(self.path(index))),
            None => links.first = Some(index),
        }
        let waiting = std::mem::take(&mut links.waiting);
        self.unpack_file(index, size, entry, reader)?;
        waiting.into_iter().try_for_each(|name| self.link(index, name))
    }

    fn link(&mut self, existing: usize, name: usize) -> Result<(), UnpackFault> {
        let content = self.content;
        let (existing, file) = (&content.files[existing], &content.files[name]);
        if kind_of(existing) != kind_of(file) {
            return Err(UnpackFault::Disagreement(file.path.clone()));
        }
        self.tree.hard_link(&existing.path, &file.path).map_err(|source| write_fault(file, source))
    }

    /// Makes those hard link sets whose content is empty.
    fn link_empty_files(&mut self) -> Result<(), UnpackFault> {
        let content = self.content;
        for links in std::mem::take(&mut self.hard_links).into_values() {
            let Some((&first, others)) = links.waiting.split_first() else { continue };
            let file = &content.files[first];
            if !matches!(file.kind, FileKind::Regular { size: 0, .. }) {
                return Err(UnpackFault::Missing(file.path.clone()));
            }
            let attributes = attributes(file);
            let made = self.tree.file(&file.path, attributes);
            let made = made.and_then(|made| self.tree.finish_file(&made, attributes));
            made.map_err(|source| write_fault(file, source))?;
            others.iter().try_for_each(|&name| self.link(first, name))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Unpacked, UnpackFault> {
        if let Some(index) = self.done.iter().position(|done| !done) {
            return Err(UnpackFault::Missing(self.path(index)));
        }
        let directories =
            self.tree.finish().map_err(|source| UnpackFault::Write { path: "/".to_owned(), source })?;
        self.counts.directories = directories.len() as u64;
        let mut nodes: Vec<Node<'_>> = directories
            .iter()
            .map(|(path, attributes, listed)| Node {
                path,
                kind: if *listed { PathKind::Directory } else { PathKind::ImplicitDirectory },
                mode: attributes.mode,
                uid: attributes.uid,
                gid: attributes.gid,
                content: "-",
            })
            .chain(self.content.files.iter().filter_map(leaf))
            .collect();
        nodes.sort_unstable_by_key(|node| node.path);
        Ok(Unpacked { counts: self.counts, index: write_index(nodes) })
    }

    fn path(&self, index: usize) -> String {
        self.content.files[index].path.clone()
    }
}

/// The digest of one file's content on its way to the disk, beside the one that the header lists.
struct Checksum<'a> {
    listed: &'a str,
    /// `None` where the header has no digest that is compared.
    hasher: Option<Box<dyn DynDigest>>,
}

impl<'a> Checksum<'a> {
    fn new(kind: FileDigests, file: &'a PackageFile) -> Self {
        let listed = match &file.kind {
            FileKind::Regular { digest, .. } => digest.as_str(),
            FileKind::Directory | FileKind::Symlink { .. } => "-",
        };
        let hasher: Option<Box<dyn DynDigest>> = match kind {
            _ if listed == "-" => None,
            FileDigests::Sha256 => Some(Box::<Sha256>::default()),
            FileDigests::Sha384 => Some(Box::<Sha384>::default()),
            FileDigests::Sha512 => Some(Box::<Sha512>::default()),
            FileDigests::Others => None,
        };
        Self { listed, hasher }
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }

    /// Whether the content was what the header lists.
    fn agrees(self) -> bool {
        let Some(hasher) = self.hasher else { return true };
        // By hand: thousands of files are compared through these few lines.
        let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
        let found = hasher.finalize();
        found.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).eq(self.listed.bytes())
    }
}

/// Returns the index node of a file or link; directories come from the tree.
fn leaf(file: &PackageFile) -> Option<Node<'_>> {
    let (kind, content) = match &file.kind {
        FileKind::Directory => return None,
        FileKind::Regular { digest, .. } => (PathKind::File, digest.as_str()),
        FileKind::Symlink { target } => (PathKind::Symlink, target.as_str()),
    };
    Some(Node { path: &file.path, kind, mode: file.mode, uid: file.uid, gid: file.gid, content })
}

/// What must be equal for two names of one file.
fn kind_of(file: &PackageFile) -> (&FileKind, Attributes) {
    (&file.kind, attributes(file))
}

fn attributes(file: &PackageFile) -> Attributes {
    Attributes { mode: file.mode, uid: file.uid, gid: file.gid, mtime: file.mtime }
}

fn write_fault(file: &PackageFile, source: TreeFault) -> UnpackFault {
    UnpackFault::Write { path: file.path.clone(), source }
}

/// Reads the target of a symbolic link, which is the content of its entry.
fn read_target(reader: &mut CpioReader<impl BufRead>, entry: &CpioEntry) -> Result<Vec<u8>, UnpackFault> {
    let mut target = Vec::new();
    // A longer one than the kernel allows cannot equal the header's, which is checked next.
    while target.len() <= 4096 && (target.len() as u64) < entry.size {
        let piece = reader.content()?;
        target.extend_from_slice(piece);
        let taken = piece.len();
        reader.take(taken);
    }
    Ok(target)
}
