//! `specs`: reading a whole distribution, beside `rpmspec`.
//!
//! Ours is [`reading`], a process that reads every spec of the tree through the cache: with nothing remembered,
//! with one spec changed, with nothing changed. The peers are one `rpmspec` per spec with one combined query, and
//! the six that Azure's specreader starts per spec, in the root of the same worker ([`peer`]).
//! `--verify` compares instead of measuring ([`verify`]).

pub(crate) mod peer;
pub(crate) mod reading;
mod verify;
pub(crate) mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use buildroot::Sandbox;
use clap::Args;
use report::{Event, ExitStatus, Reporter};
use rpm_model::SpecData;
use specreader::{EngineNote, ReleaseMacros, SpecInput};

use crate::azure::{self, AzureTree, worker::AzureWorker};
use crate::error::BenchError;
use crate::figures::{Figures, Metric, table};
use crate::machine::Machine;
use crate::measure::{self, Cost};
use crate::tree::{self, With};
use crate::{Conclusion, Place, note};
use peer::{AZURE, COMBINED, Peer};
use reading::{ReadArguments, Summary, with_engine};

/// Processor seconds for a cold read.
const COLD_CPU: f64 = 8.0;
/// Wall seconds for a cold read.
const COLD_WALL: f64 = 5.0;
/// How many times less processor time than one combined query per spec.
const TIMES_LESS_THAN_ONE: f64 = 12.0;
/// How many times less than Azure's six.
const TIMES_LESS_THAN_SIX: f64 = 80.0;
/// Wall seconds when one spec changed, and when none did.
const ONE_CHANGED: f64 = 0.2;
const UNCHANGED: f64 = 0.1;
/// MiB.
const MEMORY: f64 = 300.0;
/// Of how many specs Azure's passes are measured unless all are asked for: one in so many.
const SAMPLED: usize = 10;

/// What to read, and what to do with it.
#[derive(Clone, Debug, Args)]
pub(crate) struct SpecsArguments {
    /// A checkout of the Azure Linux 3.0 tree
    #[arg(long, value_name = "DIR", env = "AZURE_TREE")]
    azure_tree: Option<PathBuf>,
    /// Only these specs [default: all]
    names: Vec<String>,
    /// Only so many specs, spread over the tree
    #[arg(long, value_name = "NUMBER", conflicts_with = "names")]
    sample: Option<usize>,
    /// How often ours is measured
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Measure Azure's six passes over all specs, not over every tenth
    #[arg(long)]
    full: bool,
    /// Compare every fact of every spec with what rpmspec prints; measure nothing
    #[arg(long)]
    verify: bool,
    /// Order of the second reading of --verify [default: random, and told]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// Everything that reading the tree takes.
pub(crate) struct Prepared {
    pub(crate) tree: AzureTree,
    pub(crate) specs: Vec<SpecInput>,
    pub(crate) worker: AzureWorker,
    /// The file of release macros.
    pub(crate) release_macros: PathBuf,
}

/// Which specs of the tree are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection<'a> {
    /// Only those of these names; all where there are none.
    pub(crate) names: &'a [String],
    /// Only so many, spread over the tree.
    pub(crate) number: Option<usize>,
    /// Of two of one name only the first.
    pub(crate) unique_names: bool,
}

/// Runs the benchmark.
pub(crate) fn run(
    place: &Place,
    arguments: &SpecsArguments,
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    let selection = Selection { names: &arguments.names, number: arguments.sample, unique_names: false };
    let prepared = prepare(place, arguments.azure_tree.as_deref(), selection, reporter)?;
    let sandbox = Sandbox::discover()?;
    let peer = Peer {
        sandbox: &sandbox,
        lowers: &prepared.worker.lowers,
        tree: &prepared.tree,
        release_macros: &prepared.release_macros,
        scratch: &place.scratch,
    };
    if arguments.verify {
        return verify::run(&prepared, &peer, arguments.seed, reporter);
    }
    let ours = measure_ours(place, &prepared, arguments.runs, reporter)?;
    let peers = measure_peers(&prepared.specs, &peer, arguments.full, reporter)?;
    conclude(place, arguments.runs, prepared.specs.len(), &ours, &peers)
}

