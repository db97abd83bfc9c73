//! `grapher`: documents and directories of RPMs in, the graph's files out; the graph is the library's.

mod arguments;
mod read;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;
use grapher::{
    BuildOrder, DependencyGraph, ExternalPackage, GoalRequest, GraphInput, NodeStates, Obstacle,
    RecordedSpec, Style, Surroundings, report_text,
};
use report::{Event, ExitStatus, Failure, Reporter, conclude};
use repository::{IndexedPackage, PackageDirectory};
use rpm_model::{BuildRecord, Nevra, PackageOrigin, WorkerManifest};

fn main() -> ExitCode {
    conclude(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let reporter = report::choose(false, arguments.quiet);
    let question = arguments.question.question(&arguments.names)?;
    for message in arguments.azure.notes() {
        reporter.event(&Event::Note { message });
    }
    let document = read::packages_document(&arguments.input, reporter.as_ref())?;
    let packages = scan_all(arguments, reporter.as_ref())?;
    let records = records(arguments)?;
    let built = built(arguments, reporter.as_ref())?;
    let core = core(arguments)?;
    let external: Vec<ExternalPackage<'_>> = packages
        .iter()
        .map(|package| {
            ExternalPackage::of(&package.header, package.origin, core.contains(&package.header.nevra))
        })
        .collect();
    let mut recorded: Vec<RecordedSpec<'_>> = records.iter().map(RecordedSpec::of).collect();
    recorded.extend(read::recorded_specs(&document, &built));
    let input = GraphInput {
        document: &document,
        external: &external,
        recorded: &recorded,
        run_check: arguments.run_check,
    };
    let graph = DependencyGraph::with_hints(&input, &arguments.question.hints());
    let states = NodeStates::new();
    if arguments.question.asks(question.as_ref()) {
        let format = arguments.question.format(arguments.output.as_ref(), false)?;
        let surroundings = Surroundings {
            states: &states,
            width: arguments.output.is_none().then(report::terminal_columns).flatten(),
            draw_whole: &report::graphviz_svg,
        };
        let (text, status) = arguments.question.answer(&graph, question.as_ref(), format, &surroundings)?;
        match &arguments.output {
            Some(path) => report::write_file(path, text.as_bytes())?,
            None => report::print(&text)?,
        }
        return Ok(status);
    }
    let request = GoalRequest {
        names: arguments.goals.split_whitespace().map(str::to_owned).collect(),
        extra_layers: arguments.extra_layers,
    };
    let goals = graph.select(&request).map_err(|errors| Failure::new(ExitStatus::Usage, errors))?;
    if let Some(output) = &arguments.output {
        write_graph(arguments, output, &graph, &goals)?;
    }
    let order = graph.order(&goals);
    if arguments.report {
        let style = Style { width: report::columns(), whole: false };
        // Who asks for all asks for those too that could not be read.
        let unreadable = document.bad.iter().filter(|_| request.names.is_empty());
        let all = goals.iter().chain(unreadable.map(|bad| &bad.name)).cloned().collect();
        report::print(&report_text(&graph.report_over(&order, &all), &style))?;
    } else if !arguments.quiet {
        report::print(&order_text(&order))?;
    }
    for duplicate in graph.duplicates() {
        reporter.event(&Event::Warning { message: duplicate.to_string() });
    }
    for found in graph.breaks() {
        reporter.event(&Event::Note { message: found.to_string() });
    }
    conclusion(arguments, &graph, &order)
}

/// Reads the packages from outside the tree; damaged files are told and left out.
fn scan_all(arguments: &Arguments, reporter: &dyn Reporter) -> Result<Vec<IndexedPackage>, Failure> {
    let places = [
        (arguments.toolchain_rpms_dir.as_ref(), PackageOrigin::Toolchain, "toolchain"),
        (arguments.base_rpms_dir.as_ref(), PackageOrigin::Base, "base"),
        (arguments.live_rpms_dir.as_ref(), PackageOrigin::Live, "live"),
    ];
    let mut packages = Vec::new();
    for (directory, origin, name) in places {
        packages.extend(scan(directory, origin, name, arguments, reporter)?);
    }
    Ok(packages)
}

fn scan(
    directory: Option<&PathBuf>,
    origin: PackageOrigin,
    name: &str,
    arguments: &Arguments,
    reporter: &dyn Reporter,
) -> Result<Vec<IndexedPackage>, Failure> {
    let Some(directory) = directory else { return Ok(Vec::new()) };
    if !directory.is_dir() {
        let text = format!("{} is not a directory", directory.display());
        return Err(Failure::new(ExitStatus::Usage, text));
    }
    let mut scan = PackageDirectory::new(directory, origin);
    if let Some(cache) = &arguments.cache_dir {
        scan = scan.with_cache(cache.join(name));
    }
    let found = scan.scan().map_err(|error| Failure::new(ExitStatus::Environment, error))?;
    for failure in &found.failures {
        reporter.event(&Event::Warning { message: failure.to_string() });
    }
    Ok(found.packages)
}

/// Reads what was built of the specs; not where records say it better.
fn built(arguments: &Arguments, reporter: &dyn Reporter) -> Result<Vec<IndexedPackage>, Failure> {
    if arguments.rpm_dir.is_some() && arguments.records_dir.is_some() {
        let message = "--rpm-dir: not read, for --records-dir says what was built".to_owned();
        reporter.event(&Event::Note { message });
        return Ok(Vec::new());
    }
    scan(arguments.rpm_dir.as_ref(), PackageOrigin::Tree, "built", arguments, reporter)
}

fn records(arguments: &Arguments) -> Result<Vec<BuildRecord>, Failure> {
    let Some(directory) = &arguments.records_dir else { return Ok(Vec::new()) };
    let environment = |error: io::Error| {
        Failure::new(ExitStatus::Environment, format!("cannot list {}: {error}", directory.display()))
    };
    let mut records = Vec::new();
    for entry in fs::read_dir(directory).map_err(environment)? {
        let path = entry.map_err(environment)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            records.push(read::read_json(&path)?);
        }
    }
    Ok(records)
}

