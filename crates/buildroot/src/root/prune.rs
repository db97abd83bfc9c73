//! Takes from the upper directory of a finished transaction what the layers below show anyway.
//!
//! What stays is what a layer on top must have: files that are new or differ in type, mode, owner,
//! size, content or target, whiteouts of what was removed, and the directories that lead to them. The
//! time of a file is no difference. Marks of the overlay that mean something in a layer (opaque
//! directories) stay; those that only an upper needs are removed.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, lgetxattr, llistxattr, lremovexattr, utimensat,
};
use rustix::io::Errno;

use crate::layer::SetuidPolicy;
use crate::remove::remove_tree;

/// Attributes of the overlay are kept in one of these name spaces.
const OVERLAY_PREFIXES: [&str; 2] = ["trusted.overlay.", "user.overlay."];

/// Mark of a directory that hides what the layers below have in it.
const OPAQUE: &str = "opaque";

/// Marks of what a layer cannot be: a file whose content, or a directory whose entries, are elsewhere.
const ELSEWHERE: [&str; 2] = ["metacopy", "redirect"];

const BUFFER_BYTES: usize = 64 << 10;

/// What is done besides comparing.
pub(super) struct PruneOptions<'a> {
    /// What becomes of set-id bits, as in all layers of the store.
    pub(super) setuid: SetuidPolicy,
    /// No file is dated later than this, in seconds since 1970.
    pub(super) newest: i64,
    /// Says of an absolute path inside whether it is thrown away whatever it is.
    pub(super) is_dropped: &'a dyn Fn(&Path) -> bool,
}

/// Why an upper cannot become a layer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PruneFault {
    /// The kernel did not keep the whole of it in the upper.
    #[error("`{}` carries the overlay's mark `{mark}`; its content is not in one place", .path.display())]
    Elsewhere {
        /// File or directory.
        path: PathBuf,
        /// Name of the mark.
        mark: String,
    },
    /// A file operation failed.
    #[error("cannot {operation} `{}`", .path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// File or directory concerned.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

trait At<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, PruneFault>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, PruneFault> {
        self.map_err(|error| PruneFault::Io { operation, path: path.to_owned(), source: error.into() })
    }
}

/// Removes from `upper` what `lowers` (topmost first) show as well.
pub(super) fn prune(upper: &Path, lowers: &[PathBuf], options: &PruneOptions<'_>) -> Result<(), PruneFault> {
    let lowers: Vec<PathBuf> = lowers.to_vec();
    prune_directory(upper, Path::new("/"), &lowers, options)?;
    settle_directory(upper, options)
}

/// Prunes what is in one directory; returns whether anything of it stays. `lowers` are the directories
/// that it hides or is merged with, topmost first.
fn prune_directory(
    directory: &Path,
    inside: &Path,
    lowers: &[PathBuf],
    options: &PruneOptions<'_>,
) -> Result<bool, PruneFault> {
    let is_opaque = has_mark(directory, OPAQUE)?;
    let shown = if is_opaque { HashMap::new() } else { shown_by(lowers)? };
    let mut stays = is_opaque;
    for entry in fs::read_dir(directory).at("list", directory)? {
        let name = entry.at("list", directory)?.file_name();
        let (path, inside) = (directory.join(&name), inside.join(&name));
        let below = shown.get(name.as_os_str());
        if (options.is_dropped)(&inside) {
            remove(&path)?;
        } else {
            stays |= prune_entry(&path, &inside, below, lowers, options)?;
        }
    }
    Ok(stays)
}

