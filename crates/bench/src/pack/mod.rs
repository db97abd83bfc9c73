//! `pack`: SRPMs of the Azure Linux tree, written natively beside `rpmbuild -bs`.
//!
//! The specs whose sources all lie in the tree are found by reading all. Each is packed by the library as
//! `srpmpacker` packs it, from the remembered reading and verified files to the renamed SRPM, and by rpmbuild in
//! the root of the same worker; then the files are compared byte by byte, at several compressions. One large
//! source is packed by both on one processor and on two, and all signature files of the tree are checked.
//!
//! What it is not: a judge of compression libraries. Where ours is another version than the worker's, compressed
//! bytes may differ; what differs is told, and that header and archive do not.

mod large;
mod peer;
mod signatures;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use report::{Event, ExitStatus, QuietReporter, Reporter, Stage};
use sources::{DownloadOptions, RemotePlaces, SignatureMode, SourceStore};
use specreader::{ReleaseMacros, SpecEngine, SpecInput};
use srpmpacker::{Discovery, PackOptions, SpecOutcome, SrpmWriter, pack};

use crate::azure;
use crate::error::BenchError;
use crate::figures::{Figures, Metric, table};
use crate::machine::Machine;
use crate::measure;
use crate::specs::{Prepared, Selection, prepare, read_all, reading::with_engine};
use crate::{Conclusion, Place, note};

/// The compression that is timed; what Millwright chooses for SRPMs of ordinary size.
const TIMED: &str = "w3.zstdio";
/// The compressions at which files are compared.
const COMPARED: [&str; 4] = ["w.ufdio", TIMED, "w6.xzdio", "w9.gzdio"];

/// What to pack.
#[derive(Clone, Debug, Args)]
pub(crate) struct PackArguments {
    /// A checkout of the Azure Linux 3.0 tree
    #[arg(long, value_name = "DIR", env = "AZURE_TREE")]
    azure_tree: Option<PathBuf>,
    /// How often each is measured
    #[arg(long, value_name = "NUMBER", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Size of the large source in MiB
    #[arg(long, value_name = "NUMBER", default_value_t = 512)]
    large: u64,
}

/// Runs the benchmark.
pub(crate) fn run(
    place: &Place,
    arguments: &PackArguments,
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    let selection = Selection { number: None, unique_names: true, names: &[] };
    let prepared = prepare(place, arguments.azure_tree.as_deref(), selection, reporter)?;
    let local = local_specs(&prepared)?;
    note(reporter, format!("{} specs have all their sources in the tree", local.len()));
    let mut metrics = BTreeMap::new();
    let mut text = String::new();
    let ours = with_engine(&prepared.worker.manifest, &prepared.worker.layers, |engine| {
        measure_ours(place, &prepared, &local, arguments.runs, engine, reporter)
    })?;
    note(reporter, "rpmbuild in the worker's root".to_owned());
    let peers = peer::measure(place, &prepared, &local, arguments.runs)?;
    let cpu = Metric::of("ms CPU", &ours.milliseconds).map(|metric| metric.beside(&peers).at_most(2.0));
    metrics.extend(cpu.map(|metric| ("one_srpm_median".to_owned(), metric)));
    let mean = Metric::of("ms CPU", &[ours.mean]).map(|metric| metric.beside(&[mean_of(&peers)]));
    metrics.extend(mean.map(|metric| ("one_of_all_at_once_mean".to_owned(), metric)));
    for payload in COMPARED {
        let differences = compare(place, payload, &local)?;
        let metric = Metric::of("specs", &[differences.len() as f64]);
        // Nothing but the compression library may make a difference.
        let metric = if payload == "w.ufdio" { metric.map(|metric| metric.at_most(0.0)) } else { metric };
        metrics.extend(metric.map(|metric| (format!("different_bytes_{payload}"), metric)));
        for difference in differences {
            text.push_str(&format!("{payload}: {difference}\n"));
        }
    }
    metrics.extend(large::measure(place, &prepared, arguments.large, arguments.runs.min(3), reporter)?);
    note(reporter, "all signature files".to_owned());
    text.push_str(&signatures::check(place, &prepared, arguments.azure_tree.as_deref())?);
    let shown: Vec<(String, &Metric)> =
        metrics.iter().map(|(name, metric)| (name.replace('_', " "), metric)).collect();
    let table = table(&shown);
    let figures = Figures { metrics, runs: arguments.runs, machine: Machine::here() };
    figures.write(&place.figures)?;
    let text = format!(
        "{table}{text}{} specs; the peer is rpmbuild -bs in the worker's root; zstd here {}; medians of {} runs; {}\n\
         written to {}",
        local.len(),
        rpm_writer::zstd_version(),
        arguments.runs,
        figures.machine.line(),
        place.figures.display()
    );
    Ok(Conclusion { status: ExitStatus::Done, text })
}

/// Returns the specs all of whose sources and patches lie beside them.
fn local_specs(prepared: &Prepared) -> Result<Vec<SpecInput>, BenchError> {
    let all = prepared.specs.iter().zip(read_all(prepared)?);
    let local = all.filter(|(spec, data)| {
        data.builds_on(azure::ARCH)
            && data.sources.iter().all(|source| spec.source_dir.join(&source.file).is_file())
    });
    Ok(local.map(|(spec, _)| spec.clone()).collect())
}

/// What ours cost.
struct Ours {
    /// The median of each spec: from verified files and the remembered reading to the renamed SRPM and its record.
    milliseconds: Vec<f64>,
    /// All packed at once, divided by their number; reading, hashing and all else that the library does is in it.
    mean: f64,
}