/// Copies the tree, makes the worker and the release macros.
pub(crate) fn prepare(
    place: &Place,
    azure_tree: Option<&Path>,
    selection: Selection<'_>,
    reporter: &dyn Reporter,
) -> Result<Prepared, BenchError> {
    let original = AzureTree::open(azure_tree)?;
    tree::prepare(place, With::Toolchain)?;
    let mut specs = azure::sample(original.specs()?, selection.number);
    let mut names = BTreeSet::new();
    specs.retain(|spec| names.insert(spec.name.clone()) || !selection.unique_names);
    if let Some(unknown) = selection.names.iter().find(|name| !names.contains(*name)) {
        return Err(BenchError::UnknownSpec { name: unknown.clone() });
    }
    specs.retain(|spec| selection.names.is_empty() || selection.names.contains(&spec.name));
    note(reporter, format!("copying {} specs and what lies beside them", specs.len()));
    let tree = original.copy(&specs, &place.scratch.join("tree"))?;
    let specs = tree.specs()?;
    note(reporter, "making the worker with Azure's macros".to_owned());
    let worker = AzureWorker::make(place, &original, &place.scratch.join("worker"))?;
    note(reporter, "reading all specs once for the release macros".to_owned());
    let release_macros = place.scratch.join("macros.releaseversions");
    let text = release_text(&worker, &specs, reporter)?;
    fs::write(&release_macros, &text).map_err(BenchError::io("write", &release_macros))?;
    let packages = worker.manifest.core.packages().len();
    note(reporter, format!("{packages} packages in the worker, {} release macros", text.lines().count()));
    Ok(Prepared { tree, specs, worker, release_macros })
}

/// Returns the release macros of the specs, which are read for that without any.
fn release_text(
    worker: &AzureWorker,
    specs: &[SpecInput],
    reporter: &dyn Reporter,
) -> Result<String, BenchError> {
    let (data, notes) = read(worker, specs, ReleaseMacros::default())?;
    // The same worker is used for everything else, so whether the engine works as it should is told once.
    for note in notes {
        reporter.event(&Event::Warning { message: note.to_string() });
    }
    azure::release::text(specs.iter().zip(&data))
}

/// Reads all specs, past any cache.
pub(crate) fn read_all(prepared: &Prepared) -> Result<Vec<SpecData>, BenchError> {
    let macros = ReleaseMacros::read([prepared.release_macros.as_path()])?;
    read(&prepared.worker, &prepared.specs, macros).map(|(data, _)| data)
}

fn read(
    worker: &AzureWorker,
    specs: &[SpecInput],
    macros: ReleaseMacros,
) -> Result<(Vec<SpecData>, Vec<EngineNote>), BenchError> {
    let options = azure::options(macros);
    let (results, notes) = with_engine(&worker.manifest, &worker.layers, |engine| {
        let results = engine.read(specs, &options)?;
        Ok((results, engine.notes()))
    })?;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(parsed) => good.push(parsed.data),
            Err(failure) => bad.push(failure.to_string()),
        }
    }
    refuse(&bad, specs.len())?;
    Ok((good, notes))
}

/// Every spec of the tree can be read; what comes from fewer would be no figure.
fn refuse(bad: &[String], all: usize) -> Result<(), BenchError> {
    if bad.is_empty() {
        return Ok(());
    }
    Err(BenchError::BadSpecs { count: bad.len(), all, list: bad.join("\n") })
}

/// What was measured of ours.
struct Ours {
    cold: Vec<Cost>,
    /// Of each cold read, the processor seconds of the reading process without the helpers that parse.
    own_cpu: Vec<f64>,
    one_changed: Vec<Cost>,
    unchanged: Vec<Cost>,
    /// Processes that were started when nothing was changed.
    processes: usize,
    /// MiB, of a cold read.
    memory: f64,
}

