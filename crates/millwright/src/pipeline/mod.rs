//! The pipeline: the stages in their order, each a call into its crate.
//!
//! What it is: the place where a configuration becomes calls, where a library's typed error gets its kind
//! and its advice, and where stages are timed and reported. What it is not: it holds no logic of a stage;
//! an `if` that decides something about packages belongs into the crate of that stage.

mod base;
mod debug;
mod external;
mod fetch;
mod pack;
mod plan;
mod programs;
mod remembered;
mod specs;

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use buildroot::{LayerStore, Sandbox, SetuidPolicy};
use config::Config;
use report::{Event, ExitStatus, Failure, Reporter, Stage};
use scheduler::Stop;

use crate::beside::Beside;
use crate::cache::{collected_results_text, collected_text, layer_directory};
use crate::results::local_directory;

pub(crate) use base::Base;
pub(crate) use debug::{Kept, LastJob};
pub(crate) use fetch::{FetchOptions, no_repository};
pub(crate) use programs::WorkerPrograms;
pub(crate) use remembered::{Nothing, TreeBefore, WarningsKept};
pub(crate) use specs::Specs;

/// One run over one tree.
pub(crate) struct Pipeline<'a> {
    config: Config,
    reporter: &'a dyn Reporter,
    /// The same one, for what it was warned of.
    kept: &'a WarningsKept<'a>,
    sandbox: Sandbox,
    layers: LayerStore,
    /// Where Millwright's programs are.
    programs: PathBuf,
    /// What commands of specs said in this run.
    answers: programs::Answers,
    /// Where what would be left behind goes, where this only looks.
    beside: Option<PathBuf>,
    /// Where toolchain and worker are.
    made_in: PathBuf,
    /// What the user wants of the run meanwhile.
    stop: Stop,
    started: Instant,
}

impl<'a> Pipeline<'a> {
    /// Returns the pipeline of a command that began at `started`; finds the programs that it will start beside this one.
    /// `beside` is the look that it is, where it is one.
    pub(crate) fn new(
        config: Config,
        reporter: &'a WarningsKept<'a>,
        beside: Option<&Beside>,
        stop: Stop,
        started: Instant,
    ) -> Result<Self, Failure> {
        let own = std::env::current_exe().map_err(|error| Failure::new(ExitStatus::Environment, error))?;
        let programs = own.parent().map(PathBuf::from).unwrap_or_default();
        let sandbox = Sandbox::discover().map_err(|error| {
            Failure::new(ExitStatus::Environment, error)
                .hint("compile all programs: `cargo build --release --workspace --bins`")
        })?;
        let layers = LayerStore::open(&layer_directory(&config.directories), SetuidPolicy::Strip)
            .map_err(environment)?;
        let answers = programs::Answers::default();
        let made_in = beside.map_or(&*config.directories.build, Beside::build).to_owned();
        let beside = beside.map(|beside| beside.scratch().to_owned());
        Ok(Self {
            config,
            reporter,
            kept: reporter,
            sandbox,
            layers,
            programs,
            answers,
            beside,
            made_in,
            stop,
            started,
        })
    }

    /// Refuses to build when no build root can be set up, before anything is made for it.
    pub(crate) fn check_sandbox(&self) -> Result<(), Failure> {
        crate::doctor::check_sandbox(&self.config, &self.sandbox)
    }

    /// Runs a stage: reports its begin, its end in words, and how long it took.
    fn stage<T>(
        &self,
        stage: Stage,
        total: Option<usize>,
        work: impl FnOnce() -> Result<(T, String), Failure>,
    ) -> Result<T, Failure> {
        self.reporter.event(&Event::StageStarted { stage, total });
        let start = Instant::now();
        let (value, summary) = work()?;
        self.reporter.event(&Event::StageFinished { stage, summary, seconds: start.elapsed().as_secs_f64() });
        Ok(value)
    }

    /// Removes unpacked packages above the budget, if there is one.
    pub(crate) fn collect_layers(&self) {
        let Some(budget) = self.config.layer_budget else { return };
        match self.layers.collect(budget, false) {
            Ok(collected) if collected.removed.is_empty() => {}
            Ok(collected) => self.reporter.event(&Event::Note { message: collected_text(&collected) }),
            // What was built is built; there is only less room than wanted.
            Err(error) => self.warn(format!("unpacked packages could not be collected: {error}")),
        }
    }

    /// Removes kept results above the budget, if there is one.
    pub(crate) fn collect_results(&self) {
        let Some(budget) = self.config.result_budget else { return };
        match result_store::collect(&local_directory(&self.config.directories), budget, false) {
            Ok(collected) if collected.bytes_before == collected.bytes_after => {}
            Ok(collected) => {
                self.reporter.event(&Event::Note { message: collected_results_text(&collected) });
            }
            // See above.
            Err(error) => self.warn(format!("results of builds could not be collected: {error}")),
        }
    }

    /// Returns where a document among the artifacts is; nowhere, where this only looks beside another run.
    pub(crate) fn document(&self, name: &str) -> Option<PathBuf> {
        self.beside.is_none().then(|| self.config.directories.artifacts.join(name))
    }

    /// Returns what the user wants of the run meanwhile.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Returns for how long the command has been running, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Returns who is told of what happens.
    pub(crate) fn reporter(&self) -> &'a dyn Reporter {
        self.reporter
    }

    fn warn(&self, message: impl Into<String>) {
        self.reporter.event(&Event::Warning { message: message.into() });
    }
}

/// Returns a failure of the host.
fn environment(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
    Failure::new(ExitStatus::Environment, error)
}

/// Returns a failure of what the user wrote.
fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
    Failure::new(ExitStatus::Usage, error)
}
