//! Files of a package as plain data, before anything is read or digested.

use std::ops::BitOr;
use std::path::PathBuf;

/// Where the bytes of a regular file come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Held in memory.
    Bytes(Vec<u8>),
    /// Read from this path on the host when the payload is packed.
    Path(PathBuf),
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<PathBuf> for Content {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular(Content),
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// The text of the link, as `readlink` returns it.
        target: String,
    },
    /// A further name of a regular file of the same package.
    HardLink {
        /// The path of that regular file.
        to: String,
    },
}

/// Attributes of a file (`RPMFILE_*` in `rpmfiles.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileFlags(pub u32);

impl FileFlags {
    /// An ordinary file.
    pub const NONE: Self = Self(0);
    /// `%config`.
    pub const CONFIG: Self = Self(1 << 0);
    /// `%doc`.
    pub const DOC: Self = Self(1 << 1);
    /// `%config(noreplace)`; to be combined with [`Self::CONFIG`].
    pub const NOREPLACE: Self = Self(1 << 4);
    /// The spec file of a source package.
    pub const SPECFILE: Self = Self(1 << 5);
    /// `%ghost`: recorded, not packaged.
    pub const GHOST: Self = Self(1 << 6);
    /// `%license`.
    pub const LICENSE: Self = Self(1 << 7);

    /// Returns true when every flag of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for FileFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Absolute, normalised path; in a source package a bare file name.
    pub path: String,
    /// Permission bits including set-id and sticky, without the file type; ignored for a symbolic link.
    pub mode: u16,
    /// Owner's name.
    pub user: String,
    /// Group's name.
    pub group: String,
    /// Modification time in seconds since 1970.
    pub mtime: u32,
    /// What the file is.
    pub kind: FileKind,
    /// Attributes.
    pub flags: FileFlags,
}

impl FileEntry {
    fn new(path: impl Into<String>, mode: u16, kind: FileKind) -> Self {
        Self {
            path: path.into(),
            mode,
            user: "root".into(),
            group: "root".into(),
            mtime: 0,
            kind,
            flags: FileFlags::NONE,
        }
    }

    /// Returns a regular file owned by root, dated 1970.
    pub fn file(path: impl Into<String>, mode: u16, content: impl Into<Content>) -> Self {
        Self::new(path, mode, FileKind::Regular(content.into()))
    }

    /// Returns a directory owned by root, dated 1970.
    pub fn directory(path: impl Into<String>, mode: u16) -> Self {
        Self::new(path, mode, FileKind::Directory)
    }

    /// Returns a symbolic link owned by root, dated 1970.
    pub fn symlink(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(path, 0o777, FileKind::Symlink { target: target.into() })
    }

    /// Returns a further name of the regular file `to`, owned by root, dated 1970.
    ///
    /// Mode, owner and time should equal those of `to`: on disk both are one inode.
    pub fn hard_link(path: impl Into<String>, mode: u16, to: impl Into<String>) -> Self {
        Self::new(path, mode, FileKind::HardLink { to: to.into() })
    }

    /// Returns the same file with these flags.
    #[must_use]
    pub fn with_flags(mut self, flags: FileFlags) -> Self {
        self.flags = flags;
        self
    }

    /// Returns the mode as `stat` gives it, type included.
    pub fn full_mode(&self) -> u16 {
        match self.kind {
            FileKind::Regular(_) | FileKind::HardLink { .. } => 0o100_000 | self.mode,
            FileKind::Directory => 0o040_000 | self.mode,
            FileKind::Symlink { .. } => 0o120_777,
        }
    }
}
