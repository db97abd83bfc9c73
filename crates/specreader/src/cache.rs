//! Remembers what specs say, by content, so that an unchanged tree starts no process.
//!
//! A result is found by its key (`keys.rs`), a hash of all that decides it. A spec that asks the clock or a random
//! number is remembered like any other: content decides, not time. Failures are remembered where they would
//! repeat ([`FailureKind::is_lasting`](crate::FailureKind::is_lasting)).
//!
//! Three memories save work and decide nothing: hashes of files (`stamps`, a [`FileIndex`]), what the keys take
//! from texts (`texts.rs`), and all results of the last reading in one file (`store.rs`, which also says what is
//! on disk and what is dropped). Each of them may be lost at any time.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use file_index::{Directory, FileIndex};
use rayon::prelude::*;
use rpm_model::{ContentDigest, ContentHasher, SpecData};

use crate::engine::{Done, EngineError, ParsedSpec, ReadOptions, SpecEngine, SpecInput};
use crate::failure::SpecFailure;
use crate::headers;
use crate::keys::KeyMaker;
use crate::store::{Entry, HeaderState, RecentEntries, Store};
use crate::texts::TextIndex;

/// A reading of fewer specs leaves the file of the last reading alone, and fewer new results get files of their own.
const FEW: usize = 64;

/// The file of the last reading is made anew when more than one in this many results is not in it.
const APART: usize = 64;

/// Told how many specs are read, of how many; from any thread.
pub type ReadProgress<'p> = &'p (dyn Fn(usize, usize) + Sync);

/// Reads specs through a cache.
pub struct CachedReader<'a> {
    engine: &'a dyn SpecEngine,
    store: Store,
    files: FileIndex,
    /// By what the names of release macros begin with.
    texts: Mutex<HashMap<Option<Vec<u8>>, Arc<TextIndex>>>,
}

/// Specs with their keys, before anything is read.
pub struct Look<'s> {
    specs: &'s [SpecInput],
    options: &'s ReadOptions,
    identity: ContentDigest,
    keys: Vec<Option<ContentDigest>>,
}

/// What a [`CachedReader`] found.
#[derive(Debug)]
pub struct Reading {
    /// One result per spec, in the order asked.
    pub results: Vec<Result<SpecData, SpecFailure>>,
    /// The key of each spec, by which a result is remembered: equal keys, equal content and macros. `None`
    /// where the spec's files could not be read or changed while they were.
    pub keys: Vec<Option<ContentDigest>>,
    /// How many of them were remembered; the engine was asked about the others.
    pub remembered: usize,
    /// [`Look::digest`], where all results would be the same again.
    pub digest: Option<ContentDigest>,
}

impl Look<'_> {
    /// Returns the key of each spec; see [`Reading::keys`].
    pub fn keys(&self) -> &[Option<ContentDigest>] {
        &self.keys
    }

    /// Returns the identity of everything but the specs that decides what is read.
    pub fn identity(&self) -> &ContentDigest {
        &self.identity
    }

    /// Returns the identity of everything that is read: specs, their paths and all that decides what they say.
    ///
    /// `None` where a spec's files cannot be read.
    pub fn digest(&self) -> Option<ContentDigest> {
        digest(&self.identity, self.specs, &self.keys)
    }
}

fn digest(
    identity: &ContentDigest,
    specs: &[SpecInput],
    keys: &[Option<ContentDigest>],
) -> Option<ContentDigest> {
    let mut hasher = ContentHasher::new("specs", 1);
    hasher.field("options", identity.as_str());
    for (spec, key) in specs.iter().zip(keys) {
        hasher.field("path", &spec.path.as_os_str().as_bytes().escape_ascii().to_string());
        hasher.field("key", key.as_ref()?.as_str());
    }
    Some(hasher.finish())
}

impl<'a> CachedReader<'a> {
    /// Returns a reader that asks `engine` and remembers in `directory` (usually `build/cache/specs`).
    pub fn new(engine: &'a dyn SpecEngine, directory: PathBuf) -> Self {
        let files = FileIndex::open(directory.join("stamps"));
        Self { engine, store: Store::new(directory), files, texts: Mutex::default() }
    }

