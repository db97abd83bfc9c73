//! The caller's side of a sandbox: starts `buildroot-init`, hands it the specification, waits.
//!
//! Safe to use from any number of threads: it only spawns a process, and every namespace, mount and
//! fork happens in that single-threaded helper (`crate::init`). A caller that runs one sandbox in a process of
//! one thread may have that process forked instead ([`Sandbox::by_fork`]): the helper is then the same code
//! without the start of a program, which costs more than a millisecond of processor time.
//!
//! The helper's standard input is one end of a socket pair. The specification goes in through it and
//! the [`Outcome`] comes back; between the two it answers probes ([`Running::probe`]) and is the lifeline: when this end closes (a call of
//! [`KillHandle::kill`], a dropped [`Running`], or the death of the calling process by any signal)
//! the helper kills everything inside, and the kernel takes the mounts away with the processes.

use std::fs::File;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::cgroup::{Layout, find_layout};
use crate::file_work::FileWork;
use crate::layer::LayerCounts;
use crate::wire::{self, Order, Report, Reports};
use crate::{MountPlan, Outcome, PlanError, Probe, SandboxSpec};

/// File name of the helper program.
pub const INIT_PROGRAM: &str = "buildroot-init";

/// Runs sandboxes with one helper program.
#[derive(Debug, Clone)]
pub struct Sandbox {
    init: PathBuf,
    /// Whether this process is forked while it has one thread.
    forks: bool,
    cgroups: KnownLayout,
}

/// Where forked helpers make their cgroups, as long as that is known.
type KnownLayout = Arc<Mutex<Option<Arc<Layout>>>>;

/// Where the standard streams of the program inside go.
#[derive(Debug)]
pub struct SandboxIo {
    /// Standard input; `None` is `/dev/null`.
    pub stdin: Option<OwnedFd>,
    /// Standard output: an open file, a pipe's writing end, a terminal.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

/// A sandbox that has been started. Dropping it kills everything inside and waits for that.
#[derive(Debug)]
pub struct Running {
    helper: Option<Helper>,
    control: Arc<UnixStream>,
    reports: Mutex<Reports>,
    cgroups: KnownLayout,
}

/// The helper's process.
#[derive(Debug)]
enum Helper {
    Program(Child),
    Fork(Pid),
}

impl Helper {
    fn id(&self) -> u32 {
        match self {
            Self::Program(child) => child.id(),
            Self::Fork(pid) => pid.as_raw_nonzero().get().unsigned_abs(),
        }
    }

