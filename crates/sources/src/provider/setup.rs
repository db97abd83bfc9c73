//! From plain settings to the list of places beyond this host, in the order in which they are asked.
//!
//! Source servers first, as given; then Debian's source packages, because an entry of the map is an explicit
//! statement about these very bytes and the host has a mirror of its own choice; then the spec's own URL,
//! which may be far, slow or gone. The order is never about trust: the hash decides.

use std::path::PathBuf;
use std::sync::Arc;

use super::{
    DebianSourceProvider, DebianSources, DebianSourcesError, SourceProvider, SourceServerProvider,
    UpstreamProvider,
};
use crate::download::{DownloadOptions, DownloadProgress, DownloadSetupError, Downloader, TransferFailure};

/// Where sources may be fetched from.
#[derive(Clone, Debug)]
pub struct RemotePlaces {
    /// Source servers (`<url>/<file>`), in order.
    pub servers: Vec<String>,
    /// Debian's source packages.
    pub debian: Option<DebianPlace>,
    /// Whether the specs' own URLs are asked.
    pub upstream: bool,
    /// How servers are reached.
    pub download: DownloadOptions,
}

/// Where Debian's source packages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebianPlace {
    /// The map, for example `configs/debian-sources.toml`.
    pub map: PathBuf,
    /// The configuration file of the private apt root.
    pub apt_config: PathBuf,
    /// A directory for what apt fetches; made when needed.
    pub scratch: PathBuf,
}

/// Why the places cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RemotePlacesError {
    /// A source server's address is wrong.
    #[error("the source server `{url}` cannot be used")]
    Server {
        /// The address.
        url: String,
        /// What is wrong with it.
        #[source]
        failure: TransferFailure,
    },
    /// The map to Debian's source packages is wrong.
    #[error(transparent)]
    Debian(#[from] DebianSourcesError),
    /// Certificates are wrong, or the host has no room for threads.
    #[error(transparent)]
    Download(#[from] DownloadSetupError),
}

impl RemotePlaces {
    /// Returns no place at all.
    pub fn none() -> Self {
        Self { servers: Vec::new(), debian: None, upstream: false, download: DownloadOptions::standard(1) }
    }

    /// Returns the providers in the order in which they are asked; nothing is connected yet.
    ///
    /// # Errors
    /// When an address, the map or a certificate file cannot be used.
    pub fn providers(
        &self,
        progress: DownloadProgress,
    ) -> Result<Vec<Box<dyn SourceProvider>>, RemotePlacesError> {
        let mut providers: Vec<Box<dyn SourceProvider>> = Vec::new();
        let downloader = Arc::new(Downloader::new(&self.download, progress)?);
        for url in &self.servers {
            let provider = SourceServerProvider::new(url, Arc::clone(&downloader))
                .map_err(|failure| RemotePlacesError::Server { url: url.clone(), failure })?;
            providers.push(Box::new(provider));
        }
        if let Some(debian) = &self.debian {
            let map = DebianSources::read(&debian.map)?;
            providers.push(Box::new(DebianSourceProvider::new(map, &debian.apt_config, &debian.scratch)));
        }
        if self.upstream {
            providers.push(Box::new(UpstreamProvider::new(downloader)));
        }
        Ok(providers)
    }
}
