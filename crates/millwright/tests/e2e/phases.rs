//! What each section of a build used, in result, record and table.

use rpm_model::{BuildRecord, PhaseUsage, ResultDocument, UsageSource};

use crate::spec::Spec;
use crate::tree::Tree;

/// Returns what a section used.
#[track_caller]
fn of<'a>(phases: &'a [PhaseUsage], name: &str) -> &'a PhaseUsage {
    phases.iter().find(|phase| phase.phase == name).unwrap_or_else(|| panic!("no {name} in {phases:?}"))
}

#[test]
fn each_section_says_what_it_used() {
    let Some(tree) = Tree::new("phases") else { return };
    let spec = Spec::data("app")
        .build("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; head -c 40M /dev/zero > /tmp/memory; rm /tmp/memory")
        // Output is read in portions, so what a section does in its first moments may count for the one before.
        .install("sleep 1; head -c 12M /dev/urandom > written")
        .check("echo PASS: one; echo SKIP: two");
    tree.spec(&spec);
    let ended = tree.millwright(&["build", "--run-check", "--verbose"]);
    ended.exits(0).says(&[
        "usage  app: what it used",
        "wall s CPU s peak MiB written MiB",
        "| preparation",
        "| packaging",
        "| %check passed (1 passed, 0 failed, 1 skipped)",
    ]);
    let record: BuildRecord = tree.records()["app"].clone();
    let names: Vec<&str> = record.phases.iter().map(|phase| phase.phase.as_str()).collect();
    assert_eq!(names, ["preparation", "%prep", "%build", "%install", "%check", "packaging"]);
    let build = of(&record.phases, "%build");
    assert!(
        build.cpu_seconds.unwrap() > of(&record.phases, "%check").cpu_seconds.unwrap(),
        "{:?}",
        record.phases
    );
    let total: f64 = record.phases.iter().map(|phase| phase.cpu_seconds.unwrap()).sum();
    assert!(
        (total - record.usage.cpu_seconds).abs() < 0.2 + record.usage.cpu_seconds / 5.0,
        "{total} {record:?}"
    );
    if record.usage_source == Some(UsageSource::Processes) {
        eprintln!("SKIPPED peaks of memory: no cgroup counts here");
    } else {
        assert!(build.peak_memory_bytes.unwrap() >= 40 << 20, "{build:?}");
    }
    // Nothing is written to a disk where the tree is in memory.
    let written = of(&record.phases, "%install").written_bytes.unwrap();
    assert!(written == 0 || written >= 12 << 20, "{:?}", record.phases);
    let result: ResultDocument = serde_json::from_str(&tree.read("build/work/jobs/app/result.json")).unwrap();
    assert_eq!((result.phases, result.usage_source), (record.phases, record.usage_source));
}
