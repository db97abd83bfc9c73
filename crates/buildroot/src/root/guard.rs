//! Runs a program whose output and whose writes end somewhere.
//!
//! A transaction's scriptlets write into the layer store, and they may say what they like. So only the end of what is
//! said is kept, and who says or writes more than is allowed is ended. What is written is measured by walking, as for
//! builds: rarely enough to cost next to nothing, so that more than the limit may be there for a moment. Directories
//! that the caller may not read, because a scriptlet of an ordinary user's transaction gave them away, do not count.

use std::io::{self, PipeReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::held::{Held, held_by};
use crate::outcome::Outcome;
use crate::spec::SandboxSpec;
use crate::{KillHandle, Sandbox, SandboxError, SandboxIo};

/// What a transaction may say and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionLimits {
    /// Bytes of output.
    pub output_bytes: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Files and directories.
    pub files: u64,
    /// Processes and threads at one time.
    pub processes: u64,
    /// Bytes of memory of all processes; `None` is no limit.
    pub memory_bytes: Option<u64>,
}

impl Default for TransactionLimits {
    /// Returns 64 MiB of output, and 16 GiB, 2,000,000 files and 16,384 processes as a build may have. How much memory
    /// is too much is known to who knows the host.
    fn default() -> Self {
        Self {
            output_bytes: 64 << 20,
            disk_bytes: 16 << 30,
            files: 2_000_000,
            processes: 16_384,
            memory_bytes: None,
        }
    }
}

/// What a program did more of than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Excess {
    #[error("it wrote more than {0} bytes of output, killed")]
    Output(u64),
    #[error("it wrote more than {0} bytes, killed")]
    Bytes(u64),
    #[error("it made more than {0} files, killed")]
    Files(u64),
}

/// How a program ended.
pub(super) struct Guarded {
    pub(super) outcome: Outcome,
    /// Why it was killed, if it was.
    pub(super) excess: Option<Excess>,
    /// The end of what it said, on both streams.
    pub(super) said: Vec<u8>,
}

/// How much of what is said is kept.
const TAIL: usize = 64 << 10;

/// The shortest time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Between two looks passes at least this many times the duration of the last one.
const RARITY: u32 = 20;

/// Runs a program that writes below `directory`.
pub(super) fn run_guarded(
    sandbox: &Sandbox,
    spec: &SandboxSpec,
    directory: &Path,
    limits: TransactionLimits,
) -> Result<Guarded, SandboxError> {
    let pipe = || -> io::Result<_> {
        let (reader, writer) = io::pipe()?;
        Ok((reader, writer.try_clone()?, writer))
    };
    let (reader, stdout, stderr) =
        pipe().map_err(|source| SandboxError::Control { operation: "make a pipe for", source })?;
    let io = SandboxIo { stdin: None, stdout: stdout.into(), stderr: stderr.into() };
    let running = sandbox.spawn(spec, io)?;
    let (reader_kills, watcher_kills) = (running.kill_handle(), running.kill_handle());
    let (going_on, ended) = channel::<()>();
    thread::scope(|scope| {
        let reading = scope.spawn(move || keep_tail(reader, limits.output_bytes, &reader_kills));
        let watching = scope.spawn(move || watch(directory, limits, &ended, &watcher_kills));
        let outcome = running.wait();
        drop(going_on);
        let (said, flood) = reading.join().unwrap_or_default();
        let excess = flood.or(watching.join().unwrap_or_default());
        Ok(Guarded { outcome: outcome?, excess, said })
    })
}

/// Reads to the end, and returns the end of what was read.
fn keep_tail(mut pipe: PipeReader, most: u64, kill: &KillHandle) -> (Vec<u8>, Option<Excess>) {
    let mut tail = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    let (mut total, mut excess) = (0u64, None);
    // A pipe that cannot be read has no more to say.
    while let Ok(length @ 1..) = pipe.read(&mut buffer) {
        total += length as u64;
        tail.extend_from_slice(&buffer[..length]);
        let beyond = tail.len().saturating_sub(TAIL);
        tail.drain(..beyond);
        if total > most && excess.is_none() {
            excess = Some(Excess::Output(most));
            kill.kill();
        }
    }
    (tail, excess)
}

/// Looks at a directory until it holds more than it may or the program has ended.
fn watch(
    directory: &Path,
    limits: TransactionLimits,
    ended: &Receiver<()>,
    kill: &KillHandle,
) -> Option<Excess> {
    let mut pause = INTERVAL;
    while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let start = Instant::now();
        if let Some(excess) = excess_of(directory, limits) {
            kill.kill();
            return Some(excess);
        }
        pause = INTERVAL.max(start.elapsed() * RARITY);
    }
    None
}

/// Returns which limit a directory passes, if it does.
fn excess_of(directory: &Path, limits: TransactionLimits) -> Option<Excess> {
    let most = Held { bytes: limits.disk_bytes, files: limits.files };
    let held = held_by(&[directory], most);
    if held.bytes > most.bytes {
        Some(Excess::Bytes(most.bytes))
    } else {
        (held.files > most.files).then_some(Excess::Files(most.files))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_written_is_counted_in_bytes_and_files() {
        let directory = tempfile::tempdir().expect("directory");
        fs::create_dir(directory.path().join("inner")).expect("directory");
        fs::write(directory.path().join("inner/file"), vec![1; 1 << 20]).expect("file");
        // File systems may allocate late.
        fs::File::open(directory.path().join("inner/file"))
            .and_then(|file| file.sync_all())
            .expect("on disk");
        std::os::unix::fs::symlink("/usr", directory.path().join("link")).expect("link");
        let found = |disk_bytes, files| {
            excess_of(directory.path(), TransactionLimits { disk_bytes, files, ..Default::default() })
        };
        assert_eq!(found(4 << 20, 4), None);
        assert_eq!(found(1 << 19, 4), Some(Excess::Bytes(1 << 19)));
        assert_eq!(found(4 << 20, 3), Some(Excess::Files(3)));
        assert_eq!(excess_of(&directory.path().join("absent"), TransactionLimits::default()), None);
    }
}