fn measure_ours(
    place: &Place,
    prepared: &Prepared,
    local: &[SpecInput],
    runs: u32,
    engine: &dyn SpecEngine,
    reporter: &dyn Reporter,
) -> Result<Ours, BenchError> {
    let store = SourceStore::open(&place.scratch.join("sources"))?;
    let release = ReleaseMacros::read([prepared.release_macros.as_path()])?;
    let packer = Packer { place, store: &store, engine, release: &release };
    for payload in COMPARED {
        note(reporter, format!("ours at {payload}"));
        // The first time reads; what is compared is this one's output.
        packer.pack(local, payload)?;
    }
    note(reporter, format!("ours, {runs} times each"));
    let mut milliseconds = Vec::new();
    for spec in local {
        let one = std::slice::from_ref(spec);
        let costs = (0..runs).map(|_| packer.cpu(one).map(|cost| cost.packing));
        let costs = costs.collect::<Result<Vec<_>, _>>()?;
        milliseconds.extend(Metric::of("ms CPU", &costs).map(|metric| metric.value));
    }
    let all = (0..runs).map(|_| packer.cpu(local).map(|cost| cost.all)).collect::<Result<Vec<_>, _>>()?;
    let all = Metric::of("ms CPU", &all).map(|metric| metric.value).unwrap_or_default();
    Ok(Ours { milliseconds, mean: all / local.len().max(1) as f64 })
}

/// Processor time in milliseconds.
struct PackCost {
    /// Of the packing alone.
    packing: f64,
    /// Of everything.
    all: f64,
}

/// Reads the clock when the packing begins and when it ends.
#[derive(Default)]
struct StageClock {
    packing: Mutex<Vec<Duration>>,
}

impl Reporter for StageClock {
    fn event(&self, event: &Event) {
        if let Event::StageStarted { stage: Stage::Pack, .. }
        | Event::StageFinished { stage: Stage::Pack, .. } = event
        {
            // A clock that cannot be read leaves a gap, which is an error later.
            let mut packing = self.packing.lock().unwrap_or_else(PoisonError::into_inner);
            packing.extend(measure::cpu_of_this_process());
        }
    }
}

struct Packer<'a> {
    place: &'a Place,
    store: &'a SourceStore,
    engine: &'a dyn SpecEngine,
    release: &'a ReleaseMacros,
}

impl Packer<'_> {
    /// Returns what packing again costs.
    fn cpu(&self, specs: &[SpecInput]) -> Result<PackCost, BenchError> {
        let clock = StageClock::default();
        let ((), cost) = measure::of_this_process(|| self.pack_telling(specs, TIMED, &clock))?;
        let packing = clock.packing.into_inner().unwrap_or_else(PoisonError::into_inner);
        let [start, end] = packing.as_slice() else {
            return Err(BenchError::NotNative { spec: "all".to_owned(), outcome: "no packing".to_owned() });
        };
        Ok(PackCost {
            packing: end.saturating_sub(*start).as_secs_f64() * 1e3,
            all: cost.cpu.as_secs_f64() * 1e3,
        })
    }

    fn pack(&self, specs: &[SpecInput], payload: &str) -> Result<(), BenchError> {
        self.pack_telling(specs, payload, &QuietReporter)
    }

    /// Packs specs; each must be written natively.
    fn pack_telling(
        &self,
        specs: &[SpecInput],
        payload: &str,
        reporter: &dyn Reporter,
    ) -> Result<(), BenchError> {
        let mut read = azure::options(self.release.clone());
        read.defines.insert("_source_payload".to_owned(), payload.to_owned());
        read.source_headers = true;
        let options = PackOptions {
            engine: self.engine,
            read,
            run_check: false,
            output: ours_directory(self.place, payload),
            build: self.place.scratch.join("build"),
            store: self.store,
            signatures: SignatureMode::Skip,
            offline: true,
            remote: RemotePlaces {
                servers: Vec::new(),
                debian: None,
                upstream: false,
                download: DownloadOptions::standard(1),
            },
            concurrent_downloads: 1,
            workers: 1,
            repack: true,
            reporter,
        };
        let discovery =
            Discovery { specs: specs.to_vec(), shadowed: Vec::new(), complete: false, listings: Vec::new() };
        let report = pack(&discovery, &options)?;
        for spec in &report.specs {
            match &spec.outcome {
                SpecOutcome::Packed { writer: SrpmWriter::Native, .. } => {}
                outcome => {
                    let outcome = format!("{outcome:?}");
                    return Err(BenchError::NotNative { spec: spec.spec.clone(), outcome });
                }
            }
        }
        Ok(())
    }
}

fn ours_directory(place: &Place, payload: &str) -> PathBuf {
    place.scratch.join("ours").join(payload)
}

fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Compares the files of both at one compression; returns a line for each that is not the same.
fn compare(place: &Place, payload: &str, local: &[SpecInput]) -> Result<Vec<String>, BenchError> {
    let (ours, peers) = (ours_directory(place, payload), peer::output_directory(place, payload));
    let names = file_names(&ours)?;
    let peer_names = file_names(&peers)?;
    if names != peer_names || names.len() != local.len() {
        return Err(BenchError::DifferentWork { package: payload.to_owned(), ours: names, peer: peer_names });
    }
    let mut differences = Vec::new();
    for name in names {
        let read = |directory: &Path| {
            let path = directory.join(&name);
            fs::read(&path).map_err(BenchError::io("read", &path))
        };
        let (ours, peers) = (read(&ours)?, read(&peers)?);
        if ours != peers {
            let (size, peer_size) = (ours.len(), peers.len());
            differences.push(format!("{name} differs: {size} bytes, the peer's {peer_size}"));
        }
    }
    Ok(differences)
}

/// Lists the names of the files of a directory, sorted.
fn file_names(directory: &Path) -> Result<Vec<String>, BenchError> {
    let files = crate::tree::files_below(directory)?;
    Ok(files.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
}