    /// Returns the identity of everything but the specs that decides what is read.
    ///
    /// # Errors
    ///
    /// Returns an error where a macro file cannot be read.
    pub fn identity(&self, options: &ReadOptions) -> Result<ContentDigest, EngineError> {
        let mut hasher = ContentHasher::new("spec-options", 1);
        hasher.field("engine", self.engine.identity().as_str()).field("arch", &options.arch);
        hasher.list("defines", options.defines.iter().flat_map(|(name, body)| [name, body]));
        let files = options
            .macro_files
            .iter()
            .map(|path| self.files.of(path).map_err(|source| EngineError::io("read", path, source)));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        hasher.list("macro-files", files.iter().map(ContentDigest::as_str));
        Ok(hasher.finish())
    }

    /// Returns the memory of files' hashes, for whoever looks at files of the same trees.
    pub fn files(&self) -> &FileIndex {
        &self.files
    }

    /// Returns the directory of the cache.
    pub fn directory(&self) -> &Path {
        self.store.directory()
    }

    /// Reads specs; asks the engine only about those whose content is new.
    ///
    /// # Errors
    ///
    /// Returns an error where the engine cannot work or the cache cannot be written.
    pub fn read(&self, specs: &[SpecInput], options: &ReadOptions) -> Result<Reading, EngineError> {
        self.read_looked(self.look(specs, options, &[])?, &|_, _| ())
    }

