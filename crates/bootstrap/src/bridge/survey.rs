//! First pass: names and alternatives, which only the whole set of packages can settle.

use super::DebFileReference;
use super::names::NameTable;
use crate::deb::{Alternative, Deb, find_alternatives};
use crate::error::BootstrapError;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What is known of the set before any file is converted.
pub(super) struct Survey {
    omitted: BTreeSet<PathBuf>,
    /// Link to the alternative that wins it, and the Debian package it belongs to.
    winners: BTreeMap<String, (Alternative, String)>,
    /// Sources with exactly one `-dev` package, by the name of that package.
    only_dev_of_source: BTreeMap<String, String>,
}

impl Survey {
    /// Reads the control data of all packages.
    pub(super) fn of(debs: &[DebFileReference], names: &NameTable) -> Result<Self, BootstrapError> {
        let read: Vec<(PathBuf, Deb)> = debs
            .par_iter()
            .map(|deb| Ok((deb.path.clone(), Deb::read_control_only(&deb.path)?)))
            .collect::<Result<_, BootstrapError>>()?;
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        let mut omitted = BTreeSet::new();
        let mut winners: BTreeMap<String, (Alternative, String)> = BTreeMap::new();
        let mut dev: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, deb) in &read {
            if names.is_omitted(deb.name()) {
                omitted.insert(path.clone());
                continue;
            }
            let rpm_name = names.rpm_name(deb.name()).to_owned();
            if let Some(first) = taken.insert(rpm_name.clone(), deb.name().to_owned()) {
                return Err(BootstrapError::NameTaken {
                    name: rpm_name,
                    first,
                    second: deb.name().to_owned(),
                });
            }
            for alternative in find_alternatives(&deb.postinst) {
                let key = alternative.link.clone();
                let better = winners.get(&key).is_none_or(|(best, owner)| {
                    (alternative.priority, deb.name()) > (best.priority, owner.as_str())
                });
                if better {
                    winners.insert(key, (alternative, deb.name().to_owned()));
                }
            }
            if deb.name().ends_with("-dev") {
                dev.entry(deb.source().to_owned()).or_default().push(deb.name().to_owned());
            }
        }
        let only_dev_of_source = dev
            .into_iter()
            .filter_map(|(source, names)| match names.as_slice() {
                [only] => Some((only.clone(), source)),
                _ => None,
            })
            .collect();
        Ok(Self { omitted, winners, only_dev_of_source })
    }

    /// Returns the packages that become RPMs.
    pub(super) fn bridged<'a>(
        &'a self,
        debs: &'a [DebFileReference],
    ) -> impl Iterator<Item = &'a DebFileReference> {
        debs.iter().filter(|deb| !self.omitted.contains(&deb.path))
    }

    /// Returns the links of `update-alternatives` that belong to a Debian package.
    pub(super) fn alternatives_of<'a>(&'a self, deb: &'a str) -> impl Iterator<Item = &'a Alternative> {
        self.winners.values().filter(move |(_, owner)| owner == deb).map(|(alternative, _)| alternative)
    }

    /// Returns the source package whose only `-dev` package this is.
    pub(super) fn source_with_only_dev(&self, deb: &str) -> Option<&str> {
        self.only_dev_of_source.get(deb).map(String::as_str)
    }
}
