//! Plans over small scenes written as text.

use super::*;
use crate::rounds::Rounds;
use crate::testing::{indexed, package_task, record_of};
use crate::universe::Universe;
use grapher::{Cause, OwnCause, TreeReport, UnresolvedReason};
use rpm_model::{BuildRecord, BuildrootLock, ContentDigest, Dependency, PackageOrigin, SeenPackage};
use std::path::Path;

use crate::demand::Capacity;
use crate::task::PackageTask;

/// Specs, each `name: needs`; among the needs `!x` is a requirement that nothing provides, `?x` is
/// `file(x)`, which is open as long as another spec was never built. Prerequisites come first.
pub(crate) struct Scene {
    specs: Vec<(String, Vec<String>)>,
    records: BTreeMap<String, BuildRecord>,
    /// What builds have shown to be provided.
    shown: BTreeSet<String>,
    pub(crate) requested: BTreeMap<String, BuildReason>,
    pub(crate) ignored: BTreeSet<String>,
    pub(crate) unpacked: BTreeMap<String, String>,
    /// Specs with a record that nobody tried to pack.
    not_looked_at: BTreeSet<String>,
    unreadable: BTreeSet<String>,
    pub(crate) outside: usize,
    pub(crate) max_layers: Option<u32>,
}

impl Scene {
    pub(crate) fn new(specs: &[&str]) -> Self {
        let words = |list: &str| list.split_whitespace().map(str::to_owned).collect();
        let specs = specs.iter().map(|line| line.split_once(':').unwrap());
        Self {
            specs: specs.map(|(name, needs)| (name.to_owned(), words(needs))).collect(),
            records: BTreeMap::new(),
            shown: BTreeSet::new(),
            requested: BTreeMap::new(),
            ignored: BTreeSet::new(),
            unpacked: BTreeMap::new(),
            not_looked_at: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            outside: 0,
            max_layers: None,
        }
    }

    /// Records a build of two seconds, which shows that something is provided.
    pub(crate) fn build(&mut self, name: &str, shows: Option<&str>) {
        let mut record = record_of(name, &[indexed(name, "1-1", PackageOrigin::Tree, &[])]);
        record.inputs = package_task(name).inputs;
        record.usage.wall_seconds = 2.0;
        self.records.insert(name.to_owned(), record);
        self.shown.extend(shows.map(str::to_owned));
    }

    /// Records that a package was in the build root of another and is compiled in, as it is now or as it was.
    fn holds(&mut self, name: &str, held: &str, is_current: bool) {
        let mut locked = indexed(held, "1-1", PackageOrigin::Tree, &[]).locked();
        if !is_current {
            locked.sha256 = ContentDigest::of_bytes(b"before");
        }
        if let Some(record) = self.records.get_mut(name) {
            record.lock = BuildrootLock::new(vec![locked]);
            record.cascade.get_or_insert_default().compiled_in = vec![held.to_owned()];
        }
    }

    pub(crate) fn took(mut self, name: &str, seconds: f64) -> Self {
        self.build(name, None);
        if let Some(record) = self.records.get_mut(name) {
            record.usage.wall_seconds = seconds;
        }
        self
    }

    fn own(&self, spec: &str, needs: &[String]) -> Vec<OwnCause<Cause>> {
        let others = self.specs.iter().any(|(name, _)| name != spec && !self.records.contains_key(name));
        let cause = |need: &String| {
            let (name, open) = match (need.strip_prefix('!'), need.strip_prefix('?')) {
                (Some(name), _) => (name.to_owned(), false),
                (_, Some(name)) if !self.shown.contains(name) => {
                    (format!("file({name})"), others || self.outside > 0)
                }
                _ => return None,
            };
            let requirement = Dependency::any(name.clone()).into();
            let cause = if open {
                Cause::OpenUntilBuilt { requirement }
            } else {
                Cause::Unresolvable {
                    requirement,
                    reason: UnresolvedReason::NothingProvides { name },
                    near: Vec::new(),
                }
            };
            Some(OwnCause { cause, stated_by: spec.to_owned(), written: None, chain: Vec::new() })
        };
        needs.iter().filter_map(cause).collect()
    }
}

