//! Which package serves a requirement.
//!
//! The rule is in the crate's documentation; [`crate::ProviderRank`] is its order, and `Catalog` keeps the providers of
//! each name in it. Here is decided who may serve whom: a spec's own packages never serve its build.
//!
//! For run-time requirements of a package of the tree its own siblings come before all others, and next the
//! core packages: they are in every build root anyway, so a requirement that one of them satisfies brings
//! nothing in. Otherwise the tree's `grep` would come before everything as soon as a package of macros
//! requires `grep`. What asks for more than the core has (a version, a newer symbol) goes on to the tree.
//!
//! Boolean requirements are evaluated, not flattened: `or` takes the alternative whose providers rank best,
//! the first written among equals; `with` and `without` need one package; the condition of `if` and `unless`
//! holds where a package that is in the root anyway satisfies it: a core package, or one chosen for a
//! plain requirement of the same owner.

use std::collections::BTreeSet;

use foldhash::HashSet;
use rpm_model::{Dependency, Requirement, RichDependency};

use crate::catalog::{Catalog, Entry, Who};
use crate::model::{Scope, UnresolvedReason};
use crate::provider::ProviderRank;

/// One dependency and the package that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen<'r> {
    pub(crate) leaf: &'r Dependency,
    pub(crate) who: Who,
    pub(crate) rank: ProviderRank,
    nearness: Nearness,
}

/// How near a provider is to the owner of a run-time requirement; for builds all are [`Nearness::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    Sibling,
    Core,
    Other,
}

/// For whom packages are chosen.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// The spec.
    pub(crate) spec: usize,
    /// Whether for its build or for one of its packages.
    pub(crate) scope: Scope,
    /// Its own packages may serve its build: only to find out whether they alone could.
    pub(crate) itself: bool,
    /// Its own packages as last built may serve.
    pub(crate) older: bool,
    /// What is in the root anyway, besides the core.
    pub(crate) present: HashSet<Who>,
}

impl Chosen<'_> {
    fn preference(&self) -> (Nearness, ProviderRank) {
        (self.nearness, self.rank)
    }
}

impl Owner {
    pub(crate) fn build(spec: usize) -> Self {
        Self { spec, scope: Scope::Build, itself: false, older: false, present: HashSet::default() }
    }

    pub(crate) fn package(spec: usize) -> Self {
        Self { scope: Scope::RunTime, itself: true, ..Self::build(spec) }
    }
}

