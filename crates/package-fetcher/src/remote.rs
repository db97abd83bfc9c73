//! Repositories as they are now: their mirrors found, their signatures checked, their packages read.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use repository::{
    Fetch, FetchError, FileKnowledge, IndexedPackage, ReadOptions, RepositoryError, read_repository_with,
};
use rpm_model::{ContentDigest, LockedPackage, PackageOrigin};
use sources::{Download, DownloadError, DownloadSetupError, Downloader};

use crate::definition::{Places, RepositoryDefinition};
use crate::download::{PackagePlace, WantedPackage};
use crate::kept::{INDEX_SIGNATURE, KeptFetch};
use crate::metalink::{self, BadMirrorList, MirrorList, parse_list, parse_metalink};
use crate::mirrors::{Downloads, INDEX, MirrorFetch};
use crate::observer::{FetchEvent, Observer};
use crate::signature::{Keyring, KeyringError, SignatureFault, check_detached};

/// Largest index, and largest signature of it.
const LARGEST_INDEX: u64 = 1 << 20;

/// How repositories are opened.
#[derive(Clone, Copy)]
pub struct OpenSettings<'a> {
    /// The directory in which metadata is kept, a directory per repository.
    pub metadata: &'a Path,
    /// Whether only what is kept counts.
    pub offline: bool,
    /// How servers are reached.
    pub downloads: &'a Downloads,
    /// Which files of packages must be known.
    pub files: FileKnowledge,
    /// Told of what happens.
    pub observer: &'a dyn Observer,
}

/// Why a repository cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Its metadata cannot be had or makes no sense.
    #[error("repository `{id}`: {source}")]
    Metadata {
        /// The repository.
        id: String,
        /// Why.
        source: RepositoryError,
    },
    /// Its list of mirrors cannot be had.
    #[error("repository `{id}`: cannot get the list of mirrors: {source}")]
    MirrorList {
        /// The repository.
        id: String,
        /// Why.
        source: Box<DownloadError>,
    },
    /// Its list of mirrors makes no sense.
    #[error("repository `{id}`: `{address}`: {source}")]
    BadMirrorList {
        /// The repository.
        id: String,
        /// The list.
        address: String,
        /// What is wrong.
        source: BadMirrorList,
    },
    /// A key file cannot be used.
    #[error("repository `{id}`: {source}")]
    Keys {
        /// The repository.
        id: String,
        /// Why.
        source: KeyringError,
    },
    /// The signature of the index cannot be had.
    #[error("repository `{id}`: cannot get `repomd.xml.asc`: {source}")]
    NoSignature {
        /// The repository.
        id: String,
        /// Why.
        source: FetchError,
    },
    /// The signature of the index is not by a key that is trusted.
    #[error("repository `{id}`: signature of `repomd.xml`: {source}")]
    Signature {
        /// The repository.
        id: String,
        /// Why.
        source: SignatureFault,
    },
    /// Its servers cannot be reached with these settings.
    #[error("repository `{id}`: {source}")]
    Setup {
        /// The repository.
        id: String,
        /// Why.
        source: DownloadSetupError,
    },
    /// Its metadata cannot be kept.
    #[error("repository `{id}`: cannot keep its metadata in `{}`: {source}", path.display())]
    Keep {
        /// The repository.
        id: String,
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A repository that was read.
#[derive(Debug)]
pub struct RemoteRepository {
    definition: RepositoryDefinition,
    /// Its mirrors; none offline where only a list would tell them.
    addresses: Vec<String>,
    packages: Vec<IndexedPackage>,
}

impl RemoteRepository {
    /// Finds the mirrors, checks the signature of the index where one is asked for, and reads the packages.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub fn open(definition: &RepositoryDefinition, settings: &OpenSettings<'_>) -> Result<Self, RemoteError> {
        let id = || definition.id.clone();
        let directory = settings.metadata.join(&definition.id);
        let keep = |source| RemoteError::Keep { id: id(), path: directory.clone(), source };
        fs::create_dir_all(&directory).map_err(keep)?;
        let scratch = tempfile::tempdir_in(settings.metadata).map_err(keep)?;
        let downloader = |alternatives| {
            let made = settings.downloads.downloader(&definition.tls, alternatives);
            made.map_err(|source| RemoteError::Setup { id: id(), source })
        };
        let list = match &definition.places {
            Places::Addresses(addresses) => MirrorList { addresses: addresses.clone(), index: None },
            Places::MirrorList(_) | Places::MetaLink(_) if settings.offline => {
                MirrorList { addresses: Vec::new(), index: None }
            }
            places => mirrors(definition, places, &*downloader(false)?, scratch.path())?,
        };
        let downloader: Arc<Downloader> = downloader(list.addresses.len() > 1)?;
        let mirrors = MirrorFetch::new(&list.addresses, &downloader, scratch.path(), list.index);
        let upstream = (!settings.offline).then_some(&mirrors as &dyn Fetch);
        let kept = KeptFetch::new(&directory, upstream).map_err(keep)?;
        if definition.signatures.metadata {
            check_index(definition, &kept)?;
        }
        let options =
            ReadOptions { origin: definition.origin, locations: definition.locations, files: settings.files };
        let mut packages = read_repository_with(&kept, &options)
            .map_err(|source| RemoteError::Metadata { id: id(), source })?;
        kept.commit().map_err(keep)?;
        packages.retain(|package| definition.admits(&package.header.nevra));
        settings.observer.event(&FetchEvent::Opened {
            repository: id(),
            packages: packages.len(),
            kept: !kept.fetched(),
        });
        Ok(Self { definition: definition.clone(), addresses: list.addresses, packages })
    }
}

