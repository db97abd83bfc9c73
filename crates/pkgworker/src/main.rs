//! `pkgworker`: builds one SRPM, by a job document or by the Azure toolkit's flags, or one job after another.

mod arguments;
mod serve;

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::ExitCode;

use arguments::{Arguments, Resolver};
use buildroot::lifeline::Lifeline;
use buildroot::{LayerStore, Sandbox, SetuidPolicy};
use clap::Parser;
use pkgworker::{
    Host, MOST_ROUNDS, TuningMemory, UnusedAnswer, WorkerError, build, build_and_find_unused,
    changed_requirements,
};
use report::{Event, ExitStatus, Failure, Reporter, conclude};
use rpm_model::{FailureClass, JobDocument, Outcome, ResultDocument};

fn main() -> ExitCode {
    let arguments = Arguments::parse().absolute();
    conclude(
        arguments
            .map_err(|error| Failure::new(ExitStatus::Environment, error))
            .and_then(|arguments| run(&arguments)),
    )
}

fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let site = || Site::open(arguments);
    if arguments.serve {
        return serve::serve(arguments, &site()?);
    }
    let input = std::io::stdin();
    let _lifeline = arguments.lifeline.then(|| lifeline(input.as_fd())).transpose()?;
    let (mut job, mut resolver) = match &arguments.job {
        Some(path) => (read_job(path)?, None),
        None => arguments.make_job().map(|(job, resolver)| (job, Some(resolver)))?,
    };
    arguments.overrule(&mut job);
    let site = site()?;
    let reporter: Option<Box<dyn Reporter>> = arguments.job.is_some().then(|| report::choose(true, false));
    let package = job.package.clone();
    let on_phase = |phase: &str| tell_phase(&package, phase, reporter.as_deref());
    let log = arguments.log_path(&job);
    let host = site.host(arguments, arguments.output_directory(), &log, &on_phase);
    let mut result = build_once(arguments, &job, &host, reporter.as_deref())?;
    if let Some(resolver) = &mut resolver {
        result = build_what_is_generated(&mut job, &host, resolver, result)?;
    }
    if let Some(path) = &arguments.result {
        write_result(path, &result)?;
    }
    match &result.outcome {
        Outcome::Succeeded => {
            arguments.publish_srpm(&job)?;
            if arguments.job.is_none() {
                print_packages(&result)?;
            }
            Ok(ExitStatus::Done)
        }
        // Whoever wrote the job resolves it again.
        Outcome::RequirementsGenerated { .. } => Ok(ExitStatus::GoalsFailed),
        Outcome::Failed { class, message, .. } if arguments.job.is_none() => {
            let mut text = format!("{}: {message}", job.package);
            for line in &result.decisive_lines {
                text.push('\n');
                text.push_str(line);
            }
            Err(Failure::new(exit_status(*class), text)
                .hint(format!("the log is `{}`", result.log))
                .hint(class.advice()))
        }
        Outcome::Failed { class, .. } => Ok(exit_status(*class)),
    }
}

/// What builds happen in; opened once for all jobs of a process.
struct Site {
    sandbox: Sandbox,
    layers: LayerStore,
    tuning_memory: TuningMemory,
}

impl Site {
    fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let sandbox = Sandbox::discover().map_err(|error| {
            Failure::new(ExitStatus::Environment, error)
                .hint("`buildroot-init` belongs beside the `pkgworker` program")
        })?;
        let layers =
            LayerStore::open(&arguments.layer_directory(), SetuidPolicy::Strip).map_err(environment)?;
        Ok(Self { sandbox, layers, tuning_memory: TuningMemory::default() })
    }

    fn host<'a>(
        &'a self,
        arguments: &'a Arguments,
        output: &'a Path,
        log: &'a Path,
        on_phase: &'a (dyn Fn(&str) + Sync),
    ) -> Host<'a> {
        Host {
            sandbox: &self.sandbox,
            layers: &self.layers,
            tuning_memory: &self.tuning_memory,
            work: &arguments.work_dir,
            output,
            log,
            clean: arguments.clean_policy(),
            stop_before: None,
            on_phase,
        }
    }
}

