//! The configuration file as written: every key optional, unknown keys refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rpm_model::{Dependency, PackagePattern, RebuildPolicy, ReleaseBump, TuningMode};
use serde::{Deserialize, Serialize};

use crate::layers::CascadeLayers;
use crate::repositories::RawRepository;
use crate::results::RawResultStore;

/// `configs/millwright.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawConfig {
    /// Who the distribution is.
    pub distribution: RawDistribution,
    /// Where things are.
    pub directories: RawDirectories,
    /// Where sources come from.
    pub sources: RawSources,
    /// How packages are built.
    pub build: RawBuild,
    /// What is kept to save work.
    pub cache: RawCache,
    /// What is reported of runs.
    pub reports: RawReports,
    /// When packages are built again.
    pub policy: RawPolicy,
    /// Exceptions for single packages, by spec name.
    pub packages: BTreeMap<String, RawPackage>,
    /// Where packages from outside come from.
    pub repositories: Vec<RawRepository>,
    /// Where results of builds are taken from and put to, besides the build directory.
    pub result_stores: Vec<RawResultStore>,
}

/// `[distribution]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawDistribution {
    /// Appended to every release as `%{?dist}`, for example `.mw1` (default `.mw1`).
    pub dist: Option<String>,
    /// `%distro_release_version` (default `1.0`).
    pub release_version: Option<String>,
    /// `%distro_build_number` (default `0`).
    pub build_number: Option<String>,
    /// More macros that every spec sees, name to value.
    pub macros: Option<BTreeMap<String, String>>,
}

/// `[directories]`; relative ones are relative to the tree's root.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawDirectories {
    /// Trees of specs (default `["SPECS"]`).
    pub specs: Option<Vec<PathBuf>>,
    /// Everything that can be made again (default `build`).
    pub build: Option<PathBuf>,
    /// The repository (default `out`).
    pub output: Option<PathBuf>,
    /// Binary packages of the repository (default `<output>/RPMS`).
    pub rpms: Option<PathBuf>,
    /// Source packages of the repository (default `<output>/SRPMS`).
    pub srpms: Option<PathBuf>,
    /// Packed SRPMs (default `<build>/INTERMEDIATE_SRPMS`).
    pub intermediate_srpms: Option<PathBuf>,
    /// Specs taken out of SRPMs (default `<build>/INTERMEDIATE_SPECS`).
    pub intermediate_specs: Option<PathBuf>,
    /// Package data, graph and plan (default `<build>/pkg_artifacts`).
    pub artifacts: Option<PathBuf>,
    /// Logs (default `<build>/logs`).
    pub logs: Option<PathBuf>,
    /// Running builds and kept build roots (default `<build>/worker/chroot`).
    pub work: Option<PathBuf>,
    /// RPMs of the toolchain (default `<build>/toolchain_rpms`).
    pub toolchain: Option<PathBuf>,
    /// RPMs from other repositories (default `<build>/rpm_cache/cache`).
    pub cache: Option<PathBuf>,
    /// ccache's objects (default `ccache`).
    pub ccache: Option<PathBuf>,
    /// sccache's objects (default `sccache`).
    pub sccache: Option<PathBuf>,
}

/// What is done about `*.signatures.json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureHandling {
    /// Only bytes with the listed SHA-256 are accepted.
    #[default]
    Enforce,
    /// Hashes are not looked at.
    Skip,
    /// Hashes of the files found are written into the signature file.
    Update,
}

/// `[sources]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawSources {
    /// Source servers, asked in order for `<url>/<file>` (default none).
    pub urls: Option<Vec<String>>,
    /// Whether the spec's own URL is asked (default true).
    pub upstream: Option<bool>,
    /// Maps source files to Debian source packages (default `configs/debian-sources.toml`).
    pub debian: Option<PathBuf>,
    /// `enforce` (default), `skip` or `update`.
    pub signature_handling: Option<SignatureHandling>,
    /// A certificate authority to trust besides the system's, PEM.
    pub ca_cert: Option<PathBuf>,
    /// The client certificate, PEM.
    pub tls_cert: Option<PathBuf>,
    /// The client certificate's key, PEM.
    pub tls_key: Option<PathBuf>,
    /// Whether nothing is fetched (default false).
    pub offline: Option<bool>,
    /// Downloads at the same time (default 10).
    pub concurrent_downloads: Option<usize>,
}