fn measure_ours(
    place: &Place,
    prepared: &Prepared,
    runs: u32,
    reporter: &dyn Reporter,
) -> Result<Ours, BenchError> {
    let cache = |name: String| place.scratch.join("caches").join(name);
    let reader = Reader { place, prepared };
    let all = prepared.specs.len();
    note(reporter, format!("ours, nothing remembered: {runs} times"));
    let cold = (0..runs)
        .map(|run| reader.measure(&cache(format!("cold-{run}")), 0))
        .collect::<Result<Vec<_>, _>>()?;
    let (cold, own_cpu) = cold.into_iter().unzip();
    note(reporter, "ours, nothing remembered: its memory".to_owned());
    let memory = watch::peak_memory(&mut reader.command(&cache("memory".to_owned())), &reader.log())?;
    let warm = cache("cold-0".to_owned());
    note(reporter, "ours, one spec changed".to_owned());
    let mut one_changed = Vec::new();
    for run in 0..runs.max(5) as usize {
        // Specs of all kinds and sizes, spread over the tree.
        let spec = &prepared.specs[(2 * run + 1) * all / (2 * runs.max(5) as usize) % all];
        change(&spec.path)?;
        one_changed.push(reader.measure(&warm, all - 1)?.0);
    }
    note(reporter, "ours, nothing changed".to_owned());
    let unchanged = (0..runs.max(5))
        .map(|_| Ok(reader.measure(&warm, all)?.0))
        .collect::<Result<Vec<_>, BenchError>>()?;
    let processes = watch::started_processes(&reader.command(&warm), &place.scratch)?;
    Ok(Ours { cold, own_cpu, one_changed, unchanged, processes, memory })
}

/// Starts the process that reads.
struct Reader<'a> {
    place: &'a Place,
    prepared: &'a Prepared,
}

impl Reader<'_> {
    fn command(&self, cache: &Path) -> Command {
        let Prepared { tree, worker, release_macros, .. } = self.prepared;
        let arguments = ReadArguments::new(tree, worker, release_macros, cache.to_owned());
        let mut command = Command::new(self.place.programs.join("millwright-bench"));
        command.arg("read").args(arguments.to_options());
        command
    }

    fn log(&self) -> PathBuf {
        self.place.scratch.join("read.log")
    }

    /// Reads all specs, of which so many must have been remembered; returns what it cost, and the processor seconds
    /// of the reading process alone.
    fn measure(&self, cache: &Path, remembered: usize) -> Result<(Cost, f64), BenchError> {
        let log = self.log();
        let cost = measure::run(&mut self.command(cache), &log)?;
        let text = fs::read_to_string(&log).map_err(BenchError::io("read", &log))?;
        let line = text.lines().last().unwrap_or_default();
        let summary: Summary = serde_json::from_str(line).map_err(|source| BenchError::Document {
            what: "summary",
            path: log,
            source,
        })?;
        let all = self.prepared.specs.len();
        refuse(&summary.bad, all)?;
        if !summary.notes.is_empty() {
            return Err(BenchError::EngineFellBack { notes: summary.notes.join("; ") });
        }
        if (summary.good, summary.remembered) == (all, remembered) {
            return Ok((cost, summary.own_cpu));
        }
        Err(BenchError::UnexpectedReading {
            good: summary.good,
            all,
            remembered: summary.remembered,
            expected: remembered,
        })
    }
}

/// Changes a spec's content and nothing that it says.
fn change(spec: &Path) -> Result<(), BenchError> {
    let mut text = fs::read(spec).map_err(BenchError::io("read", spec))?;
    text.push(b'\n');
    fs::write(spec, text).map_err(BenchError::io("write", spec))
}