/// Ties this process's life to whoever holds the other end of its standard input.
fn lifeline(input: BorrowedFd<'_>) -> Result<Lifeline<'_>, Failure> {
    buildroot::lifeline::end_with(input).map_err(|error| {
        Failure::new(ExitStatus::Environment, error).hint("standard input cannot be a lifeline")
    })
}

/// Builds a job in the root that it names, and tells what it opened nothing of where that is asked for.
fn build_once(
    arguments: &Arguments,
    job: &JobDocument,
    host: &Host<'_>,
    reporter: Option<&dyn Reporter>,
) -> Result<ResultDocument, Failure> {
    if !arguments.find_unused {
        return build(job, host).map_err(environment);
    }
    let (result, answer) = build_and_find_unused(job, host).map_err(environment)?;
    tell_unused(&job.package, answer, reporter);
    Ok(result)
}

fn tell_phase(package: &str, phase: &str, reporter: Option<&dyn Reporter>) {
    if let Some(reporter) = reporter {
        reporter.event(&Event::PackagePhase { package: package.to_owned(), phase: phase.to_owned() });
    }
}

/// Builds again, in a root made for what `%generate_buildrequires` asks for, until it asks for nothing else.
fn build_what_is_generated(
    job: &mut JobDocument,
    host: &Host<'_>,
    resolver: &mut Resolver,
    mut result: ResultDocument,
) -> Result<ResultDocument, Failure> {
    let mut rounds = 1;
    while let Outcome::RequirementsGenerated { requirements } = &result.outcome {
        if rounds == MOST_ROUNDS {
            let error = WorkerError::NeverSettles {
                package: job.package.clone(),
                rounds,
                difference: changed_requirements(&job.generated, requirements),
            };
            return Err(environment(error));
        }
        job.lock = resolver.lock(requirements)?;
        job.generated.clone_from(requirements);
        rounds += 1;
        result = build(job, host).map_err(environment)?;
    }
    Ok(result)
}

/// Tells what a build that was watched opened nothing of; of one that did not end well that says nothing.
fn tell_unused(package: &str, answer: UnusedAnswer, reporter: Option<&dyn Reporter>) {
    let package = package.to_owned();
    let event = match answer {
        UnusedAnswer::Report(report) => Event::PackageUnused {
            package,
            requirements: report.requirements,
            opened_files: report.opened_files,
            unused: report.unused,
        },
        UnusedAnswer::Unavailable { message } => {
            Event::Warning { message: format!("{package}: opened files cannot be recorded here: {message}") }
        }
        UnusedAnswer::BuildFailed(_) => return,
    };
    if let Some(reporter) = reporter {
        reporter.event(&event);
    }
}

/// Returns whether the package or the host is to blame.
fn exit_status(class: FailureClass) -> ExitStatus {
    if class == FailureClass::InfrastructureFailure {
        ExitStatus::Environment
    } else {
        ExitStatus::GoalsFailed
    }
}

fn read_job(path: &Path) -> Result<JobDocument, Failure> {
    let usage = |error: WorkerError| Failure::new(ExitStatus::Usage, error);
    let bytes = std::fs::read(path)
        .map_err(|source| usage(WorkerError::Io { operation: "read", path: path.to_owned(), source }))?;
    let job: JobDocument = serde_json::from_slice(&bytes).map_err(|source| {
        usage(WorkerError::Document { path: path.to_owned(), what: "job document", source })
    })?;
    if job.schema != JobDocument::SCHEMA {
        let (found, expected) = (job.schema, JobDocument::SCHEMA);
        return Err(usage(WorkerError::Schema { path: path.to_owned(), found, expected }));
    }
    Ok(job)
}

/// Writes the result whole: a reader sees all of it or nothing.
fn write_result(path: &Path, result: &ResultDocument) -> Result<(), Failure> {
    let write = || -> std::io::Result<()> {
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        let mut text = serde_json::to_vec_pretty(result)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write()
        .map_err(|source| environment(WorkerError::Io { operation: "write", path: path.to_owned(), source }))
}

/// Prints the file names of the built packages, comma-separated: the contract of the Azure toolkit.
fn print_packages(result: &ResultDocument) -> Result<(), Failure> {
    let names: Vec<String> = result.rpms.iter().map(|rpm| rpm.nevra.file_name()).collect();
    writeln!(std::io::stdout(), "{}", names.join(",")).map_err(|error| {
        Failure::new(ExitStatus::Environment, error).hint("standard output cannot be written")
    })
}

fn environment(error: impl Into<WorkerError>) -> Failure {
    let error = error.into();
    let status = match &error {
        WorkerError::Document { .. } | WorkerError::Schema { .. } | WorkerError::RemoteRepository { .. } => {
            ExitStatus::Usage
        }
        WorkerError::Unresolvable { .. } | WorkerError::NeverSettles { .. } => ExitStatus::GoalsFailed,
        _ => ExitStatus::Environment,
    };
    Failure::new(status, error)
}
