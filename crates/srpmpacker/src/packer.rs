//! From the specs of a tree to the SRPMs that stand for it.
//!
//! Steps: read all specs (through specreader's cache), leave out what is not for this architecture, compare
//! what each SRPM would be made of with its record, and for the rest alone fetch sources and run rpm. When
//! nothing changed, no process is started and nothing is written.
//!
//! After a run the output directory has an SRPM of a spec exactly when that SRPM is made of the tree as it
//! is: a spec that fails or is left out loses its old one, so that nothing later builds yesterday's content.
//! Only SRPMs with a record are ever removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;
use report::{Event, Reporter, Stage, counted};
use rpm_model::{ContentDigest, SpecData};
use rpm_writer::Compression;
use sources::{
    HydratedFile, Place, RemotePlaces, RemotePlacesError, SignatureMode, SourceStore, SpecHydration,
    SpecSources,
};
use specreader::{
    CachedReader, EngineError, PackError, PackRequest, ReadOptions, Reading, SourceDate, SpecEngine,
    SpecInput,
};

use crate::discover::Discovery;
use crate::fetch::fetch;
use crate::inputs;
use crate::native::{self, Content, NativeSrpm, NotNative};
use crate::outcome::{
    FallbackReason, PackFailure, PackReason, PackReport, SkipReason, SpecOutcome, SpecReport, SrpmWriter,
};
use crate::progress::Steps;
use crate::record::{PackInputs, Records, SrpmRecord, SrpmState};

/// How SRPMs are made.
pub struct PackOptions<'a> {
    /// What parses specs and writes SRPMs.
    pub engine: &'a dyn SpecEngine,
    /// The architecture, definitions (`dist` among them) and macro files.
    pub read: ReadOptions,
    /// Whether SRPMs carry the build requirements of `%check` (`with_check 1`).
    pub run_check: bool,
    /// The directory for SRPMs of this architecture.
    pub output: PathBuf,
    /// The build directory, for `cache/specs` and `cache/srpms`.
    pub build: PathBuf,
    /// The store of sources.
    pub store: &'a SourceStore,
    /// What signature files mean.
    pub signatures: SignatureMode,
    /// Whether nothing is fetched.
    pub offline: bool,
    /// Where sources are fetched from.
    pub remote: RemotePlaces,
    /// Files that may be fetched at once.
    pub concurrent_downloads: usize,
    /// SRPMs that may be made at once.
    pub workers: usize,
    /// Whether every SRPM is made anew.
    pub repack: bool,
    /// Takes progress.
    pub reporter: &'a dyn Reporter,
}

/// Why nothing could be packed at all.
#[derive(Debug, thiserror::Error)]
pub enum PackerError {
    /// The engine cannot work.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file or directory of the packer's own cannot be used.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The places to fetch from cannot be used.
    #[error(transparent)]
    Remote(#[from] RemotePlacesError),
    /// The threads that wait for rpm cannot be started.
    #[error("cannot start threads")]
    Threads(#[source] rayon::ThreadPoolBuildError),
}

/// One spec that is for this architecture and that rpm can read.
struct Job<'a> {
    spec: &'a SpecInput,
    text: ContentDigest,
    reading: ContentDigest,
    wanted: SpecSources,
    record: Option<SrpmRecord>,
    state: SrpmState,
}

/// What is known about a spec after looking, before fetching.
enum Look<'a> {
    Ended(SpecReport),
    Needed(Job<'a>),
}

impl Look<'_> {
    fn failed(spec: &SpecInput, failure: PackFailure) -> Self {
        Self::Ended(SpecReport::of(spec, SpecOutcome::Failed { failures: vec![failure] }))
    }
}

