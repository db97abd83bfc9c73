//! The nearest candidates for something that cannot be satisfied, and why each is refused.

use rpm_model::{Dependency, Nevra, Requirement};

use super::search::{Ask, Bar, Explainer, possibly_holds};
use super::{Link, Refused, Unsatisfied, WhyNot};
use crate::provider::PackageId;
use crate::solver::formula::Formula;

/// How far an explanation follows requirements of refused packages.
const MAXIMUM_DEPTH: usize = 12;
/// How many candidates an explanation lists.
const MAXIMUM_CANDIDATES: usize = 5;
/// How similar a name must be (Jaro-Winkler, 0 to 1) to be offered as what was meant.
const SIMILAR: f64 = 0.9;

impl Explainer<'_, '_, '_> {
    /// Describes a demand that cannot be met.
    pub(super) fn unsatisfied(&self, ask: Ask<'_>, chain: Vec<Link>, depth: usize) -> Unsatisfied {
        let candidates = match ask {
            Ask::Core(core) => self.refused(&self.choice.core_slot(core), depth),
            Ask::Requirement(requirement) | Ask::Absence(requirement) => {
                let helpful = Formula::satisfied(requirement, &self.choice.solver.index).helpful();
                let mut refused = self.refused(&helpful, depth);
                if helpful.iter().all(|id| !self.choice.allowed[*id as usize]) {
                    refused.extend(self.near(requirement));
                }
                refused
            }
        };
        Unsatisfied { demand: self.demand(ask), chain, candidates }
    }

    /// Describes a demand whose candidates are each possible, but not beside the other demands.
    pub(super) fn in_combination(&self, ask: Ask<'_>, ids: &[PackageId]) -> Unsatisfied {
        let possible = ids.iter().filter(|id| self.choice.allowed[**id as usize]).take(MAXIMUM_CANDIDATES);
        let candidates = possible.map(|id| {
            let package = self.choice.solver.index.package(*id);
            Refused {
                package: package.header.nevra.clone(),
                origin: package.origin,
                why: WhyNot::Combination,
            }
        });
        Unsatisfied { demand: self.demand(ask), chain: Vec::new(), candidates: candidates.collect() }
    }

    /// Says of each package why it cannot be in the set.
    fn refused(&self, ids: &[PackageId], depth: usize) -> Vec<Refused> {
        let mut refused: Vec<Refused> = Vec::new();
        for id in ids {
            let package = self.choice.solver.index.package(*id);
            let why = if !self.choice.allowed[*id as usize] {
                Some(self.why_not_allowed(*id))
            } else {
                // Only the first candidate is followed to its end; the others would repeat it.
                self.barred[*id as usize].and_then(|bar| self.why(*id, bar, depth, refused.is_empty()))
            };
            if let Some(why) = why
                && refused.len() < MAXIMUM_CANDIDATES
            {
                refused.push(Refused { package: package.header.nevra.clone(), origin: package.origin, why });
            }
        }
        refused
    }

    fn why_not_allowed(&self, id: PackageId) -> WhyNot {
        let (choice, nevra) = (self.choice, &self.choice.solver.index.package(id).header.nevra);
        match choice.solver.rules.ban(nevra) {
            Some(ban) => WhyNot::Banned(ban),
            None if choice.excluded.contains(nevra) => WhyNot::Excluded,
            None if choice.usable(id) => WhyNot::OtherOwner,
            None => WhyNot::Arch,
        }
    }

    fn why(&self, id: PackageId, bar: Bar<'_>, depth: usize, follow: bool) -> Option<WhyNot> {
        match bar {
            Bar::Dead(requirement) => {
                let ask = Ask::Requirement(requirement);
                let unsatisfied = if follow && depth < MAXIMUM_DEPTH {
                    self.unsatisfied(ask, Vec::new(), depth + 1)
                } else {
                    Unsatisfied { demand: self.demand(ask), chain: Vec::new(), candidates: Vec::new() }
                };
                Some(WhyNot::Needs { unsatisfied: Box::new(unsatisfied) })
            }
            Bar::Clash(kind, with) => {
                let chain = self.chain_to(with);
                let with = self.choice.solver.index.package(with).header.nevra.clone();
                Some(WhyNot::Clash { kind, with, chain })
            }
            Bar::Conflict(conflict) => Some(WhyNot::Conflict { conflict: conflict.clone() }),
        }
        .filter(|_| self.choice.allowed[id as usize])
    }

    /// Finds what comes nearest to a requirement that nothing provides.
    fn near(&self, requirement: &Requirement) -> Vec<Refused> {
        let possible = |id| self.possible(id);
        let index = &self.choice.solver.index;
        let mut near = Vec::new();
        for leaf in requirement.leaves() {
            let formula = Formula::satisfied(&Requirement::Simple(leaf.clone()), index);
            if possibly_holds(&formula, &possible) {
                continue;
            }
            let others = index.providers_of_name(&leaf.name);
            if others.is_empty() {
                near.extend(self.similar(leaf));
            }
            near.extend(others.into_iter().rev().filter(|(_, provided)| !provided.overlaps(leaf)).map(
                |(package, provided)| Refused {
                    package: package.header.nevra.clone(),
                    origin: package.origin,
                    why: WhyNot::OtherVersion { provided: provided.clone() },
                },
            ));
        }
        near.truncate(MAXIMUM_CANDIDATES);
        near
    }

    /// Finds provided names that look like the one that is asked for.
    fn similar(&self, wanted: &Dependency) -> Vec<Refused> {
        let index = &self.choice.solver.index;
        let (kind, core) = kind_and_core(&wanted.name);
        let mut names: Vec<(f64, &str)> = index
            .capability_names()
            .filter(|name| kind_and_core(name).0 == kind)
            .map(|name| (strsim::jaro_winkler(core, kind_and_core(name).1), name))
            .filter(|(similarity, _)| *similarity >= SIMILAR)
            .collect();
        names.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let first_provider = |(_, name): &(f64, &str)| {
            let (package, _) = index.providers_of_name(name).into_iter().next_back()?;
            let why = WhyNot::SimilarName { name: (*name).to_owned() };
            Some(Refused { package: package.header.nevra.clone(), origin: package.origin, why })
        };
        let mut similar: Vec<Refused> = names.iter().take(3).filter_map(first_provider).collect();
        let mut seen: Vec<Nevra> = Vec::new();
        similar.retain(|refused| {
            let new = !seen.contains(&refused.package);
            seen.push(refused.package.clone());
            new
        });
        similar
    }
}

/// Takes `pkgconfig(zlib)` apart into `pkgconfig` and `zlib)`: what all of a kind share says nothing about
/// similarity. A plain name and a soname such as `libz.so.1()(64bit)` have no kind.
fn kind_and_core(name: &str) -> (&str, &str) {
    match name.split_once('(') {
        Some((kind, core)) if !core.starts_with(')') && !kind.contains(".so") => (kind, core),
        Some((core, _)) => ("", core),
        None => ("", name),
    }
}
