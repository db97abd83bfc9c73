//! What a failure ends and what it leaves: in a run, in a cascade, in what `millwright why` says afterwards.

use rpm_model::BuildReason;
use serde_json::Value;

use crate::incremental::{assert_builds, started};
use crate::interruption::{release, waiting_jobs};
use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};

#[test]
fn a_failure_ends_what_needs_it_alone_unless_it_is_to_stop_the_run() {
    let Some(tree) = Tree::new("keep-going") else { return };
    tree.spec(&Spec::data("bad").build("exit 1"));
    tree.spec(&Spec::data("needy").needs("bad"));
    let gate = "touch /build/waiting\nwhile ! test -e /build/go-on; do sleep 0.1; done";
    tree.spec(&Spec::data("gate").build(gate));
    tree.spec(&Spec::data("later"));
    // The longest chain first, then by name: two of them run, and one waits for a worker.
    let mut run = tree.start_millwright(&["build", "-j", "2", "--stop-on-failure"]);
    run.wait_until("the gate is being built", || !waiting_jobs(&tree).is_empty());
    run.wait_for_text("FAILED  bad");
    waiting_jobs(&tree).iter().for_each(|job| release(job));
    let ended = run.wait();
    // What ran when it failed comes to its end and counts; nothing else is started.
    ended.exits(1).says(&["1 built, 1 failed, 1 blocked, 1 not started in", "run the same command to go on"]);
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["gate"]);
    tree.assert_clean();

    // The configuration says the same, and one run takes it back.
    tree.configure(&format!("{OFFLINE}[build]\nstop-on-failure = true\n"));
    let stopped = tree.millwright(&["build", "-j", "1"]);
    assert_eq!(started(stopped.exits(1)), ["bad"], "{}", stopped.text());
    let went_on = tree.millwright(&["build", "-j", "1", "--keep-going"]);
    assert_eq!(started(went_on.exits(1)), ["bad", "later"], "{}", went_on.text());
    went_on.says(&["1 built, 1 up to date, 1 failed, 1 blocked in"]).never_says(&["not started"]);
    // To go on is what happens without any word.
    tree.configure(OFFLINE);
    // One that was never built, whose time is as unknown as the other's: the longer chain is first.
    tree.spec(&Spec::data("latest"));
    let went_on = tree.millwright(&["build", "-j", "1"]);
    assert_eq!(started(went_on.exits(1)), ["bad", "latest"], "{}", went_on.text());
}

#[test]
fn a_dependant_that_fails_in_a_cascade_stays_due_for_the_same_reason() {
    let Some(tree) = Tree::new("failed-cascade") else { return };
    let greet = |soname: &str| Spec::library("greet", soname, 7).version(soname);
    tree.spec(&greet("1"));
    tree.spec(&Spec::program("hello", "greet").build("test ! -e %{_libdir}/libgreet.so.2"));
    tree.millwright(&["build"]).exits(0).says(&["2 built"]);
    tree.spec(&greet("2"));
    let failing = |packages: &[&str]| {
        let ended = tree.millwright(&["build", "-j", "1"]);
        assert_eq!(started(ended.exits(1)), packages, "{}", ended.text());
        ended.says(&["hello: %build failed"]);
    };
    failing(&["greet", "hello"]);
    assert_eq!(tree.records()["hello"].reasons, [BuildReason::NeverBuilt], "what failed has no record");
    let lost =
        "hello requires `libgreet.so.1()(64bit)`, which nothing provides any more since `greet` was built";
    tree.millwright(&["why", "hello"]).exits(0).says(&[
        "built: for the first time",
        &format!("now: will be built: {lost}"),
        "greet caused hello; it was built itself: greet.spec changed",
    ]);
    tree.millwright(&["plan"]).exits(0).says(&["1 to build, 1 up to date", lost]);
    // Every run tries it once, and nothing else.
    failing(&["hello"]);
    tree.spec(&greet("3"));
    let said = assert_builds(&tree, &["greet", "hello"]);
    assert!(said.contains(lost), "{said}");
    let reasons = &tree.records()["hello"].reasons;
    assert!(reasons.iter().any(|reason| reason.caused_by() == Some("greet")), "{reasons:?}");
    assert_builds(&tree, &[]);
}

#[test]
fn why_tells_of_what_waits_and_of_a_record_that_cannot_be_read() {
    let Some(tree) = Tree::new("why-waits") else { return };
    tree.spec(&Spec::data("shown"));
    tree.spec(&Spec::data("first"));
    tree.millwright(&["build", "shown"]).exits(0);
    tree.spec(&Spec::data("odd").needs("pkgconfig(foo-odd-name)"));
    tree.spec(&Spec::data("after").needs("odd"));
    let json = |package: &str| -> Value {
        let ended = tree.millwright(&["why", package, "--json"]);
        serde_json::from_str::<Value>(&ended.exits(0).stdout).unwrap()["packages"][0].clone()
    };
    for package in ["odd", "after"] {
        tree.millwright(&["why", package]).exits(0).says(&[
            "built: never",
            "now: waits for what first builds will show",
            "it waits for:",
            "nothing is known to provide `pkgconfig(foo-odd-name)`",
        ]);
        let waits = json(package);
        assert_eq!(waits["now"]["verdict"], "waiting", "{waits}");
        assert_eq!(waits["now"]["causes"][0]["requirement"], "pkgconfig(foo-odd-name)", "{waits}");
    }
    // A record of a version that is still to come; the package is published all the same.
    let path = "build/records/shown.json";
    let mut record: Value = serde_json::from_str(&tree.read(path)).unwrap();
    record["schema"] = 99.into();
    tree.file(path, &record.to_string());
    tree.millwright(&["why", "shown"]).exits(0).says(&[
        "built: not known: the record `",
        "build/records/shown.json` cannot be read",
        "now: will be built: the record of its last build cannot be read",
    ]);
    let told = json("shown");
    assert!(told["unreadable_record"].as_str().unwrap().ends_with(path), "{told}");
    assert_eq!(
        (&told["last"], &told["now"]["reasons"][0]["reason"]),
        (&Value::Null, &"record-unreadable".into())
    );
    let ended = tree.millwright(&["build", "shown"]);
    ended.exits(0).says(&["start  shown: the record of its last build cannot be read"]);
    assert_eq!(tree.records()["shown"].reasons, [BuildReason::RecordUnreadable]);
    tree.millwright(&["build", "shown"]).exits(0).says(&["nothing to do"]);
}
