//! What the header of one package lists: its files, each with what can differ between two builds.
//!
//! Source and binary packages alike. It is read only where people or documents ask for it; what decides
//! anything is in [`crate::header`].

use std::path::Path;

use rpm::{FileEntry, PackageMetadata};
use serde::Serialize;

use crate::error::RepositoryError;
use crate::header::{PackageFacts, facts_of, read_metadata};

/// The files of a package, and its descriptive values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageContents {
    /// Descriptive values of the header.
    pub facts: PackageFacts,
    /// The files, sorted by path. Those of a source package have no directory.
    pub files: Vec<PackagedFile>,
}

/// One file as a header lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PackagedFile {
    /// Its path, or its name in a source package.
    pub path: String,
    /// Type and permissions, as `st_mode` has them.
    pub mode: u16,
    /// Owner and group, `user:group`.
    pub owner: String,
    /// Size in bytes.
    pub size: u64,
    /// Seconds since 1970 UTC.
    pub modified_at: u32,
    /// Where a symbolic link leads; else empty.
    pub link: String,
    /// Digest of the content in hexadecimal digits; empty for what has no content.
    pub digest: String,
}

impl PackagedFile {
    /// Whether rpm would install both at one path: two directories, or twice the same.
    pub fn installs_like(&self, other: &Self) -> bool {
        const KIND: u16 = 0o170_000;
        const DIRECTORY: u16 = 0o040_000;
        let is_directory = |file: &Self| file.mode & KIND == DIRECTORY;
        (is_directory(self) && is_directory(other))
            || (self.mode, &self.digest, &self.link) == (other.mode, &other.digest, &other.link)
    }
}

/// Reads what a package's header lists.
///
/// # Errors
/// As [`crate::read_header`].
pub fn read_contents(path: &Path) -> Result<PackageContents, RepositoryError> {
    contents_of(&read_metadata(path)?, path)
}

pub(crate) fn contents_of(
    metadata: &PackageMetadata,
    path: &Path,
) -> Result<PackageContents, RepositoryError> {
    let is_source = metadata.is_source_package();
    let entries = crate::header::guarded_entries(metadata, path)?;
    let mut files: Vec<PackagedFile> = entries.iter().map(|entry| file(entry, is_source)).collect();
    files.sort();
    Ok(PackageContents { facts: facts_of(metadata), files })
}

fn file(entry: &FileEntry<'_>, is_source: bool) -> PackagedFile {
    let name = entry.basename();
    PackagedFile {
        path: if is_source { name.to_owned() } else { format!("{}{name}", entry.dirname()) },
        mode: entry.mode().raw_mode(),
        owner: format!("{}:{}", entry.user(), entry.group()),
        size: entry.size() as u64,
        modified_at: entry.modified_at().into(),
        link: entry.linkto().unwrap_or_default().to_owned(),
        digest: entry.digest().map(|digest| digest.as_hex().to_owned()).unwrap_or_default(),
    }
}
