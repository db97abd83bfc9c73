//! One job from its document to its result.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Instant;

use buildroot::{
    End, LayerRequest, LayerStore, Outcome as SandboxOutcome, RootOptions, RootOutcome, RootPlan, Sandbox,
    SandboxIo,
};
use rpm_model::{
    FailureClass, JobDocument, Outcome, PackageArtifact, PhaseTime, ResourceUsage, ResultDocument,
};

use crate::collect::collect;
use crate::command::sandbox_spec;
use crate::disk::watch;
use crate::error::{IoContext, WorkerError};
use crate::log::judge;
use crate::output::follow;
use crate::workdir::{JobDirectory, prepare_ccache};

/// When a job's directory is kept for people to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Never.
    Never,
    /// When the build failed.
    OnFailure,
    /// Always.
    Always,
}

/// What a job needs from its host.
pub struct Host<'a> {
    /// Runs the build.
    pub sandbox: &'a Sandbox,
    /// Holds the unpacked packages.
    pub layers: &'a LayerStore,
    /// Where job directories are made.
    pub work: &'a Path,
    /// Where the packages go, as `<arch>/<file>`.
    pub output: &'a Path,
    /// The build's log, replaced.
    pub log: &'a Path,
    /// Whether the job directory is kept.
    pub keep: Keep,
    /// Called with each section that starts.
    pub on_phase: &'a (dyn Fn(&str) + Sync),
}

/// What the sandbox gave back.
struct Ran {
    outcome: SandboxOutcome,
    phases: Vec<PhaseTime>,
    /// Whether it was killed because it used too much disk.
    passed_disk_limit: bool,
}

/// Builds a job.
///
/// A package that fails is a result, not an error; an error means that the worker could not do its part.
pub fn build(job: &JobDocument, host: &Host<'_>) -> Result<ResultDocument, WorkerError> {
    let start = Instant::now();
    let srpm = check_srpm(job)?;
    let requests: Vec<LayerRequest> = job.lock.packages().iter().map(LayerRequest::from).collect();
    let options = RootOptions { common: job.common.clone(), ..RootOptions::default() };
    // Its layers are not collected before the end of this function.
    let root = host.layers.root(&requests, &options, host.sandbox)?;
    if let Some(ccache) = &job.ccache {
        prepare_ccache(Path::new(&ccache.directory))?;
    }
    let mut directory = JobDirectory::create(host.work, &stem(&job.srpm_path))?;
    let keep_upper = host.keep != Keep::Never;
    let ran = run(job, host, &root, &directory, keep_upper)?;
    let outcome = conclude(&ran, job, host)?;
    let (outcome, rpms, decisive_lines) = match outcome {
        Outcome::Succeeded => {
            match collect(&directory.places().top.join("RPMS"), &job.expected, host.output)? {
                Ok(rpms) => (Outcome::Succeeded, rpms, Vec::new()),
                // The log of a build that ended well has nothing to say about this.
                Err(refusal) => (package_failure(refusal.to_string()), Vec::new(), Vec::new()),
            }
        }
        failed @ Outcome::Failed { .. } => (failed, Vec::new(), judge(&read_log(host.log)?).lines),
    };
    let failed = outcome != Outcome::Succeeded;
    if host.keep == Keep::Always || (host.keep == Keep::OnFailure && failed) {
        directory.keep();
    }
    let kept_root = directory.finish()?;
    let usage = usage_of(&ran.outcome);
    Ok(ResultDocument {
        schema: ResultDocument::SCHEMA,
        package: job.package.clone(),
        check: check_result(job, &outcome, &ran.phases),
        decisive_lines,
        outcome,
        rpms,
        srpm: (!failed).then_some(srpm),
        log: host.log.to_string_lossy().into_owned(),
        overhead_seconds: (start.elapsed().as_secs_f64() - usage.wall_seconds).max(0.0),
        usage,
        phases: ran.phases,
        layers_made: match root.outcome {
            RootOutcome::Hit => 0,
            RootOutcome::Computed { made_layers } => made_layers,
        },
        skipped_scriptlets: root.scriptlets.iter().map(|scriptlet| scriptlet.package.clone()).collect(),
        kept_root: kept_root.map(|path| path.to_string_lossy().into_owned()),
    })
}

/// Returns the SRPM as an artifact after comparing its hash with the job's.
fn check_srpm(job: &JobDocument) -> Result<PackageArtifact, WorkerError> {
    let path = PathBuf::from(&job.srpm_path);
    let found = repository::read_source_package(&path)?;
    if found.sha256 != job.srpm_sha256 {
        return Err(WorkerError::WrongSrpm {
            path,
            found: found.sha256.to_string(),
            expected: job.srpm_sha256.to_string(),
        });
    }
    let (nevra, sha256, size) = (found.header.nevra, found.sha256, found.size);
    Ok(PackageArtifact { nevra, path: job.srpm_path.clone(), sha256, size })
}

