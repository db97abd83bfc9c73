//! rpm and dnf as oracles: one process of the distribution's Python each, which answers any number of questions,
//! so that a thousand cases cost one start.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The Python that the distribution's rpm and dnf modules are made for; `/usr/bin/dnf` names it in its first line.
const PYTHON: &str = "/usr/bin/python3";

/// A process that answers JSON documents, one a line.
#[derive(Debug)]
pub struct Oracle {
    child: Child,
    /// `None` only while it is dropped.
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What dnf would install.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct DnfAnswer {
    /// The packages, sorted; `None` where it finds no way.
    pub packages: Option<BTreeSet<String>>,
    /// Its words where it finds no way.
    pub problem: Option<String>,
    /// Processor time that resolving alone took.
    pub cpu_seconds: f64,
}

/// Why an oracle gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// The process could not be started, or spoken with.
    #[error("cannot speak with {PYTHON}")]
    Io(#[from] io::Error),
    /// It ended; its own words are on standard error.
    #[error("the oracle ended before it answered")]
    Ended,
    /// It answered something else.
    #[error("the oracle's answer is not as expected")]
    Answer(#[from] serde_json::Error),
}

impl Oracle {
    /// Starts rpm's own judgement (`rpm.ds`, the spec parser, the check of a transaction); it keeps its files below
    /// a directory. `None` where rpm's Python module is not installed.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn rpm(scratch: &Path) -> Result<Option<Self>, OracleError> {
        let script = include_str!("python/rpm.py");
        if has_module("rpm")? { Self::start(script, &[scratch]).map(Some) } else { Ok(None) }
    }

    /// Starts dnf (libsolv) over some repositories, each with a name, and an empty root; it keeps its files below a
    /// directory. Returns it with the number of packages that it knows; `None` where dnf is not installed.
    ///
    /// # Errors
    /// When the process cannot be started or the repositories cannot be loaded.
    pub fn dnf(scratch: &Path, repositories: &[(&str, &Path)]) -> Result<Option<(Self, usize)>, OracleError> {
        if !has_module("dnf")? {
            return Ok(None);
        }
        let named = |(name, directory): &(&str, &Path)| {
            let mut argument = OsString::from(format!("{name}="));
            argument.push(directory);
            argument
        };
        let arguments: Vec<OsString> =
            [scratch.into()].into_iter().chain(repositories.iter().map(named)).collect();
        let mut oracle = Self::start(include_str!("python/dnf.py"), &arguments)?;
        let packages = oracle.answer()?;
        Ok(Some((oracle, packages)))
    }

    fn start(script: &str, arguments: &[impl AsRef<OsStr>]) -> Result<Self, OracleError> {
        let mut child = Command::new(PYTHON)
            .args(["-c", script])
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().ok_or(OracleError::Ended)?);
        Ok(Self { child, questions, answers })
    }

    /// Asks a question.
    ///
    /// # Errors
    /// When the process has ended, or answers something else.
    pub fn ask<T: DeserializeOwned>(&mut self, question: &impl Serialize) -> Result<T, OracleError> {
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        let questions = self.questions.as_mut().ok_or(OracleError::Ended)?;
        questions.write_all(&line)?;
        questions.flush()?;
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T, OracleError> {
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            return Err(OracleError::Ended);
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // The end of its input is the end of its work.
        drop(self.questions.take());
        let _ = self.child.wait();
    }
}

fn has_module(name: &str) -> Result<bool, OracleError> {
    match Command::new(PYTHON).args(["-c", &format!("import {name}")]).stderr(Stdio::null()).status() {
        Ok(status) => Ok(status.success()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
