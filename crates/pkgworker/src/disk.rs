//! The disk limit of a job: what its directory and its log hold is measured while it runs.
//!
//! A build writes to a directory of the host, because large trees do not fit into memory; plain directories
//! have no quota of their own. So usage is measured by walking, rarely enough to cost at most a twentieth of
//! one processor, and a build beyond its limit is killed. It is a guard of the host against runaway builds,
//! not an exact limit: what is written between two looks is noticed late.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The shortest time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Between two looks passes at least this many times the duration of the last one.
const RARITY: u32 = 20;

/// Looks at what these paths hold until it is more than `limit` bytes or `ended` is closed; returns whether
/// the limit was passed.
pub(crate) fn watch(paths: &[&Path], limit: u64, ended: &Receiver<()>) -> bool {
    let mut pause = INTERVAL;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(pause) {
        let start = Instant::now();
        if usage(paths, limit) > limit {
            return true;
        }
        pause = INTERVAL.max(start.elapsed() * RARITY);
    }
    false
}

/// Returns the bytes that are allocated on disk for these files and directories; stops counting beyond
/// `enough`. What comes and goes meanwhile may be missed.
fn usage(paths: &[&Path], enough: u64) -> u64 {
    let mut total = 0;
    let mut linked = BTreeSet::new();
    let mut pending: Vec<_> = paths.iter().map(|path| path.to_path_buf()).collect();
    while let Some(path) = pending.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if is_first(&metadata, &mut linked) {
            total += metadata.blocks() * 512;
        }
        if total > enough {
            return total;
        }
        if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
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

    #[test]
    fn links_count_once_and_holes_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let empty = usage(&[directory.path()], u64::MAX);
        fs::write(inner.join("file"), vec![1; 1 << 20]).unwrap();
        fs::File::create(inner.join("hole")).unwrap().set_len(1 << 30).unwrap();
        std::os::unix::fs::symlink("/usr", inner.join("link")).unwrap();
        // File systems may allocate late.
        fs::File::open(inner.join("file")).unwrap().sync_all().unwrap();
        let once = usage(&[directory.path()], u64::MAX) - empty;
        assert!((1 << 20..2 << 20).contains(&once), "{once}");
        fs::hard_link(inner.join("file"), inner.join("same")).unwrap();
        assert_eq!(usage(&[directory.path()], u64::MAX) - empty, once);
        assert!(usage(&[&inner.join("file"), &inner.join("absent")], u64::MAX) <= once);
    }

    #[test]
    fn watching_ends_with_the_build_or_with_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), vec![1; 1 << 20]).unwrap();
        let (running, ended) = channel();
        assert!(watch(&[directory.path()], 1 << 10, &ended));
        drop(running);
        assert!(!watch(&[directory.path()], 1 << 10, &ended));
    }
}
