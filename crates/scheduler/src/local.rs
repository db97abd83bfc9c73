//! What a package is built from, and the `pkgworker` process that builds it on this host.
//!
//! The scheduler's end of the contract: a job document and directories go in; progress comes as JSON lines
//! on the worker's standard output; the result document says how it ended. A worker builds one job after another,
//! which are named to it on its standard input. That closes when this process ends, however it ends, and the worker
//! with its whole sandbox goes with it. So killing the scheduler leaves nothing running.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{PoisonError, RwLock};

use pkgworker::service::WorkRequest;
use pkgworker::{MOST_ROUNDS, WORKER_SEMANTICS, changed_requirements};
use rebuild::build_identity;
use rebuild::bump::Rise;
use report::{Event, Reporter};
use rpm_model::{
    BuildrootLock, CleanPolicy, ContentDigest, JobDocument, Requirement, ResultDocument, TuningMode,
    WorkerManifest,
};

use crate::caches::CompilerCaches;
use crate::execute::{Attempt, Fence, Input, InputKind, JobFacts, JobSpec, Worker, times};
use crate::generated::Learned;
use crate::releases::Releases;
use crate::reuse::{ResultPlaces, ResultReuse};
use crate::root::Roots;
use crate::run::{Builder, Generated, Job, Preparation, PrepareRequest};
use crate::task::PackageTask;
use crate::trial::{JobPlace, Rises};
use crate::universe::{RootRequest, Universe};
use crate::workers::Workers;

/// Where workers find and leave things.
#[derive(Clone, Debug)]
pub struct LocalDirectories {
    /// Job documents, job directories and outputs of running builds.
    pub work: PathBuf,
    /// The layer store.
    pub layers: PathBuf,
    /// One log per SRPM.
    pub logs: PathBuf,
    /// Where failed build roots are kept.
    pub kept: PathBuf,
}

/// Builds packages by `pkgworker` processes on this host.
pub struct LocalBuilder<'a> {
    /// The `pkgworker` program.
    pub program: PathBuf,
    /// Where workers find and leave things.
    pub directories: LocalDirectories,
    /// Macros that every build is given.
    pub defines: BTreeMap<String, String>,
    /// A file of macros that every build reads.
    pub macros_file: Option<PathBuf>,
    /// What stands for rpmbuild's helper scripts.
    pub tuning: TuningMode,
    /// The worker that build roots start from.
    pub worker: &'a WorkerManifest,
    /// What is known of each spec.
    pub tasks: &'a BTreeMap<String, PackageTask>,
    /// The packages that exist.
    pub universe: &'a RwLock<Universe>,
    /// Compiler caches, as far as they are used.
    pub caches: &'a CompilerCaches,
    /// How many times its memory limit a package is given that ran out of it.
    pub memory_retry: Option<f64>,
    /// Why packages of this run rise.
    pub rises: Rises,
    /// The worker processes.
    pub workers: Workers,
    /// What specs generate that could not be had in this run.
    pub learned: &'a Learned,
    /// Results of other builds.
    pub results: &'a ResultReuse,
    /// When build roots are removed.
    pub clean: CleanPolicy,
    /// Whether each build is watched, so that it is told which of its requirements it opens nothing of.
    pub find_unused: bool,
    /// Told of sections that start.
    pub reporter: &'a dyn Reporter,
}

impl Builder for LocalBuilder<'_> {
    fn prepare(&self, package: &str, request: &PrepareRequest) -> Preparation {
        self.rises.set(package, request.rise);
        let Some(task) = self.tasks.get(package) else {
            return Preparation::Infrastructure(format!("`{package}` has no task"));
        };
        // Only a build shows what it opens.
        if request.anew || self.find_unused {
            self.results.build_anew(package);
        }
        let found = match &request.generated {
            Some(Generated { before, now, rounds }) if *rounds >= MOST_ROUNDS => {
                let changes = changed_requirements(before, now);
                return Preparation::Unresolvable(format!(
                    "%generate_buildrequires does not settle: in round {rounds} it {changes}"
                ));
            }
            Some(generated) => self.document_for(task, &generated.now),
            None => {
                // What it asked for before is a guess; what it says now is what it asks for.
                let guess = self.known(task);
                let found = self.document_for(task, &guess);
                if found.is_err() && !guess.is_empty() { self.document_for(task, &[]) } else { found }
            }
        };
        match found.map(|document| self.job_of(task, document, request)) {
            Ok(Ok(job)) => Preparation::Ready(Box::new(job)),
            Ok(Err(text)) => Preparation::Infrastructure(text),
            Err(unavailable) => unavailable,
        }
    }
}

