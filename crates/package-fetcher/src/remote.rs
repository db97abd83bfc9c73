//! Repositories as they are now: their mirrors found, their signatures checked, their packages read.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use repository::{
    Fetch, FetchError, FileKnowledge, IndexedPackage, OpenOptions, ReadOptions, RepositoryError,
    RepositoryIndex, open_repository,
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

/// A repository that was opened.
#[derive(Debug)]
pub struct RemoteRepository {
    definition: RepositoryDefinition,
    /// Its mirrors; none offline where only a list would tell them.
    addresses: Vec<String>,
    index: RepositoryIndex,
}

impl RemoteRepository {
    /// Finds the mirrors, checks the signature of the index where one is asked for, and reads the packages.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub fn open(definition: &RepositoryDefinition, settings: &OpenSettings<'_>) -> Result<Self, RemoteError> {
        let id = || definition.id.clone();
        // Another place under the same name is another repository.
        let place = ContentDigest::of_bytes(format!("{:?}", definition.places).as_bytes());
        let kept_as = format!("{}-{}", definition.id, &place.as_str()[..12]);
        let directory = settings.metadata.join(&kept_as);
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
        let filter = format!("{:?} {:?}", definition.exclude, definition.include);
        let options = OpenOptions {
            read: ReadOptions {
                origin: definition.origin,
                locations: definition.locations,
                files: settings.files,
            },
            admits: &|nevra| definition.admits(nevra),
            filter: &filter,
        };
        let index_file = settings.metadata.join(format!("{kept_as}.index"));
        let opened = open_repository(&kept, &options, &index_file)
            .map_err(|source| RemoteError::Metadata { id: id(), source })?;
        // What is kept is what was read; an index that was right leaves it as it is.
        if opened.metadata_read {
            kept.commit().map_err(keep)?;
        }
        settings.observer.event(&FetchEvent::Opened {
            repository: id(),
            packages: opened.index.len(),
            kept: !kept.fetched(),
        });
        Ok(Self { definition: definition.clone(), addresses: list.addresses, index: opened.index })
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
    repositories: Vec<Place>,
}

/// A repository of an offer.
#[derive(Debug)]
struct Place {
    definition: RepositoryDefinition,
    addresses: Vec<String>,
    index: Arc<RepositoryIndex>,
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

    /// Puts repositories together: of a name only the packages of the repositories with the best priority count.
    pub fn of(mut repositories: Vec<RemoteRepository>) -> Self {
        let mut best: HashMap<(PackageOrigin, String), u32> = HashMap::new();
        let priorities: BTreeSet<u32> =
            repositories.iter().map(|repository| repository.definition.priority).collect();
        // Nothing is hidden where all are equal, which is usual.
        if priorities.len() > 1 {
            for RemoteRepository { definition, index, .. } in &repositories {
                for name in index.names() {
                    let key = (definition.origin, name.to_owned());
                    let best = best.entry(key).or_insert(definition.priority);
                    *best = definition.priority.min(*best);
                }
            }
            for RemoteRepository { definition, index, .. } in &mut repositories {
                let is_hidden = |name: &&str| {
                    best.get(&(definition.origin, (*name).to_owned())) != Some(&definition.priority)
                };
                let hidden: Vec<u32> =
                    index.names().into_iter().filter(is_hidden).flat_map(|name| index.named(name)).collect();
                index.hide(hidden);
            }
        }
        let place = |RemoteRepository { definition, addresses, index }| Place {
            definition,
            addresses,
            index: Arc::new(index),
        };
        Self { repositories: repositories.into_iter().map(place).collect() }
    }

    /// Returns the repositories, for a solver.
    pub fn indexes(&self) -> Vec<Arc<RepositoryIndex>> {
        self.repositories.iter().map(|place| Arc::clone(&place.index)).collect()
    }

    /// Returns how many packages there are; one that several repositories have counts for each.
    pub fn len(&self) -> usize {
        self.repositories.iter().map(|place| place.index.len()).sum()
    }

    /// Returns whether there are no packages.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the packages, those of a repository together, without their files; [`IndexedPackage::path`] is
    /// relative to the package's repository.
    pub fn packages(&self) -> impl Iterator<Item = &IndexedPackage> {
        self.repositories.iter().flat_map(|place| {
            let index = &place.index;
            index.numbers().map(|number| index.package(number))
        })
    }

    /// Returns the packages of a name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &IndexedPackage> {
        self.repositories.iter().flat_map(move |place| {
            let index = &place.index;
            index.named(name).map(|number| index.package(number))
        })
    }

    /// Leaves out all packages but those that a test admits.
    pub fn retain(&mut self, admits: impl Fn(&IndexedPackage) -> bool) {
        for place in &mut self.repositories {
            let refused = |number: &u32| !admits(place.index.package(*number));
            let hidden: Vec<u32> = place.index.numbers().filter(refused).collect();
            // Nobody else holds the repositories of an offer that is still being put together.
            if let Some(index) = Arc::get_mut(&mut place.index) {
                index.hide(hidden);
            }
        }
    }

    /// Returns a table of paths that turned out to be damaged, so that an answer may lack an owner of a path.
    pub fn damaged(&self) -> Option<&Path> {
        self.repositories.iter().find_map(|place| place.index.damaged())
    }

    /// Returns what is to be fetched for a package of the offer, or `None` for any other.
    pub fn wanted(&self, package: &LockedPackage) -> Option<WantedPackage> {
        let mut places = Vec::new();
        for Place { definition, addresses, index } in &self.repositories {
            let found = index.named(&package.nevra.name).map(|number| index.package(number));
            for found in found.filter(|found| found.sha256 == package.sha256) {
                places.extend(PackagePlace::all(definition, addresses, &found.path.to_string_lossy()));
            }
        }
        (!places.is_empty()).then(|| WantedPackage {
            nevra: package.nevra.clone(),
            sha256: package.sha256.clone(),
            size: package.size,
            origin: package.origin,
            places,
        })
    }
}
