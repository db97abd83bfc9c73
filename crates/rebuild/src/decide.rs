//! Record and present facts to reasons.

use std::collections::{BTreeMap, BTreeSet};

use rpm_model::{
    BuildReason, BuildRecord, BuildrootLock, ContentDigest, InputChange, InputParts, LibraryPath,
    LockedPackage, Nevra, RebuildPolicy, Requirement, SeenPackage,
};

use crate::need::{is_lost, lost_library};
use crate::soname::soname_reasons;
use crate::trigger::{TriggerFacts, trigger_reasons};

/// What is true of one spec now.
#[derive(Clone, Copy)]
pub struct PresentFacts<'a> {
    /// Identity of its inputs ([`crate::InputFacts::digest`]).
    pub inputs: &'a ContentDigest,
    /// The parts of that identity; asked for only where it differs from the recorded one.
    pub input_parts: &'a dyn Fn() -> Option<InputParts>,
    /// Whether `%check` is asked for.
    pub run_check: bool,
    /// The worker generation.
    pub worker: &'a ContentDigest,
    /// Why a rebuild is asked for, where it is.
    pub requested: Option<&'a BuildReason>,
    /// Which changes of others count.
    pub policy: RebuildPolicy,
    /// Its build requirements as the spec states them.
    pub build_requires: &'a [Requirement],
    /// Its triggers.
    pub triggers: &'a TriggerFacts,
    /// The build root that it would get now; asked for only where the policy looks at it. `None` where none can be
    /// made at present, for example because a package that it needs is about to be built; who accepts that asks again.
    pub root: &'a dyn Fn() -> Option<BuildrootLock>,
}

/// What is published now; answers about other packages.
pub trait PublishedState {
    /// Returns the hash of a published file, `None` where it is missing; `path` is relative to the repository.
    fn content(&self, path: &str) -> Option<ContentDigest>;

    /// Returns whether some published package satisfies a run-time requirement.
    fn satisfied(&self, requirement: &Requirement) -> bool;

    /// Returns whether a package has a library for everybody: one that satisfies a requirement with a file in a
    /// directory in which the loader looks by itself. What the tree publishes takes the place of what has the same name
    /// elsewhere.
    fn linkable(&self, requirement: &Requirement) -> bool;

    /// Returns the libraries, as rpm names them, that a spec's packages have for everybody, sorted, with the packages.
    fn libraries_of(&self, spec: &str) -> Vec<(String, Nevra)>;

    /// Returns where the library lies that somebody who is linked to it finds, as far as that is known.
    fn library_path(&self, library: &str) -> Option<LibraryPath>;

    /// Returns the best package of this name, whoever may use it.
    fn package(&self, name: &str) -> Option<(&Nevra, &ContentDigest)>;

    /// Returns what a trigger's name stands for: the package of this name that a build root made now would hold,
    /// else the package that provides the name in the highest version.
    fn trigger_target(&self, name: &str) -> Option<SeenPackage>;

    /// Returns the spec of the tree that published the best package of this name.
    fn spec_of(&self, name: &str) -> Option<&str>;

    /// Returns the spec of the tree whose packages satisfied a requirement once and do no longer.
    fn withdrew(&self, requirement: &Requirement) -> Option<&str>;
}

/// Returns why a spec has to be built, the weightiest reason first; nothing when it is up to date.
pub fn build_reasons(
    record: Option<&BuildRecord>,
    present: &PresentFacts<'_>,
    state: &dyn PublishedState,
) -> Vec<BuildReason> {
    let Some(record) = record else { return first_build_reasons(present.requested) };
    let mut reasons = Vec::new();
    reasons.extend(present.requested.cloned());
    reasons.extend(changed_inputs(record, present));
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
    if present.policy == RebuildPolicy::Exact && record.worker != *present.worker {
        reasons.push(BuildReason::WorkerChanged {
            recorded: record.worker.clone(),
            present: present.worker.clone(),
        });
    }
    if present.policy >= RebuildPolicy::Direct
        && let Some(root) = (present.root)()
    {
        let told: BTreeSet<String> = reasons.iter().filter_map(compiled_in_package).collect();
        let counts = |package: &str| {
            let exact = present.policy == RebuildPolicy::Exact;
            (exact || is_direct(package, record, present.build_requires)) && !told.contains(package)
        };
        reasons.extend(changed_root(record, &root, state, counts));
    }
    reasons
}

