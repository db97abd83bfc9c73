//! The caller's side of a sandbox: hands `buildroot-init` the specification, waits.
//!
//! Safe to use from any number of threads: every namespace, mount and fork happens in that helper
//! (`crate::init`), which has one thread and runs one sandbox at a time. Helpers wait for more to do as long
//! as a [`Sandbox`] or a copy of it lives (`crate::helper`).
//!
//! Each run has a socket pair of its own. The [`Outcome`] comes back through it; before that it answers
//! probes ([`Running::probe`]) and is the lifeline: when this end closes (a call of
//! [`KillHandle::kill`], a dropped [`Running`], or the death of the calling process by any signal)
//! the helper kills everything inside, and the kernel takes the mounts away with the processes.

use std::fs::File;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::file_work::FileWork;
use crate::helper::{Helper, Helpers, Kind};
use crate::layer::LayerCounts;
use crate::plan::MountPlan;
use crate::wire::{Order, Report, Reports};
use crate::{Outcome, PlanError, Probe, SandboxSpec};

/// File name of the helper program.
pub const INIT_PROGRAM: &str = "buildroot-init";

/// Runs sandboxes with one helper program. Copies share their helpers.
#[derive(Debug, Clone)]
pub struct Sandbox {
    helpers: Arc<Helpers>,
}

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
    helpers: Arc<Helpers>,
    control: Arc<UnixStream>,
    reports: Mutex<Reports>,
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
            Some(init) => Ok(Self::with_init(&init)),
            None => Err(SandboxError::InitNotFound { searched }),
        }
    }

    /// Uses the helper program at `path`.
    pub fn with_init(path: &Path) -> Self {
        Self { helpers: Arc::new(Helpers::new(path.to_path_buf())) }
    }

    /// Returns another program that is installed beside the helper program, if it is there.
    pub fn program_beside(&self, name: &str) -> Option<PathBuf> {
        Some(self.helpers.program().with_file_name(name)).filter(|path| path.is_file())
    }

    /// Starts a sandbox and returns at once.
    ///
    /// The specification is checked first, so that an impossible one is an error here and not an
    /// outcome.
    pub fn spawn(&self, spec: &SandboxSpec, io: SandboxIo) -> Result<Running, SandboxError> {
        MountPlan::new(spec)?;
        self.order(Kind::of(spec), &Order::Run(spec), Some(&io))
    }

    fn order(
        &self,
        kind: Kind,
        order: &Order<&SandboxSpec>,
        io: Option<&SandboxIo>,
    ) -> Result<Running, SandboxError> {
        let (helper, control) = self.helpers.give(kind, order, io)?;
        Ok(Running {
            helper: Some(helper),
            helpers: Arc::clone(&self.helpers),
            control: Arc::new(control),
            reports: Mutex::new(Reports::new()),
        })
    }

    /// Has the helper work on files in the user namespace of this caller's sandboxes.
    pub(crate) fn work_on_files(&self, work: FileWork) -> Result<Result<LayerCounts, String>, SandboxError> {
        match self.order(Kind::of_file_work(), &Order::Files(work), None)?.report()? {
            Report::Files(done) => Ok(done),
            Report::Outcome(outcome) => Ok(Err(outcome.end.to_string())),
            _ => Err(answer_to_another_order()),
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
            _ => Err(answer_to_another_order()),
        }
    }

    /// Waits until the helper has nothing more to say and returns what it said last.
    fn report(mut self) -> Result<Report, SandboxError> {
        let reports = self.reports.get_mut().unwrap_or_else(PoisonError::into_inner);
        let line = reports.outcome(&self.control);
        let line = line.map_err(|source| SandboxError::Control { operation: "hear from", source })?;
        let mut last = match line.is_empty() {
            true => None,
            false => Some(serde_json::from_slice(&line).map_err(SandboxError::UnreadableOutcome)?),
        };
        if let Some(Report::Outcome(outcome)) = &mut last {
            let peak = &mut outcome.usage.peak_memory_bytes;
            *peak = reports.greatest_peak().max(*peak);
        }
        let helper = self.helper.take();
        match last {
            Some(report @ (Report::Outcome(_) | Report::Files(_))) => {
                // Whatever this says, nothing of the run is left.
                helper.into_iter().for_each(|helper| self.helpers.keep(helper));
                Ok(report)
            }
            Some(Report::Probe(_) | Report::Counters(_)) | None => {
                let ended = helper.map_or_else(|| Ok(ExitStatus::default()), Helper::end);
                let waited = |source| SandboxError::Control { operation: "wait for", source };
                Err(SandboxError::NoOutcome { status: ended.map_err(waited)? })
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(helper) = self.helper.take() {
            shut(&self.control);
            // It kills, waits, says so and ends, when its socket closes; there is nobody to tell if waiting failed.
            drop(helper);
        }
    }
}

impl KillHandle {
    /// Kills everything inside the sandbox; harmless when it has ended already.
    pub fn kill(&self) {
        shut(&self.control);
    }
}

/// Closes the writing direction of the lifeline, which the helper takes as the order to kill.
fn shut(control: &UnixStream) {
    // Fails only when the helper has ended already, which is what was wanted.
    let _ = control.shutdown(Shutdown::Write);
}

/// What a helper of another version may say.
fn answer_to_another_order() -> SandboxError {
    SandboxError::UnreadableOutcome(serde::de::Error::custom("an answer to another order"))
}
