//! How a sandbox run ended and what it used: plain data, written by `buildroot-init` as JSON.
//!
//! An [`Outcome`] always exists once `buildroot-init` has started, also when the sandbox could not be
//! set up; failures to start or to hear from the helper are
//! [`SandboxError`](crate::SandboxError) instead.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::opened::OpenedFiles;
use crate::probe::Probe;

/// Tells how one sandbox run ended, and what it used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What it used.
    pub usage: Usage,
    /// Which mechanism enforced [`Limits`](crate::Limits).
    pub limiter: Limiter,
    /// Whose ids the ids inside are.
    pub id_mapping: IdMapping,
    /// Limits that were asked for and that nothing on this host enforces.
    pub unenforced: Vec<LimitKind>,
    /// Which files of the root were opened.
    #[serde(default)]
    pub opened: OpenedFiles,
    /// The last probe, taken when everything had ended; `None` when nothing was started.
    #[serde(default)]
    pub last_probe: Option<Probe>,
}

impl Outcome {
    /// Returns whether the program ran and returned 0.
    pub fn is_success(&self) -> bool {
        self.end == End::Exited { code: 0 }
    }
}

/// How a sandbox run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The program returned this exit code.
    Exited {
        /// 0 to 255.
        code: i32,
    },
    /// The program was ended by this signal from within (for example 11, or 9 from the OOM killer at the run's own
    /// limit).
    Signaled {
        /// Signal number.
        signal: i32,
    },
    /// Pid 1 of the sandbox was ended by this signal, and everything inside with it. Nothing inside can do that: the
    /// kernel takes no fatal signal for a pid 1 from its own namespace. So somebody on the host did.
    KilledFromOutside {
        /// Signal number.
        signal: i32,
    },
    /// The kernel killed a process for want of memory while the run was within its own limit: the host had none left,
    /// or those had none among which the host divides it (a container).
    HostOutOfMemory,
    /// The wall-clock limit passed; everything inside was killed.
    TimedOut,
    /// The CPU time limit passed; everything inside was killed.
    CpuTimePassed,
    /// The kernel killed a process for want of memory, which is the end by
    /// [`Limits::excess_ends_run`](crate::Limits::excess_ends_run).
    OutOfMemory,
    /// The kernel refused another process, which is the end by
    /// [`Limits::excess_ends_run`](crate::Limits::excess_ends_run).
    TooManyProcesses,
    /// The caller killed the run, or went away; everything inside was killed.
    Cancelled,
    /// The program was never started.
    SetupFailed(SetupFailure),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exit code {code}"),
            Self::Signaled { signal } => write!(f, "killed by signal {signal}"),
            Self::KilledFromOutside { signal } => {
                write!(f, "killed by signal {signal} from outside the sandbox")
            }
            Self::HostOutOfMemory => write!(f, "memory of the host exhausted, killed"),
            Self::TimedOut => write!(f, "time limit reached, killed"),
            Self::CpuTimePassed => write!(f, "CPU time limit reached, killed"),
            Self::OutOfMemory => write!(f, "memory limit reached, killed"),
            Self::TooManyProcesses => write!(f, "process limit reached, killed"),
            Self::Cancelled => write!(f, "cancelled, killed"),
            Self::SetupFailed(failure) => write!(f, "{failure}"),
        }
    }
}

/// Why the sandbox could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupFailure {
    /// What was being done.
    pub operation: SetupOperation,
    /// The path concerned, when there is one.
    pub path: Option<PathBuf>,
    /// The error number of the system call; 0 when none is to blame.
    pub errno: i32,
    /// The error in words, with the kernel's own explanation when it gave one.
    pub message: String,
    /// What can be done about it, when known.
    pub hint: Option<String>,
}

