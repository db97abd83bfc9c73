//! What the processes of a run have used, for probes: the cgroup's counters, or else the processes' own.
//!
//! The kernel adds what a process has used to its parent when the parent reaps it. So the sum over the living
//! processes, each with its reaped children, is the whole run; what ends between two reads of one sum may be
//! missed and is there at the next probe. After the end pid 1, not reaped yet, holds everything.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::processes::{TICK, cpu_time_of_tree, parse};
use crate::cgroup::Counters;
use crate::kernel_file::read;
use crate::probe::{AccountingSource, Probe, in_microseconds};

/// More processes than these are not asked at one probe: what they use is seen when they have ended.
const MOST_PROCESSES: usize = 64;

/// Links of the directory of a process's threads when there is one: its name, `.` and the thread.
const LINKS_OF_ONE_THREAD: u64 = 3;

/// Takes probes of one run.
pub(super) struct Prober {
    counters: Option<Counters>,
    /// Pid 1 of the sandbox, as the host numbers it.
    pid1: i32,
    started: Instant,
    /// Whether what is written to disk is counted.
    count_written: bool,
}

impl Prober {
    pub(super) fn new(counters: Option<Counters>, pid1: i32, started: Instant, count_written: bool) -> Self {
        Self { counters, pid1, started, count_written }
    }

    /// Returns what the run has used so far.
    pub(super) fn probe(&mut self) -> Probe {
        let counted = self.counted_time();
        let source = self.counters.as_ref().filter(|_| counted.is_some()).map(Counters::source);
        let (mut ticks, mut written) = (0, None);
        let asked = if counted.is_none() || self.count_written { tree(self.pid1) } else { Vec::new() };
        for pid in asked {
            if counted.is_none() {
                ticks += ticks_of(pid).unwrap_or(0);
            }
            if let Some(bytes) = written_by(pid).filter(|_| self.count_written) {
                written = Some(written.unwrap_or(0) + bytes);
            }
        }
        let summed = TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX));
        Probe {
            wall_us: in_microseconds(self.started.elapsed()),
            cpu_us: in_microseconds(counted.unwrap_or(summed)),
            peak_memory_bytes: self.counters.as_mut().and_then(Counters::peak_since_last),
            written_bytes: written,
            source: source.unwrap_or(AccountingSource::Processes),
        }
    }

    /// Returns the processor time that a cgroup has counted.
    pub(super) fn counted_time(&self) -> Option<Duration> {
        self.counters.as_ref()?.cpu_time()
    }

    /// Returns the processor time that the run has used, as well as it can be known.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        self.counted_time().or_else(|| cpu_time_of_tree(self.pid1.unsigned_abs()).ok())
    }

    /// Returns the greatest peak of memory that any probe has seen.
    pub(super) fn greatest_peak(&self) -> Option<u64> {
        self.counters.as_ref()?.greatest_peak()
    }
}

/// Returns a process and all below it.
fn tree(root: i32) -> Vec<i32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() && found.len() < MOST_PROCESSES {
        let pid = found[next];
        next += 1;
        let mut add = |thread: &Path| {
            let children = read(&thread.join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        };
        let threads = PathBuf::from(format!("/proc/{pid}/task"));
        // Nearly all have one thread, which is called as they are; a directory has a link for each in it.
        if fs::metadata(&threads).is_ok_and(|metadata| metadata.nlink() == LINKS_OF_ONE_THREAD) {
            add(&threads.join(pid.to_string()));
        } else {
            fs::read_dir(&threads).into_iter().flatten().flatten().for_each(|thread| add(&thread.path()));
        }
    }
    found.truncate(MOST_PROCESSES);
    found
}

/// Returns the ticks of a process and its reaped children, in user mode and in the kernel.
fn ticks_of(pid: i32) -> Option<u64> {
    parse(&read(format!("/proc/{pid}/stat").as_ref())?).map(|process| process.ticks)
}

/// Returns whether this kernel counts what processes write.
pub(super) fn is_written_counted() -> bool {
    Path::new("/proc/self/io").exists()
}

/// Returns the bytes that a process and its reaped children have written to disk.
fn written_by(pid: i32) -> Option<u64> {
    let text = read(format!("/proc/{pid}/io").as_ref())?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_found() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep");
        let own = i32::try_from(std::process::id()).expect("a pid");
        let found = tree(own);
        child.kill().and_then(|()| child.wait()).expect("end of the child");
        assert!(
            found.contains(&own) && found.contains(&i32::try_from(child.id()).expect("a pid")),
            "{found:?}"
        );
    }
}
