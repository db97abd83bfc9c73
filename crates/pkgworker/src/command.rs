//! Job to sandbox: the command line, environment and mounts of one rpmbuild, as plain data.
//!
//! Nothing here touches the system; [`sandbox_spec`] is a function from a job to a value, tested as such.
//! What it fixes (paths, host name, time zone, dates, processor count) is what makes two builds of one job
//! bit-identical; [`WORKER_SEMANTICS`] is part of every build identity and is raised when any of it changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use buildroot::{BindMount, Limits, SandboxSpec, Upper};
use rpm_model::JobDocument;

use crate::caches::{CCACHE_LOG, SCCACHE_STATISTICS};

/// Raised whenever the same job document would be built in another way.
pub const WORKER_SEMANTICS: u32 = 2;

/// `_topdir` inside every build root.
pub const TOP_DIRECTORY: &str = "/build";

/// The architecture that this program was compiled for, and so the host's.
pub(crate) const HOST_ARCH: &str = std::env::consts::ARCH;

/// Where a build sees its SRPM: in memory, so that the place for it costs nothing on disk.
const SRPM_DIRECTORY: &str = "/run/millwright/srpm";

/// Where a build sees ccache's objects and compiler links.
const CCACHE_DIRECTORY: &str = "/ccache";
const CCACHE_LINKS: &str = "/ccache-bin";
const CCACHE_CONFIG: &str = "/ccache.conf";

/// Where a build sees sccache's objects and configuration.
const SCCACHE_DIRECTORY: &str = "/sccache";
const SCCACHE_CONFIG: &str = "/sccache.toml";

/// Where a build sees the extra macro file.
const MACROS_FILE: &str = "/etc/rpm/macros.zz-millwright-job";

/// The compilers that ccache stands in for; links of these names to ccache come first on the path.
pub(crate) const CCACHE_COMPILERS: [&str; 6] = ["c++", "cc", "clang", "clang++", "g++", "gcc"];

/// The directories of one job on the host.
#[derive(Clone, Debug)]
pub(crate) struct JobDirectories {
    /// Becomes `/build`, writable by the build user.
    pub(crate) top: PathBuf,
    /// Links named as compilers, when ccache is used.
    pub(crate) ccache_links: PathBuf,
    /// Becomes `/tmp` when the root may be kept.
    pub(crate) tmp: PathBuf,
    /// Becomes `/var/tmp` when the root may be kept.
    pub(crate) var_tmp: PathBuf,
    /// Holds the upper directory of a kept root: what people change in it with a shell.
    pub(crate) upper: PathBuf,
}

impl JobDirectories {
    /// Returns the places of a job whose directory this is.
    pub(crate) fn below(job: &Path) -> Self {
        Self {
            top: job.join("build"),
            ccache_links: job.join("ccache-bin"),
            tmp: job.join("tmp"),
            var_tmp: job.join("var-tmp"),
            upper: job.join("root"),
        }
    }
}

/// Returns the macros that every build is given besides the job's own, in a fixed order.
fn worker_macros(job: &JobDocument) -> BTreeMap<String, String> {
    let processors = job.max_cpu.unwrap_or(1).max(1).to_string();
    let fixed = [
        ("_topdir", TOP_DIRECTORY),
        ("_buildhost", "millwright"),
        // The root has no database of packages; this one says so without complaints at the head of every log.
        ("_db_backend", "dummy"),
        // Dates come from the changelog, so that a build at another hour gives the same bytes.
        ("source_date_epoch_from_changelog", "1"),
        ("use_source_date_epoch_as_buildtime", "1"),
        ("clamp_mtime_to_source_date_epoch", "1"),
        // A constant saves the shell-out to count processors, and `-j` is no input of a correct build.
        ("_smp_build_ncpus", processors.as_str()),
        ("_smp_ncpus_max", processors.as_str()),
        ("with_check", if job.run_check { "1" } else { "0" }),
    ];
    let mut macros: BTreeMap<String, String> =
        fixed.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    macros.extend(job.defines.clone());
    // The source package, and whoever read it, know the release without it.
    if let (Some(counter), Some(dist)) = (job.dist_counter, macros.get_mut("dist")) {
        *dist = format!("{dist}.{counter}");
    }
    macros
}

