//! What packages need, in terms of an index: worked out when a package is first met, forgotten when providers
//! change.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rpm_model::Requirement;

use super::formula::Formula;
use crate::provider::{PackageId, ProviderIndex, Replaced};

/// One requirement of a package.
#[derive(Clone, Debug)]
pub(super) struct Need {
    /// The same for the same requirement of any package.
    pub(super) number: u32,
    pub(super) formula: Arc<Formula>,
}

/// What a package must not be together with, for its conflicts and obsoletes.
#[derive(Debug, Default)]
pub(super) struct Avoided {
    pub(super) forbidden: Vec<PackageId>,
    /// Conflicts that are boolean expressions, as "does not apply".
    pub(super) formulas: Vec<Formula>,
}

/// What is known of each package, by its number.
#[derive(Debug, Default)]
pub(super) struct Needs {
    packages: Vec<OnceLock<Box<[Need]>>>,
    avoided: Vec<OnceLock<Box<Avoided>>>,
    /// A number that all packages of a name share, or [`UNKNOWN`].
    names: Vec<AtomicU32>,
    /// The architectures, in the order in which they were met, and the place of each package's own; [`UNKNOWN`]
    /// for a number without package.
    archs: Vec<String>,
    arch_places: Vec<u32>,
    known: Mutex<Known>,
}

/// Requirements that some package was found to have.
#[derive(Debug, Default)]
struct Known {
    needs: HashMap<Requirement, Need>,
    next: u32,
}

const UNKNOWN: u32 = u32::MAX;

impl Needs {
    pub(super) fn new(index: &ProviderIndex<'_>) -> Self {
        let mut needs = Self::default();
        needs.grow(index);
        for id in index.ids() {
            needs.note_arch(id, index);
        }
        needs
    }

    /// Forgets what depends on packages that were replaced.
    pub(super) fn forget(&mut self, replaced: &Replaced, index: &ProviderIndex<'_>) {
        self.grow(index);
        for id in &replaced.removed {
            self.arch_places[*id as usize] = UNKNOWN;
            self.packages[*id as usize].take();
        }
        for id in replaced.added.clone() {
            self.note_arch(id, index);
        }
        let known = self.known.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut stale = vec![false; known.next as usize];
        known.needs.retain(|requirement, need| {
            let leaves = requirement.leaves();
            let is_stale = leaves.into_iter().any(|leaf| replaced.affected.contains(&leaf.name));
            stale[need.number as usize] = is_stale;
            !is_stale
        });
        for cell in &mut self.packages {
            if cell.get().is_some_and(|needs| needs.iter().any(|need| stale[need.number as usize])) {
                cell.take();
            }
        }
        self.avoided.iter_mut().for_each(|cell| _ = cell.take());
        self.names.iter_mut().for_each(|name| *name.get_mut() = UNKNOWN);
    }

    fn grow(&mut self, index: &ProviderIndex<'_>) {
        let count = index.end() as usize;
        self.packages.resize_with(count, OnceLock::new);
        self.avoided.resize_with(count, OnceLock::new);
        self.names.resize_with(count, || AtomicU32::new(UNKNOWN));
        self.arch_places.resize(count, UNKNOWN);
    }

    fn note_arch(&mut self, id: PackageId, index: &ProviderIndex<'_>) {
        let arch = index.arch(id);
        let place = self.archs.iter().position(|known| known == arch).unwrap_or_else(|| {
            self.archs.push(arch.to_owned());
            self.archs.len() - 1
        });
        self.arch_places[id as usize] = place as u32;
    }

    /// Returns for each number whether it is a package that can be used on an architecture.
    pub(super) fn usable(&self, arch: &str) -> Vec<bool> {
        let usable: Vec<bool> = self.archs.iter().map(|one| one == arch || one == "noarch").collect();
        self.arch_places.iter().map(|place| usable.get(*place as usize).copied().unwrap_or(false)).collect()
    }

    /// Returns what a package requires, in the order of its header.
    pub(super) fn of(&self, id: PackageId, index: &ProviderIndex<'_>) -> &[Need] {
        self.packages[id as usize].get_or_init(|| {
            let requires = &index.package(id).header.requires;
            requires.iter().map(|requirement| self.need(requirement, index)).collect()
        })
    }

    fn need(&self, requirement: &Requirement, index: &ProviderIndex<'_>) -> Need {
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(need) = lock().needs.get(requirement) {
            return need.clone();
        }
        // Worked out without the lock; should two threads do so at once, the first is kept.
        let formula = Arc::new(Formula::satisfied(requirement, index));
        let mut known = lock();
        if let Some(need) = known.needs.get(requirement) {
            return need.clone();
        }
        let need = Need { number: known.next, formula };
        known.next += 1;
        known.needs.insert(requirement.clone(), need.clone());
        need
    }

    /// Returns what a package must not be together with; `obsoleted` is asked once.
    pub(super) fn avoided(
        &self,
        id: PackageId,
        index: &ProviderIndex<'_>,
        obsoleted: impl FnOnce() -> Vec<PackageId>,
    ) -> &Avoided {
        self.avoided[id as usize].get_or_init(|| {
            let mut avoided = Avoided { forbidden: obsoleted(), formulas: Vec::new() };
            for conflict in &index.package(id).header.conflicts {
                match Formula::avoided(conflict, index, Some(id)) {
                    Formula::NoneOf(packages) => avoided.forbidden.extend(packages),
                    formula => avoided.formulas.push(formula),
                }
            }
            index.sort(&mut avoided.forbidden);
            Box::new(avoided)
        })
    }

    /// Returns a number that all packages of a package's name share.
    pub(super) fn name_number(&self, id: PackageId, index: &ProviderIndex<'_>) -> u32 {
        let cell = &self.names[id as usize];
        match cell.load(Ordering::Relaxed) {
            UNKNOWN => {
                let same_name = index.ids_named(&index.package(id).header.nevra.name);
                let number = same_name.iter().copied().min().unwrap_or(id);
                same_name.iter().for_each(|id| self.names[*id as usize].store(number, Ordering::Relaxed));
                number
            }
            number => number,
        }
    }
}
