//! Places on the network: source servers and the specs' own URLs.

use std::sync::Arc;

use reqwest::Url;
use rpm_model::ContentDigest;

use super::{Answer, Asked, FetchFailure, FileRequest, FoundFile, Place, SourceProvider};
use crate::download::{Download, DownloadError, Downloader, TransferFailure};
use crate::store::SourceStore;

/// A server that has source files by base name: `<base>/<file>`.
#[derive(Debug)]
pub struct SourceServerProvider {
    base: Url,
    downloader: Arc<Downloader>,
}

impl SourceServerProvider {
    /// Returns the provider for a server.
    ///
    /// # Errors
    /// When the base is no `http:` or `https:` URL.
    pub fn new(base: &str, downloader: Arc<Downloader>) -> Result<Self, TransferFailure> {
        let base = crate::download::parse_url(base)?;
        Ok(Self { base, downloader })
    }

    fn url_of(&self, file: &str) -> String {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(file);
        }
        url.into()
    }
}

impl SourceProvider for SourceServerProvider {
    fn ask(&self, request: &FileRequest<'_>, store: &SourceStore) -> Vec<Asked> {
        let url = self.url_of(request.file);
        let answer = fetch(&self.downloader, store, &url, request.required());
        vec![Asked { place: Place::SourceServer { url }, answer }]
    }
}

/// The URL that the spec gives for the file.
#[derive(Debug)]
pub struct UpstreamProvider {
    downloader: Arc<Downloader>,
}

impl UpstreamProvider {
    /// Returns the provider.
    pub fn new(downloader: Arc<Downloader>) -> Self {
        Self { downloader }
    }
}

impl SourceProvider for UpstreamProvider {
    fn ask(&self, request: &FileRequest<'_>, store: &SourceStore) -> Vec<Asked> {
        let Some(url) = request.url else { return Vec::new() };
        let answer = fetch(&self.downloader, store, url, request.required());
        vec![Asked { place: Place::Upstream { url: url.to_owned() }, answer }]
    }
}

/// Downloads a URL into the store; processes that want the same file wait for one another.
fn fetch(
    downloader: &Downloader,
    store: &SourceStore,
    url: &str,
    required: Option<&ContentDigest>,
) -> Answer {
    let local = |error: &dyn std::error::Error| Answer::Failed { reason: FetchFailure::local(error) };
    let by_url = ContentDigest::of_bytes(url.as_bytes());
    let partial = match store.partial(required.unwrap_or(&by_url)) {
        Ok(partial) => partial,
        Err(error) => return local(&error),
    };
    if let Some((path, sha256)) = required.and_then(|required| Some((store.find(required)?, required))) {
        // Another process or spec fetched it while this one waited.
        return Answer::Found(FoundFile { path, sha256: sha256.clone() });
    }
    let download =
        Download { url, part: partial.part(), note: partial.note(), expected: required, limit: None };
    match downloader.fetch(&download) {
        Ok((sha256, _)) => match partial.publish(store, &sha256) {
            Ok(path) => Answer::Found(FoundFile { path, sha256 }),
            Err(error) => local(&error),
        },
        Err(DownloadError::Transfer { failure: TransferFailure::NotFound { .. }, .. }) => Answer::NotFound,
        Err(DownloadError::Transfer { failure: TransferFailure::WrongHash { got }, .. }) => {
            Answer::WrongHash { got }
        }
        Err(DownloadError::Transfer { failure, .. }) => {
            Answer::Failed { reason: FetchFailure::Transfer { failure } }
        }
        Err(error @ DownloadError::Local { .. }) => local(&error),
    }
}
