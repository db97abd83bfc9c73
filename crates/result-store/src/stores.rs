//! The ordered list of stores: asking them for a result, and putting one there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rpm_model::ContentDigest;
use tempfile::NamedTempFile;
use url::Url;

use crate::directory::DirectoryPlace;
use crate::document::{NewResult, StoredFile, StoredResult};
use crate::envelope::{open, seal};
use crate::hashing::HashingWriter;
use crate::key::{PublicKey, SigningKey};
use crate::miss::MissReason;
use crate::place::{AccessError, Place};
use crate::remote::{RemotePlace, SetupError};

/// The most bytes that a document may have: that of a build root of thousands of packages has a few million.
const LONGEST_DOCUMENT: u64 = 64 << 20;

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory, which is made when something is put there.
    Directory(PathBuf),
    /// `http`, `https`, `s3`, `az` and what else `object_store` takes.
    Url {
        /// The URL; its path is the prefix of all objects.
        url: Url,
        /// Options of `object_store` for this kind of store, for example `aws_region`; an unknown one is an error.
        options: BTreeMap<String, String>,
        /// The same as the environment states them; unknown ones are passed over.
        environment: BTreeMap<String, String>,
    },
}

/// What may be done with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Results are taken from it.
    ReadOnly,
    /// Results are taken from it and put there.
    ReadWrite,
}

/// One store as the configuration states it.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// How reports call it.
    pub name: String,
    /// Where it is.
    pub location: Location,
    /// What may be done with it.
    pub access: Access,
    /// Whose documents are believed; empty means whoever can write there.
    pub trusted_keys: Vec<PublicKey>,
    /// What signs the documents that are put there.
    pub signing_key: Option<SigningKey>,
    /// How long an answer, or the next bytes of one, may take.
    pub timeout: Duration,
}

