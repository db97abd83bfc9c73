//! Follows a request that cannot be satisfied until it is clear what stands against it.
//!
//! In two steps that a reader can follow too. First the packages that can never be in a set, because
//! something they require is nowhere ([`Explainer::find_dead`]). Then what must be in the set because there
//! is no choice, until a requirement has no candidate left ([`Explainer::propagate`]); where there is a
//! choice, the preferred candidate is tried, as the search would do first.

use std::collections::VecDeque;

use rpm_model::Requirement;

use super::{ClashKind, Demand, Explanation, Link, Unsatisfied};
use crate::provider::PackageId;
use crate::solver::choice::{Choice, Item, Requirer, Taste};
use crate::solver::formula::Formula;
use crate::solver::{Goals, attempt};

/// Explains why the goals cannot be reached.
pub(in crate::solver) fn explain(choice: &Choice<'_, '_>, goals: &Goals<'_>) -> Explanation {
    let count = choice.solver.index.end() as usize;
    let mut explainer = Explainer {
        choice,
        goals,
        chosen: vec![None; count],
        order: Vec::new(),
        barred: (0..count).map(|_| None).collect(),
    };
    explainer.find_dead();
    let mut problems = explainer.dead_requests();
    if problems.is_empty() {
        problems.push(explainer.propagate().unwrap_or_else(|| explainer.first_too_many()));
    }
    Explanation { problems }
}

