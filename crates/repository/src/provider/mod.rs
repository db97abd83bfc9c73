//! Who provides what: from names, capabilities and file paths to packages, over all origins at once.
//!
//! The index has two kinds of parts: whole repositories, read from their index files as far as they are asked
//! for ([`RepositoryIndex`]), and loose packages ([`loose`]), such as those of the tree, which come and go
//! while the index stays. A package keeps its number as long as it is there. Numbers depend on the order in
//! which packages came, so nothing is decided by them: every list is in one canonical order (NEVRA, origin,
//! hash).

mod loose;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use rpm_model::Dependency;

pub use self::loose::HeldPackage;
use self::loose::LoosePackages;
use crate::header::IndexedPackage;
use crate::index_file::{RepositoryIndex, canonical};

/// A package's number in an index.
pub(crate) type PackageId = u32;

/// An index of packages by what they provide.
#[derive(Debug)]
pub struct ProviderIndex<'a> {
    /// Each with the number of its first package.
    repositories: Vec<(PackageId, Arc<RepositoryIndex>)>,
    /// The number of the first loose package.
    first_loose: PackageId,
    loose: LoosePackages<'a>,
}

/// What became of a replacement.
#[derive(Clone, Debug)]
pub(crate) struct Replaced {
    /// Numbers that mean no package any more.
    pub(crate) removed: Vec<PackageId>,
    /// Numbers of the new packages.
    pub(crate) added: Range<PackageId>,
    /// The names, capabilities and paths whose providers may be others now.
    pub(crate) affected: BTreeSet<String>,
}

impl<'a> ProviderIndex<'a> {
    /// Indexes packages of any number of origins; the same file listed twice counts once.
    pub fn new(packages: impl IntoIterator<Item = impl Into<HeldPackage<'a>>>) -> Self {
        Self::with_repositories(Vec::new(), packages)
    }

    /// The same with whole repositories beside them.
    pub fn with_repositories(
        repositories: Vec<Arc<RepositoryIndex>>,
        packages: impl IntoIterator<Item = impl Into<HeldPackage<'a>>>,
    ) -> Self {
        let mut first = 0;
        let mut numbered = Vec::with_capacity(repositories.len());
        for repository in repositories {
            let next = first + repository.end();
            numbered.push((first, repository));
            first = next;
        }
        let mut packages: Vec<HeldPackage<'a>> = packages.into_iter().map(Into::into).collect();
        packages.sort_by(|a, b| canonical(a.package()).cmp(&canonical(b.package())));
        packages.dedup_by(|a, b| {
            let (a, b) = (a.package(), b.package());
            a.header.nevra == b.header.nevra && a.origin == b.origin && a.sha256 == b.sha256
        });
        let mut loose = LoosePackages::default();
        for package in packages {
            loose.add(package, None);
        }
        Self { repositories: numbered, first_loose: first, loose }
    }

    /// Puts packages in the place of all that were given for the same owner before, for example a spec.
    pub(crate) fn replace(&mut self, owner: &str, packages: Vec<Arc<IndexedPackage>>) -> Replaced {
        let start = self.end();
        let (removed, affected) = self.loose.replace(owner, packages);
        let removed = removed.into_iter().map(|slot| self.first_loose + slot).collect();
        Replaced { removed, added: start..self.end(), affected }
    }

    /// Returns the packages that satisfy a dependency: by a provide that overlaps it, or, for an absolute
    /// path without a version, by owning the file. In canonical order, each once.
    pub fn providers(&self, dependency: &Dependency) -> Vec<&IndexedPackage> {
        self.provider_ids(dependency).into_iter().map(|id| self.package(id)).collect()
    }

    /// Returns whether [`providers`](Self::providers) would find one that counts; cheaper than finding them all.
    pub fn is_provided(&self, dependency: &Dependency, counts: impl Fn(&IndexedPackage) -> bool) -> bool {
        let overlaps = |(id, place): (PackageId, u32)| {
            let package = self.package(id);
            package.header.provides[place as usize].overlaps(dependency) && counts(package)
        };
        self.capability_ids(&dependency.name).any(overlaps)
            || (dependency.name.starts_with('/')
                && self.provider_ids(dependency).into_iter().any(|id| counts(self.package(id))))
    }

    /// Returns the packages that provide a name in any version, with the provide that names it.
    pub fn providers_of_name(&self, name: &str) -> Vec<(&IndexedPackage, &Dependency)> {
        let mut ids: Vec<PackageId> = self.capability_ids(name).map(|(id, _)| id).collect();
        self.sort(&mut ids);
        let provides = |id: PackageId| {
            let package = self.package(id);
            package.header.provides.iter().filter(|one| one.name == name).map(move |one| (package, one))
        };
        ids.into_iter().flat_map(provides).collect()
    }

