//! A repository through its index file: the metadata is read only when `repomd.xml` is another.

use std::path::Path;

use rpm_model::{ContentDigest, PackageOrigin};

use super::RepositoryIndex;
use crate::error::{IoContext, RepositoryError};
use crate::repodata::{BadRepodata, Fetch, FetchError, REPOMD_LIMIT, REPOMD_NAME, read_repository};

/// A repository that was opened.
#[derive(Debug)]
pub struct OpenedRepository {
    /// Its packages.
    pub index: RepositoryIndex,
    /// Whether the metadata had to be read; otherwise the index file was right.
    pub metadata_read: bool,
}

/// Opens a repository: by its index file where that was made of this very `repomd.xml`, else by its metadata, of
/// which the index file is made anew.
///
/// # Errors
/// When `repomd.xml` or other metadata cannot be had or is unusable, or the index file cannot be written.
pub fn open_repository(
    fetch: &dyn Fetch,
    origin: PackageOrigin,
    index_file: &Path,
) -> Result<OpenedRepository, RepositoryError> {
    let repomd = fetch.get(REPOMD_NAME, REPOMD_LIMIT).map_err(|source| RepositoryError::Fetch {
        location: fetch.location(),
        name: REPOMD_NAME.to_owned(),
        source,
    })?;
    let identity = ContentDigest::of_bytes(&repomd);
    if let Some(index) = RepositoryIndex::open(index_file, &identity, origin) {
        return Ok(OpenedRepository { index, metadata_read: false });
    }
    let packages = read_repository(&SameRepomd { fetch, repomd }, origin)?;
    RepositoryIndex::write(index_file, &identity, &packages)?;
    let unreadable = || std::io::Error::other("it is not what was just written");
    let index = RepositoryIndex::open(index_file, &identity, origin).ok_or_else(unreadable);
    Ok(OpenedRepository { index: index.context("read", index_file)?, metadata_read: true })
}

/// A repository whose `repomd.xml` stays what it was when the index file was judged by it.
struct SameRepomd<'f> {
    fetch: &'f dyn Fetch,
    repomd: Vec<u8>,
}

impl Fetch for SameRepomd<'_> {
    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        if name == REPOMD_NAME { Ok(self.repomd.clone()) } else { self.fetch.get(name, limit) }
    }

    // What is known of a file is checked where it is fetched, so that another mirror can be asked.
    fn get_checked(
        &self,
        name: &str,
        limit: u64,
        check: &dyn Fn(&[u8]) -> Result<(), BadRepodata>,
    ) -> Result<Vec<u8>, FetchError> {
        self.fetch.get_checked(name, limit, check)
    }

    fn location(&self) -> String {
        self.fetch.location()
    }
}
