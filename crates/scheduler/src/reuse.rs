//! Results of other builds: asking stores before a job runs, and giving them what was accepted.
//!
//! What it is: the scheduler's end of [`result_store`]. A hit becomes the same [`ResultDocument`] that a worker
//! would have written, with files that were verified, and goes the same way: to the acceptance, which looks at
//! everything again. A miss is told and the job runs. What was accepted is put into the stores that results may be
//! put into, while the run goes on.
//!
//! What it is not: it decides nothing about packages. No trouble with a store is a failure of a build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pkgworker::{WORKER_SEMANTICS, packages_refused};
use rebuild::job_identity;
use report::{Event, Reporter};
use repository::verify_package;
use result_store::{
    AccessError, Found, MissReason, NewResult, OpenError, Publication, PublishFailure, Publisher,
    ResultStores, StoreSettings, StoredFile, StoredResult,
};
use rpm_model::{
    ContentDigest, HostFacts, JobDocument, Nevra, Outcome, PackageArtifact, PackageOrigin, ResultDocument,
    ReusedResult, ReusedSettings,
};
use tempfile::TempDir;

use crate::provenance::{host, seconds_since_1970};

/// Where a job's result is to lie.
#[derive(Clone, Copy, Debug)]
pub struct ResultPlaces<'a> {
    /// Packages, `<arch>/<file>`.
    pub rpms: &'a Path,
    /// The log file; what tests found lies beside it.
    pub log: &'a Path,
}

/// The stores of a run, and what it has taken from them.
pub struct ResultReuse {
    stores: Arc<ResultStores>,
    /// Where files wait until they are put into stores; on the file system of the packages, best.
    waiting: PathBuf,
    host: HostFacts,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    publisher: Option<Publisher>,
    /// Packages that are built whatever the stores have.
    built_anew: BTreeSet<String>,
    /// Where each identity was found, and its document in the publisher's envelope.
    found: BTreeMap<ContentDigest, (usize, Found)>,
    /// Answers that were told already, by store.
    told: BTreeSet<(usize, String)>,
    /// Packages whose results were taken from stores and accepted.
    reused: BTreeSet<String>,
}

/// A result that acceptance is looking at, its files kept from change until they are in the stores.
pub struct WaitingResult {
    directory: TempDir,
    publication: Publication,
    stores: Vec<usize>,
}

impl ResultReuse {
    /// Returns the stores of a run; `waiting` is a directory of its own, and what is left in it of a killed run is
    /// removed. The caller holds the build directory's lock.
    ///
    /// # Errors
    /// When the settings of a store mean nothing.
    pub fn new(stores: Vec<StoreSettings>, waiting: PathBuf) -> Result<Self, OpenError> {
        // What cannot be removed takes room and does no harm.
        let _ = fs::remove_dir_all(&waiting);
        let stores = Arc::new(ResultStores::open(stores)?);
        Ok(Self { stores, waiting, host: host(), state: Mutex::default() })
    }

    /// Has a package built whatever the stores have: that was asked for.
    pub fn build_anew(&self, package: &str) {
        self.state().built_anew.insert(package.to_owned());
    }

    /// Notes that a result that was taken from a store was accepted as a package's.
    pub(crate) fn was_accepted(&self, package: &str) {
        self.state().reused.insert(package.to_owned());
    }

    /// Returns a job's result when a store has it, its files verified and in their places.
    pub fn find(
        &self,
        job: &JobDocument,
        places: ResultPlaces<'_>,
        reporter: &dyn Reporter,
    ) -> Option<ResultDocument> {
        if self.stores.is_empty() || self.state().built_anew.contains(&job.package) {
            return None;
        }
        let identity = identity_of(job)?.0;
        for position in 0..self.stores.len() {
            match self.take(position, &identity, job, places) {
                Ok(result) => {
                    return Some(result);
                }
                Err(reason) => self.tell(position, &job.package, &reason, reporter),
            }
        }
        None
    }

