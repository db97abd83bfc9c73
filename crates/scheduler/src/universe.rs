//! The packages that exist now: what a build root can be made of, and what is published.
//!
//! One list for the solver, in which every package of the tree is known to belong to its spec. It changes
//! only by acceptance: a spec's packages are replaced as a set.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rebuild::soname::Soname;
use rebuild::{PublishedState, is_compiled_in_by};
use repository::{IndexedPackage, RepositoryIndex, SolveRequest, Solver};
use rpm_model::{
    BuildRecord, BuildrootLock, ContentDigest, Dependency, LibraryPath, LinkageFacts, LockedPackage, Nevra,
    PackageOrigin, PackageRules, Requirement, SeenPackage,
};

use crate::libraries::{PrivateLibraries, library_path};

/// All packages, and which spec each package of the tree belongs to.
#[derive(Debug)]
pub struct Universe {
    /// Packages from outside, and the tree's by the name of their spec.
    solver: Solver<'static>,
    /// The repositories among them.
    repositories: Vec<Arc<RepositoryIndex>>,
    /// The packages of each spec.
    published: BTreeMap<String, Vec<Arc<IndexedPackage>>>,
    /// `out/RPMS`: what paths in records are relative to.
    repository: PathBuf,
    /// What each file of the repository contains, by its path.
    contents: HashMap<PathBuf, ContentDigest>,
    /// The spec that published a package of this name.
    specs: HashMap<String, String>,
    /// Packages in the repository that no record vouches for: no build may use them, but they were published.
    unclaimed: Vec<Nevra>,
    /// What specs provided once and nothing does since.
    withdrawn: BTreeMap<Requirement, String>,
    /// Libraries that packages keep for themselves.
    libraries: PrivateLibraries,
}

/// What of a build root matters for deciding later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootFacts {
    /// Packages that a build requirement named, whatever it named them by; sorted.
    pub direct: Vec<String>,
    /// Packages whose content is inside what was built; sorted.
    pub compiled_in: Vec<String>,
}

/// What exists outside the tree.
#[derive(Debug, Default)]
pub struct Outside {
    /// Single packages: the toolchain's, those in the cache.
    pub packages: Vec<IndexedPackage>,
    /// Whole repositories, of which only what matters is looked at.
    pub repositories: Vec<Arc<RepositoryIndex>>,
}

impl From<Vec<IndexedPackage>> for Outside {
    fn from(packages: Vec<IndexedPackage>) -> Self {
        Self { packages, repositories: Vec::new() }
    }
}

/// A package from outside the tree that matters to it.
#[derive(Clone, Debug)]
pub struct RelevantPackage<'a> {
    /// The package.
    pub package: &'a IndexedPackage,
    /// Its files, as far as they matter.
    pub files: Cow<'a, [String]>,
}

/// What the solver is asked for one spec.
#[derive(Clone, Copy, Debug)]
pub struct RootRequest<'a> {
    /// The spec's build requirements.
    pub requirements: &'a [Requirement],
    /// Its build conflicts.
    pub conflicts: &'a [Requirement],
    /// The worker's core.
    pub core: &'a [LockedPackage],
    /// Specs whose packages may enter the root, as the graph says; packages of others may not, even if they
    /// are there already. So a root follows from the graph and not from what happened to be finished.
    pub specs: &'a BTreeSet<String>,
    /// The architecture.
    pub arch: &'a str,
}

/// A build root and what should be said about it.
#[derive(Clone, Debug)]
pub struct Root {
    /// The exact packages.
    pub lock: BuildrootLock,
    /// Remarks, one sentence each.
    pub notes: Vec<String>,
}

