//! The disk and file limits of a job: what its directory and its log hold is measured while it runs.
//!
//! A build writes to a directory of the host, because large trees do not fit into memory; plain directories
//! have no quota of their own. So usage is measured by walking, rarely enough to cost at most a twentieth of
//! one processor, and a build beyond its limit is killed. It is a guard of the host against runaway builds,
//! not an exact limit: what is written between two looks is noticed late. Of a directory in memory the kernel says
//! at once what it holds; there a build is also killed when it holds more than memory is spent for.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use buildroot::{Held, MemoryTree};

/// The shortest time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Between two looks passes at least this many times the duration of the last one.
const RARITY: u32 = 20;

/// What a job's directory may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// Bytes allocated on disk.
    pub(crate) bytes: u64,
    /// Files and directories.
    pub(crate) files: u64,
}

/// Which limit was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// [`Allowance::bytes`]
    Bytes,
    /// [`Allowance::files`]
    Files,
    /// What a directory in memory may hold before it has to be one on disk.
    Memory,
}

impl Allowance {
    /// What a directory in memory may hold.
    const IN_MEMORY: Self = Self { bytes: 256 << 20, files: 20_000 };

    /// Returns which limit this is more than.
    fn passed_by(self, held: Held) -> Option<Passed> {
        if held.bytes > self.bytes {
            Some(Passed::Bytes)
        } else {
            (held.files > self.files).then_some(Passed::Files)
        }
    }
}

/// Looks at what a job's directory and its log hold until it is more than is allowed or `ended` is closed; returns
/// which limit was passed.
pub(crate) fn watch(
    directory: &Path,
    memory: Option<&MemoryTree>,
    log: &Path,
    allowance: Allowance,
    ended: &Receiver<()>,
) -> Option<Passed> {
    match memory {
        Some(tree) => watch_memory(tree, log, allowance, ended),
        None => watch_disk(&[directory, log], allowance, ended),
    }
}

fn watch_memory(tree: &MemoryTree, log: &Path, allowance: Allowance, ended: &Receiver<()>) -> Option<Passed> {
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(INTERVAL) {
        // Without an answer the kernel's own limit of the file system counts.
        let held = tree.held().unwrap_or_default();
        let with_log = Held { bytes: held.bytes.saturating_add(usage(&[log], allowance).bytes), ..held };
        let outgrown = Allowance::IN_MEMORY.passed_by(held).map(|_| Passed::Memory);
        if let Some(passed) = allowance.passed_by(with_log).or(outgrown) {
            return Some(passed);
        }
    }
    None
}

fn watch_disk(paths: &[&Path], allowance: Allowance, ended: &Receiver<()>) -> Option<Passed> {
    let mut walked = (Instant::now(), Duration::ZERO, Held::default());
    let mut given = given_away(paths);
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(INTERVAL) {
        let (last, took, held) = walked;
        let now = given_away(paths);
        // Walking takes long where there is much. But what the whole file system has given away since the last
        // walk costs nothing to ask, and the job cannot have taken more.
        let could_hold = Held {
            bytes: held.bytes.saturating_add(now.bytes.saturating_sub(given.bytes)),
            files: held.files.saturating_add(now.files.saturating_sub(given.files)),
        };
        if last.elapsed() < took * RARITY && allowance.passed_by(could_hold).is_none() {
            continue;
        }
        let start = Instant::now();
        let held = usage(paths, allowance);
        if let Some(passed) = allowance.passed_by(held) {
            return Some(passed);
        }
        walked = (Instant::now(), start.elapsed(), held);
        given = now;
    }
    None
}

/// Returns what the file systems of these paths have given away in all.
fn given_away(paths: &[&Path]) -> Held {
    let mut sum = Held::default();
    for path in paths {
        // Without an answer only the walks count.
        if let Ok(system) = nix::sys::statvfs::statvfs(*path) {
            let blocks = system.blocks().saturating_sub(system.blocks_free());
            sum.bytes = sum.bytes.saturating_add(blocks.saturating_mul(system.fragment_size()));
            sum.files = sum.files.saturating_add(system.files().saturating_sub(system.files_free()));
        }
    }
    sum
}

