//! `srpmpacker`: arguments in, SRPMs out, every result told; the work is the library's.

mod arguments;
mod rpm_place;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;
use report::{Event, ExitStatus, Failure, Reporter, conclude};
use rpm_place::with_engine;
use serde::Serialize;
use sources::{
    DebianPlace, DownloadOptions, DownloadSetupError, RemotePlaces, RemotePlacesError, SourceStore,
};
use specreader::{ReadOptions, ReleaseMacros};
use srpmpacker::{
    Discovery, PackFailure, PackOptions, PackReport, PackerError, SpecOutcome, SpecReport, discover, pack,
};

fn main() -> ExitCode {
    conclude(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let discovery = discover(&arguments.dir, &arguments.names(), arguments.nested_sources)
        .map_err(|error| Failure::new(ExitStatus::Usage, error))?;
    let reporter = report::choose(arguments.json, arguments.quiet);
    let workers = workers(arguments);
    tell_shadowed(&discovery, reporter.as_ref());
    let store = SourceStore::open(&arguments.store_directory())
        .map_err(|error| Failure::new(ExitStatus::Environment, error))?;
    let release_macros = ReleaseMacros::read(arguments.versions_macro_file.iter().map(PathBuf::as_path))
        .map_err(|error| Failure::new(ExitStatus::Usage, error))?;
    let report = with_engine(arguments, workers, reporter.as_ref(), |engine| {
        let options = PackOptions {
            engine,
            read: ReadOptions {
                arch: arguments.arch.clone(),
                defines: [("dist".to_owned(), arguments.dist_tag.clone())].into(),
                macro_files: Vec::new(),
                release_macros,
                source_headers: true,
            },
            run_check: arguments.run_check,
            output: arguments.output_dir.join(&arguments.arch),
            build: arguments.build_dir.clone(),
            store: &store,
            signatures: arguments.signature_handling.into(),
            offline: arguments.offline,
            remote: remote(arguments),
            concurrent_downloads: usize::from(arguments.concurrent_net_ops),
            workers: workers.get(),
            repack: arguments.repack,
            reporter: reporter.as_ref(),
        };
        pack(&discovery, &options).map_err(failure_of)
    })?;
    let told = if arguments.json { print_results(&report) } else { print_changes(&report) };
    told.map_err(|error| Failure::new(ExitStatus::Environment, error))?;
    tell_skipped(&report, reporter.as_ref());
    conclusion(&report)
}

fn workers(arguments: &Arguments) -> NonZeroUsize {
    let given = arguments.workers.and_then(|number| NonZeroUsize::new(usize::from(number)));
    given.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

fn remote(arguments: &Arguments) -> RemotePlaces {
    let debian = arguments.debian_sources.as_ref().map(|map| DebianPlace {
        map: map.clone(),
        apt_config: absolute(
            arguments.apt_config.clone().unwrap_or_else(|| arguments.build_dir.join("apt/apt.conf")),
        ),
        scratch: absolute(arguments.build_dir.join("work/debian-sources")),
    });
    RemotePlaces {
        servers: arguments.source_url.clone(),
        debian,
        upstream: !arguments.no_upstream,
        download: DownloadOptions {
            ca_certificate: arguments.ca_cert.clone(),
            client_certificate: arguments.tls_cert.clone().zip(arguments.tls_key.clone()),
            ..DownloadOptions::standard(usize::from(arguments.concurrent_net_ops))
        },
    }
}

/// Programs that run in another directory need whole paths.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn failure_of(error: PackerError) -> Failure {
    match error {
        PackerError::Remote(RemotePlacesError::Download(
            DownloadSetupError::Client(_) | DownloadSetupError::Runtime(_),
        )) => Failure::new(ExitStatus::Environment, error),
        PackerError::Remote(_) => Failure::new(ExitStatus::Usage, error),
        PackerError::Engine(_) | PackerError::Io { .. } | PackerError::Threads(_) => {
            Failure::new(ExitStatus::Environment, error)
        }
    }
}

fn tell_shadowed(discovery: &Discovery, reporter: &dyn Reporter) {
    for (hidden, by) in &discovery.shadowed {
        let message = format!("{} is hidden by {}", hidden.display(), by.display());
        reporter.event(&Event::Note { message });
    }
}

fn tell_skipped(report: &PackReport, reporter: &dyn Reporter) {
    for spec in &report.specs {
        if let SpecOutcome::Skipped { reason } = &spec.outcome {
            reporter.event(&Event::Note { message: format!("{}: skipped, {reason}", spec.spec) });
        }
    }
}

/// One line of JSON per spec, then one with the numbers.
fn print_results(report: &PackReport) -> std::io::Result<()> {
    #[derive(Serialize)]
    #[serde(tag = "result", rename_all = "kebab-case")]
    enum Line<'a> {
        Spec(&'a SpecReport),
        Summary { counts: srpmpacker::PackCounts, removed: &'a [PathBuf] },
    }
    let specs = report.specs.iter().map(Line::Spec);
    let mut output = std::io::stdout().lock();
    for line in specs.chain([Line::Summary { counts: report.counts(), removed: &report.removed }]) {
        serde_json::to_writer(&mut output, &line)?;
        output.write_all(b"\n")?;
    }
    output.flush()
}

/// What was written into the tree, as a diff.
fn print_changes(report: &PackReport) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    for update in report.specs.iter().filter_map(|spec| spec.signatures.as_ref()) {
        output.write_all(update.diff().as_bytes())?;
    }
    output.flush()
}

/// All failures as one message; the advice that several share is given once.
fn conclusion(report: &PackReport) -> Result<ExitStatus, Failure> {
    let failures: Vec<&PackFailure> = report.failures().collect();
    let Some(text) = report.failure_text() else { return Ok(ExitStatus::Done) };
    let environment = failures.iter().any(|failure| failure.is_of_host());
    let status = if environment { ExitStatus::Environment } else { ExitStatus::GoalsFailed };
    let mut hints: Vec<&str> = failures.iter().filter_map(|failure| failure.hint()).collect();
    hints.sort_unstable();
    hints.dedup();
    Err(hints.into_iter().fold(Failure::new(status, text), Failure::hint))
}
