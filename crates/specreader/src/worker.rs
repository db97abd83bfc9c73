//! The engine that runs the worker's own rpm, inside the worker's root, in a sandbox.
//!
//! The root is the stacked layers of the worker generation's core packages, so the macros, the shell and
//! every tool that `%(...)` calls are the worker's. Inside there is no network, an unprivileged user, private
//! temporary directories that vanish, and nothing of the host but the specs and sources asked about, read
//! only. Nothing is unpacked and nothing started before the first spec that has to be read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use buildroot::{
    BindMount, End, LayerRequest, LayerStore, RootOptions, RootPlan, Sandbox, SandboxIo, SandboxSpec,
    StoreDirectory, TmpfsMount, Upper,
};
use rpm_model::{ContentDigest, ContentHasher, WorkerManifest};

use crate::command::{CommandEngine, EngineLimits};
use crate::engine::{
    Done, EngineError, EngineNote, PackError, PackRequest, ParsedSpec, ReadOptions, SpecEngine, SpecInput,
};
use crate::failure::SpecFailure;
use crate::helper::{self, HelperEnd, HelperError, Launcher, Surroundings, Talk};
use crate::runner::{Run, RunEnd, RunOutcome, Runner};

/// Memory of all processes and temporary files of one run together, in bytes.
const MEMORY: u64 = 4 << 30;
/// Processes and threads of one run together: a spec that forks without end hurts itself only.
const PROCESSES: u64 = 512;
/// What a run may write into its private root, in MiB.
const UPPER_MIB: u64 = 1024;
/// rpm's words beyond this many bytes are thrown away.
const WORDS: u64 = 1 << 20;

/// The program that parses specs inside, installed beside the sandbox's own helper.
const HELPER: &str = "spec-engine";
/// Where it is inside.
const HELPER_INSIDE: &str = "/build/spec-engine";

/// Parses specs with the worker's rpm in sandboxes, and runs its `rpmbuild`.
///
/// Specs are read by the helper process `spec-engine`; where that cannot work, by `rpmspec` processes, which
/// gives the same results slowly. [`SpecEngine::notes`] says which and why.
pub struct WorkerEngine<'a> {
    manifest: &'a WorkerManifest,
    sandbox: &'a Sandbox,
    layers: &'a LayerStore,
    limits: EngineLimits,
    identity: ContentDigest,
    prepared: OnceLock<Prepared<'a>>,
    notes: Mutex<Vec<EngineNote>>,
}

struct Prepared<'a> {
    commands: CommandEngine<WorkerRunner<'a>>,
    /// Holds the temporary files of all runs.
    scratch: StoreDirectory,
    /// Keeps the worker's layers from being collected.
    _root: RootPlan,
}

impl<'a> WorkerEngine<'a> {
    /// Returns an engine over a worker; see [`EngineLimits::usual`] for `limits`.
    pub fn new(
        manifest: &'a WorkerManifest,
        sandbox: &'a Sandbox,
        layers: &'a LayerStore,
        limits: EngineLimits,
    ) -> Self {
        let mut hasher = ContentHasher::new("worker-spec-engine", 1);
        hasher.field("generation", manifest.generation().as_str());
        // Without it no headers are given, and what was not given is remembered.
        hasher.field("helper", &sandbox.program_beside(HELPER).is_some().to_string());
        let identity = hasher.finish();
        let notes = Mutex::new(Vec::new());
        Self { manifest, sandbox, layers, limits, identity, prepared: OnceLock::new(), notes }
    }

    /// Reads with `rpmspec` processes only, whether or not the helper could; the oracle of its tests.
    ///
    /// # Errors
    ///
    /// As [`SpecEngine::read`].
    pub fn read_with_rpmspec(
        &self,
        specs: &[SpecInput],
        options: &ReadOptions,
    ) -> Result<Vec<Result<ParsedSpec, SpecFailure>>, EngineError> {
        self.prepared()?.commands.read(specs, options, &|| ())
    }

