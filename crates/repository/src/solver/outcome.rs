//! What a solve found: the packages, why each is there, and what the reader should know about them.

use std::collections::VecDeque;
use std::fmt;

use rpm_model::{BuildrootLock, Dependency, LockedPackage, Nevra, Requirement};
use serde::Serialize;

use super::choice::{Choice, Requirer, Taste, Wish};
use super::explain::{self, Explanation};
use super::formula::Formula;
use super::{Goals, attempt};
use crate::provider::PackageId;

/// The exact packages that satisfy a request; only [`super::Solver`] makes one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResolvedSet {
    packages: Vec<ResolvedPackage>,
    notes: Vec<ResolvedNote>,
}

impl ResolvedSet {
    /// Returns the packages, sorted by NEVRA.
    pub fn packages(&self) -> &[ResolvedPackage] {
        &self.packages
    }

    /// Returns what is worth knowing about the choice, sorted.
    pub fn notes(&self) -> &[ResolvedNote] {
        &self.notes
    }

    /// Returns the set as the lock of a build root.
    pub fn to_lock(&self) -> BuildrootLock {
        BuildrootLock::new(self.packages.iter().map(|package| package.locked.clone()).collect())
    }
}

/// One package of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResolvedPackage {
    /// The package, pinned by content.
    pub locked: LockedPackage,
    /// Why it is in the set.
    pub reason: EntryReason,
    /// The core packages in whose place it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<Nevra>,
}

/// Why a package is in a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryReason {
    /// It belongs to the core.
    Core,
    /// The request asks for it.
    Requested {
        /// The requirement that it satisfies.
        requirement: Requirement,
    },
    /// A package of the set requires it.
    RequiredBy {
        /// That package.
        package: Nevra,
        /// The requirement that it satisfies.
        requirement: Requirement,
    },
    /// The core package in whose place it is could not stay, although nothing asks for this one.
    StandsForCore,
}

/// Something about a set that its reader should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResolvedNote {
    /// A package of the base or the toolchain satisfies a requirement, although the tree builds it.
    ToolchainUsedAlthoughTreeBuilds {
        /// The requirement.
        requirement: Requirement,
        /// Whose requirement it is; `None` is the request.
        required_by: Option<Nevra>,
        /// The package of the tree or the live repository that was passed over.
        tree_package: Nevra,
        /// The packages that satisfy the requirement instead, sorted.
        used: Vec<Nevra>,
        /// Why it was passed over.
        why: WhyNotTree,
    },
    /// A library of the tree and one of the base or the toolchain are both in the set. Which of them a
    /// program loads depends on their directories; the tree's package should obsolete the other.
    LibraryTwice {
        /// The capability that both provide, for example `libncursesw.so.6()(64bit)`.
        library: String,
        /// The package of the tree or the live repository.
        tree_package: Nevra,
        /// The other.
        other_package: Nevra,
    },
}

/// Why a package of the tree was passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyNotTree {
    /// It provides the name, but not in the version that is asked for.
    Version {
        /// What it provides.
        provided: Dependency,
    },
    /// No set with it can satisfy the request.
    Impossible {
        /// What stands against it.
        explanation: Box<Explanation>,
    },
    /// It is possible by itself, but not beside other packages that are preferred too.
    OtherPreferred,
}

impl fmt::Display for ResolvedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requirement, required_by, tree_package, used, why) = match self {
            Self::ToolchainUsedAlthoughTreeBuilds { requirement, required_by, tree_package, used, why } => {
                (requirement, required_by, tree_package, used, why)
            }
            Self::LibraryTwice { library, tree_package, other_package } => {
                return write!(f, "`{library}` is there twice, from {tree_package} and from {other_package}");
            }
        };
        let used = used.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "`{requirement}`")?;
        if let Some(package) = required_by {
            write!(f, " of {package}")?;
        }
        write!(f, " is satisfied by {used}, although the tree builds {tree_package}: ")?;
        match why {
            WhyNotTree::Version { provided } => write!(f, "that one provides `{provided}`"),
            WhyNotTree::Impossible { explanation } => write!(f, "{explanation}"),
            WhyNotTree::OtherPreferred => f.write_str("it cannot be together with other preferred packages"),
        }
    }
}

