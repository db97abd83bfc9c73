//! Record and present facts to reasons.

use rpm_model::{
    BuildReason, BuildRecord, ContentDigest, LockedPackage, Nevra, RebuildPolicy, Requirement, SeenPackage,
};

use crate::soname::soname_reasons;
use crate::trigger::{TriggerFacts, trigger_reasons};

/// What is true of one spec now.
#[derive(Clone, Debug)]
pub struct PresentFacts<'a> {
    /// Identity of its inputs ([`crate::InputFacts::digest`]).
    pub inputs: &'a ContentDigest,
    /// Whether `%check` is asked for.
    pub run_check: bool,
    /// The worker generation.
    pub worker: &'a ContentDigest,
    /// Whether the user asked for a rebuild.
    pub requested: bool,
    /// Which changes of others count.
    pub policy: RebuildPolicy,
    /// Its build requirements as the spec states them.
    pub build_requires: &'a [Requirement],
    /// Its triggers.
    pub triggers: &'a TriggerFacts,
}

/// What is published now; answers about other packages.
pub trait PublishedState {
    /// Returns the hash of a published file, `None` where it is missing; `path` is relative to the repository.
    fn content(&self, path: &str) -> Option<ContentDigest>;

    /// Returns whether some published package satisfies a run-time requirement.
    fn satisfied(&self, requirement: &Requirement) -> bool;

    /// Returns the package of this name that a build root made now would hold.
    fn package(&self, name: &str) -> Option<(&Nevra, &ContentDigest)>;

    /// Returns what a trigger's name stands for: the package of this name that a build root made now would hold,
    /// else the package that provides the name in the highest version.
    fn trigger_target(&self, name: &str) -> Option<SeenPackage>;
}

/// Returns why a spec has to be built, the weightiest reason first; nothing when it is up to date.
pub fn build_reasons(
    record: Option<&BuildRecord>,
    present: &PresentFacts<'_>,
    state: &dyn PublishedState,
) -> Vec<BuildReason> {
    let Some(record) = record else { return first_build_reasons(present.requested) };
    let mut reasons = Vec::new();
    if present.requested {
        reasons.push(BuildReason::Requested);
    }
    if record.inputs != *present.inputs {
        reasons.push(BuildReason::InputsChanged {
            recorded: record.inputs.clone(),
            present: present.inputs.clone(),
        });
    }
    if present.run_check && !record.checked {
        reasons.push(BuildReason::CheckNotRun);
    }
    reasons.extend(missing_outputs(record, state));
    if present.policy >= RebuildPolicy::Relevant {
        let lost = lost_requirements(record, state);
        reasons.extend(lost.into_iter().filter(|reason| present.triggers.sonames.counts(reason)));
        reasons.extend(soname_reasons(record, present.triggers.sonames, state));
        reasons.extend(static_inputs(record, state));
        reasons.extend(trigger_reasons(record, present.triggers, state));
    }
    match present.policy {
        RebuildPolicy::Local | RebuildPolicy::Relevant => {}
        RebuildPolicy::Direct => {
            let direct = |package: &LockedPackage| is_direct(package, record, present.build_requires);
            reasons.extend(changed_root(record, state, direct));
        }
        RebuildPolicy::Exact => {
            if record.worker != *present.worker {
                reasons.push(BuildReason::WorkerChanged {
                    recorded: record.worker.clone(),
                    present: present.worker.clone(),
                });
            }
            reasons.extend(changed_root(record, state, |_| true));
        }
    }
    reasons
}

/// Returns why a spec without a record has to be built: whatever its sources are, so nobody need look at them.
pub fn first_build_reasons(requested: bool) -> Vec<BuildReason> {
    let requested = requested.then_some(BuildReason::Requested);
    requested.into_iter().chain([BuildReason::NeverBuilt]).collect()
}

fn missing_outputs(record: &BuildRecord, state: &dyn PublishedState) -> Vec<BuildReason> {
    record
        .rpms
        .iter()
        .filter(|package| state.content(&package.artifact.path).as_ref() != Some(&package.artifact.sha256))
        .map(|package| BuildReason::OutputMissing { path: package.artifact.path.clone() })
        .collect()
}

/// Finds requirements that were satisfied when the package was accepted and are no longer, for example a
/// soname whose library moved on.
fn lost_requirements(record: &BuildRecord, state: &dyn PublishedState) -> Vec<BuildReason> {
    let mut reasons = Vec::new();
    for package in &record.rpms {
        for requirement in &package.requires {
            let own = record.rpms.iter().flat_map(|other| &other.provides);
            let satisfied_by_itself =
                requirement.leaves().iter().any(|leaf| own.clone().any(|p| p.overlaps(leaf)));
            if !satisfied_by_itself && !record.unmet.contains(requirement) && !state.satisfied(requirement) {
                reasons.push(BuildReason::RequirementLost {
                    package: package.artifact.nevra.name.clone(),
                    requirement: requirement.to_string(),
                });
            }
        }
    }
    reasons
}

