//! All packages that may serve a requirement, indexed by what they provide.
//!
//! Who provides what is known in four ways for a package of the tree ([`Knowledge`]): the spec declares it;
//! its last build provided it; it was never built but replaces the external package of the same name, and so
//! will provide what that one does (*name take-over*: `pkgconfig(zlib)` is in the toolchain's `zlib-devel`,
//! the tree builds `zlib-devel`, so the tree's is the provider); or it was never built and its name merely
//! suggests it.
//!
//! Versions are carried over: where an old package provides something in its own version, the new one will
//! provide it in the spec's. Only names that somebody requires are indexed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use foldhash::{HashMap, HashSet};
use rpm_model::{
    Comparison, Constraint, Dependency, Evr, ListedFile, Nevra, PackageOrigin, Requirement, SpecData,
    SpecPackage,
};

use crate::convention::{unlikelihood, usual_packages};
use crate::input::{ExternalPackage, GraphInput, RecordedOutput};
use crate::model::DuplicateSpec;
use crate::provider::ProviderRank as Rank;

/// One package, by its place in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Who {
    /// A package that the tree will build.
    Tree(usize),
    /// A package from outside.
    External(usize),
    /// A package of the tree as it was last built.
    Older(usize),
}

/// Somebody provides a name, in some versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) who: Who,
    pub(crate) rank: Rank,
    pub(crate) constraint: Option<Constraint>,
}

impl Entry {
    /// Returns whether the versions provided and required share one.
    pub(crate) fn fits(&self, dependency: &Dependency) -> bool {
        match (&self.constraint, &dependency.constraint) {
            (Some(provided), Some(required)) => provided.overlaps(required),
            _ => true,
        }
    }
}

/// A spec that can be built for the architecture.
pub(crate) struct TreeSpec<'a> {
    pub(crate) data: &'a SpecData,
    /// Its packages' places in [`Catalog::packages`].
    pub(crate) packages: Range<usize>,
    /// The places of its last build's packages in [`Catalog::older`].
    older: Range<usize>,
}

/// A package that the tree will build.
pub(crate) struct TreePackage<'a> {
    pub(crate) spec: usize,
    pub(crate) nevra: &'a Nevra,
    provides: &'a [Dependency],
    /// What its `%files` section lists.
    pub(crate) listed: &'a [ListedFile],
    pub(crate) requires: &'a [Requirement],
    /// Requirements that only the last build shows.
    pub(crate) recorded_requires: Vec<&'a Requirement>,
    /// It was never built, so what generators will add to its provides is not known for certain.
    pub(crate) unbuilt: bool,
}

/// A package of the tree as it was last built.
pub(crate) struct OlderPackage<'a> {
    pub(crate) spec: usize,
    pub(crate) output: RecordedOutput<'a>,
}

pub(crate) struct Catalog<'a> {
    pub(crate) specs: Vec<TreeSpec<'a>>,
    pub(crate) packages: Vec<TreePackage<'a>>,
    pub(crate) externals: Vec<ExternalPackage<'a>>,
    pub(crate) older: Vec<OlderPackage<'a>>,
    /// Specs that were passed over for another of their name.
    pub(crate) duplicates: Vec<DuplicateSpec>,
    /// Names of specs that could not be read.
    pub(crate) bad: BTreeSet<&'a str>,
    /// What specs for other architectures provide → the spec.
    pub(crate) other_architectures: BTreeMap<&'a str, &'a str>,
    /// Names of specs for other architectures.
    pub(crate) excluded: BTreeSet<&'a str>,
    /// The names that are indexed, provided or not.
    pub(crate) wanted: HashSet<&'a str>,
    entries: HashMap<&'a str, Vec<Entry>>,
}

impl<'a> Catalog<'a> {
    /// Indexes the providers of all names that something in the tree requires, and of some others.
    pub(crate) fn new(input: &GraphInput<'a>, names: &'a BTreeSet<String>) -> Self {
        let mut catalog = Self::of_tree(input);
        let mut externals: Vec<ExternalPackage<'a>> =
            input.external.iter().copied().filter(|p| p.origin != PackageOrigin::Tree).collect();
        externals.sort_by(|a, b| (a.origin, a.nevra).cmp(&(b.origin, b.nevra)));
        catalog.externals = externals;
        let mut wanted = wanted_names(&catalog);
        wanted.extend(names.iter().map(String::as_str));
        catalog.index(&wanted);
        catalog.wanted = wanted;
        catalog
    }

