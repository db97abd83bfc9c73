//! Acceptance: the one place that believes a worker, after looking.
//!
//! A result becomes part of the repository in this order: every file is read again and compared with what
//! the worker said and the plan announced; files that differ from the published ones are moved in by rename;
//! the record is replaced; then files of the spec that it no longer makes are removed. A crash between any
//! two steps leaves a state that the next run repairs by building again, never one that it mistakes for
//! good: the record is the only thing that vouches for a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use rebuild::{PublishedState, build_identity};
use report::{Event, Reporter};
use repository::{IndexedPackage, verify_package};
use rpm_model::{
    BuildReason, BuildRecord, ContentDigest, FailureClass, JobDocument, Nevra, PackageArtifact,
    PackageOrigin, RecordedPackage, Requirement, ResultDocument, SeenTriggers,
};

use crate::following::Following;
use crate::overlap::{FileOverlap, overlaps};
use crate::provenance::ProvenanceWriter;
use crate::published::{Place, PublishedComparison};
use crate::records::{RecordError, RecordStore};
use crate::releases::Releases;
use crate::reuse::ResultReuse;
use crate::run::{Acceptance, Acceptor, Refused};
use crate::task::PackageTask;
use crate::universe::Universe;

/// Why a result is refused.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The file is not what the worker said.
    #[error("`{path}` is not the package that the worker reported")]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// The file is no package, or not the one that the worker reported.
    #[error(transparent)]
    Package(#[from] repository::RepositoryError),
    /// Another spec has published a package of this identity.
    #[error("{nevra} is already published by `{owner}`")]
    Foreign {
        /// The package's NEVRA.
        nevra: String,
        /// The spec that made it before.
        owner: String,
    },
    /// Moving a file failed.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The record could not be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl AcceptError {
    /// Returns whose fault it is.
    fn class(&self) -> FailureClass {
        match self {
            Self::Foreign { .. } => FailureClass::PackageFailure,
            Self::Io { source, .. } if is_full(source) => FailureClass::NoSpace,
            Self::Record(RecordError::Io { source, .. }) if is_full(source) => FailureClass::NoSpace,
            Self::Differs { .. } | Self::Package(_) | Self::Io { .. } | Self::Record(_) => {
                FailureClass::InfrastructureFailure
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The repository as acceptance writes it.
pub struct RepositoryAcceptor<'a> {
    /// Binary packages, `<arch>/<file>`.
    pub rpms: PathBuf,
    /// Source packages.
    pub srpms: PathBuf,
    /// Where records are kept.
    pub store: &'a RecordStore,
    /// The records as they are now.
    pub records: BTreeMap<String, BuildRecord>,
    /// What is known of each spec.
    pub tasks: &'a BTreeMap<String, PackageTask>,
    /// The goals and what they need: only these join a cascade.
    pub in_scope: &'a BTreeSet<String>,
    /// The worker generation.
    pub worker: ContentDigest,
    /// The packages that exist.
    pub universe: &'a RwLock<Universe>,
    /// Estimates for packages that join, in seconds.
    pub estimate: &'a dyn Fn(&str) -> f64,
    /// Writes down what packages were made of.
    pub provenance: ProvenanceWriter,
    /// What a later run must know to follow changes.
    pub following: Following<'a>,
    /// Stores that take accepted results.
    pub results: &'a ResultReuse,
    /// Told of what cannot be put there.
    pub reporter: &'a dyn Reporter,
}

impl Acceptor for RepositoryAcceptor<'_> {
    fn accept(
        &mut self,
        package: &str,
        reasons: &[BuildReason],
        job: &JobDocument,
        result: &ResultDocument,
    ) -> Result<Acceptance, Refused> {
        self.take(package, reasons, &self.as_built(package, job, result), result).map_err(|error| {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Refused { class: error.class(), message: format!("{error}{cause}") }
        })
    }

    fn has_recorded(&self, package: &str, identity: &ContentDigest) -> bool {
        self.records.get(package).is_some_and(|record| record.identity == *identity)
    }
}

impl RepositoryAcceptor<'_> {
    fn take(
        &mut self,
        package: &str,
        reasons: &[BuildReason],
        job: &JobDocument,
        result: &ResultDocument,
    ) -> Result<Acceptance, AcceptError> {
        let mut made = verify(result)?;
        self.refuse_foreign(package, &made)?;
        let waiting = self.results.keep(job, &build_identity(&self.inputs(package, job), job), result);
        let before = self.records.get(package).map(contents).unwrap_or_default();
        let old_srpm = self.records.get(package).map(|record| record.srpm.path.clone());
        let mut comparison = PublishedComparison::new(&self.rpms, self.records.get(package));
        for built in &mut made {
            let relative = relative_path(&built.header.nevra);
            let target = self.rpms.join(&relative);
            let same =
                before.get(&relative) == Some(&built.sha256) && self.is_published(&target, &built.sha256);
            if !same {
                match comparison.place(built, &relative) {
                    Place::Keep(published) => *built = *published,
                    Place::Move => put(&built.path, &target)?,
                }
            }
            built.path = target;
        }
        let after =
            made.iter().map(|built| (relative_path(&built.header.nevra), built.sha256.clone())).collect();
        let (changed, changes) = comparison.finish(&after);
        let mut record = self.record(package, reasons, job, result, &made)?;
        record.changes = changes;
        // Before the record: a package that a record vouches for has its documents.
        self.provenance.write(job, result, &self.worker, &made)?;
        let overlaps = self.overlaps(package, &made)?;
        let built = self.built_files(package, &made);
        self.universe.write().unwrap_or_else(PoisonError::into_inner).replace(package, made);
        record.unmet = self.unmet(&record);
        self.note_libraries(&mut record, built.as_ref());
        record.cascade = Some(self.cascade_facts(&record, reasons));
        self.store.write(&record)?;
        for path in before.keys().filter(|path| !after.contains_key(*path)) {
            remove(&self.rpms.join(path))?;
        }
        if let Some(old) = old_srpm.filter(|old| *old != record.srpm.path) {
            remove(&self.srpms.join(&old))?;
            self.provenance.remove(&old)?;
        }
        // Not earlier: of several results of one package only the one that is accepted counts.
        if let Some(reused) = &result.reused {
            self.results.was_accepted(package);
            let store = reused.store.clone();
            self.reporter.event(&Event::PackageReused { package: package.to_owned(), store });
        }
        if !before.is_empty() {
            self.reporter.event(&Event::PackageCompared {
                package: package.to_owned(),
                changes: record.changes.clone(),
                spared: if changed { 0 } else { self.dependants(package) },
            });
        }
        self.records.insert(package.to_owned(), record);
        if let Some(waiting) = waiting {
            self.results.publish(waiting, self.reporter);
        }
        let cascade = if changed { self.followers(package) } else { Vec::new() };
        Ok(Acceptance { changed, cascade, overlaps })
    }

    /// Returns the job that a result is of: with a raised release, or with the published one ([`crate::trial`]).
    fn as_built(&self, package: &str, job: &JobDocument, result: &ResultDocument) -> JobDocument {
        let made: Vec<Nevra> = result.rpms.iter().map(|rpm| rpm.nevra.clone()).collect();
        let Some(task) = self.tasks.get(package) else { return job.clone() };
        let universe = self.universe.read().unwrap_or_else(PoisonError::into_inner);
        let releases = Releases::new(task, &universe, &job.defines);
        let counter = releases.of(&made);
        JobDocument { dist_counter: counter, expected: releases.named(counter), ..job.clone() }
    }

    /// Returns whether a file of the repository is known to have this content.
    fn is_published(&self, path: &Path, content: &ContentDigest) -> bool {
        let universe = self.universe.read().unwrap_or_else(PoisonError::into_inner);
        universe.is_published(path, content)
    }

    /// Returns where packages that were built overlap with published ones of other specs.
    fn overlaps(&self, package: &str, made: &[IndexedPackage]) -> Result<Vec<FileOverlap>, AcceptError> {
        let universe = self.universe.read().unwrap_or_else(PoisonError::into_inner);
        Ok(overlaps(made, universe.packages_of_others(package))?)
    }

    fn refuse_foreign(&self, package: &str, made: &[IndexedPackage]) -> Result<(), AcceptError> {
        for (owner, record) in self.records.iter().filter(|(owner, _)| *owner != package) {
            let theirs: BTreeSet<&Nevra> = record.rpms.iter().map(|rpm| &rpm.artifact.nevra).collect();
            if let Some(built) = made.iter().find(|built| theirs.contains(&built.header.nevra)) {
                return Err(AcceptError::Foreign {
                    nevra: built.header.nevra.to_string(),
                    owner: owner.clone(),
                });
            }
        }
        Ok(())
    }

    /// Returns the identity of a package's inputs, as it was when the run began.
    fn inputs(&self, package: &str, job: &JobDocument) -> ContentDigest {
        self.tasks.get(package).map_or_else(|| job.srpm_sha256.clone(), |task| task.inputs.clone())
    }

    fn record(
        &self,
        package: &str,
        reasons: &[BuildReason],
        job: &JobDocument,
        result: &ResultDocument,
        made: &[IndexedPackage],
    ) -> Result<BuildRecord, AcceptError> {
        let task = self.tasks.get(package);
        let source = Path::new(&job.srpm_path);
        let name = source.file_name().unwrap_or_default();
        put_copy(source, &self.srpms.join(name))?;
        let nevra = result.srpm.as_ref().map(|srpm| srpm.nevra.clone());
        let nevra = nevra.or_else(|| task.map(|task| task.spec.source.clone()));
        let source_nevra = nevra.ok_or_else(|| AcceptError::Differs { path: source.to_owned() })?;
        let inputs = self.inputs(package, job);
        let size = fs::metadata(source).map_or(0, |metadata| metadata.len());
        let mut rpms: Vec<RecordedPackage> = made.iter().map(recorded).collect();
        rpms.sort_by(|a, b| a.artifact.cmp(&b.artifact));
        Ok(BuildRecord {
            schema: BuildRecord::SCHEMA,
            package: package.to_owned(),
            source: source_nevra.clone(),
            dist_counter: job.dist_counter,
            identity: build_identity(&inputs, job),
            inputs,
            worker: self.worker.clone(),
            lock: job.lock.clone(),
            checked: job.run_check,
            reasons: reasons.to_vec(),
            rpms,
            unmet: Vec::new(),
            srpm: PackageArtifact {
                nevra: source_nevra,
                path: name.to_string_lossy().into_owned(),
                sha256: job.srpm_sha256.clone(),
                size,
            },
            usage: result.usage.clone(),
            cpus: job.max_cpu,
            phases: result.phases.clone(),
            usage_source: result.usage_source,
            check: Some(result.check.summary()),
            generated: job.generated.clone(),
            caches: result.caches.clone(),
            triggers: self.seen_triggers(package, job),
            input_parts: task.and_then(|task| (self.following.input_parts)(task)),
            // It is known once the packages are published.
            cascade: None,
            reused: result.reused.clone(),
            changes: Vec::new(),
        })
    }

    /// Returns what the build has seen of what its spec watches.
    fn seen_triggers(&self, package: &str, job: &JobDocument) -> SeenTriggers {
        let Some(task) = self.tasks.get(package) else { return SeenTriggers::default() };
        let universe = self.universe.read().unwrap_or_else(PoisonError::into_inner);
        task.triggers.seen(&job.lock, &universe.state())
    }

    /// Returns how many published packages of the run have a package of this spec in their build roots, directly or
    /// not: those that a change may reach.
    fn dependants(&self, package: &str) -> usize {
        let needs = |name: &&String| {
            self.records.contains_key(*name)
                && self.tasks.get(*name).is_some_and(|task| task.root_specs.contains(package))
        };
        self.in_scope.iter().filter(|name| *name != package).filter(needs).count()
    }

    /// Returns the run-time requirements of a record's packages that nothing satisfies now.
    fn unmet(&self, record: &BuildRecord) -> Vec<Requirement> {
        let universe = self.universe.read().unwrap_or_else(PoisonError::into_inner);
        let state = universe.state();
        let all: BTreeSet<&Requirement> = record.rpms.iter().flat_map(|rpm| &rpm.requires).collect();
        all.into_iter().filter(|requirement| !state.satisfied(requirement)).cloned().collect()
    }
}

/// Reads every file again and compares it, down to its digests, with what the worker said.
fn verify(result: &ResultDocument) -> Result<Vec<IndexedPackage>, AcceptError> {
    result
        .rpms
        .iter()
        .map(|artifact| Ok(verify_package(Path::new(&artifact.path), artifact, PackageOrigin::Tree)?))
        .collect()
}

fn recorded(package: &IndexedPackage) -> RecordedPackage {
    RecordedPackage {
        artifact: PackageArtifact {
            nevra: package.header.nevra.clone(),
            path: relative_path(&package.header.nevra),
            sha256: package.sha256.clone(),
            size: package.size,
        },
        provides: package.header.provides.clone(),
        requires: package.header.requires.clone(),
    }
}

fn contents(record: &BuildRecord) -> BTreeMap<String, ContentDigest> {
    record.rpms.iter().map(|rpm| (rpm.artifact.path.clone(), rpm.artifact.sha256.clone())).collect()
}

fn relative_path(nevra: &Nevra) -> String {
    format!("{}/{}", nevra.arch, nevra.file_name())
}

/// Moves a file into the repository: by rename, after its content is on disk.
fn put(from: &Path, to: &Path) -> Result<(), AcceptError> {
    let fail = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| AcceptError::Io { operation, path, source }
    };
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory).map_err(fail("create", directory))?;
    }
    fs::File::open(from).and_then(|file| file.sync_all()).map_err(fail("write to disk", from))?;
    if fs::rename(from, to).is_err() {
        // Another file system: copy beside the target, then rename.
        put_copy(from, to)?;
        fs::remove_file(from).map_err(fail("remove", from))?;
    }
    Ok(())
}

/// Copies a file into the repository; the source may be linked elsewhere and stays.
fn put_copy(from: &Path, to: &Path) -> Result<(), AcceptError> {
    let fail = |source| AcceptError::Io { operation: "write", path: to.to_owned(), source };
    let directory = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(fail)?;
    let mut input = fs::File::open(from).map_err(|source| AcceptError::Io {
        operation: "read",
        path: from.to_owned(),
        source,
    })?;
    let mut temporary = tempfile::NamedTempFile::new_in(directory).map_err(fail)?;
    io::copy(&mut input, &mut temporary).map_err(fail)?;
    // Temporary files are private; what is published is for everybody.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    temporary.as_file().set_permissions(mode).and_then(|()| temporary.as_file().sync_all()).map_err(fail)?;
    temporary.persist(to).map_err(|error| fail(error.error))?;
    Ok(())
}

fn remove(path: &Path) -> Result<(), AcceptError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(AcceptError::Io { operation: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
