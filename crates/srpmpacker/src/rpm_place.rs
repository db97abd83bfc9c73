//! Whose rpm reads and packs the specs: a worker's, in a sandbox, or this host's.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use buildroot::{LayerStore, Sandbox, SetuidPolicy};
use report::{Event, ExitStatus, Failure, Reporter};
use rpm_model::WorkerManifest;
use specreader::{EngineLimits, HostEngine, SpecEngine, WorkerEngine};

use crate::arguments::Arguments;

/// Does some work with the engine that the arguments name.
pub(crate) fn with_engine<T>(
    arguments: &Arguments,
    workers: NonZeroUsize,
    reporter: &dyn Reporter,
    work: impl FnOnce(&dyn SpecEngine) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let limits = EngineLimits::usual(workers);
    let Some(manifest) = &arguments.worker_tar else {
        let message = "no worker is given: specs are read by the rpm of this host, without a sandbox";
        reporter.event(&Event::Warning { message: message.to_owned() });
        let scratch = arguments.build_dir.join("work/srpmpacker");
        let engine = HostEngine::new(scratch, limits)
            .map_err(|error| Failure::new(ExitStatus::Environment, error).hint("install rpm"))?;
        return work(&engine);
    };
    let manifest = open_worker(manifest, &arguments.build_dir.join("work/workers"))?;
    let sandbox = Sandbox::discover().map_err(|error| {
        Failure::new(ExitStatus::Environment, error)
            .hint("`buildroot-init` belongs beside the `srpmpacker` program")
    })?;
    let directory = arguments.layers.clone().unwrap_or_else(|| arguments.build_dir.join("cache/layers"));
    let layers = LayerStore::open(&directory, SetuidPolicy::Strip)
        .map_err(|error| Failure::new(ExitStatus::Environment, error))?;
    work(&WorkerEngine::new(&manifest, &sandbox, &layers, limits))
}

/// Returns the worker that a file is: its manifest, or an archive that is unpacked into `workers`.
fn open_worker(path: &Path, workers: &Path) -> Result<WorkerManifest, Failure> {
    if path.extension().is_some_and(|extension| extension == "json") {
        return read_manifest(path);
    }
    bootstrap::import(path, workers).map_err(|error| {
        Failure::new(ExitStatus::Environment, error).hint("make the archive again with `bootstrap export`")
    })
}

fn read_manifest(path: &Path) -> Result<WorkerManifest, Failure> {
    let text = fs::read(path).map_err(|error| {
        Failure::new(ExitStatus::Usage, format!("cannot read the worker {}: {error}", path.display()))
    })?;
    let manifest: WorkerManifest = serde_json::from_slice(&text).map_err(|error| {
        Failure::new(ExitStatus::Usage, format!("{} is no worker manifest: {error}", path.display()))
            .hint("give the worker.json that `bootstrap` made")
    })?;
    if manifest.schema != WorkerManifest::SCHEMA {
        let message =
            format!("{} has schema {}, expected {}", path.display(), manifest.schema, WorkerManifest::SCHEMA);
        return Err(Failure::new(ExitStatus::Usage, message).hint("make the worker again with `bootstrap`"));
    }
    Ok(manifest)
}
