//! From requirements to the exact set of packages that satisfies them.
//!
//! What it is: a full-closure solver without an installed system. [`Solver::new`] indexes packages once;
//! [`Solver::solve`] is then cheap and may be called from many threads. The search itself is `resolvo`'s
//! ([`problem`]); what is preferred is decided in [`choice`], what requirements mean in [`formula`], what to
//! say when there is no answer in [`explain`].
//!
//! Rules beyond the preferences: a name has at most one version; conflicts and obsoletes hold; weak
//! dependencies are not followed; each core package is there, or another package of its name, or one that
//! obsoletes it. Equal input in any order gives an equal answer, and a package that nothing leads to
//! changes no answer.
//!
//! A preferred package of the tree may be impossible (rule 8 of the bridge: a library without the symbol
//! versions that the toolchain's programs need). The search then quietly takes another one; the solver
//! notices, because it knows what it wished for, and says so in a [`ResolvedNote`].

mod choice;
mod explain;
mod formula;
mod outcome;
mod problem;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::OnceLock;

use rpm_model::{LockedPackage, Nevra, Requirement};

use self::choice::{Choice, Item, Requirer, Taste, Wish};
pub use self::explain::{ClashKind, Demand, Explanation, Link, Refused, Unsatisfied, WhyNot};
use self::formula::Formula;
pub use self::outcome::{EntryReason, ResolvedNote, ResolvedPackage, ResolvedSet, WhyNotTree};
use self::problem::Problem;
use crate::header::IndexedPackage;
use crate::provider::{PackageId, ProviderIndex};

/// What a set of packages must satisfy.
#[derive(Clone, Copy, Debug)]
pub struct SolveRequest<'r> {
    /// What the set must provide, for example a spec's build requirements; the order means nothing.
    pub requirements: &'r [Requirement],
    /// What must not be in the set, for example a spec's build conflicts.
    pub conflicts: &'r [Requirement],
    /// Packages that are in the set in any case, each itself or replaced: the worker's frozen core.
    pub core: &'r [LockedPackage],
    /// Packages that must not be used, from whatever origin.
    pub exclude: &'r [Nevra],
    /// Packages of this architecture and `noarch` ones may be used.
    pub arch: &'r str,
}

impl<'r> SolveRequest<'r> {
    /// Returns a request for some requirements and nothing else.
    pub fn new(arch: &'r str, requirements: &'r [Requirement]) -> Self {
        Self { requirements, conflicts: &[], core: &[], exclude: &[], arch }
    }
}

/// What a package must not be together with, for its conflicts and obsoletes.
#[derive(Debug, Default)]
struct Avoided {
    forbidden: Vec<PackageId>,
    /// Conflicts that are boolean expressions, as "does not apply".
    formulas: Vec<Formula>,
}

/// An index of packages that answers requests; see the module text for the rules.
#[derive(Debug)]
pub struct Solver<'a> {
    index: ProviderIndex<'a>,
    /// Every distinct requirement of any package.
    requirements: Vec<&'a Requirement>,
    formulas: Vec<OnceLock<Formula>>,
    /// For each package the numbers of its requirements.
    package_requirements: Vec<Vec<u32>>,
    avoided: Vec<OnceLock<Avoided>>,
    /// The architectures, in the order in which they were met, and for each package the number of its own.
    archs: Vec<&'a str>,
    arch_numbers: Vec<u32>,
    /// For each package the number of its name; names are numbered in sorted order.
    name_numbers: Vec<u32>,
    /// For each name its packages, which are neighbours in the index.
    name_ranges: Vec<Range<PackageId>>,
    /// For each obsoleted name: the package that obsoletes it, and by which of its entries.
    obsoleters: HashMap<&'a str, Vec<(PackageId, u32)>>,
}

