//! Our side: the worker as the scheduler starts it and gives it jobs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use buildroot::{
    BindMount, LayerRequest, LayerStore, RootOptions, Sandbox, SandboxIo, SandboxSpec, SetuidPolicy, Upper,
};
use pkgworker::service::{Answer, WorkReply, WorkRequest, WorkerProcess};
use rpm_model::{JobDocument, ResultDocument};
use serde::de::DeserializeOwned;

use super::{cpu, wall};
use crate::error::BenchError;
use crate::measure::{Cost, of_children, run};
use crate::tree::Tree;

/// A program that does nothing.
const EMPTY_PROGRAM: &str = "/usr/bin/true";

/// How long between two looks at a worker's memory.
const GLANCE: Duration = Duration::from_millis(1);

/// How often the empty sandbox runs for one figure of it.
const EMPTY_RUNS: usize = 5;

/// A job that is built again and again.
pub(super) struct Ours {
    pub(super) srpm: PathBuf,
    pub(super) job: JobDocument,
    job_file: PathBuf,
    sandbox: Sandbox,
    empty: SandboxSpec,
    /// Where its builds leave what they make, each in a directory of its own.
    measured: PathBuf,
    builds: AtomicU32,
}

/// What one build cost; times in milliseconds.
pub(super) struct OursCost {
    /// The worker and all that it started.
    pub(super) whole: Cost,
    /// Mounting, entering and leaving the sandbox.
    pub(super) sandbox_cpu: f64,
    /// rpmbuild and all that it started.
    pub(super) rpmbuild_cpu: f64,
    pub(super) rpmbuild_wall: f64,
    /// What the worker says that it spent outside the sandbox.
    pub(super) told_overhead: f64,
    /// Names of the packages, sorted.
    pub(super) packages: Vec<String>,
}

impl OursCost {
    /// Returns the processor time of all but rpmbuild.
    pub(super) fn overhead_cpu(&self) -> f64 {
        cpu(self.whole) - self.rpmbuild_cpu
    }

    /// Returns the wall time of all but rpmbuild.
    pub(super) fn overhead_wall(&self) -> f64 {
        wall(self.whole) - self.rpmbuild_wall
    }
}

impl Ours {
    /// Takes the job that `millwright build` left of a package, and gives it all processors: rpmbuild in a chroot
    /// takes them all, and the tree's jobs share them.
    pub(super) fn new(tree: &Tree, name: &'static str) -> Result<Self, BenchError> {
        let left = tree.path(&format!("build/work/jobs/{name}/job.json"));
        let mut job: JobDocument = read(&left, "job document")?;
        let processors =
            std::thread::available_parallelism().map_err(BenchError::io("count", Path::new("processors")))?;
        job.max_cpu = u32::try_from(processors.get()).ok();
        let job_file = tree.path(&format!("{name}.json"));
        let text = serde_json::to_vec_pretty(&job).map_err(|source| BenchError::Document {
            what: "job document",
            path: job_file.clone(),
            source,
        })?;
        fs::write(&job_file, text).map_err(BenchError::io("write", &job_file))?;
        let layers = LayerStore::open(&tree.path("build/cache/layers"), SetuidPolicy::Strip)?;
        let requests: Vec<LayerRequest> = job.lock.packages().iter().map(LayerRequest::from).collect();
        let options = RootOptions { common: job.common.clone(), ..RootOptions::default() };
        let root = layers.root_plan(&requests, &options)?;
        let top = tree.path("empty-build");
        fs::create_dir_all(&top).map_err(BenchError::io("create", &top))?;
        let mut empty = SandboxSpec::new(root.lowers, vec![EMPTY_PROGRAM.to_owned()]);
        empty.upper = Upper::None;
        empty.read_only_root = true;
        empty.count_written = false;
        empty.binds.push(BindMount { source: top, target: "/build".into(), read_only: false });
        let sandbox = Sandbox::with_init(&tree.program("buildroot-init"));
        let srpm = PathBuf::from(&job.srpm_path);
        let measured = tree.path("measured").join(name);
        fs::create_dir_all(&measured).map_err(BenchError::io("create", &measured))?;
        Ok(Self { srpm, job, job_file, sandbox, empty, measured, builds: AtomicU32::new(0) })
    }

