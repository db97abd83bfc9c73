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

mod counters;
mod delegation;
mod layout;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

pub(crate) use self::counters::Counters;
use self::layout::{Layout, layout};
use crate::kernel_file::read;
use crate::outcome::{LimitKind, Limiter};
use crate::probe::AccountingSource;
use crate::spec::Limits;

/// Start of the names of our cgroups.
const PREFIX: &str = "buildroot-";

/// As much memory as the kernel charges to a cgroup at once, in bytes, and some more: a huge page at most.
const CHARGED_AT_ONCE: u64 = 4 << 20;

/// Length of a period of CPU time in microseconds, as the kernel has it by default.
const PERIOD_US: u64 = 100_000;

/// The cgroups of one run.
#[derive(Debug)]
pub(crate) struct Cgroup {
    kind: Kind,
    /// Directories made; removed when dropped.
    directories: Vec<PathBuf>,
    /// What `Limits` asks for and these cgroups do not enforce.
    pub(crate) unenforced: Vec<LimitKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    V1,
    V2,
    None,
}

/// What a place of version 2 has to offer to be chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Controllers {
    /// Everything that limits and counting need.
    All,
    /// Anything, as where a part of the controllers was delegated.
    WhatThereIs,
}

/// What the kernel counted of limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// How many processes the kernel killed for want of memory, whoever lacked it.
    pub(crate) oom_kills: Option<u64>,
    /// Whether the run's own limit of memory was met: with version 2 so that nothing could be freed, with version 1 also
    /// when something could. `None` when nobody counts.
    pub(crate) limit_met: Option<bool>,
    /// How many processes or threads the limit of their number has prevented.
    pub(crate) forks_refused: Option<u64>,
}

/// Who had no memory left when the kernel killed a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// The run had used up its limit.
    Own,
    /// The host, or a cgroup around the run.
    Host,
}

impl Account {
    /// Returns whose want of memory made the kernel kill a process of the run; `None` when it is not known to have
    /// killed any. The run is blamed unless its limit has certainly not been met.
    pub(crate) fn shortage(&self) -> Option<Shortage> {
        let killed = self.oom_kills.is_some_and(|kills| kills > 0);
        killed.then(|| if self.limit_met == Some(false) { Shortage::Host } else { Shortage::Own })
    }
}

/// Makes the cgroups of one run after another. Where they can be made is found out once: it does not change while this
/// process and its sandboxes live as they should.
#[derive(Debug)]
pub(crate) struct Cgroups {
    /// Places of version 2, with the controllers that there are.
    v2: Vec<(PathBuf, String)>,
    /// The place of each controller of version 1.
    v1: BTreeMap<String, PathBuf>,
    /// How the names begin.
    name: Option<String>,
    made: u64,
}

impl Cgroups {
    /// Finds out where the cgroups of this process are, and removes those that supervisors left there that are gone.
    pub(crate) fn find() -> Self {
        let texts = (read("/proc/self/cgroup".as_ref()), read("/proc/self/mountinfo".as_ref()));
        let layout = match &texts {
            (Some(cgroups), Some(mounts)) => layout(cgroups, mounts),
            _ => Layout::default(),
        };
        let v1 = CONTROLLERS.iter().filter_map(|controller| layout.v1.get(*controller));
        // Controllers may share a hierarchy.
        let parents: BTreeSet<&PathBuf> = v1.chain(&layout.v2).collect();
        parents.into_iter().for_each(|parent| remove_stale(parent));
        let with_controllers = |place: PathBuf| {
            let controllers = read(&place.join("cgroup.controllers")).unwrap_or_default();
            (place, controllers)
        };
        let v2 = layout.v2.into_iter().map(with_controllers).collect();
        Self { v2, v1: layout.v1, name: own_name(), made: 0 }
    }