/// Returns the plan over a scene whose goals are all specs; what has a record is packed.
pub(crate) fn plan_of(scene: &Scene, rounds: &Rounds) -> PlanDocument {
    let mut levels: BTreeMap<&str, usize> = BTreeMap::new();
    let mut places = Vec::new();
    for (name, needs) in &scene.specs {
        let needed = needs.iter().filter(|need| !need.starts_with(['!', '?']));
        let level =
            needed.clone().filter_map(|need| levels.get(need.as_str())).max().map_or(0, |level| level + 1);
        levels.insert(name, level);
        let dependants = scene.specs.iter().filter(|(_, needs)| needs.contains(name)).count();
        let (package, own) = (name.clone(), scene.own(name, needs));
        places.push(PlaceInGraph { package, level, own, needs: needed.cloned().collect(), dependants });
    }
    let packed = scene.records.keys().filter(|name| !scene.not_looked_at.contains(*name));
    let tasks: BTreeMap<String, PackageTask> =
        packed.map(|name| (name.clone(), package_task(name))).collect();
    let scanned = scene.records.keys().map(|name| indexed(name, "1-1", PackageOrigin::Tree, &[])).collect();
    let universe = Universe::new(Vec::new(), Path::new("/repo"), scanned, &scene.records);
    let report = TreeReport {
        schema: TreeReport::SCHEMA,
        arch: "x86_64".into(),
        specs: places.len(),
        blocked: 0,
        waiting: 0,
        causes: Vec::new(),
        unresolvable: Vec::new(),
        breaks: Vec::new(),
        excluded: 0,
    };
    PlanDocument::new(&PlanInput {
        goals: &scene.specs.iter().map(|(name, _)| name.clone()).collect(),
        places: &places,
        report: &report,
        tasks: &tasks,
        unpacked: &scene.unpacked,
        records: &scene.records,
        unreadable: &scene.unreadable,
        state: &universe.state(),
        worker: &ContentDigest::of_bytes(b"worker"),
        requested: &scene.requested,
        ignored: &scene.ignored,
        failed: &rounds.summary.failed,
        awaited: &rounds.awaited,
        never_built_outside: scene.outside,
        workers: 2,
        input_parts: &|_| None,
        release: &|_, _| None,
        root: &|_| None,
        max_layers: scene.max_layers,
    })
}

/// Each package of the plan with what is done about it, in the plan's order.
#[track_caller]
fn check(scene: &Scene, expected: &[&str]) -> PlanDocument {
    let plan = plan_of(scene, &Rounds::default());
    assert!(!plan.queue().is_stuck());
    let text = |causes: &Vec<usize>| {
        causes.iter().map(|cause| plan.causes[*cause].cause.to_string()).collect::<Vec<_>>().join("; ")
    };
    let line = |package: &PlannedPackage| {
        let action = match &package.action {
            PlannedAction::Build { sources: SourcesState::Packed, .. } => "build".to_owned(),
            PlannedAction::Build { sources: SourcesState::NotLookedAt, .. } => "build unseen".to_owned(),
            PlannedAction::UpToDate => "up to date".to_owned(),
            PlannedAction::Deferred { layer, .. } => format!("deferred in layer {layer}"),
            PlannedAction::Ignored => "ignored".to_owned(),
            PlannedAction::Waiting { causes } => format!("waits: {}", text(causes)),
            PlannedAction::Blocked { causes } => format!("blocked: {}", text(causes)),
        };
        format!("{} {}: {action}", package.level, package.package)
    };
    assert_eq!(plan.packages.iter().map(line).collect::<Vec<_>>(), expected);
    plan
}

#[test]
fn what_is_published_stays_unless_a_rebuild_is_asked_for() {
    let mut scene = Scene::new(&["zlib:", "onig:", "jq: onig"]);
    scene.build("zlib", None);
    check(&scene, &["0 onig: build unseen", "0 zlib: up to date", "1 jq: build unseen"]);
    scene.requested.insert("zlib".into(), BuildReason::Requested);
    scene.ignored.insert("onig".into());
    check(&scene, &["0 onig: ignored", "0 zlib: build", "1 jq: build unseen"]);
}

#[test]
fn within_a_level_the_longest_chain_comes_first() {
    let scene = Scene::new(&["a:", "b:", "c: b", "d: c"]);
    let plan =
        check(&scene, &["0 b: build unseen", "0 a: build unseen", "1 c: build unseen", "2 d: build unseen"]);
    let path: Vec<&str> = plan.time.critical_path.iter().map(|step| step.package.as_str()).collect();
    assert_eq!((path, plan.time.guessed), (vec!["b", "c", "d"], 4));
}

#[test]
fn what_is_blocked_names_the_root_cause_and_not_the_chain() {
    let mut scene = Scene::new(&["base: !x", "middle: base", "top: middle other", "other:"]);
    scene.unpacked.insert("other".into(), "1 source is missing".into());
    check(
        &scene,
        &[
            "0 base: blocked: nothing provides `x`",
            "0 other: blocked: `other` is not packed: 1 source is missing",
            "1 middle: blocked: nothing provides `x`",
            "2 top: blocked: nothing provides `x`; `other` is not packed: 1 source is missing",
        ],
    );
    // What is left alone hinders nobody: what is published of it is used.
    scene.ignored.extend(["base".to_owned(), "other".to_owned()]);
    check(&scene, &["0 base: ignored", "0 other: ignored", "1 middle: build unseen", "2 top: build unseen"]);
}