/// A file system with less room is full: what did not fit may have been removed again by the time that anybody looks.
const FULL: u64 = 16 << 20;

/// Returns whether a file system of these paths has no room for more.
pub(crate) fn is_full(paths: &[&Path]) -> bool {
    paths.iter().filter_map(|path| nix::sys::statvfs::statvfs(*path).ok()).any(|system| {
        let no_files = system.files() > 0 && system.files_available() == 0;
        no_files || system.blocks_available().saturating_mul(system.fragment_size()) < FULL
    })
}

/// Returns what these files and directories hold; stops counting beyond `enough`. What comes and goes
/// meanwhile may be missed.
fn usage(paths: &[&Path], enough: Allowance) -> Held {
    let mut total = Held::default();
    let mut linked = BTreeSet::new();
    let mut pending: Vec<_> = paths.iter().map(|path| path.to_path_buf()).collect();
    while let Some(path) = pending.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if is_first(&metadata, &mut linked) {
            total.bytes += metadata.blocks() * 512;
            total.files += 1;
        }
        if enough.passed_by(total).is_some() {
            return total;
        }
        if metadata.is_dir() {
            // One directory may hold more names than there is memory for.
            let room = usize::try_from(enough.files).unwrap_or(usize::MAX).saturating_add(1);
            let entries = fs::read_dir(&path).into_iter().flatten().flatten().take(room);
            pending.extend(entries.map(|entry| entry.path()));
        }
    }
    total
}

/// Returns whether a file of several names is met for the first time.
fn is_first(metadata: &Metadata, linked: &mut BTreeSet<(u64, u64)>) -> bool {
    metadata.is_dir() || metadata.nlink() == 1 || linked.insert((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const UNLIMITED: Allowance = Allowance { bytes: u64::MAX, files: u64::MAX };

    #[test]
    fn links_count_once_and_holes_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let empty = usage(&[directory.path()], UNLIMITED);
        fs::write(inner.join("file"), vec![1; 1 << 20]).unwrap();
        fs::File::create(inner.join("hole")).unwrap().set_len(1 << 30).unwrap();
        std::os::unix::fs::symlink("/usr", inner.join("link")).unwrap();
        // File systems may allocate late.
        fs::File::open(inner.join("file")).unwrap().sync_all().unwrap();
        let once = usage(&[directory.path()], UNLIMITED);
        assert!((1 << 20..2 << 20).contains(&(once.bytes - empty.bytes)), "{once:?}");
        assert_eq!((empty.files, once.files), (2, 5));
        fs::hard_link(inner.join("file"), inner.join("same")).unwrap();
        assert_eq!(usage(&[directory.path()], UNLIMITED), once);
        assert!(usage(&[&inner.join("file"), &inner.join("absent")], UNLIMITED).bytes <= once.bytes);
    }

    #[test]
    fn watching_ends_with_the_build_or_with_a_limit() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), vec![1; 1 << 20]).unwrap();
        let (running, ended) = channel();
        let log = directory.path().join("file");
        let with = |bytes, files| watch(directory.path(), None, &log, Allowance { bytes, files }, &ended);
        assert_eq!(with(1 << 10, u64::MAX), Some(Passed::Bytes));
        assert_eq!(with(u64::MAX, 1), Some(Passed::Files));
        drop(running);
        assert_eq!(with(1 << 10, 1), None);
    }

    #[test]
    fn a_directory_of_very_many_files_is_not_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..100 {
            fs::write(directory.path().join(number.to_string()), "").unwrap();
        }
        let held = usage(&[directory.path()], Allowance { bytes: u64::MAX, files: 10 });
        assert_eq!(
            (held.files, Allowance { bytes: u64::MAX, files: 10 }.passed_by(held)),
            (11, Some(Passed::Files))
        );
    }
}
