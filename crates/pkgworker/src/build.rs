//! One job from its document to its result.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use buildroot::{
    End, Held, LayerRequest, LayerStore, MemoryTree, OpenedFiles, Outcome as SandboxOutcome, Probe,
    RootOptions, RootOutcome, RootPlan, Sandbox, SandboxIo, SandboxSpec, TransactionLimits,
};
use repository::IndexedSource;
use rpm_model::{
    CleanPolicy, JobDocument, Outcome, PackageArtifact, PhaseUsage, Requirement, ResourceUsage,
    ResultDocument,
};

use crate::caches::cache_uses;
use crate::check::{CheckLog, check_report, write_check};
use crate::collect::collect;
use crate::command::{HOST_ARCH, Purpose, sandbox_spec};
use crate::conclusion::{conclude, judge_log, limits_of, package_failure};
use crate::disk::{Passed, is_full, watch};
use crate::error::{IoContext, WorkerError};
use crate::generated;
use crate::kept::KeptRoot;
use crate::log_file::LogFile;
use crate::memory;
use crate::output::{Followed, Follower, follow};
use crate::patience::Patient;
use crate::phases::{phase_usage, source_of, sum, usage_of};
use crate::place::{place_in_memory, reason_for_disk};
use crate::refused::refused;
use crate::section::{Section, stop_before};
use crate::tuning::{Tuning, TuningMemory, probe};
use crate::workdir::{JobDirectory, Wants, prepare_cache};

/// A run that lasts longer has its use of the disk watched.
const SOON: Duration = Duration::from_millis(250);

/// What a job needs from its host.
pub struct Host<'a> {
    /// Runs the build.
    pub sandbox: &'a Sandbox,
    /// Holds the unpacked packages.
    pub layers: &'a LayerStore,
    /// What earlier builds of this process have seen.
    pub tuning_memory: &'a TuningMemory,
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
    pub(crate) phases: Vec<PhaseUsage>,
    check: CheckLog,
    /// Whether it was killed because it wrote too much.
    pub(crate) flooded: bool,
    /// The limit of its directory for which it was killed.
    pub(crate) passed: Option<Passed>,
    /// Whether the disk under its directory or its log was full when it ended.
    pub(crate) host_disk_full: bool,
    /// The memory limit that was set.
    pub(crate) memory_limit: Option<u64>,
}