/// Returns why a spec without a record has to be built: whatever its sources are, so nobody need look at them.
pub fn first_build_reasons(requested: Option<&BuildReason>) -> Vec<BuildReason> {
    requested.cloned().into_iter().chain([BuildReason::NeverBuilt]).collect()
}

fn changed_inputs(record: &BuildRecord, present: &PresentFacts<'_>) -> Option<BuildReason> {
    if record.inputs == *present.inputs {
        return None;
    }
    let changed = match (&record.input_parts, (present.input_parts)()) {
        (Some(recorded), Some(now)) => {
            let changed = recorded.changes_to(&now);
            if changed.is_empty() { vec![InputChange::SourceHeader] } else { changed }
        }
        _ => Vec::new(),
    };
    let (recorded, present) = (record.inputs.clone(), present.inputs.clone());
    Some(BuildReason::InputsChanged { recorded, present, changed })
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
        for requirement in package.requires.iter().filter(|one| is_lost(record, package, one, state)) {
            let by = state.withdrew(requirement);
            reasons.push(BuildReason::RequirementLost {
                package: package.artifact.nevra.name.clone(),
                requirement: requirement.to_string(),
                by: by.map(str::to_owned),
                library: lost_library(record, requirement, by, state),
            });
        }
    }
    reasons
}

/// Returns whether the content of a package of the build root is inside what was built.
pub(crate) fn is_compiled_in(package: &LockedPackage, record: &BuildRecord) -> bool {
    let name = &package.nevra.name;
    match &record.cascade {
        Some(facts) => facts.compiled_in.binary_search(name).is_ok(),
        // A record of an older version does not say what the packages of its root provided.
        None => {
            name.ends_with("-static")
                || name.starts_with("golang-")
                || (name.starts_with("rust-") && name.ends_with("-devel"))
        }
    }
}

/// Finds changed packages of the recorded build root whose content ends up inside what was built.
fn static_inputs(record: &BuildRecord, state: &dyn PublishedState) -> Vec<BuildReason> {
    let mut reasons = Vec::new();
    for package in record.lock.iter().filter(|package| is_compiled_in(package, record)) {
        if let Some((_, content)) = state.package(&package.nevra.name)
            && *content != package.sha256
        {
            reasons.push(BuildReason::StaticInputChanged {
                package: package.nevra.name.clone(),
                recorded: package.sha256.clone(),
                present: content.clone(),
                by: state.spec_of(&package.nevra.name).map(str::to_owned),
            });
        }
    }
    reasons
}

fn compiled_in_package(reason: &BuildReason) -> Option<String> {
    match reason {
        BuildReason::StaticInputChanged { package, .. } => Some(package.clone()),
        _ => None,
    }
}

/// Returns whether a package of the root is there because the spec itself asks for it.
pub(crate) fn is_direct(package: &str, record: &BuildRecord, build_requires: &[Requirement]) -> bool {
    let own = record.rpms.iter().any(|own| own.artifact.nevra.name == package);
    let named = || {
        let stated = build_requires.iter().chain(&record.generated).flat_map(Requirement::leaves);
        stated.into_iter().any(|leaf| leaf.name == package)
    };
    let recorded =
        record.cascade.as_ref().is_some_and(|facts| facts.direct.iter().any(|direct| direct == package));
    !own && (recorded || named())
}