/// Puts the result of a search together.
pub(super) fn resolved(
    choice: &Choice<'_, '_>,
    goals: &Goals<'_>,
    set: &[PackageId],
    refused: &[Wish<'_>],
) -> ResolvedSet {
    let solver = choice.solver;
    let reasons = reasons(choice, goals, set);
    let kept: Vec<PackageId> = reasons.iter().map(|(id, _)| *id).collect();
    let nevra = |id: PackageId| solver.index.package(id).header.nevra.clone();
    let gone = goals.core.iter().filter(|core| kept.binary_search(core).is_err());
    let slots: Vec<(Nevra, Vec<PackageId>)> =
        gone.map(|core| (nevra(*core), choice.core_slot(*core))).collect();
    let mut packages: Vec<ResolvedPackage> = reasons
        .into_iter()
        .map(|(id, reason)| {
            let replaced = slots.iter().filter(|(_, slot)| slot.contains(&id));
            ResolvedPackage {
                locked: solver.index.package(id).locked(),
                reason,
                replaces: replaced.map(|(core, _)| core.clone()).collect(),
            }
        })
        .collect();
    packages.sort_by(|a, b| a.locked.cmp(&b.locked));
    let mut notes = refused_notes(choice, goals, &kept, refused);
    notes.extend(version_notes(choice, goals, &kept));
    notes.extend(library_notes(choice, &kept));
    notes.sort_by_cached_key(ToString::to_string);
    notes.dedup();
    ResolvedSet { packages, notes }
}

/// Finds for each package how the request leads to it; what nothing leads to is left out.
fn reasons(choice: &Choice<'_, '_>, goals: &Goals<'_>, set: &[PackageId]) -> Vec<(PackageId, EntryReason)> {
    let solver = choice.solver;
    let mut found: Vec<Option<EntryReason>> = vec![None; set.len()];
    let mut queue = VecDeque::new();
    let mut reach = |id: PackageId, queue: &mut VecDeque<PackageId>, reason: &dyn Fn() -> EntryReason| {
        if let Ok(at) = set.binary_search(&id)
            && found[at].is_none()
        {
            found[at] = Some(reason());
            queue.push_back(id);
        }
    };
    for id in &goals.core {
        reach(*id, &mut queue, &|| EntryReason::Core);
    }
    // What the request leads to says so, also where the core would lead to it too: the core comes last.
    let core: Vec<PackageId> = queue.drain(..).collect();
    for (requirement, formula) in &goals.requests {
        for id in formula.helpful() {
            reach(id, &mut queue, &|| EntryReason::Requested { requirement: (*requirement).clone() });
        }
    }
    let mut core = core.into_iter();
    let mut slots = goals.core.iter().flat_map(|core| choice.core_slot(*core));
    loop {
        while let Some(id) = queue.pop_front() {
            let package = &solver.index.package(id).header.nevra;
            for (requirement, formula) in solver.requirements_of(id) {
                for other in formula.helpful() {
                    reach(other, &mut queue, &|| EntryReason::RequiredBy {
                        package: package.clone(),
                        requirement: requirement.clone(),
                    });
                }
            }
        }
        if let Some(id) = core.next() {
            queue.push_back(id);
        } else if let Some(id) = slots.next() {
            // Only what no requirement leads to is there for nothing but its slot.
            reach(id, &mut queue, &|| EntryReason::StandsForCore);
        } else {
            break;
        }
    }
    set.iter().zip(found).filter_map(|(id, reason)| Some((*id, reason?))).collect()
}

/// Notes for wished packages that the search could not have.
fn refused_notes(
    choice: &Choice<'_, '_>,
    goals: &Goals<'_>,
    set: &[PackageId],
    refused: &[Wish<'_>],
) -> Vec<ResolvedNote> {
    let solver = choice.solver;
    let nevra = |id: PackageId| solver.index.package(id).header.nevra.clone();
    let mut notes = Vec::new();
    for wish in refused {
        let requirer_left = matches!(wish.requirer, Requirer::Package(id) if !set.contains(&id));
        let formula = Formula::satisfied(wish.requirement, &solver.index);
        let used: Vec<PackageId> = formula.helpful().into_iter().filter(|id| set.contains(id)).collect();
        let ours = |id: &PackageId| Taste::of(solver.index.package(*id).origin) == Taste::Ours;
        if requirer_left || used.is_empty() || used.iter().any(ours) {
            continue;
        }
        let mut used: Vec<Nevra> = used.into_iter().map(nevra).collect();
        used.sort();
        used.dedup();
        notes.push(ResolvedNote::ToolchainUsedAlthoughTreeBuilds {
            requirement: wish.requirement.clone(),
            required_by: match wish.requirer {
                Requirer::Request => None,
                Requirer::Package(id) => Some(nevra(id)),
            },
            tree_package: nevra(wish.package),
            used,
            why: why_impossible(choice, goals, wish),
        });
    }
    notes
}

/// Asks for the wished package itself, and for what stands against it.
fn why_impossible(choice: &Choice<'_, '_>, goals: &Goals<'_>, wish: &Wish<'_>) -> WhyNotTree {
    let name = choice.solver.index.package(wish.package).header.nevra.name.clone();
    let exactly = Formula::OneOf { packages: vec![wish.package], reluctant: false, name };
    let mut requests = vec![(wish.requirement, exactly)];
    requests.extend(goals.requests.iter().map(|(requirement, formula)| (*requirement, formula.clone())));
    let forced = Goals { requests, conflicts: goals.conflicts.clone(), core: goals.core.clone() };
    match attempt(choice, &forced) {
        Some(_) => WhyNotTree::OtherPreferred,
        None => WhyNotTree::Impossible { explanation: Box::new(explain::explain(choice, &forced)) },
    }
}

/// Notes for requirements that the tree builds in another version.
fn version_notes(choice: &Choice<'_, '_>, goals: &Goals<'_>, set: &[PackageId]) -> Vec<ResolvedNote> {
    let index = &choice.solver.index;
    let mut notes = Vec::new();
    for (requirement, formula) in &goals.requests {
        let Requirement::Simple(dependency) = requirement else { continue };
        let used: Vec<_> =
            formula.helpful().into_iter().filter(|id| set.contains(id)).map(|id| index.package(id)).collect();
        if used.is_empty() || used.iter().any(|package| Taste::of(package.origin) == Taste::Ours) {
            continue;
        }
        let passed_over =
            index.providers_of_name(&dependency.name).into_iter().rfind(|(package, provide)| {
                Taste::of(package.origin) == Taste::Ours && !provide.overlaps(dependency)
            });
        if let Some((package, provided)) = passed_over {
            notes.push(ResolvedNote::ToolchainUsedAlthoughTreeBuilds {
                requirement: (*requirement).clone(),
                required_by: None,
                tree_package: package.header.nevra.clone(),
                used: used.iter().map(|package| package.header.nevra.clone()).collect(),
                why: WhyNotTree::Version { provided: provided.clone() },
            });
        }
    }
    notes
}

/// Notes for libraries of ours that are in the set beside another package's of the same soname.
fn library_notes(choice: &Choice<'_, '_>, set: &[PackageId]) -> Vec<ResolvedNote> {
    let index = &choice.solver.index;
    let (ours, others): (Vec<PackageId>, Vec<PackageId>) =
        set.iter().copied().partition(|id| Taste::of(index.package(*id).origin) == Taste::Ours);
    let mut notes = Vec::new();
    for id in ours {
        let header = &index.package(id).header;
        // `libz.so.1()(64bit)` stands for the library; its symbol versions would only repeat it.
        let is_library = |name: &str| name.contains(".so") && name.ends_with("()(64bit)");
        for provide in header.provides.iter().filter(|provide| is_library(&provide.name)) {
            let twice = index.provider_ids(provide).into_iter().filter(|other| others.contains(other));
            notes.extend(twice.map(|other| ResolvedNote::LibraryTwice {
                library: provide.name.clone(),
                tree_package: header.nevra.clone(),
                other_package: index.package(other).header.nevra.clone(),
            }));
        }
    }
    notes
}