#[test]
fn what_could_follow_is_told_by_layers_and_within_the_limit() {
    let mut scene = Scene::new(&["low:", "mid: low", "top: mid", "other:"]);
    for name in ["low", "mid", "top", "other"] {
        scene.build(name, None);
    }
    scene.holds("mid", "low", true);
    scene.holds("top", "mid", true);
    scene.requested.insert("low".into(), BuildReason::Requested);
    check(&scene, &["0 low: build", "0 other: up to date", "1 mid: up to date", "2 top: up to date"]);
    let possible = |scene: &Scene| {
        let impact = plan_of(scene, &Rounds::default()).impact.unwrap();
        assert_eq!(impact.certain, 1);
        let told = impact.possible.iter().map(|one| format!("{} {} {}", one.package, one.layer, one.by));
        (told.collect::<Vec<_>>().join(", "), impact.time.work_seconds)
    };
    assert_eq!(possible(&scene), ("mid 1 low, top 2 mid".to_owned(), 6.0));
    scene.max_layers = Some(1);
    assert_eq!(possible(&scene), ("mid 1 low".to_owned(), 4.0));
    scene.max_layers = Some(0);
    assert_eq!(possible(&scene), (String::new(), 2.0));
    // Watched, under whatever name, and in nobody's build root.
    scene.max_layers = Some(1);
    let low = indexed("low", "1-1", PackageOrigin::Tree, &[]);
    let seen = SeenPackage { nevra: low.header.nevra, sha256: low.sha256, provided: None };
    scene.records.get_mut("other").unwrap().triggers.packages.insert("light".to_owned(), Some(seen));
    assert_eq!(possible(&scene), ("mid 1 low, other 1 low".to_owned(), 6.0));
}

#[test]
fn what_is_due_beyond_the_limit_is_deferred_from_where_the_change_began() {
    let mut scene = Scene::new(&["low:", "mid: low"]);
    for name in ["low", "mid"] {
        scene.build(name, None);
    }
    scene.holds("mid", "low", false);
    check(&scene, &["0 low: up to date", "1 mid: build"]);
    scene.max_layers = Some(0);
    check(&scene, &["0 low: up to date", "1 mid: deferred in layer 1"]);
    // It was a follower itself, in whichever run.
    scene.records.get_mut("low").unwrap().cascade.get_or_insert_default().layer = 2;
    scene.max_layers = Some(2);
    check(&scene, &["0 low: up to date", "1 mid: deferred in layer 3"]);
    scene.max_layers = Some(3);
    check(&scene, &["0 low: up to date", "1 mid: build"]);
    // Who asks for it gets it.
    scene.max_layers = Some(0);
    scene.requested.insert("mid".into(), BuildReason::Requested);
    check(&scene, &["0 low: up to date", "1 mid: build"]);
}

#[test]
fn what_is_open_waits_as_long_as_a_build_may_show_it() {
    let waits =
        "waits: nothing is known to provide `file(odd)`; a package that was never built may turn out to";
    let mut scene = Scene::new(&["a:", "b: ?odd", "c: b", "bad: !x b"]);
    check(
        &scene,
        &[
            "0 a: build unseen",
            &format!("0 b: {waits}"),
            "1 bad: blocked: nothing is known to provide `file(odd)`; a package that was never built may turn out to; nothing provides `x`",
            &format!("1 c: {waits}"),
        ],
    );
    // Nothing is built that could show it.
    scene.build("a", None);
    scene.outside = 3;
    let outside = "blocked: nothing is known to provide `file(odd)`; 3 specs outside the goals, never built, might provide it: make them goals too";
    check(
        &scene,
        &[
            "0 a: up to date",
            &format!("0 b: {outside}"),
            &format!("1 bad: {outside}; nothing provides `x`"),
            &format!("1 c: {outside}"),
        ],
    );
}

#[test]
fn what_needs_a_thing_cannot_be_what_provides_it() {
    let mut scene = Scene::new(&["a:", "b: ?odd", "c: b", "d: !x"]);
    scene.build("a", None);
    let because_of_d =
        "blocked: nothing is known to provide `file(odd)`; what might, but was never built and cannot be: d";
    check(
        &scene,
        &[
            "0 a: up to date",
            &format!("0 b: {because_of_d}"),
            "0 d: blocked: nothing provides `x`",
            &format!("1 c: {because_of_d}"),
        ],
    );
    scene.build("d", None);
    check(
        &scene,
        &[
            "0 a: up to date",
            "0 b: blocked: nothing provides `file(odd)`",
            "0 d: blocked: nothing provides `x`",
            "1 c: blocked: nothing provides `file(odd)`",
        ],
    );
}

