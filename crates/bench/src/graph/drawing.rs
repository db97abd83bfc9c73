//! One graph, drawn in a process of its own that a measurement can watch: reads `packages.json`, makes the graph and
//! reports all that cannot be built; prints what it cost and what came out as one line of JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use grapher::{DependencyGraph, ExternalPackage, GoalRequest, GraphInput, Style, report_text};
use rpm_model::{PackageOrigin, PackagesDocument};
use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::measure::cpu_of_this_process;

/// Columns of the report, as `millwright plan` sets it where it is not told.
const REPORT_WIDTH: usize = 100;

/// What is drawn.
#[derive(Clone, Debug, Args)]
pub(crate) struct DrawArguments {
    /// The tree's packages.json
    #[arg(long)]
    packages: PathBuf,
    /// File names of the tree's packages that exist already, one a line: the toolchain
    #[arg(long)]
    toolchain: Option<PathBuf>,
    /// The same of those that every build root holds
    #[arg(long)]
    core: Option<PathBuf>,
    /// Count the requirements of %check
    #[arg(long)]
    run_check: bool,
    /// Where a report in words goes
    #[arg(long)]
    report: Option<PathBuf>,
}

/// What it cost and what came out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Drawing {
    /// Seconds to read and decode the document.
    pub(crate) read_wall: f64,
    /// Seconds for the graph with its index of providers.
    pub(crate) graph_wall: f64,
    /// Seconds for the order of all specs and the report.
    pub(crate) report_wall: f64,
    /// Processor seconds of all three.
    pub(crate) cpu: f64,
    /// Most memory resident, in MiB.
    pub(crate) peak_mib: f64,
    /// Numbers that describe the tree and what was found, by name.
    pub(crate) counts: BTreeMap<String, usize>,
}

impl DrawArguments {
    pub(crate) fn new(packages: &Path) -> Self {
        Self { packages: packages.to_owned(), toolchain: None, core: None, run_check: false, report: None }
    }

    /// Returns them with the lists of packages that exist already.
    pub(crate) fn with_toolchain(self, toolchain: &Path, core: Option<&Path>) -> Self {
        Self { toolchain: Some(toolchain.to_owned()), core: core.map(Path::to_owned), ..self }
    }

    /// Returns them without those lists.
    pub(crate) fn without_toolchain(self) -> Self {
        Self { toolchain: None, core: None, ..self }
    }

    /// Returns them with the requirements of `%check`.
    pub(crate) fn with_check(self) -> Self {
        Self { run_check: true, ..self }
    }

    /// Returns them with a place for the report.
    pub(crate) fn with_report(self, report: PathBuf) -> Self {
        Self { report: Some(report), ..self }
    }

    /// Returns them as a command line.
    pub(crate) fn to_options(&self) -> Vec<String> {
        let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut options = vec![option("packages", &self.packages)];
        options.extend(self.toolchain.iter().map(|path| option("toolchain", path)));
        options.extend(self.core.iter().map(|path| option("core", path)));
        options.extend(self.report.iter().map(|path| option("report", path)));
        options.extend(self.run_check.then(|| "--run-check".to_owned()));
        options
    }
}

/// Draws and prints.
pub(crate) fn run(arguments: &DrawArguments) -> Result<(), BenchError> {
    let toolchain = names(arguments.toolchain.as_deref())?;
    let core = names(arguments.core.as_deref())?;
    let cpu = cpu_of_this_process()?;
    let start = Instant::now();
    let document = read(&arguments.packages)?;
    let read_wall = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let external = existing(&document, &toolchain, &core);
    let input = GraphInput {
        document: &document,
        external: &external,
        recorded: &[],
        run_check: arguments.run_check,
    };
    let graph = DependencyGraph::new(&input);
    let graph_wall = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let report = report(&graph);
    let report_wall = start.elapsed().as_secs_f64();
    let cpu = cpu_of_this_process()?.saturating_sub(cpu).as_secs_f64();
    let peak_mib = peak_mib()?;
    if let Some(path) = &arguments.report {
        fs::write(path, &report.text).map_err(BenchError::io("write", path))?;
    }
    let mut counts = report.counts;
    counts.extend(described(&input, &graph));
    let drawing = Drawing { read_wall, graph_wall, report_wall, cpu, peak_mib, counts };
    let output = Path::new("standard output");
    let line =
        serde_json::to_string(&drawing).map_err(|error| BenchError::io("print", output)(error.into()))?;
    writeln!(std::io::stdout(), "{line}").map_err(BenchError::io("write", output))
}

/// Returns the graph.
pub(crate) fn draw(arguments: &DrawArguments) -> Result<DependencyGraph, BenchError> {
    let document = read(&arguments.packages)?;
    let toolchain = names(arguments.toolchain.as_deref())?;
    let core = names(arguments.core.as_deref())?;
    let external = existing(&document, &toolchain, &core);
    let run_check = arguments.run_check;
    Ok(DependencyGraph::new(&GraphInput {
        document: &document,
        external: &external,
        recorded: &[],
        run_check,
    }))
}

