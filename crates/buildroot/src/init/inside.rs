//! The two processes inside the new namespaces: pid 1, which mounts and reaps, and the program's
//! process until it executes the program.
//!
//! Neither returns. They report through a pipe to the supervisor, one JSON [`Message`] a line; the
//! program itself never holds that pipe.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::libc;
use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, chdir, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit, setsid, umask,
};
use seccompiler::BpfProgram;
use serde::{Deserialize, Serialize};

use super::failure::{Context, Step, failure};
use super::opens::Opens;
use super::{mounts, privileges, system};
use crate::outcome::{End, IdMapping, Limiter, SetupFailure, SetupOperation as Op};
use crate::plan::MountPlan;
use crate::sandbox::SandboxIo;
use crate::spec::{SandboxSpec, SystemCalls};

/// Soft limit of open files when the specification gives none.
const OPEN_FILES: u64 = 1024;

/// Soft limit of the stack: fixed, because some test suites depend on it.
const STACK_BYTES: u64 = 8 << 20;

/// How much sooner than others the kernel ends the processes inside when the host has no memory left: half
/// of all memory is added to their use.
const OOM_SCORE: &str = "500";

/// What pid 1 and the program's process tell the supervisor.
#[derive(Serialize, Deserialize)]
pub(super) enum Message {
    /// The program is about to be executed, so many microseconds after the start.
    Executing { setup_us: u64 },
    /// The program was not executed.
    Failed(SetupFailure),
    /// The program has ended.
    Ended(End),
}

/// Everything the processes inside need to know.
pub(super) struct Inside<'a> {
    pub(super) spec: &'a SandboxSpec,
    pub(super) plan: &'a MountPlan,
    /// The program's streams.
    pub(super) io: SandboxIo,
    pub(super) limiter: Limiter,
    /// The limit of processes, where no cgroup holds it.
    pub(super) process_limit: Option<u64>,
    pub(super) id_mapping: IdMapping,
    pub(super) started: Instant,
    pub(super) report: File,
    /// Files through which to enter the cgroups of the run.
    pub(super) cgroups: Vec<File>,
    /// What refuses system calls to a contained program.
    pub(super) filter: &'a BpfProgram,
    /// Watches the root, where somebody wants to know what is opened.
    pub(super) opens: &'a Opens,
}

