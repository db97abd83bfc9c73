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

use pkgworker::{MOST_ROUNDS, changed_requirements};
use report::{Event, Reporter};
use rpm_model::{
    BuildrootLock, CleanPolicy, JobDocument, Outcome, Requirement, ResultDocument, TuningMode, WorkerManifest,
};

use crate::caches::CompilerCaches;
use crate::demand::Dispatch;
use crate::generated::Learned;
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
    /// Compiler caches, as far as they are used.
    pub caches: &'a CompilerCaches,
    /// What specs generate that could not be had in this run.
    pub learned: &'a Learned,
    /// When build roots are removed.
    pub clean: CleanPolicy,
    /// Told of sections that start.
    pub reporter: &'a dyn Reporter,
}

impl Builder for LocalBuilder<'_> {
    fn build(&self, dispatch: &Dispatch, _attempt: u32) -> Attempt {
        let package = dispatch.package.as_str();
        let Some(task) = self.tasks.get(package) else {
            return Attempt::Infrastructure(format!("`{package}` has no task"));
        };
        // What it asked for before is a guess; what it says now is what it asks for.
        let (mut asked, mut is_guess) = (self.known(task), true);
        let mut rounds = 0;
        loop {
            let lock = match self.resolve(task, &asked) {
                Ok(lock) => lock,
                Err(_) if is_guess && !asked.is_empty() => {
                    asked.clear();
                    continue;
                }
                Err(explanation) => return self.not_there(task, &asked, explanation),
            };
            let job = self.document(task, lock, asked.clone(), dispatch.cpus);
            let result = match self.run_worker(&job) {
                Ok(result) => result,
                Err(text) => return Attempt::Infrastructure(text),
            };
            let Outcome::RequirementsGenerated { requirements } = &result.outcome else {
                return Attempt::Ran { job: Box::new(job), result: Box::new(result) };
            };
            rounds += 1;
            if rounds == MOST_ROUNDS {
                let changes = changed_requirements(&asked, requirements);
                return Attempt::Unresolvable(format!(
                    "%generate_buildrequires does not settle: in round {rounds} it {changes}"
                ));
            }
            asked.clone_from(requirements);
            is_guess = false;
        }
    }
}

impl LocalBuilder<'_> {
    /// Returns what a worker is to be asked, or how the attempt ends without one.
    pub fn job(&self, package: &str) -> Result<JobDocument, Attempt> {
        let Some(task) = self.tasks.get(package) else {
            return Err(Attempt::Infrastructure(format!("`{package}` has no task")));
        };
        let generated = self.known(task);
        match self.resolve(task, &generated) {
            Ok(lock) => Ok(self.document(task, lock, generated, task.max_cpu)),
            Err(explanation) => Err(Attempt::Unresolvable(explanation)),
        }
    }

    /// Returns what `%generate_buildrequires` is known to ask for: what it asked for in this run, else last time.
    fn known(&self, task: &PackageTask) -> Vec<Requirement> {
        self.learned.of(&task.spec.name).unwrap_or_else(|| task.generated_before.clone())
    }

    /// Returns the build root for what a spec states, what its caches need and what it generates.
    fn resolve(&self, task: &PackageTask, generated: &[Requirement]) -> Result<BuildrootLock, String> {
        let arch = &self.worker.arch;
        let mut requirements = task.spec.requirements(task.run_check).to_vec();
        requirements.extend(self.caches.requirements(&task.spec, arch));
        requirements.extend(generated.iter().cloned());
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
    fn not_there(&self, task: &PackageTask, asked: &[Requirement], explanation: String) -> Attempt {
        if asked.is_empty() {
            return Attempt::Unresolvable(explanation);
        }
        let list: Vec<String> = asked.iter().map(|requirement| format!("`{requirement}`")).collect();
        let text = format!("%generate_buildrequires asks for {}: {explanation}", list.join(", "));
        if self.learned.add(&task.spec.name, asked) {
            Attempt::Postponed(text)
        } else {
            Attempt::Unresolvable(text)
        }
    }

    fn document(
        &self,
        task: &PackageTask,
        lock: BuildrootLock,
        generated: Vec<Requirement>,
        cpus: u32,
    ) -> JobDocument {
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
            macros_file: self.macros_file.as_ref().map(|path| path.to_string_lossy().into_owned()),
            run_check: task.run_check,
            has_check: Some(task.spec.has_check),
            generated,
            max_cpu: Some(cpus),
            timeout_seconds: task.timeout.as_secs(),
            disk_limit_bytes: task.disk_limit_bytes,
            limits: task.limits.clone(),
            log_limit_bytes: task.log_limit_bytes,
            ccache: self.caches.ccache(&task.spec, arch),
            sccache: self.caches.sccache(&task.spec, arch),
            tuning: self.tuning,
            expected: task.spec.packages.iter().map(|package| package.nevra.clone()).collect(),
        }
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
