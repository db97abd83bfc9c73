//! `noop`: what it costs to find that nothing changed, by the programs that people run.
//!
//! `specreader`, `srpmpacker` and `millwright build` over the Azure Linux tree, each once to do the work, then again and
//! again with nothing to do: wall and processor time, and the processes that were started; and what deciding itself
//! takes ([`crate::decision`]). That everything was built is made up ([`crate::history`]). Most of the tree's sources
//! are not in it; files of a line stand in for them, which are hashed and packed like any other (`--signature-handling=skip`).
//!
//! What it is not: it has no peer beside it. Azure's tools start three and six `rpmspec` per spec to find the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use report::Reporter;

use crate::azure::{ARCH, DIST_TAG};
use crate::decision::decide;
use crate::error::BenchError;
use crate::figures::{Figures, Metric};
use crate::history::History;
use crate::machine::Machine;
use crate::measure::{self, Cost};
use crate::specs::{Prepared, Selection, prepare, read_all, watch};
use crate::{Conclusion, Place, note};

/// The programs, and the most wall seconds that each may take.
const PROGRAMS: [(&str, f64); 2] = [("specreader", 0.1), ("srpmpacker", 0.5)];

/// The most wall seconds that a build may take which has forgotten that there is nothing to do.
const DECIDED_ANEW: f64 = 1.5;

