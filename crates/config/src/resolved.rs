//! The configuration as needed: every value present, every path absolute, every number checked.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rebuild::soname::SonamePolicy;
use rpm_model::{
    BuildLimits, CleanPolicy, JobDocument, PackageRules, RebuildPolicy, ReleaseBump, TuningMode,
};

use crate::layers::CascadeLayers;
use crate::programs::{self, ProgramLimits};
use crate::raw::{RawConfig, RawPackage, SignatureHandling};
use crate::repositories::{self, Repository};
use crate::results::{self, ResultStore};

/// Where things are; all absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// The tree's root.
    pub root: PathBuf,
    /// Trees of specs, in order of preference.
    pub specs: Vec<PathBuf>,
    /// Everything that can be made again.
    pub build: PathBuf,
    /// Binary packages of the repository.
    pub rpms: PathBuf,
    /// Source packages of the repository.
    pub srpms: PathBuf,
    /// The repository's parent: reports go here too.
    pub output: PathBuf,
    /// Packed SRPMs.
    pub intermediate_srpms: PathBuf,
    /// Specs taken out of SRPMs.
    pub intermediate_specs: PathBuf,
    /// Package data, graph and plan.
    pub artifacts: PathBuf,
    /// Logs.
    pub logs: PathBuf,
    /// Running builds and kept build roots.
    pub work: PathBuf,
    /// Toolchain RPMs.
    pub toolchain: PathBuf,
    /// RPMs from other repositories.
    pub cache: PathBuf,
    /// ccache's objects.
    pub ccache: PathBuf,
    /// sccache's objects.
    pub sccache: PathBuf,
}

/// The configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where things are.
    pub directories: Directories,
    /// Macros that every spec sees: `dist`, the release version and the user's own.
    pub defines: BTreeMap<String, String>,
    /// Source servers, in order.
    pub source_urls: Vec<String>,
    /// Whether the spec's own URL is asked.
    pub upstream: bool,
    /// The map to Debian source packages.
    pub debian_sources: PathBuf,
    /// What is done about signature files.
    pub signature_handling: SignatureHandling,
    /// Extra certificate authority.
    pub ca_cert: Option<PathBuf>,
    /// Client certificate and key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Whether nothing is fetched.
    pub offline: bool,
    /// Downloads at the same time.
    pub concurrent_downloads: usize,
    /// Packages built at the same time.
    pub workers: usize,
    /// Processors of the host.
    pub processors: usize,
    /// Processors that all of them may use together.
    pub cpus: u32,
    /// Memory that all of them may use together, in bytes; `None` means what the host has without a reserve.
    pub memory_bytes: Option<u64>,
    /// Attempts after an infrastructure failure, besides the first.
    pub retries: u32,
    /// How many times its memory limit a build is given, once more, that ran out of it; `None` for not at all.
    pub memory_retry: Option<f64>,
    /// When build roots are removed.
    pub clean: CleanPolicy,
    /// Whether ccache is used.
    pub ccache: bool,
    /// Whether sccache is used for specs that need Rust.
    pub sccache: bool,
    /// Groups of specs that share a compiler cache, or have none.
    pub ccache_config: Option<PathBuf>,
    /// Whether the first failure stops the run.
    pub stop_on_failure: bool,
    /// What unpacked packages may take of the disk, in bytes.
    pub layer_budget: Option<u64>,
    /// How many layers of dependants a rebuild brings along.
    pub cascade_layers: CascadeLayers,
    /// Whether results of builds are kept and taken from stores.
    pub result_cache: bool,
    /// What results of builds may take of the disk, in bytes.
    pub result_budget: Option<u64>,
    /// Further stores of results, in order.
    pub result_stores: Vec<ResultStore>,
    /// How many reports of runs are kept.
    pub reports_kept: usize,
    /// Which packages build roots may use.
    pub rules: PackageRules,
    /// A file of macros that every build reads.
    pub macros_file: Option<PathBuf>,
    /// What stands for rpmbuild's helper scripts.
    pub tuning: TuningMode,
    /// Where packages from outside come from, in order.
    pub repositories: Vec<Repository>,
    pub(crate) programs: ProgramLimits,
    defaults: PackageLimits,
    packages: BTreeMap<String, RawPackage>,
}

