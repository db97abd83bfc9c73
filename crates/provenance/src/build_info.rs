//! `buildinfo.json`: everything that went into a build, how it ran and what came out.
//!
//! Paths of the host are left out: they are no input, and would differ on the next host. What a build was
//! given by content is named by content.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use rpm_model::{
    BuildLimits, BuildrootLock, CcacheMount, CheckVerdict, ContentDigest, HostFacts, JobDocument,
    LimitReport, LockedPackage, Nevra, Outcome, PackageOrigin, PhaseUsage, Requirement, ResourceUsage,
    ResultDocument, ReusedResult, TuningMode,
};
use serde::{Deserialize, Serialize};

/// Packages of a build root whose versions people ask for first.
const TOOLS: [&str; 22] = [
    "autoconf",
    "automake",
    "bash",
    "binutils",
    "cargo",
    "ccache",
    "clang",
    "cmake",
    "coreutils",
    "debugedit",
    "elfutils",
    "gcc",
    "gcc-c++",
    "glibc",
    "golang",
    "make",
    "meson",
    "ninja-build",
    "perl",
    "python3",
    "rpm",
    "rust",
];

/// The facts that a [`BuildInfo`] is made from.
#[derive(Clone, Debug)]
pub struct BuildFacts<'a> {
    /// What was asked of the worker.
    pub job: &'a JobDocument,
    /// What the worker said, as far as acceptance has found it true.
    pub result: &'a ResultDocument,
    /// The files in the SRPM.
    pub sources: &'a [SourceFile],
    /// The content of the job's macro file, when it has one.
    pub macros_file: Option<&'a InputFile>,
    /// The worker generation that the build root started from.
    pub generation: &'a ContentDigest,
    /// The worker's number for how a job is built.
    pub worker_semantics: u32,
    /// What the build was started with.
    pub invocation: Invocation,
    /// Whether rpmbuild's helper scripts were replaced by Millwright's own.
    pub tuned: bool,
    /// The host.
    pub host: &'a HostFacts,
    /// When the result was accepted, in seconds since 1970 UTC.
    pub finished_at: u64,
}

/// One build: inputs, circumstances, outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildInfo {
    /// This code reads and writes [`BuildInfo::SCHEMA`].
    pub schema: u32,
    /// The spec's name.
    pub package: String,
    /// The source package.
    pub source: SourcePackage,
    /// What the build was told beside its inputs.
    pub settings: Settings,
    /// A file of macros that was read besides the worker's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macros_file: Option<InputFile>,
    /// Identity of the build root's content.
    pub build_root: ContentDigest,
    /// The worker generation that the build root started from.
    pub generation: ContentDigest,
    /// Every package of the build root, sorted by NEVRA.
    pub root_packages: Vec<RootPackage>,
    /// Versions of well-known tools among them.
    pub tools: BTreeMap<String, String>,
    /// Arguments and environment of rpmbuild.
    pub invocation: Invocation,
    /// Who enforced the limits.
    pub enforcement: LimitReport,
    /// The host.
    pub host: HostFacts,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether `%check` passed; absent when it did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<bool>,
    /// What it used.
    pub usage: ResourceUsage,
    /// What its sections used.
    pub phases: Vec<PhaseUsage>,
    /// What `%generate_buildrequires` asked for besides what the spec states, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generated: Vec<Requirement>,
    /// When the result was accepted, in seconds since 1970 UTC.
    pub finished_at: u64,
    /// What came out, sorted by NEVRA.
    pub outputs: Vec<BuiltPackage>,
    /// The store of results that it was taken from; then host, times and usage are those of the build there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<ReusedResult>,
}

/// The source package, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePackage {
    /// Its identity.
    pub nevra: Nevra,
    /// Its file name.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: ContentDigest,
    /// Size of the file in bytes; 0 when the result does not tell.
    pub size: u64,
    /// The spec, the sources and the patches, sorted by name.
    pub files: Vec<SourceFile>,
}

/// One file of a source package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256; absent when the package states another digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<ContentDigest>,
}

/// A file known by name and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Its name, without directory.
    pub name: String,
    /// Its SHA-256.
    pub sha256: ContentDigest,
}

