//! Our side: the worker as the scheduler starts it.

use std::fs;
use std::path::{Path, PathBuf};

use buildroot::{
    BindMount, LayerRequest, LayerStore, RootOptions, Sandbox, SandboxIo, SandboxSpec, SetuidPolicy, Upper,
};
use rpm_model::{JobDocument, ResultDocument};
use serde::de::DeserializeOwned;

use super::{Package, cpu, wall};
use crate::error::BenchError;
use crate::measure::{Cost, run};
use crate::tree::{Tree, empty_directory};

/// A job that is built again and again.
pub(super) struct Ours {
    pub(super) srpm: PathBuf,
    name: &'static str,
    job_file: PathBuf,
    sandbox: Sandbox,
    empty: SandboxSpec,
}

/// What one build cost; times in milliseconds.
pub(super) struct OursCost {
    /// The worker and all that it started.
    pub(super) whole: Cost,
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
    /// Takes the job that `millwright build` left.
    pub(super) fn new(tree: &Tree, package: &Package) -> Result<Self, BenchError> {
        let job_file = tree.path(&format!("build/work/jobs/{}/job.json", package.name));
        let job: JobDocument = read(&job_file, "job document")?;
        let layers = LayerStore::open(&tree.path("build/cache/layers"), SetuidPolicy::Strip)?;
        let requests: Vec<LayerRequest> = job.lock.packages().iter().map(LayerRequest::from).collect();
        let options = RootOptions { common: job.common, ..RootOptions::default() };
        let root = layers.root_plan(&requests, &options)?;
        let top = tree.path("empty-build");
        fs::create_dir_all(&top).map_err(BenchError::io("create", &top))?;
        let mut empty = SandboxSpec::new(root.lowers, vec!["/usr/bin/true".to_owned()]);
        empty.upper = Upper::Tmpfs { size_mb: (job.disk_limit_bytes >> 20).max(1) };
        empty.read_only_root = true;
        empty.binds.push(BindMount { source: top, target: "/build".into(), read_only: false });
        let sandbox = Sandbox::with_init(&tree.program("buildroot-init"));
        Ok(Self { srpm: PathBuf::from(job.srpm_path), name: package.name, job_file, sandbox, empty })
    }

    /// Builds it once.
    pub(super) fn build(&self, tree: &Tree) -> Result<OursCost, BenchError> {
        let output = tree.path("measured");
        empty_directory(&output)?;
        let (result_file, work) = (output.join("result.json"), tree.path("build/worker/chroot"));
        let mut command = tree.command("pkgworker", &["--lifeline"]);
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
        let whole = run(&mut command, &tree.path(&format!("{}.log", self.name)))?;
        let result: ResultDocument = read(&result_file, "result document")?;
        let sandbox = self.empty_sandbox()?;
        let mut packages: Vec<String> = result.rpms.iter().map(|rpm| rpm.nevra.file_name()).collect();
        packages.sort();
        Ok(OursCost {
            whole,
            rpmbuild_cpu: result.usage.cpu_seconds * 1e3 - cpu(sandbox),
            rpmbuild_wall: result.usage.wall_seconds * 1e3 - wall(sandbox),
            told_overhead: result.overhead_seconds * 1e3,
            packages,
        })
    }

    /// Returns what the sandbox costs when `true` runs in it instead of rpmbuild: the worker's figures of its
    /// sandbox hold mounting and tearing down, which are no part of rpmbuild.
    fn empty_sandbox(&self) -> Result<Cost, BenchError> {
        let fail = |text: String| BenchError::Sandbox(text);
        let outcome = self
            .sandbox
            .run(&self.empty, SandboxIo::null().map_err(BenchError::io("open", Path::new("/dev/null")))?)
            .map_err(|error| fail(error.to_string()))?;
        if !outcome.is_success() {
            return Err(fail(outcome.end.to_string()));
        }
        let usage = outcome.usage;
        Ok(Cost {
            wall: std::time::Duration::from_micros(usage.wall_us),
            cpu: std::time::Duration::from_micros(usage.user_us + usage.system_us),
        })
    }
}

fn read<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<T, BenchError> {
    let bytes = fs::read(path).map_err(BenchError::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| BenchError::Document {
        what,
        path: path.to_owned(),
        source,
    })
}