/// Returns rpmbuild's argument vector.
pub(crate) fn rpmbuild_arguments(job: &JobDocument, srpm_name: &str) -> Vec<String> {
    let mut arguments = vec!["/usr/bin/rpmbuild".to_owned(), "--rebuild".to_owned()];
    // The solver has proved the closure; the root carries no database that rpmbuild could ask.
    arguments.push("--nodeps".to_owned());
    // The whole directory goes away afterwards; `%clean` would only cost processes.
    arguments.push("--noclean".to_owned());
    if !job.run_check {
        arguments.push("--nocheck".to_owned());
    }
    if job.arch != HOST_ARCH {
        arguments.push("--target".to_owned());
        arguments.push(job.arch.clone());
    }
    for (name, value) in worker_macros(job) {
        arguments.push("--define".to_owned());
        arguments.push(format!("{name} {value}"));
    }
    arguments.push(format!("{SRPM_DIRECTORY}/{srpm_name}"));
    arguments
}

/// What one run of rpmbuild is for, when `%generate_buildrequires` is asked before the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To find out what the section asks for.
    Requirements,
    /// To build in the tree that asking has prepared.
    PreparedBuild,
}

impl Purpose {
    /// Changes the arguments of a whole build to those of this run.
    pub(crate) fn apply(self, arguments: &mut Vec<String>) {
        let Some(at) = arguments.iter().position(|argument| argument == "--rebuild") else { return };
        match self {
            Self::Requirements => "-rr".clone_into(&mut arguments[at]),
            Self::PreparedBuild => arguments.insert(at + 1, "--noprep".to_owned()),
        }
    }
}

/// How a job's rpmbuild is started, as seen inside its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// The complete environment.
    pub environment: BTreeMap<String, String>,
    /// The working directory.
    pub working_directory: String,
}

/// Returns how a job's rpmbuild is started.
pub fn invocation(job: &JobDocument) -> Invocation {
    let nowhere = JobDirectories::below(Path::new("/"));
    let spec = sandbox_spec(job, Vec::new(), &nowhere, false);
    Invocation {
        arguments: spec.arguments,
        environment: spec.environment,
        working_directory: spec.working_directory.to_string_lossy().into_owned(),
    }
}

/// Returns the sandbox that builds a job over these lowers.
///
/// With `keepable` all that a build may write is on disk, so that it can be looked at afterwards; otherwise
/// temporary files live in memory.
pub(crate) fn sandbox_spec(
    job: &JobDocument,
    lowers: Vec<PathBuf>,
    directories: &JobDirectories,
    keepable: bool,
) -> SandboxSpec {
    let srpm = Path::new(&job.srpm_path);
    let srpm_name = srpm.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut spec = SandboxSpec::new(lowers, rpmbuild_arguments(job, &srpm_name));
    let disk_limit_mb = (job.disk_limit_bytes >> 20).max(1);
    // An upper that nobody can write to would cost the overlay its preparation, and every name looked up a look.
    spec.upper = Upper::None;
    // Nothing outside /build, /tmp, /var/tmp and /dev/shm can be changed by a build, whether its root is kept or not.
    spec.read_only_root = true;
    for tmpfs in &mut spec.tmpfs {
        tmpfs.size_mb = tmpfs.size_mb.min(disk_limit_mb);
    }
    spec.working_directory = TOP_DIRECTORY.into();
    "millwright".clone_into(&mut spec.hostname);
    spec.binds.push(bind(&directories.top, TOP_DIRECTORY, false));
    spec.binds.push(bind(srpm, &format!("{SRPM_DIRECTORY}/{srpm_name}"), true));
    if keepable {
        // rpmbuild's section scripts are in /var/tmp, and what a build leaves in either tells why it failed.
        spec.tmpfs.retain(|tmpfs| tmpfs.target != Path::new("/tmp") && tmpfs.target != Path::new("/var/tmp"));
        spec.binds.push(bind(&directories.tmp, "/tmp", false));
        spec.binds.push(bind(&directories.var_tmp, "/var/tmp", false));
    }
    if let Some(macros) = &job.macros_file {
        spec.binds.push(bind(Path::new(macros), MACROS_FILE, true));
    }
    let mut path = "/usr/local/bin:/usr/bin:/usr/sbin".to_owned();
    let mut environment = BTreeMap::from([
        ("HOME", TOP_DIRECTORY.to_owned()),
        ("USER", "builder".to_owned()),
        ("LOGNAME", "builder".to_owned()),
        ("SHELL", "/bin/bash".to_owned()),
        ("TERM", "dumb".to_owned()),
        ("LC_ALL", job.surroundings.locale().to_owned()),
        ("TZ", job.surroundings.time_zone().to_owned()),
        // Without it the OpenMP threads of rpmbuild spin: 40 % of its processor time on small packages.
        ("OMP_WAIT_POLICY", "passive".to_owned()),
    ]);
    if let Some(ccache) = &job.ccache {
        spec.binds.push(bind(Path::new(&ccache.directory), CCACHE_DIRECTORY, false));
        spec.binds.push(bind(&directories.ccache_links, CCACHE_LINKS, true));
        environment.insert("CCACHE_DIR", CCACHE_DIRECTORY.to_owned());
        environment.insert("CCACHE_STATSLOG", format!("{TOP_DIRECTORY}/{CCACHE_LOG}"));
        if let Some(config) = &ccache.config {
            spec.binds.push(bind(Path::new(config), CCACHE_CONFIG, true));
            environment.insert("CCACHE_CONFIGPATH", CCACHE_CONFIG.to_owned());
        }
        path = format!("{CCACHE_LINKS}:{path}");
    }
    if let Some(sccache) = &job.sccache {
        spec.binds.push(bind(Path::new(&sccache.directory), SCCACHE_DIRECTORY, false));
        environment.insert("SCCACHE_DIR", SCCACHE_DIRECTORY.to_owned());
        environment.insert("RUSTC_WRAPPER", "/usr/bin/sccache".to_owned());
        // The server ends when it is told to, not when it has nothing to do; it listens where no network is.
        environment.insert("SCCACHE_IDLE_TIMEOUT", "0".to_owned());
        environment.insert("SCCACHE_SERVER_UDS", "/tmp/.sccache".to_owned());
        if let Some(config) = &sccache.config {
            spec.binds.push(bind(Path::new(config), SCCACHE_CONFIG, true));
            environment.insert("SCCACHE_CONF", SCCACHE_CONFIG.to_owned());
        }
        spec.arguments = with_sccache(std::mem::take(&mut spec.arguments));
    }
    environment.insert("PATH", path);
    spec.environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    spec.limits = Limits {
        wall_ms: Some(job.timeout_seconds.saturating_mul(1000)),
        cpu_ms: job.limits.cpu_limit_seconds.map(|seconds| seconds.saturating_mul(1000)),
        memory_bytes: job.limits.memory_limit_bytes,
        processes: Some(job.limits.process_limit),
        files: Some(job.limits.file_limit),
        // A build that has met a limit fails in any case; so it fails at once, and for the true reason.
        excess_ends_run: true,
        ..Limits::default()
    };
    spec
}

