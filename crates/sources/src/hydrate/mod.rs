//! Brings all source files of all specs to this host and checks every one of them.
//!
//! What it is: [`hydrate`] goes through the files of many specs, first on this host with all cores, then on
//! the network with as many threads as transfers are allowed. It never stops at the first failure: the
//! [`HydrationReport`] has every file of every spec, and for each missing one every place that was asked and
//! what it answered.
//!
//! What it is not: it writes no signature file (an update is returned as a value) and packs nothing.
//!
//! | situation | enforce | skip | update |
//! |---|---|---|---|
//! | entry, file in the tree has the hash | accept | accept | accept |
//! | entry, file in the tree differs | other places | accept | accept, new hash recorded |
//! | entry, not in the tree | store, then servers: only the hash | store, then servers: any bytes | as skip, recorded |
//! | no entry, a source | failure | any bytes | any bytes, recorded |
//! | no entry, a patch | the tree's | any bytes | any bytes, not recorded |
//!
//! In `skip` and `update` the store is asked before servers as well: an entry names bytes, and bytes with
//! that name are the right ones.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use rpm_model::{ContentDigest, SourceKind};

use crate::provider::{Answer, Asked, FileRequest, FoundFile, SourceProvider, StoreProvider, TreeProvider};
use crate::signature::SignatureFile;
use crate::store::SourceStore;

pub use report::{HydratedFile, HydrationFailure, HydrationReport, SpecHydration};

/// What signature files mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureMode {
    /// Only bytes with the listed hash; every source must be listed.
    Enforce,
    /// Any bytes.
    Skip,
    /// Any bytes; the signature file is brought up to date.
    Update,
}

/// A file that a spec names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedFile {
    /// Source or patch.
    pub kind: SourceKind,
    /// Its base name.
    pub file: String,
    /// The spec's URL for it.
    pub url: Option<String>,
}

/// All files of one spec.
#[derive(Clone, Debug)]
pub struct SpecSources {
    /// The spec's name, for reports.
    pub spec: String,
    /// Directories of the tree that may hold the files, best first.
    pub directories: Vec<PathBuf>,
    /// The spec's signature file; need not exist.
    pub signature_file: PathBuf,
    /// The files.
    pub files: Vec<WantedFile>,
}

impl SpecSources {
    /// Returns how many different files the spec names; several tags may name the same one.
    pub fn distinct_files(&self) -> usize {
        self.files.iter().map(|file| &file.file).collect::<BTreeSet<_>>().len()
    }
}

/// How to hydrate.
pub struct HydrateOptions<'a> {
    /// What signature files mean.
    pub mode: SignatureMode,
    /// Whether nothing but the tree and the store may be asked.
    pub offline: bool,
    /// Places beyond this host, in the order in which they are asked.
    pub remote: &'a [Box<dyn SourceProvider>],
    /// Files that may be fetched at once.
    pub concurrency: usize,
    /// Called when a file is done, from any thread.
    pub progress: &'a (dyn Fn(&HydrationProgress<'_>) + Sync),
}

/// One file is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HydrationProgress<'a> {
    /// The spec.
    pub spec: &'a str,
    /// The file.
    pub file: &'a str,
    /// The place that had it; `None` when none had.
    pub found: Option<&'a Asked>,
}

/// One file on its way through the places.
struct Search<'a> {
    spec: &'a SpecSources,
    wanted: &'a WantedFile,
    candidates: Vec<PathBuf>,
    listed: Option<ContentDigest>,
    mode: SignatureMode,
    asked: Vec<Asked>,
}

impl Search<'_> {
    fn found(&self) -> Option<&FoundFile> {
        match self.asked.last() {
            Some(Asked { answer: Answer::Found(file), .. }) => Some(file),
            _ => None,
        }
    }

    fn ask(&mut self, providers: &[&dyn SourceProvider], store: &SourceStore) {
        for provider in providers {
            if self.found().is_some() {
                return;
            }
            let request = FileRequest {
                file: &self.wanted.file,
                url: self.wanted.url.as_deref(),
                candidates: &self.candidates,
                listed: self.listed.as_ref(),
                accept_any: self.mode != SignatureMode::Enforce,
            };
            self.asked.extend(provider.ask(&request, store));
        }
    }

    /// Without an entry nothing is fetched under `enforce`: nobody could say whether it is right.
    fn may_be_fetched(&self) -> bool {
        self.listed.is_some() || self.mode != SignatureMode::Enforce
    }

    fn tell(&self, options: &HydrateOptions<'_>) {
        let found = self.asked.last().filter(|asked| matches!(asked.answer, Answer::Found(_)));
        let (spec, file) = (self.spec.spec.as_str(), self.wanted.file.as_str());
        (options.progress)(&HydrationProgress { spec, file, found });
    }
}

