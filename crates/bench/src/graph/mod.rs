//! `graph`: the graph of a whole distribution, with everything that cannot be built, and how the cost grows.
//!
//! The Azure Linux tree from its `packages.json`, without its toolchain, with it, and with tests; made-up trees of
//! growing size ([`synthetic`]). Each is drawn by a process of its own ([`drawing`]), so that its memory can be told.
//!
//! What it is not: it has no peer beside it. No command resolves a tree of specs without repositories; Azure's
//! grapher needs its toolkit's whole set-up and resolves against what lies in the output directory.

pub(crate) mod drawing;
mod synthetic;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use report::Reporter;
use rpm_model::PackagesDocument;

use self::drawing::{DrawArguments, Drawing};
use crate::azure;
use crate::error::BenchError;
use crate::figures::{Figures, Metric};
use crate::machine::Machine;
use crate::measure;
use crate::{Conclusion, Place, note};

/// The made-up trees' sizes, in specs.
const SIZES: [usize; 4] = [1_000, 3_000, 10_000, 30_000];
/// The size that goals are set for.
const GOAL_SIZE: usize = 30_000;
/// The most wall seconds for the Azure tree, from `packages.json` to the end of the report.
const AZURE_GOAL: f64 = 1.0;
/// The most wall seconds and MiB for the largest made-up tree.
const SYNTHETIC_GOAL: (f64, f64) = (3.0, 600.0);
/// Lists of the Azure tree: its toolchain's packages, and those of them that every build root holds.
const MANIFESTS: [&str; 2] = [
    "toolkit/resources/manifests/package/toolchain_x86_64.txt",
    "toolkit/resources/manifests/package/pkggen_core_x86_64.txt",
];

