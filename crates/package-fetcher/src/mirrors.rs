//! The places of one repository: addresses and directories, asked one after the other.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use repository::{BadRepodata, DirectoryFetch, Fetch, FetchError};
use rpm_model::ContentDigest;
use sources::{DownloadOptions, DownloadSetupError, Downloader, RetryPolicy};

use crate::definition::TlsFiles;
use crate::http::HttpFetch;

/// Repetitions of an attempt where another mirror can be asked instead.
const RETRIES_WITH_ALTERNATIVES: usize = 1;

/// The index of a repository.
pub(crate) const INDEX: &str = "repodata/repomd.xml";

/// Makes downloaders: one for each set of certificates.
pub struct Downloads {
    options: DownloadOptions,
    made: Mutex<BTreeMap<(TlsFiles, bool), Arc<Downloader>>>,
}

impl Downloads {
    /// Returns downloads under these options; certificates of repositories take the place of theirs.
    pub fn new(options: DownloadOptions) -> Self {
        Self { options, made: Mutex::new(BTreeMap::new()) }
    }

    /// Returns how many transfers run at once.
    pub fn concurrency(&self) -> usize {
        self.options.concurrency
    }

    /// Returns the downloader for a repository; with alternatives a failing server is given up sooner.
    ///
    /// # Errors
    /// When a certificate cannot be used.
    pub(crate) fn downloader(
        &self,
        tls: &TlsFiles,
        alternatives: bool,
    ) -> Result<Arc<Downloader>, DownloadSetupError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(downloader) = made.get(&(tls.clone(), alternatives)) {
            return Ok(Arc::clone(downloader));
        }
        let mut options = self.options.clone();
        if tls.ca_certificate.is_some() {
            options.ca_certificate.clone_from(&tls.ca_certificate);
        }
        if tls.client_certificate.is_some() {
            options.client_certificate.clone_from(&tls.client_certificate);
        }
        if alternatives {
            let retries = options.retries.retries.min(RETRIES_WITH_ALTERNATIVES);
            options.retries = RetryPolicy { retries, connection_attempts: 1, ..options.retries };
        }
        let downloader = Arc::new(Downloader::new(&options, Box::new(|_| {}))?);
        made.insert((tls.clone(), alternatives), Arc::clone(&downloader));
        Ok(downloader)
    }
}

/// Several places that hold the same repository.
///
/// The place that answered last is asked first; a place that fails, or whose bytes do not pass a check, is
/// followed by the next.
pub struct MirrorFetch<'a> {
    places: Vec<Box<dyn Fetch + 'a>>,
    preferred: AtomicUsize,
    /// What `repomd.xml` must be, where a list of mirrors says it.
    index: Option<ContentDigest>,
}

/// Every place was asked in vain.
#[derive(Debug, thiserror::Error)]
pub struct NoMirror {
    /// Each place and its answer, in the order in which they were asked.
    pub answers: Vec<(String, FetchError)>,
}

impl fmt::Display for NoMirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no mirror has it")?;
        self.answers.iter().try_for_each(|(place, error)| write!(f, "; {place}: {error}"))
    }
}

impl<'a> MirrorFetch<'a> {
    /// Returns the repository at these addresses or directories; files pass through `scratch`, which must
    /// exist. `index` is the SHA-256 that `repomd.xml` must have.
    pub fn new(
        addresses: &[String],
        downloader: &'a Downloader,
        scratch: &Path,
        index: Option<ContentDigest>,
    ) -> Self {
        let place = |address: &String| -> Box<dyn Fetch + 'a> {
            match DirectoryFetch::at(address) {
                Some(directory) => Box::new(directory),
                None => Box::new(HttpFetch::new(downloader, address, scratch)),
            }
        };
        Self { places: addresses.iter().map(place).collect(), preferred: AtomicUsize::new(0), index }
    }
}

impl Fetch for MirrorFetch<'_> {
    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        match &self.index {
            Some(expected) if name == INDEX => {
                self.get_checked(name, limit, &|bytes| match ContentDigest::of_bytes(bytes) {
                    found if found == *expected => Ok(()),
                    found => Err(BadRepodata::Checksum {
                        kind: "metalink's",
                        expected: expected.to_string(),
                        found: found.to_string(),
                    }),
                })
            }
            _ => self.get_checked(name, limit, &|_| Ok(())),
        }
    }

    fn get_checked(
        &self,
        name: &str,
        limit: u64,
        check: &dyn Fn(&[u8]) -> Result<(), BadRepodata>,
    ) -> Result<Vec<u8>, FetchError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut answers = Vec::new();
        for number in (0..self.places.len()).map(|step| (first + step) % self.places.len()) {
            let place = &self.places[number];
            match place.get_checked(name, limit, check) {
                Ok(bytes) => {
                    self.preferred.store(number, Ordering::Relaxed);
                    return Ok(bytes);
                }
                // The only place's own words are the clearest.
                Err(error) if self.places.len() == 1 => return Err(error),
                Err(error) => answers.push((place.location(), error)),
            }
        }
        Err(FetchError::Transport(Box::new(NoMirror { answers })))
    }

    fn location(&self) -> String {
        let number = self.preferred.load(Ordering::Relaxed);
        self.places.get(number).map(|place| place.location()).unwrap_or_default()
    }
}