fn read(path: &Path) -> Result<PackagesDocument, BenchError> {
    let bytes = fs::read(path).map_err(BenchError::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| BenchError::Document {
        what: "packages.json",
        path: path.to_owned(),
        source,
    })
}

fn names(path: Option<&Path>) -> Result<BTreeSet<String>, BenchError> {
    let Some(path) = path else { return Ok(BTreeSet::new()) };
    let text = fs::read_to_string(path).map_err(BenchError::io("read", path))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// Returns those packages of the tree that exist already, as packages from outside.
///
/// They were built from the same specs; what they provide is what their specs declare.
fn existing<'a>(
    document: &'a PackagesDocument,
    toolchain: &BTreeSet<String>,
    core: &BTreeSet<String>,
) -> Vec<ExternalPackage<'a>> {
    let packages = document.specs.iter().flat_map(|spec| &spec.packages);
    packages
        .map(|package| (package, package.nevra.file_name()))
        .filter(|(_, file)| toolchain.contains(file))
        .map(|(package, file)| ExternalPackage {
            nevra: &package.nevra,
            provides: &package.provides,
            files: &[],
            origin: PackageOrigin::Toolchain,
            in_core: core.contains(&file),
        })
        .collect()
}

struct Report {
    text: String,
    counts: BTreeMap<String, usize>,
}

/// Reports everything that stands in the way of building the whole tree, in words.
fn report(graph: &DependencyGraph) -> Report {
    let goals = graph.select(&GoalRequest::default()).unwrap_or_default();
    let order = graph.order(&goals);
    let found = graph.report_over(&order, &goals);
    let mut text = report_text(&found, &Style { width: REPORT_WIDTH, whole: false });
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for finding in graph.unresolvable() {
        text += &format!("unresolvable: {finding}\n");
    }
    for finding in graph.open() {
        text += &format!("open: {finding}\n");
    }
    let cycles = graph.cycle_report();
    for knot in &cycles.knots {
        text += &format!("knot: {knot}\n");
    }
    for cycle in &cycles.cycles {
        text += &format!("cycle: {cycle}\n");
        *counts.entry(format!("cycles_{:?}", cycle.rule)).or_default() += 1;
    }
    for knot in &cycles.run_time {
        text += &format!("at run time: {knot}\n");
        *counts.entry(format!("run_time_{:?}", knot.rule)).or_default() += 1;
    }
    for pass in &cycles.second_passes {
        text += &format!("second pass: {pass}\n");
    }
    for duplicate in graph.duplicates() {
        text += &format!("{duplicate}\n");
    }
    let specs_of_knots = cycles.knots.iter().map(|knot| knot.specs.len()).sum();
    let only_tests = cycles.cycles.iter().filter(|found| !found.cycle.only_for_tests_of.is_empty()).count();
    for (name, count) in [
        ("knots", cycles.knots.len()),
        ("knots_specs", specs_of_knots),
        ("cycles_only_because_of_tests", only_tests),
        ("second_passes", cycles.second_passes.len()),
        ("duplicates", graph.duplicates().len()),
    ] {
        counts.insert(name.to_owned(), count);
    }
    for step in &order.steps {
        *counts.entry("prerequisites".to_owned()).or_default() += step.needs().len();
        *counts.entry("hindered".to_owned()).or_default() += usize::from(step.is_hindered());
    }
    for (name, count) in [
        ("blocked", found.blocked),
        ("waiting", found.waiting),
        ("root_causes", found.causes.len()),
        ("levels", order.levels().len()),
    ] {
        counts.insert(name.to_owned(), count);
    }
    Report { text, counts }
}

/// Returns how large the tree and its graph are.
fn described(input: &GraphInput<'_>, graph: &DependencyGraph) -> Vec<(String, usize)> {
    let specs = &input.document.specs;
    let packages = || specs.iter().flat_map(|spec| &spec.packages);
    let requirements = specs.iter().map(|spec| spec.requirements(input.run_check).len()).sum::<usize>()
        + packages().map(|package| package.requires.len()).sum::<usize>();
    [
        ("specs", specs.len()),
        ("packages", packages().count()),
        ("requirements", requirements),
        ("external", input.external.len()),
        ("nodes", graph.graph().node_count()),
        ("edges", graph.graph().edge_count()),
        ("unresolvable", graph.unresolvable().len()),
        ("open", graph.open().len()),
        ("cycles", graph.cycles().len()),
        ("breaks", graph.breaks().len()),
    ]
    .map(|(name, count)| (name.to_owned(), count))
    .to_vec()
}

/// Returns the most memory that this process had resident so far.
pub(crate) fn peak_mib() -> Result<f64, BenchError> {
    let path = Path::new("/proc/self/status");
    let text = fs::read_to_string(path).map_err(BenchError::io("read", path))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    Ok(kib.unwrap_or_default() / 1024.0)
}
