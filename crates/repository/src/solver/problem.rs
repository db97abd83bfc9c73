//! One solve in the terms of `resolvo`.
//!
//! `resolvo` knows names, of which at most one solvable may be chosen, and requirements on unions of
//! version sets. RPM's capabilities are no names, so every set is written out: version set `2i` is exactly
//! solvable `i`, `2i + 1` is every solvable of its name but `i`; a requirement is a union of the former in
//! order of preference, a conflict is one of the latter for each package that is forbidden. What is no
//! package becomes a virtual solvable with a name of its own: "none of these is in the set" (which
//! conflicts with each of them) and "all of these hold" (which requires each of them).

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::rc::Rc;

use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider, Interner,
    KnownDependencies, NameId, SolvableId, SolverCache, StringId, VersionSetId, VersionSetUnionId,
};

use super::choice::{Choice, Clause, Item, Parts, Requirer, Taste};
use super::formula::Formula;
use super::needs::Need;
use crate::provider::PackageId;

/// The clauses of one requirement.
type Clauses = Rc<[resolvo::Requirement]>;

/// A solvable that is no package.
#[derive(Clone, Copy)]
enum Virtual<'p> {
    Absent(&'p [PackageId]),
    All(&'p [Formula], Requirer, Taste),
}

/// The packages, wishes and limits of one solve, as `resolvo` asks for them.
pub(super) struct Problem<'p, 's, 'a> {
    choice: &'p Choice<'s, 'a>,
    virtuals: RefCell<Vec<Virtual<'p>>>,
    unions: RefCell<Vec<Rc<[VersionSetId]>>>,
    known_unions: RefCell<HashMap<Rc<[VersionSetId]>, resolvo::Requirement>>,
    /// Clauses that are the same for all packages of a taste, by requirement number.
    known_requirements: RefCell<HashMap<(u32, Taste), Clauses>>,
}

impl<'p, 's, 'a> Problem<'p, 's, 'a> {
    pub(super) fn new(choice: &'p Choice<'s, 'a>) -> Self {
        Self {
            choice,
            virtuals: RefCell::default(),
            unions: RefCell::default(),
            known_unions: RefCell::default(),
            known_requirements: RefCell::default(),
        }
    }

    /// Returns a clause as a requirement.
    pub(super) fn requirement(
        &self,
        clause: &Clause<'p>,
        requirer: Requirer,
        taste: Taste,
    ) -> resolvo::Requirement {
        let sets: Rc<[VersionSetId]> =
            clause.iter().map(|item| only(self.solvable(*item, requirer, taste))).collect();
        if let [single] = *sets {
            return single.into();
        }
        *self.known_unions.borrow_mut().entry(sets).or_insert_with_key(|sets| {
            let mut unions = self.unions.borrow_mut();
            unions.push(Rc::clone(sets));
            VersionSetUnionId(unions.len() as u32 - 1).into()
        })
    }

    /// Returns the constraint that a package is not in the set.
    pub(super) fn forbid(&self, id: PackageId) -> VersionSetId {
        all_but(id)
    }

    /// Returns the package that a solvable is, if it is one.
    pub(super) fn package_of(&self, solvable: SolvableId) -> Option<PackageId> {
        let id = solvable.into_raw();
        (id < self.packages()).then_some(id)
    }

    fn packages(&self) -> u32 {
        self.choice.solver.index.end()
    }

    fn solvable(&self, item: Item<'p>, requirer: Requirer, taste: Taste) -> u32 {
        let new = match item {
            Item::Package(id) => return id,
            Item::Absent(packages) => Virtual::Absent(packages),
            Item::All(list) => Virtual::All(list, requirer, taste),
        };
        let mut virtuals = self.virtuals.borrow_mut();
        virtuals.push(new);
        self.packages() + virtuals.len() as u32 - 1
    }

    fn add_parts(&self, parts: &Parts<'p>, requirer: Requirer, taste: Taste, known: &mut KnownDependencies) {
        known.requirements.extend(
            parts
                .clauses
                .iter()
                .map(|clause| ConditionalRequirement::from(self.requirement(clause, requirer, taste))),
        );
        known.constrains.extend(parts.forbidden.iter().map(|id| self.forbid(*id)));
    }

