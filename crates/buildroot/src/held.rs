//! What directories hold: bytes of the disk, files and directories.
//!
//! What is looked at belongs to a program that runs, which may be hostile. So no symbolic link is followed, a directory
//! of very many names is not read to its end, and a tree may be deeper than any path is long. What comes and goes
//! meanwhile may be missed.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat, openat2, statat};

/// An amount of bytes and files: what is there, or what may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes of memory or disk.
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
}

impl Held {
    /// Returns whether it is more than `most` in either respect.
    fn exceeds(self, most: Self) -> bool {
        self.bytes > most.bytes || self.files > most.files
    }
}

/// What the kernel counts allocated bytes in.
const BLOCK_BYTES: u64 = 512;

/// How many bytes of path lead from an open directory to others; the kernel takes 4095.
const REACH: usize = 3000;

/// A tree is followed so many bytes of path deep, which takes some three hundred open directories at a time. No program
/// but one that hides something goes further: a deeper tree counts as more files than anybody may have.
const DEEPEST: usize = 1 << 20;

/// Returns what these files and directories hold, until that is more than `most`. A file of several names counts once.
pub fn held_by(paths: &[&Path], most: Held) -> Held {
    let mut count = Count::default();
    for path in paths {
        let Ok(facts) = statat(CWD, *path, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        count.add(&facts);
        if is_directory(&facts) {
            count.add_below(path, most);
        }
        if count.held.exceeds(most) {
            break;
        }
    }
    count.held
}

#[derive(Default)]
struct Count {
    held: Held,
    /// Files of several names that were met, by device and number.
    linked: BTreeSet<(u64, u64)>,
}

impl Count {
    fn add(&mut self, facts: &Stat) {
        let is_single = is_directory(facts) || facts.st_nlink == 1;
        if is_single || self.linked.insert((facts.st_dev, facts.st_ino)) {
            self.held.bytes += u64::try_from(facts.st_blocks).unwrap_or(0) * BLOCK_BYTES;
            self.held.files += 1;
        }
    }

    /// Adds everything below a directory until that is too much.
    fn add_below(&mut self, top: &Path, most: Held) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(top) = openat(CWD, top, flags, Mode::empty()) else { return };
        let mut pending = vec![Place { base: Arc::new(top), path: PathBuf::from("."), above: 0 }];
        while let Some(place) = pending.pop() {
            let Some((place, mut entries)) = place.open() else { continue };
            while let Some(Ok(entry)) = entries.read() {
                let name = entry.file_name();
                if name == c"." || name == c".." {
                    continue;
                }
                let facts = entries.fd().and_then(|fd| statat(fd, name, AtFlags::SYMLINK_NOFOLLOW));
                let Ok(facts) = facts else { continue };
                self.add(&facts);
                if is_directory(&facts) {
                    pending.push(place.below(name));
                }
                if self.held.exceeds(most) {
                    return;
                }
            }
            if place.above > DEEPEST {
                self.held.files = u64::MAX;
                return;
            }
        }
    }
}

/// A directory that is to be looked into.
struct Place {
    base: Arc<OwnedFd>,
    /// The way from there.
    path: PathBuf,
    /// Bytes of the way from the top to `base`.
    above: usize,
}

impl Place {
    /// Opens it, from nearer by if it is far; nothing where that cannot be done.
    fn open(self) -> Option<(Self, Dir)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = openat2(self.base.as_fd(), &self.path, flags, Mode::empty(), resolve).ok()?;
        let length = self.path.as_os_str().len();
        if length < REACH {
            return Some((self, Dir::new(opened).ok()?));
        }
        let nearer = Self { base: Arc::new(opened), path: PathBuf::from("."), above: self.above + length };
        let entries = Dir::read_from(nearer.base.as_fd()).ok()?;
        Some((nearer, entries))
    }

    fn below(&self, name: &CStr) -> Self {
        let path = self.path.join(OsStr::from_bytes(name.to_bytes()));
        Self { base: Arc::clone(&self.base), path, above: self.above }
    }
}

fn is_directory(facts: &Stat) -> bool {
    FileType::from_raw_mode(facts.st_mode) == FileType::Directory
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::mkdirat;

    use super::*;

    const EVERYTHING: Held = Held { bytes: u64::MAX, files: u64::MAX };

    #[test]
    fn links_count_once_and_holes_not_at_all() {
        let directory = tempfile::tempdir().expect("directory");
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).expect("directory");
        let held = || held_by(&[directory.path()], EVERYTHING);
        let empty = held();
        fs::write(inner.join("file"), vec![1; 1 << 20]).expect("file");
        fs::File::create(inner.join("hole")).and_then(|file| file.set_len(1 << 30)).expect("file");
        std::os::unix::fs::symlink("/usr", inner.join("link")).expect("link");
        // File systems may allocate late.
        fs::File::open(inner.join("file")).and_then(|file| file.sync_all()).expect("on disk");
        let once = held();
        assert!((1 << 20..2 << 20).contains(&(once.bytes - empty.bytes)), "{once:?}");
        assert_eq!((empty.files, once.files), (2, 5));
        fs::hard_link(inner.join("file"), inner.join("same")).expect("link");
        assert_eq!(held(), once);
        let some = held_by(&[&inner.join("file"), &inner.join("link"), &inner.join("absent")], EVERYTHING);
        assert!(some.files == 2 && some.bytes <= once.bytes, "{some:?}");
    }

    #[test]
    fn a_directory_of_very_many_files_is_not_read_to_its_end() {
        let directory = tempfile::tempdir().expect("directory");
        for number in 0..100 {
            fs::write(directory.path().join(number.to_string()), "").expect("file");
        }
        let most = Held { files: 10, ..EVERYTHING };
        assert_eq!(held_by(&[directory.path()], most).files, 11);
    }

    #[test]
    fn nothing_is_so_deep_that_it_does_not_count() {
        // In memory, where so many directories are made and removed at once.
        let directory = tempfile::tempdir_in("/dev/shm").expect("directory");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut inner = openat(CWD, directory.path(), flags, Mode::empty()).expect("directory");
        let mut go_down = |levels: usize, name: &str| {
            for _ in 0..levels {
                mkdirat(&inner, name, Mode::RWXU).expect("directory");
                inner = openat(&inner, name, flags, Mode::empty()).expect("directory");
            }
        };
        // Far beyond the longest path.
        go_down(5000, "d");
        assert_eq!(held_by(&[directory.path()], EVERYTHING).files, 5001);
        assert_eq!(held_by(&[directory.path()], Held { files: 4000, ..EVERYTHING }).files, 4001);
        go_down(DEEPEST / 200, &"long".repeat(50));
        assert_eq!(held_by(&[directory.path()], EVERYTHING).files, u64::MAX);
        crate::remove_tree(directory.path()).expect("remove");
    }
}
