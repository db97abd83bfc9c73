//! Where what a package requires at run time comes from, and whether it is still there.
//!
//! rpm's names say which library is needed and provided, not where it lies. Where a record has what its files say
//! ([`rpm_model::LinkageFacts`]), a library that is somebody's private one is no substitute for one that is gone, and
//! the loss of a library for everybody is none for who has its own. Without, rpm's names count.

use rpm_model::{BuildRecord, Dependency, LinkageFacts, LostLibrary, RecordedPackage, Requirement};

use crate::decide::PublishedState;
use crate::soname::Soname;

/// Where what a package requires comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// From the spec's own packages.
    Own,
    /// A library in a directory of another package, in which its own files look.
    Path(String),
    /// A library for everybody.
    Everybody,
    /// Whatever provides the name.
    Name,
}

/// Returns where what a package of a record requires comes from.
pub(crate) fn need(record: &BuildRecord, package: &str, requirement: &Requirement) -> Need {
    let facts = record.cascade.as_ref().and_then(|facts| facts.linkage.as_ref());
    let library = match requirement {
        Requirement::Simple(dependency) => Soname::parse(&dependency.name),
        Requirement::Rich(_) => None,
    };
    let by_name = || if is_own(requirement, record) { Need::Own } else { Need::Name };
    let (Some(facts), Some(library)) = (facts, library) else { return by_name() };
    let library = library.without_symbols();
    if let Some(found) = facts.found.get(package).and_then(|found| found.get(&library)) {
        let is_own = record.rpms.iter().any(|own| own.artifact.nevra.name == found.package);
        return if is_own { Need::Own } else { Need::Path(found.path.clone()) };
    }
    if facts.by_name.get(package).is_some_and(|names| names.contains(&library)) {
        return by_name();
    }
    if has_for_everybody(record, facts, requirement, &library) { Need::Own } else { Need::Everybody }
}

/// Returns whether one of a record's packages has a library for everybody.
fn has_for_everybody(
    record: &BuildRecord,
    facts: &LinkageFacts,
    requirement: &Requirement,
    library: &str,
) -> bool {
    let leaves = requirement.leaves();
    let provides = |rpm: &&RecordedPackage| {
        rpm.provides.iter().any(|provided| leaves.iter().any(|leaf| provided.overlaps(leaf)))
    };
    let mut providing = record.rpms.iter().filter(provides);
    providing.any(|rpm| facts.private_directories(&rpm.artifact.nevra.name, library).is_empty())
}

/// Returns whether a requirement of a record's packages is met by one of them, by rpm's names.
fn is_own(requirement: &Requirement, record: &BuildRecord) -> bool {
    let own = record.rpms.iter().flat_map(|package| &package.provides);
    requirement.leaves().iter().any(|leaf| own.clone().any(|provided| provided.overlaps(leaf)))
}

/// Returns whether something that a package of a record requires could be lost by a change of others.
pub(crate) fn can_be_lost(
    record: &BuildRecord,
    package: &RecordedPackage,
    requirement: &Requirement,
) -> bool {
    !record.unmet.contains(requirement)
        && need(record, &package.artifact.nevra.name, requirement) != Need::Own
}

/// Returns whether something that a package of a record requires was there when it was built and is not now.
pub fn is_lost(
    record: &BuildRecord,
    package: &RecordedPackage,
    requirement: &Requirement,
    state: &dyn PublishedState,
) -> bool {
    if record.unmet.contains(requirement) {
        return false;
    }
    match need(record, &package.artifact.nevra.name, requirement) {
        Need::Own => false,
        Need::Path(path) => !state.satisfied(&Requirement::Simple(Dependency::any(path))),
        Need::Everybody => !state.linkable(requirement),
        Need::Name => !state.satisfied(requirement),
    }
}

/// Returns who provided a library that is lost, and what is there instead; `by` is the spec that provided it.
pub(crate) fn lost_library(
    record: &BuildRecord,
    requirement: &Requirement,
    by: Option<&str>,
    state: &dyn PublishedState,
) -> Option<LostLibrary> {
    let Requirement::Simple(dependency) = requirement else { return None };
    let library = Soname::parse(&dependency.name)?;
    let recorded = record.triggers.sonames.get(&dependency.name)?.nevra.clone();
    let present = by.and_then(|spec| {
        let packages = state.libraries_of(spec);
        let is_same = |name: &str| {
            let other = Soname::parse(name).filter(|other| other.symbols.is_none());
            other.is_some_and(|other| (other.library(), other.class) == (library.library(), library.class))
        };
        packages.into_iter().find(|(name, _)| is_same(name))
    });
    Some(LostLibrary { recorded, present })
}
