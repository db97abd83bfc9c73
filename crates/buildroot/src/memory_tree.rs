//! A file system in memory that is mounted nowhere: its holder and the sandboxes it is bound into reach it, nobody
//! else, and it is gone with them, however they end.
//!
//! A directory on disk takes 60 to 100 microseconds of processor time to make and remove, and a small build makes a
//! dozen. What is in here costs a tenth of that, is removed at once by letting go of it, and cannot be left behind.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::fstatfs;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, open_tree,
};

use crate::held::Held;

/// A file system in memory. Dropping it removes everything in it, as soon as no sandbox uses it any more.
#[derive(Debug)]
pub struct MemoryTree {
    root: OwnedFd,
}

impl MemoryTree {
    /// Makes an empty one that holds at most so many bytes and so many files and directories; writing more fails for
    /// want of space. Its root directory is its maker's alone.
    ///
    /// # Errors
    /// When this user may not mount, and where the kernel binds nothing that is mounted nowhere (before Linux 6.15).
    pub fn new(bytes: u64, files: u64) -> io::Result<Self> {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "size", bytes.to_string())?;
        fsconfig_set_string(&context, "nr_inodes", files.to_string())?;
        fsconfig_set_string(&context, "mode", "0700")?;
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        // What a sandbox does to bind it.
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        open_tree(&root, "", flags)?;
        Ok(Self { root })
    }

    /// Returns a path to its root directory, good for this process and for sources of its sandboxes' binds, as long
    /// as this value lives.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.root.as_raw_fd()))
    }

    /// Returns what it holds.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn held(&self) -> io::Result<Held> {
        let system = fstatfs(&self.root)?;
        let block = u64::try_from(system.f_bsize).unwrap_or(1);
        Ok(Held {
            bytes: system.f_blocks.saturating_sub(system.f_bfree).saturating_mul(block),
            files: system.f_files.saturating_sub(system.f_ffree),
        })
    }
}