#[test]
fn a_record_that_cannot_be_compared_is_no_reason_to_believe_it() {
    let mut scene = Scene::new(&["zlib:"]);
    scene.build("zlib", None);
    scene.unpacked.insert("zlib".into(), "its sources are gone".into());
    check(&scene, &["0 zlib: blocked: `zlib` is not packed: its sources are gone"]);
}

#[test]
fn what_others_block_is_not_packed_and_that_is_no_cause_beside_theirs() {
    let mut scene = Scene::new(&["a: !x", "b: a", "c:"]);
    for name in ["a", "b", "c"] {
        scene.build(name, None);
        scene.not_looked_at.insert(name.to_owned());
    }
    let expected = [
        "0 a: blocked: nothing provides `x`",
        "0 c: blocked: `c` is not packed: its sources were not looked at",
        "1 b: blocked: nothing provides `x`",
    ];
    check(&scene, &expected);
}

#[test]
fn a_record_that_cannot_be_read_is_no_first_build_in_words() {
    let mut scene = Scene::new(&["zlib:", "jq:"]);
    scene.unreadable.insert("zlib".into());
    scene.requested.insert("zlib".into(), BuildReason::Requested);
    let reasons = plan_of(&scene, &Rounds::default()).reasons();
    assert_eq!(reasons["zlib"], [BuildReason::Requested, BuildReason::RecordUnreadable]);
    assert_eq!(reasons["jq"], [BuildReason::NeverBuilt]);
    assert!(reasons.values().all(|reasons| reasons.iter().any(BuildReason::is_first_build)));
}

#[test]
fn builds_wait_for_all_that_they_need() {
    let mut scene = Scene::new(&["a:", "b: a", "c: b"]);
    scene.build("b", None);
    let mut queue = plan_of(&scene, &Rounds::default()).queue();
    let free = Capacity { slots: 9, cpus: 9, memory_bytes: 1 << 30 };
    assert_eq!(queue.start_next(&free).map(|start| start.package).as_deref(), Some("a"));
    assert_eq!(queue.start_next(&free), None, "c waits for a, although b between them is up to date");
}

#[test]
fn the_document_keeps_its_shape() {
    let scene = Scene::new(&["zlib:", "jq: zlib", "bad: !x", "odd: ?y"]).took("zlib", 4.0);
    let plan = plan_of(&scene, &Rounds::default());
    let json = serde_json::to_value(&plan).unwrap();
    let expected = serde_json::json!({
        "schema": 2,
        "goals": ["bad", "jq", "odd", "zlib"],
        "packages": [
            {"package": "zlib", "level": 0, "action": "up-to-date", "needs": [], "dependants": 1,
             "estimate_seconds": 4.0, "estimate_guessed": false},
            {"package": "bad", "level": 0, "action": "blocked", "causes": [0], "needs": [], "dependants": 0,
             "estimate_seconds": 4.0, "estimate_guessed": true},
            {"package": "odd", "level": 0, "action": "waiting", "causes": [1], "needs": [], "dependants": 0,
             "estimate_seconds": 4.0, "estimate_guessed": true},
            {"package": "jq", "level": 1, "action": "build", "reasons": [{"reason": "never-built"}],
             "sources": "not-looked-at", "needs": ["zlib"], "dependants": 0,
             "estimate_seconds": 4.0, "estimate_guessed": true},
        ],
        "causes": [
            {"cause": "unresolvable", "requirement": "x", "reason": "nothing-provides", "name": "x",
             "stated_by": ["bad"], "blocks": ["bad"], "blocks_alone": 1},
            {"cause": "open-until-built", "requirement": "file(y)",
             "stated_by": ["odd"], "blocks": ["odd"], "blocks_alone": 1},
        ],
        "unresolvable": [],
        "breaks": [],
        "time": {
            "workers": 2, "work_seconds": 4.0, "critical_path_seconds": 4.0,
            "critical_path": [{"package": "jq", "estimate_seconds": 4.0, "estimate_guessed": true}],
            "at_least_seconds": 4.0, "guessed": 1, "guess_seconds": 4.0, "guess": "median", "records": 1,
        },
        "impact": {
            "certain": 1,
            "possible": [],
            "time": {
                "workers": 2, "work_seconds": 4.0, "critical_path_seconds": 4.0,
                "critical_path": [{"package": "jq", "estimate_seconds": 4.0, "estimate_guessed": true}],
                "at_least_seconds": 4.0, "guessed": 1, "guess_seconds": 4.0, "guess": "median", "records": 1,
            },
        },
    });
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_value::<PlanDocument>(json).unwrap(), plan);
}