    /// Has a worker build it so many times, one after another as the scheduler gives it jobs, with the native stand-ins
    /// for rpmbuild's scripts or without; returns what one build cost.
    pub(super) fn build(&self, tree: &Tree, tuned: bool, jobs: u32) -> Result<OursCost, BenchError> {
        let (results, whole) = of_children(|| self.serve(tree, tuned, jobs, drop))?;
        let stand_ins: &[String] = results.first().map_or(&[], |result| &result.tuning.stand_ins);
        let sandbox = self.sandbox_cost(tree, stand_ins)?;
        let mean = |value: &dyn Fn(&ResultDocument) -> f64| {
            results.iter().map(value).sum::<f64>() / f64::from(jobs) * 1e3
        };
        let mut packages: Vec<String> =
            results.iter().flat_map(|result| &result.rpms).map(|rpm| rpm.nevra.file_name()).collect();
        packages.sort();
        packages.dedup();
        Ok(OursCost {
            whole: Cost { wall: whole.wall / jobs, cpu: whole.cpu / jobs },
            sandbox_cpu: cpu(sandbox),
            rpmbuild_cpu: mean(&|result| result.usage.cpu_seconds) - cpu(sandbox),
            rpmbuild_wall: mean(&|result| result.usage.wall_seconds) - wall(sandbox),
            told_overhead: mean(&|result| result.overhead_seconds),
            packages,
        })
    }

    /// Builds it once more.
    pub(super) fn build_once(&self, tree: &Tree) -> Result<ResultDocument, BenchError> {
        let none = || BenchError::Worker("it was asked for nothing".to_owned());
        self.serve(tree, true, 1, drop)?.pop().ok_or_else(none)
    }

    /// Has it built so many times and returns the most memory that the worker itself had resident, in MiB.
    ///
    /// The kernel keeps the largest value for as long as the process lives; it is read until then.
    pub(super) fn peak_memory(&self, tree: &Tree, jobs: u32) -> Result<f64, BenchError> {
        let peak = Mutex::new(0.0_f64);
        self.serve(tree, true, jobs, |process| {
            while let Some(mebibytes) = resident(process) {
                if let Ok(mut peak) = peak.lock() {
                    *peak = peak.max(mebibytes);
                }
                std::thread::sleep(GLANCE);
            }
        })?;
        Ok(peak.into_inner().unwrap_or_default())
    }

    /// Starts a worker, has it build it so many times, waits for its end and returns the results; `watch` is given
    /// the worker's process id and must come to its end with it.
    fn serve(
        &self,
        tree: &Tree,
        tuned: bool,
        jobs: u32,
        watch: impl FnOnce(u32) + Send,
    ) -> Result<Vec<ResultDocument>, BenchError> {
        let mut command = tree.command("pkgworker", &["--serve"]);
        command.args((!tuned).then_some("--untuned"));
        command.arg("--work-dir").arg(tree.path("build/worker/chroot"));
        command.arg("--layers").arg(tree.path("build/cache/layers"));
        let spoken = |error| BenchError::io("speak with", &tree.program("pkgworker"))(error);
        let mut worker = WorkerProcess::start(command).map_err(spoken)?;
        let process = worker.id();
        std::thread::scope(|scope| {
            scope.spawn(move || watch(process));
            let results = (0..jobs).map(|_| self.job_of(tree, &mut worker)).collect();
            let (status, complaints) = worker.end().map_err(spoken)?;
            if status.success() {
                return results;
            }
            let (program, log) = ("pkgworker".to_owned(), self.measured.clone());
            Err(BenchError::Ended { program, status, last_lines: complaints, log })
        })
    }

