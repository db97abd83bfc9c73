//! One cgroup (or one in each hierarchy of version 1) around each run, for limits and accounting.
//!
//! Made by the supervisor before pid 1 exists, entered by pid 1 before it does anything else, removed
//! when nothing is left inside. Whether the host has version 2, version 1 or neither is found out by
//! looking and by trying; what cannot be enforced is reported ([`LimitKind`]), never a failure.
//!
//! Memory and processor time are counted for every run, also for one without limits: the cgroups for that cost
//! a few hundredths of a millisecond.
//!
//! A name carries pid and start time of its supervisor, so those that a killed supervisor left are
//! recognised and removed by the next process that runs sandboxes.

mod layout;
mod peak;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

pub(crate) use self::layout::Layout;
use self::layout::layout;
pub(crate) use self::peak::PeakMemory;
use crate::kernel_file::{read, whole};
use crate::outcome::{LimitKind, Limiter};
use crate::spec::Limits;

/// Start of the names of our cgroups.
const PREFIX: &str = "buildroot-";

/// Length of a period of CPU time in microseconds, as the kernel has it by default.
const PERIOD_US: u64 = 100_000;

/// The cgroups of one run.
#[derive(Debug)]
pub(crate) struct Cgroup {
    kind: Kind,
    /// Directories made; removed when dropped.
    directories: Vec<PathBuf>,
    /// Counts processor time; opened when that is asked for.
    cpu_counter: OnceCell<Option<File>>,
    /// What `Limits` asks for and these cgroups do not enforce.
    pub(crate) unenforced: Vec<LimitKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    V1,
    V2,
    None,
}

/// What the kernel counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) peak_memory_bytes: Option<u64>,
    pub(crate) oom_kills: Option<u64>,
    /// How many processes or threads the limit of their number has prevented.
    pub(crate) forks_refused: Option<u64>,
}

impl Cgroup {
    /// Makes the cgroups that `limits` need and those that count, where `layout` says.
    pub(crate) fn new(limits: &Limits, layout: &Layout) -> Self {
        let wanted = wanted(limits);
        let mut none = Self::of(Kind::None);
        none.unenforced.clone_from(&wanted);
        let Some(name) = own_name() else { return none };
        // On a host of both versions the controllers are where they were mounted first, mostly version 1.
        Self::v2(layout, &name, limits, &wanted, &["memory"])
            .or_else(|| Self::v1(layout, &name, limits, &wanted))
            .or_else(|| Self::v2(layout, &name, limits, &wanted, &[]))
            .unwrap_or(none)
    }

    fn of(kind: Kind) -> Self {
        Self { kind, directories: Vec::new(), cpu_counter: OnceCell::new(), unenforced: Vec::new() }
    }

    /// Returns the mechanism that limits the run.
    pub(crate) fn limiter(&self) -> Limiter {
        match self.kind {
            Kind::V1 => Limiter::CgroupV1,
            Kind::V2 => Limiter::CgroupV2,
            Kind::None => Limiter::ResourceLimits,
        }
    }

    /// Opens the files through which a process enters the cgroups.
    pub(crate) fn entrances(&self) -> io::Result<Vec<File>> {
        let open = |directory: &PathBuf| File::options().write(true).open(directory.join("cgroup.procs"));
        self.directories.iter().map(open).collect()
    }

    /// Returns what was counted so far.
    pub(crate) fn account(&self) -> Account {
        let (peak, events) = match self.kind {
            Kind::V1 => ("memory.max_usage_in_bytes", "memory.oom_control"),
            Kind::V2 => ("memory.peak", "memory.events"),
            Kind::None => return Account::default(),
        };
        let read = |name: &str| self.directories.iter().find_map(|directory| read(&directory.join(name)));
        let oom_kills = read(events).and_then(|text| {
            text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        });
        let forks_refused = read("pids.events")
            .and_then(|text| text.lines().find_map(|line| line.strip_prefix("max ")?.trim().parse().ok()));
        let peak_memory_bytes = read(peak).and_then(|text| text.trim().parse().ok());
        Account { peak_memory_bytes, oom_kills, forks_refused }
    }