/// What a build was told beside its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The architecture built for.
    pub arch: String,
    /// Macros that the build was given.
    pub defines: BTreeMap<String, String>,
    /// What was appended to the value of `%dist`, after a dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dist_counter: Option<NonZeroU32>,
    /// Whether `%check` ran.
    pub run_check: bool,
    /// Processors that the build counted on; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processors: Option<u32>,
    /// Seconds after which it would have been killed.
    pub timeout_seconds: u64,
    /// Bytes that it might write.
    pub disk_limit_bytes: u64,
    /// The other limits.
    #[serde(flatten)]
    pub limits: BuildLimits,
    /// Whether it compiled through ccache.
    pub ccache: bool,
    /// Whether rpmbuild's helper scripts were replaced by Millwright's own.
    pub tuned: bool,
    /// The worker's number for how a job is built.
    pub worker_semantics: u32,
}

/// One package of a build root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RootPackage {
    /// Its identity.
    pub nevra: Nevra,
    /// SHA-256 of the RPM file.
    pub sha256: ContentDigest,
    /// Size of the RPM file in bytes.
    pub size: u64,
    /// Where it came from.
    pub origin: PackageOrigin,
}

/// How rpmbuild was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// Program and arguments, as seen inside the build root.
    pub arguments: Vec<String>,
    /// The complete environment.
    pub environment: BTreeMap<String, String>,
    /// The working directory inside the build root.
    pub working_directory: String,
}

/// One package that came out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BuiltPackage {
    /// Its identity.
    pub nevra: Nevra,
    /// SHA-256 of the file.
    pub sha256: ContentDigest,
    /// Size of the file in bytes.
    pub size: u64,
}

