//! Where rpm's programs run: the one thing in which the engines differ.
//!
//! A [`Runner`] executes one [`Run`]: a command that sees some host files under fixed places and writes into
//! one directory. It knows nothing of specs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::engine::EngineError;

/// One command to execute.
pub(crate) struct Run {
    /// The program and its arguments; paths under `/build` are written with [`Runner::root`] before them.
    pub(crate) arguments: Vec<String>,
    /// Host file or directory → where the command sees it, read only. Targets lie under `/build`.
    pub(crate) inputs: BTreeMap<String, PathBuf>,
    /// Where the command may write → the host directory behind it.
    pub(crate) outputs: BTreeMap<String, PathBuf>,
    /// Variables besides the fixed ones (`PATH`, `HOME`, `LC_ALL`, `TZ`).
    pub(crate) environment: BTreeMap<String, String>,
    /// The whole command is killed after this.
    pub(crate) time_limit: Duration,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// It exited with this code.
    Exited(i32),
    /// It was killed, in words.
    Killed(String),
    /// [`Run::time_limit`] ended it.
    TimedOut,
}

/// What a command left behind besides files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunOutcome {
    pub(crate) end: RunEnd,
    /// Its standard error.
    pub(crate) stderr: Vec<u8>,
}

/// Executes commands somewhere.
pub(crate) trait Runner: Sync {
    /// Returns the place in words, for messages.
    fn place(&self) -> String;

    /// Returns what stands before `/build` in paths that the command is given; `scratch` is a private
    /// directory of this run.
    fn root(&self, scratch: &Path) -> String;

    /// Executes a command and waits for it; `scratch` as in [`Runner::root`].
    fn run(&self, scratch: &Path, run: &Run) -> Result<RunOutcome, EngineError>;
}

impl RunEnd {
    /// Returns how a process of this host ended.
    pub(crate) fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Exited(code),
            None => Self::Killed(status.to_string()),
        }
    }
}
