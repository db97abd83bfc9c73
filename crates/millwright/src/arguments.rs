//! The command line: what the user typed, laid over the configuration file.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use config::{
    RawBuild, RawCache, RawConfig, RawDirectories, RawDistribution, RawRepository, RawSources,
    SignatureHandling,
};

use crate::archive::{ARCHIVE_EXAMPLES, ArchiveCommand};
use crate::cache_arguments::{CACHE_EXAMPLES, CacheCommand};
use crate::debug_arguments::{
    DiffArguments, RerunArguments, SHELL_EXAMPLES, ShellArguments, UNUSED_HELP, UnusedArguments, VERIFY_HELP,
    VerifyArguments,
};
use crate::license_check::{LICENSE_CHECK_HELP, LicenseCheckArguments};
use crate::mass_rebuild::{REBUILD_HELP, RebuildArguments, SodiffArguments};
use crate::mkpkg::{MKPKG_HELP, MkpkgArguments};
use grapher::QuestionArguments;
use rpm_model::TuningMode;

use crate::log::{LOG_HELP, LogArguments};
use crate::policy_arguments::PolicyArguments;
use crate::test_lists::TestLists;
use crate::upstream::UpdateVersions;
use crate::why::{WHY_HELP, WhyArguments};

/// Turn a tree of RPM specs into a repository of RPMs
///
/// Everything is decided by content: run any command again and it does only what a change requires. Start
/// with `millwright plan`, which shows what would be built and why.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 some goals failed, 2 usage or configuration, 3 the host lacks something, 4 a defect of Millwright"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build packages and what they need, and publish them
    ///
    /// Ctrl-C starts nothing more and waits for the builds that run; a second one ends them too. The same command then
    /// goes on.
    Build(Goals),
    /// Build packages again although they are up to date
    #[command(after_help = REBUILD_HELP)]
    Rebuild(RebuildArguments),
    /// Show what would be built, in which order and why; build nothing
    Plan {
        #[command(flatten)]
        goals: Goals,
        /// Show everything, however long
        #[arg(long, short = 'v')]
        all: bool,
        /// Play the plan with as many builds at the same time as --workers says, and show how long it takes and what
        /// the end waits for
        ///
        /// The very order of a run, on a clock that jumps from one end of a build to the next. A build takes as long
        /// as its last one (or the median of all); more workers than this machine has stand for a larger machine.
        #[arg(long)]
        simulate: bool,
    },
    /// Build what its triggers ask for, and report it as mkpkg does; the program `mkpkg` runs this
    #[command(after_help = MKPKG_HELP)]
    Mkpkg(MkpkgArguments),
    /// Say why packages were built, will be built, or will not; build nothing
    #[command(after_help = WHY_HELP)]
    Why(WhyArguments),
    /// Make the toolchain repository from the base distribution
    Toolchain {
        /// Ask the base distribution for newer packages
        #[arg(long)]
        refresh: bool,
    },
    /// Make the worker: the packages that every build root starts from
    Worker {
        /// Make a new generation from the toolchain's present packages; every build root changes
        #[arg(long)]
        refresh: bool,
        /// Also write it as an archive below the build directory's `worker/` (.tar.gz or .tar.zst)
        #[arg(long, value_name = "FILE")]
        export: Option<PathBuf>,
    },
    /// Pack specs into SRPMs
    Pack(Goals),
    /// Take the specs out of the packed SRPMs
    Expand(Goals),
    /// Read the specs and write specs.json and packages.json
    Read {
        #[command(flatten)]
        goals: Goals,
        /// Also write the list of packages that the specs make, in the shape of the Azure Linux toolkit
        #[arg(long, value_name = "FILE")]
        snapshot: Option<PathBuf>,
    },
    /// Download what builds need from other repositories, and lock it
    Fetch {
        #[command(flatten)]
        goals: Goals,
        #[command(flatten)]
        lists: FetchLists,
    },
    /// Draw the dependency graph, and answer questions about it
    ///
    /// Always writes graph.dot and graph.json, and without a question does no more. The same questions are answered
    /// by the `grapher` program from packages.json alone, without toolchain and worker.
    #[command(after_help = GRAPH_EXAMPLES)]
    Graph(GraphArguments),
    /// Show the configuration that holds: flags over environment over file over defaults
    ///
    /// Makes nothing. In the form of the file, or the values alone of the keys named, one a line.
    #[command(after_help = CONFIG_EXAMPLES)]
    Config {
        /// Keys, such as `distribution.dist` or `packages.gcc.timeout`
        keys: Vec<String>,
    },
    /// Examine this host: can packages be built here, as whom, with which limits; what to mend
    ///
    /// Sets up real build roots over nothing. Exit code 0 when packages can be built, 3 when not.
    Doctor,
    /// Show the log of a package's last or running build
    #[command(after_help = LOG_HELP)]
    Log(LogArguments),
    /// End as on a defect of Millwright: what scripts see then
    #[command(hide = true)]
    Defect,
    /// Enter the build root of a failed build
    #[command(after_help = SHELL_EXAMPLES)]
    Shell(ShellArguments),
    /// Run a kept build again from one of its sections; nothing is published
    Rerun(RerunArguments),
    /// Show what a kept build, or a shell in it, changed outside /build
    Diff(DiffArguments),
    /// Find the build requirements that a build opens no file of
    #[command(after_help = UNUSED_HELP)]
    Unused(UnusedArguments),
    /// Show which shared libraries and symbols differ between two builds of a package, and who is affected
    Sodiff(SodiffArguments),
    /// Check that licences in built packages are marked as such, and nothing else is
    #[command(after_help = LICENSE_CHECK_HELP)]
    LicenseCheck(LicenseCheckArguments),
    /// Do a published build again from its buildinfo.json, and compare every byte
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArguments),
    /// Show what caches take of the disk, and give some of it back
    ///
    /// Every RPM that a build root needs is unpacked once and kept. `stat` says how much that takes, `gc` removes
    /// what was not used for longest. Both may run while packages are built: what a running build uses stays.
    #[command(subcommand, after_help = CACHE_EXAMPLES)]
    Cache(CacheCommand),
    /// Carry packages to another tree or machine as one file
    #[command(subcommand, after_help = ARCHIVE_EXAMPLES)]
    Archive(ArchiveCommand),
    /// Remove what can be made again
    Clean {
        /// Which part
        #[arg(required = true)]
        what: Vec<CleanPart>,
    },
}

