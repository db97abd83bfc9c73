//! The build root that a spec would get now, for deciding whether it differs from the recorded one.
//!
//! The same question is asked again when the spec is built ([`crate::LocalBuilder`]); here its answer is only
//! compared, and what cannot be answered at present is no reason for anything.

use rpm_model::{BuildrootLock, Requirement, WorkerManifest};

use crate::caches::CompilerCaches;
use crate::generated::Learned;
use crate::task::PackageTask;
use crate::universe::{RootRequest, Universe};

/// What build roots of a run have in common.
#[derive(Clone, Copy)]
pub struct Roots<'a> {
    /// The worker that they start from.
    pub worker: &'a WorkerManifest,
    /// Compiler caches, whose programs must be in the root.
    pub caches: &'a CompilerCaches,
    /// What builds of this run turned out to need.
    pub learned: &'a Learned,
}

impl Roots<'_> {
    /// Returns all that a root of a spec must hold: what it states, what its caches need, what it generates.
    pub fn requirements(&self, task: &PackageTask, generated: &[Requirement]) -> Vec<Requirement> {
        let mut requirements = task.spec.requirements(task.run_check).to_vec();
        requirements.extend(self.caches.requirements(&task.spec, &self.worker.arch));
        requirements.extend(generated.iter().cloned());
        requirements
    }

    /// Returns the packages of the root that a spec would get now, `None` where the solver finds none.
    pub fn present(&self, universe: &Universe, task: &PackageTask) -> Option<BuildrootLock> {
        let generated = self.learned.of(&task.spec.name).unwrap_or_else(|| task.generated_before.clone());
        let requirements = self.requirements(task, &generated);
        let root = universe.resolve(&RootRequest {
            requirements: &requirements,
            conflicts: &task.spec.build_conflicts,
            core: self.worker.core.packages(),
            specs: &task.root_specs,
            arch: &self.worker.arch,
        });
        root.ok().map(|root| root.lock)
    }
}
