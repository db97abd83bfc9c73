//! What a command costs: wall time, and processor time of it and of everything that it started.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::error::BenchError;

/// How many lines of a failed command's output are told.
const LAST_LINES: usize = 12;

/// What a command cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// From start to end.
    pub(crate) wall: Duration,
    /// User and system time of the whole process tree.
    pub(crate) cpu: Duration,
}

impl Cost {
    /// Returns the cost without another that is part of it.
    pub(crate) fn saturating_sub(self, other: Self) -> Self {
        Self { wall: self.wall.saturating_sub(other.wall), cpu: self.cpu.saturating_sub(other.cpu) }
    }
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, cpu: self.cpu + other.cpu }
    }
}

/// Runs a command to its end, its output into the file `log`, and returns what it cost.
///
/// The kernel adds a process's time to its parent's account when the parent has waited for it, so a change of
/// our own account of children is the command's whole tree, as long as one command runs at a time.
pub(crate) fn run(command: &mut Command, log: &Path) -> Result<Cost, BenchError> {
    run_watched(command, log, drop)
}

/// Does the same while `watch`, which is given the process's id, looks on from another thread; it must come to
/// its end when the process has ended.
pub(crate) fn run_watched(
    command: &mut Command,
    log: &Path,
    watch: impl FnOnce(u32) + Send,
) -> Result<Cost, BenchError> {
    let output = File::create(log).map_err(BenchError::io("create", log))?;
    let errors = output.try_clone().map_err(BenchError::io("write", log))?;
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(output).stderr(errors);
    let before = children_cpu()?;
    let start = Instant::now();
    let mut child =
        command.spawn().map_err(|source| BenchError::Start { program: program.clone(), source })?;
    // A worker ends when its standard input closes, so it stays open until the worker has ended.
    let input = child.stdin.take();
    let process = child.id();
    let (status, wall) = std::thread::scope(|scope| {
        scope.spawn(move || watch(process));
        let status = child.wait();
        (status, start.elapsed())
    });
    let status = status.map_err(|source| BenchError::Start { program: program.clone(), source })?;
    let cpu = children_cpu()?.saturating_sub(before);
    drop(input);
    if status.success() {
        return Ok(Cost { wall, cpu });
    }
    Err(BenchError::Ended { program, status, last_lines: last_lines(log), log: log.to_owned() })
}

/// Returns what some work costs that happens in child processes only.
pub(crate) fn of_children<T>(work: impl FnOnce() -> Result<T, BenchError>) -> Result<(T, Cost), BenchError> {
    let before = children_cpu()?;
    let start = Instant::now();
    let result = work()?;
    let wall = start.elapsed();
    Ok((result, Cost { wall, cpu: children_cpu()?.saturating_sub(before) }))
}

/// Returns what some work costs that happens in this process only.
pub(crate) fn of_this_process<T>(
    work: impl FnOnce() -> Result<T, BenchError>,
) -> Result<(T, Cost), BenchError> {
    let before = cpu_of(UsageWho::RUSAGE_SELF)?;
    let start = Instant::now();
    let result = work()?;
    let wall = start.elapsed();
    Ok((result, Cost { wall, cpu: cpu_of(UsageWho::RUSAGE_SELF)?.saturating_sub(before) }))
}

/// Returns the processor time of this process.
pub(crate) fn cpu_of_this_process() -> Result<Duration, BenchError> {
    cpu_of(UsageWho::RUSAGE_SELF)
}

/// Returns the processor time of all children that this process has waited for.
fn children_cpu() -> Result<Duration, BenchError> {
    cpu_of(UsageWho::RUSAGE_CHILDREN)
}

/// Returns the processor time of this process alone.
pub(crate) fn own_cpu() -> Result<Duration, BenchError> {
    cpu_of(UsageWho::RUSAGE_SELF)
}

fn cpu_of(who: UsageWho) -> Result<Duration, BenchError> {
    let usage =
        getrusage(who).map_err(|error| BenchError::io("read", Path::new("resource usage"))(error.into()))?;
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}

fn duration(time: TimeVal) -> Duration {
    Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0))
}

fn last_lines(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grandchildren_count_and_failures_tell_their_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        let cost = run(Command::new("sh").args(["-c", &format!("(sh -c '{busy}'; true)")]), &log).unwrap();
        assert!(cost.cpu > Duration::from_micros(200), "{cost:?}");
        let error = run(Command::new("sh").args(["-c", "echo last words; exit 7"]), &log).unwrap_err();
        assert!(error.to_string().contains("last words"), "{error}");
    }
}
