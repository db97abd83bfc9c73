//! What a build, or a shell after it, changed outside its own directory.
//!
//! A build can write to `/build`, `/tmp` and `/var/tmp`; a shell as root to the root itself, whose changes
//! are the overlay's upper directory. This compares them with the packages that formed the root.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::command::JobDirectories;
use crate::enter::host_path;
use crate::error::{IoContext, WorkerError};
use crate::kept::KeptRoot;

/// All that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// This code writes [`Difference::SCHEMA`].
    pub schema: u32,
    /// The package.
    pub package: String,
    /// What was changed, sorted by path.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// Path inside the root.
    pub path: String,
    /// Of what kind it is.
    pub kind: ChangeKind,
    /// `file`, `directory`, `link` or `other`; of what was removed, what it was.
    pub what: &'static str,
    /// Size of a file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Of a modified one, in what it differs from the package's: `content`, `mode`, `owner`, `type`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aspects: Vec<&'static str>,
}

/// Kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was not there.
    Added,
    /// It is another than a package's.
    Modified,
    /// It is a package's and is gone.
    Removed,
}

impl ChangeKind {
    /// Returns the kind as people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Modified => "modified",
            Self::Removed => "removed",
        }
    }
}

impl Difference {
    /// The schema that this code writes.
    pub const SCHEMA: u32 = 1;
}

/// Returns what was changed in a kept root outside `/build`. The script of a failed section, which rpmbuild
/// itself leaves in `/var/tmp`, does not count.
pub fn difference(kept: &KeptRoot, directory: &Path, lowers: &[PathBuf]) -> Result<Difference, WorkerError> {
    let places = JobDirectories::below(directory);
    let own = kept.failed.as_ref().and_then(|failed| host_path(&places, &failed.script));
    let mut changes = Vec::new();
    for (place, inside) in [(&places.tmp, "/tmp"), (&places.var_tmp, "/var/tmp")] {
        walk(place, &mut |path, metadata| {
            if Some(path) != own.as_deref() {
                changes.push(change(inside_path(place, inside, path), ChangeKind::Added, metadata));
            }
            Ok(())
        })?;
    }
    let upper = places.upper.join("upper");
    walk(&upper, &mut |path, metadata| {
        changes.extend(change_of_root(&inside_path(&upper, "", path), path, metadata, lowers)?);
        Ok(())
    })?;
    changes.sort();
    Ok(Difference { schema: Difference::SCHEMA, package: kept.job.package.clone(), changes })
}

fn inside_path(place: &Path, inside: &str, path: &Path) -> String {
    let below = path.strip_prefix(place).unwrap_or(path);
    format!("{inside}/{}", below.display())
}

/// Calls `found` with everything below a directory that may be missing.
fn walk(
    place: &Path,
    found: &mut dyn FnMut(&Path, &Metadata) -> Result<(), WorkerError>,
) -> Result<(), WorkerError> {
    let entries = match fs::read_dir(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.context("read", place)?,
    };
    for entry in entries {
        let path = entry.context("read", place)?.path();
        let metadata = fs::symlink_metadata(&path).context("examine", &path)?;
        found(&path, &metadata)?;
        if metadata.is_dir() {
            walk(&path, found)?;
        }
    }
    Ok(())
}

fn change(path: String, kind: ChangeKind, metadata: &Metadata) -> Change {
    let what = what(metadata);
    Change { path, kind, what, size: (what == "file").then_some(metadata.len()), aspects: Vec::new() }
}

fn what(metadata: &Metadata) -> &'static str {
    if metadata.is_file() {
        "file"
    } else if metadata.is_dir() {
        "directory"
    } else if metadata.file_type().is_symlink() {
        "link"
    } else {
        "other"
    }
}

/// Returns what an entry of the upper directory means, if it is a change.
fn change_of_root(
    inside: &str,
    path: &Path,
    metadata: &Metadata,
    lowers: &[PathBuf],
) -> Result<Option<Change>, WorkerError> {
    let below = inside.trim_start_matches('/');
    let lower = lowers.iter().map(|lower| lower.join(below)).find_map(|lower| {
        let metadata = fs::symlink_metadata(&lower).ok()?;
        Some((lower, metadata))
    });
    // The overlay's mark for what was removed is a character device with the number 0.
    if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
        return Ok(lower.map(|(_, old)| change(inside.to_owned(), ChangeKind::Removed, &old)));
    }
    let Some((lower, old)) = lower else {
        return Ok(Some(change(inside.to_owned(), ChangeKind::Added, metadata)));
    };
    let mut aspects = Vec::new();
    if what(metadata) != what(&old) {
        aspects.push("type");
    } else if !same_content(path, metadata, &lower, &old)? {
        aspects.push("content");
    }
    if metadata.mode() & 0o7777 != old.mode() & 0o7777 {
        aspects.push("mode");
    }
    if (metadata.uid(), metadata.gid()) != (old.uid(), old.gid()) {
        aspects.push("owner");
    }
    // A directory is in the upper one already when something below it changed.
    Ok((!aspects.is_empty())
        .then(|| Change { aspects, ..change(inside.to_owned(), ChangeKind::Modified, metadata) }))
}

fn same_content(new: &Path, metadata: &Metadata, old: &Path, before: &Metadata) -> Result<bool, WorkerError> {
    Ok(match what(metadata) {
        "file" => {
            metadata.len() == before.len()
                && fs::read(new).context("read", new)? == fs::read(old).context("read", old)?
        }
        "link" => fs::read_link(new).context("read", new)? == fs::read_link(old).context("read", old)?,
        _ => true,
    })
}