    /// Returns the packages of a name, lowest EVR first.
    pub fn named(&self, name: &str) -> Vec<&IndexedPackage> {
        self.ids_named(name).into_iter().map(|id| self.package(id)).collect()
    }

    /// Returns the loose packages, in no order.
    pub fn loose_packages(&self) -> impl Iterator<Item = &IndexedPackage> {
        self.loose.slots().map(|slot| self.loose.package(slot))
    }

    /// Returns every provided name, in no order; some may come twice.
    pub(crate) fn capability_names(&self) -> impl Iterator<Item = &str> {
        let loose = self.loose_packages().flat_map(|package| &package.header.provides);
        let loose = loose.map(|provide| provide.name.as_str());
        self.repositories.iter().flat_map(|(_, repository)| repository.capability_names()).chain(loose)
    }

    /// Returns one more than the highest number; some numbers may have no package any more.
    pub(crate) fn end(&self) -> PackageId {
        self.first_loose + self.loose.end()
    }

    /// Returns the numbers of all packages.
    pub(crate) fn ids(&self) -> impl Iterator<Item = PackageId> {
        let of_repositories = self
            .repositories
            .iter()
            .flat_map(|(first, repository)| repository.numbers().map(move |number| first + number));
        of_repositories.chain(self.loose.slots().map(|slot| self.first_loose + slot))
    }

    /// Returns the package of a number that was got from this index.
    pub(crate) fn package(&self, id: PackageId) -> &IndexedPackage {
        match id.checked_sub(self.first_loose) {
            Some(slot) => self.loose.package(slot),
            None => {
                let (first, repository) = self.repository_of(id);
                repository.package(id - first)
            }
        }
    }

    /// Returns a package's architecture; cheaper than the package.
    pub(crate) fn arch(&self, id: PackageId) -> &str {
        match id.checked_sub(self.first_loose) {
            Some(slot) => &self.loose.package(slot).header.nevra.arch,
            None => {
                let (first, repository) = self.repository_of(id);
                repository.arch(id - first)
            }
        }
    }

    /// Returns the numbers of the packages that belong to an owner, and of those that belong to none of these.
    pub(crate) fn ids_of_other_owners(&self, owners: &BTreeSet<String>) -> impl Iterator<Item = PackageId> {
        self.loose.slots_of_other_owners(owners).map(|slot| self.first_loose + slot)
    }

    fn repository_of(&self, id: PackageId) -> (PackageId, &RepositoryIndex) {
        let place = self.repositories.partition_point(|(first, _)| *first <= id) - 1;
        let (first, repository) = &self.repositories[place];
        (*first, repository)
    }

    /// Returns the numbers of the packages of a name, in canonical order.
    pub(crate) fn ids_named(&self, name: &str) -> Vec<PackageId> {
        let mut ids: Vec<PackageId> = Vec::new();
        for (first, repository) in &self.repositories {
            ids.extend(repository.named(name).map(|number| first + number));
        }
        ids.extend(self.loose.named(name).map(|slot| self.first_loose + slot));
        self.sort(&mut ids);
        ids
    }

    /// Returns the numbers of a dependency's providers, in canonical order, each once.
    pub(crate) fn provider_ids(&self, dependency: &Dependency) -> Vec<PackageId> {
        let mut ids: Vec<PackageId> = self
            .capability_ids(&dependency.name)
            .filter(|(id, place)| self.package(*id).header.provides[*place as usize].overlaps(dependency))
            .map(|(id, _)| id)
            .collect();
        if dependency.name.starts_with('/') && dependency.constraint.is_none() {
            for (first, repository) in &self.repositories {
                ids.extend(repository.owners(&dependency.name).into_iter().map(|number| first + number));
            }
            ids.extend(self.loose.owners(&dependency.name).into_iter().map(|slot| self.first_loose + slot));
        }
        self.sort(&mut ids);
        ids
    }

    /// Returns who obsoletes a name in any version, each with the place of the obsolete in its list.
    pub(crate) fn obsoleter_ids(&self, name: &str) -> impl Iterator<Item = (PackageId, u32)> {
        let of_repositories = self.repositories.iter().flat_map(move |(first, repository)| {
            repository.obsoleters(name).map(move |(number, place)| (first + number, place))
        });
        let loose = self.loose.obsoleters(name).map(|(slot, place)| (self.first_loose + slot, place));
        of_repositories.chain(loose)
    }

    /// Returns who provides a name in any version, each with the place of the provide in its list.
    fn capability_ids(&self, name: &str) -> impl Iterator<Item = (PackageId, u32)> {
        let of_repositories = self.repositories.iter().flat_map(move |(first, repository)| {
            repository.providers(name).map(move |(number, place)| (first + number, place))
        });
        let loose = self.loose.providers(name).map(|(slot, place)| (self.first_loose + slot, place));
        of_repositories.chain(loose)
    }