impl Command {
    /// Returns whether it is a run that builds, of which there is a report.
    pub(crate) fn builds(&self) -> bool {
        match self {
            Self::Build(goals) | Self::Rebuild(RebuildArguments { goals, .. }) => !goals.dry_run,
            Self::Mkpkg(asked) => asked.builds(),
            _ => false,
        }
    }

    /// Returns whether with `--json` it answers with one document, not with events.
    pub(crate) fn answers_with_a_document(&self) -> bool {
        match self {
            Self::Plan { .. }
            | Self::Why(_)
            | Self::Mkpkg(_)
            | Self::Diff(_)
            | Self::Unused(_)
            | Self::Verify(_) => true,
            Self::Build(goals) | Self::Rebuild(RebuildArguments { goals, .. }) => goals.dry_run,
            _ => false,
        }
    }
}

const GRAPH_EXAMPLES: &str = "\
Examples:
  millwright graph jq                                what jq needs, and who needs it
  millwright graph --needed-by zlib --depth 0        everybody who needs zlib, however indirectly
  millwright graph --path less ncurses               why ncurses comes before less
  millwright graph --impact zlib                     what a change of zlib builds again at most
  millwright graph zlib --depth 2 --output zlib.svg  a picture (also .dot, .json)
  millwright graph --provider 'pkgconfig(zlib)'      who provides it, and by which rule
  millwright graph --unresolvable                    what nothing provides, and who wants it

Exit codes: 0 done, 1 a spec cannot be read (or: no path, a cycle remains, something is unresolvable),
2 usage or configuration, 3 the host lacks something, 4 a defect of Millwright";

const CONFIG_EXAMPLES: &str = "\
Examples:
  millwright config                            everything, as a configuration file states it
  millwright config distribution.dist          .mw1
  millwright config build.workers build.timeout --workers 4
  millwright config --json                     for programs

Exit codes: 0 done, 2 usage or configuration";

/// What `graph` is asked.
#[derive(Debug, Args)]
pub(crate) struct GraphArguments {
    /// Specs or packages: what they need and who needs them
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) question: QuestionArguments,
    /// Where the answer goes [default: standard output]
    #[arg(long, value_name = "FILE", help_heading = "Form of the answer")]
    pub(crate) output: Option<PathBuf>,
}