impl Universe {
    /// Returns a universe of external packages and of those packages of the repository that records name.
    ///
    /// A file of the repository that no record names, or whose content is not the recorded one, is no part
    /// of it: it was left by a run that ended before it was accepted.
    pub fn new(
        outside: impl Into<Outside>,
        repository: &Path,
        scanned: Vec<IndexedPackage>,
        records: &BTreeMap<String, BuildRecord>,
    ) -> Self {
        // By content first: comparing paths part by part would take longer than all else here.
        let mut recorded: HashMap<&ContentDigest, Vec<(PathBuf, &str)>> = HashMap::new();
        for record in records.values() {
            for rpm in &record.rpms {
                let path = repository.join(&rpm.artifact.path);
                recorded.entry(&rpm.artifact.sha256).or_default().push((path, &record.package));
            }
        }
        let mut owned: BTreeMap<&str, Vec<IndexedPackage>> = BTreeMap::new();
        let mut unclaimed = Vec::new();
        for package in scanned {
            let mut same = recorded.get(&package.sha256).into_iter().flatten().rev();
            if let Some((_, owner)) = same.find(|(path, _)| *path == package.path) {
                owned.entry(owner).or_default().push(package);
            } else {
                unclaimed.push(package.header.nevra);
            }
        }
        let count = owned.values().map(Vec::len).sum();
        let Outside { packages, repositories } = outside.into();
        let external = packages.into_iter().filter(|package| package.origin != PackageOrigin::Tree);
        let mut universe = Self {
            solver: Solver::with_repositories(repositories.clone(), external.map(Arc::new)),
            repositories,
            published: BTreeMap::new(),
            repository: repository.to_owned(),
            contents: HashMap::with_capacity(count),
            specs: HashMap::with_capacity(count),
            unclaimed,
            withdrawn: BTreeMap::new(),
            libraries: PrivateLibraries::default(),
        };
        for (owner, packages) in owned {
            universe.replace(owner, packages);
        }
        for (spec, record) in records {
            let withdrawn = record.cascade.iter().flat_map(|facts| &facts.withdrawn);
            universe.withdraw(spec, withdrawn.cloned());
            universe.set_linkage(spec, record.cascade.as_ref().and_then(|facts| facts.linkage.as_ref()));
        }
        universe
    }

    /// Remembers that requirements were met by packages of a spec and are no longer.
    pub fn withdraw(&mut self, spec: &str, requirements: impl IntoIterator<Item = Requirement>) {
        self.withdrawn.extend(requirements.into_iter().map(|requirement| (requirement, spec.to_owned())));
    }

    /// Takes over what the files of a spec's packages say of libraries.
    pub(crate) fn set_linkage(&mut self, spec: &str, facts: Option<&LinkageFacts>) {
        self.libraries.replace(spec, facts);
    }

    /// Returns which packages keep libraries for themselves.
    pub(crate) fn libraries(&self) -> &PrivateLibraries {
        &self.libraries
    }

    /// Returns what of a build root matters for deciding later; `requirements` are those it was made for.
    pub fn root_facts(&self, lock: &BuildrootLock, requirements: &[Requirement]) -> RootFacts {
        let index = self.solver.index();
        let contents: BTreeSet<&ContentDigest> =
            lock.packages().iter().map(|package| &package.sha256).collect();
        let leaves = requirements.iter().flat_map(Requirement::leaves);
        let direct: BTreeSet<String> = leaves
            .flat_map(|leaf| index.providers(leaf))
            .filter(|package| contents.contains(&package.sha256))
            .map(|package| package.header.nevra.name.clone())
            .collect();
        let is_compiled_in = |locked: &&LockedPackage| {
            let known = index.named(&locked.nevra.name);
            let mut same = known.into_iter().filter(|package| package.sha256 == locked.sha256);
            same.any(|package| package.header.provides.iter().any(is_compiled_in_by))
        };
        let compiled_in: BTreeSet<String> =
            lock.packages().iter().filter(is_compiled_in).map(|package| package.nevra.name.clone()).collect();
        RootFacts { direct: direct.into_iter().collect(), compiled_in: compiled_in.into_iter().collect() }
    }

    /// Returns the universe with rules of which packages build roots may use.
    #[must_use]
    pub fn with_rules(mut self, rules: PackageRules) -> Self {
        self.solver.set_rules(rules);
        self
    }

