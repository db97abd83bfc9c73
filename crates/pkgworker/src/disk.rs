//! The disk and file limits of a job: what its directory and its log hold is measured while it runs.
//!
//! A build writes to a directory of the host, because large trees do not fit into memory; plain directories
//! have no quota of their own. So usage is measured by walking, rarely enough to cost at most a twentieth of
//! one processor, and a build beyond its limit is killed. It is a guard of the host against runaway builds,
//! not an exact limit: what is written between two looks is noticed late. Of a directory in memory the kernel says
//! at once what it holds; there a build is also killed when it holds more than memory is spent for.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use buildroot::{Held, MemoryTree, held_by};

/// The shortest time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Between two looks passes at least this many times the duration of the last one.
const RARITY: u32 = 20;

/// Which limit was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// [`Held::bytes`]
    Bytes,
    /// [`Held::files`]
    Files,
    /// What a directory in memory may hold before it has to be one on disk.
    Memory,
}

/// What a directory in memory may hold.
const IN_MEMORY: Held = Held { bytes: 256 << 20, files: 20_000 };

/// Returns in what respect something is more than is allowed, if it is.
fn passed(held: Held, allowed: Held) -> Option<Passed> {
    if held.bytes > allowed.bytes {
        Some(Passed::Bytes)
    } else {
        (held.files > allowed.files).then_some(Passed::Files)
    }
}

/// Looks at what a job's directory and its log hold until it is more than is allowed or `ended` is closed; returns
/// which limit was passed.
pub(crate) fn watch(
    directory: &Path,
    memory: Option<&MemoryTree>,
    log: &Path,
    allowed: Held,
    ended: &Receiver<()>,
) -> Option<Passed> {
    match memory {
        Some(tree) => watch_memory(tree, log, allowed, ended),
        None => watch_disk(&[directory, log], allowed, ended),
    }
}

fn watch_memory(tree: &MemoryTree, log: &Path, allowed: Held, ended: &Receiver<()>) -> Option<Passed> {
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(INTERVAL) {
        // Without an answer the kernel's own limit of the file system counts.
        let held = tree.held().unwrap_or_default();
        let with_log = Held { bytes: held.bytes.saturating_add(held_by(&[log], allowed).bytes), ..held };
        let outgrown = passed(held, IN_MEMORY).map(|_| Passed::Memory);
        let passed = passed(with_log, allowed).or(outgrown);
        if passed.is_some() {
            return passed;
        }
    }
    None
}

fn watch_disk(paths: &[&Path], allowed: Held, ended: &Receiver<()>) -> Option<Passed> {
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
        if last.elapsed() < took * RARITY && passed(could_hold, allowed).is_none() {
            continue;
        }
        let start = Instant::now();
        let held = held_by(paths, allowed);
        let passed = passed(held, allowed);
        if passed.is_some() {
            return passed;
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn watching_ends_with_the_build_or_with_a_limit() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), vec![1; 1 << 20]).unwrap();
        let (running, ended) = channel();
        let log = directory.path().join("file");
        let with = |bytes, files| watch(directory.path(), None, &log, Held { bytes, files }, &ended);
        assert_eq!(with(1 << 10, u64::MAX), Some(Passed::Bytes));
        assert_eq!(with(u64::MAX, 1), Some(Passed::Files));
        drop(running);
        assert_eq!(with(1 << 10, 1), None);
    }
}