/// Packs the specs of a tree; see the module text.
///
/// # Errors
/// When nothing can be packed at all. What is wrong with single specs is in the report.
pub fn pack(discovery: &Discovery, options: &PackOptions<'_>) -> Result<PackReport, PackerError> {
    let packer = Packer {
        options,
        reader: CachedReader::new(options.engine, options.build.join("cache/specs")),
        records: Records::new(options.build.join("cache/srpms").join(&options.read.arch)),
    };
    fs::create_dir_all(&options.output).map_err(failed("create", &options.output))?;
    let looks = packer.look_at_all(discovery)?;
    let mut ended = Vec::new();
    let mut jobs = Vec::new();
    for look in looks {
        match look {
            Look::Ended(report) => ended.push(report),
            Look::Needed(job) => jobs.push(job),
        }
    }
    let before: Vec<String> =
        jobs.iter().filter_map(|job| job.record.as_ref().map(|record| record.srpm.clone())).collect();
    let wanted: Vec<SpecSources> = jobs.iter().map(|job| job.wanted.clone()).collect();
    let hydrated = fetch(&wanted, options)?;
    let steps = Steps::start(options.reporter, Stage::Pack, jobs.len());
    ended.extend(packer.pack_all(&jobs, hydrated, &steps)?);
    ended.sort_by(|a, b| a.spec.cmp(&b.spec));
    let mut report = PackReport { specs: ended, removed: Vec::new() };
    steps.finish(report.counts().to_string());
    for (reason, number) in report.left_to_rpmbuild() {
        let noun = if number == 1 { "SRPM was" } else { "SRPMs were" };
        packer.tell(&Event::Note { message: format!("{number} {noun} left to rpmbuild: {reason}") });
    }
    report.removed = packer.prune(discovery, &report, before)?;
    Ok(report)
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> PackerError + 'a {
    move |source| PackerError::Io { operation, path: path.to_owned(), source }
}

struct Packer<'a> {
    options: &'a PackOptions<'a>,
    reader: CachedReader<'a>,
    records: Records,
}