impl Inside<'_> {
    /// Lives as pid 1 of the sandbox.
    pub(super) fn live(mut self) -> ! {
        let end = self.set_up().and_then(|()| self.start_program()).and_then(reap_until);
        match end {
            // The program's process has told already why it did not execute.
            Ok(None) => {}
            Ok(Some(end)) => self.tell(&Message::Ended(end)),
            Err(failure) => self.tell(&Message::Failed(failure)),
        }
        // With pid 1 the kernel ends every process of the namespace, and its mounts.
        system::exit_now(0)
    }

    fn tell(&mut self, message: &Message) {
        // Without a supervisor there is nobody to tell.
        if let Ok(mut line) = serde_json::to_vec(message) {
            line.push(b'\n');
            let _ = self.report.write_all(&line);
        }
    }

    /// Has the kernel end this process when the supervisor ends, however that happens.
    fn end_with_supervisor(&self) -> Step<()> {
        set_parent_process_death_signal(Some(Signal::KILL)).at(Op::Fork)?;
        // It may have ended before the signal was armed.
        if supervisor_is_gone(&self.report) {
            system::exit_now(0);
        }
        Ok(())
    }

    fn set_up(&mut self) -> Step<()> {
        self.end_with_supervisor()?;
        rustix::stdio::dup2_stdout(&self.io.stdout).at(Op::Fork)?;
        rustix::stdio::dup2_stderr(&self.io.stderr).at(Op::Fork)?;
        for mut entrance in std::mem::take(&mut self.cgroups) {
            entrance.write_all(b"0").at(Op::Cgroup)?;
        }
        // When the host itself runs out of memory, what runs inside goes first. Raising needs no privilege.
        let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
        let namespaces = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWCGROUP;
        unshare(namespaces).at(Op::Namespace)?;
        nix::unistd::sethostname(&self.spec.hostname).at(Op::Configure)?;
        umask(Mode::from_raw_mode(0o022));
        mounts::execute(self.plan, self.id_mapping)?;
        // Becoming another user on the way has disarmed it.
        self.end_with_supervisor()?;
        self.opens.mark_root().at(Op::Mount)?;
        // User id 0 inside could otherwise trace this process, or reopen its pipe through /proc.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Op::DropPrivileges)
    }

    fn start_program(&mut self) -> Step<i32> {
        let program = system::start_sharing_memory(&mut || {
            let failure = match self.become_program() {
                Ok(never) => match never {},
                Err(failure) => failure,
            };
            self.tell(&Message::Failed(failure));
            NOT_EXECUTED
        });
        let program = program.at(Op::Fork)?;
        privileges::forget_all();
        Ok(program.as_raw())
    }

    fn become_program(&mut self) -> Step<std::convert::Infallible> {
        let spec = self.spec;
        if !spec.interactive {
            setsid().at(Op::Fork)?;
        }
        if let Some(stdin) = self.io.stdin.take() {
            rustix::stdio::dup2_stdin(&stdin).at(Op::Fork)?;
        }
        self.limit()?;
        let has_groups = self.id_mapping != IdMapping::SingleId;
        privileges::drop_to(spec.uid, spec.gid, spec.capabilities, has_groups)?;
        chdir(&spec.working_directory).at_path(Op::WorkingDirectory, &spec.working_directory)?;
        let text = |text: String| CString::new(text).at(Op::ReadSpec);
        let arguments: Vec<CString> = spec.arguments.iter().cloned().map(text).collect::<Step<_>>()?;
        let environment: Vec<CString> = spec
            .environment
            .iter()
            .map(|(name, value)| text(format!("{name}={value}")))
            .collect::<Step<_>>()?;
        let setup_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.tell(&Message::Executing { setup_us });
        system::reset_signals();
        if spec.system_calls == SystemCalls::Contained {
            privileges::contain_calls(self.filter)?;
        }
        Err(execute_first(spec, &arguments, &environment))
    }

    fn limit(&self) -> Step<()> {
        let limits = &self.spec.limits;
        let both =
            |resource, value: Option<u64>| setrlimit(resource, Rlimit { current: value, maximum: value });
        let at_most = |resource, value: u64| match both(resource, Some(value)) {
            // The caller may have no more than its own hard limit, which is lower: that holds, too.
            Err(Errno::PERM) => both(resource, getrlimit(resource).maximum).at(Op::ResourceLimit),
            set => set.at(Op::ResourceLimit),
        };
        let soft = |resource, value: u64| {
            let maximum = getrlimit(resource).maximum;
            let current = Some(maximum.map_or(value, |maximum| value.min(maximum)));
            setrlimit(resource, Rlimit { current, maximum }).at(Op::ResourceLimit)
        };
        at_most(Resource::Core, 0)?;
        soft(Resource::Stack, STACK_BYTES)?;
        match limits.open_files {
            Some(files) => at_most(Resource::Nofile, files)?,
            None => soft(Resource::Nofile, OPEN_FILES)?,
        }
        if let Some(bytes) = limits.file_size_bytes {
            at_most(Resource::Fsize, bytes)?;
        }
        if let Some(processes) = self.process_limit {
            at_most(Resource::Nproc, processes)?;
        }
        if let (Limiter::ResourceLimits, Some(milliseconds)) = (self.limiter, limits.cpu_ms) {
            // Only what escapes the looks at the tree: a second more than all processes may use together.
            at_most(Resource::Cpu, milliseconds.div_ceil(1000).saturating_add(1))?;
        }
        Ok(())
    }
}

/// Exit code of the program's process when it could not execute the program. Its report counts, not
/// this code, so a program that returns the same is not mistaken for it.
const NOT_EXECUTED: i32 = 127;

/// Whether the reading end of the report pipe is closed, that is the supervisor died before the
/// parent death signal was armed.
fn supervisor_is_gone(report: &File) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(report.as_fd(), PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Reaps every process that ends, as an init must, until the program itself has ended.
fn reap_until(program: i32) -> Step<Option<End>> {
    loop {
        let (pid, status) = match system::reap_any().at(Op::Fork)? {
            Some(reaped) => reaped,
            None => return Ok(None),
        };
        if pid == program {
            return Ok(Some(if libc::WIFSIGNALED(status) {
                End::Signaled { signal: libc::WTERMSIG(status) }
            } else {
                End::Exited { code: libc::WEXITSTATUS(status) }
            }));
        }
    }
}

/// Executes the program, searching the `PATH` of its environment; returns why that failed.
fn execute_first(spec: &SandboxSpec, arguments: &[CString], environment: &[CString]) -> SetupFailure {
    let name = spec.arguments.first().map_or("", String::as_str);
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        let path = spec.environment.get("PATH").map_or("/usr/bin:/bin", String::as_str);
        path.split(':').map(|directory| Path::new(directory).join(name)).collect()
    };
    let mut error = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in &candidates {
        let Ok(program) = CString::new(candidate.as_os_str().as_encoded_bytes()) else { continue };
        let latest = system::execute(&program, arguments, environment);
        // As in a shell: a program that exists but cannot be executed is what to complain about.
        if latest.raw_os_error() != Some(libc::ENOENT) {
            error = latest;
        }
    }
    failure(Op::Execute, Some(Path::new(name)), &error, "")
}
