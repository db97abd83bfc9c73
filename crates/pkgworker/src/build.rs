//! One job from its document to its result.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Instant;

use buildroot::{
    End, LayerRequest, LayerStore, OpenedFiles, Outcome as SandboxOutcome, RootOptions, RootOutcome, Sandbox,
    SandboxIo, SandboxSpec,
};
use rpm_model::{
    CleanPolicy, FailureClass, JobDocument, LimitReport, Outcome, PackageArtifact, PhaseTime, ResourceUsage,
    ResultDocument,
};

use crate::collect::collect;
use crate::command::{HOST_ARCH, sandbox_spec};
use crate::disk::{Allowance, Passed, watch};
use crate::error::{IoContext, WorkerError};
use crate::kept::KeptRoot;
use crate::log::judge;
use crate::memory;
use crate::output::follow;
use crate::patience::Patient;
use crate::section::{Section, stop_before};
use crate::tuning::{Tuning, probe};
use crate::workdir::{JobDirectory, prepare_ccache};

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
    /// When the job directory is removed.
    pub clean: CleanPolicy,
    /// Ends the build before this section starts, as a failure of that section; its script is kept.
    pub stop_before: Option<Section>,
    /// Called with each section that starts.
    pub on_phase: &'a (dyn Fn(&str) + Sync),
}

/// What the sandbox gave back.
pub(crate) struct Ran {
    pub(crate) outcome: SandboxOutcome,
    pub(crate) phases: Vec<PhaseTime>,
    /// The limit of its directory for which it was killed.
    passed: Option<Passed>,
    /// The memory limit that was set.
    memory_limit: Option<u64>,
}

/// Builds a job.
///
/// A package that fails is a result, not an error; an error means that the worker could not do its part.
pub fn build(job: &JobDocument, host: &Host<'_>) -> Result<ResultDocument, WorkerError> {
    build_watched(job, host, false).map(|(result, _)| result)
}

/// Builds a job and records which files of its root are opened.
pub(crate) fn build_recorded(
    job: &JobDocument,
    host: &Host<'_>,
) -> Result<(ResultDocument, OpenedFiles), WorkerError> {
    build_watched(job, host, true)
}

fn build_watched(
    job: &JobDocument,
    host: &Host<'_>,
    record_opens: bool,
) -> Result<(ResultDocument, OpenedFiles), WorkerError> {
    let start = Instant::now();
    let srpm = check_srpm(job)?;
    let requests: Vec<LayerRequest> = job.lock.packages().iter().map(LayerRequest::from).collect();
    let options = RootOptions { common: job.common.clone(), ..RootOptions::default() };
    // Its layers are not collected before the end of this function.
    let root = host.layers.root(&requests, &options, host.sandbox)?;
    if let Some(ccache) = &job.ccache {
        prepare_ccache(Path::new(&ccache.directory))?;
    }
    let mut directory = JobDirectory::create(host.work, &stem(&job.srpm_path), job.ccache.is_some())?;
    let mut spec = sandbox_spec(job, root.lowers.clone(), &directory.places(), host.clean.may_keep());
    spec.record_opens = record_opens;
    let facts = probe(job.tuning, job.arch == HOST_ARCH, host.sandbox, &root.lowers);
    let tuning = Tuning::decide(job.tuning, &facts);
    tuning.apply(&mut spec);
    if let Some(section) = host.stop_before {
        stop_before(&mut spec.arguments, section);
    }
    let ran = run(job, &host.run(directory.path()), &spec)?;
    let outcome = conclude(&ran, job, host.log)?;
    let (outcome, rpms, decisive_lines) = match outcome {
        Outcome::Succeeded => {
            match collect(
                &directory.places().top.join("RPMS"),
                &job.expected,
                job.disk_limit_bytes,
                host.output,
            )? {
                Ok(rpms) => (Outcome::Succeeded, rpms, Vec::new()),
                // The log of a build that ended well has nothing to say about this.
                Err(refusal) => (package_failure(refusal.to_string()), Vec::new(), Vec::new()),
            }
        }
        failed @ Outcome::Failed { .. } => (failed, Vec::new(), judge(&read_log(host.log)?).lines),
    };
    let failed = outcome != Outcome::Succeeded;
    if host.clean.keeps(failed) {
        KeptRoot::of(job, &outcome, limits_of(&ran), &root.lowers, host.log)?.write(directory.path())?;
        directory.keep();
    }
    let kept_root = directory.finish()?;
    let (usage, limits) = (usage_of(&ran.outcome), limits_of(&ran));
    let result = ResultDocument {
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
        tuning: tuning.report,
        limits,
        kept_root: kept_root.map(|path| path.to_string_lossy().into_owned()),
    };
    Ok((result, ran.outcome.opened))
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

/// What one run of rpmbuild needs from its host.
pub(crate) struct RunHost<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) log: &'a Path,
    /// What counts against the disk limit, with the log.
    pub(crate) directory: &'a Path,
    pub(crate) on_phase: &'a (dyn Fn(&str) + Sync),
}