    /// Returns the packages from outside the tree that build roots may use and that matter to whoever asks for these
    /// names, in no order. All single packages do.
    pub fn external<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Vec<RelevantPackage<'_>> {
        let names: Vec<&str> = names.into_iter().collect();
        let single = self.solver.index().loose_packages();
        let single = single.filter(|package| package.origin != PackageOrigin::Tree);
        let single =
            single.map(|package| RelevantPackage { package, files: Cow::Borrowed(&package.header.files) });
        let of_repositories = self.repositories.iter().flat_map(|repository| {
            repository.relevant(names.iter().copied()).into_iter().map(|(number, files)| RelevantPackage {
                package: repository.package(number),
                files: Cow::Owned(files),
            })
        });
        let may_be_used =
            |found: &RelevantPackage<'_>| self.solver.rules().ban(&found.package.header.nevra).is_none();
        single.chain(of_repositories).filter(may_be_used).collect()
    }

    /// Returns whether there are whole repositories, of which [`Self::external`] returns only what matters.
    pub(crate) fn has_repositories(&self) -> bool {
        !self.repositories.is_empty()
    }

    /// Returns the names of all packages in repositories.
    pub fn repository_names(&self) -> BTreeSet<String> {
        let names = self.repositories.iter().flat_map(|repository| repository.names());
        names.map(str::to_owned).collect()
    }

    /// Returns the packages built from the tree, in no order.
    pub(crate) fn packages_of_all(&self) -> impl Iterator<Item = &IndexedPackage> {
        self.published.values().flatten().map(Arc::as_ref)
    }

    /// Returns the packages built from the tree, sorted by path.
    pub fn published(&self) -> Vec<&IndexedPackage> {
        let mut list: Vec<&IndexedPackage> = self.packages_of_all().collect();
        // As paths are compared, part by part, but taken apart once each.
        list.sort_by_cached_key(|package| {
            package.path.iter().flat_map(|part| [part.as_bytes(), b"\0"]).collect::<Vec<_>>().concat()
        });
        list
    }

    /// Returns the packages of all specs but one, each with its spec.
    pub(crate) fn packages_of_others(&self, spec: &str) -> impl Iterator<Item = (&str, &IndexedPackage)> {
        let others = self.published.iter().filter(move |(owner, _)| *owner != spec);
        others.flat_map(|(owner, packages)| packages.iter().map(|package| (owner.as_str(), package.as_ref())))
    }

    /// Returns the packages in the repository that no record vouched for when the run began.
    pub(crate) fn unclaimed(&self) -> &[Nevra] {
        &self.unclaimed
    }

    /// Returns the directory of the repository.
    pub(crate) fn repository(&self) -> &Path {
        &self.repository
    }

    /// Returns the packages of a spec.
    pub(crate) fn packages_of(&self, spec: &str) -> impl Iterator<Item = &IndexedPackage> {
        self.published.get(spec).into_iter().flatten().map(Arc::as_ref)
    }

    /// Returns whether there are packages of a spec.
    pub fn has_packages_of(&self, spec: &str) -> bool {
        self.published.get(spec).is_some_and(|packages| !packages.is_empty())
    }

    /// Returns whether a file of the repository is known to have this content.
    pub fn is_published(&self, path: &Path, content: &ContentDigest) -> bool {
        self.contents.get(path) == Some(content)
    }

    /// Puts a spec's new packages in the place of its old ones.
    pub fn replace(&mut self, spec: &str, packages: Vec<IndexedPackage>) {
        let packages: Vec<Arc<IndexedPackage>> = packages.into_iter().map(Arc::new).collect();
        for old in self.published.remove(spec).into_iter().flatten() {
            self.contents.remove(&old.path);
            self.specs.remove(&old.header.nevra.name);
        }
        for new in &packages {
            self.specs.insert(new.header.nevra.name.clone(), spec.to_owned());
            self.contents.insert(new.path.clone(), new.sha256.clone());
        }
        self.solver.replace(spec, packages.clone());
        self.published.insert(spec.to_owned(), packages);
    }

    /// Returns the build root that a request resolves to, or the solver's explanation.
    pub fn resolve(&self, request: &RootRequest<'_>) -> Result<Root, String> {
        let request = SolveRequest {
            requirements: request.requirements,
            conflicts: request.conflicts,
            core: request.core,
            exclude: &[],
            owners: Some(request.specs),
            arch: request.arch,
        };
        let resolved = self.solver.solve(&request).map_err(|explanation| explanation.to_string())?;
        Ok(Root {
            lock: resolved.to_lock(),
            notes: resolved.notes().iter().map(ToString::to_string).collect(),
        })
    }

    /// Returns the published state as the rebuild decision asks about it.
    pub fn state(&self) -> Published<'_> {
        Published { universe: self }
    }
}

/// The answers of a [`Universe`] to the rebuild decision.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    universe: &'a Universe,
}