    /// Looks at specs without reading them. Who does not read them afterwards calls
    /// [`keep_memory`](Self::keep_memory).
    ///
    /// `listings` are of directories that were listed a moment ago; what they hold is not listed again.
    ///
    /// # Errors
    ///
    /// Returns an error where a macro file cannot be read.
    pub fn look<'s>(
        &self,
        specs: &'s [SpecInput],
        options: &'s ReadOptions,
        listings: &[Directory],
    ) -> Result<Look<'s>, EngineError> {
        let identity = self.identity(options)?;
        let keys = self.keys(&identity, specs, options, listings);
        Ok(Look { specs, options, identity, keys })
    }

    /// Reads specs that were looked at; asks the engine only about those whose content is new.
    ///
    /// # Errors
    ///
    /// Returns an error where the engine cannot work or the cache cannot be written.
    pub fn read_looked(&self, look: Look<'_>, progress: ReadProgress<'_>) -> Result<Reading, EngineError> {
        let Look { specs, options, identity, mut keys } = look;
        let many = specs.len() >= FEW;
        let lacks_file = |key: &ContentDigest| !self.store.has_result(key);
        let wants_recent = many || keys.iter().flatten().any(lacks_file);
        let recent = wants_recent.then(|| self.store.recent(&identity));
        let recent_entries = recent.as_ref().map(|recent| recent.entries()).unwrap_or_default();
        let kept_headers = (options.source_headers && many).then(|| self.store.headers());
        let mut found: Vec<Option<Found<'_>>> = keys
            .par_iter()
            .map(|key| self.recall(key.as_ref()?, options, &recent_entries, kept_headers.as_ref()))
            .collect();
        let mut missing: Vec<usize> = (0..specs.len()).filter(|index| found[*index].is_none()).collect();
        let done = AtomicUsize::new(specs.len() - missing.len());
        progress(specs.len() - missing.len(), specs.len());
        // What is read a second time counts once.
        let tell = || progress((done.fetch_add(1, Ordering::Relaxed) + 1).min(specs.len()), specs.len());
        // While the engine waits for its processes, this one opens up what is remembered.
        let (read, kept) = rayon::join(
            || self.read_missing(specs, options, &identity, &mut keys, &missing, &tell),
            || {
                found.par_iter_mut().for_each(open);
                self.keep_memory()
            },
        );
        kept?;
        put(&mut found, &missing, read?);
        // What is whole but cannot be understood was kept by another version.
        let foreign: Vec<usize> = (0..specs.len()).filter(|index| found[*index].is_none()).collect();
        put(&mut found, &foreign, self.read_missing(specs, options, &identity, &mut keys, &foreign, &|| ())?);
        missing.extend(foreign);
        self.keep_memory()?;
        let remembered = specs.len() - missing.len();
        progress(specs.len(), specs.len());
        let apart = found.iter().flatten().filter(|found| !found.is_recent).count();
        if let Some(recent) = &recent
            && many
            && (apart >= FEW || apart > recent_entries.len() / APART)
        {
            let entries = keys.iter().zip(&found).filter_map(|(key, found)| {
                let found = found.as_ref()?;
                Some((key.as_ref()?.to_hash(), found.entry.as_ref()?.good(), found.json.as_deref()?))
            });
            self.store.keep_recent(&identity, recent, entries).map_err(|error| self.failed(error))?;
        }
        let results = specs.iter().zip(found).map(|(spec, found)| {
            // The path is where the caller has the spec now; content does not depend on it.
            found.and_then(|found| found.entry).map(|entry| match entry.outcome {
                Ok(data) => Ok(SpecData { spec_path: spec.path.display().to_string(), ..data }),
                Err(failure) => Err(SpecFailure { spec_path: spec.path.clone(), ..failure }),
            })
        });
        let results: Vec<Result<SpecData, SpecFailure>> = results.flatten().collect();
        let lasting = |result: &Result<_, SpecFailure>| {
            result.as_ref().err().is_none_or(|failure| failure.kind.is_lasting())
        };
        let digest = results.iter().all(lasting).then(|| digest(&identity, specs, &keys)).flatten();
        Ok(Reading { results, keys, remembered, digest })
    }

    /// Asks the engine about specs and remembers what it says; takes the key from those that changed meanwhile.
    fn read_missing<'r>(
        &self,
        specs: &[SpecInput],
        options: &ReadOptions,
        identity: &ContentDigest,
        keys: &mut [Option<ContentDigest>],
        missing: &[usize],
        done: Done<'_>,
    ) -> Result<Vec<Found<'r>>, EngineError> {
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<SpecInput> = missing.iter().map(|index| specs[*index].clone()).collect();
        let results = self.engine.read_telling(&asked, options, done)?;
        if let Some(spec) = asked.get(results.len()) {
            let message = "the engine returned fewer results than specs".to_owned();
            return Err(EngineError::Protocol { name: spec.name.clone(), message });
        }
        // What the engine read is remembered only if it is what was looked at.
        let same_options = self.identity(options)? == *identity;
        let after = self.keys(identity, &asked, options, &[]);
        for (index, after) in missing.iter().zip(after) {
            keys[*index] =
                keys[*index].take().filter(|before| same_options && after.as_ref() == Some(before));
        }
        let read: Vec<_> = missing.iter().zip(results).collect();
        let own_files = missing.len() < FEW;
        let remember =
            |(index, result): (&usize, _)| self.remember(keys[*index].as_ref(), result, options, own_files);
        let read = read.into_par_iter().map(remember).collect::<Result<Vec<_>, EngineError>>()?;
        self.store.drop_old(missing.iter().filter_map(|index| keys[*index].as_ref()));
        Ok(read)
    }

    /// Returns the source package's header that belongs to a key of [`Reading::keys`], as rpm exports it; with
    /// the build requirements of `%check` or without.
    ///
    /// `None` where none was given, was asked for ([`ReadOptions::source_headers`]), or is still whole; the next
    /// read that wants headers then asks the engine again.
    ///
    /// # Errors
    ///
    /// Returns the system's error where a header is there but cannot be read.
    pub fn source_header(&self, key: &ContentDigest, run_check: bool) -> io::Result<Option<Vec<u8>>> {
        headers::read(&self.store.header_path(key), run_check)
    }

    /// Makes the keys of specs.
    fn keys(
        &self,
        identity: &ContentDigest,
        specs: &[SpecInput],
        options: &ReadOptions,
        listings: &[Directory],
    ) -> Vec<Option<ContentDigest>> {
        let texts = self.texts(options);
        let maker = KeyMaker { identity, options, files: &self.files, texts: &texts };
        maker.keys(specs, listings)
    }

    /// Keeps what was learned about files and texts; done by every reading.
    ///
    /// # Errors
    ///
    /// Returns an error where the cache cannot be written.
    pub fn keep_memory(&self) -> Result<(), EngineError> {
        let texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = texts.values().try_for_each(|texts| texts.save()).and_then(|()| self.files.save());
        kept.map_err(|error| self.failed(error))
    }

    fn texts(&self, options: &ReadOptions) -> Arc<TextIndex> {
        let prefix = options.release_macros.prefix().map(<[u8]>::to_owned);
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || Arc::new(TextIndex::open(self.store.directory(), prefix.clone()));
        Arc::clone(texts.entry(prefix.clone()).or_insert_with(open))
    }

    /// Finds a result that is remembered.
    fn recall<'r>(
        &self,
        key: &ContentDigest,
        options: &ReadOptions,
        recent: &RecentEntries<'r>,
        headers: Option<&BTreeSet<String>>,
    ) -> Option<Found<'r>> {
        let header_is_kept = || match headers {
            Some(headers) => headers.contains(key.as_str()),
            None => self.store.header_path(key).exists(),
        };
        let suffices = |good: Option<HeaderState>| {
            !options.source_headers
                || match good {
                    Some(HeaderState::NotAsked) => false,
                    Some(HeaderState::Given) => header_is_kept(),
                    Some(HeaderState::NotGiven) | None => true,
                }
        };
        if let Some(recent) = recent.get(&key.to_hash()).filter(|recent| suffices(recent.good)) {
            return Some(Found { entry: None, json: Some(Cow::Borrowed(recent.json)), is_recent: true });
        }
        let json = self.store.result(key)?;
        let entry = Entry::from_json(&json).ok().filter(|entry| suffices(entry.good()))?;
        Some(Found { entry: Some(entry), json: Some(Cow::Owned(json.to_vec())), is_recent: false })
    }

    /// Keeps what the engine says about a spec, where it is to be remembered.
    fn remember<'r>(
        &self,
        key: Option<&ContentDigest>,
        result: Result<ParsedSpec, SpecFailure>,
        options: &ReadOptions,
        own_file: bool,
    ) -> Result<Found<'r>, EngineError> {
        let headers = result.as_ref().ok().and_then(|parsed| parsed.source_headers.as_ref());
        let header = match headers {
            Some(_) => HeaderState::Given,
            None if options.source_headers => HeaderState::NotGiven,
            None => HeaderState::NotAsked,
        };
        let lasting = result.as_ref().err().is_none_or(|failure| failure.kind.is_lasting());
        let Some(key) = key.filter(|_| lasting) else {
            let entry = Entry { header, outcome: result.map(|parsed| parsed.data) };
            return Ok(Found { entry: Some(entry), json: None, is_recent: false });
        };
        if let Some(headers) = headers {
            // Before the result that says that it is there.
            headers::write(&self.store.header_path(key), headers).map_err(|error| self.failed(error))?;
        }
        let outcome = match result {
            Ok(parsed) => Ok(SpecData { spec_path: String::new(), ..parsed.data }),
            Err(failure) => Err(SpecFailure { spec_path: PathBuf::new(), ..failure }),
        };
        let entry = Entry { header, outcome };
        let keep = || {
            let json = entry.to_json()?;
            if own_file {
                self.store.keep_result(key, &json)?;
            }
            Ok(json)
        };
        let json = keep().map_err(|error| self.failed(error))?;
        Ok(Found { entry: Some(entry), json: Some(Cow::Owned(json)), is_recent: false })
    }

    fn failed(&self, source: io::Error) -> EngineError {
        EngineError::io("write", self.store.directory(), source)
    }
}

/// A result on its way to the caller.
struct Found<'r> {
    /// `None` until it is opened.
    entry: Option<Entry>,
    /// Its kept form, unless it is not to be kept.
    json: Option<Cow<'r, [u8]>>,
    /// Whether the file of the last reading has it.
    is_recent: bool,
}

/// Opens a result up; takes it away where that cannot be done.
fn open(found: &mut Option<Found<'_>>) {
    if let Some(Found { entry: entry @ None, json: Some(json), .. }) = found {
        *entry = Entry::from_json(json).ok();
        if entry.is_none() {
            *found = None;
        }
    }
}

fn put<'r>(found: &mut [Option<Found<'r>>], places: &[usize], results: Vec<Found<'r>>) {
    for (place, result) in places.iter().zip(results) {
        found[*place] = Some(result);
    }
}

#[cfg(test)]
mod tests;
