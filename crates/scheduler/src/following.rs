//! Who follows a change: the part of acceptance that brings dependants into the run.
//!
//! A cascade is nowhere but in the records. Whoever is due is found by comparing its record with what is published
//! now, in this run and in any later one; what a record keeps besides ([`CascadeFacts`]) says how far the change has
//! come and who made it, so that an interrupted run loses neither dependants nor the reason.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::PoisonError;

use rebuild::{PresentFacts, build_reasons, is_lost, layer};
use report::Event;
use rpm_model::{
    BuildReason, BuildRecord, BuildrootLock, CascadeFacts, InputParts, RebuildPolicy, Requirement,
};

use crate::accept::RepositoryAcceptor;
use crate::plan::{PlanDocument, layer_of};
use crate::queue::Task;
use crate::run::RunSummary;
use crate::session::Session;
use crate::task::PackageTask;
use crate::universe::Universe;
use crate::words::deferred_text;

/// What acceptance must know to bring dependants along.
pub struct Following<'a> {
    /// The parts of a spec's inputs, for its record.
    pub input_parts: &'a dyn Fn(&PackageTask) -> Option<InputParts>,
    /// What a spec's build root was made for.
    pub requirements: &'a dyn Fn(&PackageTask, &[Requirement]) -> Vec<Requirement>,
    /// The build root that a spec would get now.
    pub root: &'a dyn Fn(&Universe, &PackageTask) -> Option<BuildrootLock>,
    /// How many layers of dependants a rebuild brings along; `None` is all.
    pub max_layers: Option<u32>,
    /// Packages that are due and beyond these layers, each with the reasons; the run tells of them.
    pub deferred: BTreeMap<String, Vec<BuildReason>>,
}

impl RepositoryAcceptor<'_> {
    /// Returns what must be built because the packages of `changed` are not what they were.
    pub(crate) fn followers(&mut self, changed: &str) -> Vec<(Task, Vec<BuildReason>)> {
        let universe = self.universe.read().unwrap_or_else(PoisonError::into_inner);
        let state = universe.state();
        let mut followers = Vec::new();
        for name in self.in_scope.iter().filter(|name| *name != changed) {
            let (Some(task), Some(record)) = (self.tasks.get(name), self.records.get(name)) else { continue };
            // No root changes that the changed packages may not enter.
            let policy = if task.root_specs.contains(changed) {
                task.policy
            } else {
                task.policy.min(RebuildPolicy::Relevant)
            };
            let present = PresentFacts {
                inputs: &task.inputs,
                input_parts: &|| (self.following.input_parts)(task),
                run_check: task.run_check,
                worker: &self.worker,
                requested: None,
                policy,
                build_requires: task.spec.requirements(task.run_check),
                triggers: &task.triggers,
                root: &|| (self.following.root)(&universe, task),
            };
            let reasons = build_reasons(Some(record), &present, &state);
            if reasons.is_empty() {
                continue;
            }
            let layer = layer(&reasons, &|spec| layer_of(&self.records, spec));
            if self.following.max_layers.is_some_and(|most| layer > most) {
                self.following.deferred.insert(name.clone(), reasons);
                continue;
            }
            let waits_for = (*task.root_specs).clone();
            let estimate = (self.estimate)(name);
            followers.push((Task { package: name.clone(), waits_for, estimate }, reasons));
        }
        followers
    }

    /// Returns what later decisions must know of a build whose packages are published by now.
    pub(crate) fn cascade_facts(&self, record: &BuildRecord, reasons: &[BuildReason]) -> CascadeFacts {
        let withdrawn = self.withdrawn(record);
        let mut universe = self.universe.write().unwrap_or_else(PoisonError::into_inner);
        universe.withdraw(&record.package, withdrawn.iter().cloned());
        let requirements = self.tasks.get(&record.package).map_or_else(
            || record.generated.clone(),
            |task| (self.following.requirements)(task, &record.generated),
        );
        let root = universe.root_facts(&record.lock, &requirements);
        CascadeFacts {
            layer: layer(reasons, &|spec| layer_of(&self.records, spec)),
            direct: root.direct,
            compiled_in: root.compiled_in,
            withdrawn,
            linkage: record.cascade.as_ref().and_then(|facts| facts.linkage.clone()),
        }
    }

    /// Returns the requirements of other specs' packages that the spec's packages satisfied and nothing does now.
    fn withdrawn(&self, record: &BuildRecord) -> Vec<Requirement> {
        let Some(old) = self.records.get(&record.package) else { return Vec::new() };
        let before = old.cascade.iter().flat_map(|facts| &facts.withdrawn);
        let before: HashSet<&Requirement> = before.collect();
        let provided: HashSet<&str> = old
            .rpms
            .iter()
            .flat_map(|package| &package.provides)
            .map(|provided| provided.name.as_str())
            .collect();
        let was_ours = |requirement: &&Requirement| {
            before.contains(requirement)
                || requirement.leaves().iter().any(|leaf| provided.contains(leaf.name.as_str()))
        };
        let universe = self.universe.read().unwrap_or_else(PoisonError::into_inner);
        let state = universe.state();
        let others = self.records.values().filter(|other| other.package != record.package);
        let lost = others.flat_map(|other| {
            other.rpms.iter().flat_map(move |package| {
                let ours = package.requires.iter().filter(was_ours);
                ours.filter(move |requirement| is_lost(other, package, requirement, &state))
            })
        });
        let mut withdrawn: Vec<Requirement> = lost.cloned().collect();
        withdrawn.sort();
        withdrawn.dedup();
        withdrawn
    }
}

impl Session<'_> {
    /// Says what a plan leaves due because of the limit of layers.
    pub fn tell_due(&self, plan: &PlanDocument) {
        self.tell_names(plan.deferred().map(|package| &package.package).collect());
    }

    /// Says what is due after a run and was not built because of the limit of layers.
    pub(crate) fn tell_deferred(&self, plan: &PlanDocument, summary: &RunSummary, following: &Following<'_>) {
        let planned = plan.deferred().map(|package| &package.package);
        let all = planned.chain(following.deferred.keys());
        self.tell_names(all.filter(|name| !summary.has_built(name)).collect());
    }

    fn tell_names(&self, names: BTreeSet<&String>) {
        if let (Some(most), false) = (self.settings.max_layers, names.is_empty()) {
            let names: Vec<String> = names.into_iter().cloned().collect();
            let message = deferred_text(&names, most);
            self.reporter.event(&Event::Warning { message });
        }
    }
}