/// Why a store cannot be used at all: a mistake in its configuration.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL or an option of it means nothing.
    #[error("the result store `{name}` cannot be used: {message}")]
    Settings {
        /// The store.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// The network runtime could not be started.
    #[error("cannot start the threads that talk to result stores")]
    Runtime(#[source] io::Error),
}

impl SetupError {
    fn of_store(self, name: &str) -> OpenError {
        match self {
            Self::Settings(message) => OpenError::Settings { name: name.to_owned(), message },
            Self::Runtime(error) => OpenError::Runtime(error),
        }
    }
}

/// A document that may be believed, still without its files.
#[derive(Clone, Debug)]
pub struct Found {
    /// The document.
    pub document: StoredResult,
    /// The trusted key that signed it, when one was asked for.
    pub signed_by: Option<String>,
    /// The document in its envelope, as the store has it.
    envelope: Vec<u8>,
}

/// A result on its way into the stores from a place in their order on.
#[derive(Clone, Debug)]
pub struct Publication {
    /// What is put there.
    pub result: NewResult,
    /// The envelope that a publisher has signed, when the result comes from another store.
    envelope: Option<Vec<u8>>,
}

impl Publication {
    /// Returns the publication of a build of this host.
    pub fn built(result: NewResult) -> Self {
        Self { result, envelope: None }
    }

    /// Returns the publication of what another store gave; its signature stays the publisher's.
    pub fn relayed(result: NewResult, found: Found) -> Self {
        Self { result, envelope: Some(found.envelope) }
    }
}

struct Store {
    settings: StoreSettings,
    place: Box<dyn Place>,
    directory: Option<DirectoryPlace>,
    /// Set when it did not answer: then it is left alone.
    is_down: AtomicBool,
    /// Set when it takes nothing from us.
    is_closed: AtomicBool,
    /// Contents that it has wrong, and that are put there again whatever lies there.
    damaged: Mutex<BTreeSet<ContentDigest>>,
}

/// The stores of a run, in the order in which they are asked.
pub struct ResultStores {
    stores: Vec<Store>,
}

impl ResultStores {
    /// Opens stores. Nothing is asked of them yet: a store that is not there is noticed when it is used.
    ///
    /// # Errors
    /// When a URL or an option means nothing.
    pub fn open(settings: Vec<StoreSettings>) -> Result<Self, OpenError> {
        let mut stores = Vec::new();
        for settings in settings {
            let (place, directory): (Box<dyn Place>, _) = match &settings.location {
                Location::Directory(path) => {
                    (Box::new(DirectoryPlace::new(path)), Some(DirectoryPlace::new(path)))
                }
                Location::Url { url, options, environment } => {
                    let place = RemotePlace::open(url, options, environment, settings.timeout);
                    (Box::new(place.map_err(|error| error.of_store(&settings.name))?), None)
                }
            };
            stores.push(Store {
                settings,
                place,
                directory,
                is_down: AtomicBool::new(false),
                is_closed: AtomicBool::new(false),
                damaged: Mutex::new(BTreeSet::new()),
            });
        }
        Ok(Self { stores })
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.stores.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.stores.is_empty()
    }

    /// Returns a store's name. `position` counts from 0, here and below.
    pub fn name(&self, position: usize) -> &str {
        &self.stores[position].settings.name
    }

    /// Returns whether results may be put into a store.
    pub fn takes_results(&self, position: usize) -> bool {
        self.stores[position].settings.access == Access::ReadWrite
    }

    /// Asks a store for the document of a build.
    ///
    /// # Errors
    /// When it has none, or none that may be believed.
    pub fn find(&self, position: usize, identity: &ContentDigest) -> Result<Found, MissReason> {
        let store = &self.stores[position];
        store.is_asked()?;
        let envelope = store.noted(store.place.read(&document_name(identity), LONGEST_DOCUMENT))?;
        let opened = open(&envelope, &store.settings.trusted_keys)?;
        let document = StoredResult::read(&opened.payload, identity)?;
        Ok(Found { document, signed_by: opened.signed_by, envelope })
    }

    /// Fetches every file of a document into a directory, where each has its SHA-256 as its name; returns them.
    ///
    /// # Errors
    /// When one is not there or not what the document says. Nothing unverified has a name then.
    pub fn fetch(
        &self,
        position: usize,
        document: &StoredResult,
        into: &Path,
    ) -> Result<BTreeMap<ContentDigest, PathBuf>, MissReason> {
        let store = &self.stores[position];
        let mut fetched = BTreeMap::new();
        for file in document.files() {
            store.is_asked()?;
            let path = into.join(file.sha256.as_str());
            if let Err(reason) = store.fetch(&file, into, &path) {
                if matches!(reason, MissReason::FileMissing { .. } | MissReason::WrongContent { .. }) {
                    store.damaged().insert(file.sha256);
                }
                return Err(reason);
            }
            fetched.insert(file.sha256, path);
        }
        Ok(fetched)
    }

    /// Puts a result into a store: first the files, each unless it is there, then the document.
    ///
    /// # Errors
    /// When something cannot be put there. The store then has no document of the result, or the one before.
    pub fn publish(&self, position: usize, publication: &Publication) -> Result<(), AccessError> {
        let store = &self.stores[position];
        store.is_asked()?;
        if store.is_closed.load(Ordering::Relaxed) {
            return Err(AccessError::LeftAlone);
        }
        let written = store.publish(publication);
        if matches!(written, Err(AccessError::Denied { .. })) && store.is_closed.swap(true, Ordering::Relaxed)
        {
            return Err(AccessError::LeftAlone);
        }
        written
    }
}

impl Store {
    fn is_asked(&self) -> Result<(), AccessError> {
        if self.is_down.load(Ordering::Relaxed) { Err(AccessError::LeftAlone) } else { Ok(()) }
    }

    fn publish(&self, publication: &Publication) -> Result<(), AccessError> {
        let _held = self.directory.as_ref().map(DirectoryPlace::hold).transpose()?;
        let document = &publication.result.document;
        for (file, path) in &publication.result.files {
            let name = content_name(&file.sha256);
            let is_damaged = self.damaged().contains(&file.sha256);
            if is_damaged || self.noted(self.place.size(&name))? != Some(file.size) {
                self.noted(self.place.put_file(&name, path, file))?;
                self.damaged().remove(&file.sha256);
            }
        }
        let envelope = match &publication.envelope {
            Some(envelope) => envelope.clone(),
            None => {
                let payload = serde_json::to_vec(document).map_err(|error| AccessError::Local {
                    message: format!("cannot encode a result: {error}"),
                })?;
                seal(&payload, self.settings.signing_key.as_ref())
            }
        };
        self.noted(self.place.put_bytes(&document_name(&document.identity), &envelope))
    }

    /// Notes whether the store is to be left alone after this answer.
    fn noted<T>(&self, answer: Result<T, AccessError>) -> Result<T, AccessError> {
        if answer.as_ref().is_err_and(AccessError::is_silence) && self.is_down.swap(true, Ordering::Relaxed) {
            // Another thread was told the same a moment before.
            return Err(AccessError::LeftAlone);
        }
        answer
    }

    fn damaged(&self) -> std::sync::MutexGuard<'_, BTreeSet<ContentDigest>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetch(&self, file: &StoredFile, into: &Path, path: &Path) -> Result<(), MissReason> {
        let local = |error: &io::Error| MissReason::Access(AccessError::local("write", path, error));
        let mut target = HashingWriter::new(NamedTempFile::new_in(into).map_err(|error| local(&error))?);
        let content = || file.sha256.clone();
        match self.noted(self.place.fetch(&content_name(&file.sha256), file.size, &mut target)) {
            Ok(()) => {}
            Err(AccessError::Absent) => return Err(MissReason::FileMissing { content: content() }),
            Err(AccessError::TooLong { .. }) => {
                return Err(MissReason::WrongContent { content: content(), found: None });
            }
            Err(other) => return Err(other.into()),
        }
        let (target, found) = target.finish();
        if found.size != file.size {
            return Err(MissReason::WrongContent { content: content(), found: None });
        }
        if found.sha256 != file.sha256 {
            return Err(MissReason::WrongContent { content: content(), found: Some(found.sha256) });
        }
        // Temporary files are private; packages are for everybody.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        target.as_file().set_permissions(mode).map_err(|error| local(&error))?;
        target.persist(path).map(drop).map_err(|error| local(&error.error))
    }
}

/// Returns the name of the document of a build.
pub(crate) fn document_name(identity: &ContentDigest) -> String {
    format!("results/{identity}.json")
}

/// Returns the name of a file by content.
pub(crate) fn content_name(content: &ContentDigest) -> String {
    let (shard, rest) = content.as_str().split_at(2);
    format!("sha256/{shard}/{rest}")
}

#[cfg(test)]
mod tests;
