//! `%check`: its results as data, and whose runs.

use rpm_model::{BuildReason, CheckVerdict};

use crate::spec::Spec;
use crate::tree::Tree;

/// Returns the verdict that a spec's record has.
#[track_caller]
fn verdict(tree: &Tree, spec: &str) -> CheckVerdict {
    tree.records()[spec].check.as_ref().unwrap().verdict
}

fn junit(spec: &str) -> String {
    format!("build/logs/pkggen/rpmbuilding/{spec}-1.0-1.mw1.src.rpm.junit.xml")
}

#[test]
fn results_are_data() {
    let Some(tree) = Tree::new("check-results") else { return };
    tree.spec(&Spec::data("good").check("printf '1..2\\nok 1 - a\\nok 2 - b\\n'"));
    tree.spec(&Spec::data("bad").check("echo 'PASS: fine'; echo 'FAIL: tests/broken'; exit 1"));
    tree.spec(&Spec::data("without"));
    let ended = tree.millwright(&["build", "--run-check"]);
    ended.exits(1).says(&["[check-failure]", "%check failed", "FAIL: tests/broken", "2 built, 1 failed"]);
    let records = tree.records();
    let good = records["good"].check.as_ref().unwrap();
    assert_eq!(
        (good.verdict, good.passed, good.runners.as_slice()),
        (CheckVerdict::Passed, 2, &["tap".to_owned()][..])
    );
    assert_eq!(verdict(&tree, "without"), CheckVerdict::None);
    let bad = tree.read(&junit("bad"));
    assert!(bad.contains("<testcase name=\"tests/broken\" classname=\"bad\">"), "{bad}");
    assert!(bad.contains("failed (1 passed, 1 failed, 0 skipped)"), "{bad}");
    assert!(tree.read(&junit("good")).contains("tests=\"3\""));
    assert!(!tree.path(&junit("without")).exists());
    // Built without the check, nothing is left of the failure.
    tree.millwright(&["build", "bad", "--run-check=false"]).exits(0);
    assert_eq!(verdict(&tree, "bad"), CheckVerdict::NotRun);
    assert!(!tree.path(&junit("bad")).exists());
}

#[test]
fn lists_say_whose_checks_run() {
    let Some(tree) = Tree::new("check-lists") else { return };
    for name in ["aaa", "bbb", "ccc"] {
        tree.spec(&Spec::data(name).check(&format!("echo PASS: {name}")));
    }
    let check = || ["aaa", "bbb", "ccc"].map(|name| verdict(&tree, name));
    let (passed, not_run) = (CheckVerdict::Passed, CheckVerdict::NotRun);
    tree.millwright(&["build", "--run-check", "--test-run-list=aaa bbb", "--test-ignore-list=bbb"]).exits(0);
    assert_eq!(check(), [passed, not_run, not_run]);
    // The check of one, although nothing changed and checks are off.
    tree.millwright(&["build", "--test-rerun-list=bbb"]).exits(0).says(&["1 identical, 2 up to date"]);
    assert_eq!(check(), [passed, passed, not_run]);
    assert!(tree.records()["bbb"].reasons.contains(&BuildReason::Requested));
    tree.millwright(&["build", "--run-check"]).exits(0).says(&["ccc: %check is asked for and was not run"]);
    assert_eq!(check(), [passed, passed, passed]);
    tree.millwright(&["build", "--run-check"]).exits(0).says(&["nothing to do: 3 packages"]);
    tree.millwright(&["build", "--test-rerun-list=aaa", "--test-ignore-list=aaa"])
        .exits(2)
        .says(&["`aaa` is in the list"]);
    tree.millwright(&["build", "--test-run-list=zzz"]).exits(2).says(&["`zzz`", "no spec is called so"]);
}