/// Where inputs were found on a host, by content.
#[derive(Clone, Debug, Default)]
pub struct Located {
    /// Absolute paths by SHA-256.
    pub paths: BTreeMap<ContentDigest, String>,
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BuildInfoError {
    /// It is not JSON, or not of this shape.
    #[error("it is no buildinfo document")]
    Shape(#[from] serde_json::Error),
    /// Another version wrote it.
    #[error("its schema is {found}, this program reads {}", BuildInfo::SCHEMA)]
    Schema {
        /// The number found.
        found: u64,
    },
}

impl BuildInfo {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;

    /// Puts the facts of one build together.
    pub fn new(facts: &BuildFacts<'_>) -> Self {
        let (job, result) = (facts.job, facts.result);
        let file = job.srpm_path.rsplit('/').next().unwrap_or_default().to_owned();
        let named = || file.strip_suffix(".rpm").and_then(|name| name.parse::<Nevra>().ok());
        let nevra = result.srpm.as_ref().map(|srpm| srpm.nevra.clone()).or_else(named);
        let mut files = facts.sources.to_vec();
        files.sort();
        let mut outputs: Vec<BuiltPackage> = result
            .rpms
            .iter()
            .map(|rpm| BuiltPackage { nevra: rpm.nevra.clone(), sha256: rpm.sha256.clone(), size: rpm.size })
            .collect();
        outputs.sort();
        Self {
            schema: Self::SCHEMA,
            package: job.package.clone(),
            source: SourcePackage {
                nevra: nevra.unwrap_or_else(|| {
                    Nevra::new(job.package.clone(), rpm_model::Evr::new(0, "0", None), "src")
                }),
                file,
                sha256: job.srpm_sha256.clone(),
                size: result.srpm.as_ref().map_or(0, |srpm| srpm.size),
                files,
            },
            settings: Settings {
                arch: job.arch.clone(),
                defines: job.defines.clone(),
                dist_counter: job.dist_counter,
                run_check: job.run_check,
                processors: job.max_cpu,
                timeout_seconds: job.timeout_seconds,
                disk_limit_bytes: job.disk_limit_bytes,
                limits: job.limits.clone(),
                ccache: job.ccache.is_some(),
                tuned: facts.tuned,
                worker_semantics: facts.worker_semantics,
            },
            macros_file: facts.macros_file.cloned(),
            build_root: job.lock.digest(),
            generation: facts.generation.clone(),
            root_packages: job.lock.packages().iter().map(root_package).collect(),
            tools: tools(&job.lock),
            invocation: facts.invocation.clone(),
            enforcement: result.limits.clone(),
            host: facts.host.clone(),
            outcome: result.outcome.clone(),
            check: passed(result.check.verdict),
            usage: result.usage.clone(),
            phases: result.phases.clone(),
            generated: job.generated.clone(),
            finished_at: facts.finished_at,
            outputs,
            reused: result.reused.clone(),
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// When it has another shape or another schema.
    pub fn read(bytes: &[u8]) -> Result<Self, BuildInfoError> {
        let value: serde_json::Value = serde_json::from_slice(bytes)?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(found) if found != u64::from(Self::SCHEMA) => Err(BuildInfoError::Schema { found }),
            _ => Ok(serde_json::from_value(value)?),
        }
    }

    /// Returns every file that the build needs, by name: the source package, the macro file, the packages of
    /// the build root.
    pub fn input_files(&self) -> Vec<InputFile> {
        let source = InputFile { name: self.source.file.clone(), sha256: self.source.sha256.clone() };
        let packages = self
            .root_packages
            .iter()
            .map(|package| InputFile { name: package.nevra.file_name(), sha256: package.sha256.clone() });
        [source].into_iter().chain(self.macros_file.clone()).chain(packages).collect()
    }

    /// Returns the job that does this build again, or the inputs that `located` does not have.
    ///
    /// The job is the recorded one in all that may show in a package; it uses no compiler cache, and stacks
    /// the packages of its root in another way. The caller sets the number of processors as it likes.
    pub fn job(&self, located: &Located) -> Result<JobDocument, Vec<InputFile>> {
        let mut missing = Vec::new();
        let mut path = |file: InputFile| match located.paths.get(&file.sha256) {
            Some(path) => path.clone(),
            None => {
                missing.push(file);
                String::new()
            }
        };
        let srpm_path =
            path(InputFile { name: self.source.file.clone(), sha256: self.source.sha256.clone() });
        let macros_file = self.macros_file.clone().map(&mut path);
        let packages = self
            .root_packages
            .iter()
            .map(|package| LockedPackage {
                nevra: package.nevra.clone(),
                sha256: package.sha256.clone(),
                size: package.size,
                path: path(InputFile { name: package.nevra.file_name(), sha256: package.sha256.clone() }),
                origin: package.origin,
            })
            .collect();
        let no_cache: Option<CcacheMount> = None;
        let job = JobDocument {
            schema: JobDocument::SCHEMA,
            package: self.package.clone(),
            srpm_path,
            srpm_sha256: self.source.sha256.clone(),
            lock: BuildrootLock::new(packages),
            common: Default::default(),
            arch: self.settings.arch.clone(),
            defines: self.settings.defines.clone(),
            dist_counter: self.settings.dist_counter,
            macros_file,
            run_check: self.settings.run_check,
            has_check: None,
            generated: self.generated.clone(),
            max_cpu: self.settings.processors,
            timeout_seconds: self.settings.timeout_seconds,
            disk_limit_bytes: self.settings.disk_limit_bytes,
            limits: self.settings.limits.clone(),
            // The scripts themselves are what the stand-ins must agree with.
            tuning: TuningMode::Off,
            surroundings: Default::default(),
            log_limit_bytes: JobDocument::LOG_LIMIT,
            ccache: no_cache,
            sccache: None,
            expected: self.outputs.iter().map(|output| output.nevra.clone()).collect(),
        };
        if missing.is_empty() { Ok(job) } else { Err(missing) }
    }
}

/// Returns whether a check passed, where it ran.
fn passed(verdict: CheckVerdict) -> Option<bool> {
    match verdict {
        CheckVerdict::Passed | CheckVerdict::Skipped => Some(true),
        CheckVerdict::Failed => Some(false),
        CheckVerdict::None | CheckVerdict::NotRun => None,
    }
}

fn root_package(package: &LockedPackage) -> RootPackage {
    RootPackage {
        nevra: package.nevra.clone(),
        sha256: package.sha256.clone(),
        size: package.size,
        origin: package.origin,
    }
}

fn tools(lock: &BuildrootLock) -> BTreeMap<String, String> {
    lock.packages()
        .iter()
        .filter(|package| TOOLS.contains(&package.nevra.name.as_str()))
        .map(|package| (package.nevra.name.clone(), package.nevra.evr.to_string()))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rpm_model::PackageArtifact;

    fn digest(text: &str) -> ContentDigest {
        ContentDigest::of_bytes(text.as_bytes())
    }

    fn locked(nevra: &str) -> LockedPackage {
        LockedPackage {
            nevra: nevra.parse().unwrap(),
            sha256: digest(nevra),
            size: 10,
            path: format!("/host/{nevra}.rpm"),
            origin: PackageOrigin::Toolchain,
        }
    }

    /// A build of `hello` in a root of three packages.
    pub(crate) fn example() -> BuildInfo {
        let job = JobDocument {
            schema: JobDocument::SCHEMA,
            package: "hello".into(),
            srpm_path: "/host/hello-1.0-1.src.rpm".into(),
            srpm_sha256: digest("srpm"),
            lock: BuildrootLock::new(vec![
                locked("gcc-12-1.x86_64"),
                locked("perl-4:5.36-1.x86_64"),
                locked("filesystem-1-1.noarch"),
            ]),
            common: Default::default(),
            arch: "x86_64".into(),
            defines: BTreeMap::from([("dist".into(), ".mw1".into())]),
            dist_counter: NonZeroU32::new(2),
            macros_file: Some("/host/macros.extra".into()),
            run_check: true,
            has_check: Some(true),
            generated: Vec::new(),
            max_cpu: Some(2),
            timeout_seconds: 60,
            disk_limit_bytes: 1 << 20,
            limits: Default::default(),
            tuning: Default::default(),
            surroundings: Default::default(),
            log_limit_bytes: JobDocument::LOG_LIMIT,
            ccache: Some(CcacheMount { directory: "/host/cc".into(), config: None }),
            sccache: None,
            expected: Vec::new(),
        };
        let artifact = |nevra: &str| PackageArtifact {
            nevra: nevra.parse().unwrap(),
            path: "/host/x".into(),
            sha256: digest(nevra),
            size: 5,
        };
        let result = ResultDocument {
            rpms: vec![artifact("hello-devel-1.0-1.x86_64"), artifact("hello-1.0-1.x86_64")],
            srpm: Some(PackageArtifact { sha256: digest("srpm"), ..artifact("hello-1.0-1.src") }),
            check: rpm_model::CheckReport::of(CheckVerdict::Passed),
            phases: vec![PhaseUsage {
                phase: "%build".into(),
                ..serde_json::from_str("{\"phase\":\"%build\",\"seconds\":1.5}").unwrap()
            }],
            ..serde_json::from_str(
                r#"{"schema":1,"package":"hello","outcome":"succeeded","rpms":[],"srpm":null,"check":{"verdict":"none"},"usage_source":null,
                    "log":"/host/hello.log","decisive_lines":[],"usage":{"wall_seconds":2.0,"cpu_seconds":1.0,
                    "peak_memory_bytes":7},"phases":[],"overhead_seconds":0.0,"layers_made":0,
                    "skipped_scriptlets":[],"kept_root":null}"#,
            )
            .unwrap()
        };
        let sources = [
            SourceFile { name: "hello.tar.gz".into(), size: 3, sha256: Some(digest("tar")) },
            SourceFile { name: "hello.spec".into(), size: 3, sha256: Some(digest("spec")) },
        ];
        BuildInfo::new(&BuildFacts {
            job: &job,
            result: &result,
            sources: &sources,
            macros_file: Some(&InputFile { name: "macros.extra".into(), sha256: digest("macros") }),
            generation: &digest("generation"),
            worker_semantics: 1,
            invocation: Invocation::default(),
            tuned: false,
            host: &HostFacts::default(),
            finished_at: 1_700_000_000,
        })
    }

    #[test]
    fn nothing_of_the_host_is_told_and_all_is_sorted() {
        let info = example();
        let text = serde_json::to_string(&info).unwrap();
        assert!(!text.contains("/host/"), "{text}");
        assert_eq!(info.source.files[0].name, "hello.spec");
        assert_eq!(info.outputs[0].nevra.name, "hello");
        assert_eq!(info.tools.get("perl").map(String::as_str), Some("4:5.36-1"));
        assert_eq!(info.tools.len(), 2);
        assert_eq!(BuildInfo::read(text.as_bytes()).unwrap(), info);
    }

    #[test]
    fn a_document_of_another_schema_is_refused() {
        let mut value = serde_json::to_value(example()).unwrap();
        value["schema"] = 99.into();
        let error = BuildInfo::read(value.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "its schema is 99, this program reads 1");
        assert!(matches!(BuildInfo::read(b"{}"), Err(BuildInfoError::Shape(_))));
    }

    #[test]
    fn the_build_can_be_done_again_when_every_input_is_there() {
        let info = example();
        let mut located = Located::default();
        for file in info.input_files() {
            located.paths.insert(file.sha256, format!("/found/{}", file.name));
        }
        let job = info.job(&located).unwrap();
        assert_eq!(job.lock.digest(), info.build_root);
        assert_eq!(job.srpm_path, "/found/hello-1.0-1.src.rpm");
        assert_eq!(job.macros_file.as_deref(), Some("/found/macros.extra"));
        assert!(job.run_check && job.ccache.is_none());

        located.paths.remove(&digest("gcc-12-1.x86_64"));
        located.paths.remove(&digest("macros"));
        let missing: Vec<String> =
            info.job(&located).unwrap_err().into_iter().map(|file| file.name).collect();
        assert_eq!(missing, ["macros.extra", "gcc-12-1.x86_64.rpm"]);
    }
}