impl Packer<'_> {
    /// Reads all specs and tells which of them need work.
    fn look_at_all<'s>(&self, discovery: &'s Discovery) -> Result<Vec<Look<'s>>, PackerError> {
        let specs = &discovery.specs;
        let start = Instant::now();
        self.tell(&Event::StageStarted { stage: Stage::Read, total: Some(specs.len()) });
        let looked = self.reader.look(specs, &self.options.read, &discovery.listings)?;
        // Before they are read: what is packed later must be the text that was read, or one is told.
        let texts: Vec<_> = specs.par_iter().map(|spec| self.reader.files().of(&spec.path)).collect();
        let progress = |done, total| {
            let detail = String::new();
            self.tell(&Event::StageProgress { stage: Stage::Read, done, total, detail });
        };
        let reading = self.reader.read_looked(looked, &progress)?;
        for note in self.options.engine.notes() {
            self.tell(&Event::Warning { message: note.to_string() });
        }
        let summary = format!("{}, {} unchanged", counted(specs.len(), "spec"), reading.remembered);
        self.tell(&Event::StageFinished {
            stage: Stage::Read,
            summary,
            seconds: start.elapsed().as_secs_f64(),
        });
        let conflicts = conflicts(specs, &reading, &self.options.read.arch);
        let Reading { results, keys, .. } = reading;
        let read: Vec<_> = specs.iter().zip(texts).zip(results).zip(keys).collect();
        let looks = read.into_par_iter().map(|(((spec, text), data), key)| match (data, key) {
            (Err(failure), _) => Look::failed(spec, PackFailure::Spec { failure }),
            (Ok(data), key) => match (skip_reason(&data, &self.options.read.arch), key) {
                (Some(reason), _) => Look::Ended(SpecReport::of(spec, SpecOutcome::Skipped { reason })),
                // It could be read, but not a moment before.
                (None, None) => Look::failed(spec, PackFailure::ChangedMeanwhile { spec: spec.name.clone() }),
                (None, Some(key)) => match conflicts.get(spec.name.as_str()) {
                    Some((other, srpm)) => Look::failed(
                        spec,
                        PackFailure::SameSrpm {
                            spec: spec.name.clone(),
                            other: other.clone(),
                            srpm: srpm.clone(),
                        },
                    ),
                    None => match text {
                        Ok(text) => self.look(spec, text, &data, key),
                        Err(error) => Look::failed(spec, PackFailure::environment(&spec.name, &error)),
                    },
                },
            },
        });
        let looks = looks.collect();
        self.reader.keep_memory()?;
        Ok(looks)
    }

    /// Compares what the SRPM would be made of with its record.
    fn look<'s>(
        &self,
        spec: &'s SpecInput,
        text: ContentDigest,
        data: &SpecData,
        reading: ContentDigest,
    ) -> Look<'s> {
        let wanted = inputs::wanted(spec, data, self.options.run_check);
        let mut record = self.records.read(&spec.name);
        let before = record.clone();
        let state = record.as_mut().map_or(SrpmState::Missing, |record| record.check(&self.options.output));
        if let Some(record) = record.as_ref().filter(|record| before.as_ref() != Some(record)) {
            // Saves hashing next time; nothing is lost when it fails.
            let _ = self.records.write(&spec.name, record);
        }
        let job = Job { spec, text, reading, wanted, record, state };
        if let (false, SrpmState::Intact, Some(record)) = (self.options.repack, state, &job.record) {
            let sources =
                inputs::predicted(&job.wanted, self.options.signatures, Some(record), self.reader.files());
            if sources.is_some_and(|sources| self.inputs(&job, sources).key() == record.key) {
                return Look::Ended(SpecReport::of(spec, self.current(record)));
            }
        }
        Look::Needed(job)
    }

    fn inputs(&self, job: &Job<'_>, sources: BTreeMap<String, ContentDigest>) -> PackInputs {
        PackInputs {
            spec: job.text.clone(),
            reading: job.reading.clone(),
            run_check: self.options.run_check,
            sources,
        }
    }

    fn current(&self, record: &SrpmRecord) -> SpecOutcome {
        SpecOutcome::Current { srpm: self.options.output.join(&record.srpm), sha256: record.sha256.clone() }
    }

    /// Packs all jobs, several at once.
    fn pack_all(
        &self,
        jobs: &[Job<'_>],
        hydrated: Vec<SpecHydration>,
        steps: &Steps<'_>,
    ) -> Result<Vec<SpecReport>, PackerError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        // A pool of its own: its threads wait for processes, rayon's shared ones must not.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.options.workers.max(1))
            .thread_name(|number| format!("pack-{number}"))
            .build()
            .map_err(PackerError::Threads)?;
        let work: Vec<_> = jobs.iter().zip(hydrated).collect();
        Ok(pool.install(|| {
            let one = |(job, hydration): (&Job<'_>, SpecHydration)| {
                let report = self.pack_one(job, hydration);
                steps.step(&job.spec.name);
                report
            };
            work.into_par_iter().map(one).collect()
        }))
    }

    fn pack_one(&self, job: &Job<'_>, hydration: SpecHydration) -> SpecReport {
        let name = &job.spec.name;
        if !hydration.failures.is_empty() {
            let failures = hydration.failures.into_iter();
            let failures = failures.map(|failure| PackFailure::Source { failure }).collect();
            return SpecReport::of(job.spec, SpecOutcome::Failed { failures });
        }
        if let Some(update) = &hydration.update
            && let Err(error) = update.write()
        {
            let failures = vec![PackFailure::environment(name, &error)];
            return SpecReport::of(job.spec, SpecOutcome::Failed { failures });
        }
        let outcome = self.make(job, &hydration.files);
        let outcome = outcome.unwrap_or_else(|failure| SpecOutcome::Failed { failures: vec![failure] });
        SpecReport { signatures: hydration.update, ..SpecReport::of(job.spec, outcome) }
    }

    /// Makes one SRPM of files that are all there, unless it is there already.
    fn make(&self, job: &Job<'_>, files: &[HydratedFile]) -> Result<SpecOutcome, PackFailure> {
        let name = &job.spec.name;
        let sources = files.iter().map(|file| (file.file.clone(), file.sha256.clone())).collect();
        let made_of = self.inputs(job, sources);
        let reason = match self.reason(job, &made_of) {
            Ok(reason) => reason,
            Err(record) => return Ok(self.current(record)),
        };
        let (srpm, record, writer) = self.write(job, files, made_of)?;
        self.records.write(name, &record).map_err(|error| PackFailure::environment(name, &error))?;
        Ok(SpecOutcome::Packed { srpm, sha256: record.sha256, reason, writer })
    }

    /// Writes an SRPM natively, or has it written by rpm.
    fn write(
        &self,
        job: &Job<'_>,
        files: &[HydratedFile],
        made_of: PackInputs,
    ) -> Result<(PathBuf, SrpmRecord, SrpmWriter), PackFailure> {
        let name = &job.spec.name;
        let environment = |error: &dyn std::error::Error| PackFailure::environment(name, error);
        let content = Content { name, spec: &job.spec.path, text: &job.text, files };
        let compression = native::payload_of(&content, &self.options.read.defines);
        let reason = match compression.clone().map_err(NotNative::Fallback) {
            Ok(compression) => self.write_natively(job, &content, compression),
            Err(reason) => Err(reason),
        };
        let reason = match reason {
            Ok(NativeSrpm { path, sha256, metadata }) => {
                let record = SrpmRecord::known(made_of, &path, &metadata, sha256);
                return Ok((path, record, SrpmWriter::Native));
            }
            Err(NotNative::Failed(failure)) => return Err(*failure),
            Err(NotNative::Fallback(reason)) => reason,
        };
        let request = PackRequest {
            spec: job.spec.clone(),
            sources: files.iter().map(|file| (file.file.clone(), file.path.clone())).collect(),
            output: self.options.output.clone(),
            arch: self.options.read.arch.clone(),
            defines: self.defines(compression.ok()),
            macro_files: self.options.read.macro_files.clone(),
            release_macros: self.options.read.release_macros.clone(),
            source_date: SourceDate::Changelog,
        };
        let srpm = self.options.engine.pack(&request).map_err(|error| match error {
            PackError::Spec(failure) => PackFailure::Pack { failure },
            error => environment(&error),
        })?;
        if !self.unchanged(job, files) {
            // It is of nobody knows what, and has no record by which it would be found again.
            fs::remove_file(&srpm).map_err(|error| environment(&error))?;
            return Err(PackFailure::ChangedMeanwhile { spec: name.clone() });
        }
        let record = SrpmRecord::of(made_of, &srpm).map_err(|error| environment(&error))?;
        Ok((srpm, record, SrpmWriter::Rpmbuild { reason }))
    }

    fn write_natively(
        &self,
        job: &Job<'_>,
        content: &Content<'_>,
        compression: Compression,
    ) -> Result<NativeSrpm, NotNative> {
        let header = self
            .reader
            .source_header(&job.reading, self.options.run_check)
            .map_err(|error| NotNative::Failed(Box::new(PackFailure::environment(&job.spec.name, &error))))?;
        let header = header.ok_or(NotNative::Fallback(FallbackReason::NoHeader))?;
        native::write(content, &header, compression, &self.options.read.arch, &self.options.output)
    }

    /// Returns the definitions that rpmbuild writes SRPMs under; what the caller defines wins.
    fn defines(&self, compression: Option<Compression>) -> BTreeMap<String, String> {
        let with_check = u8::from(self.options.run_check).to_string();
        let mut defines = BTreeMap::from([("with_check".to_owned(), with_check)]);
        let compression = compression.map(|compression| compression.to_string());
        defines.extend(compression.map(|setting| (native::SOURCE_PAYLOAD.to_owned(), setting)));
        defines.extend(self.options.read.defines.clone());
        defines
    }

    /// Returns why the SRPM is made, or the record of the one that is as good.
    fn reason<'j>(&self, job: &'j Job<'_>, made_of: &PackInputs) -> Result<PackReason, &'j SrpmRecord> {
        let Some(record) = &job.record else { return Ok(PackReason::New) };
        if self.options.repack {
            return Ok(PackReason::Asked);
        }
        let inputs = made_of.changed_since(&record.inputs);
        if !inputs.is_empty() {
            return Ok(PackReason::Changed { inputs });
        }
        match job.state {
            SrpmState::Missing => Ok(PackReason::Missing),
            SrpmState::Altered => Ok(PackReason::Altered),
            SrpmState::Intact if record.key != made_of.key() => Ok(PackReason::Packer),
            SrpmState::Intact => Err(record),
        }
    }

    /// Returns whether spec and sources still are what they were when they were read and verified.
    fn unchanged(&self, job: &Job<'_>, files: &[HydratedFile]) -> bool {
        let same = |file: &HydratedFile| {
            !matches!(file.place, Some(Place::Tree { .. }))
                || sources::hash_file(&file.path).is_ok_and(|sha256| sha256 == file.sha256)
        };
        let again = self.reader.look(std::slice::from_ref(job.spec), &self.options.read, &[]);
        again.is_ok_and(|again| again.keys().first().and_then(Option::as_ref) == Some(&job.reading))
            && files.iter().all(same)
    }

    /// Removes recorded SRPMs that stand for no spec any more; returns them, sorted.
    ///
    /// `removed` begins with the SRPMs that jobs had before; those that are recorded still will stay.
    fn prune(
        &self,
        discovery: &Discovery,
        report: &PackReport,
        mut removed: Vec<String>,
    ) -> Result<Vec<PathBuf>, PackerError> {
        let kept: BTreeSet<&str> = report.srpms().map(|(spec, _)| spec).collect();
        let looked_at: BTreeSet<&str> = report.specs.iter().map(|spec| spec.spec.as_str()).collect();
        let mut standing = BTreeSet::new();
        for name in self.records.names() {
            let stays =
                kept.contains(name.as_str()) || !(discovery.complete || looked_at.contains(name.as_str()));
            let record = self.records.read(&name);
            if stays {
                standing.extend(record.map(|record| record.srpm));
                continue;
            }
            removed.extend(record.map(|record| record.srpm));
            self.records.remove(&name).map_err(failed("remove the record of", Path::new(&name)))?;
        }
        removed.retain(|srpm| !standing.contains(srpm));
        removed.sort();
        removed.dedup();
        self.remove_all(removed)
    }

    fn remove_all(&self, names: Vec<String>) -> Result<Vec<PathBuf>, PackerError> {
        let mut removed = Vec::new();
        for name in names {
            let path = self.options.output.join(name);
            match fs::remove_file(&path) {
                Ok(()) => removed.push(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("remove", &path)(error)),
            }
        }
        Ok(removed)
    }

    fn tell(&self, event: &Event) {
        self.options.reporter.event(event);
    }
}