/// Runs rpmbuild in a fresh root, its output into the log.
fn run(
    job: &JobDocument,
    host: &Host<'_>,
    root: &RootPlan,
    directory: &JobDirectory,
    keep_upper: bool,
) -> Result<Ran, WorkerError> {
    let spec = sandbox_spec(job, root.lowers.clone(), &directory.places(), keep_upper);
    if let Some(parent) = host.log.parent() {
        fs::create_dir_all(parent).context("create", parent)?;
    }
    let log = File::create(host.log).context("create", host.log)?;
    let (reader, writer) = io::pipe().context("open a pipe for", host.log)?;
    let second = writer.try_clone().context("open a pipe for", host.log)?;
    let streams = SandboxIo { stdin: None, stdout: writer.into(), stderr: second.into() };
    let running = host.sandbox.spawn(&spec, streams)?;
    let (killer, (alive, ended)) = (running.kill_handle(), channel());
    let ((phases, written), passed_disk_limit) = std::thread::scope(|scope| {
        let watcher = scope.spawn(move || {
            let passed = watch(&[directory.path(), host.log], job.disk_limit_bytes, &ended);
            if passed {
                killer.kill();
            }
            passed
        });
        let followed = follow(reader, log, host.on_phase);
        drop(alive);
        (followed, watcher.join().unwrap_or(false))
    });
    let outcome = running.wait()?;
    written.context("write", host.log)?;
    Ok(Ran { outcome, phases, passed_disk_limit })
}

/// Turns the sandbox's end into the job's outcome.
fn conclude(ran: &Ran, job: &JobDocument, host: &Host<'_>) -> Result<Outcome, WorkerError> {
    let failed = |class, phase: Option<String>, message: String| Outcome::Failed { class, phase, message };
    let last = ran.phases.last().map(|phase| phase.phase.clone());
    Ok(match &ran.outcome.end {
        End::Exited { code: 0 } => Outcome::Succeeded,
        End::TimedOut => {
            let place = last.as_deref().unwrap_or("preparation").to_owned();
            failed(FailureClass::Timeout, last, format!("the time limit ended it in {place}"))
        }
        End::SetupFailed(failure) => failed(
            FailureClass::InfrastructureFailure,
            None,
            format!("the build root could not be set up: {failure}"),
        ),
        End::Cancelled if ran.passed_disk_limit => {
            let place = last.as_deref().unwrap_or("preparation").to_owned();
            let limit = job.disk_limit_bytes >> 20;
            failed(
                FailureClass::NoSpace,
                last,
                format!("it used more than its {limit} MiB of disk in {place}"),
            )
        }
        End::Cancelled => {
            failed(FailureClass::InfrastructureFailure, last, "the build was cancelled".to_owned())
        }
        end @ (End::Exited { .. } | End::Signaled { .. }) => {
            let verdict = judge(&read_log(host.log)?);
            let killed_for_memory = ran.outcome.usage.oom_kills.is_some_and(|kills| kills > 0);
            let class = if killed_for_memory { FailureClass::OutOfMemory } else { verdict.class };
            let place = verdict
                .phase
                .as_deref()
                .map_or("rpmbuild failed".to_owned(), |phase| format!("{phase} failed"));
            failed(class, verdict.phase, format!("{place} ({end})"))
        }
    })
}

fn package_failure(message: String) -> Outcome {
    Outcome::Failed { class: FailureClass::PackageFailure, phase: None, message }
}

/// Returns what is known of `%check`: nothing when it was not asked for or never reached.
fn check_result(job: &JobDocument, outcome: &Outcome, phases: &[PhaseTime]) -> Option<bool> {
    let reached = job.run_check && phases.iter().any(|phase| phase.phase == "%check");
    match outcome {
        _ if !reached => None,
        Outcome::Failed { class: FailureClass::CheckFailure, .. } => Some(false),
        _ => Some(true),
    }
}

/// Reads a log, however broken its text.
fn read_log(path: &Path) -> Result<String, WorkerError> {
    let bytes = fs::read(path).context("read", path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn usage_of(outcome: &SandboxOutcome) -> ResourceUsage {
    let usage = &outcome.usage;
    let seconds = |microseconds: u64| microseconds as f64 / 1e6;
    ResourceUsage {
        wall_seconds: seconds(usage.wall_us),
        cpu_seconds: seconds(usage.user_us + usage.system_us),
        peak_memory_bytes: usage.peak_memory_bytes.unwrap_or(usage.max_rss_kb << 10),
    }
}

/// Returns an SRPM's file name without `.src.rpm`.
pub(crate) fn stem(srpm: &str) -> String {
    let name =
        Path::new(srpm).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_suffix(".src.rpm").unwrap_or(&name).to_owned()
}