/// What `clean` removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CleanPart {
    /// Everything below the build and output directories
    All,
    /// The repository and the build records
    BuildPackages,
    /// Running jobs' directories and kept build roots
    BuildPackagesWorkers,
    /// RPMs from other repositories, unpacked packages and remembered results
    Cache,
    /// ccache's and sccache's objects
    Ccache,
    /// The worker
    ChrootTools,
    /// The archive of the repository, <output>/rpms.tar.gz
    CompressRpms,
    /// The archive of source packages, <output>/srpms.tar.gz
    CompressSrpms,
    /// Specs taken out of SRPMs
    ExpandSpecs,
    /// Packed SRPMs
    InputSrpms,
    /// Package data
    SpecParse,
    /// The toolchain and the worker made from it
    Toolchain,
    /// The toolchain's RPMs
    ToolchainRpms,
    /// Graph and plan
    Workplan,
}

/// Which packages a command is about.
#[derive(Clone, Debug, Args)]
pub(crate) struct Goals {
    /// Specs or packages; none means all
    pub(crate) names: Vec<String>,
    /// More of them, separated by blanks
    #[arg(long, value_name = "LIST", env = "PACKAGE_BUILD_LIST", hide_env_values = true)]
    pub(crate) build_list: Option<String>,
    /// Specs to build again although they are up to date, separated by blanks
    #[arg(long, value_name = "LIST", env = "PACKAGE_REBUILD_LIST", hide_env_values = true)]
    pub(crate) rebuild_list: Option<String>,
    /// Specs not to build, separated by blanks; what is published of them is used
    #[arg(long, value_name = "LIST", env = "PACKAGE_IGNORE_LIST", hide_env_values = true)]
    pub(crate) ignore_list: Option<String>,
    /// Take so many layers of those that need the named packages as goals too: 1 means all that need one of them
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) extra_build_layers: usize,
    #[command(flatten)]
    pub(crate) tests: TestLists,
    #[command(flatten)]
    pub(crate) versions: UpdateVersions,
    /// Show what would be done and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Watch what builds open, and report the build requirements of which that is nothing (see `unused --help`)
    #[arg(long)]
    pub(crate) find_unused: bool,
}

/// Lists of packages that `fetch` follows, as the Azure Linux toolkit writes them.
#[derive(Debug, Args)]
pub(crate) struct FetchLists {
    /// Take exactly the packages of this summary, all of them
    #[arg(long, value_name = "FILE")]
    pub(crate) summary: Option<PathBuf>,
    /// Before all else fetch what the repositories have of this list (a summary, or a NEVRA in each line)
    #[arg(long, value_name = "FILE")]
    pub(crate) precache: Option<PathBuf>,
    /// Take no package that was built later than this time (seconds since 1970)
    #[arg(long, value_name = "SECONDS")]
    pub(crate) snapshot_time: Option<u64>,
}

impl Goals {
    /// Returns the names asked for, in the order typed.
    pub(crate) fn wanted(&self) -> Vec<String> {
        self.names.iter().cloned().chain(words(self.build_list.as_deref())).collect()
    }
}