    fn note(&self, note: EngineNote) {
        let mut notes = self.notes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    fn prepared(&self) -> Result<&Prepared<'a>, EngineError> {
        if let Some(prepared) = self.prepared.get() {
            return Ok(prepared);
        }
        let (root, lowers) = worker_root(self.manifest, self.layers)?;
        let scratch = self.layers.temporary_directory()?;
        let runner = WorkerRunner { sandbox: self.sandbox, lowers };
        let commands = CommandEngine::new(runner, scratch.path().to_owned(), self.limits);
        // Two threads may both get here; one result is kept, both are right.
        Ok(self.prepared.get_or_init(|| Prepared { commands, scratch, _root: root }))
    }
}

/// Returns the root of a worker, which keeps its layers from being collected, and its directories, topmost first.
pub(crate) fn worker_root(
    manifest: &WorkerManifest,
    layers: &LayerStore,
) -> Result<(RootPlan, Vec<PathBuf>), EngineError> {
    let request = |package: &rpm_model::LockedPackage| LayerRequest {
        path: PathBuf::from(&package.path),
        sha256: package.sha256.clone(),
        size: Some(package.size),
    };
    let requests: Vec<LayerRequest> = manifest.core.packages().iter().map(request).collect();
    let root = layers.root_plan(&requests, &RootOptions::default())?;
    // Mounts take absolute paths only; the store may have been opened by a relative one.
    let absolute =
        |lower: &PathBuf| std::path::absolute(lower).map_err(|error| EngineError::io("find", lower, error));
    let lowers = root.lowers.iter().map(absolute).collect::<Result<_, _>>()?;
    Ok((root, lowers))
}

impl SpecEngine for WorkerEngine<'_> {
    fn identity(&self) -> &ContentDigest {
        &self.identity
    }

    fn read_telling(
        &self,
        specs: &[SpecInput],
        options: &ReadOptions,
        done: Done<'_>,
    ) -> Result<Vec<Result<ParsedSpec, SpecFailure>>, EngineError> {
        let prepared = self.prepared()?;
        let Some(program) = self.sandbox.program_beside(HELPER) else {
            let reason =
                format!("the program `{HELPER}` is not installed beside `{}`", buildroot::INIT_PROGRAM);
            self.note(EngineNote::NoHelper { reason });
            return prepared.commands.read(specs, options, done);
        };
        let launcher = HelperLauncher { runner: prepared.commands.runner(), program };
        match helper::read(&launcher, prepared.scratch.path(), &self.limits, specs, options, done) {
            Ok(answered) => {
                if let Some(ready) = answered.ready {
                    let memo = ready.memo_off.map(|reason| EngineNote::NoMemory { reason });
                    let confined = ready.unconfined.map(|reason| EngineNote::Unconfined { reason });
                    memo.into_iter().chain(confined).for_each(|note| self.note(note));
                }
                Ok(answered.results)
            }
            Err(HelperError::Engine(error)) => Err(error),
            Err(HelperError::Unable(reason)) => {
                self.note(EngineNote::NoHelper { reason });
                prepared.commands.read(specs, options, done)
            }
        }
    }

    fn notes(&self) -> Vec<EngineNote> {
        self.notes.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn pack(&self, request: &PackRequest) -> Result<PathBuf, PackError> {
        self.prepared()?.commands.pack(request)
    }
}

struct WorkerRunner<'a> {
    sandbox: &'a Sandbox,
    /// Topmost first.
    lowers: Vec<PathBuf>,
}

impl Runner for WorkerRunner<'_> {
    fn place(&self) -> String {
        "the worker".to_owned()
    }

    fn root(&self, _scratch: &Path) -> String {
        String::new()
    }

    fn run(&self, _scratch: &Path, run: &Run) -> Result<RunOutcome, EngineError> {
        let spec = self.sandbox_spec(run)?;
        let pipe = io::pipe().and_then(|(reader, writer)| Ok((reader, writer.try_clone()?, writer)));
        let (reader, stdout, stderr) = pipe.map_err(|error| self.start_error(&error))?;
        let io = SandboxIo { stdin: None, stdout: stdout.into(), stderr: stderr.into() };
        let running = self.sandbox.spawn(&spec, io)?;
        let (words, outcome) = thread::scope(|scope| {
            let words = scope.spawn(move || limited(reader));
            let outcome = running.wait();
            (words.join().unwrap_or_default(), outcome)
        });
        let outcome = outcome?;
        let end = match outcome.end {
            End::Exited { code } => RunEnd::Exited(code),
            End::Signaled { signal } => RunEnd::Killed(format!("signal {signal}")),
            End::TimedOut => RunEnd::TimedOut,
            end @ (End::CpuTimePassed | End::OutOfMemory | End::TooManyProcesses) => {
                RunEnd::Killed(end.to_string())
            }
            end @ (End::Cancelled
            | End::SetupFailed(_)
            | End::KilledFromOutside { .. }
            | End::HostOutOfMemory) => return Err(self.start_error(&end)),
        };
        Ok(RunOutcome { end, stderr: words })
    }
}