    fn package_dependencies(&self, id: PackageId) -> KnownDependencies {
        let solver = self.choice.solver;
        let requirer = Requirer::Package(id);
        let taste = Taste::of(solver.index.package(id).origin);
        let mut known = KnownDependencies::default();
        for Need { number, formula } in solver.needs.of(id, &solver.index) {
            let formula = formula.as_ref();
            let shared = matches!(formula, Formula::OneOf { packages, .. } if !packages.contains(&id));
            if !shared {
                self.add_parts(&self.choice.parts(formula, requirer, taste), requirer, taste, &mut known);
                continue;
            }
            let requirements = self.known_requirements.borrow().get(&(*number, taste)).cloned();
            let requirements = requirements.unwrap_or_else(|| {
                let parts = self.choice.parts(formula, requirer, taste);
                let new: Rc<[_]> =
                    parts.clauses.iter().map(|clause| self.requirement(clause, requirer, taste)).collect();
                self.known_requirements.borrow_mut().insert((*number, taste), Rc::clone(&new));
                new
            });
            known.requirements.extend(requirements.iter().map(|one| ConditionalRequirement::from(*one)));
        }
        let avoided = solver.avoided(id);
        let forbidden = avoided.forbidden.iter().filter(|other| self.choice.allowed[**other as usize]);
        known.constrains.extend(forbidden.map(|other| self.forbid(*other)));
        for formula in &avoided.formulas {
            self.add_parts(&self.choice.parts(formula, requirer, taste), requirer, taste, &mut known);
        }
        // Many requirements, such as the symbol versions of one library, come to the same packages.
        let mut seen = HashSet::with_capacity(known.requirements.len());
        known.requirements.retain(|requirement| seen.insert(*requirement));
        known
    }

    fn virtual_dependencies(&self, number: usize) -> KnownDependencies {
        let mut known = KnownDependencies::default();
        let solvable = self.virtuals.borrow()[number];
        match solvable {
            Virtual::Absent(packages) => {
                let allowed = packages.iter().filter(|id| self.choice.allowed[**id as usize]);
                known.constrains.extend(allowed.map(|id| self.forbid(*id)));
            }
            Virtual::All(list, requirer, taste) => {
                for formula in list {
                    let parts = self.choice.parts(formula, requirer, taste);
                    self.add_parts(&parts, requirer, taste, &mut known);
                }
            }
        }
        known
    }
}

fn only(solvable: u32) -> VersionSetId {
    VersionSetId(2 * solvable)
}

fn all_but(solvable: u32) -> VersionSetId {
    VersionSetId(2 * solvable + 1)
}

impl Interner for Problem<'_, '_, '_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        solvable.into_raw()
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        name.into_raw()
    }

    fn display_version_set(&self, version_set: VersionSetId) -> impl Display + '_ {
        version_set.0
    }

    fn display_string(&self, string_id: StringId) -> impl Display + '_ {
        string_id.0
    }

    fn version_set_name(&self, version_set: VersionSetId) -> NameId {
        self.solvable_name(SolvableId::from_raw(version_set.0 / 2))
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        let solver = self.choice.solver;
        match self.package_of(solvable) {
            // The number of a package of the name; virtual solvables have names of their own behind them.
            Some(id) => NameId::from_raw(solver.needs.name_number(id, &solver.index)),
            None => NameId::from_raw(solvable.into_raw()),
        }
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        let sets = Rc::clone(&self.unions.borrow()[union.0 as usize]);
        (0..sets.len()).map(move |number| sets[number])
    }

    fn resolve_condition(&self, _: ConditionId) -> Condition {
        unreachable!("conditions are written out as virtual solvables, none is ever made")
    }
}

impl DependencyProvider for Problem<'_, '_, '_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let named = SolvableId::from_raw(version_set.0 / 2);
        let exactly = version_set.0.is_multiple_of(2) != inverse;
        candidates.iter().copied().filter(|candidate| (*candidate == named) == exactly).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates<SolvableId>> {
        let solver = self.choice.solver;
        let candidates = match self.package_of(SolvableId::from_raw(name.into_raw())) {
            None => vec![SolvableId::from_raw(name.into_raw())],
            Some(id) => {
                let ids = solver.ids_of_same_name(id).into_iter();
                ids.filter(|id| self.choice.allowed[*id as usize]).map(SolvableId::from_raw).collect()
            }
        };
        Some(Candidates { candidates, ..Candidates::default() })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, _: &mut [SolvableId]) {
        // Every version set that is required holds one solvable; the union has the order.
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        Dependencies::Known(match self.package_of(solvable) {
            Some(id) => self.package_dependencies(id),
            None => self.virtual_dependencies((solvable.into_raw() - self.packages()) as usize),
        })
    }
}
