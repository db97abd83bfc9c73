//! What `%generate_buildrequires` is known to ask for, and how that enters the graph.
//!
//! The graph is drawn before anything runs, so it knows of generated requirements only what the last build
//! asked for (its record), and what a build of this run asked for without getting it. The first are a guess:
//! the sources may have changed. Of them the names count that a package of the tree provides, so that the
//! order is right; versions do not, and what is no longer true hinders nobody. The second are facts: what nothing provides blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use rpm_model::{BuildRecord, Dependency, PackagesDocument, Requirement, SpecData};

/// Generated requirements that builds of this run could not be given.
#[derive(Debug, Default)]
pub struct Learned {
    known: RwLock<BTreeMap<String, Vec<Requirement>>>,
}

impl Learned {
    /// Remembers what a spec asks for; returns false when that was known before.
    pub(crate) fn add(&self, spec: &str, requirements: &[Requirement]) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert(spec.to_owned(), requirements.to_vec());
        before.as_deref() != Some(requirements)
    }

    /// Returns what a spec is known to ask for.
    pub(crate) fn of(&self, spec: &str) -> Option<Vec<Requirement>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(spec).cloned()
    }

    /// Returns the specs with what they are known to ask for; `None` when nothing of that kind is known.
    pub(crate) fn extended(
        &self,
        document: &PackagesDocument,
        records: &BTreeMap<String, BuildRecord>,
    ) -> Option<PackagesDocument> {
        let is_known = |spec: &&SpecData| {
            let recorded = records.get(&spec.name).is_some_and(|record| !record.generated.is_empty());
            recorded || self.of(&spec.name).is_some()
        };
        if !document.specs.iter().any(|spec| is_known(&spec)) {
            return None;
        }
        let provided = provided_names(document, records);
        let mut extended = document.clone();
        for spec in &mut extended.specs {
            let more = self.of(&spec.name).unwrap_or_else(|| {
                let recorded = records.get(&spec.name).map_or(&[][..], |record| &record.generated);
                let names = recorded.iter().flat_map(Requirement::leaves).map(|leaf| leaf.name.as_str());
                let names: BTreeSet<&str> = names.filter(|name| provided.contains(name)).collect();
                names.into_iter().map(|name| Dependency::any(name).into()).collect()
            });
            for list in [&mut spec.build_requires, &mut spec.check_requires] {
                let new = more.iter().filter(|requirement| !list.contains(requirement)).cloned();
                let new: Vec<Requirement> = new.collect();
                list.extend(new);
            }
        }
        Some(extended)
    }
}

/// Returns the names that packages of the tree provide, as far as specs and records say.
fn provided_names<'a>(
    document: &'a PackagesDocument,
    records: &'a BTreeMap<String, BuildRecord>,
) -> BTreeSet<&'a str> {
    let packages = || document.specs.iter().flat_map(|spec| &spec.packages);
    let names = packages().map(|package| package.nevra.name.as_str());
    let stated = packages().flat_map(|package| &package.provides).map(|provided| provided.name.as_str());
    let present = document.specs.iter().filter_map(|spec| records.get(&spec.name));
    let built = present.flat_map(|record| &record.rpms).flat_map(|rpm| &rpm.provides);
    names.chain(stated).chain(built.map(|provided| provided.name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{indexed, package_task, record_of};
    use rpm_model::{ContentDigest, PackageOrigin};

    #[test]
    fn guesses_count_where_the_tree_provides_them_and_facts_always() {
        let app = package_task("app").spec;
        let document = PackagesDocument {
            schema: PackagesDocument::SCHEMA,
            arch: "x86_64".into(),
            macros: ContentDigest::of_bytes(b""),
            specs: vec![app, package_task("lib").spec, package_task("zlib").spec],
            bad: Vec::new(),
        };
        let list =
            |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Requirement>>();
        let learned = Learned::default();
        let mut records = BTreeMap::new();
        assert!(learned.extended(&document, &records).is_none());
        let zlib = indexed("zlib", "1-1", PackageOrigin::Tree, &["pkgconfig(zlib)"]);
        records.insert("zlib".into(), record_of("zlib", &[zlib]));
        let mut record = record_of("app", &[]);
        record.generated = list(&["gone", "lib >= 1", "pkgconfig(zlib)"]);
        records.insert("app".into(), record);
        let requires = |learned: &Learned| {
            let extended = learned.extended(&document, &records).unwrap();
            assert_eq!(extended.specs[1..], document.specs[1..]);
            assert_eq!(extended.specs[0].build_requires, extended.specs[0].check_requires);
            extended.specs[0].build_requires.clone()
        };
        assert_eq!(requires(&learned), list(&["lib", "pkgconfig(zlib)"]));
        assert!(learned.add("app", &list(&["nowhere"])));
        assert!(!learned.add("app", &list(&["nowhere"])));
        assert_eq!(requires(&learned), list(&["nowhere"]));
    }
}
