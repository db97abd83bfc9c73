//! The command line of the `scheduler` program: the Azure toolkit's flags where they mean something here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use config::{CascadeLayers, PackageLimits};
use rpm_model::{BuildLimits, CleanPolicy, JobDocument, PackageRules, RebuildPolicy};
use scheduler::{
    CacheGroups, CacheGroupsError, CompilerCaches, LocalDirectories, RunSettings, SessionSettings, Wanted,
};

/// Build packed specs in dependency order, as far as their content changed
///
/// The specs have been read (`specreader --packages-output`) and packed (`srpmpacker`) before. `millwright
/// build` does all of it in one command.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 some goals failed, 2 usage, 3 the host lacks something, 4 a defect"
)]
pub(crate) struct Arguments {
    /// packages.json as specreader wrote it
    #[arg(long, value_name = "FILE", visible_alias = "input")]
    pub(crate) packages: PathBuf,
    /// worker.json as bootstrap wrote it
    #[arg(long, value_name = "FILE")]
    pub(crate) worker: PathBuf,
    /// SRPMs as srpmpacker wrote them
    #[arg(long, value_name = "DIR")]
    pub(crate) srpm_dir: PathBuf,
    /// The repository of binary packages: read for build roots, and where built packages go
    #[arg(long, value_name = "DIR")]
    pub(crate) rpm_dir: PathBuf,
    /// Where the SRPMs of built packages go
    #[arg(long, value_name = "DIR")]
    pub(crate) output_srpm_dir: PathBuf,
    /// The toolchain's RPMs
    #[arg(long, value_name = "DIR")]
    pub(crate) toolchain_rpms_dir: PathBuf,
    /// RPMs from other repositories
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: PathBuf,
    /// Running builds, unpacked packages, records and kept build roots
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: PathBuf,
    /// One log per SRPM
    #[arg(long, value_name = "DIR")]
    pub(crate) build_logs_dir: PathBuf,
    /// Where graph.dot, graph.json and plan.json go
    #[arg(long, value_name = "DIR", visible_alias = "output")]
    pub(crate) output_dir: PathBuf,
    /// The table of states in the Azure toolkit's columns (default: build_state.csv in the output directory)
    #[arg(long, value_name = "FILE")]
    pub(crate) output_build_state_csv_file: Option<PathBuf>,
    /// Specs or packages to build, separated by blanks; empty means all
    #[arg(long, value_name = "LIST", visible_alias = "packages-to-build", default_value = "")]
    build_list: String,
    /// Specs to build again, separated by blanks
    #[arg(long, value_name = "LIST", visible_alias = "rebuild-packages", default_value = "")]
    rebuild_list: String,
    /// Specs not to build, separated by blanks
    #[arg(long, value_name = "LIST", visible_alias = "ignored-packages", default_value = "")]
    ignore_list: String,
    /// How many layers of dependants a rebuild brings along: `all`, 0 (none), 1 (direct dependants), 2, ...
    #[arg(long, value_name = "NUMBER", default_value = "all")]
    max_cascading_rebuilds: CascadeLayers,
    /// How many layers of those that need the packages to build are built too
    #[arg(long, value_name = "NUMBER", visible_alias = "extra-layers", default_value_t = 0)]
    extra_build_layers: usize,
    /// Packages built at the same time; 0 means one per processor
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    workers: usize,
    /// Attempts at a package whose host or worker failed
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    build_attempts: u32,
    /// Time limit of one build
    #[arg(long, value_name = "DURATION", default_value = "8h", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Run %check
    #[arg(long)]
    run_check: bool,
    /// Stop at the first failure
    #[arg(long)]
    stop_on_failure: bool,
    /// Keep every build root
    #[arg(long)]
    no_cleanup: bool,
    /// Compile through ccache
    #[arg(long, requires = "ccache_dir")]
    use_ccache: bool,
    /// ccache's objects
    #[arg(long, value_name = "DIR")]
    ccache_dir: Option<PathBuf>,
    /// Groups of specs that share a compiler cache, or have none, as JSON
    #[arg(long, value_name = "FILE")]
    ccache_config: Option<PathBuf>,
    /// Compile Rust through sccache
    #[arg(long, requires = "sccache_dir")]
    use_sccache: bool,
    /// sccache's objects
    #[arg(long, value_name = "DIR")]
    sccache_dir: Option<PathBuf>,
    /// Tell what each build used, section by section, and what its tests and compiler caches did
    #[arg(long)]
    verbose: bool,
    /// Processors that one build may use; 0 means its share
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    max_cpu: u32,
    /// A file of macros that every build reads
    #[arg(long, value_name = "FILE")]
    rpmmacros_file: Option<PathBuf>,
    /// Appended to every release
    #[arg(long, value_name = "TAG")]
    dist_tag: String,
    /// %distro_release_version
    #[arg(long, value_name = "VERSION")]
    distro_release_version: String,
    /// %distro_build_number
    #[arg(long, value_name = "NUMBER")]
    distro_build_number: String,
    /// The pkgworker program (default: beside this one)
    #[arg(long, value_name = "FILE")]
    build_agent_program: Option<PathBuf>,
    /// Print events as JSON lines
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the plan and build nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What the upper directory of one build may hold, in bytes.
const DISK_LIMIT: u64 = 16 << 30;

fn words(list: &str) -> impl Iterator<Item = String> + '_ {
    list.split_whitespace().map(str::to_owned)
}

