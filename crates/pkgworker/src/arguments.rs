//! The command line: what the user typed, and the job that it means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use pkgworker::WorkerError;
use pkgworker::resolve::{PackageSources, read_packages, resolve};
use report::{ExitStatus, Failure};
use repository::{IndexedPackage, SourcePackageHeader};
use rpm_model::{
    BuildLimits, BuildrootLock, CcacheMount, CleanPolicy, JobDocument, Requirement, TuningMode,
    WorkerManifest,
};

use crate::environment;

/// Where jobs are documents.
const DOCUMENTS: [&str; 2] = ["job", "serve"];

/// Without `--job` or `--serve`, all of these are required, as documented for the Azure toolkit.
const AZURE: [&str; 12] = [
    "srpm_file",
    "worker_tar",
    "repo_file",
    "rpm_dir",
    "srpm_dir",
    "toolchain_rpms_dir",
    "cache_dir",
    "base_package_name",
    "dist_tag",
    "distro_release_version",
    "distro_build_number",
    "timeout",
];

/// What is said of one job.
const ONE_JOB: [&str; 5] = ["job", "result", "output", "lifeline", "log_file"];

/// How much is told on standard error.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogLevel {
    Panic,
    Fatal,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Build one SRPM in a fresh, isolated build root
///
/// Prints the comma-separated file names of the built RPMs, and nothing else, on standard output. With
/// `--job` it reads everything from a job document and prints its progress there as JSON lines instead.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 built, 1 the package failed, 2 usage, 3 the host or the worker failed"
)]
pub(crate) struct Arguments {
    /// Read the whole job from this document instead of flags
    #[arg(long, value_name = "FILE", conflicts_with_all = AZURE)]
    pub(crate) job: Option<PathBuf>,
    /// Build job after job: each line of standard input names a job document and where its results go, and is
    /// answered by a line; ends when standard input closes
    #[arg(long, conflicts_with_all = AZURE, conflicts_with_all = ONE_JOB)]
    pub(crate) serve: bool,
    /// Write the result document here
    #[arg(long, value_name = "FILE")]
    pub(crate) result: Option<PathBuf>,
    /// Where job directories are made
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: PathBuf,
    /// With --job: where the built RPMs go, as <arch>/<file>
    #[arg(long, value_name = "DIR", requires = "job")]
    pub(crate) output: Option<PathBuf>,
    /// End at once, sandbox included, when standard input closes: its other end is whoever started us
    #[arg(long)]
    pub(crate) lifeline: bool,
    /// Where unpacked packages are kept (default: `layers` in the work directory)
    #[arg(long, value_name = "DIR")]
    pub(crate) layers: Option<PathBuf>,
    /// The SRPM to build
    #[arg(long, value_name = "FILE", visible_alias = "input", required_unless_present_any = DOCUMENTS)]
    pub(crate) srpm_file: Option<PathBuf>,
    /// The worker: a worker_chroot.tar.gz or .tar.zst, or a worker.json
    #[arg(long, value_name = "FILE", required_unless_present_any = DOCUMENTS)]
    pub(crate) worker_tar: Option<PathBuf>,
    /// A .repo file whose local directories are read too (can be repeated)
    #[arg(long, value_name = "FILE", required_unless_present_any = DOCUMENTS)]
    pub(crate) repo_file: Vec<PathBuf>,
    /// The local repository: read for build requirements, and where the built RPMs go
    #[arg(long, value_name = "DIR", required_unless_present_any = DOCUMENTS)]
    pub(crate) rpm_dir: Option<PathBuf>,
    /// Where the SRPM is copied after a successful build
    #[arg(long, value_name = "DIR", required_unless_present_any = DOCUMENTS)]
    pub(crate) srpm_dir: Option<PathBuf>,
    /// The toolchain's RPMs, a directory for each architecture
    #[arg(long, value_name = "DIR", required_unless_present_any = DOCUMENTS)]
    pub(crate) toolchain_rpms_dir: Option<PathBuf>,
    /// RPMs fetched from other repositories
    #[arg(long, value_name = "DIR", required_unless_present_any = DOCUMENTS)]
    pub(crate) cache_dir: Option<PathBuf>,
    /// The spec's file name without .spec
    #[arg(long, value_name = "NAME", required_unless_present_any = DOCUMENTS)]
    pub(crate) base_package_name: Option<String>,
    /// The dist tag, for example .mw1
    #[arg(long, value_name = "TAG", required_unless_present_any = DOCUMENTS)]
    pub(crate) dist_tag: Option<String>,
    /// The distribution's release version
    #[arg(long, value_name = "VERSION", required_unless_present_any = DOCUMENTS)]
    pub(crate) distro_release_version: Option<String>,
    /// The distribution's build number
    #[arg(long, value_name = "NUMBER", required_unless_present_any = DOCUMENTS)]
    pub(crate) distro_build_number: Option<String>,
    /// Time limit of the build, for example 2h or 30m
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, required_unless_present_any = DOCUMENTS)]
    pub(crate) timeout: Option<Duration>,
    /// Run %check
    #[arg(long)]
    pub(crate) run_check: bool,
    /// A file of macros for rpmbuild
    #[arg(long, value_name = "FILE")]
    pub(crate) rpmmacros_file: Option<PathBuf>,
    /// An RPM file that the build root must hold (can be repeated)
    #[arg(long, value_name = "FILE")]
    pub(crate) install_package: Vec<PathBuf>,
    /// Architecture of the packages (default: the worker's)
    #[arg(long, value_name = "ARCH")]
    pub(crate) out_arch: Option<String>,
    /// When the job directory, kept as <work-dir>/<name-version-release>, is removed: never, on-success or always
    #[arg(long, value_name = "WHEN", default_value_t, conflicts_with_all = ["no_cleanup", "keep_failed"])]
    clean: CleanPolicy,
    /// The same as --clean=never
    #[arg(long, conflicts_with = "keep_failed")]
    no_cleanup: bool,
    /// The same as --clean=on-success
    #[arg(long)]
    keep_failed: bool,
    /// Compile through ccache
    #[arg(long, requires = "ccache_root_dir")]
    pub(crate) use_ccache: bool,
    /// Where ccache keeps its objects
    #[arg(long, value_name = "DIR")]
    pub(crate) ccache_root_dir: Option<PathBuf>,
    /// A ccache configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) ccache_config: Option<PathBuf>,
    /// Processors that the build may use
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_cpu: Option<u32>,
    /// Run rpmbuild's own helper scripts, whatever the job document says
    #[arg(long)]
    pub(crate) untuned: bool,
    /// Watch which files of its root the build opens, and tell which build requirements nothing is opened of
    #[arg(long, conflicts_with_all = AZURE)]
    pub(crate) find_unused: bool,
    /// What the log keeps of a build's output, in MiB; of more, head and tail (default: 100)
    #[arg(long, value_name = "MIB", conflicts_with = "job")]
    pub(crate) log_limit_mib: Option<u64>,
    /// The build's log (default: <name-version-release>.log in the work directory)
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// How much is told on standard error
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: LogLevel,
}

