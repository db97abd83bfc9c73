//! A repository behind a URL, for [`repository::read_repository`].

use std::path::{Path, PathBuf};

use repository::{Fetch, FetchError};
use sources::{Download, DownloadError, Downloader, TransferFailure};

use crate::address::below;

/// Fetches the files of one repository over HTTP or HTTPS.
#[derive(Debug)]
pub struct HttpFetch<'a> {
    downloader: &'a Downloader,
    base_url: String,
    scratch: PathBuf,
}

impl<'a> HttpFetch<'a> {
    /// Returns the repository at `base_url`, the address that holds `repodata/`; files pass through `scratch`,
    /// which must exist.
    pub fn new(downloader: &'a Downloader, base_url: &str, scratch: &Path) -> Self {
        Self { downloader, base_url: base_url.to_owned(), scratch: scratch.to_owned() }
    }
}

impl Fetch for HttpFetch<'_> {
    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let transport = |error: std::io::Error| FetchError::Transport(error.into());
        // A directory of its own, as the same file may be asked for twice at once.
        let scratch = tempfile::tempdir_in(&self.scratch).map_err(transport)?;
        let (part, note) = (scratch.path().join("part"), scratch.path().join("note"));
        let url = below(&self.base_url, name).map_err(|error| FetchError::Transport(error.into()))?;
        let download = Download { url: &url, part: &part, note: &note, expected: None, limit: Some(limit) };
        match self.downloader.fetch(&download) {
            Ok(_) => std::fs::read(&part).map_err(transport),
            Err(DownloadError::Transfer { failure: TransferFailure::NotFound { .. }, .. }) => {
                Err(FetchError::NotFound)
            }
            Err(DownloadError::Transfer { failure: TransferFailure::TooLarge { limit }, .. }) => {
                Err(FetchError::TooLarge { limit })
            }
            Err(error) => Err(FetchError::Transport(error.into())),
        }
    }

    fn location(&self) -> String {
        self.base_url.clone()
    }
}
