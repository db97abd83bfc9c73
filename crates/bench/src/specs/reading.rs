//! The engine under test, as a process of its own that a measurement can watch: finds the specs of a tree, reads
//! them through the cache, prints what came out as one line of JSON.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use buildroot::{LayerStore, Sandbox, SetuidPolicy};
use clap::Args;
use rpm_model::WorkerManifest;
use serde::{Deserialize, Serialize};
use specreader::{CachedReader, EngineLimits, ReleaseMacros, SpecEngine, WorkerEngine};

use crate::azure::{self, AzureTree, worker::AzureWorker};
use crate::error::BenchError;
use crate::measure::own_cpu;

/// What is read, and with what.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReadArguments {
    /// A tree of specs
    #[arg(long)]
    tree: PathBuf,
    /// A worker manifest
    #[arg(long)]
    worker: PathBuf,
    /// Its unpacked packages
    #[arg(long)]
    layers: PathBuf,
    /// A file of release macros
    #[arg(long)]
    release_macros: PathBuf,
    /// What was read before
    #[arg(long)]
    cache: PathBuf,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Good specs.
    pub(crate) good: usize,
    /// Why the others are not.
    pub(crate) bad: Vec<String>,
    /// Specs that the engine was not asked about.
    pub(crate) remembered: usize,
    /// What the engine could not do as well as it should.
    pub(crate) notes: Vec<String>,
    /// Processor seconds of the reading process alone, without the helpers that parse.
    pub(crate) own_cpu: f64,
}

impl ReadArguments {
    pub(crate) fn new(tree: &AzureTree, worker: &AzureWorker, release_macros: &Path, cache: PathBuf) -> Self {
        Self {
            tree: tree.root().to_owned(),
            worker: worker.path.clone(),
            layers: worker.layers.clone(),
            release_macros: release_macros.to_owned(),
            cache,
        }
    }

    /// Returns them as a command line.
    pub(crate) fn to_options(&self) -> Vec<String> {
        let named = [
            ("--tree", &self.tree),
            ("--worker", &self.worker),
            ("--layers", &self.layers),
            ("--release-macros", &self.release_macros),
            ("--cache", &self.cache),
        ];
        named.into_iter().map(|(name, path)| format!("{name}={}", path.display())).collect()
    }
}

/// Reads and prints.
pub(crate) fn run(arguments: &ReadArguments) -> Result<(), BenchError> {
    let specs = AzureTree::open(Some(&arguments.tree))?.specs()?;
    let text = std::fs::read(&arguments.worker).map_err(BenchError::io("read", &arguments.worker))?;
    let manifest: WorkerManifest = serde_json::from_slice(&text).map_err(|source| BenchError::Document {
        what: "worker manifest",
        path: arguments.worker.clone(),
        source,
    })?;
    let options = azure::options(ReleaseMacros::read([arguments.release_macros.as_path()])?);
    let summary = with_engine(&manifest, &arguments.layers, |engine| {
        let reading = CachedReader::new(engine, arguments.cache.clone()).read(&specs, &options)?;
        let bad: Vec<String> = reading
            .results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .map(ToString::to_string)
            .collect();
        let notes = engine.notes().iter().map(ToString::to_string).collect();
        let (good, own_cpu) = (reading.results.len() - bad.len(), own_cpu()?.as_secs_f64());
        Ok(Summary { good, bad, remembered: reading.remembered, notes, own_cpu })
    })?;
    let line = serde_json::to_string(&summary)
        .map_err(|error| BenchError::io("print", Path::new("standard output"))(error.into()))?;
    writeln!(std::io::stdout(), "{line}").map_err(BenchError::io("write", Path::new("standard output")))
}

/// Does some work with the engine of a worker.
pub(crate) fn with_engine<T>(
    manifest: &WorkerManifest,
    layers: &Path,
    work: impl FnOnce(&dyn SpecEngine) -> Result<T, BenchError>,
) -> Result<T, BenchError> {
    let sandbox = Sandbox::discover()?;
    let layers = LayerStore::open(layers, SetuidPolicy::Strip)?;
    let limits = EngineLimits::usual(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
    work(&WorkerEngine::new(manifest, &sandbox, &layers, limits))
}