/// What holds for one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageLimits {
    /// When it is built again.
    pub rebuild: RebuildPolicy,
    /// What a change of shared libraries does.
    pub sonames: SonamePolicy,
    /// How its release rises when it is built again for others' sake.
    pub bump: ReleaseBump,
    /// Its time limit.
    pub timeout: Duration,
    /// What its upper directory may hold, in bytes.
    pub disk_limit_bytes: u64,
    /// What else it may use.
    pub build: BuildLimits,
    /// What its log keeps, in bytes.
    pub log_limit_bytes: u64,
    /// Processors that it may count on where nobody looks at what else is built: an even share.
    pub max_cpu: u32,
    /// Processors of which it may never have more, where that is stated.
    pub most_cpus: Option<u32>,
    /// Processors without which it is not started.
    pub least_cpus: u32,
    /// Memory that it is expected to use, in bytes; `None` leaves that to what was measured.
    pub expected_memory_bytes: Option<u64>,
    /// Whether its `%check` runs.
    pub run_check: bool,
}

/// What can be wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be; the message points at the line and names the allowed keys.
    #[error("`{path}`: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's words with line and column.
        message: String,
    },
    /// A value cannot be used.
    #[error("configuration: `{key}` is `{value}`; expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl RawConfig {
    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })
    }

    /// Returns the configuration that this one states for a tree; `processors` is the host's number.
    pub fn resolve(self, root: &Path, processors: usize) -> Result<Config, ConfigError> {
        let absolute = |path: PathBuf| root.join(path);
        let or = |path: Option<PathBuf>, default: &str| root.join(path.unwrap_or_else(|| default.into()));
        let workers = match self.build.workers.unwrap_or(0) {
            0 => processors.max(1),
            number => number,
        };
        let share = u32::try_from(processors.div_ceil(workers)).unwrap_or(1).max(1);
        let most_cpus = self.build.max_cpu.filter(|number| *number > 0);
        let all_cpus = u32::try_from(processors.max(workers)).unwrap_or(u32::MAX);
        let cpus = self.build.cpus.filter(|number| *number > 0).unwrap_or(all_cpus);
        let defaults = PackageLimits {
            rebuild: self.policy.rebuild.unwrap_or_default(),
            bump: self.policy.bump.unwrap_or_default(),
            sonames: soname_policy("policy.sonames", self.policy.sonames.as_deref().unwrap_or("keep"))?,
            timeout: duration("build.timeout", self.build.timeout.as_deref().unwrap_or("8h"))?,
            disk_limit_bytes: bytes(self.build.disk_limit_mib.unwrap_or(16384)),
            build: build_limits(
                BuildLimits::default(),
                "build.cpu-limit",
                LimitTexts {
                    memory_limit_mib: self.build.memory_limit_mib,
                    process_limit: self.build.process_limit,
                    cpu_limit: self.build.cpu_limit.as_deref(),
                    file_limit: self.build.file_limit,
                },
            )?,
            log_limit_bytes: self.build.log_limit_mib.map_or(JobDocument::LOG_LIMIT, bytes),
            max_cpu: most_cpus.unwrap_or(share),
            most_cpus,
            least_cpus: 1,
            expected_memory_bytes: None,
            run_check: self.build.run_check.unwrap_or(false),
        };
        if let Some(factor) = self.build.memory_retry
            && !(factor > 1.0 && factor <= 1024.0)
        {
            return Err(value("build.memory-retry", &factor.to_string(), "a number above 1, for example 2"));
        }
        for (name, package) in &self.packages {
            if let Some(text) = &package.sonames {
                soname_policy(&format!("packages.{name}.sonames"), text)?;
            }
            if let Some(text) = &package.timeout {
                duration(&format!("packages.{name}.timeout"), text)?;
            }
            let key = format!("packages.{name}.cpu-limit");
            build_limits(BuildLimits::default(), &key, LimitTexts::of(package))?;
            if let (Some(least), Some(most)) = (package.cpus, package.max_cpu.or(most_cpus))
                && (1..least).contains(&most)
            {
                let key = format!("packages.{name}.cpus");
                return Err(value(&key, &least.to_string(), "at most its `max-cpu`"));
            }
        }
        let client_certificate = match (self.sources.tls_cert, self.sources.tls_key) {
            (Some(certificate), Some(key)) => Some((absolute(certificate), absolute(key))),
            (None, None) => None,
            (one, _) => {
                let (given, expected) = if one.is_some() {
                    ("sources.tls-cert", "a `tls-key` beside it")
                } else {
                    ("sources.tls-key", "a `tls-cert` beside it")
                };
                return Err(value(given, "alone", expected));
            }
        };
        let programs = programs::resolve(&self.policy, &self.packages)?;
        let defines = defines(self.distribution);
        let release = defines.get("distro_release_version").map_or("", String::as_str);
        Ok(Config {
            repositories: repositories::resolve(self.repositories, root, release)?,
            defines,
            source_urls: self.sources.urls.unwrap_or_default(),
            upstream: self.sources.upstream.unwrap_or(true),
            debian_sources: or(self.sources.debian, "configs/debian-sources.toml"),
            signature_handling: self.sources.signature_handling.unwrap_or_default(),
            ca_cert: self.sources.ca_cert.map(absolute),
            client_certificate,
            offline: self.sources.offline.unwrap_or(false),
            concurrent_downloads: self.sources.concurrent_downloads.unwrap_or(10).max(1),
            workers,
            processors,
            cpus,
            memory_bytes: self.build.memory_mib.filter(|number| *number > 0).map(bytes),
            retries: self.build.retries.unwrap_or(1),
            memory_retry: self.build.memory_retry,
            clean: clean(self.build.clean.as_deref())?,
            ccache: self.build.ccache.unwrap_or(false),
            sccache: self.build.sccache.unwrap_or(false),
            ccache_config: self.build.ccache_config.map(absolute),
            stop_on_failure: self.build.stop_on_failure.unwrap_or(false),
            layer_budget: self
                .cache
                .layer_budget
                .map(|text| size("cache.layer-budget", &text))
                .transpose()?,
            cascade_layers: self.policy.max_cascading_rebuilds.unwrap_or_default(),
            result_cache: self.cache.results.unwrap_or(true),
            result_budget: self
                .cache
                .result_budget
                .map(|text| size("cache.result-budget", &text))
                .transpose()?,
            result_stores: results::resolve(self.result_stores, root)?,
            reports_kept: self.reports.keep.unwrap_or(20),
            rules: PackageRules {
                pins: self.policy.pins.unwrap_or_default(),
                excludes: self.policy.excludes.unwrap_or_default(),
            },
            macros_file: self.build.macros_file.map(absolute),
            tuning: self.build.tuning.unwrap_or_default(),
            directories: resolve_directories(self.directories, root)?,
            programs,
            defaults,
            packages: self.packages,
        })
    }
}