    /// Takes a result out of one store.
    fn take(
        &self,
        position: usize,
        identity: &ContentDigest,
        job: &JobDocument,
        places: ResultPlaces<'_>,
    ) -> Result<ResultDocument, MissReason> {
        let found = self.stores.find(position, identity)?;
        let document = &found.document;
        check_names(document, job)?;
        if document.job.generated != job.generated {
            // What a worker would say: with these requirements there is a result.
            let requirements = document.job.generated.clone();
            let outcome = Outcome::RequirementsGenerated { requirements };
            let result = ResultDocument { outcome, rpms: Vec::new(), srpm: None, ..document.result.clone() };
            return Ok(result);
        }
        let local = |path: &Path, error: io::Error| MissReason::Access(write_error(path, &error));
        fs::create_dir_all(places.rpms).map_err(|error| local(places.rpms, error))?;
        let directory = tempfile::tempdir_in(places.rpms).map_err(|error| local(places.rpms, error))?;
        let files = self.stores.fetch(position, document, directory.path())?;
        let fetched = |content: &ContentDigest| {
            files.get(content).ok_or_else(|| MissReason::FileMissing { content: content.clone() })
        };
        let mut rpms = Vec::new();
        for rpm in &document.result.rpms {
            let path = places.rpms.join(&rpm.nevra.arch).join(rpm.nevra.file_name());
            let from = fetched(&rpm.sha256)?;
            // Its bytes are what the document says; whether they are that package, only they can tell.
            verify_package(from, rpm, PackageOrigin::Tree)
                .map_err(|error| MissReason::WrongPackages { message: error.to_string() })?;
            put_anew(from, &path).map_err(|error| local(&path, error))?;
            rpms.push(PackageArtifact { path: path.to_string_lossy().into_owned(), ..rpm.clone() });
        }
        let junit = places.log.with_extension("junit.xml");
        for (file, to) in [(&document.log, places.log), (&document.junit, junit.as_path())] {
            if let Some(file) = file {
                copy(fetched(&file.sha256)?, to).map_err(|error| local(to, error))?;
            }
        }
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let result = ResultDocument {
            rpms,
            srpm: document.result.srpm.as_ref().map(|srpm| PackageArtifact {
                path: job.srpm_path.clone(),
                sha256: job.srpm_sha256.clone(),
                ..srpm.clone()
            }),
            log: text(places.log),
            junit: document.junit.is_some().then(|| text(&junit)),
            layers_made: 0,
            kept_root: None,
            reused: Some(ReusedResult {
                store: self.stores.name(position).to_owned(),
                identity: identity.clone(),
                signed_by: found.signed_by.clone(),
                host: document.host.clone(),
                finished_at: document.finished_at,
                settings: ReusedSettings {
                    max_cpu: document.job.max_cpu,
                    timeout_seconds: document.job.timeout_seconds,
                    disk_limit_bytes: document.job.disk_limit_bytes,
                    limits: document.job.limits.clone(),
                    tuning: document.job.tuning,
                },
            }),
            ..document.result.clone()
        };
        self.state().found.insert(identity.clone(), (position, found));
        Ok(result)
    }

    /// Tells why a store gave nothing, unless that is no news or was told.
    fn tell(&self, position: usize, package: &str, reason: &MissReason, reporter: &dyn Reporter) {
        let store = self.stores.name(position);
        let message = match reason {
            reason if !reason.is_news() => return,
            // About the store, not about this package.
            MissReason::Access(
                AccessError::Unreachable { .. } | AccessError::TimedOut { .. } | AccessError::Denied { .. },
            ) => {
                format!("no results are taken from the store `{store}`: {reason}")
            }
            reason => format!("{package} is built, although the store `{store}` has a result: {reason}"),
        };
        if self.state().told.insert((position, message.clone())) {
            reporter.event(&Event::Warning { message });
        }
    }

    /// Keeps a result's files from change, for the stores that do not have it and take results; nothing when
    /// there are none. Called before acceptance moves anything.
    ///
    /// `built_as` is the identity under which the build was planned: a macro file that was changed meanwhile leaves
    /// open what the build has read.
    pub(crate) fn keep(
        &self,
        job: &JobDocument,
        built_as: &ContentDigest,
        result: &ResultDocument,
    ) -> Option<WaitingResult> {
        let (identity, macros_file) = identity_of(job).filter(|(identity, _)| identity == built_as)?;
        let found = if result.reused.is_some() { self.state().found.remove(&identity) } else { None };
        let asked = found.as_ref().map_or(self.stores.len(), |(position, _)| *position);
        let stores: Vec<usize> = (0..asked).filter(|position| self.stores.takes_results(*position)).collect();
        if stores.is_empty() {
            return None;
        }
        // What cannot be kept is not published, and the build is as good without.
        let directory =
            fs::create_dir_all(&self.waiting).and_then(|()| tempfile::tempdir_in(&self.waiting)).ok()?;
        let mut files = Vec::new();
        for rpm in &result.rpms {
            let to = directory.path().join(rpm.sha256.as_str());
            put(Path::new(&rpm.path), &to).ok()?;
            files.push((StoredFile { sha256: rpm.sha256.clone(), size: rpm.size }, to));
        }
        let mut text = |path: Option<&str>| -> Option<StoredFile> {
            let bytes = fs::read(path?).ok()?;
            let file = StoredFile { sha256: ContentDigest::of_bytes(&bytes), size: bytes.len() as u64 };
            let to = directory.path().join(file.sha256.as_str());
            fs::write(&to, bytes).ok()?;
            files.push((file.clone(), to));
            Some(file)
        };
        let (log, junit) = (text(Some(&result.log)), text(result.junit.as_deref()));
        let document = match &found {
            Some((_, found)) => found.document.clone(),
            None => StoredResult {
                schema: StoredResult::SCHEMA,
                identity,
                worker_semantics: WORKER_SEMANTICS,
                macros_file,
                job: StoredResult::without_paths(job),
                result: StoredResult::result_without_paths(result),
                log,
                junit,
                host: self.host.clone(),
                finished_at: seconds_since_1970(),
            },
        };
        let result = NewResult { document, files };
        let publication = match found {
            Some((_, found)) => Publication::relayed(result, found),
            None => Publication::built(result),
        };
        Some(WaitingResult { directory, publication, stores })
    }

