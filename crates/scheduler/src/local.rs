//! The local executor: one `pkgworker` process for each attempt.
//!
//! The scheduler's end of the contract: a job document and directories go in; progress comes as JSON lines
//! on the worker's standard output; the result document says how it ended. The worker's standard input is a
//! pipe that nobody writes to: it closes when this process ends, however it ends, and the worker with its
//! whole sandbox goes with it. So killing the scheduler leaves nothing running.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLock};

use report::{Event, Reporter};
use rpm_model::{
    CcacheMount, CleanPolicy, Dependency, JobDocument, Requirement, ResultDocument, TuningMode,
    WorkerManifest,
};

use crate::run::{Attempt, Builder};
use crate::task::PackageTask;
use crate::universe::{RootRequest, Universe};

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
    /// ccache's directory, when it is used; each spec has its own below it.
    pub ccache: Option<PathBuf>,
    /// When build roots are removed.
    pub clean: CleanPolicy,
    /// Told of sections that start.
    pub reporter: &'a dyn Reporter,
}

impl Builder for LocalBuilder<'_> {
    fn build(&self, package: &str, _attempt: u32) -> Attempt {
        let job = match self.job(package) {
            Ok(job) => job,
            Err(attempt) => return attempt,
        };
        match self.run_worker(&job) {
            Ok(result) => Attempt::Ran { job: Box::new(job), result: Box::new(result) },
            Err(text) => Attempt::Infrastructure(text),
        }
    }
}

impl LocalBuilder<'_> {
    /// Returns what a worker is to be asked, or how the attempt ends without one.
    pub fn job(&self, package: &str) -> Result<JobDocument, Attempt> {
        let Some(task) = self.tasks.get(package) else {
            return Err(Attempt::Infrastructure(format!("`{package}` has no task")));
        };
        let root = {
            let universe = self.universe.read().unwrap_or_else(PoisonError::into_inner);
            let requirements = self.requirements(task);
            universe.resolve(&RootRequest {
                requirements: &requirements,
                conflicts: &task.spec.build_conflicts,
                core: self.worker.core.packages(),
                specs: &task.root_specs,
                arch: &self.worker.arch,
            })
        };
        let root = match root {
            Ok(root) => root,
            Err(explanation) => return Err(Attempt::Unresolvable(explanation)),
        };
        for note in root.notes {
            self.reporter.event(&Event::Warning { message: format!("{package}: {note}") });
        }
        Ok(JobDocument {
            schema: JobDocument::SCHEMA,
            package: package.to_owned(),
            srpm_path: task.srpm.to_string_lossy().into_owned(),
            srpm_sha256: task.srpm_sha256.clone(),
            lock: root.lock,
            common: self.worker.core_contents(),
            arch: self.worker.arch.clone(),
            defines: self.defines.clone(),
            macros_file: self.macros_file.as_ref().map(|path| path.to_string_lossy().into_owned()),
            run_check: task.run_check,
            max_cpu: Some(task.max_cpu),
            timeout_seconds: task.timeout.as_secs(),
            disk_limit_bytes: task.disk_limit_bytes,
            limits: task.limits.clone(),
            ccache: self.ccache_mount(package),
            tuning: self.tuning,
            expected: task.spec.packages.iter().map(|package| package.nevra.clone()).collect(),
        })
    }

    fn requirements(&self, task: &PackageTask) -> Vec<Requirement> {
        let mut requirements = task.spec.requirements(task.run_check).to_vec();
        if self.ccache.is_some() {
            requirements.push(Dependency::any("ccache").into());
        }
        requirements
    }

    /// Returns a spec's own ccache directory; the worker makes it.
    fn ccache_mount(&self, package: &str) -> Option<CcacheMount> {
        let directory = self.ccache.as_ref()?.join("work").join(&self.worker.arch).join(package);
        Some(CcacheMount { directory: directory.to_string_lossy().into_owned(), config: None })
    }

    /// Runs one worker to its end and returns its result document, or a sentence on why there is none.
    fn run_worker(&self, job: &JobDocument) -> Result<ResultDocument, String> {
        let place = self.directories.work.join("jobs").join(&job.package);
        if place.exists() {
            fs::remove_dir_all(&place).map_err(|error| tell("remove", &place, &error))?;
        }
        fs::create_dir_all(&place).map_err(|error| tell("create", &place, &error))?;
        let (job_file, result_file) = (place.join("job.json"), place.join("result.json"));
        let bytes =
            serde_json::to_vec_pretty(job).map_err(|error| format!("cannot encode the job: {error}"))?;
        fs::write(&job_file, bytes).map_err(|error| tell("write", &job_file, &error))?;
        let mut child = self
            .command(job, &job_file, &result_file, &place)
            .spawn()
            .map_err(|error| tell("start", &self.program, &error))?;
        // Held until the worker has ended: its end of the pipe tells it that we live.
        let lifeline = child.stdin.take();
        let complaints = self.follow(&mut child);
        let status = child.wait().map_err(|error| format!("cannot wait for pkgworker: {error}"))?;
        drop(lifeline);
        match fs::read(&result_file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| format!("the worker's result is unreadable: {error}")),
            Err(_) => Err(format!("pkgworker ended with {status} and no result: {complaints}")),
        }
    }

    fn command(&self, job: &JobDocument, job_file: &Path, result_file: &Path, place: &Path) -> Command {
        let srpm = Path::new(&job.srpm_path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = Command::new(&self.program);
        command
            .arg("--lifeline")
            .arg("--job")
            .arg(job_file)
            .arg("--result")
            .arg(result_file)
            .arg("--work-dir")
            .arg(&self.directories.kept)
            .arg("--output")
            .arg(place.join("rpms"))
            .arg("--layers")
            .arg(&self.directories.layers)
            .arg("--log-file")
            .arg(self.directories.logs.join(format!("{srpm}.log")))
            .arg("--clean")
            .arg(self.clean.as_str());
        // A group of its own: Ctrl-C reaches this process, which decides what becomes of its workers.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Passes the worker's events on until it closes its output; returns what it complained about.
    fn follow(&self, child: &mut Child) -> String {
        let errors = child.stderr.take();
        std::thread::scope(|scope| {
            let complaints = scope.spawn(|| {
                let lines = errors.map(|stream| BufReader::new(stream).lines().map_while(Result::ok));
                lines.into_iter().flatten().collect::<Vec<String>>().join("\n")
            });
            if let Some(stream) = child.stdout.take() {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if let Ok(event) = serde_json::from_str::<Event>(&line) {
                        self.reporter.event(&event);
                    }
                }
            }
            complaints.join().unwrap_or_default()
        })
    }
}

fn tell(operation: &str, path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("cannot {operation} `{}`: {error}", path.display())
}
