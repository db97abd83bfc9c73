//! Stand-ins for workers and the repository in tests of the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use report::{Event, Reporter};
use repository::{IndexedPackage, PackageFacts};
use rpm_model::{
    BuildReason, BuildRecord, BuildrootLock, ContentDigest, FailureClass, JobDocument, Nevra, Outcome,
    PackageArtifact, PackageHeader, PackageOrigin, RebuildPolicy, RecordedPackage, ResourceUsage,
    ResultDocument, SpecData, SpecPackage,
};

use crate::execute::{Attempt, Fence, JobFacts, JobSpec, Worker};
use crate::queue::Task;
use crate::run::{Acceptance, Acceptor, Builder, Job, Preparation, PrepareRequest, Refused};
use crate::task::{PackageTask, RootSpecs};

/// Says nothing.
pub(crate) struct Silent;

impl Reporter for Silent {
    fn event(&self, _event: &Event) {}
}

/// Returns a task of one second.
pub(crate) fn task(package: &str, waits_for: &[&str]) -> Task {
    Task {
        package: package.into(),
        waits_for: waits_for.iter().map(|name| (*name).to_owned()).collect(),
        estimate: 1.0,
    }
}

/// Returns the document of a job.
pub(crate) fn job_document(package: &str) -> JobDocument {
    JobDocument {
        schema: JobDocument::SCHEMA,
        package: package.into(),
        srpm_path: format!("{package}.src.rpm"),
        srpm_sha256: ContentDigest::of_bytes(b""),
        lock: BuildrootLock::new(Vec::new()),
        common: BTreeSet::new(),
        arch: "x86_64".into(),
        defines: BTreeMap::new(),
        dist_counter: None,
        macros_file: None,
        run_check: false,
        has_check: None,
        generated: Vec::new(),
        max_cpu: None,
        timeout_seconds: 1,
        disk_limit_bytes: 1,
        limits: Default::default(),
        log_limit_bytes: 1,
        ccache: None,
        sccache: None,
        expected: Vec::new(),
        tuning: Default::default(),
        surroundings: Default::default(),
    }
}

/// Returns what a worker says that ended like this.
pub(crate) fn result_of(package: &str, outcome: Outcome) -> ResultDocument {
    ResultDocument::without_a_run(package, outcome, "log")
}

/// Returns the job that a document describes, of an identity of its own.
pub(crate) fn job(package: &str) -> Job {
    let identity = ContentDigest::of_bytes(package.as_bytes());
    let facts = JobFacts { identity: &identity, macros_file: None, srpm_size: 1, worker_semantics: 1 };
    let document = job_document(package);
    Job { spec: JobSpec::new(&document, &facts), document }
}

/// Succeeds at everything but the packages named.
#[derive(Default)]
pub(crate) struct FakeBuilder {
    failing: BTreeMap<String, FailureClass>,
    attempts: Mutex<usize>,
}

impl FakeBuilder {
    /// Lets a package fail.
    pub(crate) fn failing(mut self, package: &str, class: FailureClass) -> Self {
        self.failing.insert(package.into(), class);
        self
    }

    /// Returns how many attempts were made.
    pub(crate) fn attempts(&self) -> usize {
        *self.attempts.lock().unwrap()
    }
}

impl Builder for FakeBuilder {
    fn prepare(&self, package: &str, _request: &PrepareRequest) -> Preparation {
        Preparation::Ready(Box::new(job(package)))
    }
}

impl Worker for FakeBuilder {
    fn work(&self, _attempt: &Attempt, job: &JobDocument, _fence: &Fence) -> Result<ResultDocument, String> {
        *self.attempts.lock().unwrap() += 1;
        let outcome = match self.failing.get(&job.package) {
            Some(class) => Outcome::Failed { class: *class, phase: None, message: "boom".into() },
            None => Outcome::Succeeded,
        };
        Ok(result_of(&job.package, outcome))
    }
}

/// Accepts everything but the packages named.
#[derive(Default)]
pub(crate) struct FakeAcceptor {
    pub(crate) cascades: BTreeMap<String, Vec<String>>,
    pub(crate) identical: BTreeSet<String>,
    pub(crate) refused: BTreeSet<String>,
}

