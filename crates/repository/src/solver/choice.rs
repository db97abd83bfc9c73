//! What may be chosen in one solve, and what is preferred.
//!
//! The rules (design §5, "core and generations"):
//! - What a spec asks for, and what packages of the tree ask for, is satisfied by the tree first, then by
//!   staging, then by the live repository, then by what the root holds anyway (core), then base, then
//!   toolchain.
//! - What packages of a base or of the toolchain ask for is satisfied by what is there: by packages that
//!   the rule above brought in, then core, then their own origin. So the tree's zlib enters a root only
//!   when a spec or a package of the tree leads to it, although every compiler needs a zlib.
//! - Among equals the package of the name that was asked for, then the highest EVR, then the name.
//!
//! [`Choice::wish`] follows the first rule from the requirements through the tree's packages; the packages
//! it finds are *wished for*, and the satisfiability search only has to confirm them.

use std::cmp::Reverse;
use std::collections::VecDeque;

use rpm_model::{Evr, Nevra, PackageOrigin, Requirement};

use super::Solver;
use super::formula::Formula;
use crate::provider::PackageId;

/// Who has a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Requirer {
    /// The request itself.
    Request,
    /// A package of the set.
    Package(PackageId),
}

/// Whose preferences apply to a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Taste {
    /// The request's, and those of packages of the tree and the live repository.
    Ours,
    /// Those of packages of a base distribution.
    Base,
    /// Those of packages of the toolchain.
    Toolchain,
}

impl Taste {
    pub(super) fn of(origin: PackageOrigin) -> Self {
        match origin {
            PackageOrigin::Tree | PackageOrigin::Staging | PackageOrigin::Live => Self::Ours,
            PackageOrigin::Base => Self::Base,
            PackageOrigin::Toolchain => Self::Toolchain,
        }
    }
}

/// One way to satisfy a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'f> {
    /// This package is in the set.
    Package(PackageId),
    /// None of these packages is in the set.
    Absent(&'f [PackageId]),
    /// All of these formulas hold.
    All(&'f [Formula]),
}

/// Ways to satisfy a requirement, the preferred one first; one of them must come true.
pub(super) type Clause<'f> = Vec<Item<'f>>;

/// A formula taken apart: clauses that must all hold, and packages that must not be there.
#[derive(Debug, Default)]
pub(super) struct Parts<'f> {
    pub(super) clauses: Vec<Clause<'f>>,
    pub(super) forbidden: Vec<PackageId>,
}

/// A package that a rule prefers for a requirement, before anything is solved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'s> {
    pub(super) requirer: Requirer,
    pub(super) requirement: &'s Requirement,
    pub(super) package: PackageId,
}

/// A requirement, its formula, and who has it.
type Demand<'f> = (Requirer, (&'f Requirement, &'f Formula));

/// What preference picks for one formula.
#[derive(Default)]
struct Picked {
    packages: Vec<PackageId>,
    /// Whether the formula holds because something is absent so far.
    absence: bool,
}

/// Ranks, lowest first.
mod rank {
    /// Costs nothing: wished for already, or a condition that does not hold.
    pub(super) const FREE: u8 = 0;
    /// First of the six places that origins take.
    pub(super) const FIRST_ORIGIN: u8 = 1;
    /// The last rank that a package of the tree, of staging or of the live repository has for [`super::Taste::Ours`].
    pub(super) const LAST_OURS: u8 = 3;
    /// Would bring in a package only because a condition names it.
    pub(super) const RELUCTANT: u8 = 20;
    /// Speaks against a package that is expected to be there.
    pub(super) const CONTRARY: u8 = 21;
    /// Wished for before, and found impossible.
    pub(super) const REFUSED: u8 = 22;
}

/// The order of the ways to satisfy a clause; no two packages are equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Preference<'a> {
    rank: u8,
    /// Which operand of an `or` it stems from.
    operand: u32,
    /// The name that was asked for goes first.
    other_name: bool,
    evr: Reverse<Option<&'a Evr>>,
    /// In the canonical order of the candidates.
    place: usize,
}

type Ranked<'s, 'f> = Vec<(Preference<'s>, Item<'f>)>;

/// What one solve may choose from, and its preferences.
pub(super) struct Choice<'s, 'a> {
    pub(super) solver: &'s Solver<'a>,
    /// Right architecture and not excluded.
    pub(super) allowed: Vec<bool>,
    /// The architecture asked for.
    pub(super) arch: &'s str,
    /// What the request excludes; the reason behind some of `allowed`.
    pub(super) excluded: &'s [Nevra],
    pub(super) is_core: Vec<bool>,
    /// Preferred packages of the tree and the live repository.
    pub(super) wished: Vec<bool>,
    /// Packages that were wished for and cannot be had.
    pub(super) refused: Vec<bool>,
    /// Core packages that a wished package replaces.
    pub(super) replaced: Vec<bool>,
}