fn core(arguments: &Arguments) -> Result<BTreeSet<Nevra>, Failure> {
    let Some(path) = &arguments.worker else { return Ok(BTreeSet::new()) };
    let manifest: WorkerManifest = read::read_json(path)?;
    Ok(manifest.core.packages().iter().map(|package| package.nevra.clone()).collect())
}

fn write_graph(
    arguments: &Arguments,
    output: &Path,
    graph: &DependencyGraph,
    goals: &BTreeSet<String>,
) -> Result<(), Failure> {
    let document = graph.document(&NodeStates::new(), goals);
    let mut json =
        serde_json::to_vec_pretty(&document).map_err(|error| Failure::new(ExitStatus::Internal, error))?;
    json.push(b'\n');
    let json_output = arguments.json_output.clone().unwrap_or_else(|| output.with_file_name("graph.json"));
    report::write_file(&json_output, &json)?;
    report::write_file(output, document.to_dot().as_bytes())
}

/// Returns one line for each spec: its level, its name, what must be finished before it.
fn order_text(order: &BuildOrder) -> String {
    let mut text = String::new();
    for step in &order.steps {
        let needed: Vec<&str> = step.needs().collect();
        let mark = if !step.is_hindered() { "" } else { " (cannot be built)" };
        let line = format!("{} {}{mark}: {}", step.level, step.spec, needed.join(" "));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// All that stands in the way as one message.
fn conclusion(
    arguments: &Arguments,
    graph: &DependencyGraph,
    order: &BuildOrder,
) -> Result<ExitStatus, Failure> {
    let mut problems: BTreeSet<String> = BTreeSet::new();
    let mut blocked: BTreeSet<&str> = BTreeSet::new();
    for step in &order.steps {
        for obstacle in step.obstacles() {
            match obstacle {
                Obstacle::Blocked { .. } => {
                    blocked.insert(&step.spec);
                }
                cause => {
                    problems.insert(cause.to_string());
                }
            }
        }
    }
    if arguments.strict_unresolved {
        problems.extend(graph.unresolvable().iter().map(ToString::to_string));
    }
    if problems.is_empty() {
        return Ok(ExitStatus::Done);
    }
    let mut lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
    if !blocked.is_empty() {
        let names: Vec<&str> = blocked.into_iter().collect();
        lines.push(format!("  blocked by these: {}", names.join(" ")));
    }
    let text = format!("not everything can be built\n{}", lines.join("\n"));
    Err(Failure::new(ExitStatus::GoalsFailed, text))
}
