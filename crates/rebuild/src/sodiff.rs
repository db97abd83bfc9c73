//! What changed between two builds in the shared libraries that packages provide, and who is affected.
//!
//! What it is not: it opens no file. Libraries and symbol versions are those that rpm wrote into the headers.

use std::collections::{BTreeMap, BTreeSet};

use rpm_model::{BuildRecord, Dependency};
use serde::Serialize;

use crate::soname::{Soname, needed_sonames};

/// The difference between what two builds provide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SonameDifference {
    /// Libraries and symbol versions, as rpm writes them, that only the new build provides.
    pub added: BTreeSet<String>,
    /// Those that only the old build provides.
    pub removed: BTreeSet<String>,
    /// Old sonames with the new one of the same library: `libz.so.1` → `libz.so.2`.
    pub changed: BTreeMap<String, String>,
    /// Who needs what was removed: spec, and what its packages require.
    pub affected: BTreeMap<String, BTreeSet<String>>,
}

impl SonameDifference {
    /// Compares what two builds provide; `records` are those of all specs.
    pub fn new(old: &[Dependency], new: &[Dependency], records: &BTreeMap<String, BuildRecord>) -> Self {
        let (old, new) = (libraries(old), libraries(new));
        let removed: BTreeSet<String> = old.difference(&new).map(|name| (*name).to_owned()).collect();
        let added: BTreeSet<String> = new.difference(&old).map(|name| (*name).to_owned()).collect();
        let sonames = |names: &BTreeSet<&str>| -> BTreeSet<String> {
            names
                .iter()
                .filter_map(|name| Soname::parse(name))
                .map(|library| library.soname.to_owned())
                .collect()
        };
        let (old_sonames, new_sonames) = (sonames(&old), sonames(&new));
        let fresh: Vec<&String> = new_sonames.difference(&old_sonames).collect();
        let successor = |gone: &String| {
            let library = |soname: &str| Soname::parse(soname).map(|parsed| parsed.library().to_owned());
            let mut same = fresh.iter().filter(|new| library(new) == library(gone));
            // Two new ones of a library have no one successor.
            match (same.next(), same.next()) {
                (Some(new), None) => Some((gone.clone(), (*new).clone())),
                _ => None,
            }
        };
        let changed = old_sonames.difference(&new_sonames).filter_map(successor).collect();
        Self { affected: affected(&removed, records), added, removed, changed }
    }

    /// Returns whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

fn libraries(provides: &[Dependency]) -> BTreeSet<&str> {
    provides
        .iter()
        .map(|provide| provide.name.as_str())
        .filter(|name| Soname::parse(name).is_some())
        .collect()
}

/// Returns who needs what was removed and has none of his own.
fn affected(
    removed: &BTreeSet<String>,
    records: &BTreeMap<String, BuildRecord>,
) -> BTreeMap<String, BTreeSet<String>> {
    let needed = |record: &BuildRecord| -> BTreeSet<String> {
        let names = needed_sonames(record).into_keys().filter(|name| removed.contains(*name));
        names.map(str::to_owned).collect()
    };
    let of_specs = records.iter().map(|(spec, record)| (spec.clone(), needed(record)));
    of_specs.filter(|(_, needed)| !needed.is_empty()).collect()
}