/// Finds changed packages of the recorded build root whose content ends up inside what was built.
fn static_inputs(record: &BuildRecord, state: &dyn PublishedState) -> Vec<BuildReason> {
    let compiled_in = |name: &str| {
        name.ends_with("-static")
            || name.starts_with("golang-")
            || (name.starts_with("rust-") && name.ends_with("-devel"))
    };
    let mut reasons = Vec::new();
    for package in record.lock.packages().iter().filter(|package| compiled_in(&package.nevra.name)) {
        if let Some((_, content)) = state.package(&package.nevra.name)
            && *content != package.sha256
        {
            reasons.push(BuildReason::StaticInputChanged {
                package: package.nevra.name.clone(),
                recorded: package.sha256.clone(),
                present: content.clone(),
            });
        }
    }
    reasons
}

/// Returns whether a package of the root is there because the spec itself asks for it.
fn is_direct(package: &LockedPackage, record: &BuildRecord, build_requires: &[Requirement]) -> bool {
    let own = record.rpms.iter().any(|own| own.artifact.nevra.name == package.nevra.name);
    !own && build_requires
        .iter()
        .chain(&record.generated)
        .flat_map(Requirement::leaves)
        .any(|leaf| leaf.name == package.nevra.name)
}

fn changed_root(
    record: &BuildRecord,
    state: &dyn PublishedState,
    counts: impl Fn(&LockedPackage) -> bool,
) -> Vec<BuildReason> {
    let mut reasons = Vec::new();
    for package in record.lock.packages().iter().filter(|package| counts(package)) {
        let now = state.package(&package.nevra.name);
        if now.map(|(_, content)| content) != Some(&package.sha256) {
            reasons.push(BuildReason::BuildRequirementChanged {
                package: package.nevra.name.clone(),
                recorded: Some(package.nevra.clone()),
                present: now.map(|(nevra, _)| nevra.clone()),
            });
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpm_model::{BuildrootLock, PackageArtifact, PackageOrigin, RecordedPackage, ResourceUsage};
    use std::collections::BTreeMap;

    #[derive(Clone)]
    struct State {
        files: BTreeMap<String, ContentDigest>,
        provides: Vec<&'static str>,
        packages: BTreeMap<String, (Nevra, ContentDigest)>,
    }

    impl PublishedState for State {
        fn content(&self, path: &str) -> Option<ContentDigest> {
            self.files.get(path).cloned()
        }

        fn satisfied(&self, requirement: &Requirement) -> bool {
            self.provides.contains(&requirement.to_string().as_str())
        }

        fn package(&self, name: &str) -> Option<(&Nevra, &ContentDigest)> {
            self.packages.get(name).map(|(nevra, content)| (nevra, content))
        }

        fn trigger_target(&self, name: &str) -> Option<SeenPackage> {
            let (nevra, sha256) = self.packages.get(name).cloned()?;
            Some(SeenPackage { nevra, sha256, provided: None })
        }
    }

    fn digest(text: &str) -> ContentDigest {
        ContentDigest::of_bytes(text.as_bytes())
    }

    fn locked(name: &str) -> LockedPackage {
        LockedPackage {
            nevra: format!("{name}-1-1.x86_64").parse().unwrap(),
            sha256: digest(name),
            size: 1,
            path: String::new(),
            origin: PackageOrigin::Tree,
        }
    }

    fn record() -> BuildRecord {
        let artifact = |nevra: &str| PackageArtifact {
            nevra: nevra.parse().unwrap(),
            path: format!("{nevra}.rpm"),
            sha256: digest(nevra),
            size: 1,
        };
        BuildRecord {
            schema: BuildRecord::SCHEMA,
            package: "jq".into(),
            source: "jq-1-1.src".parse().unwrap(),
            inputs: digest("inputs"),
            identity: digest("identity"),
            worker: digest("worker"),
            lock: BuildrootLock::new(vec![locked("oniguruma-devel"), locked("zlib-static"), locked("bash")]),
            checked: false,
            reasons: Vec::new(),
            rpms: vec![RecordedPackage {
                artifact: artifact("jq-1-1.x86_64"),
                provides: vec!["jq = 1-1".parse().unwrap()],
                requires: ["libonig.so.5()(64bit)", "jq = 1-1", "pager"]
                    .map(|text| text.parse().unwrap())
                    .into(),
            }],
            unmet: vec!["pager".parse().unwrap()],
            srpm: artifact("jq-1-1.src"),
            usage: ResourceUsage::default(),
            cpus: None,
            phases: Vec::new(),
            usage_source: None,
            check: None,
            generated: Vec::new(),
            caches: Vec::new(),
            triggers: Default::default(),
        }
    }

    fn state() -> State {
        let packages = ["oniguruma-devel", "zlib-static", "bash"]
            .map(|name| (name.to_owned(), (locked(name).nevra, locked(name).sha256)));
        State {
            files: BTreeMap::from([("jq-1-1.x86_64.rpm".to_owned(), digest("jq-1-1.x86_64"))]),
            provides: vec!["libonig.so.5()(64bit)"],
            packages: packages.into(),
        }
    }

    fn check(policy: RebuildPolicy, change: impl Fn(&mut State), expected: &[&str]) {
        let build_requires = ["oniguruma-devel".parse().unwrap()];
        let (inputs, worker) = (digest("inputs"), digest("worker"));
        let present = PresentFacts {
            inputs: &inputs,
            run_check: false,
            worker: &worker,
            requested: false,
            policy,
            build_requires: &build_requires,
            triggers: &TriggerFacts::default(),
        };
        let mut state = state();
        change(&mut state);
        let reasons: Vec<String> =
            build_reasons(Some(&record()), &present, &state).iter().map(ToString::to_string).collect();
        assert_eq!(reasons.len(), expected.len(), "{policy:?}: {reasons:?}");
        for (reason, part) in reasons.iter().zip(expected) {
            assert!(reason.contains(part), "{reason} / {part}");
        }
    }

    #[test]
    fn nothing_changed_means_no_reason() {
        for policy in
            [RebuildPolicy::Local, RebuildPolicy::Relevant, RebuildPolicy::Direct, RebuildPolicy::Exact]
        {
            check(policy, |_| {}, &[]);
        }
    }

    #[test]
    fn a_missing_or_foreign_output_is_a_reason() {
        check(RebuildPolicy::Local, |state| state.files.clear(), &["jq-1-1.x86_64.rpm"]);
        let foreign =
            |state: &mut State| state.files.values_mut().for_each(|content| *content = digest("other"));
        check(RebuildPolicy::Local, foreign, &["is missing or is not what was built"]);
    }

    /// `pager` is required and provided by nothing, from the beginning: see `unmet` in the record.
    #[test]
    fn a_lost_soname_counts_unless_the_policy_is_local() {
        check(RebuildPolicy::Local, |state| state.provides.clear(), &[]);
        check(
            RebuildPolicy::Relevant,
            |state| state.provides.clear(),
            &["jq requires `libonig.so.5()(64bit)`"],
        );
    }

    fn replace(name: &'static str) -> impl Fn(&mut State) {
        move |state| {
            state
                .packages
                .insert(name.into(), (format!("{name}-2-1.x86_64").parse().unwrap(), digest("new")));
        }
    }

    #[test]
    fn what_is_compiled_in_counts_and_what_is_linked_does_not() {
        check(RebuildPolicy::Relevant, replace("zlib-static"), &["zlib-static, which is compiled in"]);
        check(RebuildPolicy::Relevant, replace("oniguruma-devel"), &[]);
    }

    #[test]
    fn stricter_policies_look_at_the_build_root() {
        check(
            RebuildPolicy::Direct,
            replace("oniguruma-devel"),
            &["oniguruma-devel in its build root changed"],
        );
        check(RebuildPolicy::Direct, replace("bash"), &[]);
        check(
            RebuildPolicy::Exact,
            replace("bash"),
            &["bash in its build root changed (bash-1-1.x86_64 -> bash-2-1.x86_64)"],
        );
    }

    #[test]
    fn own_facts_come_first() {
        let (inputs, worker) = (digest("other"), digest("worker"));
        let present = PresentFacts {
            inputs: &inputs,
            run_check: true,
            worker: &worker,
            requested: true,
            policy: RebuildPolicy::Relevant,
            build_requires: &[],
            triggers: &TriggerFacts::default(),
        };
        let reasons = build_reasons(Some(&record()), &present, &state());
        assert!(matches!(
            reasons[..],
            [BuildReason::Requested, BuildReason::InputsChanged { .. }, BuildReason::CheckNotRun]
        ));
        assert_eq!(
            build_reasons(None, &present, &state()),
            [BuildReason::Requested, BuildReason::NeverBuilt]
        );
    }
}