/// Returns the words of a list.
pub(crate) fn words(list: Option<&str>) -> Vec<String> {
    list.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// What every command takes; each option wins over its key in the configuration file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Common {
    /// Configuration file [default: configs/millwright.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "MILLWRIGHT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The tree's root [default: the current directory or the nearest one above it that holds configs/millwright.toml]
    // Without a directory it means something else to `shell` alone, see `asks_for_root`.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<Option<PathBuf>>,
    /// Print events as JSON lines on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Tell what each build used, section by section, and what its tests and compiler caches did
    #[arg(long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Tell only of failures; what a command is asked for is answered all the same
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// Whether output is coloured: auto means on a terminal, unless NO_COLOR is set or TERM is dumb
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    color: ColorWhen,
    /// Look only at these specs, separated by blanks
    #[arg(long, global = true, value_name = "LIST", env = "SRPM_PACK_LIST", hide_env_values = true)]
    pub(crate) pack_list: Option<String>,
    /// Directory of specs (can be repeated; earlier ones are preferred)
    #[arg(long, global = true, value_name = "DIR")]
    specs_dir: Vec<PathBuf>,
    /// Everything that can be made again
    #[arg(long, global = true, value_name = "DIR")]
    build_dir: Option<PathBuf>,
    /// The repository and reports
    #[arg(long, global = true, value_name = "DIR")]
    out_dir: Option<PathBuf>,
    /// Binary packages of the repository
    #[arg(long, global = true, value_name = "DIR")]
    rpms_dir: Option<PathBuf>,
    /// Source packages of the repository
    #[arg(long, global = true, value_name = "DIR")]
    srpms_dir: Option<PathBuf>,
    /// Packed SRPMs
    #[arg(long, global = true, value_name = "DIR")]
    build_srpms_dir: Option<PathBuf>,
    /// Specs taken out of SRPMs
    #[arg(long, global = true, value_name = "DIR")]
    build_specs_dir: Option<PathBuf>,
    /// Package data, graph and plan
    #[arg(long, global = true, value_name = "DIR")]
    artifacts_dir: Option<PathBuf>,
    /// Logs
    #[arg(long, global = true, value_name = "DIR")]
    logs_dir: Option<PathBuf>,
    /// Running builds and kept build roots
    #[arg(long, global = true, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Toolchain RPMs
    #[arg(long, global = true, value_name = "DIR")]
    toolchain_rpms_dir: Option<PathBuf>,
    /// RPMs from other repositories
    #[arg(long, global = true, value_name = "DIR")]
    cached_rpms_dir: Option<PathBuf>,
    /// ccache's objects
    #[arg(long, global = true, value_name = "DIR")]
    ccache_dir: Option<PathBuf>,
    /// sccache's objects
    #[arg(long, global = true, value_name = "DIR")]
    sccache_dir: Option<PathBuf>,
    /// Appended to every release
    #[arg(long, global = true, value_name = "TAG")]
    dist_tag: Option<String>,
    /// %distro_release_version
    #[arg(long, global = true, value_name = "VERSION")]
    release_version: Option<String>,
    /// %distro_build_number
    #[arg(long, global = true, value_name = "NUMBER")]
    build_number: Option<String>,
    /// What is done about *.signatures.json
    #[arg(long, global = true, value_name = "MODE")]
    signature_handling: Option<Handling>,
    /// Source servers, separated by blanks, asked in order for <url>/<file> (can be repeated)
    #[arg(long, global = true, value_name = "URL")]
    source_url: Vec<String>,
    /// A certificate authority to trust, PEM
    #[arg(long, global = true, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// The client certificate for source servers, PEM
    #[arg(long, global = true, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The client certificate's key, PEM
    #[arg(long, global = true, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Files of repositories that packages may come from, besides those of the configuration; separated by blanks
    #[arg(long, global = true, value_name = "FILE")]
    repo_file: Vec<String>,
    /// Use no repository but those of --repo-file
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) disable_default_repos: Option<bool>,
    /// Use no repository at all
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) disable_upstream_repos: Option<bool>,
    /// Contact nobody; use the tree, the source store and the packages of the lock alone
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    offline: Option<bool>,
    /// Run %check
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    run_check: Option<bool>,
    /// Packages built at the same time; 0 means one per processor
    #[arg(long, short = 'j', global = true, value_name = "NUMBER")]
    workers: Option<usize>,
    /// Processors that one build may use; 0 means its share
    #[arg(long, global = true, value_name = "NUMBER")]
    max_cpu: Option<u32>,
    /// Further attempts after an infrastructure failure
    #[arg(long, global = true, value_name = "NUMBER")]
    retries: Option<u32>,
    /// Time limit of one build, for example 2h
    #[arg(long, global = true, value_name = "DURATION")]
    timeout: Option<String>,
    /// When the build root of a finished build is removed: never, on-success or always
    #[arg(long, global = true, value_name = "WHEN")]
    clean: Option<String>,
    /// What stands for rpmbuild's helper scripts; with compare both run and a difference is an error
    #[arg(long, global = true, value_name = "WHAT")]
    tuning: Option<Tuning>,
    #[command(flatten)]
    pub(crate) policy: PolicyArguments,
    /// Stop at the first failure instead of going on with independent packages
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    stop_on_failure: Option<bool>,
    /// Go on with independent packages after a failure, whatever the configuration says
    #[arg(long, short = 'k', global = true, conflicts_with = "stop_on_failure")]
    keep_going: bool,
    /// Compile through ccache
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    use_ccache: Option<bool>,
    /// Compile Rust through sccache
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    use_sccache: Option<bool>,
    /// Take results of builds from stores, and put those of this run there; =false builds everything here
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    result_cache: Option<bool>,
    /// Groups of specs that share a compiler cache, or have none, as JSON
    #[arg(long, global = true, value_name = "FILE")]
    ccache_config: Option<PathBuf>,
    /// A file of macros that every build reads
    #[arg(long, global = true, value_name = "FILE")]
    macros_file: Option<PathBuf>,
}

