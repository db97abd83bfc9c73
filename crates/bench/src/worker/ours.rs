//! Our side: the worker as the scheduler starts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use buildroot::{
    BindMount, LayerRequest, LayerStore, RootOptions, Sandbox, SandboxIo, SandboxSpec, SetuidPolicy, Upper,
};
use rpm_model::{JobDocument, ResultDocument};
use serde::de::DeserializeOwned;

use super::{cpu, wall};
use crate::error::BenchError;
use crate::measure::{Cost, run, run_watched};
use crate::tree::{Tree, empty_directory};

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
    name: &'static str,
    job_file: PathBuf,
    sandbox: Sandbox,
    empty: SandboxSpec,
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
        empty.binds.push(BindMount { source: top, target: "/build".into(), read_only: false });
        let sandbox = Sandbox::with_init(&tree.program("buildroot-init"));
        let srpm = PathBuf::from(&job.srpm_path);
        Ok(Self { srpm, job, name, job_file, sandbox, empty })
    }

    /// Builds it once, with the native stand-ins for rpmbuild's scripts or without.
    pub(super) fn build(&self, tree: &Tree, tuned: bool) -> Result<OursCost, BenchError> {
        let output = tree.path("measured");
        let (mut command, result_file) = self.command(tree, tuned)?;
        let whole = run(&mut command, &tree.path(&format!("{}.log", self.name)))?;
        self.cost(whole, &result_file, &output)
    }

    /// Builds it once more and returns the most memory that the worker itself had resident, in MiB.
    ///
    /// The kernel keeps the largest value for as long as the process lives; it is read until then.
    pub(super) fn peak_memory(&self, tree: &Tree) -> Result<f64, BenchError> {
        let (mut command, _) = self.command(tree, true)?;
        let peak = Mutex::new(0.0_f64);
        run_watched(&mut command, &tree.path("memory.log"), |process| {
            while let Some(mebibytes) = resident(process) {
                if let Ok(mut peak) = peak.lock() {
                    *peak = peak.max(mebibytes);
                }
                std::thread::sleep(GLANCE);
            }
        })?;
        Ok(peak.into_inner().unwrap_or_default())
    }

    /// Returns the command that builds it, and where its result will be.
    fn command(&self, tree: &Tree, tuned: bool) -> Result<(Command, PathBuf), BenchError> {
        let output = tree.path("measured");
        empty_directory(&output)?;
        let (result_file, work) = (output.join("result.json"), tree.path("build/worker/chroot"));
        let mut command = tree.command("pkgworker", &["--lifeline"]);
        command.args((!tuned).then_some("--untuned"));
        command
            .arg("--job")
            .arg(&self.job_file)
            .arg("--result")
            .arg(&result_file)
            .arg("--work-dir")
            .arg(work)
            .arg("--output")
            .arg(output.join("rpms"))
            .arg("--layers")
            .arg(tree.path("build/cache/layers"))
            .arg("--log-file")
            .arg(output.join("build.log"));
        Ok((command, result_file))
    }

    fn cost(&self, whole: Cost, result_file: &Path, output: &Path) -> Result<OursCost, BenchError> {
        let result: ResultDocument = read(result_file, "result document")?;
        let sandbox = self.sandbox_cost(&output.join("true.log"))?;
        let mut packages: Vec<String> = result.rpms.iter().map(|rpm| rpm.nevra.file_name()).collect();
        packages.sort();
        Ok(OursCost {
            whole,
            sandbox_cpu: cpu(sandbox),
            rpmbuild_cpu: result.usage.cpu_seconds * 1e3 - cpu(sandbox),
            rpmbuild_wall: result.usage.wall_seconds * 1e3 - wall(sandbox),
            told_overhead: result.overhead_seconds * 1e3,
            packages,
        })
    }

    /// Returns what the sandbox costs beside the program that runs in it: the worker's figures of its sandbox
    /// hold mounting and tearing down, which are no part of rpmbuild.
    fn sandbox_cost(&self, log: &Path) -> Result<Cost, BenchError> {
        let (mut inside, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..EMPTY_RUNS {
            inside.push(self.empty_sandbox()?);
            bare.push(run(&mut Command::new(EMPTY_PROGRAM), log)?);
        }
        Ok(middle(inside).saturating_sub(middle(bare)))
    }

    /// Returns what the sandbox costs when a program that does nothing runs in it.
    fn empty_sandbox(&self) -> Result<Cost, BenchError> {
        let null = SandboxIo::null().map_err(BenchError::io("open", Path::new("/dev/null")))?;
        let outcome =
            self.sandbox.run(&self.empty, null).map_err(|error| BenchError::Sandbox(error.to_string()))?;
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
