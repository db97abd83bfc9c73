//! From requirements to the exact set of packages that satisfies them.
//!
//! What it is: a full-closure solver without an installed system. [`Solver::new`] indexes packages once;
//! [`Solver::solve`] is then cheap and may be called from many threads; [`Solver::replace`] follows what is
//! built meanwhile. What requirements mean is worked out when a package is first met and kept ([`needs`]).
//! The search itself is `resolvo`'s ([`problem`]); what is preferred is decided in [`choice`], what
//! requirements mean in [`formula`], what to say when there is no answer in
//! [`explain`].
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
mod needs;
mod outcome;
mod problem;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use rpm_model::{Dependency, LockedPackage, Nevra, PackagePattern, PackageRules, Requirement};

use self::choice::{Choice, Item, Requirer, Taste, Wish};
pub use self::explain::{ClashKind, Demand, Explanation, Link, Refused, Unsatisfied, WhyNot};
use self::formula::Formula;
use self::needs::{Avoided, Needs};
pub use self::outcome::{EntryReason, ResolvedNote, ResolvedPackage, ResolvedSet, WhyNotTree};
use self::problem::Problem;
use crate::header::IndexedPackage;
use crate::index_file::RepositoryIndex;
use crate::provider::{HeldPackage, PackageId, ProviderIndex};

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
    /// Of the packages that were given with an owner ([`Solver::replace`]) only those of these may be used;
    /// `None` allows all.
    pub owners: Option<&'r BTreeSet<String>>,
    /// Packages of this architecture and `noarch` ones may be used.
    pub arch: &'r str,
}

impl<'r> SolveRequest<'r> {
    /// Returns a request for some requirements and nothing else.
    pub fn new(arch: &'r str, requirements: &'r [Requirement]) -> Self {
        Self { requirements, conflicts: &[], core: &[], exclude: &[], owners: None, arch }
    }
}

/// An index of packages that answers requests; see the module text for the rules.
#[derive(Debug)]
pub struct Solver<'a> {
    index: ProviderIndex<'a>,
    needs: Needs,
    rules: PackageRules,
    /// Packages that the rules do not allow, sorted.
    banned: Vec<PackageId>,
}

impl<'a> Solver<'a> {
    /// Indexes packages of any number of origins.
    pub fn new(packages: impl IntoIterator<Item = impl Into<HeldPackage<'a>>>) -> Self {
        Self::with_repositories(Vec::new(), packages)
    }

    /// Indexes whole repositories and packages beside them.
    pub fn with_repositories(
        repositories: Vec<Arc<RepositoryIndex>>,
        packages: impl IntoIterator<Item = impl Into<HeldPackage<'a>>>,
    ) -> Self {
        let index = ProviderIndex::with_repositories(repositories, packages);
        let needs = Needs::new(&index);
        Self { index, needs, rules: PackageRules::default(), banned: Vec::new() }
    }

    /// Says which packages may be used from now on.
    pub fn set_rules(&mut self, rules: PackageRules) {
        self.banned = banned(&rules, &self.index);
        self.rules = rules;
    }

    /// Puts packages in the place of all that were given for the same owner before, for example a spec.
    pub fn replace(&mut self, owner: &str, packages: Vec<Arc<IndexedPackage>>) {
        let replaced = self.index.replace(owner, packages);
        self.needs.forget(&replaced, &self.index);
        if !self.rules.is_empty() {
            self.banned = banned(&self.rules, &self.index);
        }
    }