impl fmt::Display for SetupFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sandbox set-up failed at {}", self.operation)?;
        if let Some(path) = &self.path {
            write!(f, " of `{}`", path.display())?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Step of the set-up that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetupOperation {
    /// Reading and checking the specification.
    ReadSpec,
    /// Making the cgroup of the run.
    Cgroup,
    /// Making a namespace.
    Namespace,
    /// Starting pid 1 or the program's process.
    Fork,
    /// Taking hold of a bind source.
    OpenBind,
    /// Adding a lower directory.
    AddLower,
    /// Preparing the upper directory.
    PrepareUpper,
    /// Mounting the overlay.
    MountOverlay,
    /// Mounting another file system.
    Mount,
    /// Making a mount point inside the root.
    MountPoint,
    /// Making the new root the root.
    PivotRoot,
    /// Bringing up the loopback interface or setting the host name.
    Configure,
    /// Setting a resource limit.
    ResourceLimit,
    /// Giving up privileges.
    DropPrivileges,
    /// Installing the filter of system calls.
    SystemCallFilter,
    /// Entering the working directory.
    WorkingDirectory,
    /// Executing the program.
    Execute,
}

impl fmt::Display for SetupOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadSpec => "reading the specification",
            Self::Cgroup => "making the cgroup",
            Self::Namespace => "making a namespace",
            Self::Fork => "starting a process",
            Self::OpenBind => "opening the bind source",
            Self::AddLower => "adding the lower directory",
            Self::PrepareUpper => "preparing the upper directory",
            Self::MountOverlay => "mounting the overlay",
            Self::Mount => "mounting",
            Self::MountPoint => "making the mount point",
            Self::PivotRoot => "entering the new root",
            Self::Configure => "configuring the namespace",
            Self::ResourceLimit => "setting a resource limit",
            Self::DropPrivileges => "dropping privileges",
            Self::SystemCallFilter => "installing the filter of system calls",
            Self::WorkingDirectory => "entering the working directory",
            Self::Execute => "executing",
        })
    }
}

/// What a run used. Times cover every process of the sandbox, killed ones included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Time in microseconds from before the set-up until nothing was left.
    pub wall_us: u64,
    /// Part of `wall_us` before the program was executed.
    pub setup_us: u64,
    /// CPU time in user mode, in microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, in microseconds.
    pub system_us: u64,
    /// Greatest resident set of a single process, in KiB.
    pub max_rss_kb: u64,
    /// Peak memory of the whole sandbox (tmpfs included) in bytes, when a cgroup measured it.
    pub peak_memory_bytes: Option<u64>,
    /// How many processes the kernel killed for want of memory, when a cgroup counted them.
    pub oom_kills: Option<u64>,
}

/// Whose ids the user and group ids inside a sandbox are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdMapping {
    /// The host's own; the caller is root.
    Host,
    /// The caller is the program's user, and has a range of subordinate ids for all others.
    SubordinateIds,
    /// The caller is the program's user, and there is no other id: owners of files are not kept apart.
    SingleId,
}

impl fmt::Display for IdMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::SubordinateIds => "subordinate-ids",
            Self::SingleId => "single-id",
        })
    }
}

/// A limit on a whole run, which needs a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// [`Limits::memory_bytes`](crate::Limits::memory_bytes)
    Memory,
    /// [`Limits::processes`](crate::Limits::processes)
    Processes,
    /// [`Limits::cpu_millicores`](crate::Limits::cpu_millicores)
    Cpu,
}

/// Mechanism that enforced the memory, process and CPU limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limiter {
    /// One cgroup of the unified hierarchy.
    CgroupV2,
    /// One cgroup in each of the memory, pids, cpu and cpuacct hierarchies.
    CgroupV1,
    /// Resource limits of the processes, and looks at the tree that they form; memory and CPU share are not
    /// limited as a whole.
    ResourceLimits,
}

impl fmt::Display for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CgroupV2 => "cgroup-v2",
            Self::CgroupV1 => "cgroup-v1",
            Self::ResourceLimits => "resource-limits",
        })
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Cpu => "cpu",
        })
    }
}