/// Builds a job.
///
/// A package that fails is a result, not an error; an error means that the worker could not do its part.
pub fn build(job: &JobDocument, host: &Host<'_>) -> Result<ResultDocument, WorkerError> {
    build_watched(job, host, false).map(|(result, _)| result).or_else(|error| refused(job, host, error))
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
    let source = check_srpm(job)?;
    let requests: Vec<LayerRequest> = job.lock.packages().iter().map(LayerRequest::from).collect();
    let options = root_options(job);
    // Its layers are not collected before the end of this function.
    let root = host.layers.root(&requests, &options, host.sandbox)?;
    for cache in job.ccache.iter().chain(&job.sccache) {
        prepare_cache(Path::new(&cache.directory))?;
    }
    let facts = probe(job.tuning, job.arch == HOST_ARCH, host.sandbox, &root.lowers, host.tuning_memory);
    let tuning = Tuning::decide(job.tuning, &facts);
    let memory_limit = job.limits.memory_limit_bytes.or_else(memory::memory_for_builds);
    let attempts =
        Attempts { job, host, source: &source, root: &root, tuning: &tuning, memory_limit, record_opens };
    let (mut directory, Attempt { runs, log_omitted_bytes }) = attempts.until_it_fits()?;
    let Runs { last: ran, usage, phases, asked } = runs;
    let outcome = match asked {
        Asked::Others(requirements) => Outcome::RequirementsGenerated { requirements },
        Asked::Unreadable(message) => package_failure(message),
        Asked::Nothing => conclude(&ran, job, host.log)?,
    };
    let top = directory.places().top;
    let (outcome, rpms, decisive_lines) = match outcome {
        Outcome::Succeeded => {
            let name = &source.header.nevra.name;
            match collect(&top.join("RPMS"), name, &job.expected, job.disk_limit_bytes, host.output)? {
                Ok(rpms) => (Outcome::Succeeded, rpms, Vec::new()),
                // The log of a build that ended well has nothing to say about this.
                Err(refusal) => (package_failure(refusal.to_string()), Vec::new(), Vec::new()),
            }
        }
        asked @ Outcome::RequirementsGenerated { .. } => (asked, Vec::new(), Vec::new()),
        failed @ Outcome::Failed { .. } => (failed, Vec::new(), judge_log(host.log)?.lines),
    };
    let check = check_report(job, &outcome, &ran.check, &phases);
    let junit = write_check(host.log, &job.package, &check, &phases, &decisive_lines)?;
    let caches = cache_uses(job, &top);
    let succeeded = outcome == Outcome::Succeeded;
    let failed = matches!(outcome, Outcome::Failed { .. });
    // A build that only asked is neither: another one follows it.
    if (succeeded || failed) && host.clean.keeps(failed) {
        KeptRoot::of(job, &outcome, limits_of(&ran), &root.lowers, host.log)?.write(directory.path())?;
        directory.keep();
    }
    let kept_root = directory.finish()?;
    let result = ResultDocument {
        schema: ResultDocument::SCHEMA,
        package: job.package.clone(),
        check,
        junit: junit.map(|path| path.to_string_lossy().into_owned()),
        decisive_lines,
        outcome,
        rpms,
        srpm: succeeded.then(|| artifact(job, &source)),
        log: host.log.to_string_lossy().into_owned(),
        log_omitted_bytes,
        overhead_seconds: (start.elapsed().as_secs_f64() - usage.wall_seconds).max(0.0),
        usage,
        phases,
        usage_source: ran.outcome.last_probe.map(source_of),
        caches,
        layers_made: match root.outcome {
            RootOutcome::Hit => 0,
            RootOutcome::Computed { made_layers } => made_layers,
        },
        skipped_scriptlets: root.scriptlets.iter().map(|scriptlet| scriptlet.package.clone()).collect(),
        root_notes: root.notes.iter().filter(|note| note.is_unusual()).map(ToString::to_string).collect(),
        tuning: tuning.report,
        limits: limits_of(&ran),
        kept_root: kept_root.map(|path| path.to_string_lossy().into_owned()),
        reused: None,
    };
    Ok((result, ran.outcome.opened))
}

/// One job whose root is there, ready to be built wherever there is room for it.
struct Attempts<'a> {
    job: &'a JobDocument,
    host: &'a Host<'a>,
    source: &'a IndexedSource,
    root: &'a RootPlan,
    tuning: &'a Tuning,
    memory_limit: Option<u64>,
    record_opens: bool,
}

/// A job that was built in one place.
struct Attempt {
    runs: Runs,
    log_omitted_bytes: u64,
}

impl Attempts<'_> {
    /// Builds in memory where that is possible, and else, or when it did not fit there, on disk.
    fn until_it_fits(&self) -> Result<(JobDirectory, Attempt), WorkerError> {
        let Some(tree) = place_in_memory(self.job, self.host, self.source, self.memory_limit) else {
            return self.on_disk(None);
        };
        let directory = JobDirectory::in_memory(self.host.work, tree, self.wants())?;
        let attempt = self.build_in(&directory, None)?;
        match directory.memory().and_then(|tree| reason_for_disk(&attempt.runs.last, tree)) {
            None => Ok((directory, attempt)),
            Some(reason) => {
                // What it held in memory is gone before it is made once more.
                drop(directory);
                let (directory, mut again) =
                    self.on_disk(Some(&format!("started again, on disk: {reason}")))?;
                again.runs.usage = sum(&attempt.runs.usage, &again.runs.usage);
                Ok((directory, again))
            }
        }
    }

    fn on_disk(&self, note: Option<&str>) -> Result<(JobDirectory, Attempt), WorkerError> {
        let directory = JobDirectory::create(self.host.work, &stem(&self.job.srpm_path), self.wants())?;
        let attempt = self.build_in(&directory, note)?;
        Ok((directory, attempt))
    }

    /// Builds in a directory; the log begins with a note, if there is one.
    fn build_in(&self, directory: &JobDirectory, note: Option<&str>) -> Result<Attempt, WorkerError> {
        let (job, host) = (self.job, self.host);
        let is_keepable = self.wants().temporary_directories;
        let mut spec = sandbox_spec(job, self.root.lowers.clone(), &directory.places(), is_keepable);
        spec.record_opens = self.record_opens;
        spec.limits.memory_bytes = self.memory_limit;
        self.tuning.apply(&mut spec);
        let mut log = LogFile::create(host.log, job.log_limit_bytes).context("create", host.log)?;
        let noted = note.map_or(Ok(()), |note| log.write(format!("[millwright: {note}]\n").as_bytes()));
        let runs = run_all(job, host, directory, &spec, self.source, &mut log);
        // The log is finished whatever became of the runs: it may say why.
        let log_omitted_bytes = noted.and_then(|()| log.finish()).context("write", host.log)?;
        Ok(Attempt { runs: runs?, log_omitted_bytes })
    }

    fn wants(&self) -> Wants {
        let temporary_directories = self.host.clean.may_keep();
        Wants { ccache_links: self.job.ccache.is_some(), temporary_directories }
    }
}

