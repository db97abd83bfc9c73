//! `grapher`: documents and directories of RPMs in, the graph's files out; the graph is the library's.

mod arguments;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;
use grapher::{
    BuildOrder, DependencyGraph, ExternalPackage, GoalRequest, GraphInput, NodeStates, Obstacle, RecordedSpec,
};
use report::{Event, ExitStatus, Failure, Reporter, conclude};
use repository::{IndexedPackage, PackageDirectory};
use rpm_model::{BuildRecord, Nevra, PackageOrigin, PackagesDocument, WorkerManifest};
use serde::de::DeserializeOwned;

fn main() -> ExitCode {
    conclude(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let reporter = report::choose(false, arguments.quiet);
    let document = packages_document(&arguments.input)?;
    let packages = scan_all(arguments, reporter.as_ref())?;
    let records = records(arguments)?;
    let core = core(arguments)?;
    let external: Vec<ExternalPackage<'_>> = packages
        .iter()
        .map(|package| {
            ExternalPackage::of(&package.header, package.origin, core.contains(&package.header.nevra))
        })
        .collect();
    let recorded: Vec<RecordedSpec<'_>> = records.iter().map(RecordedSpec::of).collect();
    let graph = DependencyGraph::new(&GraphInput {
        document: &document,
        external: &external,
        recorded: &recorded,
        run_check: arguments.run_check,
    });
    let request = GoalRequest {
        names: arguments.goals.split_whitespace().map(str::to_owned).collect(),
        extra_layers: arguments.extra_layers,
    };
    let goals = graph.select(&request).map_err(|errors| Failure::new(ExitStatus::Usage, errors))?;
    write_graph(arguments, &graph, &goals)?;
    let order = graph.order(&goals);
    if !arguments.quiet {
        print_order(&order).map_err(|error| Failure::new(ExitStatus::Environment, error))?;
    }
    for duplicate in graph.duplicates() {
        reporter.event(&Event::Warning { message: duplicate.to_string() });
    }
    for found in graph.breaks() {
        reporter.event(&Event::Note { message: found.to_string() });
    }
    conclusion(arguments, &graph, &order)
}

fn packages_document(path: &Path) -> Result<PackagesDocument, Failure> {
    let document: PackagesDocument = read_json(path)
        .map_err(|failure| failure.hint("give the packages.json that specreader writes beside specs.json"))?;
    if document.schema != PackagesDocument::SCHEMA {
        let text = format!(
            "{} has schema {}, expected {}",
            path.display(),
            document.schema,
            PackagesDocument::SCHEMA
        );
        return Err(Failure::new(ExitStatus::Usage, text).hint("write it again with specreader"));
    }
    Ok(document)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let usage = |text: String| Failure::new(ExitStatus::Usage, text);
    let bytes = fs::read(path).map_err(|error| usage(format!("cannot read {}: {error}", path.display())))?;
    serde_json::from_slice(&bytes).map_err(|error| usage(format!("{}: {error}", path.display())))
}

/// Reads the packages from outside the tree; damaged files are told and left out.
fn scan_all(arguments: &Arguments, reporter: &dyn Reporter) -> Result<Vec<IndexedPackage>, Failure> {
    let places = [
        (Some(&arguments.toolchain_rpms_dir), PackageOrigin::Toolchain, "toolchain"),
        (arguments.base_rpms_dir.as_ref(), PackageOrigin::Base, "base"),
        (arguments.live_rpms_dir.as_ref(), PackageOrigin::Live, "live"),
    ];
    let mut packages = Vec::new();
    for (directory, origin, name) in places {
        let Some(directory) = directory else { continue };
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
        packages.extend(found.packages);
    }
    Ok(packages)
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
            records.push(read_json(&path)?);
        }
    }
    Ok(records)
}

fn core(arguments: &Arguments) -> Result<BTreeSet<Nevra>, Failure> {
    let Some(path) = &arguments.worker else { return Ok(BTreeSet::new()) };
    let manifest: WorkerManifest = read_json(path)?;
    Ok(manifest.core.packages().iter().map(|package| package.nevra.clone()).collect())
}

fn write_graph(
    arguments: &Arguments,
    graph: &DependencyGraph,
    goals: &BTreeSet<String>,
) -> Result<(), Failure> {
    let document = graph.document(&NodeStates::new(), goals);
    let mut json =
        serde_json::to_vec_pretty(&document).map_err(|error| Failure::new(ExitStatus::Internal, error))?;
    json.push(b'\n');
    let json_output =
        arguments.json_output.clone().unwrap_or_else(|| arguments.output.with_file_name("graph.json"));
    for (path, bytes) in [(&json_output, json), (&arguments.output, document.to_dot().into_bytes())] {
        write(path, &bytes).map_err(|error| {
            Failure::new(ExitStatus::Environment, format!("cannot write {}: {error}", path.display()))
        })?;
    }
    Ok(())
}

/// Replaces a file by rename.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn print_order(order: &BuildOrder) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for step in &order.steps {
        let needed: Vec<&str> = step.needs().collect();
        let mark = if !step.is_hindered() { "" } else { " (cannot be built)" };
        let line = format!("{} {}{mark}: {}", step.level, step.spec, needed.join(" "));
        writeln!(output, "{}", line.trim_end())?;
    }
    output.flush()
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
