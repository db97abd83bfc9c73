//! Removes layers until the store fits its budget: what stays is what was used last, as far as it fits.
//!
//! Layers share files, above all a merged layer with those that it was merged of, and a file's bytes are free only
//! when the last of its layers goes. So it is not asked what goes until enough is free, which might be everything,
//! but what stays: each layer, those first that were used last, if what it needs beside those that stay already
//! still fits. One that needs next to nothing, because another has its files, stays.
//!
//! In three steps. First the store is looked through while everybody goes on working. Then the gate is
//! closed (see [`super::lease`]): the leases are read, layers are chosen, what is remembered of their
//! sets is forgotten, and they are moved away by one `rename` each; nobody sees half a layer. Last they
//! are removed from where they were moved to, which is the place of unfinished things: when the
//! collection is killed, whoever opens the store next removes the rest.
//!
//! A layer that somebody uses stays, whatever the budget says. Two collections take turns.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io;

use serde::Serialize;

use super::LayerStore;
use super::lease::{Leased, close_gate, read_leases};
use super::record::LayerKey;
use super::statistics::{Census, seconds};
use super::store::remove_stale;
use crate::error::{LayerError, PathContext};
use crate::remove::remove_tree;

/// What a collection did, or would have done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// The most bytes that the store was to take.
    pub budget_bytes: u64,
    /// Layers that were there before.
    pub layers_before: usize,
    /// Bytes of the disk that all layers took before.
    pub bytes_before: u64,
    /// Bytes that they take now; more than the budget only when what is in use takes more.
    pub bytes_after: u64,
    /// The layers that went, in that order.
    pub removed: Vec<CollectedLayer>,
    /// Sets of packages that were forgotten because one of their layers went.
    pub forgotten_sets: usize,
    /// Layers that were kept because somebody uses them.
    pub leased: usize,
    /// Nothing was removed; it only says what would be.
    pub dry_run: bool,
}

/// A layer that a collection removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CollectedLayer {
    /// Its key.
    pub key: LayerKey,
    /// Bytes that become free with it: not those of files that a layer which stays has, too.
    pub freed_bytes: u64,
    /// When it was last used, in seconds since 1970.
    pub last_use: u64,
}

impl LayerStore {
    /// Removes layers until all of them together take at most `budget_bytes` of the disk.
    ///
    /// With `dry_run` it says what it would remove and removes nothing.
    pub fn collect(&self, budget_bytes: u64, dry_run: bool) -> Result<Collected, LayerError> {
        let base = self.base();
        let turn_path = base.join("collection");
        let turn = File::options().create(true).truncate(false).write(true).open(&turn_path);
        let turn = turn.context("open", &turn_path)?;
        turn.lock().context("lock", &turn_path)?;
        if dry_run {
            let census = Census::take(base)?;
            return Ok(choose(&census, &read_leases(base)?, budget_bytes, true).0);
        }
        remove_stale(&base.join("temp"))?;
        let census = Census::take(base)?;
        let away = self.temporary_directory()?;
        let gate = close_gate(base)?;
        let (collected, chosen) = choose(&census, &read_leases(base)?, budget_bytes, false);
        for set in census.sets.iter().filter(|set| names(&set.layers, &chosen)) {
            forget(fs::remove_file(&set.path)).context("remove", &set.path)?;
        }
        for key in &chosen {
            let from = base.join("layers").join(key.as_str());
            forget(fs::rename(&from, away.path().join(key.as_str()))).context("move away", &from)?;
        }
        drop(gate);
        for key in &chosen {
            let path = away.path().join(key.as_str());
            remove_tree(&path).context("remove", &path)?;
        }
        Ok(collected)
    }
}

/// Chooses what goes. The census is sorted by last use.
fn choose(
    census: &Census,
    leased: &Leased,
    budget_bytes: u64,
    dry_run: bool,
) -> (Collected, BTreeSet<LayerKey>) {
    // How many layers have each file that has several names.
    let mut names_left: HashMap<u64, usize> = HashMap::new();
    for inode in census.layers.iter().flat_map(|layer| &layer.linked) {
        *names_left.entry(*inode).or_default() += 1;
    }
    let bytes_of = |inode: &u64| census.linked_bytes.get(inode).copied().unwrap_or(0);
    let own: u64 = census.layers.iter().map(|layer| layer.own_bytes).sum();
    let bytes_before = own + names_left.keys().map(bytes_of).sum::<u64>();
    let mut collected = Collected {
        budget_bytes,
        layers_before: census.layers.len(),
        bytes_before,
        bytes_after: bytes_before,
        removed: Vec::new(),
        forgotten_sets: 0,
        leased: census.layers.iter().filter(|layer| leased.keys.contains(&layer.key)).count(),
        dry_run,
    };
    let chosen = not_kept(census, leased, budget_bytes);
    for layer in census.layers.iter().filter(|layer| chosen.contains(&layer.key)) {
        let mut freed_bytes = layer.own_bytes;
        for inode in &layer.linked {
            let left = names_left.entry(*inode).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                freed_bytes += bytes_of(inode);
            }
        }
        collected.bytes_after = collected.bytes_after.saturating_sub(freed_bytes);
        let last_use = seconds(layer.last_use);
        collected.removed.push(CollectedLayer { key: layer.key.clone(), freed_bytes, last_use });
    }
    collected.forgotten_sets = census.sets.iter().filter(|set| names(&set.layers, &chosen)).count();
    (collected, chosen)
}