    /// Makes the cgroups that `limits` need and those that count.
    pub(crate) fn make(&mut self, limits: &Limits) -> Cgroup {
        let wanted = wanted(limits);
        let mut none = Cgroup::of(Kind::None);
        none.unenforced.clone_from(&wanted);
        let Some(name) = &self.name else { return none };
        self.made += 1;
        let name = format!("{name}-{}", self.made);
        // On a host of both versions the controllers are where they were mounted first, mostly version 1.
        self.v2(&name, limits, &wanted, Controllers::All)
            .or_else(|| self.v1(&name, limits, &wanted))
            .or_else(|| self.v2(&name, limits, &wanted, Controllers::WhatThereIs))
            .unwrap_or(none)
    }

    /// Processor time is counted in every cgroup, memory only where its controller is.
    fn v2(&self, name: &str, limits: &Limits, wanted: &[LimitKind], which: Controllers) -> Option<Cgroup> {
        let needed = wanted.iter().map(|kind| controller(*kind)).chain(["memory"]);
        let needed: Vec<&str> = needed.collect::<BTreeSet<&str>>().into_iter().collect();
        // Its own cgroup when that was delegated; else the root, which alone may hold both
        // processes and cgroups with controllers.
        let directory = self.v2.iter().find_map(|(parent, available)| {
            let all = which == Controllers::All;
            // What is not there cannot be passed on, as on a host that has it in version 1.
            if all && !needed.iter().all(|name| delegation::lists(available, name)) {
                return None;
            }
            let passed = delegation::pass_on(parent, available, &needed);
            let directory = Some(parent.join(name)).filter(|_| !all || passed == needed)?;
            fs::create_dir(&directory).is_ok().then_some(directory)
        })?;
        let mut made = Cgroup::of(Kind::V2);
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

    fn v1(&self, name: &str, limits: &Limits, wanted: &[LimitKind]) -> Option<Cgroup> {
        let mut made = Cgroup::of(Kind::V1);
        made.set(wanted, limits, |kind, value| {
            let missing = || io::Error::from(io::ErrorKind::NotFound);
            let parent = self.v1.get(controller(kind)).ok_or_else(missing)?;
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
            let directory = self.v1.get(counting).map(|parent| parent.join(name));
            // Two controllers may share a hierarchy.
            let missing = directory.filter(|directory| !made.directories.contains(directory));
            made.directories.extend(missing.filter(|directory| fs::create_dir(directory).is_ok()));
        }
        (!made.directories.is_empty()).then_some(made)
    }
}

impl Cgroup {
    fn of(kind: Kind) -> Self {
        Self { kind, directories: Vec::new(), unenforced: Vec::new() }
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
        let count = |name: &str, key: &str| -> Option<u64> {
            let text = self.directories.iter().find_map(|directory| read(&directory.join(name)))?;
            text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
        };
        let (events, limit_met) = match self.kind {
            Kind::V1 => {
                let failures = ["memory.failcnt", "memory.memsw.failcnt"].map(|name| count(name, ""));
                // Since Linux 6.12 the limit of memory and swap together, which is met first where there is one, has no
                // count; its peak is nobody's to set back, other than that of memory alone.
                let (peak, limit) =
                    (count("memory.memsw.max_usage_in_bytes", ""), count("memory.memsw.limit_in_bytes", ""));
                let is_near =
                    peak.zip(limit).map(|(peak, limit)| peak.saturating_add(CHARGED_AT_ONCE) >= limit);
                let met = failures.into_iter().flatten().map(|times| times > 0).chain(is_near);
                ("memory.oom_control", met.reduce(|one, other| one || other))
            }
            Kind::V2 => ("memory.events", count("memory.events", "oom ").map(|times| times > 0)),
            Kind::None => return Account::default(),
        };
        // This counts every kill, also one for want of memory elsewhere.
        let oom_kills = count(events, "oom_kill ");
        Account { oom_kills, limit_met, forks_refused: count("pids.events", "max ") }
    }

    /// Opens what the kernel counts; `None` when it does not.
    pub(crate) fn counters(&self) -> Option<Counters> {
        let (source, cpu, peak) = match self.kind {
            Kind::V1 => (AccountingSource::CgroupV1, "cpuacct.usage", "memory.max_usage_in_bytes"),
            Kind::V2 => (AccountingSource::CgroupV2, "cpu.stat", "memory.peak"),
            Kind::None => return None,
        };
        let open = |name: &str, options: &OpenOptions| {
            self.directories.iter().find_map(|directory| options.open(directory.join(name)).ok())
        };
        let (read, write) =
            (File::options().read(true).clone(), File::options().read(true).write(true).clone());
        let peak = open(peak, &write).or_else(|| open(peak, &read));
        Some(Counters::new(source, open(cpu, &read)?, peak))
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

/// Returns how the names of the cgroups of this process begin.
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
    let (pid, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let started = rest.split_once('-').map_or(rest, |(started, _)| started);
    Some((pid.parse().ok()?, started.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of the kernel's counts makes whom to blame, by what the kernel writes.
    #[test]
    fn a_run_is_blamed_for_want_of_memory_unless_its_limit_was_certainly_not_met() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let check = |kind, files: &[(&str, &str)], expected| {
            for (name, text) in files {
                fs::write(directory.path().join(name), text).expect("count");
            }
            // Dropping it would remove the directory.
            let cgroup = std::mem::ManuallyDrop::new(Cgroup {
                kind,
                directories: vec![directory.path().into()],
                unenforced: Vec::new(),
            });
            assert_eq!(cgroup.account().shortage(), expected, "{files:?}");
        };
        let events = |oom: u8, kills: u8| {
            format!("low 0\nhigh 0\nmax 7\noom {oom}\noom_kill {kills}\noom_group_kill 0\n")
        };
        check(Kind::V2, &[("memory.events", &events(0, 0))], None);
        check(Kind::V2, &[("memory.events", &events(1, 0))], None);
        check(Kind::V2, &[("memory.events", &events(1, 2))], Some(Shortage::Own));
        check(Kind::V2, &[("memory.events", &events(0, 2))], Some(Shortage::Host));
        check(Kind::V2, &[("memory.events", "low 0\nhigh 0\nmax 0\noom_kill 1\n")], Some(Shortage::Own));
        let control = |kills: u8| format!("oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n");
        check(Kind::V1, &[("memory.oom_control", &control(1))], Some(Shortage::Own));
        check(
            Kind::V1,
            &[("memory.oom_control", &control(1)), ("memory.failcnt", "0\n")],
            Some(Shortage::Host),
        );
        check(
            Kind::V1,
            &[("memory.oom_control", &control(1)), ("memory.failcnt", "9\n")],
            Some(Shortage::Own),
        );
        let swap = |failures, peak, limit| {
            [
                ("memory.oom_control", "oom_kill 1\n"),
                ("memory.failcnt", "0\n"),
                ("memory.memsw.failcnt", failures),
                ("memory.memsw.max_usage_in_bytes", peak),
                ("memory.memsw.limit_in_bytes", limit),
            ]
        };
        check(Kind::V1, &swap("3\n", "1000\n", "9223372036854771712\n"), Some(Shortage::Own));
        check(Kind::V1, &swap("0\n", "67104768\n", "67108864\n"), Some(Shortage::Own));
        check(Kind::V1, &swap("0\n", "33554432\n", "67108864\n"), Some(Shortage::Host));
        check(Kind::V1, &swap("0\n", "67104768\n", "9223372036854771712\n"), Some(Shortage::Host));
        check(Kind::V1, &[("memory.oom_control", &control(0))], None);
        check(Kind::None, &[], None);
    }

    #[test]
    fn only_our_own_names_are_recognised() {
        assert_eq!(owner("buildroot-12-345"), Some((12, 345)));
        assert_eq!(owner("buildroot-12-345-6"), Some((12, 345)));
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