impl<'a> Host<'a> {
    fn run(&self, directory: &'a Path) -> RunHost<'a> {
        RunHost { sandbox: self.sandbox, log: self.log, directory, on_phase: self.on_phase }
    }
}

/// Runs rpmbuild in its root, its output into the log.
pub(crate) fn run(job: &JobDocument, host: &RunHost<'_>, spec: &SandboxSpec) -> Result<Ran, WorkerError> {
    let mut spec = spec.clone();
    spec.limits.memory_bytes = spec.limits.memory_bytes.or_else(memory::default_limit);
    if let Some(parent) = host.log.parent() {
        fs::create_dir_all(parent).context("create", parent)?;
    }
    let log = File::create(host.log).context("create", host.log)?;
    let (reader, writer) = io::pipe().context("open a pipe for", host.log)?;
    let second = writer.try_clone().context("open a pipe for", host.log)?;
    let streams = SandboxIo { stdin: None, stdout: writer.into(), stderr: second.into() };
    let running = host.sandbox.spawn(&spec, streams)?;
    let (killer, (alive, ended)) = (running.kill_handle(), channel());
    let ((phases, written), passed) = std::thread::scope(|scope| {
        let watcher = scope.spawn(move || {
            let allowance = Allowance { bytes: job.disk_limit_bytes, files: job.limits.file_limit };
            let passed = watch(&[host.directory, host.log], allowance, &ended);
            if passed.is_some() {
                killer.kill();
            }
            passed
        });
        let followed = follow(Patient::new(reader), log, host.on_phase);
        drop(alive);
        (followed, watcher.join().unwrap_or(None))
    });
    let outcome = running.wait()?;
    written.context("write", host.log)?;
    Ok(Ran { outcome, phases, passed, memory_limit: spec.limits.memory_bytes })
}

/// Turns the sandbox's end into the job's outcome.
pub(crate) fn conclude(ran: &Ran, job: &JobDocument, log: &Path) -> Result<Outcome, WorkerError> {
    let failed = |class, phase: Option<String>, message: String| Outcome::Failed { class, phase, message };
    let last = ran.phases.last().map(|phase| phase.phase.clone());
    let place = last.as_deref().unwrap_or("preparation").to_owned();
    Ok(match &ran.outcome.end {
        End::Exited { code: 0 } => Outcome::Succeeded,
        End::TimedOut => failed(FailureClass::Timeout, last, format!("the time limit ended it in {place}")),
        End::CpuTimePassed => {
            let limit = job.limits.cpu_limit_seconds.unwrap_or_default();
            failed(
                FailureClass::Timeout,
                last,
                format!("it used up its {limit} s of processor time in {place}"),
            )
        }
        End::OutOfMemory => {
            let limit = ran.memory_limit.unwrap_or_default() >> 20;
            failed(
                FailureClass::OutOfMemory,
                last,
                format!("it used more than its {limit} MiB of memory in {place}"),
            )
        }
        End::TooManyProcesses => {
            let limit = job.limits.process_limit;
            let message = format!("it started more than its {limit} processes in {place} (process-limit)");
            failed(FailureClass::PackageFailure, last, message)
        }
        End::SetupFailed(failure) => failed(
            FailureClass::InfrastructureFailure,
            None,
            format!("the build root could not be set up: {failure}"),
        ),
        End::Cancelled if ran.passed == Some(Passed::Bytes) => {
            let limit = job.disk_limit_bytes >> 20;
            let message = format!("it used more than its {limit} MiB of disk in {place}");
            failed(FailureClass::NoSpace, last, message)
        }
        End::Cancelled if ran.passed == Some(Passed::Files) => {
            let limit = job.limits.file_limit;
            let message = format!("it made more than its {limit} files in {place}");
            failed(FailureClass::NoSpace, last, message)
        }
        End::Cancelled => {
            failed(FailureClass::InfrastructureFailure, last, "the build was cancelled".to_owned())
        }
        end @ (End::Exited { .. } | End::Signaled { .. }) => {
            let verdict = judge(&read_log(log)?);
            let killed_for_memory = ran.outcome.usage.oom_kills.is_some_and(|kills| kills > 0);
            let class = if killed_for_memory { FailureClass::OutOfMemory } else { verdict.class };
            let place = verdict
                .phase
                .as_deref()
                .map_or("rpmbuild failed".to_owned(), |phase| format!("{phase} failed"));
            let network = match &verdict.network {
                Some(line) if !killed_for_memory => format!("; builds have no network: `{}`", line.trim()),
                _ => String::new(),
            };
            failed(class, verdict.phase, format!("{place} ({end}){network}"))
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
pub(crate) fn read_log(path: &Path) -> Result<String, WorkerError> {
    let bytes = fs::read(path).context("read", path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns what held the build within its limits.
pub(crate) fn limits_of(ran: &Ran) -> LimitReport {
    LimitReport {
        enforced_by: ran.outcome.limiter.to_string(),
        id_mapping: ran.outcome.id_mapping.to_string(),
        unenforced: ran.outcome.unenforced.iter().map(ToString::to_string).collect(),
        memory_limit_bytes: ran.memory_limit,
    }
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
