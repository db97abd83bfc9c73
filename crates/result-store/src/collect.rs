//! What a store in a directory takes of the disk, and keeping it within a budget.
//!
//! A result is the unit: the longest unused goes first, with the files that no other result names. When a result
//! was last used is the time of its document, which reading it renews; no build decision looks at it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rpm_model::ContentDigest;
use serde::Serialize;

use crate::directory::lock_directory;
use crate::document::StoredResult;
use crate::envelope::open;
use crate::place::AccessError;
use crate::stores::content_name;

/// What a store in a directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreStatistics {
    /// Results.
    pub results: usize,
    /// Files that they name, each content once.
    pub files: usize,
    /// Bytes of all files and documents.
    pub bytes: u64,
    /// Bytes of files that no result names: of killed processes.
    pub unnamed_bytes: u64,
    /// When the longest unused result was last used, in seconds since 1970 UTC.
    pub oldest_use: Option<u64>,
}

/// What a collection did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// What may stay.
    pub budget_bytes: u64,
    /// What was there.
    pub bytes_before: u64,
    /// What is left.
    pub bytes_after: u64,
    /// Results before.
    pub results_before: usize,
    /// The identities of those that were removed, sorted.
    pub removed: Vec<ContentDigest>,
    /// Whether nothing was removed really.
    pub dry_run: bool,
}

/// One result on disk.
struct Kept {
    identity: ContentDigest,
    path: PathBuf,
    size: u64,
    last_use: SystemTime,
    /// The contents that it names.
    names: BTreeSet<ContentDigest>,
}

/// Everything in a store.
struct Census {
    /// Sorted by use, the longest unused first.
    results: Vec<Kept>,
    /// Size of each file by content.
    files: BTreeMap<ContentDigest, u64>,
    /// Files that are nobody's: damaged documents, and objects that were never finished.
    strays: Vec<(PathBuf, u64)>,
}

/// Returns what a store holds; nothing where there is none.
///
/// # Errors
/// When it cannot be read.
pub fn statistics(root: &Path) -> Result<StoreStatistics, AccessError> {
    let census = Census::take(root)?;
    let named: BTreeSet<&ContentDigest> = census.results.iter().flat_map(|kept| &kept.names).collect();
    let unnamed = census.files.iter().filter(|(content, _)| !named.contains(content)).map(|(_, size)| size);
    let seconds =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    Ok(StoreStatistics {
        results: census.results.len(),
        files: census.files.keys().filter(|content| named.contains(content)).count(),
        bytes: census.bytes(),
        unnamed_bytes: unnamed.sum::<u64>() + census.strays.iter().map(|(_, size)| size).sum::<u64>(),
        oldest_use: census.results.first().map(|kept| seconds(kept.last_use)),
    })
}

/// Removes the longest unused results until a store takes no more than a budget. Whoever puts a result there
/// meanwhile waits.
///
/// # Errors
/// When it cannot be read, or a file not be removed.
pub fn collect(root: &Path, budget: u64, dry_run: bool) -> Result<Collected, AccessError> {
    if !root.is_dir() {
        let nothing = Collected {
            budget_bytes: budget,
            bytes_before: 0,
            bytes_after: 0,
            results_before: 0,
            removed: Vec::new(),
            dry_run,
        };
        return Ok(nothing);
    }
    let _held = lock_directory(root, true)?;
    let census = Census::take(root)?;
    let bytes_before = census.bytes();
    let mut uses: BTreeMap<&ContentDigest, usize> = BTreeMap::new();
    for content in census.results.iter().flat_map(|kept| &kept.names) {
        *uses.entry(content).or_default() += 1;
    }
    // What no document names, nobody can find.
    let unnamed = census.files.iter().filter(|(content, _)| !uses.contains_key(content));
    let mut gone: Vec<(PathBuf, u64)> =
        unnamed.map(|(content, size)| (root.join(content_name(content)), *size)).collect();
    gone.extend(census.strays.iter().cloned());
    let mut left = bytes_before - gone.iter().map(|(_, size)| size).sum::<u64>();
    let mut removed = Vec::new();
    for kept in &census.results {
        if left <= budget {
            break;
        }
        // The document before its files: a document without files would only be a miss, but a told one.
        gone.push((kept.path.clone(), kept.size));
        left -= kept.size;
        for content in &kept.names {
            let users = uses.entry(content).or_default();
            *users -= 1;
            if let (0, Some(size)) = (*users, census.files.get(content)) {
                gone.push((root.join(content_name(content)), *size));
                left -= size;
            }
        }
        removed.push(kept.identity.clone());
    }
    if !dry_run {
        for (path, _) in &gone {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(AccessError::local("remove", path, &error));
                }
                _ => {}
            }
        }
    }
    removed.sort();
    let results_before = census.results.len();
    Ok(Collected { budget_bytes: budget, bytes_before, bytes_after: left, results_before, removed, dry_run })
}

impl Census {
    fn take(root: &Path) -> Result<Self, AccessError> {
        let mut census = Self { results: Vec::new(), files: BTreeMap::new(), strays: Vec::new() };
        for (path, metadata) in files_of(&root.join("results"))? {
            let size = metadata.len();
            let identity = path.file_stem().and_then(|stem| stem.to_string_lossy().parse().ok());
            let document = identity.as_ref().and_then(|identity| {
                let opened = open(&fs::read(&path).ok()?, &[]).ok()?;
                StoredResult::read(&opened.payload, identity).ok()
            });
            let (Some(identity), Some(document)) = (identity, document) else {
                census.strays.push((path, size));
                continue;
            };
            let last_use = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let names = document.files().into_iter().map(|file| file.sha256).collect();
            census.results.push(Kept { identity, path, size, last_use, names });
        }
        for shard in directories_of(&root.join("sha256"))? {
            let start = shard.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for (path, metadata) in files_of(&shard)? {
                let rest = path.file_name().unwrap_or_default().to_string_lossy();
                match format!("{start}{rest}").parse() {
                    Ok(content) => drop(census.files.insert(content, metadata.len())),
                    Err(_) => census.strays.push((path.clone(), metadata.len())),
                }
            }
        }
        census.strays.extend(
            files_of(&root.join("temporary"))?.into_iter().map(|(path, metadata)| (path, metadata.len())),
        );
        census.results.sort_by(|a, b| (a.last_use, &a.identity).cmp(&(b.last_use, &b.identity)));
        Ok(census)
    }

    fn bytes(&self) -> u64 {
        let documents: u64 = self.results.iter().map(|kept| kept.size).sum();
        let strays: u64 = self.strays.iter().map(|(_, size)| size).sum();
        documents + strays + self.files.values().sum::<u64>()
    }
}

/// Returns the files in a directory, sorted; none where there is no directory.
fn files_of(directory: &Path) -> Result<Vec<(PathBuf, fs::Metadata)>, AccessError> {
    let mut files = Vec::new();
    for path in entries_of(directory)? {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => files.push((path, metadata)),
            _ => {}
        }
    }
    Ok(files)
}

fn directories_of(directory: &Path) -> Result<Vec<PathBuf>, AccessError> {
    Ok(entries_of(directory)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn entries_of(directory: &Path) -> Result<Vec<PathBuf>, AccessError> {
    let fail = |error: io::Error| AccessError::local("read", directory, &error);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fail)?,
    };
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>().map_err(fail)?;
    paths.sort();
    Ok(paths)
}