    fn wait(self) -> io::Result<ExitStatus> {
        let pid = match self {
            Self::Program(mut child) => return child.wait(),
            Self::Fork(pid) => pid,
        };
        loop {
            match waitpid(Some(pid), WaitOptions::empty()) {
                Ok(Some((_, status))) => return Ok(ExitStatus::from_raw(status.as_raw())),
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Kills a running sandbox from another thread or a signal watcher.
#[derive(Debug, Clone)]
pub struct KillHandle {
    control: Arc<UnixStream>,
}

/// An outcome together with what the program wrote.
#[derive(Debug, Clone)]
pub struct Captured {
    /// How the run ended.
    pub outcome: Outcome,
    /// Everything written to standard output.
    pub stdout: Vec<u8>,
    /// Everything written to standard error.
    pub stderr: Vec<u8>,
}

/// Reasons why a sandbox could not be started or its end not be learned.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The helper program is nowhere near the current program.
    #[error(
        "helper program `{INIT_PROGRAM}` not found in {}; build it with `cargo build -p buildroot`",
        .searched.iter().map(|dir| format!("`{}`", dir.display())).collect::<Vec<_>>().join(", ")
    )]
    InitNotFound {
        /// Directories that were searched.
        searched: Vec<PathBuf>,
    },
    /// The path of the running program is unknown.
    #[error("cannot tell the path of the running program")]
    CurrentProgram(#[source] io::Error),
    /// The specification cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The helper program could not be started.
    #[error("cannot start `{}`", .program.display())]
    Start {
        /// Helper program.
        program: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Talking to the helper failed.
    #[error("cannot {operation} `{INIT_PROGRAM}`")]
    Control {
        /// What was being done.
        operation: &'static str,
        /// Cause.
        source: io::Error,
    },
    /// The helper ended without telling how the run ended.
    #[error("`{INIT_PROGRAM}` ended ({status}) without reporting an outcome")]
    NoOutcome {
        /// Exit status of the helper.
        status: ExitStatus,
    },
    /// The helper ended after it had answered a probe, without telling how the run ended.
    #[error("`{INIT_PROGRAM}` ended without reporting an outcome")]
    Interrupted,
    /// The helper's report is not understood; helper and library are of different versions.
    #[error("`{INIT_PROGRAM}` reported something unreadable; is it of the same version?")]
    UnreadableOutcome(#[source] serde_json::Error),
}

impl Sandbox {
    /// Finds the helper program beside the running program, or in its parent directory (where the
    /// programs are when a test runs from `target/<profile>/deps`).
    pub fn discover() -> Result<Self, SandboxError> {
        let program = std::env::current_exe().map_err(SandboxError::CurrentProgram)?;
        let searched: Vec<PathBuf> = program.ancestors().skip(1).take(2).map(Path::to_path_buf).collect();
        match searched.iter().map(|dir| dir.join(INIT_PROGRAM)).find(|path| path.is_file()) {
            Some(init) => Ok(Self { init, forks: false, cgroups: KnownLayout::default() }),
            None => Err(SandboxError::InitNotFound { searched }),
        }
    }

    /// Uses the helper program at `path`.
    pub fn with_init(path: &Path) -> Self {
        Self { init: path.to_path_buf(), forks: false, cgroups: KnownLayout::default() }
    }

    /// Forks this process instead of starting the helper program, as long as this process has one thread.
    ///
    /// For a program that does little else: what it has in memory is copied as far as either side changes it.
    pub fn by_fork(self) -> Self {
        Self { forks: true, ..self }
    }

    /// Returns another program that is installed beside the helper program, if it is there.
    pub fn program_beside(&self, name: &str) -> Option<PathBuf> {
        Some(self.init.with_file_name(name)).filter(|path| path.is_file())
    }

    /// Starts a sandbox and returns at once.
    ///
    /// The specification is checked first, so that an impossible one is an error here and not an
    /// outcome.
    pub fn spawn(&self, spec: &SandboxSpec, io: SandboxIo) -> Result<Running, SandboxError> {
        MountPlan::new(spec)?;
        if self.forks && has_one_thread() {
            let (ours, theirs) = socket_pair()?;
            let layout = self.layout();
            let forked = crate::init::fork_helper(&theirs.into(), spec, &io, &layout);
            return self.running(ours, forked.map(Helper::Fork).map_err(io::Error::from));
        }
        let running = self.start(io.stdout, io.stderr, spec.interactive)?;
        wire::send_order(&running.control, &Order::Run(spec), io.stdin.as_ref().map(AsFd::as_fd))
            .map_err(|source| SandboxError::Control { operation: "send the specification to", source })?;
        Ok(running)
    }

    fn layout(&self) -> Arc<Layout> {
        let mut known = self.cgroups.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.get_or_insert_with(|| Arc::new(find_layout())))
    }

    /// Starts the helper program, which then waits for an order.
    fn start(&self, stdout: OwnedFd, stderr: OwnedFd, interactive: bool) -> Result<Running, SandboxError> {
        let (ours, theirs) = socket_pair()?;
        let mut command = Command::new(&self.init);
        command.env_clear().stdin(OwnedFd::from(theirs)).stdout(stdout).stderr(stderr);
        if !interactive {
            // A Ctrl-C at the terminal reaches the caller, who decides; not the helper.
            command.process_group(0);
        }
        // Until it is dropped the command holds the helper's ends of the socket and of the caller's pipes.
        let started = command.spawn();
        drop(command);
        self.running(ours, started.map(Helper::Program))
    }

    fn running(&self, control: UnixStream, helper: io::Result<Helper>) -> Result<Running, SandboxError> {
        let helper = helper.map_err(|source| SandboxError::Start { program: self.init.clone(), source })?;
        Ok(Running {
            helper: Some(helper),
            control: Arc::new(control),
            reports: Mutex::new(Reports::default()),
            cgroups: Arc::clone(&self.cgroups),
        })
    }

    /// Has the helper work on files in the user namespace of this caller's sandboxes.
    pub(crate) fn work_on_files(&self, work: FileWork) -> Result<Result<LayerCounts, String>, SandboxError> {
        let io = SandboxIo::null()
            .map_err(|source| SandboxError::Control { operation: "open `/dev/null` for", source })?;
        let running = self.start(io.stdout, io.stderr, false)?;
        wire::send_order(&running.control, &Order::Files(work), None)
            .map_err(|source| SandboxError::Control { operation: "send its work to", source })?;
        match running.report()? {
            Report::Files(done) => Ok(done),
            Report::Outcome(outcome) => Ok(Err(outcome.end.to_string())),
            Report::Probe(_) => Err(SandboxError::Interrupted),
        }
    }

    /// Runs a sandbox to its end.
    pub fn run(&self, spec: &SandboxSpec, io: SandboxIo) -> Result<Outcome, SandboxError> {
        self.spawn(spec, io)?.wait()
    }

    /// Runs a sandbox to its end and collects what it wrote, in memory.
    pub fn capture(&self, spec: &SandboxSpec) -> Result<Captured, SandboxError> {
        let pipe =
            || io::pipe().map_err(|source| SandboxError::Control { operation: "make a pipe for", source });
        let ((stdout, stdout_writer), (stderr, stderr_writer)) = (pipe()?, pipe()?);
        let io = SandboxIo { stdin: None, stdout: stdout_writer.into(), stderr: stderr_writer.into() };
        let running = self.spawn(spec, io)?;
        let reader = |mut pipe: io::PipeReader| {
            move || {
                let mut bytes = Vec::new();
                pipe.read_to_end(&mut bytes).map(|_| bytes)
            }
        };
        let collected = thread::scope(|scope| {
            let errors = scope.spawn(reader(stderr));
            let output = reader(stdout)();
            (output, errors.join())
        });
        let outcome = running.wait()?;
        let failed = |source| SandboxError::Control { operation: "read the output of", source };
        let (output, errors) = collected;
        let errors = errors.unwrap_or_else(|_| Err(io::Error::other("the reading thread panicked")));
        Ok(Captured { outcome, stdout: output.map_err(failed)?, stderr: errors.map_err(failed)? })
    }
}

impl SandboxIo {
    /// Sends both output streams to one open file, in the order of the writes.
    ///
    /// An unprivileged program inside can then not open `/dev/stdout` or `/dev/stderr` by name, as some
    /// scripts do: the file is not its own. With a pipe it can.
    pub fn to_file(file: File) -> io::Result<Self> {
        let stdout = file.try_clone()?;
        Ok(Self { stdin: None, stdout: stdout.into(), stderr: file.into() })
    }

    /// Throws both output streams away.
    pub fn null() -> io::Result<Self> {
        Self::to_file(File::options().write(true).open("/dev/null")?)
    }
}

impl Running {
    /// Returns a handle that can kill this sandbox while another thread waits for it.
    pub fn kill_handle(&self) -> KillHandle {
        KillHandle { control: Arc::clone(&self.control) }
    }

    /// Returns the process id of the helper on the host; 0 once it has been waited for.
    pub fn helper_id(&self) -> u32 {
        self.helper.as_ref().map_or(0, Helper::id)
    }

    /// Kills everything inside; [`Self::wait`] then returns [`End::Cancelled`](crate::End::Cancelled),
    /// unless the program had already ended.
    pub fn kill(&self) {
        shut(&self.control);
    }

    /// Returns what the run has used so far; `None` when it has ended.
    ///
    /// Waits while the sandbox is set up; after that an answer takes a fraction of a millisecond.
    pub fn probe(&self) -> Option<Probe> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).probe(&self.control)
    }

    /// Waits until nothing of the sandbox is left and returns how it ended.
    pub fn wait(self) -> Result<Outcome, SandboxError> {
        match self.report()? {
            Report::Outcome(outcome) => Ok(*outcome),
            Report::Probe(_) | Report::Files(_) => Err(SandboxError::Interrupted),
        }
    }

    /// Waits until the helper has ended and returns what it said last.
    fn report(mut self) -> Result<Report, SandboxError> {
        let reports = self.reports.get_mut().unwrap_or_else(PoisonError::into_inner);
        let report = reports
            .outcome(&self.control)
            .map_err(|source| SandboxError::Control { operation: "hear from", source });
        // Always reaped, also when the report could not be read.
        let status = self.reap();
        let report = report?;
        match status {
            Some(Ok(status)) if report.is_empty() => {
                // It left its cgroups, which are cleared away when they are next looked for.
                self.cgroups.lock().unwrap_or_else(PoisonError::into_inner).take();
                Err(SandboxError::NoOutcome { status })
            }
            Some(Err(source)) => Err(SandboxError::Control { operation: "wait for", source }),
            _ => serde_json::from_slice(&report).map_err(SandboxError::UnreadableOutcome),
        }
    }

    fn reap(&mut self) -> Option<io::Result<ExitStatus>> {
        Some(self.helper.take()?.wait())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.helper.is_some() {
            shut(&self.control);
            // The helper kills, waits and ends; there is nobody to tell if waiting failed.
            let _ = self.reap();
        }
    }
}

impl KillHandle {
    /// Kills everything inside the sandbox; harmless when it has ended already.
    pub fn kill(&self) {
        shut(&self.control);
    }
}

fn socket_pair() -> Result<(UnixStream, UnixStream), SandboxError> {
    UnixStream::pair().map_err(|source| SandboxError::Control { operation: "make a socket for", source })
}

/// Returns whether this process has no other thread, which could hold a lock that a forked process would wait
/// for in vain.
fn has_one_thread() -> bool {
    // Its directory has a link for each thread beside the two of every directory.
    std::fs::metadata("/proc/self/task").is_ok_and(|metadata| metadata.nlink() == 3)
}

/// Closes the writing direction of the lifeline, which the helper takes as the order to kill.
fn shut(control: &UnixStream) {
    // Fails only when the helper has ended already, which is what was wanted.
    let _ = control.shutdown(Shutdown::Write);
}
