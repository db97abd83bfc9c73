//! Downloads over HTTP and HTTPS, with a synchronous face.
//!
//! What it is: [`Downloader`] owns an HTTP client and a small runtime. Its methods may be called from many
//! threads at once; each call waits for its own file, and a limit shared by all bounds how many transfers
//! run. A transfer goes on where an earlier one stopped, is repeated with growing delays after faults that
//! may pass, and ends with a hash.
//!
//! What it is not: it knows no store and no signature file, and trusts no byte: the caller compares hashes,
//! or gives the expected one.
//!
//! Not obvious:
//! * There is no limit on the total time of a transfer, only on connecting and on silence.
//! * Compressed transfer encodings are refused, since they break lengths and ranges.
//! * A host that could not be reached is not asked again for a minute: one dead mirror must not cost every
//!   file its timeouts.
//! * The proxy variables of the environment are honoured by the HTTP client unless switched off.

mod failure;
mod part;
mod tls;
mod transfer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, Url};
use rpm_model::ContentDigest;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

pub use failure::{DownloadError, DownloadSetupError, TransferFailure};

/// How long a host counts as unreachable after all attempts to connect failed.
const UNREACHABLE_FOR: Duration = Duration::from_secs(60);

/// A file to fetch.
#[derive(Clone, Copy, Debug)]
pub struct Download<'a> {
    /// An `http:` or `https:` URL.
    pub url: &'a str,
    /// The file that takes the bytes; what an earlier try left in it is continued. One writer at a time.
    pub part: &'a Path,
    /// The file that says what the bytes of `part` are.
    pub note: &'a Path,
    /// The hash that the file must have.
    pub expected: Option<&'a ContentDigest>,
    /// The largest acceptable length in bytes.
    pub limit: Option<u64>,
}

/// What happens during a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadEvent {
    /// A transfer begins.
    Started {
        /// The URL as the caller gave it.
        url: String,
        /// Bytes that are there from an earlier try.
        resumed_at: u64,
    },
    /// More bytes are there.
    Received {
        /// The URL as the caller gave it.
        url: String,
        /// Bytes that are there now.
        bytes: u64,
        /// The whole length, where the server said it.
        total: Option<u64>,
    },
    /// An attempt failed and will be repeated.
    Retrying {
        /// The URL as the caller gave it.
        url: String,
        /// What ended the attempt.
        failure: TransferFailure,
        /// The pause before the next one.
        delay: Duration,
    },
    /// The file is complete and has the right hash, where one was given.
    Finished {
        /// The URL as the caller gave it.
        url: String,
        /// Its length.
        bytes: u64,
    },
}

/// Called for every event, from the thread that waits for the file; must return quickly.
pub type DownloadProgress = Box<dyn Fn(&DownloadEvent) + Send + Sync>;

/// How often and how fast attempts are repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Repetitions after the first attempt.
    pub retries: usize,
    /// Attempts to reach a host that cannot be connected to.
    pub connection_attempts: u32,
    /// The first pause; each following one doubles, with jitter.
    pub first_delay: Duration,
    /// The longest pause, also when the server asks for more.
    pub largest_delay: Duration,
}

impl RetryPolicy {
    /// Returns the policy for real servers: six repetitions over about a minute.
    pub fn standard() -> Self {
        Self {
            retries: 6,
            connection_attempts: 2,
            first_delay: Duration::from_millis(500),
            largest_delay: Duration::from_secs(30),
        }
    }
}

/// How to reach servers.
#[derive(Clone, Debug)]
pub struct DownloadOptions {
    /// Transfers that may run at once.
    pub concurrency: usize,
    /// The longest time to wait for a connection.
    pub connect_timeout: Duration,
    /// The longest silence within a transfer.
    pub read_timeout: Duration,
    /// When to try again.
    pub retries: RetryPolicy,
    /// A PEM file with certificate authorities that are trusted beside the system's own.
    pub ca_certificate: Option<PathBuf>,
    /// PEM files with the client's certificate chain and its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Whether proxies named by the environment are used.
    pub use_proxy: bool,
}

impl DownloadOptions {
    /// Returns the options for real servers, with this many transfers at once.
    pub fn standard(concurrency: usize) -> Self {
        Self {
            concurrency: concurrency.max(1),
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(60),
            retries: RetryPolicy::standard(),
            ca_certificate: None,
            client_certificate: None,
            use_proxy: true,
        }
    }
}

/// Fetches files; see the module text.
pub struct Downloader {
    runtime: Runtime,
    client: Client,
    retries: RetryPolicy,
    permits: Semaphore,
    progress: DownloadProgress,
    unreachable: Mutex<BTreeMap<String, (Instant, TransferFailure)>>,
}

impl std::fmt::Debug for Downloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downloader").field("retries", &self.retries).finish_non_exhaustive()
    }
}

impl Downloader {
    /// Sets up a client and its threads; nothing is connected yet.
    ///
    /// # Errors
    /// When a certificate file is missing or wrong, or threads cannot be made.
    pub fn new(options: &DownloadOptions, progress: DownloadProgress) -> Result<Self, DownloadSetupError> {
        let client = tls::client(options)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("download")
            .enable_all()
            .build()
            .map_err(DownloadSetupError::Runtime)?;
        Ok(Self {
            runtime,
            client,
            retries: options.retries.clone(),
            permits: Semaphore::new(options.concurrency.max(1)),
            progress,
            unreachable: Mutex::new(BTreeMap::new()),
        })
    }

    /// Fetches a file into its part; returns its hash and its length in bytes.
    ///
    /// The part is complete and synced then; the caller moves it to its place. After an error it holds what
    /// came, for the next try, except when the hash was wrong: then it is gone.
    ///
    /// # Errors
    /// [`DownloadError::Transfer`] says what the other side did, [`DownloadError::Local`] what this one could
    /// not do.
    pub fn fetch(&self, download: &Download<'_>) -> Result<(ContentDigest, u64), DownloadError> {
        let failed = |failure| DownloadError::Transfer { url: download.url.to_owned(), failure };
        let url = parse_url(download.url).map_err(failed)?;
        let host =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
        self.runtime.block_on(async {
            // The semaphore is never closed.
            let _permit = self.permits.acquire().await.ok();
            if let Some(failure) = self.known_unreachable(&host) {
                return Err(failed(failure));
            }
            let (client, retries, progress) = (&self.client, &self.retries, &self.progress);
            let result = transfer::Transfer { client, retries, progress, download, url }.run().await;
            if let Err(DownloadError::Transfer { failure, .. }) = &result
                && failure.is_of_host()
            {
                locked(&self.unreachable).insert(host, (Instant::now(), failure.clone()));
            }
            result
        })
    }

    fn known_unreachable(&self, host: &str) -> Option<TransferFailure> {
        let mut unreachable = locked(&self.unreachable);
        match unreachable.get(host) {
            Some((since, failure)) if since.elapsed() < UNREACHABLE_FOR => Some(failure.clone()),
            Some(_) => {
                unreachable.remove(host);
                None
            }
            None => None,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn parse_url(text: &str) -> Result<Url, TransferFailure> {
    let url = Url::parse(text).map_err(|error| TransferFailure::InvalidUrl { reason: error.to_string() })?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(TransferFailure::InvalidUrl { reason: format!("the scheme is `{scheme}`") }),
    }
}

#[cfg(test)]
mod tests;