/// Finds all files of all specs; see the module text.
///
/// The report has one entry per spec, in the order given.
pub fn hydrate(specs: &[SpecSources], store: &SourceStore, options: &HydrateOptions<'_>) -> HydrationReport {
    let signatures: Vec<_> = specs.par_iter().map(|spec| SignatureFile::read(&spec.signature_file)).collect();
    let mut searches: Vec<Vec<Search<'_>>> = specs
        .par_iter()
        .zip(&signatures)
        .map(|(spec, signatures)| match signatures {
            Ok(signatures) => local_searches(spec, signatures.as_ref(), store, options),
            Err(_) => Vec::new(),
        })
        .collect();
    if !options.offline {
        let missing: Vec<&mut Search<'_>> = searches
            .iter_mut()
            .flatten()
            .filter(|search| search.found().is_none() && search.may_be_fetched())
            .collect();
        fetch_all(missing, store, options);
    }
    let specs = specs
        .iter()
        .zip(signatures)
        .zip(searches)
        .map(|((spec, signatures), searches)| match signatures {
            Ok(signatures) => conclude(spec, signatures, searches, options),
            Err(error) => report::unreadable(spec, &error),
        })
        .collect();
    HydrationReport { specs }
}

/// Asks the tree and the store for every file of a spec.
fn local_searches<'a>(
    spec: &'a SpecSources,
    signatures: Option<&SignatureFile>,
    store: &SourceStore,
    options: &HydrateOptions<'_>,
) -> Vec<Search<'a>> {
    let mut searches: Vec<Search<'a>> = Vec::new();
    for wanted in &spec.files {
        if searches.iter().any(|search| search.wanted.file == wanted.file) {
            continue;
        }
        let listed = signatures.and_then(|signatures| signatures.get(&wanted.file)).cloned();
        let candidates = spec.directories.iter().map(|directory| directory.join(&wanted.file)).collect();
        let mut search = Search { spec, wanted, candidates, listed, mode: options.mode, asked: Vec::new() };
        if wanted.kind == SourceKind::Patch || search.may_be_fetched() {
            search.ask(&[&TreeProvider, &StoreProvider], store);
        }
        if search.found().is_some() || options.offline || !search.may_be_fetched() {
            search.tell(options);
        }
        searches.push(search);
    }
    searches
}

/// Asks the remote places; the threads wait for the network, so they are not those of rayon.
fn fetch_all(missing: Vec<&mut Search<'_>>, store: &SourceStore, options: &HydrateOptions<'_>) {
    let providers: Vec<&dyn SourceProvider> = options.remote.iter().map(AsRef::as_ref).collect();
    let next = AtomicUsize::new(0);
    let missing: Vec<Mutex<&mut Search<'_>>> = missing.into_iter().map(Mutex::new).collect();
    std::thread::scope(|scope| {
        for _ in 0..options.concurrency.clamp(1, missing.len().max(1)) {
            scope.spawn(|| {
                while let Some(search) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut search = search.lock().unwrap_or_else(PoisonError::into_inner);
                    search.ask(&providers, store);
                    search.tell(options);
                }
            });
        }
    });
}

/// Turns the searches of a spec into its part of the report.
fn conclude(
    spec: &SpecSources,
    signatures: Option<SignatureFile>,
    searches: Vec<Search<'_>>,
    options: &HydrateOptions<'_>,
) -> SpecHydration {
    let mut files = Vec::new();
    let mut failures = Vec::new();
    let mut recorded = BTreeMap::new();
    for mut search in searches {
        match search.found().cloned() {
            Some(found) => {
                if search.wanted.kind == SourceKind::Source || search.listed.is_some() {
                    recorded.insert(search.wanted.file.clone(), found.sha256.clone());
                }
                let place = search.asked.pop().map(|asked| asked.place);
                files.push(HydratedFile {
                    kind: search.wanted.kind,
                    file: search.wanted.file.clone(),
                    path: found.path,
                    sha256: found.sha256,
                    place,
                    refused: search.asked,
                });
            }
            None => failures.push(report::failure(search, options.offline)),
        }
    }
    files.sort_by(|a, b| a.file.cmp(&b.file));
    let update = if options.mode == SignatureMode::Update && failures.is_empty() {
        signatures.unwrap_or_else(|| SignatureFile::empty(&spec.signature_file)).update(&recorded)
    } else {
        None
    };
    SpecHydration { spec: spec.spec.clone(), files, failures, update }
}

#[cfg(test)]
mod tests;