    /// Puts an accepted result into its stores, while the run goes on.
    pub(crate) fn publish(&self, waiting: WaitingResult, reporter: &dyn Reporter) {
        let WaitingResult { directory, publication, stores } = waiting;
        let mut state = self.state();
        if state.publisher.is_none() {
            match Publisher::start(&self.stores) {
                Ok(publisher) => state.publisher = Some(publisher),
                Err(error) => {
                    let message = format!("results are not put into stores: cannot start threads: {error}");
                    return reporter.event(&Event::Warning { message });
                }
            }
        }
        if let Some(publisher) = &state.publisher {
            publisher.publish(publication, stores, move || drop(directory));
        }
    }

    /// Waits until everything accepted is in the stores, and tells what is not. Returns the packages whose results
    /// were taken from stores and accepted since it was called last.
    pub fn finish(&self, reporter: &dyn Reporter) -> BTreeSet<String> {
        // Not while the state is locked: what is put into stores may take long.
        let publisher = self.state().publisher.take();
        let failures = publisher.map(Publisher::finish).unwrap_or_default();
        let mut causes: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for PublishFailure { package, store, error } in failures {
            causes.entry((store, error.to_string())).or_default().push(package);
        }
        for ((store, cause), packages) in causes {
            let message = match packages.as_slice() {
                [package] => format!("the result of {package} is not in the store `{store}`: {cause}"),
                [first, ..] => format!(
                    "the results of {} packages ({first}, …) are not in the store `{store}`: {cause}",
                    packages.len()
                ),
                [] => continue,
            };
            reporter.event(&Event::Warning { message });
        }
        std::mem::take(&mut self.state().reused)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a job's identity and the content of its macro file; nothing when that cannot be read, which the worker
/// will tell.
fn identity_of(job: &JobDocument) -> Option<(ContentDigest, Option<ContentDigest>)> {
    let macros_file = match &job.macros_file {
        Some(path) => Some(ContentDigest::of_bytes(&fs::read(path).ok()?)),
        None => None,
    };
    Some((job_identity(job, macros_file.as_ref(), WORKER_SEMANTICS), macros_file))
}

/// Compares what a document names with what the job is about.
fn check_names(document: &StoredResult, job: &JobDocument) -> Result<(), MissReason> {
    let wrong = |message: String| Err(MissReason::WrongPackages { message });
    if document.result.package != job.package {
        return wrong(format!("they are of `{}`", document.result.package));
    }
    let name = Path::new(&job.srpm_path).file_name().unwrap_or_default().to_string_lossy();
    let Some(srpm) = &document.result.srpm else {
        return wrong("they come from no source package".to_owned());
    };
    if srpm.nevra.file_name() != name {
        return wrong(format!("they come from {}, not from `{name}`", srpm.nevra));
    }
    let found: Vec<&Nevra> = document.result.rpms.iter().map(|rpm| &rpm.nevra).collect();
    packages_refused(&found, &srpm.nevra.name, &job.expected).map_or(Ok(()), wrong)
}

/// Gives a file a second name, or where that is not possible copies it.
fn put(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        // Two packages with the same bytes.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => fs::copy(from, to).map(drop),
    }
}

/// The same, replacing what an earlier attempt has left.
fn put_anew(from: &Path, to: &Path) -> io::Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => put(from, to),
    }
}

/// Replaces a file by a copy of another; names that the old one has elsewhere keep their content.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::copy(from, to).map(drop),
    }
}

fn write_error(path: &Path, error: &io::Error) -> AccessError {
    AccessError::Local { message: format!("cannot write `{}`: {error}", path.display()) }
}
