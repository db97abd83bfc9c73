//! What the cache keeps on disk: results by key, one file each, and all results of the last reading in one.
//!
//! | path | what |
//! | --- | --- |
//! | `recent-<identity>` | the results that were last read under these options, so that an unchanged tree takes one read |
//! | `results/ab/cdef…` | one result that came after it: sealed JSON |
//! | `headers/ab/cdef…` | the source package's header that belongs to a result (`headers.rs`) |
//!
//! Results that come many at a time have no files of their own: to make thousands costs the system more than to
//! parse as many specs.
//!
//! Everything is written under another name and renamed, so processes that use one directory at the same time
//! and processes that are killed leave whole files. What is damaged all the same is no result.
//!
//! What is dropped: of the results and of the headers whose keys begin with the same two digits the oldest
//! beyond [`PER_SHELF`]; from `recent-…` what was not asked for while it was replaced [`KEPT`] times; and of the
//! `recent-…` and `texts-…` files the oldest beyond [`OPTIONS`].

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use file_index::{Sealed, read_sealed, write_sealed};
use rpm_model::{ContentDigest, SpecData};
use serde::{Deserialize, Serialize};

use crate::failure::SpecFailure;

/// Raised when [`Entry`], [`SpecData`] or [`SpecFailure`] changes its form.
const RESULT: [u8; 8] = *b"result 2";
const RECENT: [u8; 8] = *b"recent 2";

/// Results, and headers, whose keys begin with the same two digits.
const PER_SHELF: usize = 256;

/// How many times `recent-…` is replaced before a result that nobody asks for leaves it.
const KEPT: u32 = 8;

/// How many sets of options are remembered in one file each.
const OPTIONS: usize = 8;

/// One result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) header: HeaderState,
    /// Without the path of the spec: equal specs in two places are one.
    pub(crate) outcome: Result<SpecData, SpecFailure>,
}

/// What came of the question for a source package's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HeaderState {
    /// Nobody asked.
    NotAsked,
    /// The engine gave it, so it is kept.
    Given,
    /// The engine was asked and has none; it is not asked for ever.
    NotGiven,
}

/// The directory of the cache.
pub(crate) struct Store {
    directory: PathBuf,
}

/// The results of the last reading under some options.
pub(crate) struct Recent {
    content: Option<Sealed>,
}

/// [`Recent`] opened up, by key.
pub(crate) type RecentEntries<'a> = HashMap<[u8; 32], RecentEntry<'a>>;

/// One result of the last reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecentEntry<'a> {
    key: [u8; 32],
    generation: u32,
    /// Whether the result is a good one, and then what of its header.
    pub(crate) good: Option<HeaderState>,
    /// An [`Entry`].
    pub(crate) json: &'a [u8],
}

#[derive(Default, Serialize, Deserialize)]
struct StoredRecent<'a> {
    generation: u32,
    #[serde(borrow)]
    entries: Vec<RecentEntry<'a>>,
}

impl Entry {
    /// Returns whether the result is a good one, and then what of its header.
    pub(crate) fn good(&self) -> Option<HeaderState> {
        self.outcome.is_ok().then_some(self.header)
    }

    /// Returns the entry as it is kept.
    pub(crate) fn to_json(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Returns the entry that was kept.
    pub(crate) fn from_json(json: &[u8]) -> io::Result<Self> {
        Ok(serde_json::from_slice(json)?)
    }
}

impl Store {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns where the header of a key is kept.
    pub(crate) fn header_path(&self, key: &ContentDigest) -> PathBuf {
        self.shelf("headers", key).join(&key.as_str()[2..])
    }

    fn shelf(&self, kind: &str, key: &ContentDigest) -> PathBuf {
        self.directory.join(kind).join(&key.as_str()[..2])
    }

    /// Returns the JSON of one result.
    pub(crate) fn result(&self, key: &ContentDigest) -> Option<Sealed> {
        read_sealed(&self.shelf("results", key).join(&key.as_str()[2..]), RESULT)
    }

    /// Returns whether a result has a file of its own.
    pub(crate) fn has_result(&self, key: &ContentDigest) -> bool {
        self.shelf("results", key).join(&key.as_str()[2..]).exists()
    }

    /// Keeps one result.
    pub(crate) fn keep_result(&self, key: &ContentDigest, json: &[u8]) -> io::Result<()> {
        write_sealed(&self.shelf("results", key).join(&key.as_str()[2..]), RESULT, json)
    }

    /// Returns the keys whose headers are kept.
    pub(crate) fn headers(&self) -> BTreeSet<String> {
        let names = |directory: &Path| {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let shelves = self.directory.join("headers");
        let of_shelf = |shelf: String| {
            let files = names(&shelves.join(&shelf));
            files.into_iter().map(move |file| format!("{shelf}{file}"))
        };
        names(&shelves).into_iter().flat_map(of_shelf).collect()
    }

    /// Drops the oldest results and headers of the shelves of some keys, and the oldest sets of options.
    pub(crate) fn drop_old<'k>(&self, keys: impl Iterator<Item = &'k ContentDigest> + Clone) {
        for kind in ["results", "headers"] {
            let shelves: BTreeSet<PathBuf> = keys.clone().map(|key| self.shelf(kind, key)).collect();
            shelves.iter().for_each(|shelf| drop_oldest(shelf, "", PER_SHELF));
        }
        drop_oldest(&self.directory, "recent-", OPTIONS);
        drop_oldest(&self.directory, "texts-", OPTIONS);
        // What a killed process left; the newest may be another's, being written.
        drop_oldest(&self.directory, ".new-", OPTIONS);
    }