impl WorkerRunner<'_> {
    fn sandbox_spec(&self, run: &Run) -> Result<SandboxSpec, EngineError> {
        let mut spec = self.limited(run.arguments.clone(), run.time_limit);
        spec.environment.extend(run.environment.clone());
        bind(&mut spec, &run.inputs, true)?;
        bind(&mut spec, &run.outputs, false)?;
        Ok(spec)
    }

    fn limited(&self, arguments: Vec<String>, time_limit: Duration) -> SandboxSpec {
        let mut spec = SandboxSpec::new(self.lowers.clone(), arguments);
        spec.upper = Upper::Tmpfs { size_mb: UPPER_MIB };
        spec.limits.wall_ms = Some(u64::try_from(time_limit.as_millis()).unwrap_or(u64::MAX));
        spec.limits.memory_bytes = Some(MEMORY);
        spec.limits.processes = Some(PROCESSES);
        spec
    }

    fn start_error(&self, message: &dyn std::fmt::Display) -> EngineError {
        EngineError::Start { place: self.place(), message: message.to_string() }
    }
}

fn bind(
    spec: &mut SandboxSpec,
    places: &BTreeMap<String, PathBuf>,
    read_only: bool,
) -> Result<(), EngineError> {
    for (target, source) in places {
        let source = std::path::absolute(source).map_err(|error| EngineError::io("find", source, error))?;
        spec.binds.push(BindMount { source, target: PathBuf::from(target), read_only });
    }
    Ok(())
}

/// Starts the helper in the worker's root.
struct HelperLauncher<'r, 'a> {
    runner: &'r WorkerRunner<'a>,
    program: PathBuf,
}

impl Launcher for HelperLauncher<'_, '_> {
    fn launch(&self, around: &Surroundings, talk: &mut Talk<'_>) -> Result<HelperEnd, EngineError> {
        let mut spec = self.runner.limited(vec![HELPER_INSIDE.to_owned()], around.time_limit);
        spec.read_only_root = true;
        let empty = |target: &String| TmpfsMount { target: PathBuf::from(target), size_mb: 16, mode: 0o1777 };
        spec.tmpfs.extend(around.empty.iter().map(empty));
        bind(&mut spec, &around.mounts, true)?;
        bind(&mut spec, &BTreeMap::from([(HELPER_INSIDE.to_owned(), self.program.clone())]), true)?;
        let pipe = || io::pipe().map_err(|error| self.runner.start_error(&error));
        let ((stdin, to_helper), (from_helper, stdout), (errors, stderr)) = (pipe()?, pipe()?, pipe()?);
        let io = SandboxIo { stdin: Some(stdin.into()), stdout: stdout.into(), stderr: stderr.into() };
        let running = self.runner.sandbox.spawn(&spec, io)?;
        let (session, words, outcome) = thread::scope(|scope| {
            let words = scope.spawn(move || limited(errors));
            let file = |fd: OwnedFd| File::from(fd);
            let session = talk(file(to_helper.into()), file(from_helper.into()));
            // Whatever was said, nothing is left to be said.
            running.kill();
            let outcome = running.wait();
            (session, words.join().unwrap_or_default(), outcome)
        });
        let end = outcome?.end;
        if let End::SetupFailed(_) = end {
            return Err(self.runner.start_error(&end));
        }
        let words = format!("{} ({end})", String::from_utf8_lossy(&words).trim());
        Ok(HelperEnd { session, words })
    }
}

/// Reads the first [`WORDS`] bytes and drains the rest, so that the writer never waits.
fn limited(mut reader: impl Read) -> Vec<u8> {
    let mut words = Vec::new();
    // A broken pipe ends the words; how the run ended is known from elsewhere.
    let _ = reader.by_ref().take(WORDS).read_to_end(&mut words);
    let _ = io::copy(&mut reader, &mut io::sink());
    words
}