    /// Returns the tree's specs and packages, nothing indexed.
    pub(crate) fn of_tree(input: &GraphInput<'a>) -> Self {
        let arch = &input.document.arch;
        let mut all: Vec<&SpecData> = input.document.specs.iter().collect();
        all.sort_by_cached_key(|spec| (&spec.name, !spec.builds_on(arch), &spec.spec_path));
        let mut duplicates = Vec::new();
        all.dedup_by(|later, first| {
            let same = later.name == first.name;
            if same {
                duplicates.push(DuplicateSpec::of(first, later, arch));
            }
            same
        });
        let (built, excluded): (Vec<_>, Vec<_>) = all.into_iter().partition(|spec| spec.builds_on(arch));
        let mut catalog = Self {
            specs: Vec::new(),
            packages: Vec::new(),
            externals: Vec::new(),
            older: Vec::new(),
            duplicates,
            bad: input.document.bad.iter().map(|bad| bad.name.as_str()).collect(),
            other_architectures: BTreeMap::new(),
            excluded: excluded.iter().map(|spec| spec.name.as_str()).collect(),
            wanted: HashSet::default(),
            entries: HashMap::default(),
        };
        for spec in excluded {
            for provide in spec.packages.iter().flat_map(|package| &package.provides) {
                catalog.other_architectures.entry(&provide.name).or_insert(&spec.name);
            }
        }
        catalog.add_tree(&built, input);
        catalog
    }

    fn add_tree(&mut self, built: &[&'a SpecData], input: &GraphInput<'a>) {
        let mut recorded: HashMap<&str, Vec<RecordedOutput<'a>>> = HashMap::default();
        for record in input.recorded {
            recorded.entry(record.spec).or_default().extend(&record.packages);
        }
        for (index, data) in built.iter().enumerate() {
            let mut outputs = recorded.remove(data.name.as_str()).unwrap_or_default();
            outputs.sort_by_key(|output| (output.nevra, output.provides, output.requires, output.files));
            let first = self.packages.len();
            let mut packages: Vec<&SpecPackage> = data.packages.iter().collect();
            packages.sort_by_key(|package| &package.nevra);
            for package in packages {
                let name = &package.nevra.name;
                let output = outputs.iter().find(|output| output.nevra.name == *name);
                let recorded_requires =
                    output.map_or(&[][..], |output| output.requires).iter().collect::<BTreeSet<_>>();
                let declared: BTreeSet<&Requirement> = package.requires.iter().collect();
                self.packages.push(TreePackage {
                    spec: index,
                    nevra: &package.nevra,
                    provides: &package.provides,
                    listed: &package.files,
                    requires: &package.requires,
                    recorded_requires: recorded_requires.difference(&declared).copied().collect(),
                    unbuilt: output.is_none(),
                });
            }
            let older = self.older.len()..self.older.len() + outputs.len();
            self.older.extend(outputs.into_iter().map(|output| OlderPackage { spec: index, output }));
            self.specs.push(TreeSpec { data, packages: first..self.packages.len(), older });
        }
    }

    /// Fills [`Self::entries`] for the names that somebody requires.
    fn index(&mut self, wanted: &HashSet<&'a str>) {
        let mut index = Index { wanted, entries: HashMap::default() };
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::default();
        let mut first = 0;
        for (place, package) in self.externals.iter().enumerate() {
            // Two repositories of one kind may hold packages of one identity; together they are one.
            let same = &self.externals[first];
            if (same.origin, same.nevra) != (package.origin, package.nevra) {
                first = place;
            }
            by_name.entry(&package.nevra.name).or_default().push(place);
            let rank = match package.origin {
                PackageOrigin::Staging | PackageOrigin::Tree => Rank::Staging,
                PackageOrigin::Live => Rank::Live,
                PackageOrigin::Base => Rank::Base,
                PackageOrigin::Toolchain => Rank::Toolchain,
            };
            index.add_all(Who::External(first), rank, package.provides, package.files, None);
        }
        for (place, older) in self.older.iter().enumerate() {
            let RecordedOutput { provides, files, .. } = older.output;
            index.add_all(Who::Older(place), Rank::Older, provides, files, None);
        }
        let mut unbuilt: HashMap<String, Vec<usize>> = HashMap::default();
        for spec in &self.specs {
            for place in spec.packages.clone() {
                let who = Who::Tree(place);
                let package = &self.packages[place];
                let name = package.nevra.name.as_str();
                index.add_all(who, Rank::Declared, package.provides, &[], None);
                index.add_listed(who, package.listed);
                let output = self.older[spec.older.clone()].iter();
                if let Some(old) = output.map(|older| older.output).find(|old| old.nevra.name == name) {
                    let carry = Some(Carry::new(old.nevra, old.provides, package.nevra));
                    index.add_all(who, Rank::Recorded, old.provides, old.files, carry);
                    continue;
                }
                for old in by_name.get(name).into_iter().flatten().map(|place| &self.externals[*place]) {
                    let carry = Some(Carry::new(old.nevra, old.provides, package.nevra));
                    index.add_all(who, Rank::Replaced, old.provides, old.files, carry);
                }
                unbuilt.entry(name.to_ascii_lowercase()).or_default().push(place);
            }
        }
        for name in wanted {
            let usual = usual_packages(name);
            let found = usual.iter().filter_map(|package| unbuilt.get(package)).flatten();
            for place in found {
                let entry = Entry { who: Who::Tree(*place), rank: Rank::Suggested, constraint: None };
                index.entries.entry(name).or_default().push(entry);
            }
        }
        let mut entries = index.entries;
        for (name, list) in &mut entries {
            list.sort_by_cached_key(|entry| self.preference(name, entry));
            list.dedup();
        }
        self.entries = entries;
    }

    /// Returns by what providers of a name are put in order; smaller is better.
    fn preference(&self, name: &str, entry: &Entry) -> impl Ord + use<'a> {
        let nevra = self.nevra(entry.who);
        let in_core = matches!(entry.who, Who::External(place) if self.externals[place].in_core);
        // Where names are all that is known, the likelier name counts.
        let guess = if entry.rank == Rank::Suggested { unlikelihood(name, &nevra.name) } else { 0 };
        (
            entry.rank,
            guess,
            nevra.name != name,
            !in_core,
            Reverse(&nevra.evr),
            nevra,
            entry.who,
            entry.constraint.clone(),
        )
    }

