//! What a sandbox is to be: plain data, complete in itself.
//!
//! A [`SandboxSpec`] says which directories form the root, what is mounted into it, who runs what
//! and under which limits. Nothing is inherited from the calling process: what is not in the value
//! is not in the sandbox. The value crosses a process boundary as JSON (to `buildroot-init`), so it
//! holds no file descriptors; those are in [`SandboxIo`](crate::SandboxIo).
//!
//! This module does not touch the system. `crate::plan` turns the value into a list of mounts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Unprivileged user and group id that builds run as.
pub const BUILDER_ID: u32 = 1000;

/// Greatest number of lower directories of one sandbox.
///
/// The kernel stops at 500; one place is taken by the directory that holds the mount points.
pub const MAX_LOWERS: usize = 499;

/// Describes one sandbox run completely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxSpec {
    /// Directories that form the root, topmost first; at least one, at most [`MAX_LOWERS`].
    pub lowers: Vec<PathBuf>,
    /// Where changes to the root go.
    pub upper: Upper,
    /// Mounts the root read-only, even when there is an upper; binds and tmpfs mounts stay as they say.
    pub read_only_root: bool,
    /// Host files and directories that appear inside, in mounting order.
    pub binds: Vec<BindMount>,
    /// Empty in-memory file systems, in mounting order, before the binds.
    pub tmpfs: Vec<TmpfsMount>,
    /// Host name inside (own UTS namespace).
    pub hostname: String,
    /// User id of the program; its supplementary group list is empty.
    pub uid: u32,
    /// Group id of the program.
    pub gid: u32,
    /// Capabilities the program keeps.
    pub capabilities: Capabilities,
    /// System calls that the program may make.
    pub system_calls: SystemCalls,
    /// The complete environment of the program.
    pub environment: BTreeMap<String, String>,
    /// Working directory inside the root; must exist there.
    pub working_directory: PathBuf,
    /// Program and its arguments. A program without `/` is looked for in the `PATH` of `environment`.
    pub arguments: Vec<String>,
    /// Network the program sees.
    pub network: Network,
    /// Limits on time, memory and numbers.
    pub limits: Limits,
    /// Keeps the caller's terminal and process group, for a shell that a person uses.
    pub interactive: bool,
    /// Records which files of the root are opened ([`Outcome::opened`](crate::Outcome::opened)); costs time.
    #[serde(default)]
    pub record_opens: bool,
    /// Counts what the processes write to disk ([`Probe::written_bytes`](crate::Probe::written_bytes)). Each process is
    /// asked at each probe, which is needless where there is no disk to write to.
    pub count_written: bool,
}

/// Says where changes to the root directory go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Upper {
    /// Nowhere: the root cannot be changed.
    None,
    /// Private memory of at most this many MiB, gone with the sandbox.
    Tmpfs {
        /// Size limit in MiB; a build that writes more gets `ENOSPC`.
        size_mb: u64,
    },
    /// `<dir>/upper` on disk, kept after the run; `<dir>/work` is scratch of the overlay.
    ///
    /// Mounted `volatile` (no sync): its content is complete after a normal end of the sandbox, and
    /// must be thrown away when the machine went down meanwhile.
    Disk {
        /// Directory that holds `upper` and `work`; must not itself lie on an overlay.
        dir: PathBuf,
    },
}

/// One host file or directory made visible inside the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindMount {
    /// Absolute path on the host; must exist.
    pub source: PathBuf,
    /// Absolute path inside; created when missing.
    pub target: PathBuf,
    /// Refuses writes through this mount.
    pub read_only: bool,
}

/// One empty directory in memory inside the root. Where the upper is none in memory, all of them and `/dev/shm` are one
/// file system, which may hold what they may hold together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TmpfsMount {
    /// Absolute path inside; created when missing.
    pub target: PathBuf,
    /// Size limit in MiB.
    pub size_mb: u64,
    /// Permission bits of its root directory, for example `0o1777`.
    pub mode: u32,
}

/// Network that the program sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// An own network namespace with nothing but the loopback interface, which is up.
    Loopback,
    /// The network of the host. Only for tools that fetch; never for a build.
    Host,
}

/// Capabilities that the program keeps. `no_new_privs` is set in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capabilities {
    /// None at all.
    None,
    /// What an rpm transaction as root needs: chown, dac_override, fowner, fsetid, setgid, setuid,
    /// setfcap and sys_chroot.
    PackageTransaction,
}

/// System calls that the program may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemCalls {
    /// Whatever the kernel allows it.
    All,
    /// Not those of [`call_rules`](crate::call_rules): neither a build nor a package transaction needs them.
    Contained,
}

/// Limits on one run. `None` means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Wall-clock time in milliseconds after which everything inside is killed.
    pub wall_ms: Option<u64>,
    /// CPU time in milliseconds of all processes together, after which everything inside is killed.
    ///
    /// Looked at from time to time, so a little more is used: read from a cgroup, else summed over the tree of
    /// processes, with `RLIMIT_CPU` for each of them.
    pub cpu_ms: Option<u64>,
    /// Memory in bytes of all processes and tmpfs mounts together (cgroup).
    pub memory_bytes: Option<u64>,
    /// Number of processes and threads together (cgroup; else `RLIMIT_NPROC`).
    pub processes: Option<u64>,
    /// Ends the run when a cgroup counts that a process was killed for want of memory, or that another one was
    /// refused; and so it ends the same whatever the program made of that. Otherwise the program goes on.
    pub excess_ends_run: bool,
    /// Files and directories that each file system in memory may hold, a tmpfs upper included.
    pub files: Option<u64>,
    /// CPU cores' worth of time in thousandths: 1500 is one core and a half (cgroup).
    pub cpu_millicores: Option<u64>,
    /// Size in bytes of one file (`RLIMIT_FSIZE`).
    pub file_size_bytes: Option<u64>,
    /// Open files of one process (`RLIMIT_NOFILE`).
    pub open_files: Option<u64>,
}

impl SandboxSpec {
    /// Returns a build sandbox over `lowers` (topmost first) that runs `arguments`.
    ///
    /// User and group [`BUILDER_ID`], no capabilities, contained system calls, no network, 1 GiB of private upper, tmpfs on
    /// `/tmp`, `/var/tmp` and `/run`, working directory `/`, host name `buildroot`, and an
    /// environment of `PATH`, `HOME=/`, `LC_ALL=C.UTF-8` and `TZ=UTC`. Change fields as needed.
    pub fn new(lowers: Vec<PathBuf>, arguments: Vec<String>) -> Self {
        let environment =
            [("HOME", "/"), ("LC_ALL", "C.UTF-8"), ("PATH", "/usr/bin:/usr/sbin:/bin:/sbin"), ("TZ", "UTC")];
        let temporary =
            |target: &str, mode| TmpfsMount { target: PathBuf::from(target), size_mb: 1024, mode };
        Self {
            lowers,
            upper: Upper::Tmpfs { size_mb: 1024 },
            read_only_root: false,
            binds: Vec::new(),
            tmpfs: vec![temporary("/tmp", 0o1777), temporary("/var/tmp", 0o1777), temporary("/run", 0o755)],
            hostname: "buildroot".to_owned(),
            uid: BUILDER_ID,
            gid: BUILDER_ID,
            capabilities: Capabilities::None,
            system_calls: SystemCalls::Contained,
            environment: environment.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            working_directory: PathBuf::from("/"),
            arguments,
            network: Network::Loopback,
            limits: Limits::default(),
            interactive: false,
            record_opens: false,
            count_written: true,
        }
    }
}
