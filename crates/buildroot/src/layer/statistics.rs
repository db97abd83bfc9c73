//! What is in a store, how much of the disk it takes, and when it was last used.
//!
//! Sizes are those of the disk, as `du` counts them, directories and small files of the store itself
//! included. Layers made of others are hard links to their files; such bytes count once in a sum.
//!
//! A layer was last used when it was made, when it was last asked for by itself, or when a root that
//! holds it was last asked for, whichever is latest. It is kept as the time of two small files: the
//! layer's description, and what is remembered of the set. It decides nothing but what a collection
//! removes first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::LayerStore;
use super::lease::read_leases;
use super::record::LayerKey;
use crate::error::{LayerError, PathContext};

/// Bytes of one of the units in which file systems count.
const BLOCK_BYTES: u64 = 512;

/// What a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StoreStatistics {
    /// Layers by kind: `rpm` for unpacked packages, `merged`, `relocated`, `directories`,
    /// `transaction`, `rpmdb`.
    pub kinds: BTreeMap<String, KindStatistics>,
    /// Number of layers.
    pub layers: usize,
    /// Bytes of the disk that all layers take together.
    pub bytes: u64,
    /// Layers that somebody is using now.
    pub leased: usize,
    /// Leases of running roots and of others who use layers.
    pub leases: usize,
    /// Sets of packages whose root is remembered.
    pub sets: usize,
    /// Bytes that they take.
    pub set_bytes: u64,
    /// Bytes of what is not finished, of living and of killed processes.
    pub unfinished_bytes: u64,
}

/// What a store holds of one kind of layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KindStatistics {
    /// Number of layers.
    pub layers: usize,
    /// Bytes of the disk that they take, what several of them share counted once.
    pub bytes: u64,
    /// Of these, bytes of files that another kind has too.
    pub shared_bytes: u64,
    /// Layers that somebody is using now.
    pub leased: usize,
    /// When the one was used that was not used for longest, in seconds since 1970.
    pub oldest_use: Option<u64>,
}

/// One layer as it is on the disk.
#[derive(Debug)]
pub(super) struct LayerFacts {
    pub(super) key: LayerKey,
    pub(super) last_use: SystemTime,
    /// Bytes of what has one name only, directories included.
    pub(super) own_bytes: u64,
    /// Files with several names, here or in other layers.
    pub(super) linked: Vec<u64>,
}

/// Everything that is in a store at one moment.
#[derive(Debug)]
pub(super) struct Census {
    pub(super) layers: Vec<LayerFacts>,
    /// Bytes of each file with several names.
    pub(super) linked_bytes: HashMap<u64, u64>,
    /// What is remembered, with the layers that it names.
    pub(super) sets: Vec<SetFacts>,
    set_bytes: u64,
}

/// What is remembered of a set of packages.
#[derive(Debug)]
pub(super) struct SetFacts {
    pub(super) path: PathBuf,
    pub(super) layers: Vec<LayerKey>,
}

/// The part of what is remembered that all its forms have.
#[derive(Deserialize)]
struct RememberedLayers {
    layers: Vec<LayerKey>,
}

impl LayerStore {
    /// Looks through the whole store; changes nothing but that leases of dead processes go.
    pub fn statistics(&self) -> Result<StoreStatistics, LayerError> {
        let census = Census::take(self.base())?;
        let leased = read_leases(self.base())?;
        let mut statistics = StoreStatistics {
            layers: census.layers.len(),
            leases: leased.leases,
            sets: census.sets.len(),
            set_bytes: census.set_bytes,
            unfinished_bytes: disk_use(&self.base().join("temp"))?,
            ..StoreStatistics::default()
        };
        let mut owners: HashMap<u64, BTreeSet<&str>> = HashMap::new();
        for layer in &census.layers {
            let kind = statistics.kinds.entry(layer.key.kind().to_owned()).or_default();
            kind.layers += 1;
            kind.bytes += layer.own_bytes;
            kind.leased += usize::from(leased.keys.contains(&layer.key));
            let seconds = seconds(layer.last_use);
            kind.oldest_use = Some(kind.oldest_use.map_or(seconds, |oldest| oldest.min(seconds)));
            statistics.bytes += layer.own_bytes;
            for inode in &layer.linked {
                owners.entry(*inode).or_default().insert(layer.key.kind());
            }
        }
        for (inode, kinds) in owners {
            let bytes = census.linked_bytes.get(&inode).copied().unwrap_or(0);
            statistics.bytes += bytes;
            for name in &kinds {
                if let Some(kind) = statistics.kinds.get_mut(*name) {
                    kind.bytes += bytes;
                    kind.shared_bytes += if kinds.len() > 1 { bytes } else { 0 };
                }
            }
        }
        statistics.leased = statistics.kinds.values().map(|kind| kind.leased).sum();
        Ok(statistics)
    }
}