/// Returns how the root of a job is made.
pub(crate) fn root_options(job: &JobDocument) -> RootOptions {
    let memory_bytes = job.limits.memory_limit_bytes.or_else(memory::memory_for_builds);
    let transaction_limits = TransactionLimits { memory_bytes, ..TransactionLimits::default() };
    RootOptions { common: job.common.clone(), transaction_limits, ..RootOptions::default() }
}

/// All runs of rpmbuild for one job.
struct Runs {
    last: Ran,
    usage: ResourceUsage,
    phases: Vec<PhaseUsage>,
    asked: Asked,
}

impl Runs {
    fn only(last: Ran, asked: Asked) -> Self {
        Self { usage: usage_of(&last.outcome), phases: last.phases.clone(), asked, last }
    }
}

/// What `%generate_buildrequires` turned out to ask for.
enum Asked {
    /// Nothing that the build root is not made for.
    Nothing,
    /// All these, and the build root was made for others.
    Others(Vec<Requirement>),
    /// What it left is no list of requirements.
    Unreadable(String),
}

/// Asks `%generate_buildrequires`, where there is one, and builds when the root is made for the answer.
fn run_all(
    job: &JobDocument,
    host: &Host<'_>,
    directory: &JobDirectory,
    spec: &SandboxSpec,
    source: &IndexedSource,
    log: &mut LogFile,
) -> Result<Runs, WorkerError> {
    let run_host = host.run(directory);
    let mut build_spec = spec.clone();
    if let Some(section) = host.stop_before {
        stop_before(&mut build_spec.arguments, section);
        // Who wants to look into a section wants the tree as it is before it, whatever was asked for.
        return run(job, &run_host, &build_spec, log).map(|last| Runs::only(last, Asked::Nothing));
    }
    if !source.header.generates_build_requires {
        return run(job, &run_host, &build_spec, log).map(|last| Runs::only(last, Asked::Nothing));
    }
    let mut asking_spec = spec.clone();
    Purpose::Requirements.apply(&mut asking_spec.arguments);
    let asking = run(job, &run_host, &asking_spec, log)?;
    let asked = match asking.outcome.end {
        End::Exited { code: generated::GENERATED } => {
            let srpms = directory.places().top.join("SRPMS");
            match generated::requirements(&srpms, &source.header)? {
                Ok(requirements) => requirements,
                Err(message) => return Ok(Runs::only(asking, Asked::Unreadable(message))),
            }
        }
        End::Exited { code: 0 } => Vec::new(),
        _ => return Ok(Runs::only(asking, Asked::Nothing)),
    };
    if asked != job.generated {
        return Ok(Runs::only(asking, Asked::Others(asked)));
    }
    Purpose::PreparedBuild.apply(&mut build_spec.arguments);
    let last = run(job, &run_host, &build_spec, log)?;
    let usage = sum(&usage_of(&asking.outcome), &usage_of(&last.outcome));
    let phases = asking.phases.into_iter().chain(last.phases.iter().cloned()).collect();
    Ok(Runs { phases, usage, asked: Asked::Nothing, last })
}

