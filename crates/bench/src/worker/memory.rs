//! A directory in memory, for the peers' roots.
//!
//! They make a whole root for each build and remove it. On a disk that costs everybody who makes files in the next
//! minutes, and these more than themselves: ext4 passes over every inode that was freed lately. In memory it costs
//! nobody anything, the peers least of all.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::error::BenchError;

/// A memory file system that only this thread and its children see; gone when dropped, or with them.
pub(super) struct MemoryDirectory(PathBuf);

impl MemoryDirectory {
    pub(super) fn new(path: PathBuf) -> Result<Self, BenchError> {
        fs::create_dir_all(&path).map_err(BenchError::io("create", &path))?;
        let failed = |error: Errno| BenchError::io("mount a memory file system on", &path)(error.into());
        unshare(CloneFlags::CLONE_NEWNS).map_err(failed)?;
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).map_err(failed)?;
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), nothing).map_err(failed)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for MemoryDirectory {
    fn drop(&mut self) {
        // What cannot be taken away now goes with this process.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