    /// Has a worker do the job once.
    fn job_of(&self, tree: &Tree, worker: &mut WorkerProcess) -> Result<ResultDocument, BenchError> {
        // What was built before is not removed before the end: see `memory`.
        let output = self.measured.join(self.builds.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&output).map_err(BenchError::io("create", &output))?;
        let request = WorkRequest {
            job: self.job_file.clone(),
            result: output.join("result.json"),
            output: output.join("rpms"),
            log: output.join("build.log"),
        };
        let program = tree.program("pkgworker");
        worker.give(&request).map_err(BenchError::io("speak with", &program))?;
        match worker.follow(drop) {
            Answer::Replied(WorkReply::Done) => read(&request.result, "result document"),
            Answer::Replied(WorkReply::Failed(text)) => Err(BenchError::Worker(text)),
            Answer::Silent => {
                let ended = std::io::ErrorKind::UnexpectedEof.into();
                Err(BenchError::io("hear from", &program)(ended))
            }
        }
    }

    /// Returns what the sandbox costs beside the program that runs in it: the worker's figures of its sandbox
    /// hold mounting and tearing down, which are no part of rpmbuild. It has as many mounts as a build's with these
    /// stand-ins.
    fn sandbox_cost(&self, tree: &Tree, stand_ins: &[String]) -> Result<Cost, BenchError> {
        let mut empty = self.empty.clone();
        let mut bind = |source: &Path, target: PathBuf| {
            empty.binds.push(BindMount { source: source.to_owned(), target, read_only: true });
        };
        bind(&self.srpm, "/run/millwright/srpm/source.src.rpm".into());
        let helper = tree.program("rpmbuild-helpers");
        stand_ins.iter().for_each(|path| bind(&helper, path.into()));
        // The directories of the scripts that are stood for are there a second time.
        let directories: BTreeSet<&Path> =
            stand_ins.iter().filter_map(|path| Path::new(path).parent()).collect();
        for number in 0..directories.len() {
            bind(&self.measured, format!("/run/millwright/originals/{number}").into());
        }
        let (mut inside, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..EMPTY_RUNS {
            inside.push(self.empty_sandbox(&empty)?);
            bare.push(run(&mut Command::new(EMPTY_PROGRAM), &tree.path("true.log"))?);
        }
        Ok(middle(inside).saturating_sub(middle(bare)))
    }

    /// Returns what the sandbox costs when a program that does nothing runs in it.
    fn empty_sandbox(&self, empty: &SandboxSpec) -> Result<Cost, BenchError> {
        let null = SandboxIo::null().map_err(BenchError::io("open", Path::new("/dev/null")))?;
        let outcome =
            self.sandbox.run(empty, null).map_err(|error| BenchError::Sandbox(error.to_string()))?;
        if !outcome.is_success() {
            return Err(BenchError::Sandbox(outcome.end.to_string()));
        }
        let usage = outcome.usage;
        Ok(Cost {
            wall: Duration::from_micros(usage.wall_us),
            cpu: Duration::from_micros(usage.user_us + usage.system_us),
        })
    }
}

/// Returns the most memory that a process had resident so far, in MiB; `None` when it has ended.
fn resident(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes / 1024.0)
}

/// Returns the middle of some costs, of wall and processor time each on its own.
fn middle(costs: Vec<Cost>) -> Cost {
    let middle = |value: fn(&Cost) -> Duration| {
        let mut values: Vec<Duration> = costs.iter().map(value).collect();
        values.sort();
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Cost { wall: middle(|cost| cost.wall), cpu: middle(|cost| cost.cpu) }
}

pub(super) fn read<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<T, BenchError> {
    let bytes = fs::read(path).map_err(BenchError::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| BenchError::Document {
        what,
        path: path.to_owned(),
        source,
    })
}
