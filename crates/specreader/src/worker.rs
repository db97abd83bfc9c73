//! The engine that runs the worker's own rpm, inside the worker's root, in a sandbox.
//!
//! The root is the stacked layers of the worker generation's core packages, so the macros, the shell and
//! every tool that `%(...)` calls are the worker's. Inside there is no network, an unprivileged user, private
//! temporary directories that vanish, and nothing of the host but the specs and sources asked about, read
//! only. Nothing is unpacked and nothing started before the first spec that has to be read.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use buildroot::{
    BindMount, End, LayerRequest, LayerStore, RootOptions, Sandbox, SandboxIo, SandboxSpec, StoreDirectory,
    Upper,
};
use rpm_model::{ContentDigest, ContentHasher, WorkerManifest};

use crate::command::{CommandEngine, EngineLimits};
use crate::engine::{EngineError, PackError, PackRequest, ParsedSpec, ReadOptions, SpecEngine, SpecInput};
use crate::failure::SpecFailure;
use crate::runner::{Run, RunEnd, RunOutcome, Runner};

/// Memory of all processes and temporary files of one run together, in bytes.
const MEMORY: u64 = 4 << 30;
/// Processes and threads of one run together: a spec that forks without end hurts itself only.
const PROCESSES: u64 = 512;
/// What a run may write into its private root, in MiB.
const UPPER_MIB: u64 = 1024;
/// rpm's words beyond this many bytes are thrown away.
const WORDS: u64 = 1 << 20;

/// Runs `rpmspec` and `rpmbuild` of a worker generation in sandboxes.
pub struct WorkerEngine<'a> {
    manifest: &'a WorkerManifest,
    sandbox: &'a Sandbox,
    layers: &'a LayerStore,
    limits: EngineLimits,
    identity: ContentDigest,
    prepared: OnceLock<Prepared<'a>>,
}

struct Prepared<'a> {
    commands: CommandEngine<WorkerRunner<'a>>,
    /// Holds the temporary files of all runs.
    _scratch: StoreDirectory,
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
        let identity = hasher.finish();
        Self { manifest, sandbox, layers, limits, identity, prepared: OnceLock::new() }
    }

    fn commands(&self) -> Result<&CommandEngine<WorkerRunner<'a>>, EngineError> {
        if let Some(prepared) = self.prepared.get() {
            return Ok(&prepared.commands);
        }
        let request = |package: &rpm_model::LockedPackage| LayerRequest {
            path: PathBuf::from(&package.path),
            sha256: package.sha256.clone(),
            size: Some(package.size),
        };
        let requests: Vec<LayerRequest> = self.manifest.core.packages().iter().map(request).collect();
        let root = self.layers.root_plan(&requests, &RootOptions::default())?;
        // Mounts take absolute paths only; the store may have been opened by a relative one.
        let absolute = |lower: &PathBuf| {
            std::path::absolute(lower).map_err(|error| EngineError::io("find", lower, error))
        };
        let lowers = root.lowers.iter().map(absolute).collect::<Result<_, _>>()?;
        let scratch = self.layers.temporary_directory()?;
        let runner = WorkerRunner { sandbox: self.sandbox, lowers };
        let commands = CommandEngine::new(runner, scratch.path().to_owned(), self.limits);
        // Two threads may both get here; one result is kept, both are right.
        Ok(&self.prepared.get_or_init(|| Prepared { commands, _scratch: scratch }).commands)
    }
}

impl SpecEngine for WorkerEngine<'_> {
    fn identity(&self) -> &ContentDigest {
        &self.identity
    }

    fn read(
        &self,
        specs: &[SpecInput],
        options: &ReadOptions,
    ) -> Result<Vec<Result<ParsedSpec, SpecFailure>>, EngineError> {
        self.commands()?.read(specs, options)
    }

    fn pack(&self, request: &PackRequest) -> Result<PathBuf, PackError> {
        self.commands()?.pack(request)
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
            end @ (End::Cancelled | End::SetupFailed(_)) => return Err(self.start_error(&end)),
        };
        Ok(RunOutcome { end, stderr: words })
    }
}

impl WorkerRunner<'_> {
    fn sandbox_spec(&self, run: &Run) -> Result<SandboxSpec, EngineError> {
        let mut spec = SandboxSpec::new(self.lowers.clone(), run.arguments.clone());
        spec.upper = Upper::Tmpfs { size_mb: UPPER_MIB };
        spec.environment.extend(run.environment.clone());
        for (target, source, read_only) in run
            .inputs
            .iter()
            .map(|(target, source)| (target, source, true))
            .chain(run.outputs.iter().map(|(target, source)| (target, source, false)))
        {
            let absolute =
                std::path::absolute(source).map_err(|error| EngineError::io("find", source, error))?;
            spec.binds.push(BindMount { source: absolute, target: PathBuf::from(target), read_only });
        }
        spec.limits.wall_ms = Some(u64::try_from(run.time_limit.as_millis()).unwrap_or(u64::MAX));
        spec.limits.memory_bytes = Some(MEMORY);
        spec.limits.processes = Some(PROCESSES);
        Ok(spec)
    }

    fn start_error(&self, message: &dyn std::fmt::Display) -> EngineError {
        EngineError::Start { place: self.place(), message: message.to_string() }
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