/// What to draw.
#[derive(Clone, Debug, Args)]
pub(crate) struct GraphArguments {
    /// A checkout of the Azure Linux 3.0 tree
    #[arg(long, value_name = "DIR", env = "AZURE_TREE")]
    azure_tree: Option<PathBuf>,
    /// What `azure-packages` wrote, so that the tree's specs need not be read again
    #[arg(long, value_name = "FILE")]
    packages: Option<PathBuf>,
    /// Only the made-up trees
    #[arg(long)]
    without_azure: bool,
    /// Only the made-up trees of these sizes, in specs [default: 1000 3000 10000 30000]
    #[arg(long, value_name = "NUMBER")]
    sizes: Vec<usize>,
    /// How often each is measured
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Runs the benchmark.
pub(crate) fn run(
    place: &Place,
    arguments: &GraphArguments,
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    let mut metrics = BTreeMap::new();
    let mut counted: Vec<(String, Drawing)> = Vec::new();
    if !arguments.without_azure {
        for (name, draw) in azure_trees(place, arguments, reporter)? {
            note(reporter, format!("{name}: {} times", arguments.runs));
            let drawings = draw_often(place, &draw, arguments.runs)?;
            metrics.extend(rows(&name, &drawings, Some((AZURE_GOAL, None))));
            counted.extend(drawings.into_iter().next().map(|drawing| (name, drawing)));
        }
    }
    let sizes = if arguments.sizes.is_empty() { SIZES.to_vec() } else { arguments.sizes.clone() };
    for size in sizes {
        let name = format!("{size:05}_specs");
        note(reporter, format!("{name}: {} times", arguments.runs));
        let draw = synthetic_tree(place, size)?;
        let drawings = draw_often(place, &draw, arguments.runs)?;
        let goal = (size == GOAL_SIZE).then_some((SYNTHETIC_GOAL.0, Some(SYNTHETIC_GOAL.1)));
        metrics.extend(rows(&name, &drawings, goal));
        counted.extend(drawings.into_iter().next().map(|drawing| (name, drawing)));
    }
    let of = format!("\n{}\n", counts(&counted));
    Figures { metrics, runs: arguments.runs, machine: Machine::here() }.conclude(place, &of)
}

/// Returns the Azure tree as it is drawn, by name.
fn azure_trees(
    place: &Place,
    arguments: &GraphArguments,
    reporter: &dyn Reporter,
) -> Result<Vec<(String, DrawArguments)>, BenchError> {
    let (tree, packages) = (arguments.azure_tree.as_deref(), arguments.packages.as_deref());
    let complete = with_toolchain(place, tree, packages, reporter)?;
    let plain = complete.clone().without_toolchain();
    let report = |name: &str| place.figures.with_file_name(format!("graph-{name}.txt"));
    Ok(vec![
        ("azure".to_owned(), plain.with_report(report("azure"))),
        ("azure_with_toolchain".to_owned(), complete.clone().with_report(report("azure-with-toolchain"))),
        (
            "azure_with_toolchain_and_check".to_owned(),
            complete.with_check().with_report(report("azure-with-toolchain-and-check")),
        ),
    ])
}

/// Returns the Azure tree with its toolchain, from a checkout and from its `packages.json`, which is made where there is
/// none.
pub(crate) fn with_toolchain(
    place: &Place,
    tree: Option<&Path>,
    packages: Option<&Path>,
    reporter: &dyn Reporter,
) -> Result<DrawArguments, BenchError> {
    let tree = azure::AzureTree::open(tree)?;
    let packages = match packages {
        Some(file) => file.to_owned(),
        None => {
            let document = azure::packages::document(place, Some(tree.root()), reporter)?;
            write_document(&document, &place.scratch.join("azure.json"))?
        }
    };
    let [toolchain, core] = MANIFESTS.map(|manifest| tree.file(manifest));
    Ok(DrawArguments::new(&packages).with_toolchain(&toolchain, Some(&core)))
}

/// Writes a made-up tree and its toolchain's list.
fn synthetic_tree(place: &Place, size: usize) -> Result<DrawArguments, BenchError> {
    let tree = synthetic::tree(size);
    let packages = write_document(&tree.document, &place.scratch.join(format!("{size}.json")))?;
    let list = place.scratch.join(format!("{size}.toolchain"));
    fs::write(&list, tree.toolchain.join("\n")).map_err(BenchError::io("write", &list))?;
    Ok(DrawArguments::new(&packages).with_toolchain(&list, None))
}

fn write_document(document: &PackagesDocument, path: &Path) -> Result<PathBuf, BenchError> {
    let file = File::create(path).map_err(BenchError::io("create", path))?;
    serde_json::to_writer(BufWriter::new(file), document)
        .map_err(|error| BenchError::io("write", path)(error.into()))?;
    Ok(path.to_owned())
}

/// Has a graph drawn by a new process each time.
fn draw_often(place: &Place, draw: &DrawArguments, runs: u32) -> Result<Vec<Drawing>, BenchError> {
    let output = place.scratch.join("drawing.json");
    (0..runs)
        .map(|_| {
            let mut command = Command::new(place.programs.join("millwright-bench"));
            measure::run(command.arg("draw").args(draw.to_options()), &output)?;
            let text = fs::read(&output).map_err(BenchError::io("read", &output))?;
            serde_json::from_slice(&text).map_err(|source| BenchError::Document {
                what: "drawing",
                path: output.clone(),
                source,
            })
        })
        .collect()
}

/// Returns the figures of a tree; goals are wall seconds of the whole and MiB.
fn rows(
    name: &str,
    drawings: &[Drawing],
    goal: Option<(f64, Option<f64>)>,
) -> impl Iterator<Item = (String, Metric)> {
    let values = |value: fn(&Drawing) -> f64| drawings.iter().map(value).collect::<Vec<_>>();
    let whole = values(|drawing| drawing.read_wall + drawing.graph_wall + drawing.report_wall);
    let memory = values(|drawing| drawing.peak_mib);
    let limited = |metric: Option<Metric>, goal: Option<f64>| match (metric, goal) {
        (Some(metric), Some(goal)) => Some(metric.at_most(goal)),
        (metric, _) => metric,
    };
    let rows = [
        ("1_wall", limited(Metric::of("s", &whole), goal.map(|(seconds, _)| seconds))),
        ("2_cpu", Metric::of("s", &values(|drawing| drawing.cpu))),
        ("3_of_it_reading", Metric::of("s", &values(|drawing| drawing.read_wall))),
        ("4_of_it_graph", Metric::of("s", &values(|drawing| drawing.graph_wall))),
        ("5_of_it_report", Metric::of("s", &values(|drawing| drawing.report_wall))),
        ("6_peak_memory", limited(Metric::of("MiB", &memory), goal.and_then(|(_, memory)| memory))),
    ];
    let named = rows.map(|(row, metric)| (format!("{name}_{row}"), metric));
    named.into_iter().filter_map(|(name, metric)| Some((name, metric?)))
}

/// Returns what was found in each tree, a line per number.
fn counts(drawings: &[(String, Drawing)]) -> String {
    let names: std::collections::BTreeSet<&String> =
        drawings.iter().flat_map(|(_, drawing)| drawing.counts.keys()).collect();
    let mut text = String::new();
    for name in names {
        let values: Vec<String> = drawings
            .iter()
            .map(|(tree, drawing)| {
                format!("{tree} {}", drawing.counts.get(name).copied().unwrap_or_default())
            })
            .collect();
        text += &format!("{}: {}\n", name.replace('_', " "), values.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_for_the_whole_and_for_memory() {
        let drawing =
            |wall| Drawing { read_wall: 0.1, graph_wall: wall, peak_mib: 500.0, ..Drawing::default() };
        let rows: BTreeMap<String, Metric> =
            rows("x", &[drawing(1.0), drawing(4.0), drawing(2.0)], Some((3.0, Some(400.0)))).collect();
        assert_eq!((rows["x_1_wall"].value, rows["x_1_wall"].met), (2.1, Some(true)));
        assert_eq!(rows["x_6_peak_memory"].met, Some(false));
        assert_eq!(rows["x_4_of_it_graph"].met, None);
    }

    #[test]
    fn a_made_up_tree_is_drawn_as_it_was_meant() {
        let tree = synthetic::tree(1_200);
        let input =
            grapher::GraphInput { document: &tree.document, external: &[], recorded: &[], run_check: false };
        let graph = grapher::DependencyGraph::new(&input);
        // The ring of three specs, and the bootstrap set without its toolchain.
        let among = |cycle: &grapher::BuildCycle, range: std::ops::Range<usize>| {
            cycle.specs.iter().all(|spec| range.clone().any(|index| synthetic::name(index) == *spec))
        };
        assert!(graph.cycles().iter().any(|cycle| cycle.specs.len() == 3 && among(cycle, 997..1000)));
        assert!(graph.cycles().iter().any(|cycle| among(cycle, 0..60)));
        assert!(!graph.unresolvable().is_empty() && !graph.open().is_empty());
    }
}