impl Worker for LocalBuilder<'_> {
    fn work(&self, attempt: &Attempt, job: &JobDocument, fence: &Fence) -> Result<ResultDocument, String> {
        let package = self.directories.work.join("jobs").join(&job.package);
        if package.exists() {
            fs::remove_dir_all(&package).map_err(|error| tell("remove", &package, &error))?;
        }
        // A worker of an earlier attempt that has not noticed its end yet finds nothing to write to.
        let directory = package.join(&attempt.token.reveal()[..16]);
        self.run_released(job, fence, &JobPlace { directory, log: self.log_file(job) })
    }
}

impl LocalBuilder<'_> {
    /// Returns what a worker is to be asked, or why nothing can be asked.
    pub fn job(&self, package: &str) -> Result<JobDocument, Preparation> {
        match self.prepare(package, &PrepareRequest::default()) {
            Preparation::Ready(job) => Ok(job.document),
            other => Err(other),
        }
    }

    /// Returns the document of a build in a root for what is asked for, or what becomes of the spec without one.
    fn document_for(&self, task: &PackageTask, asked: &[Requirement]) -> Result<JobDocument, Preparation> {
        match self.resolve(task, asked) {
            Ok(lock) => Ok(self.document(task, lock, asked.to_vec())),
            Err(explanation) => Err(self.not_there(task, asked, explanation)),
        }
    }

    /// Returns the job that a document describes.
    fn job_of(
        &self,
        task: &PackageTask,
        mut document: JobDocument,
        request: &PrepareRequest,
    ) -> Result<Job, String> {
        let file = |path: &Path| {
            let bytes = fs::read(path).map_err(|error| tell("read", path, &error))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (sha256, size) = (ContentDigest::of_bytes(&bytes), bytes.len() as u64);
            Ok::<Input, String>(Input {
                path: format!("macros/{name}"),
                sha256,
                size,
                kind: InputKind::Macros,
            })
        };
        let macros_file = self.macros_file.as_deref().map(file).transpose()?;
        self.release(task, &mut document, request.rise);
        let srpm = fs::metadata(&task.srpm).map_err(|error| tell("read", &task.srpm, &error))?;
        let identity = build_identity(&task.inputs, &document);
        let facts = JobFacts {
            identity: &identity,
            macros_file: macros_file.as_ref(),
            srpm_size: srpm.len(),
            worker_semantics: WORKER_SEMANTICS,
        };
        document.max_cpu = Some(request.cpus.unwrap_or(task.max_cpu));
        if request.more_memory {
            let raised = document
                .limits
                .memory_limit_bytes
                .map(|bytes| times(bytes, self.memory_retry.unwrap_or(1.0)));
            document.limits.memory_limit_bytes = raised;
        }
        Ok(Job { spec: JobSpec::new(&document, &facts), document })
    }

    /// Gives a document the release that its packages are built under.
    fn release(&self, task: &PackageTask, document: &mut JobDocument, rise: Rise) {
        let universe = self.universe.read().unwrap_or_else(PoisonError::into_inner);
        let releases = Releases::new(task, &universe, &self.defines);
        document.dist_counter = releases.wanted(rise).unwrap_or_else(|error| {
            let name = &task.spec.name;
            let message = format!("{name} is built again under the release that it has: {error}");
            self.reporter.event(&Event::Warning { message });
            releases.kept()
        });
        document.expected = releases.named(document.dist_counter);
    }

    /// Returns what `%generate_buildrequires` is known to ask for: what it asked for in this run, else last time.
    fn known(&self, task: &PackageTask) -> Vec<Requirement> {
        self.learned.of(&task.spec.name).unwrap_or_else(|| task.generated_before.clone())
    }

    /// Returns the build root for what a spec states, what its caches need and what it generates.
    fn resolve(&self, task: &PackageTask, generated: &[Requirement]) -> Result<BuildrootLock, String> {
        let arch = &self.worker.arch;
        let roots = Roots { worker: self.worker, caches: self.caches, learned: self.learned };
        let requirements = roots.requirements(task, generated);
        let universe = self.universe.read().unwrap_or_else(PoisonError::into_inner);
        let root = universe.resolve(&RootRequest {
            requirements: &requirements,
            conflicts: &task.spec.build_conflicts,
            core: self.worker.core.packages(),
            specs: &task.root_specs,
            arch,
        })?;
        for note in root.notes {
            let message = format!("{}: {note}", task.spec.name);
            self.reporter.event(&Event::Warning { message });
        }
        Ok(root.lock)
    }

    /// Returns what becomes of a spec whose generated requirements cannot be had now. Once in a run the graph is
    /// asked: it may know a spec whose packages provide them.
    fn not_there(&self, task: &PackageTask, asked: &[Requirement], explanation: String) -> Preparation {
        if asked.is_empty() {
            return Preparation::Unresolvable(explanation);
        }
        let list: Vec<String> = asked.iter().map(|requirement| format!("`{requirement}`")).collect();
        let text = format!("%generate_buildrequires asks for {}: {explanation}", list.join(", "));
        if self.learned.add(&task.spec.name, asked) {
            Preparation::Postponed(text)
        } else {
            Preparation::Unresolvable(text)
        }
    }

    fn document(&self, task: &PackageTask, lock: BuildrootLock, generated: Vec<Requirement>) -> JobDocument {
        let arch = &self.worker.arch;
        JobDocument {
            schema: JobDocument::SCHEMA,
            package: task.spec.name.clone(),
            srpm_path: task.srpm.to_string_lossy().into_owned(),
            srpm_sha256: task.srpm_sha256.clone(),
            lock,
            common: self.worker.core_contents(),
            arch: arch.clone(),
            defines: self.defines.clone(),
            dist_counter: None,
            macros_file: self.macros_file.as_ref().map(|path| path.to_string_lossy().into_owned()),
            run_check: task.run_check,
            has_check: Some(task.spec.has_check),
            generated,
            max_cpu: Some(task.max_cpu),
            timeout_seconds: task.timeout.as_secs(),
            disk_limit_bytes: task.disk_limit_bytes,
            limits: task.limits.clone(),
            log_limit_bytes: task.log_limit_bytes,
            ccache: self.caches.ccache(&task.spec, arch),
            sccache: self.caches.sccache(&task.spec, arch),
            tuning: self.tuning,
            surroundings: Default::default(),
            expected: Vec::new(),
        }
    }

    /// Runs one worker to its end and returns its result document, or a sentence on why there is none.
    pub(crate) fn run_worker(
        &self,
        job: &JobDocument,
        fence: &Fence,
        place: &JobPlace,
    ) -> Result<ResultDocument, String> {
        let package = self.directories.work.join("jobs").join(&job.package);
        let JobPlace { directory: place, log } = place;
        fs::create_dir_all(place).map_err(|error| tell("create", place, &error))?;
        let (job_file, result_file) = (package.join("job.json"), place.join("result.json"));
        let bytes =
            serde_json::to_vec_pretty(job).map_err(|error| format!("cannot encode the job: {error}"))?;
        fs::write(&job_file, bytes).map_err(|error| tell("write", &job_file, &error))?;
        // People and `millwright shell` look for it beside the job.
        let shown = package.join("result.json");
        let places = ResultPlaces { rpms: &place.join("rpms"), log };
        if let Some(reused) = self.results.find(job, places, self.reporter) {
            let bytes = serde_json::to_vec_pretty(&reused)
                .map_err(|error| format!("cannot encode the result: {error}"))?;
            fs::write(&shown, bytes).map_err(|error| tell("write", &shown, &error))?;
            return Ok(reused);
        }
        let request = WorkRequest {
            job: job_file,
            result: result_file.clone(),
            output: place.join("rpms"),
            log: log.clone(),
        };
        self.workers
            .work(|| self.command(), &request, fence, self.reporter)
            .map_err(|failure| failure.to_string())?;
        let bytes = fs::read(&result_file).map_err(|error| tell("read", &result_file, &error))?;
        fs::rename(&result_file, &shown).map_err(|error| tell("rename", &result_file, &error))?;
        let result: ResultDocument = serde_json::from_slice(&bytes)
            .map_err(|error| format!("the worker's result is unreadable: {error}"))?;
        // Only this process takes results from stores, whatever a worker says.
        Ok(ResultDocument { reused: None, ..result })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--serve")
            .arg("--work-dir")
            .arg(&self.directories.kept)
            .arg("--layers")
            .arg(&self.directories.layers)
            .arg("--clean")
            .arg(self.clean.as_str());
        if self.find_unused {
            command.arg("--find-unused");
        }
        // A group of its own: Ctrl-C reaches this process, which decides what becomes of its workers.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// Returns where a job's log is.
    fn log_file(&self, job: &JobDocument) -> PathBuf {
        let srpm = Path::new(&job.srpm_path).file_name().unwrap_or_default().to_string_lossy();
        self.directories.logs.join(format!("{srpm}.log"))
    }
}

fn tell(operation: &str, path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("cannot {operation} `{}`: {error}", path.display())
}