/// When output is coloured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ColorWhen {
    Auto,
    Always,
    Never,
}

/// The signature modes as typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tuning {
    On,
    Off,
    Compare,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Handling {
    Enforce,
    Skip,
    Update,
}

impl Common {
    /// Returns whether output is coloured.
    pub(crate) fn color(&self) -> report::Color {
        match self.color {
            ColorWhen::Auto => report::Color::Auto,
            ColorWhen::Always => report::Color::Always,
            ColorWhen::Never => report::Color::Never,
        }
    }

    /// Returns the tree's root as given.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.root.as_ref()?.as_deref()
    }

    /// Returns whether `--root` was given without a directory, which asks `shell` to be root inside.
    pub(crate) fn asks_for_root(&self) -> bool {
        self.root == Some(None)
    }

    /// Returns the configuration that the flags state; paths become absolute against the current directory.
    pub(crate) fn overlay(&self) -> std::io::Result<RawConfig> {
        let absolute = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
        let specs: Vec<PathBuf> = self.specs_dir.iter().map(std::path::absolute).collect::<Result<_, _>>()?;
        let urls: Vec<String> = self.source_url.iter().flat_map(|list| words(Some(list))).collect();
        let repo_files = self.repo_file.iter().flat_map(|list| words(Some(list)));
        let repositories = repo_files
            .map(|file| std::path::absolute(file).map(RawRepository::of_file))
            .collect::<std::io::Result<_>>()?;
        Ok(RawConfig {
            repositories,
            distribution: RawDistribution {
                dist: self.dist_tag.clone(),
                release_version: self.release_version.clone(),
                build_number: self.build_number.clone(),
                macros: None,
            },
            directories: RawDirectories {
                specs: (!specs.is_empty()).then_some(specs),
                build: absolute(&self.build_dir)?,
                output: absolute(&self.out_dir)?,
                rpms: absolute(&self.rpms_dir)?,
                srpms: absolute(&self.srpms_dir)?,
                intermediate_srpms: absolute(&self.build_srpms_dir)?,
                intermediate_specs: absolute(&self.build_specs_dir)?,
                artifacts: absolute(&self.artifacts_dir)?,
                logs: absolute(&self.logs_dir)?,
                work: absolute(&self.work_dir)?,
                toolchain: absolute(&self.toolchain_rpms_dir)?,
                cache: absolute(&self.cached_rpms_dir)?,
                ccache: absolute(&self.ccache_dir)?,
                sccache: absolute(&self.sccache_dir)?,
            },
            sources: RawSources {
                urls: (!urls.is_empty()).then_some(urls),
                signature_handling: self.signature_handling.map(|handling| match handling {
                    Handling::Enforce => SignatureHandling::Enforce,
                    Handling::Skip => SignatureHandling::Skip,
                    Handling::Update => SignatureHandling::Update,
                }),
                ca_cert: absolute(&self.ca_cert)?,
                tls_cert: absolute(&self.tls_cert)?,
                tls_key: absolute(&self.tls_key)?,
                offline: self.offline,
                ..RawSources::default()
            },
            build: RawBuild {
                workers: self.workers,
                cpus: None,
                memory_mib: None,
                max_cpu: self.max_cpu,
                run_check: self.run_check,
                timeout: self.timeout.clone(),
                retries: self.retries,
                memory_retry: None,
                disk_limit_mib: None,
                memory_limit_mib: None,
                process_limit: None,
                cpu_limit: None,
                file_limit: None,
                clean: self.clean.clone(),
                log_limit_mib: None,
                ccache: self.use_ccache,
                sccache: self.use_sccache,
                ccache_config: absolute(&self.ccache_config)?,
                stop_on_failure: if self.keep_going { Some(false) } else { self.stop_on_failure },
                macros_file: absolute(&self.macros_file)?,
                tuning: self.tuning.map(|tuning| match tuning {
                    Tuning::On => TuningMode::On,
                    Tuning::Off => TuningMode::Off,
                    Tuning::Compare => TuningMode::Compare,
                }),
            },
            cache: RawCache { results: self.result_cache, ..RawCache::default() },
            ..RawConfig::default()
        })
    }
}