impl Arguments {
    /// Returns what was asked for, by name.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            goals: words(&self.build_list).collect(),
            rebuild: words(&self.rebuild_list).collect(),
            ignore: words(&self.ignore_list).collect(),
            extra_layers: self.extra_build_layers,
            ..Wanted::default()
        }
    }

    fn workers(&self, processors: usize) -> usize {
        if self.workers == 0 { processors } else { self.workers }
    }

    /// Returns what holds for every spec.
    pub(crate) fn limits(&self, processors: usize) -> PackageLimits {
        let share = u32::try_from(processors.div_ceil(self.workers(processors))).unwrap_or(1);
        PackageLimits {
            rebuild: RebuildPolicy::default(),
            sonames: Default::default(),
            bump: Default::default(),
            timeout: self.timeout,
            disk_limit_bytes: DISK_LIMIT,
            build: BuildLimits::default(),
            log_limit_bytes: JobDocument::LOG_LIMIT,
            max_cpu: if self.max_cpu == 0 { share.max(1) } else { self.max_cpu },
            most_cpus: Some(self.max_cpu).filter(|number| *number > 0),
            least_cpus: 1,
            expected_memory_bytes: None,
            run_check: self.run_check,
        }
    }

    /// Returns the session's settings; `programs` is the directory of this program.
    pub(crate) fn settings(
        &self,
        programs: &Path,
        processors: usize,
    ) -> Result<SessionSettings, CacheGroupsError> {
        let define = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Ok(SessionSettings {
            rpms: self.rpm_dir.clone(),
            srpms: self.output_srpm_dir.clone(),
            records: self.work_dir.join("records"),
            journal: self.work_dir.join("journal.ndjson"),
            provenance: self.output_dir.join("PROVENANCE"),
            repodata_cache: self.work_dir.join("index/repodata"),
            artifacts: self.output_dir.clone(),
            state_csv: self
                .output_build_state_csv_file
                .clone()
                .unwrap_or_else(|| self.output_dir.join("build_state.csv")),
            workers: LocalDirectories {
                work: self.work_dir.clone(),
                layers: self.work_dir.join("layers"),
                logs: self.build_logs_dir.clone(),
                kept: self.work_dir.join("chroot"),
            },
            program: self.build_agent_program.clone().unwrap_or_else(|| programs.join("pkgworker")),
            defines: BTreeMap::from([
                define("dist", &self.dist_tag),
                define("distro_release_version", &self.distro_release_version),
                define("distro_build_number", &self.distro_build_number),
            ]),
            macros_file: self.rpmmacros_file.clone(),
            tuning: Default::default(),
            caches: CompilerCaches {
                ccache: self.ccache_dir.clone().filter(|_| self.use_ccache),
                sccache: self.sccache_dir.clone().filter(|_| self.use_sccache),
                groups: self.cache_groups()?,
            },
            clean: if self.no_cleanup { CleanPolicy::Never } else { CleanPolicy::Always },
            rules: PackageRules::default(),
            run_check: self.run_check,
            run: RunSettings {
                workers: self.workers(processors),
                cpus: u32::try_from(processors.max(self.workers(processors))).unwrap_or(u32::MAX),
                memory_bytes: pkgworker::memory_for_builds().unwrap_or(u64::MAX),
                retries: self.build_attempts.saturating_sub(1),
                memory_retry: None,
                stop_on_failure: self.stop_on_failure,
                verbose: self.verbose || self.json,
                find_unused: false,
            },
            max_layers: self.max_cascading_rebuilds.most(),
        })
    }

    fn cache_groups(&self) -> Result<CacheGroups, CacheGroupsError> {
        self.ccache_config.as_deref().map_or_else(|| Ok(CacheGroups::default()), CacheGroups::read)
    }
}
