//! Packages that come and go one by one, indexed in memory by hashes of what they are, provide and own.
//!
//! A slot that was emptied is not used again, so that a number never means another package. Paths that programs
//! are usually asked for by (those that `primary.xml` lists too) are indexed; for any other all packages are
//! looked through, which answers are rare enough to allow.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;

use crate::header::IndexedPackage;
use crate::index_file::hash_of;

/// A package that an index holds.
#[derive(Clone, Debug)]
pub enum HeldPackage<'a> {
    /// Somebody else keeps it for as long as the index lives.
    Borrowed(&'a IndexedPackage),
    /// It is kept as long as somebody needs it.
    Shared(Arc<IndexedPackage>),
}

/// Entries by the hash of a text: a slot and the place in one of the package's lists.
type Entries = HashMap<u64, Vec<(u32, u32)>>;

#[derive(Debug, Default)]
pub(super) struct LoosePackages<'a> {
    slots: Vec<Option<HeldPackage<'a>>>,
    /// Which slots an owner's packages are in.
    owners: HashMap<String, Vec<u32>>,
    names: Entries,
    capabilities: Entries,
    obsoletes: Entries,
    paths: Entries,
}

impl<'a> LoosePackages<'a> {
    pub(super) fn add(&mut self, held: HeldPackage<'a>, owner: Option<&str>) {
        let slot = self.slots.len() as u32;
        for (entries, hash, place) in keys(held.package()) {
            self.entries(entries).entry(hash).or_default().push((slot, place));
        }
        self.slots.push(Some(held));
        if let Some(owner) = owner {
            self.owners.entry(owner.to_owned()).or_default().push(slot);
        }
    }

    /// Replaces an owner's packages; returns the slots that are empty now, and all names, capabilities and paths
    /// of the old and the new packages.
    pub(super) fn replace(
        &mut self,
        owner: &str,
        packages: Vec<Arc<IndexedPackage>>,
    ) -> (Vec<u32>, BTreeSet<String>) {
        let mut affected = BTreeSet::new();
        let removed = self.owners.remove(owner).unwrap_or_default();
        for slot in removed.iter().copied() {
            if let Some(held) = self.slots[slot as usize].take() {
                affected.extend(texts(held.package()));
                for (entries, hash, _) in keys(held.package()) {
                    let entries = self.entries(entries);
                    if let Some(list) = entries.get_mut(&hash) {
                        list.retain(|(other, _)| *other != slot);
                        if list.is_empty() {
                            entries.remove(&hash);
                        }
                    }
                }
            }
        }
        for package in packages {
            affected.extend(texts(&package));
            self.add(HeldPackage::Shared(package), Some(owner));
        }
        (removed, affected)
    }

    /// Returns one more than the highest slot.
    pub(super) fn end(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Returns the slots that have a package.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        (0u32..).zip(&self.slots).filter(|(_, held)| held.is_some()).map(|(slot, _)| slot)
    }

    pub(super) fn slots_of_other_owners(&self, owners: &BTreeSet<String>) -> impl Iterator<Item = u32> {
        let others = self.owners.iter().filter(|(owner, _)| !owners.contains(*owner));
        others.flat_map(|(_, slots)| slots.iter().copied())
    }

    /// Returns the package in a slot that has one; only such slots are ever handed out.
    pub(super) fn package(&self, slot: u32) -> &IndexedPackage {
        self.slots[slot as usize].as_ref().map(HeldPackage::package).expect("an emptied slot is in no list")
    }

    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = u32> {
        let found = list(&self.names, name).map(|(slot, _)| slot);
        found.filter(move |slot| self.package(*slot).header.nevra.name == name)
    }

    pub(super) fn providers(&self, name: &str) -> impl Iterator<Item = (u32, u32)> {
        list(&self.capabilities, name)
            .filter(move |(slot, place)| self.package(*slot).header.provides[*place as usize].name == name)
    }

    pub(super) fn obsoleters(&self, name: &str) -> impl Iterator<Item = (u32, u32)> {
        list(&self.obsoletes, name)
            .filter(move |(slot, place)| self.package(*slot).header.obsoletes[*place as usize].name == name)
    }

    pub(super) fn owners(&self, path: &str) -> Vec<u32> {
        let owns = |slot: u32| {
            let files = &self.package(slot).header.files;
            files.binary_search_by(|file| file.as_str().cmp(path)).is_ok()
        };
        if is_usual(path) {
            return list(&self.paths, path).map(|(slot, _)| slot).filter(|slot| owns(*slot)).collect();
        }
        let slots: Vec<u32> = self.slots().collect();
        slots.into_par_iter().filter(|slot| owns(*slot)).collect()
    }

    fn entries(&mut self, table: Table) -> &mut Entries {
        match table {
            Table::Names => &mut self.names,
            Table::Capabilities => &mut self.capabilities,
            Table::Obsoletes => &mut self.obsoletes,
            Table::Paths => &mut self.paths,
        }
    }
}

impl<'a> From<&'a IndexedPackage> for HeldPackage<'a> {
    fn from(package: &'a IndexedPackage) -> Self {
        Self::Borrowed(package)
    }
}

impl From<Arc<IndexedPackage>> for HeldPackage<'_> {
    fn from(package: Arc<IndexedPackage>) -> Self {
        Self::Shared(package)
    }
}

impl HeldPackage<'_> {
    pub(super) fn package(&self) -> &IndexedPackage {
        match self {
            Self::Borrowed(package) => package,
            Self::Shared(package) => package,
        }
    }
}

#[derive(Clone, Copy)]
enum Table {
    Names,
    Capabilities,
    Obsoletes,
    Paths,
}

/// Returns what a package is found by.
fn keys(package: &IndexedPackage) -> impl Iterator<Item = (Table, u64, u32)> {
    let header = &package.header;
    let numbered = |table, list: &[rpm_model::Dependency]| {
        let hashes: Vec<u64> = list.iter().map(|dependency| hash_of(&dependency.name)).collect();
        (0u32..).zip(hashes).map(move |(place, hash)| (table, hash, place))
    };
    let paths =
        header.files.iter().filter(|path| is_usual(path)).map(|path| (Table::Paths, hash_of(path), 0));
    std::iter::once((Table::Names, hash_of(&header.nevra.name), 0))
        .chain(numbered(Table::Capabilities, &header.provides))
        .chain(numbered(Table::Obsoletes, &header.obsoletes))
        .chain(paths)
}

/// Returns the names, capabilities and paths of a package.
fn texts(package: &IndexedPackage) -> impl Iterator<Item = String> + '_ {
    let header = &package.header;
    let dependencies = header.provides.iter().chain(&header.obsoletes).map(|dependency| &dependency.name);
    std::iter::once(&header.nevra.name).chain(dependencies).chain(&header.files).cloned()
}

fn list<'e>(entries: &'e Entries, text: &str) -> impl Iterator<Item = (u32, u32)> + use<'e> {
    entries.get(&hash_of(text)).into_iter().flatten().copied()
}

/// Returns whether `primary.xml` lists a path (createrepo's rule).
fn is_usual(path: &str) -> bool {
    path.starts_with("/etc/") || path.contains("bin/") || path == "/usr/lib/sendmail"
}