impl Catalog<'_> {
    /// Returns the packages that serve a requirement; none where its condition does not hold.
    pub(crate) fn choose<'r>(
        &self,
        requirement: &'r Requirement,
        owner: &Owner,
    ) -> Result<Vec<Chosen<'r>>, UnresolvedReason> {
        let rich = match requirement {
            Requirement::Simple(leaf) => return self.best(leaf, owner).map(|chosen| vec![chosen]),
            Requirement::Rich(rich) => rich.as_ref(),
        };
        let holds = |condition: &Requirement| {
            condition.holds(&|dependency: &Dependency| self.present_providers(dependency, owner))
        };
        match rich {
            RichDependency::And(list) => {
                let parts = list.iter().map(|operand| self.choose(operand, owner));
                Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
            }
            RichDependency::Or(list) => self.best_alternative(list, owner),
            RichDependency::With(_) | RichDependency::Without(..) => self.single(requirement, owner),
            RichDependency::If(then, condition, otherwise) => match (holds(condition), otherwise) {
                (true, _) => self.choose(then, owner),
                (false, Some(otherwise)) => self.choose(otherwise, owner),
                (false, None) => Ok(Vec::new()),
            },
            RichDependency::Unless(then, condition, otherwise) => match (holds(condition), otherwise) {
                (false, _) => self.choose(then, owner),
                (true, Some(otherwise)) => self.choose(otherwise, owner),
                (true, None) => Err(UnresolvedReason::ExceptionHolds { exception: condition.to_string() }),
            },
        }
    }

    fn best<'r>(&self, leaf: &'r Dependency, owner: &Owner) -> Result<Chosen<'r>, UnresolvedReason> {
        self.admitted(leaf, owner).into_iter().next().ok_or_else(|| self.why_not(leaf))
    }

    /// Returns the providers of a dependency that may serve this owner, best first.
    fn admitted<'r>(&self, leaf: &'r Dependency, owner: &Owner) -> Vec<Chosen<'r>> {
        let admitted = |entry: &&Entry| match entry.who {
            Who::External(_) => true,
            Who::Tree(_) => owner.itself || self.spec_of(entry.who) != Some(owner.spec),
            Who::Older(_) => owner.older && self.spec_of(entry.who) == Some(owner.spec),
        };
        let chosen = |entry: &Entry| Chosen {
            leaf,
            who: entry.who,
            rank: entry.rank,
            nearness: self.nearness(entry.who, owner),
        };
        let mut found: Vec<Chosen<'r>> = self.providers(leaf).filter(admitted).map(chosen).collect();
        // Stable: `providers` has sorted what is alike here.
        found.sort_by_key(Chosen::preference);
        found
    }

    fn nearness(&self, who: Who, owner: &Owner) -> Nearness {
        match who {
            _ if owner.scope == Scope::Build => Nearness::Other,
            Who::External(place) if self.externals[place].in_core => Nearness::Core,
            who if self.spec_of(who) == Some(owner.spec) => Nearness::Sibling,
            _ => Nearness::Other,
        }
    }

    fn best_alternative<'r>(
        &self,
        list: &'r [Requirement],
        owner: &Owner,
    ) -> Result<Vec<Chosen<'r>>, UnresolvedReason> {
        let mut best: Option<Vec<Chosen<'r>>> = None;
        let mut first_reason = None;
        let worst = |choice: &[Chosen<'r>]| choice.iter().map(Chosen::preference).max();
        for operand in list {
            match self.choose(operand, owner) {
                Ok(choice) if best.as_ref().is_none_or(|best| worst(&choice) < worst(best)) => {
                    best = Some(choice);
                }
                Ok(_) => {}
                Err(reason) => first_reason = first_reason.or(Some(reason)),
            }
        }
        best.ok_or_else(|| first_reason.unwrap_or(UnresolvedReason::NoSinglePackage))
    }

    /// Serves a `with` or `without` expression by one package.
    fn single<'r>(
        &self,
        requirement: &'r Requirement,
        owner: &Owner,
    ) -> Result<Vec<Chosen<'r>>, UnresolvedReason> {
        let (leaf, candidates) = self.candidates(requirement, owner);
        match (leaf, candidates.into_iter().next()) {
            (Some(leaf), Some(best)) => Ok(vec![Chosen { leaf, ..best }]),
            (Some(leaf), None) if self.admitted(leaf, owner).is_empty() => Err(self.why_not(leaf)),
            _ => Err(UnresolvedReason::NoSinglePackage),
        }
    }

    /// Returns the first dependency named, and the packages that satisfy all of the expression, best first.
    fn candidates<'r>(
        &self,
        requirement: &'r Requirement,
        owner: &Owner,
    ) -> (Option<&'r Dependency>, Vec<Chosen<'r>>) {
        let rich = match requirement {
            Requirement::Simple(leaf) => return (Some(leaf), self.admitted(leaf, owner)),
            Requirement::Rich(rich) => rich.as_ref(),
        };
        let operands = rich.operands();
        let mut sets = operands.iter().map(|operand| self.candidates(operand, owner));
        let Some((leaf, mut found)) = sets.next() else { return (None, Vec::new()) };
        for (_, set) in sets {
            let members: HashSet<Who> = set.iter().map(|chosen| chosen.who).collect();
            match rich {
                RichDependency::Or(_) => found.extend(set),
                RichDependency::And(_) | RichDependency::With(_) => {
                    found.retain(|chosen| members.contains(&chosen.who));
                }
                RichDependency::Without(..) => found.retain(|chosen| !members.contains(&chosen.who)),
                RichDependency::If(..) | RichDependency::Unless(..) => {}
            }
        }
        (leaf, found)
    }

    fn present_providers(&self, dependency: &Dependency, owner: &Owner) -> BTreeSet<Who> {
        let present = |who: Who| match who {
            Who::External(place) if self.externals[place].in_core => true,
            who => owner.present.contains(&who),
        };
        self.providers(dependency).map(|entry| entry.who).filter(|who| present(*who)).collect()
    }

    /// Says why nothing serves a dependency.
    fn why_not(&self, leaf: &Dependency) -> UnresolvedReason {
        let mut available: Vec<String> = self
            .named(&leaf.name)
            .iter()
            .filter(|entry| !matches!(entry.who, Who::Older(_)))
            .filter_map(|entry| {
                let constraint = entry.constraint.clone()?;
                let provide = Dependency { name: leaf.name.clone(), constraint: Some(constraint) };
                let origin = format!("{:?}", self.origin(entry.who)).to_lowercase();
                Some(format!("{} ({origin}) provides {provide}", self.nevra(entry.who)))
            })
            .collect();
        if !available.is_empty() {
            available.sort();
            available.dedup();
            return UnresolvedReason::NoFittingVersion { available };
        }
        if let Some(spec) = self.other_architectures.get(leaf.name.as_str()) {
            return UnresolvedReason::SpecIsForOtherArchitectures { spec: (*spec).to_owned() };
        }
        let yields = |spec: &&&str| {
            leaf.name == **spec || leaf.name.strip_prefix(**spec).is_some_and(|rest| rest.starts_with('-'))
        };
        match self.bad.iter().filter(yields).max_by_key(|spec| spec.len()) {
            Some(spec) => UnresolvedReason::SpecIsBad { spec: (*spec).to_owned() },
            None => UnresolvedReason::NothingProvides { name: leaf.name.clone() },
        }
    }
}