    fn recent_path(&self, identity: &ContentDigest) -> PathBuf {
        self.directory.join(format!("recent-{}", &identity.as_str()[..16]))
    }

    /// Returns the results of the last reading under the options with this identity.
    pub(crate) fn recent(&self, identity: &ContentDigest) -> Recent {
        Recent { content: read_sealed(&self.recent_path(identity), RECENT) }
    }

    /// Replaces the results of the last reading; `entries` are those of this one, as key, [`Entry::good`] and JSON.
    pub(crate) fn keep_recent<'e>(
        &self,
        identity: &ContentDigest,
        before: &Recent,
        entries: impl Iterator<Item = ([u8; 32], Option<HeaderState>, &'e [u8])>,
    ) -> io::Result<()> {
        let StoredRecent { generation, entries: before } = before.stored();
        let generation = generation.wrapping_add(1);
        let kept = before.into_iter().filter(|entry| generation.wrapping_sub(entry.generation) < KEPT);
        let mut all: RecentEntries<'_> = kept.map(|entry| (entry.key, entry)).collect();
        all.extend(entries.map(|(key, good, json)| (key, RecentEntry { key, generation, good, json })));
        let mut entries: Vec<RecentEntry<'_>> = all.into_values().collect();
        entries.sort_unstable_by_key(|entry| entry.key);
        let content =
            postcard::to_allocvec(&StoredRecent { generation, entries }).map_err(io::Error::other)?;
        write_sealed(&self.recent_path(identity), RECENT, &content)
    }
}

impl Recent {
    /// Returns the results by key.
    pub(crate) fn entries(&self) -> RecentEntries<'_> {
        self.stored().entries.into_iter().map(|entry| (entry.key, entry)).collect()
    }

    fn stored(&self) -> StoredRecent<'_> {
        self.content.as_ref().and_then(|content| postcard::from_bytes(content).ok()).unwrap_or_default()
    }
}

/// Removes the oldest files of a directory whose names begin like this beyond a number.
///
/// Only what can be made again lies there, so nothing is lost when a file's time lies, when another process
/// removes the same file, or when a file cannot be removed.
fn drop_oldest(directory: &Path, prefix: &str, number: usize) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let paths: Vec<PathBuf> = ours.map(|entry| entry.path()).collect();
    if paths.len() <= number {
        return;
    }
    let age = |path: PathBuf| {
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
        (modified.unwrap_or(SystemTime::UNIX_EPOCH), path)
    };
    let mut paths: Vec<(SystemTime, PathBuf)> = paths.into_iter().map(age).collect();
    paths.sort_unstable();
    for (_, path) in &paths[..paths.len() - number] {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_files_are_dropped_from_full_shelves_only() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().to_owned());
        let key = |number: usize, shelf: &str| -> ContentDigest {
            format!("{shelf}{number:062x}").parse().unwrap()
        };
        for number in 0..PER_SHELF + 10 {
            store.keep_result(&key(number, "ab"), b"{}").unwrap();
            let path = store.shelf("results", &key(number, "ab")).join(&key(number, "ab").as_str()[2..]);
            let age = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            fs::File::options().write(true).open(path).unwrap().set_modified(age).unwrap();
        }
        store.keep_result(&key(0, "cd"), b"{}").unwrap();
        store.drop_old([key(0, "ab"), key(0, "cd"), key(0, "ef")].iter());
        let left: Vec<usize> =
            (0..PER_SHELF + 10).filter(|number| store.result(&key(*number, "ab")).is_some()).collect();
        assert_eq!(left, (10..PER_SHELF + 10).collect::<Vec<_>>());
        assert!(store.result(&key(0, "cd")).is_some());
    }

    #[test]
    fn recent_results_age() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().to_owned());
        let identity = ContentDigest::of_bytes(b"options");
        let one = |key: [u8; 32], json: &'static [u8]| std::iter::once((key, None, json));
        store.keep_recent(&identity, &store.recent(&identity), one([1; 32], b"one")).unwrap();
        for round in 1..KEPT {
            let recent = store.recent(&identity);
            assert_eq!(recent.entries()[&[1; 32]].json, b"one", "round {round}");
            store.keep_recent(&identity, &recent, one([2; 32], b"two")).unwrap();
        }
        store.keep_recent(&identity, &store.recent(&identity), one([3; 32], b"three")).unwrap();
        let recent = store.recent(&identity);
        let mut keys: Vec<u8> = recent.entries().keys().map(|key| key[0]).collect();
        keys.sort_unstable();
        assert_eq!(keys, [2, 3]);
        let other = store.recent(&ContentDigest::of_bytes(b"others"));
        assert!(other.entries().is_empty());
    }
}
