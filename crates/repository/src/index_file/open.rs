//! A repository through its index file: the metadata is read only when `repomd.xml` is another.

use std::path::Path;

use rpm_model::{ContentDigest, ContentHasher, Nevra, PackageOrigin};

use super::RepositoryIndex;
use crate::error::{IoContext, RepositoryError};
use crate::repodata::{
    BadRepodata, Fetch, FetchError, REPOMD_LIMIT, REPOMD_NAME, ReadOptions, read_repository_with,
};

/// How a repository is opened.
#[derive(Clone, Copy)]
pub struct OpenOptions<'o> {
    /// How its metadata is read.
    pub read: ReadOptions,
    /// Which of its packages count.
    pub admits: &'o dyn Fn(&Nevra) -> bool,
    /// What `admits` goes by, so that an index file of other packages is not taken for this one.
    pub filter: &'o str,
}

impl OpenOptions<'_> {
    /// Returns the usual options: all packages with all files, which lie below the repository.
    pub fn new(origin: PackageOrigin) -> Self {
        Self { read: ReadOptions::new(origin), admits: &|_| true, filter: "" }
    }
}

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
    options: &OpenOptions<'_>,
    index_file: &Path,
) -> Result<OpenedRepository, RepositoryError> {
    let repomd = fetch.get(REPOMD_NAME, REPOMD_LIMIT).map_err(|source| RepositoryError::Fetch {
        location: fetch.location(),
        name: REPOMD_NAME.to_owned(),
        source,
    })?;
    let mut hasher = ContentHasher::new("repository-index", 1);
    hasher.field("repomd", ContentDigest::of_bytes(&repomd).as_str());
    hasher.field("read", &format!("{:?}", options.read)).field("filter", options.filter);
    let identity = hasher.finish();
    let origin = options.read.origin;
    if let Some(index) = RepositoryIndex::open(index_file, &identity, origin) {
        return Ok(OpenedRepository { index, metadata_read: false });
    }
    let mut packages = read_repository_with(&SameRepomd { fetch, repomd }, &options.read)?;
    packages.retain(|package| (options.admits)(&package.header.nevra));
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