impl Config {
    /// Returns what commands of a spec may do that give versions.
    pub fn program_limits(&self, package: &str) -> ProgramLimits {
        self.programs.of(self.packages.get(package), &self.directories.root)
    }

    /// Returns what holds for a package: its own exceptions over the defaults.
    pub fn limits(&self, package: &str) -> PackageLimits {
        let mut limits = self.defaults.clone();
        if let Some(own) = self.packages.get(package) {
            limits.rebuild = own.rebuild.unwrap_or(limits.rebuild);
            limits.bump = own.bump.unwrap_or(limits.bump);
            if let Some(Ok(sonames)) = own.sonames.as_deref().map(|text| soname_policy("sonames", text)) {
                limits.sonames = sonames;
            }
            limits.max_cpu = own.max_cpu.filter(|number| *number > 0).unwrap_or(limits.max_cpu);
            limits.most_cpus = own.max_cpu.or(limits.most_cpus).filter(|number| *number > 0);
            limits.least_cpus = own.cpus.unwrap_or(limits.least_cpus).max(1);
            limits.expected_memory_bytes = own.memory_mib.map(bytes);
            limits.run_check = own.run_check.unwrap_or(limits.run_check);
            if let Some(mebibytes) = own.disk_limit_mib {
                limits.disk_limit_bytes = bytes(mebibytes);
            }
            if let Some(mebibytes) = own.log_limit_mib {
                limits.log_limit_bytes = bytes(mebibytes);
            }
            // `resolve` has parsed every one of these texts before.
            if let Ok(build) = build_limits(limits.build.clone(), "cpu-limit", LimitTexts::of(own)) {
                limits.build = build;
            }
            if let Some(Ok(timeout)) = own.timeout.as_deref().map(|text| duration("timeout", text)) {
                limits.timeout = timeout;
            }
        }
        limits
    }
}