/// What to read and pack.
#[derive(Clone, Debug, Args)]
pub(crate) struct NoopArguments {
    /// A checkout of the Azure Linux 3.0 tree
    #[arg(long, value_name = "DIR", env = "AZURE_TREE")]
    azure_tree: Option<PathBuf>,
    /// Only so many specs, spread over the tree
    #[arg(long, value_name = "NUMBER")]
    sample: Option<usize>,
    /// How often each is measured
    #[arg(long, value_name = "NUMBER", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Runs the benchmark.
pub(crate) fn run(
    place: &Place,
    arguments: &NoopArguments,
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    let selection = Selection { names: &[], number: arguments.sample, unique_names: true };
    let prepared = prepare(place, arguments.azure_tree.as_deref(), selection, reporter)?;
    let made = stand_in(&prepared)?;
    note(reporter, format!("{made} sources that the tree lacks have a line in their place"));
    let macros = macro_file(place, &prepared)?;
    let mut metrics = BTreeMap::new();
    for (program, goal) in PROGRAMS {
        let command = || command(program, place, &prepared, &macros);
        note(reporter, format!("{program}: the work itself"));
        let log = place.scratch.join(format!("{program}.log"));
        let first = measure::run(&mut command(), &log)?;
        note(reporter, format!("{program}: nothing to do, {} times", arguments.runs));
        let costs: Vec<Cost> =
            (0..arguments.runs).map(|_| measure::run(&mut command(), &log)).collect::<Result<_, _>>()?;
        let processes = watch::started_processes(&command(), &place.scratch)?;
        metrics.extend(rows(program, goal, first, &costs, processes));
    }
    let history = History::make(place, &prepared, &macros)?;
    let (goals, packages) = (history.goals.len(), history.packages);
    note(
        reporter,
        format!(
            "millwright build: {goals} specs and {packages} packages recorded, {} MB of records",
            history.record_bytes / 1_000_000
        ),
    );
    metrics.extend(build_rows(place, &history, arguments.runs)?);
    let decided = decide(&history.tree, &history.goals, arguments.runs)?;
    let (specs, triggers, libraries) = (decided.specs, decided.triggers, decided.libraries);
    note(reporter, format!("decided for {specs} specs with {triggers} triggers and {libraries} libraries"));
    let decision = Metric::of("s", &decided.seconds).map(|metric| metric.at_most(0.5));
    metrics.extend(decision.map(|metric| ("decision_wall".to_owned(), metric)));
    let of = format!("{} specs; ", prepared.specs.len());
    Figures { metrics, runs: arguments.runs, machine: Machine::here() }.conclude(place, &of)
}

/// Measures builds with nothing to do.
fn build_rows(
    place: &Place,
    history: &History,
    runs: u32,
) -> Result<impl Iterator<Item = (String, Metric)> + use<>, BenchError> {
    let command = || {
        let mut command = history.tree.command("millwright", &["build", "--quiet"]);
        command.args(&history.goals);
        command
    };
    let log = place.scratch.join("build.log");
    let run = || measure::run(&mut command(), &log);
    // The first publishes the metadata, the second remembers.
    let first = run()?;
    run()?;
    let memory = history.tree.path("build/cache/index/nothing-to-do");
    let decided = (0..runs.div_ceil(3))
        .map(|_| {
            fs::remove_file(&memory).map_err(BenchError::io("remove", &memory))?;
            run()
        })
        .collect::<Result<Vec<Cost>, BenchError>>()?;
    let costs: Vec<Cost> = (0..runs).map(|_| run()).collect::<Result<_, _>>()?;
    let processes = watch::started_processes(&command(), &place.scratch)?;
    let decided: Vec<f64> = decided.iter().map(|cost| cost.wall.as_secs_f64()).collect();
    let decided = Metric::of("s", &decided).map(|metric| metric.at_most(DECIDED_ANEW));
    let decided = decided.map(|metric| ("build_decided_anew_wall".to_owned(), metric));
    Ok(rows("build", 0.5, first, &costs, processes).chain(decided))
}

fn rows(
    program: &str,
    goal: f64,
    first: Cost,
    costs: &[Cost],
    processes: usize,
) -> impl Iterator<Item = (String, Metric)> + use<> {
    let values = |value: fn(&Cost) -> f64| costs.iter().map(value).collect::<Vec<_>>();
    let wall = values(|cost| cost.wall.as_secs_f64());
    let cpu = values(|cost| cost.cpu.as_secs_f64());
    let rows = [
        ("wall", Metric::of("s", &wall).map(|metric| metric.at_most(goal))),
        ("cpu", Metric::of("s", &cpu)),
        ("processes", Metric::of("started", &[processes as f64]).map(|metric| metric.at_most(0.0))),
        ("the_work_itself_wall", Metric::of("s", &[first.wall.as_secs_f64()])),
    ];
    let program = program.to_owned();
    let named = rows.map(|(name, metric)| (format!("{program}_{name}"), metric));
    named.into_iter().filter_map(|(name, metric)| Some((name, metric?)))
}

/// Writes a line in place of each source that is not in the tree, and returns how many there were.
fn stand_in(prepared: &Prepared) -> Result<usize, BenchError> {
    let mut made = 0;
    for (spec, data) in prepared.specs.iter().zip(read_all(prepared)?) {
        for source in &data.sources {
            let path = spec.source_dir.join(&source.file);
            if !path.exists() {
                fs::write(&path, format!("{}\n", source.file)).map_err(BenchError::io("write", &path))?;
                made += 1;
            }
        }
    }
    Ok(made)
}

/// Returns the release macros together with the definition that the toolkit's tools add themselves.
pub(crate) fn macro_file(place: &Place, prepared: &Prepared) -> Result<PathBuf, BenchError> {
    let from = &prepared.release_macros;
    let text = fs::read_to_string(from).map_err(BenchError::io("read", from))?;
    let path = place.scratch.join("macros");
    fs::write(&path, format!("%azl 3\n{text}")).map_err(BenchError::io("write", &path))?;
    Ok(path)
}

/// Returns a program's command as the make front starts it.
fn command(program: &str, place: &Place, prepared: &Prepared, macros: &Path) -> Command {
    let scratch = |name: &str| place.scratch.join(name).display().to_string();
    let mut command = Command::new(place.programs.join(program));
    command.arg(format!("--worker-tar={}", prepared.worker.path.display()));
    command.arg(format!("--layers={}", prepared.worker.layers.display()));
    command.arg(format!("--versions-macro-file={}", macros.display()));
    command.args([format!("--dist-tag={DIST_TAG}"), format!("--build-dir={}", scratch("build"))]);
    command.arg("--quiet");
    let tree = prepared.tree.root();
    if program == "specreader" {
        command.arg(format!("--dir={}", tree.display())).arg(format!("--target-arch={ARCH}"));
        command.arg(format!("--output={}", scratch("specs.json")));
        for option in ["--srpm-dir", "--rpm-dir", "--toolchain-rpms-dir"] {
            command.arg(format!("{option}={}", scratch("none")));
        }
    } else {
        command.arg(format!("--dir={}", tree.display())).arg(format!("--arch={ARCH}"));
        command.arg(format!("--output-dir={}", scratch("srpms")));
        command.args(["--signature-handling=skip", "--offline"]);
    }
    command
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn figures_are_named_by_program() {
        let cost = |milliseconds| Cost {
            wall: Duration::from_millis(milliseconds),
            cpu: Duration::from_millis(2 * milliseconds),
        };
        let rows: BTreeMap<String, Metric> =
            rows("specreader", 0.1, cost(5000), &[cost(90), cost(300), cost(80)], 1).collect();
        assert_eq!(rows["specreader_wall"].met, Some(true));
        assert_eq!(rows["specreader_cpu"].value, 0.18);
        assert_eq!(rows["specreader_processes"].met, Some(false));
    }
}
