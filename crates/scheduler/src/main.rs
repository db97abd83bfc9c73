//! `scheduler`: packed specs in, a repository out.

mod arguments;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;
use grapher::GraphHints;
use report::{Event, ExitStatus, Failure, Reporter, conclude};
use repository::{IndexedPackage, PackageDirectory, read_source_package};
use rpm_model::{PackageOrigin, PackagesDocument, WorkerManifest};
use scheduler::{
    BuildDirectoryLock, Finished, Learned, NoPrograms, PackedSrpm, PackedTree, PlanWords, Planned,
    RecordStore, ResultReuse, Rounds, RunSummary, Session, Stop, Style, build_in_rounds, plan_text,
    run_status, summary_text,
};
use serde::de::DeserializeOwned;

fn main() -> ExitCode {
    conclude(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let start = std::time::Instant::now();
    let reporter = report::choose(arguments.json, false);
    let document: PackagesDocument = read(&arguments.packages, "specreader --packages-output")?;
    let worker: WorkerManifest = read(&arguments.worker, "bootstrap worker")?;
    let _lock = BuildDirectoryLock::acquire(&arguments.work_dir, "scheduler").map_err(environment)?;
    let own = std::env::current_exe().map_err(environment)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let limits = |_: &str| arguments.limits(processors);
    let session = Session {
        settings: arguments
            .settings(own.parent().unwrap_or(Path::new(".")), processors)
            .map_err(|error| Failure::new(ExitStatus::Usage, error))?,
        worker: &worker,
        document: &document,
        limits: &limits,
        learned: Learned::default(),
        programs: Box::new(NoPrograms),
        // Asking stores is the business of who has a configuration.
        results: ResultReuse::new(Vec::new(), arguments.work_dir.join("results-to-publish"))
            .map_err(|error| Failure::new(ExitStatus::Usage, error))?,
        reporter: reporter.as_ref(),
    };
    let wanted = arguments.wanted();
    let packed = packed(&document, &arguments.srpm_dir);
    let plan = |rounds: &Rounds| -> Result<Planned, Failure> {
        let mut external =
            scan(arguments, &arguments.toolchain_rpms_dir, PackageOrigin::Toolchain, reporter.as_ref())?;
        external.extend(scan(arguments, &arguments.cache_dir, PackageOrigin::Base, reporter.as_ref())?);
        let scanned = scan(arguments, &arguments.rpm_dir, PackageOrigin::Tree, reporter.as_ref())?;
        let records = RecordStore::new(&session.settings.records).read_all();
        let records = records.map_err(|error| scheduler::failure(error.into()))?;
        let graphed = session.graph(external, records, scanned, &GraphHints::default());
        session.write_graph(&graphed).map_err(scheduler::failure)?;
        let chosen = session.choose(&graphed, &wanted).map_err(scheduler::failure)?;
        session.plan(graphed, &chosen, &packed, &wanted, rounds).map_err(scheduler::failure)
    };
    let first = plan(&Rounds::default())?;
    let style = Style { width: report::columns(), whole: false };
    let file = session.settings.artifacts.join("plan.json");
    tell(&plan_text(&first.plan, &PlanWords { style, file: Some(&file) }), arguments.json)?;
    if arguments.dry_run {
        return Ok(run_status(&first.plan, &RunSummary::default()));
    }
    if first.plan.to_build().next().is_none() {
        session.publish(&first.universe).map_err(scheduler::failure)?;
    }
    // Little is done before the first build, and nothing that a signal could not end.
    let stop = Stop::on_signals(|| {}).map_err(environment)?;
    let stop_on_failure = session.settings.run.stop_on_failure;
    let Finished { plan, summary } = build_in_rounds(
        first,
        |planned: &Planned| &planned.plan,
        plan,
        |planned| -> Result<RunSummary, Failure> {
            let (summary, universe) = session.build(planned, &stop).map_err(scheduler::failure)?;
            session.publish(&universe).map_err(scheduler::failure)?;
            Ok(summary)
        },
        |summary| stop.is_asked() || (stop_on_failure && !summary.failed.is_empty()),
        reporter.as_ref(),
    )?;
    session.write_state(&plan, &summary).map_err(scheduler::failure)?;
    tell(&summary_text(&plan, &summary, start.elapsed().as_secs_f64()), arguments.json)?;
    Ok(run_status(&plan, &summary))
}

fn read<T: DeserializeOwned>(path: &Path, made_by: &str) -> Result<T, Failure> {
    let usage = |error: Box<dyn Error + Send + Sync>| {
        Failure::new(ExitStatus::Usage, format!("cannot read `{}`: {error}", path.display()))
            .hint(format!("`{made_by}` makes it"))
    };
    let bytes = std::fs::read(path).map_err(|error| usage(error.into()))?;
    serde_json::from_slice(&bytes).map_err(|error| usage(error.into()))
}

/// Reads a directory of packages; damaged files are told and left out.
fn scan(
    arguments: &Arguments,
    directory: &Path,
    origin: PackageOrigin,
    reporter: &dyn Reporter,
) -> Result<Vec<IndexedPackage>, Failure> {
    let index = arguments.work_dir.join("index").join(format!("{origin:?}").to_lowercase());
    let scan = PackageDirectory::new(directory, origin).with_cache(index).scan().map_err(environment)?;
    for failure in &scan.failures {
        reporter.event(&Event::Warning { message: failure.to_string() });
    }
    Ok(scan.packages)
}

/// Finds the SRPM of each spec by the name that the spec gives it.
fn packed(document: &PackagesDocument, directory: &Path) -> PackedTree {
    let mut packed = PackedTree { srpms: BTreeMap::new(), failures: BTreeMap::new() };
    for spec in &document.specs {
        let path = directory.join(spec.source.file_name());
        match read_source_package(&path) {
            Ok(srpm) => {
                packed.srpms.insert(spec.name.clone(), PackedSrpm { path, sha256: srpm.sha256 });
            }
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                packed.failures.insert(spec.name.clone(), format!("{error}{cause}"));
            }
        }
    }
    packed
}

fn tell(text: &str, json: bool) -> Result<(), Failure> {
    if json {
        return Ok(());
    }
    writeln!(anstream::stdout(), "{}", report::printable(text)).map_err(environment)
}

fn environment(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
    Failure::new(ExitStatus::Environment, error)
}