/// Limits as a table of the configuration states them.
struct LimitTexts<'a> {
    memory_limit_mib: Option<u64>,
    process_limit: Option<u64>,
    cpu_limit: Option<&'a str>,
    file_limit: Option<u64>,
}

impl<'a> LimitTexts<'a> {
    fn of(package: &'a RawPackage) -> Self {
        Self {
            memory_limit_mib: package.memory_limit_mib,
            process_limit: package.process_limit,
            cpu_limit: package.cpu_limit.as_deref(),
            file_limit: package.file_limit,
        }
    }
}

/// Returns how many bytes so many MiB are; as many as there can be where that is more.
fn bytes(mebibytes: u64) -> u64 {
    mebibytes.saturating_mul(1 << 20)
}

/// Returns limits with everything that a table states taken from there; `cpu_key` is the key of its duration.
fn build_limits(
    mut limits: BuildLimits,
    cpu_key: &str,
    stated: LimitTexts<'_>,
) -> Result<BuildLimits, ConfigError> {
    if let Some(mebibytes) = stated.memory_limit_mib {
        limits.memory_limit_bytes = (mebibytes > 0).then(|| bytes(mebibytes));
    }
    if let Some(text) = stated.cpu_limit {
        limits.cpu_limit_seconds = Some(duration(cpu_key, text)?.as_secs()).filter(|seconds| *seconds > 0);
    }
    for (key, stated, limit) in [
        ("process-limit", stated.process_limit, &mut limits.process_limit),
        ("file-limit", stated.file_limit, &mut limits.file_limit),
    ] {
        match stated {
            Some(0) => return Err(value(key, "0", "a number greater than zero")),
            Some(number) => *limit = number,
            None => {}
        }
    }
    Ok(limits)
}

/// Returns every directory, absolute.
fn resolve_directories(raw: crate::raw::RawDirectories, root: &Path) -> Result<Directories, ConfigError> {
    let build = root.join(raw.build.unwrap_or_else(|| "build".into()));
    let output = root.join(raw.output.unwrap_or_else(|| "out".into()));
    let specs = raw.specs.unwrap_or_else(|| vec!["SPECS".into()]);
    if specs.is_empty() {
        return Err(value("directories.specs", "[]", "at least one directory"));
    }
    // Joining an absolute path replaces, so each of these is the stated path or the default's place.
    let below = |path: Option<PathBuf>, parent: &Path, name: &str| {
        path.map_or_else(|| parent.join(name), |path| root.join(path))
    };
    Ok(Directories {
        root: root.to_owned(),
        specs: specs.into_iter().map(|path| root.join(path)).collect(),
        rpms: below(raw.rpms, &output, "RPMS"),
        srpms: below(raw.srpms, &output, "SRPMS"),
        intermediate_srpms: below(raw.intermediate_srpms, &build, "INTERMEDIATE_SRPMS"),
        intermediate_specs: below(raw.intermediate_specs, &build, "INTERMEDIATE_SPECS"),
        artifacts: below(raw.artifacts, &build, "pkg_artifacts"),
        logs: below(raw.logs, &build, "logs"),
        work: below(raw.work, &build, "worker/chroot"),
        toolchain: below(raw.toolchain, &build, "toolchain_rpms"),
        cache: below(raw.cache, &build, "rpm_cache/cache"),
        ccache: below(raw.ccache, root, "ccache"),
        sccache: below(raw.sccache, root, "sccache"),
        build,
        output,
    })
}