/// Prunes one path; returns whether it stays.
fn prune_entry(
    path: &Path,
    inside: &Path,
    below: Option<&PathBuf>,
    lowers: &[PathBuf],
    options: &PruneOptions<'_>,
) -> Result<bool, PruneFault> {
    let facts = path.symlink_metadata().at("examine", path)?;
    let kind = facts.file_type();
    if is_whiteout(&facts) {
        return if below.is_some() { Ok(true) } else { remove(path).map(|()| false) };
    }
    if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
        // No layer has such things; a package cannot bring one either.
        return remove(path).map(|()| false);
    }
    let below = below.map(|below| Ok((below, below.symlink_metadata().at("examine", below)?))).transpose()?;
    if kind.is_dir() {
        let name = path.file_name().unwrap_or_default();
        let merged = if below.as_ref().is_some_and(|(_, facts)| facts.is_dir()) {
            directories_of(lowers, name)?
        } else {
            Vec::new()
        };
        let stays = prune_directory(path, inside, &merged, options)?;
        if !stays && below.is_some_and(|(_, below)| below.is_dir() && same_attributes(&facts, &below)) {
            fs::remove_dir(path).at("remove", path)?;
            return Ok(false);
        }
        settle_directory(path, options)?;
        return Ok(true);
    }
    let mode = facts.mode() & 0o7777;
    if kind.is_file() && options.setuid == SetuidPolicy::Strip && mode & 0o6000 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o1777)).at("change", path)?;
    }
    let facts = path.symlink_metadata().at("examine", path)?;
    if let Some((below, below_facts)) = &below
        && equal(path, &facts, below, below_facts)?
    {
        remove(path)?;
        return Ok(false);
    }
    settle(path, &facts, options)?;
    Ok(true)
}

/// Returns where each name in a directory is seen: in the topmost layer that has it.
fn shown_by(lowers: &[PathBuf]) -> Result<HashMap<OsString, PathBuf>, PruneFault> {
    let mut shown = HashMap::new();
    for lower in lowers {
        for entry in fs::read_dir(lower).at("list", lower)? {
            let entry = entry.at("list", lower)?;
            shown.entry(entry.file_name()).or_insert_with(|| entry.path());
        }
    }
    Ok(shown)
}

/// Returns the directories of this name that are merged: down to the first layer in which it is
/// something else.
fn directories_of(lowers: &[PathBuf], name: &OsStr) -> Result<Vec<PathBuf>, PruneFault> {
    let mut directories = Vec::new();
    for lower in lowers {
        let path = lower.join(name);
        match path.symlink_metadata() {
            Ok(facts) if facts.is_dir() => directories.push(path),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).at("examine", &path),
        }
    }
    Ok(directories)
}

fn is_whiteout(facts: &Metadata) -> bool {
    facts.file_type().is_char_device() && facts.rdev() == 0
}

fn same_attributes(a: &Metadata, b: &Metadata) -> bool {
    (a.mode(), a.uid(), a.gid()) == (b.mode(), b.uid(), b.gid())
}

