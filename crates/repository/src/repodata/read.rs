//! Reads a repository's packages from its metadata.
//!
//! Each file is fetched whole, within the size that `repomd.xml` announces, and its checksum is verified
//! before a byte of it is parsed. Then it is decompressed straight into the parser: the plain document is
//! never in memory, its size is limited by what was really fetched and not by what is announced, and its own
//! checksum is computed on the way.

use std::collections::HashMap;

use rpm_model::{ContentDigest, PackageOrigin};

use super::BadRepodata;
use super::compress::plain;
use super::fetch::{Fetch, FetchError};
use super::filelists::FileCollector;
use super::location::LocationPolicy;
use super::primary::PackageCollector;
use super::repomd::{self, Record};
use super::stream::{Expected, Visitor, visit};
use crate::error::RepositoryError;
use crate::header::IndexedPackage;

/// The largest metadata file that is fetched; the file lists of the largest distributions have 100 MiB.
const MAXIMUM_PACKED_BYTES: u64 = 1 << 30;
/// How often larger a document may be than its compressed file. Real ones are 8 to 30 times larger, since
/// every package has a checksum of its own, which does not compress.
const MAXIMUM_RATIO: u64 = 250;
/// A document of this size is read whatever its ratio.
const SMALL_DOCUMENT_BYTES: u64 = 16 << 20;

/// How a repository is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Where its packages count as coming from.
    pub origin: PackageOrigin,
    /// Where its packages may be.
    pub locations: LocationPolicy,
    /// Which files of packages are known afterwards.
    pub files: FileKnowledge,
}

impl ReadOptions {
    /// Returns the usual options: all files, packages below the repository.
    pub fn new(origin: PackageOrigin) -> Self {
        Self { origin, locations: LocationPolicy::BelowRepository, files: FileKnowledge::All }
    }
}

/// Which files of packages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKnowledge {
    /// All, from `filelists`; where a repository has none, those of [`FileKnowledge::Primary`].
    All,
    /// Those that `primary` itself names: programs, configuration, and a few more. By far the smaller part,
    /// and enough for nearly every requirement on a path.
    Primary,
}

/// Reads all binary packages of a repository with all their files; see [`read_repository_with`].
///
/// # Errors
/// When a file cannot be had, is not what `repomd.xml` says, or does not make sense.
pub fn read_repository(
    fetch: &dyn Fetch,
    origin: PackageOrigin,
) -> Result<Vec<IndexedPackage>, RepositoryError> {
    read_repository_with(fetch, &ReadOptions::new(origin))
}

/// Reads all binary packages of a repository, sorted by NEVRA.
///
/// [`IndexedPackage::path`] is the package's location relative to the repository, or a URL where
/// [`LocationPolicy::OtherAddresses`] allows one. A file that is listed twice counts once; two different
/// files may have the same NEVRA.
///
/// # Errors
/// As [`read_repository`].
pub fn read_repository_with(
    fetch: &dyn Fetch,
    options: &ReadOptions,
) -> Result<Vec<IndexedPackage>, RepositoryError> {
    let reader = Reader { fetch };
    let records = reader.get("repodata/repomd.xml", repomd::MAXIMUM_BYTES, &|_| Ok(()))?;
    let records = repomd::parse(&records).map_err(|reason| reader.bad("repodata/repomd.xml", reason))?;
    let (primary, lists) =
        rayon::join(|| reader.primary(&records, options), || reader.file_lists(&records, options));
    let (mut packages, mut lists) = (primary?, lists?);
    for package in &mut packages {
        if let Some(list) = lists.remove(&package.sha256) {
            package.header.files = list;
        }
    }
    Ok(packages)
}

struct Reader<'f> {
    fetch: &'f dyn Fetch,
}

impl Reader<'_> {
    fn primary(
        &self,
        records: &[Record],
        options: &ReadOptions,
    ) -> Result<Vec<IndexedPackage>, RepositoryError> {
        let record = records
            .iter()
            .find(|record| record.kind == "primary")
            .ok_or_else(|| self.bad("repodata/repomd.xml", BadRepodata::MissingRecord { kind: "primary" }))?;
        let mut packages = PackageCollector::new(options.origin, options.locations);
        self.document(record, "metadata", &mut packages)?;
        packages.finish().map_err(|reason| self.bad(&record.location, reason))
    }

    fn file_lists(
        &self,
        records: &[Record],
        options: &ReadOptions,
    ) -> Result<HashMap<ContentDigest, Vec<String>>, RepositoryError> {
        let record = records.iter().find(|record| record.kind == "filelists");
        let Some(record) = record.filter(|_| options.files == FileKnowledge::All) else {
            return Ok(HashMap::new());
        };
        let mut lists = FileCollector::default();
        self.document(record, "filelists", &mut lists)?;
        lists.finish().map_err(|reason| self.bad(&record.location, reason))
    }

    /// Fetches and verifies one of the files that `repomd.xml` names, and passes it to a visitor.
    fn document(
        &self,
        record: &Record,
        root: &'static str,
        visitor: &mut impl Visitor,
    ) -> Result<(), RepositoryError> {
        let name = &record.location;
        let limit = record.size.unwrap_or(MAXIMUM_PACKED_BYTES).min(MAXIMUM_PACKED_BYTES);
        let packed = self.get(name, limit, &|bytes| record.checksum.verify("compressed", bytes))?;
        let largest = SMALL_DOCUMENT_BYTES.max(MAXIMUM_RATIO.saturating_mul(packed.len() as u64));
        let limit = record.open_size.unwrap_or(largest).min(largest);
        let expected = Expected { limit, checksum: record.open_checksum.as_ref(), root };
        plain(name, &packed)
            .and_then(|plain| visit(plain, expected, visitor))
            .map_err(|reason| self.bad(name, reason))
    }

    fn get(
        &self,
        name: &str,
        limit: u64,
        check: &dyn Fn(&[u8]) -> Result<(), BadRepodata>,
    ) -> Result<Vec<u8>, RepositoryError> {
        self.fetch.get_checked(name, limit, check).map_err(|error| match error {
            FetchError::Bad(reason) => self.bad(name, *reason),
            source => {
                RepositoryError::Fetch { location: self.fetch.location(), name: name.to_owned(), source }
            }
        })
    }

    fn bad(&self, name: &str, reason: BadRepodata) -> RepositoryError {
        RepositoryError::Repodata { location: format!("{}/{name}", self.fetch.location()), reason }
    }
}