    /// Puts numbers into canonical order, each once.
    pub(crate) fn sort(&self, ids: &mut Vec<PackageId>) {
        if ids.len() > 1 {
            ids.sort_unstable();
            ids.dedup();
            ids.sort_by(|a, b| canonical(self.package(*a)).cmp(&canonical(self.package(*b))));
        }
    }
}

#[cfg(test)]
mod tests {
    use rpm_model::PackageOrigin;

    use super::*;
    use crate::testing::{Scratch, TinyPackage};

    fn check(index: &ProviderIndex<'_>, dependency: &str, expected: &[&str]) {
        let found: Vec<String> = index
            .providers(&dependency.parse().unwrap())
            .iter()
            .map(|package| format!("{} {:?}", package.header.nevra.nvra(), package.origin))
            .collect();
        assert_eq!(found, expected, "{dependency}");
    }

    fn packages() -> Vec<IndexedPackage> {
        [
            TinyPackage::new("zlib", "1.3-1", "x86_64").origin(PackageOrigin::Tree),
            TinyPackage::new("zlib", "1.2-1", "x86_64")
                .provides("libz.so.1()(64bit)")
                .file("/usr/lib64/libz.so.1"),
            TinyPackage::new("bash", "5-1", "x86_64").provides("/bin/sh").file("/usr/bin/bash"),
            TinyPackage::new("user", "1-1", "noarch").requires("/usr/bin/bash").requires("/bin/sh"),
        ]
        .iter()
        .map(TinyPackage::indexed)
        .collect()
    }

    fn check_all(index: &ProviderIndex<'_>) {
        check(index, "zlib", &["zlib-1.2-1.x86_64 Toolchain", "zlib-1.3-1.x86_64 Tree"]);
        check(index, "zlib >= 1.3", &["zlib-1.3-1.x86_64 Tree"]);
        check(index, "zlib > 1.3", &[]);
        check(index, "libz.so.1()(64bit)", &["zlib-1.2-1.x86_64 Toolchain"]);
        check(index, "/bin/sh", &["bash-5-1.x86_64 Toolchain"]);
        check(index, "/usr/bin/bash", &["bash-5-1.x86_64 Toolchain"]);
        check(index, "/usr/lib64/libz.so.1", &["zlib-1.2-1.x86_64 Toolchain"]);
        check(index, "/usr/bin/zsh", &[]);
        assert_eq!(index.named("zlib").len(), 2);
        assert_eq!(index.providers_of_name("zlib").len(), 2);
    }

    #[test]
    fn finds_names_capabilities_and_files() {
        let mut packages = packages();
        packages.push(packages[0].clone());
        check_all(&ProviderIndex::new(&packages));
    }

    #[test]
    fn repositories_and_loose_packages_answer_together() {
        let scratch = Scratch::new();
        let packages = packages();
        let identity = rpm_model::ContentDigest::of_bytes(b"x");
        let repository = |name: &str, packages: &[IndexedPackage]| {
            let file = scratch.path().join(name);
            RepositoryIndex::write(&file, &identity, packages).unwrap();
            Arc::new(RepositoryIndex::open(&file, &identity, PackageOrigin::Toolchain).unwrap())
        };
        let repositories =
            vec![repository("a", &packages[1..2]), repository("b", &[]), repository("c", &packages[2..3])];
        let loose = [packages[0].clone(), packages[3].clone()];
        let index = ProviderIndex::with_repositories(repositories, &loose);
        check_all(&index);
        assert_eq!(index.ids().count(), 4);
    }

    #[test]
    fn an_owners_packages_are_replaced_as_a_set() {
        let toolchain = packages();
        let mut index = ProviderIndex::new(&toolchain[1..]);
        let new = |evr: &str| {
            Arc::new(
                TinyPackage::new("zlib", evr, "x86_64")
                    .origin(PackageOrigin::Tree)
                    .file("/usr/bin/z")
                    .file("/opt/z")
                    .indexed(),
            )
        };
        index.replace("zlib", vec![new("1.2-9")]);
        check(&index, "/opt/z", &["zlib-1.2-9.x86_64 Tree"]);
        let replaced = index.replace("zlib", vec![new("1.3-1")]);
        assert_eq!(replaced.affected.into_iter().collect::<Vec<_>>(), ["/opt/z", "/usr/bin/z", "zlib"]);
        check_all(&index);
        check(&index, "/opt/z", &["zlib-1.3-1.x86_64 Tree"]);
        check(&index, "/usr/bin/z", &["zlib-1.3-1.x86_64 Tree"]);
        index.replace("zlib", Vec::new());
        check(&index, "zlib", &["zlib-1.2-1.x86_64 Toolchain"]);
        check(&index, "/usr/bin/z", &[]);
    }
}