/// Returns the SRPM after comparing its hash with the job's.
fn check_srpm(job: &JobDocument) -> Result<IndexedSource, WorkerError> {
    let path = PathBuf::from(&job.srpm_path);
    let found = repository::read_source_package(&path)?;
    if found.sha256 != job.srpm_sha256 {
        return Err(WorkerError::WrongSrpm {
            path,
            found: found.sha256.to_string(),
            expected: job.srpm_sha256.to_string(),
        });
    }
    Ok(found)
}

fn artifact(job: &JobDocument, source: &IndexedSource) -> PackageArtifact {
    let (nevra, sha256) = (source.header.nevra.clone(), source.sha256.clone());
    PackageArtifact { nevra, path: job.srpm_path.clone(), sha256, size: source.size }
}

/// What one run of rpmbuild needs from its host.
pub(crate) struct RunHost<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) log: &'a Path,
    /// What counts against the disk limit, with the log.
    pub(crate) directory: &'a Path,
    /// The file system in memory that the directory is, if it is one.
    pub(crate) memory: Option<&'a MemoryTree>,
    pub(crate) on_phase: &'a (dyn Fn(&str) + Sync),
}

impl<'a> Host<'a> {
    fn run(&self, directory: &'a JobDirectory) -> RunHost<'a> {
        RunHost {
            sandbox: self.sandbox,
            log: self.log,
            directory: directory.path(),
            memory: directory.memory(),
            on_phase: self.on_phase,
        }
    }
}

/// Runs rpmbuild in its root, its output into the log.
pub(crate) fn run(
    job: &JobDocument,
    host: &RunHost<'_>,
    spec: &SandboxSpec,
    log: &mut LogFile,
) -> Result<Ran, WorkerError> {
    let mut spec = spec.clone();
    spec.limits.memory_bytes = spec.limits.memory_bytes.or_else(memory::memory_for_builds);
    spec.count_written = host.memory.is_none();
    let with_written = |probe: Probe| match host.memory {
        // What is in memory now stands for what was written.
        Some(tree) => Probe { written_bytes: tree.held().ok().map(|held| held.bytes), ..probe },
        None => probe,
    };
    let (reader, writer) = io::pipe().context("open a pipe for", host.log)?;
    let second = writer.try_clone().context("open a pipe for", host.log)?;
    let streams = SandboxIo { stdin: None, stdout: writer.into(), stderr: second.into() };
    let started = Instant::now();
    let running = host.sandbox.spawn(&spec, streams)?;
    let (killer, (alive, ended)) = (running.kill_handle(), channel());
    let follower = Follower {
        on_phase: host.on_phase,
        probe: &|| running.probe().map(with_written),
        flood: job.log_limit_bytes.saturating_mul(JobDocument::FLOOD),
        kill: &|| running.kill(),
    };
    let (followed, passed) = std::thread::scope(|scope| {
        let mut watcher = None;
        let watch_disk = || {
            watcher = Some(scope.spawn(move || {
                let allowed = Held { bytes: job.disk_limit_bytes, files: job.limits.file_limit };
                let passed = watch(host.directory, host.memory, host.log, allowed, &ended);
                if passed.is_some() {
                    killer.kill();
                }
                passed
            }));
        };
        // A thread costs a small package, which ends sooner, more than all its looks.
        let output = Patient::new(reader, SOON, watch_disk);
        let followed = follow(output, log, &follower);
        drop(alive);
        (followed, watcher.and_then(|watcher| watcher.join().unwrap_or(None)))
    });
    let finished = Instant::now();
    let mut outcome = running.wait()?;
    outcome.last_probe = outcome.last_probe.map(with_written);
    let Followed { phases, check, flooded, written } = followed;
    written.context("write", host.log)?;
    let phases = phase_usage(started, &phases, outcome.last_probe, finished);
    let host_disk_full = is_full(&[host.directory, host.log]);
    let memory_limit = spec.limits.memory_bytes;
    Ok(Ran { outcome, phases, check, flooded, passed, host_disk_full, memory_limit })
}

/// Returns an SRPM's file name without `.src.rpm`.
pub(crate) fn stem(srpm: &str) -> String {
    let name =
        Path::new(srpm).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_suffix(".src.rpm").unwrap_or(&name).to_owned()
}
