//! What can only be seen from outside while a process tree runs: its memory, and the processes that it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::error::BenchError;
use crate::measure;

/// Between two looks at the memory.
const INTERVAL: Duration = Duration::from_millis(10);

/// Runs a command to its end and returns the most memory that it and everything that it started held at once, in
/// MiB: the sum over all processes of their proportional set sizes, in which a page shared by several processes
/// counts once.
///
/// Looked at every 10 ms, so a peak between two looks is missed. Files in memory file systems and the page cache
/// do not count.
pub(crate) fn peak_memory(command: &mut Command, log: &Path) -> Result<f64, BenchError> {
    let peak = AtomicU64::new(0);
    measure::run_watched(command, log, |root| {
        while is_running(root) {
            let sum = tree_of(root).into_iter().filter_map(proportional_kib).sum();
            peak.fetch_max(sum, Ordering::Relaxed);
            thread::sleep(INTERVAL);
        }
    })?;
    Ok(peak.into_inner() as f64 / 1024.0)
}

fn is_running(process: u32) -> bool {
    // A process that has ended and has not been waited for has no memory map.
    stat(process).is_some_and(|(state, _)| state != 'Z')
}

/// Returns a process and its descendants, those in other process namespaces included.
fn tree_of(root: u32) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some((_, parent)) = stat(process) {
            children.entry(parent).or_default().push(process);
        }
    }
    let (mut found, mut open) = (BTreeSet::new(), vec![root]);
    while let Some(process) = open.pop() {
        if found.insert(process) {
            open.extend(children.get(&process).into_iter().flatten());
        }
    }
    found
}

/// Returns the state and the parent of a process.
fn stat(process: u32) -> Option<(char, u32)> {
    parse_stat(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// The second field is the program's name in parentheses, and may hold anything.
fn parse_stat(text: &str) -> Option<(char, u32)> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn proportional_kib(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// Runs a command under `strace` and returns how many processes it started, threads not counted.
pub(crate) fn started_processes(command: &Command, scratch: &Path) -> Result<usize, BenchError> {
    let trace = scratch.join("strace");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", "trace=clone,clone3,fork,vfork,execve", "-o"]).arg(&trace);
    traced.arg(command.get_program()).args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        traced.current_dir(directory);
    }
    measure::run(&mut traced, &scratch.join("strace.log"))?;
    let text = fs::read_to_string(&trace).map_err(BenchError::io("read", &trace))?;
    Ok(text.lines().filter(|line| starts_process(line)).count())
}

/// A new thread is a `clone` too; its flags say so. A call that is interrupted in the trace has its flags in the
/// first of its lines.
fn starts_process(line: &str) -> bool {
    let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
    let forks = ["clone(", "clone3(", "fork(", "vfork("].iter().any(|name| call.starts_with(name));
    forks && !call.contains("CLONE_THREAD")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_count_and_threads_do_not() {
        let lines = [
            "12 execve(\"/bin/a\", [\"a\"], 0x7ffe /* 9 vars */) = 0",
            "12 clone3({flags=CLONE_VM|CLONE_FS|CLONE_THREAD|CLONE_SYSVSEM, stack=0x7f} <unfinished ...>",
            "12 <... clone3 resumed> => {parent_tid=[13]}, 88) = 13",
            "12 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f) = 14",
            "14 vfork()                         = 15",
            "14 +++ exited with 0 +++",
        ];
        let started: Vec<bool> = lines.iter().map(|line| starts_process(line)).collect();
        assert_eq!(started, [false, false, false, true, true, false]);
    }

    #[test]
    fn parents_are_found_whatever_the_name() {
        assert_eq!(parse_stat("7 (a) b (c) S 3 7 7 0"), Some(('S', 3)));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn memory_of_grandchildren_counts() {
        let directory = tempfile::tempdir().unwrap();
        let script = "sh -c 'x=$(head -c 40000000 /dev/zero | tr \"\\\\0\" x); sleep 0.3; : $x'; true";
        let peak =
            peak_memory(Command::new("bash").args(["-c", script]), &directory.path().join("log")).unwrap();
        assert!(peak > 38.0, "{peak}");
    }

    #[test]
    fn started_processes_are_counted() {
        if Command::new("strace").arg("-V").output().is_err() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "true & wait; (true)& wait; :"]);
        assert_eq!(started_processes(&command, directory.path()).unwrap(), 2);
        assert_eq!(started_processes(&Command::new("true"), directory.path()).unwrap(), 0);
    }
}