impl<'a> Solver<'a> {
    /// Indexes packages of any number of origins.
    pub fn new(packages: impl IntoIterator<Item = &'a IndexedPackage>) -> Self {
        let index = ProviderIndex::new(packages);
        let requirement_count = index.packages().iter().map(|package| package.header.requires.len()).sum();
        let mut numbers: HashMap<&Requirement, u32> = HashMap::with_capacity(requirement_count);
        let mut requirements = Vec::new();
        let mut package_requirements = Vec::with_capacity(index.packages().len());
        let mut name_numbers = Vec::with_capacity(index.packages().len());
        let mut name_ranges: Vec<Range<PackageId>> = Vec::new();
        let mut obsoleters: HashMap<&str, Vec<(PackageId, u32)>> = HashMap::new();
        let mut archs: Vec<&str> = Vec::new();
        let mut arch_numbers = Vec::with_capacity(index.packages().len());
        let mut former_name = None;
        for (id, package) in (0..).zip(index.packages()) {
            let header = &package.header;
            let number_of = |requirement: &'a Requirement| {
                *numbers.entry(requirement).or_insert_with(|| {
                    requirements.push(requirement);
                    requirements.len() as u32 - 1
                })
            };
            package_requirements.push(header.requires.iter().map(number_of).collect());
            if former_name.replace(&header.nevra.name) != Some(&header.nevra.name) {
                name_ranges.push(id..id);
            }
            name_numbers.push(name_ranges.len() as u32 - 1);
            let arch = archs.iter().position(|arch| *arch == header.nevra.arch).unwrap_or_else(|| {
                archs.push(&header.nevra.arch);
                archs.len() - 1
            });
            arch_numbers.push(arch as u32);
            if let Some(range) = name_ranges.last_mut() {
                range.end = id + 1;
            }
            for (number, obsolete) in (0..).zip(&header.obsoletes) {
                obsoleters.entry(&obsolete.name).or_default().push((id, number));
            }
        }
        Self {
            formulas: requirements.iter().map(|_| OnceLock::new()).collect(),
            avoided: index.packages().iter().map(|_| OnceLock::new()).collect(),
            index,
            requirements,
            package_requirements,
            archs,
            arch_numbers,
            name_numbers,
            name_ranges,
            obsoleters,
        }
    }

    /// Returns the index that the solver searches in.
    pub fn index(&self) -> &ProviderIndex<'a> {
        &self.index
    }

    /// Finds the packages that satisfy a request, by the preferences in the module text.
    ///
    /// # Errors
    /// An [`Explanation`] of what cannot be satisfied and why each candidate was refused.
    pub fn solve(&self, request: &SolveRequest<'_>) -> Result<ResolvedSet, Box<Explanation>> {
        let goals = self.goals(request)?;
        let mut choice = self.choice(request, &goals);
        let requests: Vec<(&Requirement, &Formula)> =
            goals.requests.iter().map(|(requirement, formula)| (*requirement, formula)).collect();
        let mut refused: Vec<Wish<'_>> = Vec::new();
        loop {
            let wishes = choice.wish(&requests);
            let Some(set) = attempt(&choice, &goals) else {
                return Err(Box::new(explain::explain(&choice, &goals)));
            };
            let present = |id: &PackageId| set.binary_search(id).is_ok();
            let new: Vec<Wish<'_>> = wishes
                .into_iter()
                .filter(|wish| match wish.requirer {
                    Requirer::Request => !present(&wish.package),
                    Requirer::Package(requirer) => present(&requirer) && !present(&wish.package),
                })
                .collect();
            if new.is_empty() {
                return Ok(outcome::resolved(&choice, &goals, &set, &refused));
            }
            // Their own wishes may now lead nowhere: wish again without them.
            new.iter().for_each(|wish| choice.refused[wish.package as usize] = true);
            refused.extend(new);
            choice.wished.fill(false);
            choice.replaced.fill(false);
        }
    }

    fn goals<'g>(&'g self, request: &SolveRequest<'g>) -> Result<Goals<'g>, Box<Explanation>> {
        // Sorted: the order in which a spec lists its requirements must not matter.
        let requirements: BTreeSet<&Requirement> = request.requirements.iter().collect();
        let conflicts: BTreeSet<&Requirement> = request.conflicts.iter().collect();
        let satisfied = |requirement| (requirement, Formula::satisfied(requirement, &self.index));
        let avoided = |conflict| (conflict, Formula::avoided(conflict, &self.index, None));
        let mut core = Vec::with_capacity(request.core.len());
        for locked in request.core {
            let same = |id: &&PackageId| {
                let package = self.index.package(**id);
                package.header.nevra == locked.nevra && package.sha256 == locked.sha256
            };
            let found = self.index.ids_named(&locked.nevra.name).iter().find(same);
            core.push(*found.ok_or_else(|| Box::new(Explanation::core_missing(locked)))?);
        }
        core.sort_unstable();
        core.dedup();
        Ok(Goals {
            requests: requirements.into_iter().map(satisfied).collect(),
            conflicts: conflicts.into_iter().map(avoided).collect(),
            core,
        })
    }

    fn choice<'s>(&'s self, request: &SolveRequest<'s>, goals: &Goals<'_>) -> Choice<'s, 'a> {
        let count = self.index.packages().len();
        let usable: Vec<bool> =
            self.archs.iter().map(|arch| *arch == request.arch || *arch == "noarch").collect();
        let mut choice = Choice {
            solver: self,
            allowed: self.arch_numbers.iter().map(|number| usable[*number as usize]).collect(),
            excluded: request.exclude,
            is_core: vec![false; count],
            wished: vec![false; count],
            refused: vec![false; count],
            replaced: vec![false; count],
        };
        for nevra in request.exclude {
            let ids = self.index.ids_named(&nevra.name).iter();
            for id in ids.filter(|id| self.index.package(**id).header.nevra == *nevra) {
                choice.allowed[*id as usize] = false;
            }
        }
        for id in &goals.core {
            choice.is_core[*id as usize] = true;
            choice.allowed[*id as usize] = true;
        }
        choice
    }

    fn formula(&self, number: u32) -> &Formula {
        let number = number as usize;
        self.formulas[number].get_or_init(|| Formula::satisfied(self.requirements[number], &self.index))
    }

    fn requirement_numbers(&self, id: PackageId) -> &[u32] {
        &self.package_requirements[id as usize]
    }

    fn requirements_of(&self, id: PackageId) -> impl Iterator<Item = (&'a Requirement, &Formula)> {
        self.requirement_numbers(id)
            .iter()
            .map(|number| (self.requirements[*number as usize], self.formula(*number)))
    }

    fn avoided(&self, id: PackageId) -> &Avoided {
        self.avoided[id as usize].get_or_init(|| {
            let mut avoided = Avoided { forbidden: self.obsoleted_by(id).collect(), formulas: Vec::new() };
            for conflict in &self.index.package(id).header.conflicts {
                match Formula::avoided(conflict, &self.index, Some(id)) {
                    Formula::NoneOf(packages) => avoided.forbidden.extend(packages),
                    formula => avoided.formulas.push(formula),
                }
            }
            avoided.forbidden.sort_unstable();
            avoided.forbidden.dedup();
            avoided
        })
    }

    /// Returns the packages that a package obsoletes: by name and version, never by what they provide.
    fn obsoleted_by(&self, id: PackageId) -> impl Iterator<Item = PackageId> {
        let header = &self.index.package(id).header;
        header.obsoletes.iter().flat_map(move |obsolete| {
            let ids = self.index.ids_named(&obsolete.name).iter().copied();
            ids.filter(move |other| *other != id && self.obsoletes(obsolete, *other))
        })
    }

    /// Returns the packages that obsolete a package.
    fn obsoleters_of(&self, id: PackageId) -> impl Iterator<Item = PackageId> {
        let name = self.index.package(id).header.nevra.name.as_str();
        let entries = self.obsoleters.get(name).map_or(&[][..], Vec::as_slice);
        entries
            .iter()
            .filter(move |(other, number)| {
                let obsolete = &self.index.package(*other).header.obsoletes[*number as usize];
                *other != id && self.obsoletes(obsolete, id)
            })
            .map(|(other, _)| *other)
    }

    fn obsoletes(&self, obsolete: &rpm_model::Dependency, id: PackageId) -> bool {
        use rpm_model::{Comparison, Constraint};
        obsolete.constraint.as_ref().is_none_or(|constraint| {
            let evr = self.index.package(id).header.nevra.evr.clone();
            constraint.overlaps(&Constraint { comparison: Comparison::Equal, evr })
        })
    }

    fn name_number(&self, id: PackageId) -> u32 {
        self.name_numbers[id as usize]
    }

    fn names(&self) -> u32 {
        self.name_ranges.len() as u32
    }

    fn ids_of_name(&self, name: u32) -> Range<PackageId> {
        self.name_ranges[name as usize].clone()
    }
}