    /// Returns who provides a dependency, best first; a package may appear more than once.
    pub(crate) fn providers<'d>(
        &self,
        dependency: &'d Dependency,
    ) -> impl Iterator<Item = &Entry> + use<'_, 'd, 'a> {
        self.named(&dependency.name).iter().filter(|entry| entry.fits(dependency))
    }

    /// Returns everything of a name, whatever its version, best first.
    pub(crate) fn named(&self, name: &str) -> &[Entry] {
        self.entries.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns whether every build root holds a package.
    pub(crate) fn in_core(&self, who: Who) -> bool {
        matches!(who, Who::External(place) if self.externals[place].in_core)
    }

    pub(crate) fn nevra(&self, who: Who) -> &'a Nevra {
        match who {
            Who::Tree(place) => self.packages[place].nevra,
            Who::External(place) => self.externals[place].nevra,
            Who::Older(place) => self.older[place].output.nevra,
        }
    }

    /// Returns the spec that yields a package of the tree, new or old.
    pub(crate) fn spec_of(&self, who: Who) -> Option<usize> {
        match who {
            Who::Tree(place) => Some(self.packages[place].spec),
            Who::Older(place) => Some(self.older[place].spec),
            Who::External(_) => None,
        }
    }

    pub(crate) fn origin(&self, who: Who) -> PackageOrigin {
        match who {
            Who::External(place) => self.externals[place].origin,
            Who::Tree(_) | Who::Older(_) => PackageOrigin::Tree,
        }
    }
}

/// Every name that some requirement of the tree mentions.
pub(crate) fn wanted_names<'a>(catalog: &Catalog<'a>) -> HashSet<&'a str> {
    let specs = catalog.specs.iter().map(|spec| spec.data);
    let build = specs.flat_map(|spec| spec.build_requires.iter().chain(&spec.check_requires));
    let run = catalog
        .packages
        .iter()
        .flat_map(|package| package.requires.iter().chain(package.recorded_requires.iter().copied()));
    build.chain(run).flat_map(|requirement| requirement.leaves()).map(|leaf| leaf.name.as_str()).collect()
}

