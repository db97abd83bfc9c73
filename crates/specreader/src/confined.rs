//! Commands that specs name, run where they can do no harm: what gives the version of something.
//!
//! What it is: the worker's root, read-only, in a sandbox of its own for every command. Inside there is no user but an
//! unprivileged one, no capability, no network unless it was allowed, private temporary directories that vanish, and
//! nothing of the host but the directory of the spec, read-only, as working directory. What a command says, how long
//! it takes and how much memory and how many processes it has are limited; what is beyond a limit ends it.
//!
//! What it is not: it decides neither what is run nor what an answer means, and remembers nothing.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use buildroot::{BindMount, End, LayerStore, Network, RootPlan, Sandbox, SandboxIo, SandboxSpec, Upper};
use rebuild::trigger::{ProgramFault, shown};
use rpm_model::WorkerManifest;

use crate::worker::worker_root;

/// Where the directory of the spec is inside.
const INSIDE: &str = "/spec";

/// What a command may say, in bytes, on each of its two output streams.
const WORDS: u64 = 64 << 10;

/// Memory of a command, temporary files included, in bytes.
const MEMORY: u64 = 1 << 30;

/// Processes and threads of a command at the same time.
const PROCESSES: u64 = 64;

/// What each of its temporary directories holds, in MiB.
const TEMPORARY_MIB: u64 = 64;

/// A command of a spec.
#[derive(Clone, Copy, Debug)]
pub struct SpecCommand<'a> {
    /// The program and its arguments; a program without `/` is looked for among the worker's.
    pub words: &'a [String],
    /// The directory of the spec, which it can read.
    pub directory: &'a Path,
    /// It is killed after this.
    pub time_limit: Duration,
    /// Whether it sees the network of the host.
    pub network: bool,
}

/// Runs commands of specs in the root of a worker.
pub struct Confinement<'a> {
    manifest: &'a WorkerManifest,
    sandbox: &'a Sandbox,
    layers: &'a LayerStore,
    /// Made by the first command; it keeps the worker's layers from being collected.
    root: Mutex<Option<(RootPlan, Vec<PathBuf>)>>,
}

impl<'a> Confinement<'a> {
    /// Returns a place for commands; nothing is unpacked before the first one is run.
    pub fn new(manifest: &'a WorkerManifest, sandbox: &'a Sandbox, layers: &'a LayerStore) -> Self {
        Self { manifest, sandbox, layers, root: Mutex::new(None) }
    }

    /// Runs a command to its end and returns what it wrote to standard output.
    ///
    /// # Errors
    ///
    /// Returns why there is no answer: it cannot be run, failed, took too long or said too much.
    pub fn run(&self, command: &SpecCommand<'_>) -> Result<Vec<u8>, ProgramFault> {
        let not_run = |error: &dyn std::fmt::Display| ProgramFault::NotRun { reason: error.to_string() };
        let spec = self.sandbox_spec(command)?;
        let pipe = || io::pipe().map_err(|error| not_run(&error));
        let ((output, stdout), (errors, stderr)) = (pipe()?, pipe()?);
        let io = SandboxIo { stdin: None, stdout: stdout.into(), stderr: stderr.into() };
        let running = self.sandbox.spawn(&spec, io).map_err(|error| not_run(&error))?;
        let (killed_by_output, killed_by_errors) = (running.kill_handle(), running.kill_handle());
        let (output, errors, outcome) = thread::scope(|scope| {
            let output = scope.spawn(move || limited(output, || killed_by_output.kill()));
            let errors = scope.spawn(move || limited(errors, || killed_by_errors.kill()));
            let outcome = running.wait();
            (output.join().unwrap_or_default(), errors.join().unwrap_or_default(), outcome)
        });
        if [&output, &errors].iter().any(|words| words.len() as u64 > WORDS) {
            return Err(ProgramFault::TooMuch { bytes: WORDS });
        }
        match outcome.map_err(|error| not_run(&error))?.end {
            End::Exited { code: 0 } => Ok(output),
            End::TimedOut => Err(ProgramFault::TimedOut { seconds: command.time_limit.as_secs() }),
            end @ (End::SetupFailed(_) | End::KilledFromOutside { .. } | End::HostOutOfMemory) => {
                Err(not_run(&end))
            }
            end => {
                let errors = String::from_utf8_lossy(&errors);
                let last = errors.lines().rev().map(str::trim).find(|line| !line.is_empty());
                Err(ProgramFault::Failed { end: end.to_string(), words: shown(last.unwrap_or_default()) })
            }
        }
    }

    fn sandbox_spec(&self, command: &SpecCommand<'_>) -> Result<SandboxSpec, ProgramFault> {
        let not_run = |reason: String| ProgramFault::NotRun { reason };
        let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        let lowers = match &*root {
            Some((_, lowers)) => lowers.clone(),
            None => {
                let made = worker_root(self.manifest, self.layers);
                let made = made.map_err(|error| not_run(format!("the worker: {error}")))?;
                root.insert(made).1.clone()
            }
        };
        drop(root);
        // A directory that is a link is what it points to; no link within it is followed out of it, for inside there
        // is nothing else.
        let source = command.directory.canonicalize();
        let source = source
            .map_err(|error| not_run(format!("the directory `{}`: {error}", command.directory.display())))?;
        let mut spec = SandboxSpec::new(lowers, command.words.to_vec());
        spec.upper = Upper::Tmpfs { size_mb: TEMPORARY_MIB };
        spec.read_only_root = true;
        spec.tmpfs.iter_mut().for_each(|tmpfs| tmpfs.size_mb = TEMPORARY_MIB);
        spec.binds.push(BindMount { source, target: PathBuf::from(INSIDE), read_only: true });
        spec.working_directory = PathBuf::from(INSIDE);
        spec.hostname = "version".to_owned();
        spec.environment.insert("HOME".to_owned(), "/tmp".to_owned());
        if command.network {
            spec.network = Network::Host;
            // Names are looked up as the host does it.
            for file in ["/etc/resolv.conf", "/etc/hosts"] {
                if let Ok(source) = Path::new(file).canonicalize() {
                    spec.binds.push(BindMount { source, target: PathBuf::from(file), read_only: true });
                }
            }
        }
        spec.limits.wall_ms = Some(u64::try_from(command.time_limit.as_millis()).unwrap_or(u64::MAX));
        spec.limits.memory_bytes = Some(MEMORY);
        spec.limits.processes = Some(PROCESSES);
        spec.limits.excess_ends_run = true;
        Ok(spec)
    }
}

/// Reads what may be said and one byte more, which is too much: then the command is killed. The rest is drained, so
/// that nobody waits.
fn limited(mut reader: impl Read, kill: impl FnOnce()) -> Vec<u8> {
    let mut words = Vec::new();
    // A broken pipe ends the words; how the command ended is known from elsewhere.
    let _ = reader.by_ref().take(WORDS + 1).read_to_end(&mut words);
    if words.len() as u64 > WORDS {
        kill();
    }
    let _ = io::copy(&mut reader, &mut io::sink());
    words
}