/// Makes the lock of one SRPM again when `%generate_buildrequires` asks for more.
pub(crate) struct Resolver {
    header: SourcePackageHeader,
    packages: Vec<IndexedPackage>,
    worker: WorkerManifest,
    sources: PackageSources,
    extra: &'static [&'static str],
}

impl Resolver {
    /// Returns the lock for what the SRPM requires and for these.
    pub(crate) fn lock(&mut self, generated: &[Requirement]) -> Result<BuildrootLock, Failure> {
        let stated = self.header.build_requires.len();
        self.header.build_requires.extend(generated.iter().cloned());
        let Self { header, packages, worker, sources, extra } = &*self;
        let lock = resolve(header, packages, worker, sources, extra).map_err(environment);
        self.header.build_requires.truncate(stated);
        lock
    }
}

/// What the upper directory of a build may hold when no job says otherwise, in bytes.
const DISK_LIMIT: u64 = 16 << 30;

impl Arguments {
    /// Returns the arguments with every path absolute: mounts and job documents know no current directory.
    pub(crate) fn absolute(mut self) -> std::io::Result<Self> {
        let one = [&mut self.work_dir];
        let optional = [
            &mut self.job,
            &mut self.result,
            &mut self.output,
            &mut self.layers,
            &mut self.srpm_file,
            &mut self.worker_tar,
            &mut self.rpm_dir,
            &mut self.srpm_dir,
            &mut self.toolchain_rpms_dir,
            &mut self.cache_dir,
            &mut self.rpmmacros_file,
            &mut self.ccache_root_dir,
            &mut self.ccache_config,
            &mut self.log_file,
        ];
        let many = self.repo_file.iter_mut().chain(&mut self.install_package);
        for path in one.into_iter().chain(optional.into_iter().flatten()).chain(many) {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }

    /// Changes in a job what the command line says otherwise.
    pub(crate) fn overrule(&self, job: &mut JobDocument) {
        if self.untuned {
            job.tuning = TuningMode::Off;
        }
    }

    /// Returns the directory of unpacked packages.
    pub(crate) fn layer_directory(&self) -> PathBuf {
        self.layers.clone().unwrap_or_else(|| self.work_dir.join("layers"))
    }

    /// Returns when the job directory is removed.
    pub(crate) fn clean_policy(&self) -> CleanPolicy {
        if self.no_cleanup {
            CleanPolicy::Never
        } else if self.keep_failed {
            CleanPolicy::OnSuccess
        } else {
            self.clean
        }
    }

    /// Returns where the packages go.
    pub(crate) fn output_directory(&self) -> &Path {
        self.output.as_deref().or(self.rpm_dir.as_deref()).unwrap_or(&self.work_dir)
    }

    /// Returns the build log's place.
    pub(crate) fn log_path(&self, job: &JobDocument) -> PathBuf {
        let name = Path::new(&job.srpm_path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.log_file.clone().unwrap_or_else(|| self.work_dir.join(format!("{name}.log")))
    }

    /// Returns the job that the Azure toolkit's flags describe, and what makes it again for other build
    /// requirements.
    pub(crate) fn make_job(&self) -> Result<(JobDocument, Resolver), Failure> {
        let srpm_path = required(self.srpm_file.as_ref())?;
        let srpm = repository::read_source_package(srpm_path).map_err(environment)?;
        let worker = self.worker()?;
        let sources = PackageSources {
            tree: required(self.rpm_dir.as_ref())?.clone(),
            cache: required(self.cache_dir.as_ref())?.clone(),
            toolchain: required(self.toolchain_rpms_dir.as_ref())?.clone(),
            repo_files: self.repo_file.clone(),
            install: self.install_package.clone(),
            index_cache: Some(self.work_dir.join("index")),
        };
        let (packages, complaints) = read_packages(&sources).map_err(environment)?;
        if matches!(self.log_level, LogLevel::Warn | LogLevel::Info | LogLevel::Debug | LogLevel::Trace) {
            let reporter = report::choose(false, true);
            for message in complaints {
                reporter.event(&report::Event::Warning { message });
            }
        }
        let extra: &'static [&'static str] = if self.use_ccache { &["ccache"] } else { &[] };
        let mut resolver = Resolver { header: srpm.header, packages, worker, sources, extra };
        let lock = resolver.lock(&[])?;
        let worker = &resolver.worker;
        let job = JobDocument {
            schema: JobDocument::SCHEMA,
            package: required(self.base_package_name.as_ref())?.clone(),
            srpm_path: srpm_path.to_string_lossy().into_owned(),
            srpm_sha256: srpm.sha256,
            lock,
            common: worker.core_contents(),
            arch: self.out_arch.clone().unwrap_or_else(|| worker.arch.clone()),
            defines: BTreeMap::from([
                ("dist".to_owned(), required(self.dist_tag.as_ref())?.clone()),
                (
                    "distro_release_version".to_owned(),
                    required(self.distro_release_version.as_ref())?.clone(),
                ),
                ("distro_build_number".to_owned(), required(self.distro_build_number.as_ref())?.clone()),
            ]),
            dist_counter: None,
            macros_file: self.rpmmacros_file.as_ref().map(|path| path.to_string_lossy().into_owned()),
            run_check: self.run_check,
            has_check: None,
            generated: Vec::new(),
            max_cpu: self.max_cpu,
            timeout_seconds: required(self.timeout.as_ref())?.as_secs(),
            disk_limit_bytes: DISK_LIMIT,
            limits: BuildLimits::default(),
            log_limit_bytes: self
                .log_limit_mib
                .map_or(JobDocument::LOG_LIMIT, |mebibytes| mebibytes.saturating_mul(1 << 20)),
            ccache: self.ccache(),
            sccache: None,
            expected: Vec::new(),
            tuning: TuningMode::default(),
            surroundings: Default::default(),
        };
        Ok((job, resolver))
    }

    fn ccache(&self) -> Option<CcacheMount> {
        let directory = self.ccache_root_dir.as_ref().filter(|_| self.use_ccache)?;
        Some(CcacheMount {
            directory: directory.to_string_lossy().into_owned(),
            config: self.ccache_config.as_ref().map(|path| path.to_string_lossy().into_owned()),
        })
    }

    /// Returns the worker that `--worker-tar` names.
    fn worker(&self) -> Result<WorkerManifest, Failure> {
        let path = required(self.worker_tar.as_ref())?;
        if path.extension().is_some_and(|extension| extension == "json") {
            let fail = |error: WorkerError| Failure::new(ExitStatus::Usage, error);
            let bytes = std::fs::read(path)
                .map_err(|source| fail(WorkerError::Io { operation: "read", path: path.clone(), source }))?;
            return serde_json::from_slice(&bytes).map_err(|source| {
                fail(WorkerError::Document { path: path.clone(), what: "worker manifest", source })
            });
        }
        bootstrap::import(path, &self.work_dir.join("workers")).map_err(|error| {
            Failure::new(ExitStatus::Environment, error)
                .hint("make the archive again with `bootstrap export`")
        })
    }

    /// Copies the SRPM of a successful build where `--srpm-dir` says.
    pub(crate) fn publish_srpm(&self, job: &JobDocument) -> Result<(), Failure> {
        let Some(directory) = &self.srpm_dir else { return Ok(()) };
        let source = Path::new(&job.srpm_path);
        let target = directory.join(source.file_name().unwrap_or_default());
        let copy = || -> std::io::Result<()> {
            std::fs::create_dir_all(directory)?;
            let temporary = tempfile::NamedTempFile::new_in(directory)?;
            std::fs::copy(source, temporary.path())?;
            temporary.persist(&target).map_err(|error| error.error)?;
            Ok(())
        };
        copy().map_err(|source| {
            environment(WorkerError::Io { operation: "write", path: target.clone(), source })
        })
    }
}

/// Returns the value of a flag that clap requires without `--job`.
fn required<T>(value: Option<&T>) -> Result<&T, Failure> {
    value.ok_or_else(|| Failure::new(ExitStatus::Usage, "a required flag is missing; see --help"))
}