impl<'s, 'a> Choice<'s, 'a> {
    /// Returns whether a package is for an architecture that may be used.
    pub(super) fn usable(&self, id: PackageId) -> bool {
        let arch = self.solver.index.arch(id);
        arch == self.arch || arch == "noarch"
    }

    /// Returns whether a package is expected in the result, before it is solved.
    fn expected(&self, id: PackageId) -> bool {
        let at = id as usize;
        self.wished[at] || (self.is_core[at] && !self.replaced[at])
    }

    fn rank(&self, id: PackageId, taste: Taste) -> u8 {
        use PackageOrigin::{Base, Live, Staging, Toolchain, Tree};
        let at = id as usize;
        if self.wished[at] {
            return rank::FREE;
        }
        if self.refused[at] {
            return rank::REFUSED;
        }
        let place = match (taste, self.solver.index.package(id).origin) {
            (Taste::Ours, Tree) => 0,
            (Taste::Ours, Staging) => 1,
            (Taste::Ours, Live) => 2,
            (Taste::Ours, _) if self.expected(id) => 3,
            (Taste::Ours, Base) => 4,
            (Taste::Ours, Toolchain) => 5,
            _ if self.expected(id) => 0,
            (Taste::Base, Base) | (Taste::Toolchain, Toolchain) => 1,
            (Taste::Base, Toolchain) | (Taste::Toolchain, Base) => 2,
            (Taste::Base | Taste::Toolchain, Live) => 3,
            (Taste::Base | Taste::Toolchain, Staging) => 4,
            (Taste::Base | Taste::Toolchain, Tree) => 5,
        };
        rank::FIRST_ORIGIN + place
    }