/// What was asked for, in terms of the index.
#[derive(Clone, Copy)]
pub(super) enum Ask<'g> {
    Requirement(&'g Requirement),
    Core(PackageId),
    Absence(&'g Requirement),
}

/// Why a package cannot be in the set.
#[derive(Clone, Copy)]
pub(super) enum Bar<'g> {
    /// It requires this, which nothing can satisfy.
    Dead(&'g Requirement),
    Clash(ClashKind, PackageId),
    Conflict(&'g Requirement),
}

/// A requirement that is open: who has it, what it is, and the ways to satisfy it.
struct Open<'g> {
    requirer: Requirer,
    ask: Ask<'g>,
    items: Vec<Item<'g>>,
}

/// The state of one explanation.
pub(super) struct Explainer<'x, 's, 'a> {
    pub(super) choice: &'x Choice<'s, 'a>,
    pub(super) goals: &'x Goals<'x>,
    /// Packages that must be in the set, and who asked for them.
    chosen: Vec<Option<(Requirer, Ask<'x>)>>,
    order: Vec<PackageId>,
    pub(super) barred: Vec<Option<Bar<'x>>>,
}

impl<'x> Explainer<'x, '_, '_> {
    /// Bars every package that requires something which no package in reach can satisfy.
    fn find_dead(&mut self) {
        let mut reached = vec![false; self.barred.len()];
        let mut queue: VecDeque<PackageId> = self.goals.core.iter().copied().collect();
        queue.extend(self.goals.core.iter().flat_map(|core| self.choice.core_slot(*core)));
        queue.extend(self.goals.requests.iter().flat_map(|(_, formula)| formula.helpful()));
        let mut packages = Vec::new();
        while let Some(id) = queue.pop_front() {
            if self.choice.allowed[id as usize] && !std::mem::replace(&mut reached[id as usize], true) {
                packages.push(id);
                queue.extend(
                    self.choice.solver.requirements_of(id).flat_map(|(_, formula)| formula.helpful()),
                );
            }
        }
        loop {
            let before = packages.len();
            packages.retain(|id| {
                let dead = self.dead_requirement(*id);
                self.barred[*id as usize] = dead.map(Bar::Dead);
                dead.is_none()
            });
            if packages.len() == before {
                return;
            }
        }
    }

    fn dead_requirement(&self, id: PackageId) -> Option<&'x Requirement> {
        let solver = self.choice.solver;
        let possible = |other: PackageId| other == id || self.possible(other);
        solver
            .requirements_of(id)
            .find(|(_, formula)| !possibly_holds(formula, &possible))
            .map(|(requirement, _)| requirement)
    }

    pub(super) fn possible(&self, id: PackageId) -> bool {
        self.choice.allowed[id as usize] && self.barred[id as usize].is_none()
    }

    /// Returns a problem for each part of the request that only dead packages, or none, could satisfy.
    fn dead_requests(&self) -> Vec<Unsatisfied> {
        let possible = |id: PackageId| self.possible(id);
        let requests = self
            .goals
            .requests
            .iter()
            .filter(|(_, formula)| !possibly_holds(formula, &possible))
            .map(|(requirement, _)| Ask::Requirement(requirement));
        let core = self
            .goals
            .core
            .iter()
            .filter(|core| !self.choice.core_slot(**core).iter().any(|id| self.possible(*id)))
            .map(|core| Ask::Core(*core));
        requests.chain(core).map(|ask| self.unsatisfied(ask, Vec::new(), 0)).collect()
    }

    /// Follows what must be in the set until a requirement has no candidate left.
    fn propagate(&mut self) -> Option<Unsatisfied> {
        let mut open: VecDeque<Open<'x>> = VecDeque::new();
        for (conflict, formula) in &self.goals.conflicts {
            self.open_formula(Requirer::Request, Ask::Absence(conflict), formula, &mut open);
        }
        for (requirement, formula) in &self.goals.requests {
            self.open_formula(Requirer::Request, Ask::Requirement(requirement), formula, &mut open);
        }
        for core in &self.goals.core {
            let items = self.choice.core_slot(*core).into_iter().map(Item::Package).collect();
            open.push_back(Open { requirer: Requirer::Request, ask: Ask::Core(*core), items });
        }
        loop {
            let mut waiting = VecDeque::new();
            let mut chose = false;
            while let Some(one) = open.pop_front() {
                match self.viable(&one)[..] {
                    _ if self.satisfied(&one) => {}
                    [] => return Some(self.clash(&one)),
                    [Item::Package(id)] => {
                        chose = true;
                        if let Some(problem) = self.choose(id, &one, &mut open) {
                            return Some(problem);
                        }
                    }
                    _ => waiting.push_back(one),
                }
            }
            open = waiting;
            if !chose {
                // Nothing is forced any more: try what the search would try first.
                let next = open.iter().position(|one| self.viable_package(one).is_some())?;
                let one = open.remove(next)?;
                let id = self.viable_package(&one)?;
                if let Some(problem) = self.choose(id, &one, &mut open) {
                    return Some(problem);
                }
            }
        }
    }

    /// Finds the first requirement that cannot be satisfied beside those before it, where following
    /// preferences did not meet the obstacle.
    fn first_too_many(&self) -> Unsatisfied {
        let mut some = Goals { requests: Vec::new(), ..self.goals.clone() };
        for (requirement, formula) in &self.goals.requests {
            some.requests.push((requirement, formula.clone()));
            if attempt(self.choice, &some).is_none() {
                return self.in_combination(Ask::Requirement(requirement), &formula.helpful());
            }
        }
        let core = self.goals.core.first().copied().unwrap_or_default();
        self.in_combination(Ask::Core(core), &self.choice.core_slot(core))
    }

    fn satisfied(&self, open: &Open<'x>) -> bool {
        open.items.iter().any(|item| match item {
            Item::Package(id) => self.chosen[*id as usize].is_some(),
            Item::Absent(_) | Item::All(_) => false,
        })
    }

    fn viable(&self, open: &Open<'x>) -> Vec<Item<'x>> {
        let viable = |item: &&Item<'x>| match item {
            Item::Package(id) => self.possible(*id),
            Item::Absent(ids) => !ids.iter().any(|id| self.chosen[*id as usize].is_some()),
            Item::All(list) => list.iter().all(|part| possibly_holds(part, &|id| self.possible(id))),
        };
        open.items.iter().filter(viable).copied().collect()
    }

    fn viable_package(&self, open: &Open<'x>) -> Option<PackageId> {
        match self.viable(open).first() {
            Some(Item::Package(id)) => Some(*id),
            _ => None,
        }
    }

    /// Puts a package into the set, bars what it excludes and opens what it requires.
    fn choose(
        &mut self,
        id: PackageId,
        open: &Open<'x>,
        queue: &mut VecDeque<Open<'x>>,
    ) -> Option<Unsatisfied> {
        let solver = self.choice.solver;
        let clashing: Vec<(PackageId, ClashKind)> = self.clashing(id).collect();
        if let Some((other, kind)) = clashing.iter().find(|(other, _)| self.chosen[*other as usize].is_some())
        {
            self.barred[id as usize] = Some(Bar::Clash(*kind, *other));
            return if self.viable(open).is_empty() {
                Some(self.clash(open))
            } else {
                queue.push_back(Open { requirer: open.requirer, ask: open.ask, items: open.items.clone() });
                None
            };
        }
        self.chosen[id as usize] = Some((open.requirer, open.ask));
        self.order.push(id);
        for (other, kind) in clashing {
            self.barred[other as usize].get_or_insert(Bar::Clash(kind, id));
        }
        for (requirement, formula) in solver.requirements_of(id) {
            self.open_formula(Requirer::Package(id), Ask::Requirement(requirement), formula, queue);
        }
        None
    }

    /// Opens the clauses of a formula and bars the packages that it forbids.
    fn open_formula(
        &mut self,
        requirer: Requirer,
        ask: Ask<'x>,
        formula: &'x Formula,
        queue: &mut VecDeque<Open<'x>>,
    ) {
        let taste = match requirer {
            Requirer::Request => Taste::Ours,
            Requirer::Package(id) => Taste::of(self.choice.solver.index.package(id).origin),
        };
        let parts = self.choice.parts(formula, requirer, taste);
        for id in parts.forbidden {
            let (Ask::Absence(requirement) | Ask::Requirement(requirement)) = ask else { continue };
            self.barred[id as usize].get_or_insert(Bar::Conflict(requirement));
        }
        queue.extend(parts.clauses.into_iter().map(|items| Open { requirer, ask, items }));
    }

    /// Returns the packages that cannot be together with a package.
    fn clashing(&self, id: PackageId) -> impl Iterator<Item = (PackageId, ClashKind)> + use<'x> {
        let solver = self.choice.solver;
        let same_name = solver.ids_of_same_name(id).into_iter().filter(|other| *other != id);
        let obsoleted: Vec<PackageId> = solver.obsoleted_by(id).collect();
        let mut clashing: Vec<(PackageId, ClashKind)> =
            same_name.map(|other| (other, ClashKind::SameName)).collect();
        clashing.extend(solver.avoided(id).forbidden.iter().map(|other| {
            let obsoletes = obsoleted.contains(other);
            (*other, if obsoletes { ClashKind::Obsoletes } else { ClashKind::Conflicts })
        }));
        for other in &self.order {
            if solver.avoided(*other).forbidden.contains(&id) {
                let obsoletes = solver.obsoleted_by(*other).any(|obsoleted| obsoleted == id);
                let kind = if obsoletes { ClashKind::Obsoletes } else { ClashKind::Conflicts };
                clashing.push((*other, kind));
            }
        }
        clashing.into_iter()
    }

    fn clash(&self, open: &Open<'x>) -> Unsatisfied {
        let chain = match open.requirer {
            Requirer::Request => Vec::new(),
            Requirer::Package(id) => self.chain_to(id),
        };
        self.unsatisfied(open.ask, chain, 0)
    }

    /// Returns how the request leads to a package that must be in the set.
    pub(super) fn chain_to(&self, id: PackageId) -> Vec<Link> {
        let mut chain = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next.take() {
            let Some((requirer, ask)) = self.chosen[id as usize] else { break };
            chain.push(self.link(ask, id));
            if let Requirer::Package(requirer) = requirer {
                next = Some(requirer);
            }
        }
        chain.reverse();
        chain
    }

    pub(super) fn link(&self, ask: Ask<'_>, id: PackageId) -> Link {
        let package = self.choice.solver.index.package(id);
        Link { demand: self.demand(ask), package: package.header.nevra.clone(), origin: package.origin }
    }

    pub(super) fn demand(&self, ask: Ask<'_>) -> Demand {
        match ask {
            Ask::Requirement(requirement) => Demand::Requirement(requirement.clone()),
            Ask::Absence(conflict) => Demand::Absence(conflict.clone()),
            Ask::Core(id) => Demand::Core(self.choice.solver.index.package(id).header.nevra.clone()),
        }
    }
}

/// Returns whether a formula could hold if every possible package could be had at once.
pub(super) fn possibly_holds(formula: &Formula, possible: &impl Fn(PackageId) -> bool) -> bool {
    match formula {
        Formula::OneOf { packages, .. } => packages.iter().any(|id| possible(*id)),
        Formula::NoneOf(_) => true,
        Formula::All(parts) => parts.iter().all(|part| possibly_holds(part, possible)),
        Formula::Any(parts) => parts.iter().any(|part| possibly_holds(part, possible)),
    }
}
