//! What a tree of processes has used, read from `/proc`: for hosts on which no cgroup counts it.
//!
//! A process that has been waited for is counted with the one that waited; every orphan of a sandbox becomes a
//! child of its pid 1. So the tree below pid 1 holds everything, but for children of programs that ignore
//! `SIGCHLD`, whose time the kernel gives to nobody.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// Length of a tick of `/proc/<pid>/stat`: the kernel gives programs hundredths of a second on every
/// architecture (`USER_HZ`).
pub(super) const TICK: Duration = Duration::from_millis(10);

/// What one line of `/proc/<pid>/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    parent: u32,
    /// User and system time of it and of all that it has waited for.
    pub(super) ticks: u64,
}

/// Returns the processor time of a process and of everything below it.
pub(super) fn cpu_time_of_tree(top: u32) -> io::Result<Duration> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that has ended meanwhile is counted with its parent at the next look.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        processes.extend(parse(&stat).map(|process| (id, process)));
    }
    let ticks = ticks_below(top, &processes);
    Ok(TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX)))
}

pub(super) fn parse(stat: &str) -> Option<Process> {
    // The program's name, in parentheses, may contain anything; the state, field 3, is the first after it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Some(Process { parent: fields.get(1)?.parse().ok()?, ticks })
}

fn ticks_below(top: u32, processes: &BTreeMap<u32, Process>) -> u64 {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (id, process) in processes {
        children.entry(process.parent).or_default().push(*id);
    }
    let (mut ticks, mut pending) = (0, vec![top]);
    while let Some(id) = pending.pop() {
        ticks += processes.get(&id).map_or(0, |process| process.ticks);
        // Taken out, so that no arrangement of a changing `/proc` can make this run in a circle.
        pending.extend(children.remove(&id).unwrap_or_default());
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_tree_is_summed_and_that_of_others_not() {
        let line = |name: &str, parent: u32| {
            format!("7 ({name}) S {parent} 1 1 0 -1 4194304 100 0 0 0 10 20 300 4000 20 0 1 0 500 0 0")
        };
        assert_eq!(parse(&line("a) R 9 (b", 3)), Some(Process { parent: 3, ticks: 4330 }));
        assert_eq!(parse("7 (x) S 3"), None);
        let process = |parent| Process { parent, ticks: 10_u64.pow(parent) };
        let processes = BTreeMap::from([
            (2, process(1)),
            (3, process(2)),
            (4, process(3)),
            (5, process(4)),
            (9, process(8)),
        ]);
        assert_eq!(ticks_below(2, &processes), 11_110);
        assert_eq!(ticks_below(3, &processes), 11_100);
        assert_eq!(ticks_below(77, &processes), 0);
    }

    #[test]
    fn this_process_has_used_some() {
        let mut noise = 0_u64;
        while cpu_time_of_tree(std::process::id()).expect("/proc") == Duration::ZERO {
            noise = std::hint::black_box(noise.wrapping_mul(31).wrapping_add(1));
        }
    }
}