/// A request in terms of the index.
#[derive(Clone)]
struct Goals<'g> {
    requests: Vec<(&'g Requirement, Formula)>,
    /// The conflicts, as "does not apply".
    conflicts: Vec<(&'g Requirement, Formula)>,
    core: Vec<PackageId>,
}

/// Searches for a set that satisfies the goals; returns its packages, sorted.
fn attempt(choice: &Choice<'_, '_>, goals: &Goals<'_>) -> Option<Vec<PackageId>> {
    let problem = Problem::new(choice);
    let mut requirements = Vec::new();
    let mut constraints = Vec::new();
    for (_, formula) in goals.requests.iter().chain(&goals.conflicts) {
        let parts = choice.parts(formula, Requirer::Request, Taste::Ours);
        let clauses = parts.clauses.iter();
        requirements
            .extend(clauses.map(|clause| problem.requirement(clause, Requirer::Request, Taste::Ours)));
        constraints.extend(parts.forbidden.into_iter().map(|id| problem.forbid(id)));
    }
    for id in &goals.core {
        let slot = choice.core_slot(*id).into_iter().map(Item::Package).collect();
        requirements.push(problem.requirement(&slot, Requirer::Request, Taste::Ours));
    }
    let mut solver = resolvo::Solver::new(problem);
    let requirements = requirements.into_iter().map(Into::into).collect();
    let problem = resolvo::Problem::new().requirements(requirements).constraints(constraints);
    let chosen = solver.solve(problem).ok()?;
    let mut set: Vec<PackageId> =
        chosen.into_iter().filter_map(|solvable| solver.provider().package_of(solvable)).collect();
    set.sort_unstable();
    Some(set)
}
