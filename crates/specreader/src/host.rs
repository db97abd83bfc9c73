//! The engine that runs the rpm installed on this host, without a sandbox.
//!
//! For tests, and for a host that is the worker itself (the Azure tools' empty `--worker-tar`). Specs can run
//! any command on the host while they are parsed; use the worker's engine for specs of others.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rpm_model::{ContentDigest, ContentHasher};

use crate::command::{CommandEngine, EngineLimits};
use crate::engine::{
    Done, EngineError, PackError, PackRequest, ParsedSpec, ReadOptions, SpecEngine, SpecInput,
};
use crate::failure::SpecFailure;
use crate::runner::{Run, RunEnd, RunOutcome, Runner};

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the host's own `rpmspec` and `rpmbuild`.
pub struct HostEngine {
    commands: CommandEngine<HostRunner>,
    identity: ContentDigest,
}

impl HostEngine {
    /// Returns an engine over the host's rpm; `scratch` is a directory for its temporary files.
    ///
    /// # Errors
    ///
    /// Returns an error where `rpm` cannot be run.
    pub fn new(scratch: PathBuf, limits: EngineLimits) -> Result<Self, EngineError> {
        let mut hasher = ContentHasher::new("host-spec-engine", 1);
        for arguments in [["--version"], ["--showrc"]] {
            let output = command("rpm", "/").args(arguments).output().map_err(|source| {
                EngineError::Start { place: "the host".to_owned(), message: format!("rpm: {source}") }
            })?;
            hasher.field(arguments[0], ContentDigest::of_bytes(&output.stdout).as_str());
        }
        let commands = CommandEngine::new(HostRunner, scratch, limits);
        Ok(Self { commands, identity: hasher.finish() })
    }
}

impl SpecEngine for HostEngine {
    fn identity(&self) -> &ContentDigest {
        &self.identity
    }

    fn read_telling(
        &self,
        specs: &[SpecInput],
        options: &ReadOptions,
        done: Done<'_>,
    ) -> Result<Vec<Result<ParsedSpec, SpecFailure>>, EngineError> {
        self.commands.read(specs, options, done)
    }

    fn pack(&self, request: &PackRequest) -> Result<PathBuf, PackError> {
        self.commands.pack(request)
    }
}

fn command(program: &str, home: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("HOME", home).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command.stdin(Stdio::null());
    command
}

/// Gives commands their fixed places as symbolic links below a scratch directory.
struct HostRunner;

impl Runner for HostRunner {
    fn place(&self) -> String {
        "the host".to_owned()
    }

    fn root(&self, scratch: &Path) -> String {
        scratch.join("root").display().to_string()
    }

    fn run(&self, scratch: &Path, run: &Run) -> Result<RunOutcome, EngineError> {
        let root = scratch.join("root");
        for (target, source) in run.inputs.iter().chain(&run.outputs) {
            let link = root.join(target.trim_start_matches('/'));
            let parent = link.parent().unwrap_or(&root);
            fs::create_dir_all(parent).map_err(|source| EngineError::io("create", parent, source))?;
            if link.is_file() {
                // An empty file of ours, to be covered by a large one.
                fs::remove_file(&link).map_err(|error| EngineError::io("remove", &link, error))?;
            }
            let source =
                std::path::absolute(source).map_err(|error| EngineError::io("find", source, error))?;
            symlink(&source, &link).map_err(|error| EngineError::io("link", &link, error))?;
        }
        let home = scratch.display().to_string();
        let (program, arguments) = run.arguments.split_first().map_or(("true", &[][..]), |(p, a)| (p, a));
        let output = command("timeout", &home)
            .arg("--kill-after=1")
            .arg(run.time_limit.as_secs().to_string())
            .arg(program)
            .args(arguments)
            .envs(&run.environment)
            .current_dir("/")
            .output()
            .map_err(|source| EngineError::Start { place: self.place(), message: source.to_string() })?;
        let end = match RunEnd::of(output.status) {
            RunEnd::Exited(124) => RunEnd::TimedOut,
            end => end,
        };
        Ok(RunOutcome { end, stderr: output.stderr })
    }
}