/// What the peers cost.
struct Peers {
    one: Cost,
    /// Each of Azure's passes.
    six: Vec<(&'static str, Cost)>,
    /// Over how many specs those were measured.
    measured: usize,
}

fn measure_peers(
    specs: &[SpecInput],
    peer: &Peer<'_>,
    full: bool,
    reporter: &dyn Reporter,
) -> Result<Peers, BenchError> {
    let all = specs.len();
    note(reporter, format!("peer: {} of each of {all} specs, two at a time", COMBINED.name));
    let one = peer.pass(&COMBINED, specs)?;
    let number = if full { all } else { all.div_ceil(SAMPLED) };
    let sampled = azure::sample(specs.to_vec(), Some(number));
    let mut six = Vec::new();
    for question in &AZURE {
        note(reporter, format!("peer: Azure's pass for the {} of {number} specs", question.name));
        six.push((question.name, peer.pass(question, &sampled)?));
    }
    Ok(Peers { one, six, measured: number })
}

fn conclude(
    place: &Place,
    runs: u32,
    all: usize,
    ours: &Ours,
    peers: &Peers,
) -> Result<Conclusion, BenchError> {
    let scale = all as f64 / peers.measured as f64;
    let total = |value: fn(&Cost) -> f64| peers.six.iter().map(|(_, cost)| value(cost)).sum::<f64>() * scale;
    let (six_cpu, six_wall) = (total(cpu), total(wall));
    let values = |costs: &[Cost], value: fn(&Cost) -> f64| costs.iter().map(value).collect::<Vec<_>>();
    let cold_cpu = values(&ours.cold, cpu);
    let times = |peer: f64| cold_cpu.iter().map(|ours| peer / ours).collect::<Vec<_>>();
    let row = |key: &str, title: &str, metric: Option<Metric>| {
        metric.map(|metric| (key.to_owned(), title.to_owned(), metric))
    };
    let rows: Vec<(String, String, Metric)> = [
        row(
            "cold_cpu",
            "all, nothing remembered, CPU, beside one query each",
            Metric::of("s", &cold_cpu).map(|metric| metric.beside(&[cpu(&peers.one)]).at_most(COLD_CPU)),
        ),
        row(
            "cold_wall",
            "the same, wall",
            Metric::of("s", &values(&ours.cold, wall))
                .map(|metric| metric.beside(&[wall(&peers.one)]).at_most(COLD_WALL)),
        ),
        row("cold_cpu_own", "of it not in the helpers that parse, CPU", Metric::of("s", &ours.own_cpu)),
        row(
            "cold_cpu_beside_six",
            "the same, CPU, beside Azure's six passes",
            Metric::of("s", &cold_cpu).map(|metric| metric.beside(&[six_cpu])),
        ),
        row(
            "cold_wall_beside_six",
            "the same, wall",
            Metric::of("s", &values(&ours.cold, wall)).map(|metric| metric.beside(&[six_wall])),
        ),
        row(
            "times_less_than_one",
            "CPU: times less than one query each",
            Metric::of("times", &times(cpu(&peers.one))).map(|metric| metric.at_least(TIMES_LESS_THAN_ONE)),
        ),
        row(
            "times_less_than_six",
            "CPU: times less than Azure's six",
            Metric::of("times", &times(six_cpu)).map(|metric| metric.at_least(TIMES_LESS_THAN_SIX)),
        ),
        row(
            "one_changed_wall",
            "one spec changed, wall",
            Metric::of("s", &values(&ours.one_changed, wall)).map(|metric| metric.at_most(ONE_CHANGED)),
        ),
        row("one_changed_cpu", "one spec changed, CPU", Metric::of("s", &values(&ours.one_changed, cpu))),
        row(
            "unchanged_wall",
            "nothing changed, wall",
            Metric::of("s", &values(&ours.unchanged, wall)).map(|metric| metric.at_most(UNCHANGED)),
        ),
        row("unchanged_cpu", "nothing changed, CPU", Metric::of("s", &values(&ours.unchanged, cpu))),
        row(
            "unchanged_processes",
            "nothing changed, processes started",
            Metric::of("", &[ours.processes as f64]).map(|metric| metric.at_most(0.0)),
        ),
        row(
            "memory",
            "all, nothing remembered, most memory",
            Metric::of("MiB", &[ours.memory]).map(|metric| metric.at_most(MEMORY)),
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    let shown: Vec<(String, &Metric)> =
        rows.iter().map(|(_, title, metric)| (title.clone(), metric)).collect();
    let mut text = table(&shown);
    for (name, cost) in &peers.six {
        text.push_str(&format!("Azure's pass for the {name}: {:.1} s CPU of all specs\n", cpu(cost) * scale));
    }
    let metrics: BTreeMap<String, Metric> = rows.into_iter().map(|(key, _, metric)| (key, metric)).collect();
    let figures = Figures { metrics, runs, machine: Machine::here() };
    figures.write(&place.figures)?;
    text.push_str(&format!(
        "{all} specs; Azure's passes measured over {}; medians of {runs} runs; {}\nwritten to {}",
        peers.measured,
        figures.machine.line(),
        place.figures.display()
    ));
    Ok(Conclusion { status: ExitStatus::Done, text })
}

fn cpu(cost: &Cost) -> f64 {
    cost.cpu.as_secs_f64()
}

fn wall(cost: &Cost) -> f64 {
    cost.wall.as_secs_f64()
}