/// Returns the macros that every spec sees.
fn defines(distribution: crate::raw::RawDistribution) -> BTreeMap<String, String> {
    let mut defines = distribution.macros.unwrap_or_default();
    let mut set = |name: &str, value: Option<String>, default: &str| {
        defines.insert(name.to_owned(), value.unwrap_or_else(|| default.to_owned()));
    };
    set("dist", distribution.dist, ".mw1");
    set("distro_release_version", distribution.release_version, "1.0");
    set("distro_build_number", distribution.build_number, "0");
    defines
}

fn clean(text: Option<&str>) -> Result<CleanPolicy, ConfigError> {
    let Some(text) = text else { return Ok(CleanPolicy::default()) };
    text.parse().map_err(|_| value("build.clean", text, "`never`, `on-success` or `always`"))
}

fn size(key: &str, text: &str) -> Result<u64, ConfigError> {
    let bytes: Result<bytesize::ByteSize, _> = text.parse();
    bytes.map(|bytes| bytes.as_u64()).map_err(|_| value(key, text, "a size such as `20GiB` or `500MiB`"))
}

pub(crate) fn duration(key: &str, text: &str) -> Result<Duration, ConfigError> {
    humantime::parse_duration(text).map_err(|_| value(key, text, "a duration such as `90s`, `30m` or `2h`"))
}

pub(crate) fn value(key: &str, value: &str, expected: &'static str) -> ConfigError {
    ConfigError::Value { key: key.to_owned(), value: value.to_owned(), expected }
}