impl Published<'_> {
    /// Returns the packages that have a path.
    pub(crate) fn owners(&self, path: &str) -> Vec<&IndexedPackage> {
        self.universe.solver.index().providers(&Dependency::any(path))
    }

    /// Returns whether a package comes from outside and the tree publishes one of its name: where that is installed,
    /// this is not.
    fn is_replaced(&self, package: &IndexedPackage) -> bool {
        package.origin != PackageOrigin::Tree && self.universe.specs.contains_key(&package.header.nevra.name)
    }

    /// Returns whether packages satisfy a requirement, each as far as it counts.
    fn holds(
        &self,
        requirement: &Requirement,
        counts: impl Fn(&IndexedPackage, &Dependency) -> bool,
    ) -> bool {
        let index = self.universe.solver.index();
        // Nearly all are simple, and thousands of packages have dozens each.
        if let Requirement::Simple(dependency) = requirement {
            return index.is_provided(dependency, |package| counts(package, dependency));
        }
        requirement.holds(&|dependency| {
            let providers = index.providers(dependency).into_iter();
            let counted = providers.filter(|package| counts(package, dependency));
            counted.map(|package| package.header.nevra.clone()).collect()
        })
    }
}

impl PublishedState for Published<'_> {
    fn content(&self, path: &str) -> Option<ContentDigest> {
        self.universe.contents.get(&self.universe.repository.join(path)).cloned()
    }

    fn satisfied(&self, requirement: &Requirement) -> bool {
        self.holds(requirement, |_, _| true)
    }

    fn linkable(&self, requirement: &Requirement) -> bool {
        let private = &self.universe.libraries;
        self.holds(requirement, |package, dependency| {
            !private.contain(package, &dependency.name) && !self.is_replaced(package)
        })
    }

    fn libraries_of(&self, spec: &str) -> Vec<(String, Nevra)> {
        let packages = self.universe.published.get(spec).into_iter().flatten();
        let libraries = packages.flat_map(|package| {
            let names = package.header.provides.iter().map(|provide| provide.name.as_str());
            let names = names.filter(|name| Soname::parse(name).is_some());
            names
                .filter(|name| !self.universe.libraries.contain(package, name))
                .map(move |name| (name, package))
        });
        let mut libraries: Vec<(String, Nevra)> =
            libraries.map(|(name, package)| (name.to_owned(), package.header.nevra.clone())).collect();
        libraries.sort();
        libraries
    }

    fn library_path(&self, library: &str) -> Option<LibraryPath> {
        let provider = self.trigger_target(library)?;
        let named = self.universe.solver.index().named(&provider.nevra.name);
        let package = named.into_iter().find(|package| package.sha256 == provider.sha256)?;
        library_path(package, library, &self.universe.libraries.search_directories())
    }

    fn package(&self, name: &str) -> Option<(&Nevra, &ContentDigest)> {
        let rank = |package: &&IndexedPackage| (Reverse(package.origin), package.header.nevra.evr.clone());
        let named = self.universe.solver.index().named(name).into_iter();
        named.max_by_key(rank).map(|package| (&package.header.nevra, &package.sha256))
    }

    fn trigger_target(&self, name: &str) -> Option<SeenPackage> {
        let seen = |nevra: &Nevra, sha256: &ContentDigest, provided| SeenPackage {
            nevra: nevra.clone(),
            sha256: sha256.clone(),
            provided,
        };
        if let Some((nevra, sha256)) = self.package(name) {
            return Some(seen(nevra, sha256, None));
        }
        let index = self.universe.solver.index();
        let provided = |(package, provide): (&'_ IndexedPackage, &Dependency)| {
            let version = provide.constraint.as_ref().map(|constraint| constraint.evr.clone());
            let Nevra { evr, name, arch } = &package.header.nevra;
            let rank = (
                Reverse(package.origin),
                version.clone(),
                evr.clone(),
                Reverse((name.clone(), arch.clone())),
            );
            (rank, seen(&package.header.nevra, &package.sha256, version))
        };
        let private = &self.universe.libraries;
        let for_everybody = |(package, _): &(&IndexedPackage, &Dependency)| !private.contain(package, name);
        let by_provide = index.providers_of_name(name).into_iter().filter(for_everybody).map(provided).max();
        // A file that no package provides by name: `/usr/bin/lua`.
        let by_file = || {
            let owners = index.providers(&Dependency::any(name)).into_iter();
            let owner = owners.max_by_key(|package| (Reverse(package.origin), package.header.nevra.clone()));
            owner.map(|package| seen(&package.header.nevra, &package.sha256, None))
        };
        by_provide.map(|(_, seen)| seen).or_else(by_file)
    }

    fn spec_of(&self, name: &str) -> Option<&str> {
        self.universe.specs.get(name).map(String::as_str)
    }

    fn withdrew(&self, requirement: &Requirement) -> Option<&str> {
        self.universe.withdrawn.get(requirement).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{indexed, record_of};

    fn universe() -> Universe {
        let external = vec![indexed("zlib", "0-1", PackageOrigin::Toolchain, &["libz.so.1"])];
        let zlib = indexed("zlib", "1-1", PackageOrigin::Tree, &["libz.so.1"]);
        let orphan = indexed("old", "1-1", PackageOrigin::Tree, &[]);
        let records = BTreeMap::from([("zlib".to_owned(), record_of("zlib", std::slice::from_ref(&zlib)))]);
        Universe::new(external, Path::new("/repo"), vec![zlib, orphan], &records)
    }

    #[test]
    fn only_recorded_files_count() {
        let universe = universe();
        let names: Vec<&str> = universe.published().iter().map(|p| p.header.nevra.name.as_str()).collect();
        assert_eq!(names, ["zlib"]);
    }

    #[test]
    fn the_trees_package_is_preferred_and_replaced_as_a_set() {
        let mut universe = universe();
        assert_eq!(universe.state().package("zlib").unwrap().0.evr.to_string(), "1-1");
        universe.replace("zlib", vec![indexed("zlib-ng", "2-1", PackageOrigin::Tree, &["libz.so.2"])]);
        let state = universe.state();
        assert_eq!(state.package("zlib").unwrap().0.evr.to_string(), "0-1");
        assert!(state.satisfied(&"libz.so.2".parse().unwrap()));
        assert!(!state.satisfied(&"libz.so.3".parse().unwrap()));
        assert!(state.satisfied(&"(libz.so.3 or libz.so.1)".parse().unwrap()));
    }

    /// A library that only an outside package has which the tree publishes anew is gone for who is linked to it,
    /// although such a package could still be installed.
    #[test]
    fn a_package_that_the_tree_replaces_has_no_libraries_for_anybody() {
        let mut universe = universe();
        let library: Requirement = "libz.so.1".parse().unwrap();
        assert!(universe.state().linkable(&library));
        universe.replace("zlib", vec![indexed("zlib", "2-1", PackageOrigin::Tree, &["libz.so.2"])]);
        let state = universe.state();
        assert!(state.satisfied(&library) && !state.linkable(&library));
        assert_eq!(state.libraries_of("zlib")[0].0, "libz.so.2");
        universe.replace("zlib", Vec::new());
        assert!(universe.state().linkable(&library));
    }

    #[test]
    fn it_is_known_what_of_a_root_matters() {
        let devel = indexed("zlib-devel", "1-1", PackageOrigin::Toolchain, &["pkgconfig(zlib)"]);
        let archive = indexed("xz-devel", "1-1", PackageOrigin::Toolchain, &["xz-static = 1-1"]);
        let bash = indexed("bash", "1-1", PackageOrigin::Toolchain, &[]);
        let lock = BuildrootLock::new([&devel, &archive, &bash].map(IndexedPackage::locked).to_vec());
        let universe =
            Universe::new(vec![devel, archive, bash], Path::new("/repo"), vec![], &BTreeMap::new());
        let requirements = ["pkgconfig(zlib)".parse().unwrap(), "absent".parse().unwrap()];
        let expected = RootFacts { direct: vec!["zlib-devel".into()], compiled_in: vec!["xz-devel".into()] };
        assert_eq!(universe.root_facts(&lock, &requirements), expected);
    }

    #[test]
    fn who_withdrew_what_is_remembered() {
        let mut record = record_of("onig", &[]);
        let requirement: Requirement = "libonig.so.5".parse().unwrap();
        let withdrawn = vec![requirement.clone()];
        record.cascade = Some(rpm_model::CascadeFacts { withdrawn, ..Default::default() });
        let records = BTreeMap::from([("onig".to_owned(), record)]);
        let universe = Universe::new(Vec::new(), Path::new("/repo"), Vec::new(), &records);
        assert_eq!(universe.state().withdrew(&requirement), Some("onig"));
        assert_eq!(universe.state().withdrew(&"libonig.so.6".parse().unwrap()), None);
    }

    #[test]
    fn contents_are_known_by_path() {
        let universe = universe();
        let state = universe.state();
        assert!(state.content("x86_64/zlib-1-1.x86_64.rpm").is_some());
        assert_eq!(state.content("x86_64/old-1-1.x86_64.rpm"), None);
    }
}
