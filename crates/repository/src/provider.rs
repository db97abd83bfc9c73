//! Who provides what: from names, capabilities and file paths to packages, over all origins at once.
//!
//! The index borrows its packages. It keeps them in one canonical order (NEVRA, origin, hash), so that no
//! answer depends on the order in which they were found. Paths that some package requires are looked up
//! once, when the index is made; any other path is searched for when it is asked for.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use rpm_model::{Dependency, Requirement};

use crate::header::IndexedPackage;

/// A package's place in the canonical order of an index.
pub(crate) type PackageId = u32;

/// An index of packages by what they provide.
#[derive(Debug)]
pub struct ProviderIndex<'a> {
    packages: Vec<&'a IndexedPackage>,
    by_name: HashMap<&'a str, Vec<PackageId>>,
    /// For each provided name: the package, and which of its provides.
    by_capability: HashMap<&'a str, Vec<(PackageId, u32)>>,
    /// Owners of the paths that packages require.
    by_required_path: HashMap<&'a str, Vec<PackageId>>,
}

impl<'a> ProviderIndex<'a> {
    /// Indexes packages of any number of origins; the same file listed twice counts once.
    pub fn new(packages: impl IntoIterator<Item = &'a IndexedPackage>) -> Self {
        let mut packages: Vec<&IndexedPackage> = packages.into_iter().collect();
        packages.sort_by(|a, b| canonical(a).cmp(&canonical(b)));
        packages.dedup_by(|a, b| {
            a.header.nevra == b.header.nevra && a.origin == b.origin && a.sha256 == b.sha256
        });
        let mut by_name: HashMap<&str, Vec<PackageId>> = HashMap::new();
        let provide_count = packages.iter().map(|package| package.header.provides.len()).sum();
        let mut by_capability: HashMap<&str, Vec<(PackageId, u32)>> = HashMap::with_capacity(provide_count);
        for (id, package) in (0..).zip(&packages) {
            by_name.entry(&package.header.nevra.name).or_default().push(id);
            for (number, provide) in (0..).zip(&package.header.provides) {
                by_capability.entry(&provide.name).or_default().push((id, number));
            }
        }
        let by_required_path = owners_of_required_paths(&packages);
        Self { packages, by_name, by_capability, by_required_path }
    }

    /// Returns all packages in canonical order: by name, EVR, architecture, origin.
    pub fn packages(&self) -> &[&'a IndexedPackage] {
        &self.packages
    }

    /// Returns the packages that satisfy a dependency: by a provide that overlaps it, or, for an absolute
    /// path without a version, by owning the file. In canonical order, each once.
    pub fn providers(&self, dependency: &Dependency) -> Vec<&'a IndexedPackage> {
        self.provider_ids(dependency).into_iter().map(|id| self.package(id)).collect()
    }

    /// Returns the packages that provide a name in any version, with the provide that names it.
    pub fn providers_of_name(&self, name: &str) -> Vec<(&'a IndexedPackage, &'a Dependency)> {
        self.capability_ids(name).map(|(id, provide)| (self.package(id), provide)).collect()
    }

    /// Returns the packages of a name, lowest EVR first.
    pub fn named(&self, name: &str) -> Vec<&'a IndexedPackage> {
        self.ids_named(name).iter().map(|id| self.package(*id)).collect()
    }

    /// Returns every provided name, in no order.
    pub(crate) fn capability_names(&self) -> impl Iterator<Item = &'a str> {
        self.by_capability.keys().copied()
    }

    pub(crate) fn package(&self, id: PackageId) -> &'a IndexedPackage {
        self.packages[id as usize]
    }

    pub(crate) fn ids_named(&self, name: &str) -> &[PackageId] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the ids of a dependency's providers, sorted, each once.
    pub(crate) fn provider_ids(&self, dependency: &Dependency) -> Vec<PackageId> {
        let mut ids: Vec<PackageId> = self
            .capability_ids(&dependency.name)
            .filter(|(_, provide)| provide.overlaps(dependency))
            .map(|(id, _)| id)
            .collect();
        if dependency.name.starts_with('/') && dependency.constraint.is_none() {
            ids.extend(self.owner_ids(&dependency.name));
            ids.sort_unstable();
        }
        ids.dedup();
        ids
    }

    fn capability_ids(&self, name: &str) -> impl Iterator<Item = (PackageId, &'a Dependency)> {
        let list = self.by_capability.get(name).map_or(&[][..], Vec::as_slice);
        list.iter().map(|(id, number)| (*id, &self.package(*id).header.provides[*number as usize]))
    }

    fn owner_ids(&self, path: &str) -> Vec<PackageId> {
        if let Some(owners) = self.by_required_path.get(path) {
            return owners.clone();
        }
        (0..).zip(&self.packages).filter(|(_, package)| owns(package, path)).map(|(id, _)| id).collect()
    }
}