impl Acceptor for FakeAcceptor {
    fn accept(
        &mut self,
        package: &str,
        _reasons: &[BuildReason],
        _job: &JobDocument,
        _result: &ResultDocument,
    ) -> Result<Acceptance, Refused> {
        if self.refused.contains(package) {
            let class = FailureClass::InfrastructureFailure;
            return Err(Refused { class, message: "not what the plan says".into() });
        }
        let cascade = self.cascades.get(package).into_iter().flatten();
        Ok(Acceptance {
            changed: !self.identical.contains(package),
            cascade: cascade.map(|name| (task(name, &[package]), vec![BuildReason::Requested])).collect(),
            overlaps: Vec::new(),
        })
    }

    fn has_recorded(&self, _package: &str, _identity: &ContentDigest) -> bool {
        false
    }
}

/// Returns a package of `/repo/x86_64` with these provides besides its own name.
pub(crate) fn indexed(name: &str, evr: &str, origin: PackageOrigin, provides: &[&str]) -> IndexedPackage {
    let nevra: Nevra = format!("{name}-{evr}.x86_64").parse().unwrap();
    let own = format!("{name} = {evr}");
    IndexedPackage {
        path: Path::new("/repo/x86_64").join(nevra.file_name()),
        sha256: ContentDigest::of_bytes(nevra.to_string().as_bytes()),
        size: 1,
        origin,
        facts: PackageFacts::default(),
        header: PackageHeader {
            nevra,
            source_rpm: None,
            provides: provides
                .iter()
                .copied()
                .chain([own.as_str()])
                .map(|text| text.parse().unwrap())
                .collect(),
            requires: Vec::new(),
            conflicts: Vec::new(),
            obsoletes: Vec::new(),
            recommends: Vec::new(),
            supplements: Vec::new(),
            files: Vec::new(),
        },
    }
}

/// Returns the record of a spec that made these packages.
pub(crate) fn record_of(spec: &str, packages: &[IndexedPackage]) -> BuildRecord {
    let digest = ContentDigest::of_bytes(spec.as_bytes());
    let artifact = |nevra: &Nevra, path: String, sha256: &ContentDigest| PackageArtifact {
        nevra: nevra.clone(),
        path,
        sha256: sha256.clone(),
        size: 1,
    };
    let source: Nevra = format!("{spec}-1-1.src").parse().unwrap();
    BuildRecord {
        schema: BuildRecord::SCHEMA,
        package: spec.into(),
        source: source.clone(),
        dist_counter: None,
        inputs: digest.clone(),
        identity: digest.clone(),
        worker: digest.clone(),
        lock: BuildrootLock::new(Vec::new()),
        checked: false,
        reasons: Vec::new(),
        rpms: packages
            .iter()
            .map(|package| RecordedPackage {
                artifact: artifact(
                    &package.header.nevra,
                    format!("x86_64/{}", package.header.nevra.file_name()),
                    &package.sha256,
                ),
                provides: package.header.provides.clone(),
                requires: package.header.requires.clone(),
            })
            .collect(),
        unmet: Vec::new(),
        srpm: artifact(&source, format!("{spec}-1-1.src.rpm"), &digest),
        usage: ResourceUsage::default(),
        cpus: None,
        phases: Vec::new(),
        usage_source: None,
        check: None,
        generated: Vec::new(),
        caches: Vec::new(),
        triggers: Default::default(),
        input_parts: None,
        cascade: None,
        reused: None,
        changes: Vec::new(),
    }
}

/// Returns the task of a spec with one binary package.
pub(crate) fn package_task(name: &str) -> PackageTask {
    let nevra: Nevra = format!("{name}-1-1.x86_64").parse().unwrap();
    PackageTask {
        spec: SpecData {
            packages: vec![SpecPackage::new(nevra)],
            ..SpecData::new(name, format!("{name}.spec"), format!("{name}-1-1.src").parse().unwrap())
        },
        srpm: format!("{name}.src.rpm").into(),
        srpm_sha256: ContentDigest::of_bytes(name.as_bytes()),
        inputs: ContentDigest::of_bytes(name.as_bytes()),
        root_specs: RootSpecs::default(),
        run_check: false,
        timeout: Duration::from_secs(1),
        disk_limit_bytes: 1,
        limits: Default::default(),
        log_limit_bytes: 1,
        max_cpu: 1,
        generated_before: Vec::new(),
        published_before: Vec::new(),
        bump: Default::default(),
        policy: RebuildPolicy::Relevant,
        triggers: Default::default(),
    }
}