struct Index<'a, 'w> {
    wanted: &'w HashSet<&'a str>,
    entries: HashMap<&'a str, Vec<Entry>>,
}

impl<'a> Index<'a, '_> {
    /// Adds the files that a spec lists by their full paths. A pattern says nothing certain, for only the build
    /// shows what it matches.
    fn add_listed(&mut self, who: Who, listed: &'a [ListedFile]) {
        for file in listed.iter().filter(|file| !file.excluded && !file.path.contains(['*', '?', '[', '{'])) {
            let is_excluded = || listed.iter().any(|other| other.excluded && other.path == file.path);
            if self.wanted.contains(file.path.as_str()) && !is_excluded() {
                let entry = Entry { who, rank: Rank::Declared, constraint: None };
                self.entries.entry(&file.path).or_default().push(entry);
            }
        }
    }

    fn add_all(
        &mut self,
        who: Who,
        rank: Rank,
        provides: &'a [Dependency],
        files: &'a [String],
        carry: Option<Carry<'_>>,
    ) {
        for provide in provides {
            if self.wanted.contains(provide.name.as_str()) {
                let constraint = match (&provide.constraint, &carry) {
                    (Some(constraint), Some(carry)) => Some(carry.over(constraint)),
                    (constraint, _) => constraint.clone(),
                };
                self.entries.entry(&provide.name).or_default().push(Entry { who, rank, constraint });
            }
        }
        for file in files.iter().filter(|file| self.wanted.contains(file.as_str())) {
            self.entries.entry(file).or_default().push(Entry { who, rank, constraint: None });
        }
    }
}

/// Moves provided versions from an old package to the one that follows it.
#[derive(Clone)]
struct Carry<'v> {
    /// Versions the old package goes by. A bridged toolchain package has one in its EVR and the true one in
    /// the provide of its own name.
    old_versions: Vec<&'v str>,
    new: &'v Evr,
}

impl<'v> Carry<'v> {
    fn new(old: &'v Nevra, provides: &'v [Dependency], new: &'v Nevra) -> Self {
        let own = provides.iter().filter(|provide| provide.name == old.name);
        let versions = own.filter_map(|provide| provide.constraint.as_ref()).map(|c| c.evr.version.as_str());
        Self { old_versions: versions.chain([old.evr.version.as_str()]).collect(), new: &new.evr }
    }

    fn over(&self, provided: &Constraint) -> Constraint {
        let own_version = self.old_versions.contains(&provided.evr.version.as_str());
        if provided.comparison != Comparison::Equal || !own_version {
            return provided.clone();
        }
        // With a release it is the package's EVR; without, a version that a generator found, which has no epoch.
        let evr = match provided.evr.release {
            Some(_) => self.new.clone(),
            None => Evr::new(provided.evr.epoch, self.new.version.clone(), None),
        };
        Constraint { comparison: Comparison::Equal, evr }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_carried_over() {
        let old: Nevra = "zlib-devel-0~deb.1.2.13-1.x86_64".parse().unwrap();
        let new: Nevra = "zlib-devel-1:1.3-2.mw1.x86_64".parse().unwrap();
        let provides: Vec<Dependency> =
            ["zlib-devel = 1.2.13"].into_iter().map(|text| text.parse().unwrap()).collect();
        let carry = Carry::new(&old, &provides, &new);
        for (provided, expected) in [
            ("pkgconfig(zlib) = 1.2.13", "pkgconfig(zlib) = 1.3"),
            ("zlib-devel(x86-64) = 0~deb.1.2.13-1", "zlib-devel(x86-64) = 1:1.3-2.mw1"),
            ("minizip = 1.1", "minizip = 1.1"),
            ("old < 1.2.13", "old < 1.2.13"),
        ] {
            let mut dependency: Dependency = provided.parse().unwrap();
            dependency.constraint = dependency.constraint.map(|constraint| carry.over(&constraint));
            assert_eq!(dependency.to_string(), expected);
        }
    }
}
