//! Change sets over small records: what is done, what is open, and what a spec's text is.

use std::collections::BTreeMap;

use rpm_model::{
    BuildReason, BuildRecord, BuildrootLock, ContentDigest, PackageArtifact, RecordedPackage, ResourceUsage,
};

use super::*;

const OLD: &str = "Release: 1\n%changelog\n";
const NEW: &str = "Release: 2\n%changelog\n* entry\n";

fn digest(text: &str) -> ContentDigest {
    ContentDigest::of_bytes(text.as_bytes())
}

/// A build of `jq` with this release and content that took so long.
fn record(release: u32, content: &str, seconds: f64) -> BuildRecord {
    let artifact = |arch: &str| PackageArtifact {
        nevra: format!("jq-1.0-{release}.{arch}").parse().unwrap(),
        path: format!("{arch}/jq-1.0-{release}.{arch}.rpm"),
        sha256: digest(content),
        size: 1,
    };
    BuildRecord {
        schema: BuildRecord::SCHEMA,
        package: "jq".into(),
        source: format!("jq-1.0-{release}.src").parse().unwrap(),
        dist_counter: None,
        inputs: digest("inputs"),
        identity: digest("identity"),
        worker: digest("worker"),
        lock: BuildrootLock::new(Vec::new()),
        checked: false,
        reasons: Vec::new(),
        rpms: vec![RecordedPackage {
            artifact: artifact("x86_64"),
            provides: Vec::new(),
            requires: Vec::new(),
        }],
        unmet: Vec::new(),
        srpm: artifact("src"),
        usage: ResourceUsage { wall_seconds: seconds, ..ResourceUsage::default() },
        cpus: None,
        phases: Vec::new(),
        usage_source: None,
        check: None,
        generated: Vec::new(),
        caches: Vec::new(),
        triggers: Default::default(),
        input_parts: None,
        cascade: None,
        reused: None,
        changes: Vec::new(),
    }
}

/// A set of `jq`, built before as this, which becomes release `to`.
fn set(before: Option<&BuildRecord>, to: u32) -> ChangeSet {
    let request = Request {
        all_of: vec!["soname:libonig.so.5".into()],
        named: Vec::new(),
        except: Vec::new(),
        bump: "spec".into(),
        message: "Rebuilt".into(),
    };
    let edit = SpecEdit { sha256_after: digest(NEW), lines: TextEdit::between(OLD, NEW) };
    let spec = ChangedSpec {
        spec: "jq".into(),
        layer: 1,
        because: Vec::new(),
        path: "SPECS/jq/jq.spec".into(),
        from: before.map(|record| record.source.evr.clone()),
        to: format!("1.0-{to}").parse().unwrap(),
        counted: None,
        sha256: digest(OLD),
        edit: Some(edit),
        before: before.map(BuildMark::of),
        estimate_seconds: 1.0,
    };
    let time = ExpectedTime { work_seconds: 1.0, at_least_seconds: 1.0, workers: 1, guessed: 0 };
    ChangeSet::new(request, "/tree".into(), time, vec![spec], Vec::new(), Vec::new(), Vec::new())
}

#[track_caller]
fn check(set: &ChangeSet, now: Option<BuildRecord>, expected: SpecState) {
    let records: BTreeMap<String, BuildRecord> =
        now.map(|record| ("jq".to_owned(), record)).into_iter().collect();
    assert_eq!(set.states(&records)["jq"], expected);
    assert_eq!(set.open(&records).is_empty(), expected != SpecState::Open);
}

#[test]
fn another_build_of_the_release_that_was_to_be_is_done_whoever_built_it() {
    let before = record(1, "a", 1.0);
    let raised = set(Some(&before), 2);
    check(&raised, None, SpecState::Open);
    check(&raised, Some(before.clone()), SpecState::Open);
    // Built again in between, but not as the release that was to be.
    check(&raised, Some(record(1, "b", 2.0)), SpecState::Open);
    check(&raised, Some(record(2, "b", 2.0)), SpecState::Rebuilt);
    check(&raised, Some(record(3, "b", 2.0)), SpecState::Rebuilt);
    let same = set(Some(&before), 1);
    check(&same, Some(before.clone()), SpecState::Open);
    check(&same, Some(record(1, "b", 1.0)), SpecState::Rebuilt);
    check(&same, Some(record(1, "a", 1.5)), SpecState::Identical);
    // The same to the last bit, but for its reason.
    let own = BuildRecord { reasons: vec![same.build_reason()], ..before.clone() };
    check(&same, Some(own), SpecState::Identical);
    check(&set(None, 1), Some(before), SpecState::Rebuilt);
}

#[test]
fn a_refresh_of_a_record_is_no_build() {
    let before = record(1, "a", 1.0);
    let mut refreshed = before.clone();
    refreshed.triggers.packages.insert("lua".into(), None);
    check(&set(Some(&before), 1), Some(refreshed), SpecState::Open);
}

#[test]
fn texts_are_what_was_reviewed_or_what_the_edit_makes_of_it_or_refused() {
    let set = set(Some(&record(1, "a", 1.0)), 2);
    let spec = &set.specs[0];
    assert_eq!(spec.content(OLD.as_bytes()), Some(SpecContent::Reviewed));
    assert_eq!(spec.content(NEW.as_bytes()), Some(SpecContent::Edited));
    assert_eq!(spec.content(b"Release: 3\n"), None);
    assert_eq!(spec.edited(OLD).as_deref(), Some(NEW));
    assert_eq!(spec.restored(NEW).as_deref(), Some(OLD));
    assert_eq!((spec.edited(NEW), spec.restored(OLD)), (None, None));
    // A document in which somebody changed the edit.
    let mut other = spec.clone();
    other.edit.as_mut().unwrap().lines = TextEdit::between(OLD, "Release: 9\n%changelog\n");
    assert_eq!(other.edited(OLD), None);
}

#[test]
fn names_follow_from_what_is_done_and_can_be_directories() {
    let before = record(1, "a", 1.0);
    let (one, other) = (set(Some(&before), 2), set(Some(&record(1, "b", 1.0)), 2));
    assert!(one.name.starts_with("soname-libonig.so.5-"), "{}", one.name);
    assert_eq!(one.name, set(Some(&before), 2).name);
    assert_ne!(one.name, other.name);
    assert!(ChangeSet::is_name(&one.name));
    for bad in ["", "..", ".x", "a/b", "a b"] {
        assert!(!ChangeSet::is_name(bad), "{bad}");
    }
    let reason = BuildReason::MassRebuild { name: one.name.clone(), cause: "soname:libonig.so.5".into() };
    assert_eq!(one.build_reason(), reason);
    assert_eq!(reason.to_string(), format!("mass rebuild {} for soname:libonig.so.5", one.name));
    let read: ChangeSet = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
    assert_eq!(read, one);
}