    /// Takes a formula of a requirer apart into clauses, each sorted by preference.
    pub(super) fn parts<'f>(&self, formula: &'f Formula, requirer: Requirer, taste: Taste) -> Parts<'f> {
        let mut parts = Parts::default();
        self.collect(formula, requirer, taste, &mut parts);
        parts
    }

    fn collect<'f>(&self, formula: &'f Formula, requirer: Requirer, taste: Taste, parts: &mut Parts<'f>) {
        match formula {
            Formula::All(list) => list.iter().for_each(|part| self.collect(part, requirer, taste, parts)),
            Formula::NoneOf(packages) => {
                parts.forbidden.extend(packages.iter().filter(|id| self.allowed[**id as usize]));
            }
            Formula::OneOf { .. } | Formula::Any(_) => {
                if let Some(ranked) = self.alternatives(formula, requirer, taste) {
                    parts.clauses.push(ranked.into_iter().map(|(_, item)| item).collect());
                }
            }
        }
    }

    /// Returns the ways to satisfy a formula, sorted; `None` when it holds anyway.
    fn alternatives<'f>(
        &self,
        formula: &'f Formula,
        requirer: Requirer,
        taste: Taste,
    ) -> Option<Ranked<'s, 'f>> {
        let mut ranked = Vec::new();
        let open = self.alternatives_into(formula, requirer, taste, &mut 0, &mut ranked);
        ranked.sort_by(|a, b| a.0.cmp(&b.0));
        open.then_some(ranked)
    }

    fn alternatives_into<'f>(
        &self,
        formula: &'f Formula,
        requirer: Requirer,
        taste: Taste,
        operand: &mut u32,
        ranked: &mut Ranked<'s, 'f>,
    ) -> bool {
        let special =
            |rank, operand| Preference { rank, operand, other_name: false, evr: Reverse(None), place: 0 };
        *operand += 1;
        match formula {
            Formula::OneOf { packages, reluctant, name } => {
                if let Requirer::Package(id) = requirer
                    && packages.contains(&id)
                {
                    return false;
                }
                let placed = packages.iter().copied().enumerate();
                let allowed = placed.filter(|(_, id)| self.allowed[*id as usize]);
                ranked.extend(allowed.map(|(place, id)| {
                    let nevra = &self.solver.index.package(id).header.nevra;
                    let unexpected = *reluctant && !self.expected(id);
                    let preference = Preference {
                        rank: if unexpected { rank::RELUCTANT } else { self.rank(id, taste) },
                        operand: *operand,
                        other_name: nevra.name != *name,
                        evr: Reverse(Some(&nevra.evr)),
                        place,
                    };
                    (preference, Item::Package(id))
                }));
                true
            }
            Formula::NoneOf(packages) => {
                let contrary = packages.iter().any(|id| self.expected(*id));
                let rank = if contrary { rank::CONTRARY } else { rank::FREE };
                ranked.push((special(rank, *operand), Item::Absent(packages)));
                packages.iter().any(|id| self.allowed[*id as usize])
            }
            Formula::All(list) => {
                let ranks = list.iter().map(|part| self.best_rank(part, requirer, taste));
                let rank = ranks.max().unwrap_or(rank::FREE);
                ranked.push((special(rank, *operand), Item::All(list)));
                true
            }
            Formula::Any(list) => {
                list.iter().all(|part| self.alternatives_into(part, requirer, taste, operand, ranked))
            }
        }
    }

    fn best_rank(&self, formula: &Formula, requirer: Requirer, taste: Taste) -> u8 {
        match self.alternatives(formula, requirer, taste) {
            Some(ranked) => ranked.first().map_or(rank::REFUSED, |(preference, _)| preference.rank),
            None => rank::FREE,
        }
    }

    /// Finds the packages of the tree and the live repository that the requests lead to, by preference
    /// alone, and marks them in [`Choice::wished`]; returns who asked for each.
    pub(super) fn wish<'f>(&mut self, requests: &[(&'f Requirement, &'f Formula)]) -> Vec<Wish<'f>>
    where
        's: 'f,
    {
        let solver = self.solver;
        let mut wishes = Vec::new();
        // How many packages are wished for: a wish for one of them again changes nothing.
        let mut wished = 0;
        let mut open: VecDeque<Demand<'f>> = requests.iter().map(|one| (Requirer::Request, *one)).collect();
        // What leaves a choice waits for what leaves none, so that the choice can use what is there then.
        let mut undecided = VecDeque::new();
        // What holds as long as some package is absent is looked at again when more packages are wished for.
        let mut conditional: Vec<(usize, Demand<'f>)> = Vec::new();
        loop {
            let (demand, forced) = match open.pop_front() {
                Some(demand) => (demand, false),
                None => match undecided.pop_front() {
                    Some(demand) => (demand, true),
                    None => break,
                },
            };
            let (requirer, (requirement, formula)) = demand;
            let mut picked = Picked::default();
            if !self.pick(formula, requirer, forced, &mut picked) {
                undecided.push_back(demand);
                continue;
            }
            for package in picked.packages {
                wishes.push(Wish { requirer, requirement, package });
                if !std::mem::replace(&mut self.wished[package as usize], true) {
                    wished += 1;
                    self.note_replaced(package);
                    open.extend(solver.requirements_of(package).map(|one| (Requirer::Package(package), one)));
                }
            }
            if picked.absence {
                conditional.push((wished, demand));
            }
            if open.is_empty() && undecided.is_empty() {
                let stale = |(seen, _): &mut (usize, Demand<'f>)| *seen < wished;
                open.extend(conditional.extract_if(.., stale).map(|(_, demand)| demand));
            }
        }
        wishes
    }

    /// Collects the preferred packages of ours for a formula; `false` when there is more than one way and
    /// `forced` is not set.
    fn pick(&self, formula: &Formula, requirer: Requirer, forced: bool, picked: &mut Picked) -> bool {
        let parts = self.parts(formula, requirer, Taste::Ours);
        parts.clauses.iter().all(|clause| {
            let ours = |item: &Item<'_>| match item {
                Item::Package(id) => self.rank(*id, Taste::Ours) <= rank::LAST_OURS,
                Item::Absent(_) | Item::All(_) => true,
            };
            match clause.first() {
                Some(Item::Package(id)) if self.wished[*id as usize] => picked.packages.push(*id),
                Some(first) if ours(first) => {
                    if !forced && clause.iter().filter(|item| ours(item)).count() > 1 {
                        return false;
                    }
                    match first {
                        Item::Package(id) => picked.packages.push(*id),
                        Item::Absent(_) => picked.absence = true,
                        Item::All(list) => {
                            return list.iter().all(|part| self.pick(part, requirer, forced, picked));
                        }
                    }
                }
                _ => {}
            }
            true
        })
    }

    /// Marks the core packages that a wished package replaces, by its name or its obsoletes.
    fn note_replaced(&mut self, package: PackageId) {
        let index = &self.solver.index;
        let header = &index.package(package).header;
        for id in index.ids_named(&header.nevra.name) {
            self.replaced[id as usize] |= id != package;
        }
        for id in self.solver.obsoleted_by(package) {
            self.replaced[id as usize] = true;
        }
    }

    /// Returns the packages that may stand for a core package, preferred first: a wished replacement, the
    /// package itself, others of its name, packages that obsolete it.
    pub(super) fn core_slot(&self, core: PackageId) -> Vec<PackageId> {
        let solver = self.solver;
        let name = &solver.index.package(core).header.nevra.name;
        let same_name = solver.index.ids_named(name).into_iter().map(|id| (false, id));
        let other_name = |id: &PackageId| solver.index.package(*id).header.nevra.name != *name;
        let obsoleters = solver.obsoleters_of(core).into_iter().filter(other_name).map(|id| (true, id));
        let mut ranked: Vec<_> = same_name
            .chain(obsoleters)
            .enumerate()
            .filter(|(_, (_, id))| self.allowed[*id as usize])
            .map(|(place, (obsoletes, id))| {
                let package = solver.index.package(id);
                let rank = self.rank(id, Taste::Toolchain);
                let wished = self.wished[id as usize];
                ((!wished, id != core, obsoletes, rank, Reverse(&package.header.nevra.evr), place), id)
            })
            .collect();
        ranked.sort_by(|a, b| a.0.cmp(&b.0));
        ranked.dedup_by_key(|(_, id)| *id);
        ranked.into_iter().map(|(_, id)| id).collect()
    }
}