    /// Returns the processor time that was used so far, when it is counted; also that of processes which nobody
    /// has waited for. Exact: version 1 splits it into user and system time by ticks of the clock, so the split
    /// of a short run says nothing.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        let text = whole(self.cpu_counter()?)?;
        match self.kind {
            Kind::V1 => Some(Duration::from_nanos(text.trim().parse().ok()?)),
            Kind::V2 => {
                let mut values = text.lines().filter_map(|line| line.strip_prefix("usage_usec "));
                Some(Duration::from_micros(values.next()?.trim().parse().ok()?))
            }
            Kind::None => None,
        }
    }

    /// Returns the file that counts processor time, which is opened once.
    fn cpu_counter(&self) -> Option<&File> {
        let name = match self.kind {
            Kind::V1 => "cpuacct.usage",
            Kind::V2 => "cpu.stat",
            Kind::None => return None,
        };
        // Of the hierarchies of version 1 the one that counts time was made last.
        let open =
            || self.directories.iter().rev().find_map(|directory| File::open(directory.join(name)).ok());
        self.cpu_counter.get_or_init(open).as_ref()
    }

    /// Processor time is counted in every cgroup, other things only where the controllers of `counting` are.
    fn v2(
        layout: &Layout,
        name: &str,
        limits: &Limits,
        wanted: &[LimitKind],
        counting: &[&str],
    ) -> Option<Self> {
        let controllers = wanted.iter().map(|kind| controller(*kind)).chain(counting.iter().copied());
        let controllers: BTreeSet<&str> = controllers.collect();
        // Its own cgroup when that was delegated; else the root, which alone may hold both
        // processes and cgroups with controllers.
        let parent = layout.v2.iter().find(|parent| {
            let listed = |file: &str| read(&parent.join(file)).unwrap_or_default();
            let has = |list: &str, name: &&str| list.split_whitespace().any(|listed| listed == *name);
            let enabled = listed("cgroup.subtree_control");
            let missing: Vec<&&str> = controllers.iter().filter(|name| !has(&enabled, name)).collect();
            if missing.is_empty() {
                return true;
            }
            // What is not there cannot be enabled, as on a host that has it in version 1.
            let available = listed("cgroup.controllers");
            let enable = || missing.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
            missing.iter().all(|name| has(&available, name))
                && write(&parent.join("cgroup.subtree_control"), &enable()).is_ok()
        })?;
        let directory = parent.join(name);
        fs::create_dir(&directory).ok()?;
        let mut made = Self::of(Kind::V2);
        made.directories.push(directory.clone());
        made.set(wanted, limits, |kind, value| match kind {
            LimitKind::Memory => {
                // Optional files: swap may be off, and old kernels cannot kill the whole group.
                let _ = write(&directory.join("memory.swap.max"), "0");
                if limits.excess_ends_run {
                    let _ = write(&directory.join("memory.oom.group"), "1");
                }
                write(&directory.join("memory.max"), value)
            }
            LimitKind::Processes => write(&directory.join("pids.max"), value),
            LimitKind::Cpu => write(&directory.join("cpu.max"), &format!("{value} {PERIOD_US}")),
        });
        Some(made)
    }

    fn v1(layout: &Layout, name: &str, limits: &Limits, wanted: &[LimitKind]) -> Option<Self> {
        let mut made = Self::of(Kind::V1);
        made.set(wanted, limits, |kind, value| {
            let missing = || io::Error::from(io::ErrorKind::NotFound);
            let parent = layout.v1.get(controller(kind)).ok_or_else(missing)?;
            let directory = parent.join(name);
            match fs::create_dir(&directory) {
                // Made for another controller of the same hierarchy.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let written = match kind {
                LimitKind::Memory => write(&directory.join("memory.limit_in_bytes"), value).inspect(|()| {
                    // Memory and swap together; the file is there only when swap is accounted.
                    let _ = write(&directory.join("memory.memsw.limit_in_bytes"), value);
                }),
                LimitKind::Processes => write(&directory.join("pids.max"), value),
                LimitKind::Cpu => write(&directory.join("cpu.cfs_quota_us"), value),
            };
            match written {
                Ok(()) => Ok(directory),
                Err(error) => {
                    let _ = fs::remove_dir(&directory);
                    Err(error)
                }
            }
        });
        for counting in ["memory", "cpuacct"] {
            let directory = layout.v1.get(counting).map(|parent| parent.join(name));
            // Two controllers may share a hierarchy.
            let missing = directory.filter(|directory| !made.directories.contains(directory));
            made.directories.extend(missing.filter(|directory| fs::create_dir(directory).is_ok()));
        }
        (!made.directories.is_empty()).then_some(made)
    }

    /// Sets each limit by `set`, which may have made a directory for it, and notes those that failed.
    fn set<T: MaybeDirectory>(
        &mut self,
        wanted: &[LimitKind],
        limits: &Limits,
        mut set: impl FnMut(LimitKind, &str) -> io::Result<T>,
    ) {
        for &kind in wanted {
            match set(kind, &value(kind, limits).to_string()) {
                Ok(made) => self.directories.extend(made.directory()),
                Err(_) => self.unenforced.push(kind),
            }
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in &self.directories {
            // The last process may still be on its way out for a moment. What stays is removed when
            // the layout is next found.
            for _ in 0..50 {
                match fs::remove_dir(directory) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        thread::sleep(Duration::from_millis(1));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// A directory that setting a limit made, when it made one.
trait MaybeDirectory {
    fn directory(self) -> Option<PathBuf>;
}

impl MaybeDirectory for () {
    fn directory(self) -> Option<PathBuf> {
        None
    }
}

impl MaybeDirectory for PathBuf {
    fn directory(self) -> Option<PathBuf> {
        Some(self)
    }
}

fn wanted(limits: &Limits) -> Vec<LimitKind> {
    let asked = [
        (LimitKind::Memory, limits.memory_bytes),
        (LimitKind::Processes, limits.processes),
        (LimitKind::Cpu, limits.cpu_millicores),
    ];
    asked.into_iter().filter(|(_, value)| value.is_some()).map(|(kind, _)| kind).collect()
}

/// Returns the value of a limit as the kernel wants it.
fn value(kind: LimitKind, limits: &Limits) -> u64 {
    match kind {
        LimitKind::Memory => limits.memory_bytes.unwrap_or(u64::MAX),
        LimitKind::Processes => limits.processes.unwrap_or(u64::MAX),
        // The kernel refuses less than a millisecond.
        LimitKind::Cpu => {
            (limits.cpu_millicores.unwrap_or(u64::MAX).saturating_mul(PERIOD_US) / 1000).max(1000)
        }
    }
}

fn controller(kind: LimitKind) -> &'static str {
    match kind {
        LimitKind::Memory => "memory",
        LimitKind::Processes => "pids",
        LimitKind::Cpu => "cpu",
    }
}

/// Writes a cgroup file, which takes one write and must exist.
fn write(path: &Path, text: &str) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(text.as_bytes())
}

/// Returns the name of the cgroups of this process.
fn own_name() -> Option<String> {
    let pid = std::process::id();
    Some(format!("{PREFIX}{pid}-{}", start_time(pid)?))
}

/// Returns when a process started, in ticks since boot; `None` when there is no such process.
fn start_time(pid: u32) -> Option<u64> {
    let stat = read(format!("/proc/{pid}/stat").as_ref())?;
    // The program's name, in parentheses, may contain anything; field 22 is the 20th after it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Controllers of version 1 that are used.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];

/// Finds out where the cgroups of this process are, and removes those that supervisors left there that are gone.
/// Neither changes while this process and its sandboxes live as they should, so once in a while is enough.
pub(crate) fn find_layout() -> Layout {
    let texts = (read("/proc/self/cgroup".as_ref()), read("/proc/self/mountinfo".as_ref()));
    let (Some(cgroups), Some(mounts)) = texts else { return Layout::default() };
    let layout = layout(&cgroups, &mounts);
    let v1 = CONTROLLERS.iter().filter_map(|controller| layout.v1.get(*controller));
    // Controllers may share a hierarchy.
    let parents: BTreeSet<&PathBuf> = v1.chain(&layout.v2).collect();
    parents.into_iter().for_each(|parent| remove_stale(parent));
    layout
}

/// Removes the cgroups of supervisors that are gone. Nothing can be inside: it died with them.
fn remove_stale(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((pid, started)) = name.to_str().and_then(owner) else { continue };
        if start_time(pid) != Some(started) {
            // Another run may do the same at the same time.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Returns pid and start time of the supervisor that a cgroup's name tells.
fn owner(name: &str) -> Option<(u32, u64)> {
    let (pid, started) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((pid.parse().ok()?, started.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_recognised() {
        assert_eq!(owner("buildroot-12-345"), Some((12, 345)));
        for name in ["buildroot", "buildroot-", "buildroot-1", "buildroot-x-1", "other-1-2", "user.slice"] {
            assert_eq!(owner(name), None, "{name}");
        }
        assert_eq!(own_name().as_deref().and_then(owner).map(|(pid, _)| pid), Some(std::process::id()));
        assert_eq!(start_time(u32::MAX), None);
    }

    #[test]
    fn what_cgroups_do_not_limit_is_not_asked_of_them() {
        let limits = Limits { wall_ms: Some(1), open_files: Some(1), ..Limits::default() };
        assert_eq!(wanted(&limits), []);
    }

    #[test]
    fn shares_of_cpu_become_quotas() {
        let quota = |millicores| {
            value(LimitKind::Cpu, &Limits { cpu_millicores: Some(millicores), ..Limits::default() })
        };
        assert_eq!((quota(1500), quota(1000), quota(1)), (150_000, 100_000, 1000));
    }
}