/// `[build]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawBuild {
    /// Packages built at the same time; 0, the default, means one per processor.
    pub workers: Option<usize>,
    /// Processors that all builds may use together; 0, the default, means those of the host, and at least one for
    /// each worker.
    pub cpus: Option<u32>,
    /// Memory that all builds may use together in MiB; 0, the default, means what the host has without a reserve.
    pub memory_mib: Option<u64>,
    /// Processors that one build may count on; 0, the default, means its share of those that are free.
    pub max_cpu: Option<u32>,
    /// Whether `%check` runs (default false).
    pub run_check: Option<bool>,
    /// Time limit of one build, for example `8h` (the default).
    pub timeout: Option<String>,
    /// Attempts after an infrastructure failure, besides the first (default 1).
    pub retries: Option<u32>,
    /// How many times its `memory-limit-mib` a build is given, once more, that ran out of it (default: it is not tried
    /// again).
    pub memory_retry: Option<f64>,
    /// What the private upper directory of one build may hold, in MiB (default 16384).
    pub disk_limit_mib: Option<u64>,
    /// Memory of one build in MiB; 0, the default, means what the host has without a reserve.
    pub memory_limit_mib: Option<u64>,
    /// Processes and threads of one build at the same time (default 16384).
    pub process_limit: Option<u64>,
    /// Processor time of one build, for example `40h`; `0s`, the default, means unlimited.
    pub cpu_limit: Option<String>,
    /// Files and directories that one build may make (default 2000000).
    pub file_limit: Option<u64>,
    /// `never`, `on-success` or `always` (default): when the build root of a finished build is removed.
    pub clean: Option<String>,
    /// What the log of one build keeps, in MiB; of more, the beginning and the end (default 100).
    pub log_limit_mib: Option<u64>,
    /// Whether ccache is used (default false).
    pub ccache: Option<bool>,
    /// Whether sccache is used for specs that need Rust (default false).
    pub sccache: Option<bool>,
    /// Groups of specs that share a compiler cache, or have none, as JSON (default: each spec has its own).
    pub ccache_config: Option<PathBuf>,
    /// Whether the first failure stops the run (default false: independent packages go on).
    pub stop_on_failure: Option<bool>,
    /// A file of macros that every build reads.
    pub macros_file: Option<PathBuf>,
    /// `off`, `on` (default) or `compare`: what stands for rpmbuild's helper scripts.
    pub tuning: Option<TuningMode>,
}

/// `[cache]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawCache {
    /// What unpacked packages may take of the disk, for example `20GiB` (default: any amount); every build
    /// that built something removes what is above it.
    pub layer_budget: Option<String>,
    /// Whether results of builds are kept and taken from stores (default true).
    pub results: Option<bool>,
    /// What results of builds may take of the disk, for example `50GiB` (default: any amount); every build that
    /// built something removes what is above it.
    pub result_budget: Option<String>,
}

/// `[reports]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawReports {
    /// How many reports of runs are kept in `<output>/reports` (default 20).
    pub keep: Option<usize>,
}

/// `[policy]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawPolicy {
    /// `local`, `relevant` (default), `direct` or `exact`.
    pub rebuild: Option<RebuildPolicy>,
    /// `keep` (default), `newer`, a level such as `minor`, `never` or `neverever`: what a change of the shared
    /// libraries that a package is linked to does.
    pub sonames: Option<String>,
    /// `dist` (default), `spec` or `none`: how the release of what is built again for others' sake rises.
    pub bump: Option<ReleaseBump>,
    /// How many layers of dependants a rebuild brings along: `"all"` (default), 0, 1, 2, ...
    pub max_cascading_rebuilds: Option<CascadeLayers>,
    /// What a command of a spec may take that gives a version, for example `30s` (the default).
    pub program_timeout: Option<String>,
    /// Whether commands of specs that give versions see the network (default false).
    pub program_network: Option<bool>,
    /// Versions of packages that build roots use, for example `openssl = 3.3.0` (default none).
    pub pins: Option<Vec<Dependency>>,
    /// Packages that build roots never use, for example `*-debuginfo` (default none).
    pub excludes: Option<Vec<PackagePattern>>,
}