/// Finds what differs between the recorded build root and the one made now among the packages that count, what
/// is new included. What the spec made itself does not count: it would never come to rest.
fn changed_root(
    record: &BuildRecord,
    root: &BuildrootLock,
    state: &dyn PublishedState,
    counts: impl Fn(&str) -> bool,
) -> Vec<BuildReason> {
    let by_name = |lock: &BuildrootLock| -> BTreeMap<String, LockedPackage> {
        lock.iter().map(|package| (package.nevra.name.clone(), package.clone())).collect()
    };
    let (recorded, present) = (by_name(&record.lock), by_name(root));
    let names: BTreeSet<&String> = recorded.keys().chain(present.keys()).collect();
    let is_own = |name: &str| record.rpms.iter().any(|own| own.artifact.nevra.name == name);
    let mut reasons = Vec::new();
    for name in names.into_iter().filter(|name| counts(name) && !is_own(name)) {
        let (before, now) = (recorded.get(name), present.get(name));
        if before.map(|package| &package.sha256) != now.map(|package| &package.sha256) {
            reasons.push(BuildReason::BuildRequirementChanged {
                package: name.clone(),
                recorded: before.map(|package| package.nevra.clone()),
                present: now.map(|package| package.nevra.clone()),
                by: state.spec_of(name).map(str::to_owned),
            });
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpm_model::{CascadeFacts, PackageArtifact, PackageOrigin, RecordedPackage, ResourceUsage};

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

        fn linkable(&self, requirement: &Requirement) -> bool {
            self.satisfied(requirement)
        }

        fn libraries_of(&self, _spec: &str) -> Vec<(String, Nevra)> {
            Vec::new()
        }

        fn library_path(&self, _library: &str) -> Option<LibraryPath> {
            None
        }

        fn package(&self, name: &str) -> Option<(&Nevra, &ContentDigest)> {
            self.packages.get(name).map(|(nevra, content)| (nevra, content))
        }

        fn trigger_target(&self, name: &str) -> Option<SeenPackage> {
            let (nevra, sha256) = self.packages.get(name).cloned()?;
            Some(SeenPackage { nevra, sha256, provided: None })
        }

        fn spec_of(&self, name: &str) -> Option<&str> {
            self.packages.contains_key(name).then_some("maker")
        }

        fn withdrew(&self, _requirement: &Requirement) -> Option<&str> {
            Some("onig")
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
            dist_counter: None,
            inputs: digest("inputs"),
            identity: digest("identity"),
            worker: digest("worker"),
            lock: BuildrootLock::new(
                ["oniguruma-devel", "zlib-static", "bash", "headers"].map(locked).to_vec(),
            ),
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
            reused: None,
            changes: Vec::new(),
            input_parts: Some(parts("1")),
            cascade: Some(CascadeFacts {
                compiled_in: vec!["zlib-static".into()],
                direct: vec!["headers".into()],
                ..CascadeFacts::default()
            }),
        }
    }

    fn parts(spec: &str) -> InputParts {
        InputParts {
            files: BTreeMap::from([("jq.spec".to_owned(), spec.to_owned())]),
            ..InputParts::default()
        }
    }

    fn state() -> State {
        let packages = ["oniguruma-devel", "zlib-static", "bash", "headers"]
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
        let mut state = state();
        change(&mut state);
        let root = || {
            let packages = state.packages.iter().map(|(name, (nevra, sha256))| LockedPackage {
                nevra: nevra.clone(),
                sha256: sha256.clone(),
                ..locked(name)
            });
            Some(BuildrootLock::new(packages.collect()))
        };
        let present = PresentFacts {
            inputs: &inputs,
            input_parts: &|| None,
            run_check: false,
            worker: &worker,
            requested: None,
            policy,
            build_requires: &build_requires,
            triggers: &TriggerFacts::default(),
            root: &root,
        };
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
            &["jq requires `libonig.so.5()(64bit)`, which nothing provides any more since `onig` was built"],
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
        // The spec names something else that this package provides.
        check(RebuildPolicy::Direct, replace("headers"), &["headers in its build root changed"]);
        check(RebuildPolicy::Direct, replace("bash"), &[]);
        check(RebuildPolicy::Direct, replace("new"), &[]);
        check(
            RebuildPolicy::Exact,
            replace("new"),
            &["new in its build root changed (absent -> new-2-1.x86_64)"],
        );
        // What is compiled in is told once.
        check(RebuildPolicy::Exact, replace("zlib-static"), &["zlib-static, which is compiled in"]);
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
            input_parts: &|| Some(parts("2")),
            run_check: true,
            worker: &worker,
            requested: Some(&BuildReason::Requested),
            policy: RebuildPolicy::Relevant,
            build_requires: &[],
            triggers: &TriggerFacts::default(),
            root: &|| None,
        };
        let reasons = build_reasons(Some(&record()), &present, &state());
        assert!(matches!(
            reasons[..],
            [BuildReason::Requested, BuildReason::InputsChanged { .. }, BuildReason::CheckNotRun]
        ));
        assert_eq!(reasons[1].to_string(), "jq.spec changed (1 -> 2)");
        assert_eq!(
            build_reasons(None, &present, &state()),
            [BuildReason::Requested, BuildReason::NeverBuilt]
        );
    }
}