fn canonical(package: &IndexedPackage) -> impl Ord + '_ {
    (&package.header.nevra, package.origin, &package.sha256, &package.path)
}

fn owns(package: &IndexedPackage, path: &str) -> bool {
    package.header.files.binary_search_by(|file| file.as_str().cmp(path)).is_ok()
}

fn owners_of_required_paths<'a>(packages: &[&'a IndexedPackage]) -> HashMap<&'a str, Vec<PackageId>> {
    let wanted: HashSet<&str> = packages
        .iter()
        .flat_map(|package| package.header.requires.iter().chain(&package.header.conflicts))
        .flat_map(Requirement::leaves)
        .map(|dependency| dependency.name.as_str())
        .filter(|name| name.starts_with('/'))
        .collect();
    let owned: Vec<(PackageId, &str)> = (0u32..)
        .zip(packages)
        .collect::<Vec<_>>()
        .into_par_iter()
        .flat_map_iter(|(id, package)| {
            let files = package.header.files.iter().map(String::as_str);
            files.filter(|file| wanted.contains(file)).map(move |file| (id, file))
        })
        .collect();
    let mut owners: HashMap<&str, Vec<PackageId>> = wanted.iter().map(|path| (*path, Vec::new())).collect();
    for (id, path) in owned {
        owners.entry(path).or_default().push(id);
    }
    owners
}

#[cfg(test)]
mod tests {
    use rpm_model::PackageOrigin;

    use super::*;
    use crate::testing::TinyPackage;

    fn check(index: &ProviderIndex<'_>, dependency: &str, expected: &[&str]) {
        let found: Vec<String> = index
            .providers(&dependency.parse().unwrap())
            .iter()
            .map(|package| format!("{} {:?}", package.header.nevra.nvra(), package.origin))
            .collect();
        assert_eq!(found, expected, "{dependency}");
    }

    #[test]
    fn finds_names_capabilities_and_files() {
        let packages = [
            TinyPackage::new("zlib", "1.3-1", "x86_64").origin(PackageOrigin::Tree),
            TinyPackage::new("zlib", "1.2-1", "x86_64").provides("libz.so.1()(64bit)"),
            TinyPackage::new("bash", "5-1", "x86_64").provides("/bin/sh").file("/usr/bin/bash"),
            TinyPackage::new("user", "1-1", "noarch").requires("/usr/bin/bash").requires("/bin/sh"),
        ];
        let mut packages: Vec<IndexedPackage> = packages.iter().map(TinyPackage::indexed).collect();
        packages.push(packages[0].clone());
        let index = ProviderIndex::new(&packages);
        check(&index, "zlib", &["zlib-1.2-1.x86_64 Toolchain", "zlib-1.3-1.x86_64 Tree"]);
        check(&index, "zlib >= 1.3", &["zlib-1.3-1.x86_64 Tree"]);
        check(&index, "zlib > 1.3", &[]);
        check(&index, "libz.so.1()(64bit)", &["zlib-1.2-1.x86_64 Toolchain"]);
        check(&index, "/bin/sh", &["bash-5-1.x86_64 Toolchain"]);
        check(&index, "/usr/bin/bash", &["bash-5-1.x86_64 Toolchain"]);
        check(&index, "/usr/bin/zsh", &[]);
        assert_eq!(index.named("zlib").len(), 2);
    }
}