/// `[packages.NAME]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawPackage {
    /// Its own rebuild policy.
    pub rebuild: Option<RebuildPolicy>,
    /// Its own soname policy.
    pub sonames: Option<String>,
    /// What its own commands that give versions may take.
    pub program_timeout: Option<String>,
    /// Whether its own commands that give versions see the network.
    pub program_network: Option<bool>,
    /// The git repository that its version comes from, where its spec says `git` and no directory.
    pub version_repository: Option<PathBuf>,
    /// How its release rises.
    pub bump: Option<ReleaseBump>,
    /// Its own time limit.
    pub timeout: Option<String>,
    /// Its own disk limit in MiB.
    pub disk_limit_mib: Option<u64>,
    /// Its own memory limit in MiB.
    pub memory_limit_mib: Option<u64>,
    /// Its own limit of processes and threads.
    pub process_limit: Option<u64>,
    /// Its own limit of processor time.
    pub cpu_limit: Option<String>,
    /// Its own limit of files and directories.
    pub file_limit: Option<u64>,
    /// Its own log limit in MiB.
    pub log_limit_mib: Option<u64>,
    /// Its own processor limit.
    pub max_cpu: Option<u32>,
    /// Processors without which it is not started (default 1).
    pub cpus: Option<u32>,
    /// Memory that it is expected to use in MiB (default: what its last build used).
    pub memory_mib: Option<u64>,
    /// Whether its `%check` runs.
    pub run_check: Option<bool>,
}

/// Takes the upper value where there is one.
macro_rules! lay_over {
    ($lower:expr, $upper:expr, $($field:ident),+ $(,)?) => {
        $(if $upper.$field.is_some() { $lower.$field = $upper.$field; })+
    };
}

impl RawConfig {
    /// Returns this configuration as the text of a file.
    ///
    /// # Errors
    /// When a path is no text.
    pub fn to_toml(&self) -> Result<String, impl std::error::Error + Send + Sync + use<>> {
        toml::to_string(self)
    }

    /// Returns this configuration with every value that the other one states taken from there; repositories
    /// of both count.
    #[must_use]
    pub fn overlaid_with(mut self, upper: Self) -> Self {
        lay_over!(self.distribution, upper.distribution, dist, release_version, build_number, macros);
        lay_over!(
            self.directories,
            upper.directories,
            specs,
            build,
            output,
            rpms,
            srpms,
            intermediate_srpms,
            intermediate_specs,
            artifacts,
            logs,
            work,
            toolchain,
            cache,
            ccache,
            sccache,
        );
        lay_over!(
            self.sources,
            upper.sources,
            urls,
            upstream,
            debian,
            signature_handling,
            ca_cert,
            tls_cert,
            tls_key,
            offline,
            concurrent_downloads,
        );
        lay_over!(
            self.build,
            upper.build,
            workers,
            cpus,
            memory_mib,
            max_cpu,
            run_check,
            timeout,
            retries,
            memory_retry,
            disk_limit_mib,
            memory_limit_mib,
            process_limit,
            cpu_limit,
            file_limit,
            clean,
            log_limit_mib,
            ccache,
            sccache,
            ccache_config,
            stop_on_failure,
            macros_file,
            tuning,
        );
        lay_over!(self.cache, upper.cache, layer_budget, results, result_budget);
        lay_over!(self.policy, upper.policy, rebuild, max_cascading_rebuilds, sonames, bump, pins, excludes);
        lay_over!(self.policy, upper.policy, program_timeout, program_network);
        lay_over!(self.reports, upper.reports, keep);
        self.packages.extend(upper.packages);
        self.repositories.extend(upper.repositories);
        self.result_stores.extend(upper.result_stores);
        self
    }
}