    /// Returns which packages may be used at all.
    pub fn rules(&self) -> &PackageRules {
        &self.rules
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
            let same = |id: &PackageId| {
                let package = self.index.package(*id);
                package.header.nevra == locked.nevra && package.sha256 == locked.sha256
            };
            let found = self.index.ids_named(&locked.nevra.name).into_iter().find(same);
            core.push(found.ok_or_else(|| Box::new(Explanation::core_missing(locked)))?);
        }
        self.index.sort(&mut core);
        Ok(Goals {
            requests: requirements.into_iter().map(satisfied).collect(),
            conflicts: conflicts.into_iter().map(avoided).collect(),
            core,
        })
    }

    fn choice<'s>(&'s self, request: &SolveRequest<'s>, goals: &Goals<'_>) -> Choice<'s, 'a> {
        let count = self.index.end() as usize;
        let mut choice = Choice {
            solver: self,
            allowed: self.needs.usable(request.arch),
            arch: request.arch,
            excluded: request.exclude,
            is_core: vec![false; count],
            wished: vec![false; count],
            refused: vec![false; count],
            replaced: vec![false; count],
        };
        for id in &self.banned {
            choice.allowed[*id as usize] = false;
        }
        for nevra in request.exclude {
            let ids = self.index.ids_named(&nevra.name).into_iter();
            for id in ids.filter(|id| self.index.package(*id).header.nevra == *nevra) {
                choice.allowed[id as usize] = false;
            }
        }
        if let Some(owners) = request.owners {
            self.index.ids_of_other_owners(owners).for_each(|id| choice.allowed[id as usize] = false);
        }
        for id in &goals.core {
            choice.is_core[*id as usize] = true;
            choice.allowed[*id as usize] = true;
        }
        choice
    }

    fn requirements_of(&self, id: PackageId) -> impl Iterator<Item = (&Requirement, &Formula)> {
        let needs = self.needs.of(id, &self.index).iter();
        self.index.package(id).header.requires.iter().zip(needs.map(|need| need.formula.as_ref()))
    }

    /// Returns the packages that a package obsoletes: by name and version, never by what they provide.
    fn obsoleted_by(&self, id: PackageId) -> impl Iterator<Item = PackageId> {
        let header = &self.index.package(id).header;
        header.obsoletes.iter().flat_map(move |obsolete| {
            let ids = self.index.ids_named(&obsolete.name).into_iter();
            ids.filter(move |other| *other != id && self.obsoletes(obsolete, *other))
        })
    }

    /// Returns the packages that obsolete a package, in canonical order.
    fn obsoleters_of(&self, id: PackageId) -> Vec<PackageId> {
        let name = self.index.package(id).header.nevra.name.as_str();
        let obsoletes = |(other, place): &(PackageId, u32)| {
            let obsolete = &self.index.package(*other).header.obsoletes[*place as usize];
            *other != id && self.obsoletes(obsolete, id)
        };
        let mut ids: Vec<PackageId> =
            self.index.obsoleter_ids(name).filter(obsoletes).map(|(other, _)| other).collect();
        self.index.sort(&mut ids);
        ids
    }

    fn obsoletes(&self, obsolete: &Dependency, id: PackageId) -> bool {
        obsolete.admits(&self.index.package(id).header.nevra.evr)
    }

    fn avoided(&self, id: PackageId) -> &Avoided {
        self.needs.avoided(id, &self.index, || self.obsoleted_by(id).collect())
    }

    /// Returns the packages of a package's name, itself included, in canonical order.
    fn ids_of_same_name(&self, id: PackageId) -> Vec<PackageId> {
        self.index.ids_named(&self.index.package(id).header.nevra.name)
    }
}

/// Returns the packages that the rules keep out, sorted.
fn banned(rules: &PackageRules, index: &ProviderIndex<'_>) -> Vec<PackageId> {
    let names = rules.pins.iter().map(|pin| pin.name.as_str());
    let names = names.chain(rules.excludes.iter().filter_map(PackagePattern::name));
    let mut ids: Vec<PackageId> = names.flat_map(|name| index.ids_named(name)).collect();
    if rules.excludes.iter().any(|pattern| pattern.name().is_none()) {
        ids.extend(index.ids());
    }
    ids.sort_unstable();
    ids.dedup();
    ids.retain(|id| rules.ban(&index.package(*id).header.nevra).is_some());
    ids
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