/// Returns the layers that do not fit into the budget beside those in use and those that were used later.
fn not_kept(census: &Census, leased: &Leased, budget_bytes: u64) -> BTreeSet<LayerKey> {
    let bytes_of = |inode: &u64| census.linked_bytes.get(inode).copied().unwrap_or(0);
    let mut kept_inodes: HashSet<u64> = HashSet::new();
    let mut kept_bytes = 0_u64;
    let mut chosen = BTreeSet::new();
    let (in_use, others): (Vec<_>, Vec<_>) =
        census.layers.iter().rev().partition(|layer| leased.keys.contains(&layer.key));
    let is_in_use = std::iter::repeat_n(true, in_use.len()).chain(std::iter::repeat(false));
    for (layer, is_in_use) in in_use.into_iter().chain(others).zip(is_in_use) {
        let missing: BTreeSet<u64> =
            layer.linked.iter().copied().filter(|inode| !kept_inodes.contains(inode)).collect();
        let needed = layer.own_bytes + missing.iter().map(bytes_of).sum::<u64>();
        if is_in_use || kept_bytes.saturating_add(needed) <= budget_bytes {
            kept_bytes += needed;
            kept_inodes.extend(missing);
        } else {
            chosen.insert(layer.key.clone());
        }
    }
    chosen
}

fn names(layers: &[LayerKey], chosen: &BTreeSet<LayerKey>) -> bool {
    layers.iter().any(|key| chosen.contains(key))
}

/// Takes what is gone already as removed.
fn forget(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rpm_model::ContentDigest;

    use super::super::statistics::LayerFacts;
    use super::*;

    fn key(name: &str) -> LayerKey {
        LayerKey::of_rpm(&ContentDigest::of_bytes(name.as_bytes()))
    }

    /// Layers of 10 bytes each, with files that several share, of 100 bytes each.
    fn census(layers: &[(&str, &[u64])]) -> Census {
        let facts = |(age, (name, linked)): (usize, &(&str, &[u64]))| LayerFacts {
            key: key(name),
            last_use: SystemTime::UNIX_EPOCH + Duration::from_secs(age as u64),
            own_bytes: 10,
            linked: linked.to_vec(),
        };
        let linked = layers.iter().flat_map(|(_, linked)| *linked);
        Census::of(
            layers.iter().enumerate().map(facts).collect(),
            linked.map(|inode| (*inode, 100)).collect(),
        )
    }

    #[test]
    fn bytes_that_stay_in_another_layer_are_not_counted_as_freed() {
        let census = census(&[("a", &[1]), ("b", &[1, 2]), ("c", &[2])]);
        let check = |budget, leased: &[&str], expected: &[(&str, u64)], after| {
            let leased = Leased { keys: leased.iter().map(|name| key(name)).collect(), leases: 1 };
            let (collected, _) = choose(&census, &leased, budget, true);
            let expected: Vec<(LayerKey, u64)> =
                expected.iter().map(|(name, freed)| (key(name), *freed)).collect();
            let removed: Vec<(LayerKey, u64)> =
                collected.removed.into_iter().map(|layer| (layer.key, layer.freed_bytes)).collect();
            assert_eq!((removed, collected.bytes_after), (expected, after), "budget {budget}");
        };
        check(230, &[], &[], 230);
        check(229, &[], &[("a", 10)], 220);
        check(219, &[], &[("a", 10), ("b", 110)], 110);
        check(0, &[], &[("a", 10), ("b", 110), ("c", 110)], 0);
        check(0, &["b"], &[("a", 10), ("c", 10)], 210);
    }

    #[test]
    fn a_small_budget_does_not_take_what_frees_nothing() {
        let keys = |names: &[&str]| names.iter().map(|name| key(name)).collect::<Vec<_>>();
        let removed = |census: &Census, leased: &[&str], budget| {
            let leased = Leased { keys: keys(leased).into_iter().collect(), leases: 1 };
            let (collected, _) = choose(census, &leased, budget, true);
            assert!(collected.bytes_after <= budget.max(240), "{collected:?}");
            collected.removed.into_iter().map(|layer| layer.key).collect::<Vec<_>>()
        };
        // Three packages, merged into a layer that was used last: together 340 bytes, of which no package's removal
        // frees more than its directories.
        let merged = census(&[("a", &[1]), ("b", &[2]), ("c", &[3]), ("merged", &[1, 2, 3])]);
        assert_eq!(removed(&merged, &[], 335), keys(&["a"]));
        assert_eq!(removed(&merged, &[], 310), keys(&["a", "b", "c"]));
        // The merged layer does not fit; two packages of it do.
        assert_eq!(removed(&merged, &[], 239), keys(&["a", "merged"]));
        assert_eq!(removed(&merged, &[], 110), keys(&["a", "b", "merged"]));
        // What is in use counts first.
        assert_eq!(removed(&merged, &["a", "b"], 240), keys(&["c", "merged"]));
    }
}