impl SpecReport {
    fn of(spec: &SpecInput, outcome: SpecOutcome) -> Self {
        Self { spec: spec.name.clone(), spec_path: spec.path.clone(), outcome, signatures: None }
    }
}

/// Returns the specs whose SRPM an earlier spec makes already, with that spec and the file's name.
fn conflicts<'s>(
    specs: &'s [SpecInput],
    reading: &Reading,
    arch: &str,
) -> BTreeMap<&'s str, (String, String)> {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    let mut conflicts = BTreeMap::new();
    for (spec, data) in specs.iter().zip(&reading.results) {
        let Some(data) = data.as_ref().ok().filter(|data| data.builds_on(arch)) else { continue };
        let srpm = data.source.file_name();
        match owners.get(&srpm) {
            Some(owner) => {
                conflicts.insert(spec.name.as_str(), ((*owner).to_owned(), srpm));
            }
            None => {
                owners.insert(srpm, &spec.name);
            }
        }
    }
    conflicts
}

/// Returns why a spec is not for an architecture, exactly as rpm compares names.
fn skip_reason(data: &SpecData, arch: &str) -> Option<SkipReason> {
    if data.builds_on(arch) {
        return None;
    }
    let arch = arch.to_owned();
    if data.exclude_arch.contains(&arch) {
        return Some(SkipReason::ExcludeArch { arch });
    }
    Some(SkipReason::ExclusiveArch { arch, arches: data.exclusive_arch.clone() })
}

#[cfg(test)]
mod tests;
