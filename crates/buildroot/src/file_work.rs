//! Work on files of several owners, for a caller who is not root.
//!
//! A package transaction of an ordinary user gives files to users of the root. On the disk they then belong to ids of
//! the caller's subordinate range, which is nobody to the caller: such files cannot be read, moved or removed as
//! one likes. In a user namespace with the same mapping as the transaction's the caller is root, over these files
//! and no others. Only a process of one thread can enter such a namespace, so the helper does it
//! (`crate::init`); root does the same work without it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::layer::LayerCounts;
use crate::root::Changes;
use crate::{Sandbox, SandboxError};

/// The work.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FileWork {
    /// Removes a file, or a directory and all below it.
    Remove(PathBuf),
    /// Makes a layer's tree of what a transaction left, and counts what is in it.
    Keep(Changes),
}

impl FileWork {
    /// Does the work here; returns what was left of it, or why it was not done.
    pub(crate) fn perform(&self) -> Result<LayerCounts, String> {
        match self {
            Self::Remove(path) => crate::remove::remove_as_is(path)
                .map(|_| LayerCounts::default())
                .map_err(|error| format!("cannot remove `{}`: {error}", path.display())),
            Self::Keep(changes) => changes.keep(),
        }
    }
}

/// Removes a tree in which files belong to ids of the caller's subordinate range.
pub(crate) fn remove_in_namespace(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    let sandbox = Sandbox::discover().map_err(io::Error::other)?;
    match sandbox.work_on_files(FileWork::Remove(path)) {
        Ok(done) => done.map(drop).map_err(io::Error::other),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Does work on files where the owners of all of them can be had: here for root, in a namespace for others.
pub(crate) fn perform_as_owner(
    sandbox: &Sandbox,
    work: FileWork,
) -> Result<Result<LayerCounts, String>, SandboxError> {
    if rustix::process::geteuid().is_root() { Ok(work.perform()) } else { sandbox.work_on_files(work) }
}