/// Whether two files or links are the same but for their times.
fn equal(a: &Path, a_facts: &Metadata, b: &Path, b_facts: &Metadata) -> Result<bool, PruneFault> {
    if !same_attributes(a_facts, b_facts) || a_facts.size() != b_facts.size() {
        return Ok(false);
    }
    if a_facts.is_symlink() {
        return Ok(fs::read_link(a).at("read", a)? == fs::read_link(b).at("read", b)?);
    }
    let open = |path: &Path| File::open(path).at("open", path);
    let (mut first, mut second) = (open(a)?, open(b)?);
    let (mut one, mut other) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    loop {
        let read = fill(&mut first, &mut one).at("read", a)?;
        if read != fill(&mut second, &mut other).at("read", b)? || one[..read] != other[..read] {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn remove(path: &Path) -> Result<(), PruneFault> {
    remove_tree(path).map(drop).at("remove", path)
}

/// Dates a directory that stays, and takes the upper's own marks from it.
fn settle_directory(path: &Path, options: &PruneOptions<'_>) -> Result<(), PruneFault> {
    settle(path, &path.symlink_metadata().at("examine", path)?, options)
}

/// Dates what stays, and takes the upper's own marks from it.
fn settle(path: &Path, facts: &Metadata, options: &PruneOptions<'_>) -> Result<(), PruneFault> {
    for mark in marks(path)? {
        let plain = OVERLAY_PREFIXES.iter().find_map(|prefix| mark.strip_prefix(prefix)).unwrap_or(&mark);
        if ELSEWHERE.contains(&plain) {
            return Err(PruneFault::Elsewhere { path: path.to_owned(), mark: mark.clone() });
        }
        if plain != OPAQUE {
            lremovexattr(path, mark.as_str()).at("take the overlay's marks from", path)?;
        }
    }
    // Whatever a directory was changed by is later than this; a file may be as old as its package.
    if facts.is_dir() || facts.mtime() > options.newest {
        let time = Timespec { tv_sec: options.newest, tv_nsec: 0 };
        let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: omitted, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).at("date", path)?;
    }
    Ok(())
}

fn has_mark(path: &Path, mark: &str) -> Result<bool, PruneFault> {
    for prefix in OVERLAY_PREFIXES {
        let mut value = [0; 4];
        match lgetxattr(path, format!("{prefix}{mark}"), &mut value) {
            Ok(_) => return Ok(true),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error).at("read the overlay's marks of", path),
        }
    }
    Ok(false)
}

/// Returns the names of the overlay's attributes of a path.
fn marks(path: &Path) -> Result<Vec<String>, PruneFault> {
    let mut names = vec![0; 64 << 10];
    let length = match llistxattr(path, &mut names) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error).at("read the overlay's marks of", path),
    };
    let texts = names[..length].split(|byte| *byte == 0);
    let texts = texts.map(|name| OsStr::from_bytes(name).to_string_lossy().into_owned());
    Ok(texts.filter(|name| OVERLAY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_what_differs_stays() {
        let dir = tempfile::tempdir().expect("directory");
        let at = |path: &str| dir.path().join(path);
        for path in ["upper/etc/same", "upper/new", "a/etc/same", "b/etc", "b/hidden"] {
            fs::create_dir_all(at(path)).expect("directory");
        }
        let write = |path: &str, content: &str| fs::write(at(path), content).expect("write");
        write("a/etc/equal", "1");
        write("upper/etc/equal", "1");
        write("b/etc/changed", "1");
        write("upper/etc/changed", "2");
        write("b/etc/grown", "1");
        write("upper/etc/grown", "11");
        write("a/etc/log", "1");
        write("upper/etc/log", "2");
        write("upper/etc/same/made", "1");
        symlink("equal", at("a/etc/link")).expect("link");
        symlink("equal", at("upper/etc/link")).expect("link");
        symlink("equal", at("a/etc/other")).expect("link");
        symlink("changed", at("upper/etc/other")).expect("link");
        // A file in place of a directory, and one hidden by a higher layer.
        write("upper/hidden", "1");
        write("a/etc/twice", "new");
        write("b/etc/twice", "old");
        write("upper/etc/twice", "old");
        let is_dropped = |path: &Path| path == Path::new("/etc/log");
        let options = PruneOptions { setuid: SetuidPolicy::Strip, newest: 7, is_dropped: &is_dropped };
        prune(&at("upper"), &[at("a"), at("b")], &options).expect("prune");
        let mut left = Vec::new();
        walk(&at("upper"), &at("upper"), &mut left);
        left.sort();
        let expected = [
            "etc",
            "etc/changed",
            "etc/grown",
            "etc/other",
            "etc/same",
            "etc/same/made",
            "etc/twice",
            "hidden",
            "new",
        ];
        assert_eq!(left, expected);
        for path in ["upper/etc", "upper/etc/changed", "upper/etc/other"] {
            assert_eq!(at(path).symlink_metadata().expect("facts").mtime(), 7, "{path}");
        }
    }

    fn walk(root: &Path, directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).expect("directory") {
            let path = entry.expect("entry").path();
            found.push(path.strip_prefix(root).expect("below").to_string_lossy().into_owned());
            if path.symlink_metadata().expect("facts").is_dir() {
                walk(root, &path, found);
            }
        }
    }
}