fn soname_policy(key: &str, text: &str) -> Result<SonamePolicy, ConfigError> {
    let expected = "keep, newer, never, neverever or a level: major, minor, patch, extra, serial, First_N, last, release";
    text.parse().map_err(|_| value(key, text, expected))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Resolves a configuration file over the tree `/tree`; an error comes as it is told.
    pub(crate) fn resolve(text: &str) -> Result<Config, String> {
        let raw: RawConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        raw.resolve(Path::new("/tree"), 8).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_usable() {
        let config = resolve("").unwrap();
        assert_eq!(config.directories.toolchain, Path::new("/tree/build/toolchain_rpms"));
        assert_eq!(config.directories.specs, [PathBuf::from("/tree/SPECS")]);
        assert_eq!(config.defines["dist"], ".mw1");
        assert_eq!((config.workers, config.limits("zlib").max_cpu), (8, 1));
        assert_eq!(config.layer_budget, None);
        let limited = resolve("[cache]\nlayer-budget = '20GiB'\n").unwrap();
        assert_eq!(limited.layer_budget, Some(20 << 30));
        assert_eq!(config.limits("zlib").timeout, Duration::from_secs(8 * 3600));
    }

    #[test]
    fn a_package_has_its_own_limits() {
        let config = resolve("[build]\nworkers = 2\n[packages.gcc]\ntimeout = '20h'\nmax-cpu = 8\n").unwrap();
        assert_eq!(config.limits("gcc").timeout, Duration::from_secs(20 * 3600));
        assert_eq!((config.limits("gcc").max_cpu, config.limits("zlib").max_cpu), (8, 4));
    }

    #[test]
    fn the_machine_is_the_hosts_unless_stated_and_has_a_processor_for_each_worker() {
        let of =
            |text| resolve(text).map(|config| (config.workers, config.cpus, config.memory_bytes)).unwrap();
        assert_eq!(of(""), (8, 8, None));
        assert_eq!(of("[build]\nworkers = 3\n"), (3, 8, None));
        assert_eq!(of("[build]\nworkers = 20\n"), (20, 20, None));
        assert_eq!(of("[build]\ncpus = 4\nmemory-mib = 1024\n"), (8, 4, Some(1 << 30)));
    }

    #[test]
    fn what_a_package_is_expected_to_use_can_be_stated() {
        let config = resolve(
            "[build]\nmax-cpu = 6\n[packages.gcc]\ncpus = 4\nmemory-mib = 2048\n[packages.jq]\nmax-cpu = 0\n",
        )
        .unwrap();
        let of = |name| {
            let limits = config.limits(name);
            (limits.least_cpus, limits.most_cpus, limits.expected_memory_bytes)
        };
        assert_eq!(of("gcc"), (4, Some(6), Some(2 << 30)));
        assert_eq!(of("jq"), (1, None, None));
        assert_eq!(of("zlib"), (1, Some(6), None));
        let error = resolve("[packages.gcc]\ncpus = 4\nmax-cpu = 2\n").unwrap_err();
        assert_eq!(error, "configuration: `packages.gcc.cpus` is `4`; expected at most its `max-cpu`");
    }

    #[test]
    fn limits_of_a_package_lie_over_those_of_all() {
        let config = resolve(
            "[build]\nmemory-limit-mib = 100\nprocess-limit = 50\ncpu-limit = '2h'\n\
             [packages.gcc]\nmemory-limit-mib = 0\ncpu-limit = '0s'\nfile-limit = 9\n",
        )
        .unwrap();
        let all = BuildLimits {
            memory_limit_bytes: Some(100 << 20),
            process_limit: 50,
            cpu_limit_seconds: Some(7200),
            ..BuildLimits::default()
        };
        assert_eq!(config.limits("zlib").build, all);
        let own = BuildLimits { memory_limit_bytes: None, cpu_limit_seconds: None, file_limit: 9, ..all };
        assert_eq!(config.limits("gcc").build, own);
    }

    #[test]
    fn layers_of_a_cascade_are_a_number_or_all() {
        let layers = |text: &str| resolve(text).unwrap().cascade_layers.most();
        assert_eq!(layers(""), None);
        assert_eq!(layers("[policy]\nmax-cascading-rebuilds = 1\n"), Some(1));
        assert_eq!(layers("[policy]\nmax-cascading-rebuilds = 'all'\n"), None);
        assert!(resolve("[policy]\nmax-cascading-rebuilds = 'some'\n").unwrap_err().contains("`all`"));
    }

    #[test]
    fn a_package_has_its_own_way_to_raise_its_release() {
        let bump = |text: &str, name: &str| resolve(text).unwrap().limits(name).bump;
        assert_eq!(bump("", "zlib"), ReleaseBump::Dist);
        let text = "[policy]\nbump = 'none'\n[packages.gcc]\nbump = 'spec'\n";
        assert_eq!((bump(text, "zlib"), bump(text, "gcc")), (ReleaseBump::None, ReleaseBump::Spec));
        assert!(resolve("[policy]\nbump = 'much'\n").unwrap_err().contains("`dist`"));
    }

    #[test]
    fn what_flags_state_wins() {
        let file: RawConfig = toml::from_str("[build]\nworkers = 2\nretries = 5\n").unwrap();
        let flags: RawConfig = toml::from_str("[build]\nworkers = 3\n").unwrap();
        let config = file.overlaid_with(flags).resolve(Path::new("/tree"), 8).unwrap();
        assert_eq!((config.workers, config.retries), (3, 5));
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, part: &str| {
            let message = resolve(text).unwrap_err();
            assert!(message.contains(part), "{message}");
        };
        check("[build]\nworker = 2\n", "unknown field `worker`");
        check("[build]\ntimeout = 'soon'\n", "build.timeout");
        check("[build]\nclean = 'maybe'\n", "on-success");
        check("[packages.gcc]\ntimeout = 'soon'\n", "packages.gcc.timeout");
        check("[packages.gcc]\ncpu-limit = 'much'\n", "packages.gcc.cpu-limit");
        check("[build]\nprocess-limit = 0\n", "process-limit");
        check("[cache]\nlayer-budget = 'much'\n", "cache.layer-budget");
        check("[sources]\ntls-cert = 'a'\n", "tls-key");
        check("[directories]\nspecs = []\n", "at least one");
    }
}