/// Returns a command that runs another between the start and the end of sccache's server.
fn with_sccache(arguments: Vec<String>) -> Vec<String> {
    // A server that does not start makes every compilation a plain one, and leaves no statistics.
    let script = format!(
        "sccache --start-server >/dev/null 2>&1; \"$@\"; code=$?; \
         sccache --show-stats --stats-format=json >{TOP_DIRECTORY}/{SCCACHE_STATISTICS} 2>/dev/null; \
         sccache --stop-server >/dev/null 2>&1; exit $code"
    );
    let shell = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned);
    shell.into_iter().chain(arguments).collect()
}

fn bind(source: &Path, target: &str, read_only: bool) -> BindMount {
    BindMount { source: source.to_owned(), target: target.into(), read_only }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpm_model::{BuildLimits, BuildrootLock, CcacheMount, ContentDigest};

    fn job() -> JobDocument {
        JobDocument {
            schema: JobDocument::SCHEMA,
            package: "zlib".into(),
            srpm_path: "/srv/zlib-1.3-1.mw1.src.rpm".into(),
            srpm_sha256: ContentDigest::of_bytes(b""),
            lock: BuildrootLock::new(Vec::new()),
            common: Default::default(),
            arch: HOST_ARCH.into(),
            defines: BTreeMap::from([("dist".into(), ".mw1".into())]),
            dist_counter: None,
            macros_file: None,
            run_check: false,
            has_check: None,
            generated: Vec::new(),
            max_cpu: Some(3),
            timeout_seconds: 60,
            disk_limit_bytes: 64 << 20,
            limits: BuildLimits { cpu_limit_seconds: Some(7), ..BuildLimits::default() },
            log_limit_bytes: JobDocument::LOG_LIMIT,
            ccache: None,
            sccache: None,
            expected: Vec::new(),
            tuning: Default::default(),
            surroundings: Default::default(),
        }
    }

    fn directories() -> JobDirectories {
        JobDirectories::below(Path::new("/w"))
    }

    #[test]
    fn rpmbuild_gets_fixed_macros_in_a_fixed_order() {
        let arguments = rpmbuild_arguments(&job(), "z.src.rpm").join("|");
        assert_eq!(
            arguments,
            "/usr/bin/rpmbuild|--rebuild|--nodeps|--noclean|--nocheck|--define|_buildhost millwright|--define|\
             _db_backend dummy|--define|_smp_build_ncpus 3|--define|_smp_ncpus_max 3|--define|_topdir /build|--define|\
             clamp_mtime_to_source_date_epoch 1|--define|dist .mw1|--define|source_date_epoch_from_changelog 1|\
             --define|use_source_date_epoch_as_buildtime 1|--define|with_check 0|/run/millwright/srpm/z.src.rpm"
        );
        let counted = JobDocument { dist_counter: std::num::NonZeroU32::new(2), ..job() };
        let counted = rpmbuild_arguments(&counted, "z.src.rpm").join("|");
        assert_eq!(counted, arguments.replace("dist .mw1", "dist .mw1.2"));
        let mut checked = job();
        checked.run_check = true;
        assert!(!rpmbuild_arguments(&checked, "z").contains(&"--nocheck".to_owned()));
        assert!(rpmbuild_arguments(&checked, "z").contains(&"with_check 1".to_owned()));
    }

    #[test]
    fn the_root_is_always_read_only_limits_are_passed_on_and_what_is_kept_is_on_disk() {
        let spec = sandbox_spec(&job(), vec!["/l".into()], &directories(), false);
        assert!(spec.read_only_root);
        assert_eq!((spec.limits.wall_ms, spec.limits.cpu_ms), (Some(60_000), Some(7_000)));
        assert_eq!((spec.limits.processes, spec.limits.files), (Some(16_384), Some(2_000_000)));
        assert_eq!(spec.system_calls, buildroot::SystemCalls::Contained);
        assert!(spec.tmpfs.iter().all(|tmpfs| tmpfs.size_mb == 64), "no more than the disk limit");
        assert_eq!(spec.upper, Upper::None);
        let kept = sandbox_spec(&job(), vec!["/l".into()], &directories(), true);
        assert!(kept.read_only_root);
        let targets = |spec: &SandboxSpec| -> Vec<PathBuf> {
            spec.tmpfs.iter().map(|tmpfs| tmpfs.target.clone()).collect()
        };
        assert_eq!(targets(&spec), ["/tmp", "/var/tmp", "/run"].map(PathBuf::from));
        assert_eq!(targets(&kept), ["/run"].map(PathBuf::from));
        let bound = |target: &str| kept.binds.iter().find(|bind| bind.target == Path::new(target));
        assert_eq!(bound("/var/tmp").unwrap().source, Path::new("/w/var-tmp"));
        assert_eq!(bound("/tmp").unwrap().source, Path::new("/w/tmp"));
    }

    #[test]
    fn ccache_comes_first_on_the_path() {
        let mut cached = job();
        cached.ccache = Some(CcacheMount { directory: "/cc".into(), config: None });
        let spec = sandbox_spec(&cached, vec!["/l".into()], &directories(), false);
        assert!(spec.environment["PATH"].starts_with("/ccache-bin:"));
        assert_eq!(spec.environment["CCACHE_DIR"], "/ccache");
        assert_eq!(spec.binds.iter().filter(|mount| !mount.read_only).count(), 2);
    }
    #[test]
    fn asking_for_requirements_comes_before_building_in_the_same_tree() {
        let start = |purpose: Purpose| {
            let mut arguments = rpmbuild_arguments(&job(), "z.src.rpm");
            purpose.apply(&mut arguments);
            arguments[1..4].join(" ")
        };
        assert_eq!(start(Purpose::Requirements), "-rr --nodeps --noclean");
        assert_eq!(start(Purpose::PreparedBuild), "--rebuild --noprep --nodeps");
    }

    #[test]
    fn sccache_lives_as_long_as_rpmbuild() {
        let mut cached = job();
        cached.sccache = Some(CcacheMount { directory: "/sc".into(), config: None });
        let spec = sandbox_spec(&cached, vec!["/l".into()], &directories(), false);
        assert_eq!(spec.arguments[0], "/bin/sh");
        assert_eq!(spec.arguments[4..], rpmbuild_arguments(&cached, "zlib-1.3-1.mw1.src.rpm"));
        assert_eq!(spec.environment["RUSTC_WRAPPER"], "/usr/bin/sccache");
        assert_eq!(spec.environment["SCCACHE_DIR"], "/sccache");
    }
}