impl Census {
    /// Returns a census of layers that are nowhere.
    #[cfg(test)]
    pub(super) fn of(layers: Vec<LayerFacts>, linked_bytes: HashMap<u64, u64>) -> Self {
        Self { layers, linked_bytes, sets: Vec::new(), set_bytes: 0 }
    }

    /// Looks through a store. What vanishes meanwhile is not counted.
    pub(super) fn take(base: &Path) -> Result<Self, LayerError> {
        let Sets { sets, bytes: set_bytes, uses: set_uses } = read_sets(&base.join("sets"))?;
        let directory = base.join("layers");
        let keys: Vec<LayerKey> = list(&directory)?
            .iter()
            .filter_map(|path| path.file_name()?.to_str()?.parse::<LayerKey>().ok())
            .collect();
        let looked: Vec<(LayerFacts, HashMap<u64, u64>)> = keys
            .into_par_iter()
            .map(|key| {
                let set_use = set_uses.get(&key).copied();
                look_at(&directory.join(key.as_str()), key, set_use)
            })
            .collect::<Result<_, _>>()?;
        let mut census = Self { layers: Vec::new(), linked_bytes: HashMap::new(), sets, set_bytes };
        for (layer, linked_bytes) in looked {
            census.layers.push(layer);
            census.linked_bytes.extend(linked_bytes);
        }
        census.layers.sort_by(|a, b| (a.last_use, &a.key).cmp(&(b.last_use, &b.key)));
        Ok(census)
    }
}

/// All that is remembered of sets.
#[derive(Default)]
struct Sets {
    sets: Vec<SetFacts>,
    bytes: u64,
    /// When each layer's last root was asked for.
    uses: HashMap<LayerKey, SystemTime>,
}

/// Reads what is remembered.
fn read_sets(directory: &Path) -> Result<Sets, LayerError> {
    let mut found = Sets::default();
    for path in list(directory)? {
        let Some(attributes) = there(path.symlink_metadata()).context("examine", &path)? else { continue };
        found.bytes += attributes.blocks() * BLOCK_BYTES;
        let Some(text) = there(fs::read(&path)).context("read", &path)? else { continue };
        // What cannot be read is of another version, and is as good as not there.
        let layers =
            serde_json::from_slice(&text).map_or_else(|_| Vec::new(), |set: RememberedLayers| set.layers);
        let used = attributes.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        for key in &layers {
            let latest = found.uses.entry(key.clone()).or_insert(used);
            *latest = (*latest).max(used);
        }
        found.sets.push(SetFacts { path, layers });
    }
    Ok(found)
}

fn look_at(
    directory: &Path,
    key: LayerKey,
    set_use: Option<SystemTime>,
) -> Result<(LayerFacts, HashMap<u64, u64>), LayerError> {
    let described = directory.join("layer.json").symlink_metadata().and_then(|facts| facts.modified());
    let last_use = described.unwrap_or(SystemTime::UNIX_EPOCH).max(set_use.unwrap_or(SystemTime::UNIX_EPOCH));
    let (mut own_bytes, mut linked) = (0, HashMap::new());
    walk(directory, &mut |attributes| {
        let bytes = attributes.blocks() * BLOCK_BYTES;
        if attributes.is_dir() || attributes.nlink() == 1 {
            own_bytes += bytes;
        } else {
            linked.insert(attributes.ino(), bytes);
        }
    })?;
    let names = linked.keys().copied().collect();
    Ok((LayerFacts { key, last_use, own_bytes, linked: names }, linked))
}

/// Returns the bytes that a tree takes.
fn disk_use(directory: &Path) -> Result<u64, LayerError> {
    let (mut bytes, mut seen) = (0, BTreeSet::new());
    walk(directory, &mut |attributes| {
        if attributes.is_dir() || attributes.nlink() == 1 || seen.insert(attributes.ino()) {
            bytes += attributes.blocks() * BLOCK_BYTES;
        }
    })?;
    Ok(bytes)
}

/// Calls `look` with everything in a tree, its root included; what vanishes meanwhile, or belongs to
/// another user, is passed over.
fn walk(directory: &Path, look: &mut impl FnMut(&Metadata)) -> Result<(), LayerError> {
    let mut to_do = vec![directory.to_path_buf()];
    while let Some(path) = to_do.pop() {
        let Some(attributes) = there(path.symlink_metadata()).context("examine", &path)? else { continue };
        look(&attributes);
        if attributes.is_dir() {
            to_do.extend(list(&path)?);
        }
    }
    Ok(())
}

/// Returns what is in a directory; nothing when it is not there.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, LayerError> {
    let Some(entries) = there(fs::read_dir(directory)).context("list", directory)? else {
        return Ok(Vec::new());
    };
    entries.map(|entry| Ok(entry.context("list", directory)?.path())).collect()
}

/// Takes what has vanished, and what another user shows nobody, for nothing.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns a time in seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