/// Fetches a repository's list of mirrors.
fn mirrors(
    definition: &RepositoryDefinition,
    places: &Places,
    downloader: &Downloader,
    scratch: &Path,
) -> Result<MirrorList, RemoteError> {
    let (address, is_metalink) = match places {
        Places::MetaLink(address) => (address, true),
        Places::MirrorList(address) => (address, false),
        Places::Addresses(addresses) => {
            return Ok(MirrorList { addresses: addresses.clone(), index: None });
        }
    };
    let id = || definition.id.clone();
    let (part, note) = (scratch.join("mirrors"), scratch.join("mirrors.note"));
    let bytes = match repository::DirectoryFetch::at(address) {
        Some(file) => fs::read(file.directory()).map_err(|source| DownloadError::Local {
            operation: "read",
            path: file.directory().to_owned(),
            source,
        }),
        None => downloader
            .fetch(&Download {
                url: address,
                part: &part,
                note: &note,
                expected: None,
                limit: Some(metalink::MAXIMUM_BYTES),
            })
            .and_then(|_| {
                fs::read(&part).map_err(|source| DownloadError::Local {
                    operation: "read",
                    path: part,
                    source,
                })
            }),
    };
    let bytes = bytes.map_err(|source| RemoteError::MirrorList { id: id(), source: Box::new(source) })?;
    let parsed = if is_metalink { parse_metalink(&bytes) } else { parse_list(&bytes) };
    parsed.map_err(|source| RemoteError::BadMirrorList { id: id(), address: address.to_owned(), source })
}

/// Checks the signature of the index, before anything of it is parsed.
fn check_index(definition: &RepositoryDefinition, fetch: &dyn Fetch) -> Result<(), RemoteError> {
    let id = || definition.id.clone();
    let keyring = Keyring::read(&definition.signatures.keys)
        .map_err(|source| RemoteError::Keys { id: id(), source })?;
    let index = fetch.get(INDEX, LARGEST_INDEX).map_err(|source| RemoteError::Metadata {
        id: id(),
        source: RepositoryError::Fetch { location: fetch.location(), name: INDEX.to_owned(), source },
    })?;
    let signature = fetch
        .get(INDEX_SIGNATURE, LARGEST_INDEX)
        .map_err(|source| RemoteError::NoSignature { id: id(), source })?;
    check_detached(&keyring, &signature, &index).map_err(|source| RemoteError::Signature { id: id(), source })
}

/// The packages of several repositories, and where each of them can be fetched.
#[derive(Debug, Default)]
pub struct Offer {
    definitions: Vec<RepositoryDefinition>,
    addresses: Vec<Vec<String>>,
    packages: Vec<IndexedPackage>,
    /// For each content the repositories that have it, by number, and its location there.
    places: HashMap<ContentDigest, Vec<(usize, PathBuf)>>,
}

impl Offer {
    /// Opens repositories at the same time.
    ///
    /// # Errors
    /// One error for each repository that cannot be used and must be.
    pub fn open(
        definitions: &[RepositoryDefinition],
        settings: &OpenSettings<'_>,
    ) -> Result<Self, Vec<RemoteError>> {
        let results: Vec<Result<RemoteRepository, RemoteError>> =
            definitions.par_iter().map(|definition| RemoteRepository::open(definition, settings)).collect();
        let (mut repositories, mut errors) = (Vec::new(), Vec::new());
        for (definition, result) in definitions.iter().zip(results) {
            match result {
                Ok(repository) => repositories.push(repository),
                Err(error) if definition.optional => settings.observer.event(&FetchEvent::Skipped {
                    repository: definition.id.clone(),
                    reason: error.to_string(),
                }),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self::of(repositories)) } else { Err(errors) }
    }

    /// Puts repositories together: what one of them hides is left out, what two of them have is there once.
    pub fn of(repositories: Vec<RemoteRepository>) -> Self {
        let mut best: BTreeMap<(PackageOrigin, String), u32> = BTreeMap::new();
        for repository in &repositories {
            let priority = repository.definition.priority;
            for package in &repository.packages {
                let key = (repository.definition.origin, package.header.nevra.name.clone());
                best.entry(key).and_modify(|best| *best = priority.min(*best)).or_insert(priority);
            }
        }
        let mut offer = Self::default();
        for (number, repository) in repositories.into_iter().enumerate() {
            let (origin, priority) = (repository.definition.origin, repository.definition.priority);
            for package in repository.packages {
                if best.get(&(origin, package.header.nevra.name.clone())) != Some(&priority) {
                    continue;
                }
                let places = offer.places.entry(package.sha256.clone()).or_default();
                places.push((number, package.path.clone()));
                if places.len() == 1 {
                    offer.packages.push(package);
                }
            }
            offer.definitions.push(repository.definition);
            offer.addresses.push(repository.addresses);
        }
        offer
    }

    /// Returns the packages; [`IndexedPackage::path`] is relative to the package's repository.
    pub fn packages(&self) -> &[IndexedPackage] {
        &self.packages
    }

    /// Leaves out all packages but those that a test admits.
    pub fn retain(&mut self, admits: impl Fn(&IndexedPackage) -> bool) {
        self.packages.retain(admits);
    }

    /// Returns what is to be fetched for a package of the offer, or `None` for any other.
    pub fn wanted(&self, package: &LockedPackage) -> Option<WantedPackage> {
        let places = self.places.get(&package.sha256)?;
        let places = places.iter().flat_map(|(number, location)| {
            let definition = &self.definitions[*number];
            PackagePlace::all(definition, &self.addresses[*number], &location.to_string_lossy())
        });
        Some(WantedPackage {
            nevra: package.nevra.clone(),
            sha256: package.sha256.clone(),
            size: package.size,
            origin: package.origin,
            places: places.collect(),
        })
    }
}
