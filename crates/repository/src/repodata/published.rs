//! The memory of the last publication, so that one of the same packages reads and writes nothing.
//!
//! Beside the cache of rendered entries: of what packages the metadata was made, and what it is then. It is believed
//! where the index still has those bytes and the files that it names are there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use file_index::{read_sealed, write_sealed};
use rpm_model::{ContentDigest, ContentHasher};
use serde::{Deserialize, Serialize};

use crate::header::IndexedPackage;

/// Raised when metadata says something else about the same packages.
const KIND: [u8; 8] = *b"repodat1";

/// What the last publication was made of and came to.
#[derive(Serialize, Deserialize)]
pub(super) struct Published {
    pub(super) key: ContentDigest,
    /// Of `repomd.xml`.
    pub(super) index: ContentDigest,
    /// The other files, relative to the repository, with their sizes.
    pub(super) files: Vec<(String, u64)>,
}

/// Returns the identity of what metadata is made of; `places` are in the metadata's order.
pub(super) fn published_key(
    places: &[(String, &IndexedPackage)],
    revision: u64,
    compression: &str,
) -> ContentDigest {
    let mut hasher = ContentHasher::new("published-metadata", 1);
    hasher.field("revision", &revision.to_string()).field("compression", compression);
    hasher
        .list("packages", places.iter().flat_map(|(href, package)| [href.as_str(), package.sha256.as_str()]));
    hasher.finish()
}

impl Published {
    /// Returns where the memory is that belongs to a cache of rendered entries.
    pub(super) fn beside(cache: &Path) -> PathBuf {
        let mut name = cache.file_name().unwrap_or_default().to_owned();
        name.push("-published");
        cache.with_file_name(name)
    }

    /// Returns whether the metadata of a repository was made of these packages and is as it was made.
    pub(super) fn stands(memory: &Path, key: &ContentDigest, root: &Path) -> bool {
        let published = read_sealed(memory, KIND);
        let published = published.and_then(|content| serde_json::from_slice::<Self>(&content).ok());
        let Some(published) = published.filter(|published| published.key == *key) else { return false };
        let index = fs::read(root.join("repodata/repomd.xml")).unwrap_or_default();
        let there = |(location, size): &(String, u64)| {
            fs::metadata(root.join(location)).is_ok_and(|found| found.len() == *size)
        };
        ContentDigest::of_bytes(&index) == published.index && published.files.iter().all(there)
    }

    /// Writes the memory.
    pub(super) fn write(&self, memory: &Path) -> io::Result<()> {
        write_sealed(memory, KIND, &serde_json::to_vec(self)?)
    }
}
