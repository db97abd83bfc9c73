//! Who follows a change: each policy, layers of a cascade, a cascade that is interrupted; and who is told why.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use rpm_model::BuildReason;
use serde_json::Value;

use crate::incremental::{assert_builds, started};
use crate::interruption::{release, waiting_jobs};
use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};

/// Asserts that a run builds the first of these and then the others, in whatever order.
#[track_caller]
fn assert_sets_off(tree: &Tree, packages: &[&str]) -> String {
    let ended = tree.millwright(&["build", "-j", "1"]);
    let started = started(ended.exits(0));
    assert_eq!(started.first(), packages.first(), "{}", ended.text());
    let sets = [started.clone(), packages.to_vec()].map(|list| list.into_iter().collect::<BTreeSet<_>>());
    assert_eq!((started.len(), &sets[0]), (packages.len(), &sets[1]), "{}", ended.text());
    ended.text()
}

#[test]
fn each_policy_counts_what_it_says_and_comes_to_rest() {
    let Some(tree) = Tree::new("policies") else { return };
    let policies = ["local", "relevant", "direct", "exact"];
    let own: Vec<String> =
        policies.iter().map(|policy| format!("[packages.by-{policy}]\nrebuild = \"{policy}\"\n")).collect();
    tree.configure(&format!("{OFFLINE}{}", own.concat()));
    tree.spec(&Spec::library("greet", "1", 7));
    for policy in policies {
        tree.spec(&Spec::program(&format!("by-{policy}"), "greet"));
    }
    // Its package is called otherwise than what it is required by, and what it provides is compiled in.
    tree.spec(&Spec::data("part").tag("Provides: piece-static = %{version}"));
    tree.spec(&Spec::data("holder").needs("piece-static"));
    tree.millwright(&["build"]).exits(0).says(&["7 built"]);
    assert_builds(&tree, &[]);

    // A package deep in the build root changes, and nothing that anybody names or links differently.
    tree.spec(&Spec::library("greet", "1", 8));
    assert_sets_off(&tree, &["greet", "by-exact"]);
    assert_builds(&tree, &[]);
    // What the spec names changes: `greet-devel`.
    tree.spec(&Spec::library("greet", "1", 8).version("1.1"));
    let said = assert_sets_off(&tree, &["greet", "by-direct", "by-exact"]);
    assert!(said.contains("greet-devel in its build root changed (greet-devel-1.0-1.mw1.x86_64 -> greet-devel-1.1-1.mw1.x86_64)"), "{said}");
    assert_builds(&tree, &[]);
    // The soname changes: all but `local`, which stays linked to what is gone.
    tree.spec(&Spec::library("greet", "2", 8).version("2.0"));
    assert_sets_off(&tree, &["greet", "by-direct", "by-exact", "by-relevant"]);
    assert_builds(&tree, &[]);
    // What is compiled in changes, whatever its name is.
    tree.spec(&Spec::data("part").tag("Provides: piece-static = %{version}").version("1.1"));
    let said = assert_sets_off(&tree, &["part", "holder"]);
    assert!(said.contains("part, which is compiled in, changed"), "{said}");
    assert_builds(&tree, &[]);
}

/// Data packages in a chain, each with what the one before it says, under the policy `direct`.
fn chain(test: &str) -> Option<Tree> {
    let tree = Tree::new(test)?;
    tree.configure(&format!("{OFFLINE}[policy]\nrebuild = \"direct\"\n"));
    tree.spec(&Spec::data("low"));
    for (name, below) in [("mid", "low"), ("top", "mid")] {
        let copy = format!("cat /usr/share/{below}/text >> %{{buildroot}}/usr/share/{name}/text");
        tree.spec(&Spec::data(name).needs(below).install(&copy));
    }
    tree.millwright(&["build"]).exits(0).says(&["3 built"]);
    Some(tree)
}

#[test]
fn layers_beyond_the_limit_stay_due_and_every_answer_says_why() {
    let Some(tree) = chain("layers") else { return };
    let json = |arguments: &[&str]| -> Value {
        let ended = tree.millwright(arguments);
        serde_json::from_str(&ended.exits(0).stdout).unwrap()
    };
    let before = json(&["why", "mid", "--json"]);
    assert_eq!(before["packages"][0]["now"]["verdict"], "up-to-date");
    assert_eq!(before["packages"][0]["compared"]["uncounted"], serde_json::json!([]));
    assert_eq!(before["packages"][0]["last"]["reasons"][0]["reason"], "never-built");

    tree.spec(&Spec::data("low").install("echo more >> %{buildroot}/usr/share/low/text"));
    let plan = json(&["plan", "--json"]);
    assert_eq!(plan["impact"]["certain"], 1);
    let possible: Vec<(&str, u64, &str)> = plan["impact"]["possible"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            (
                entry["package"].as_str().unwrap(),
                entry["layer"].as_u64().unwrap(),
                entry["by"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(possible, [("mid", 1, "low"), ("top", 2, "mid")]);
    tree.millwright(&["plan"]).exits(0).says(&["1 build is certain; at most 2 more follow"]);
    tree.millwright(&["why", "low"]).exits(0).says(&["will be built: low.spec changed ("]);
    tree.millwright(&["why", "top"]).exits(0).says(&["up to date; it follows mid"]);

    let ended = tree.millwright(&["build", "--max-cascading-rebuilds=0"]);
    ended.exits(0).says(&["1 built, 2 up to date", "1 package is still due and not built", ": mid;"]);
    // The limit counts from the change that began it, in a later run too.
    let ended = tree.millwright(&["plan", "--max-cascading-rebuilds=0"]);
    ended
        .exits(0)
        .says(&["0 to build, 2 up to date, 1 due beyond the limit", "mid  layer 1  low in its build root"]);
    let why = json(&["why", "mid", "--json", "--max-cascading-rebuilds=0"]);
    let now = &why["packages"][0]["now"];
    assert_eq!((&now["verdict"], &now["layer"]), (&"deferred".into(), &1.into()));
    assert_eq!(now["chain"][0]["package"], "low");
    let changed = &now["chain"][0]["reasons"][0]["changed"][0];
    assert_eq!((&changed["input"], &changed["name"]), (&"file".into(), &"low.spec".into()));

    let ended = tree.millwright(&["build", "--max-cascading-rebuilds=1"]);
    ended.exits(0).says(&["1 built, 2 up to date", ": top;"]);
    assert_eq!(tree.records()["mid"].cascade.as_ref().unwrap().layer, 1);
    tree.millwright(&["build", "--max-cascading-rebuilds=1"]).exits(0).never_says(&["start  "]);
    assert_builds(&tree, &["top"]);
    assert_builds(&tree, &[]);
    let text = tree.millwright(&["why", "top"]).exits(0).stdout.clone();
    let (first, second) = (text.find("mid caused top").unwrap(), text.find("low caused mid").unwrap());
    assert!(first < second, "{text}");

    // Goals in layers; names that mean nothing; what is asked builds nothing.
    let goals = |layers: &str| json(&["plan", "low", "--json", layers])["goals"].clone();
    assert_eq!(goals("--extra-build-layers=0"), serde_json::json!(["low"]));
    assert_eq!(goals("--extra-build-layers=1"), serde_json::json!(["low", "mid"]));
    assert_eq!(goals("--extra-build-layers=2"), serde_json::json!(["low", "mid", "top"]));
    tree.millwright(&["why", "midd"])
        .exits(2)
        .says(&["no spec or package is called `midd`; did you mean mid"]);
    tree.millwright(&["build", "--max-cascading-rebuilds=few"])
        .exits(2)
        .says(&["`few` is no number of layers"]);
    tree.millwright(&["why", "mid", "--dist-tag=.other"])
        .exits(0)
        .says(&["the macro %dist changed (`.mw1` -> `.other`)"]);
    tree.spec(&Spec::data("blocked").needs("nowhere"));
    tree.millwright(&["why", "blocked"]).exits(1).says(&["cannot be built", "nothing provides `nowhere`"]);
}

#[test]
fn a_killed_run_loses_neither_those_that_follow_nor_the_reason() {
    let Some(tree) = Tree::new("killed-cascade") else { return };
    tree.spec(&Spec::library("greet", "1", 7));
    let wait = "touch /build/waiting\nwhile ! test -e /build/go-on; do sleep 0.1; done";
    tree.spec(&Spec::program("hello", "greet").build(wait));
    let start = || {
        let mut run = tree.start_millwright(&["build"]);
        run.wait_until("hello is being built", || !waiting_jobs(&tree).is_empty());
        run
    };
    let finish = || {
        let run = start();
        waiting_jobs(&tree).iter().for_each(|job| release(job));
        run.wait()
    };
    finish().exits(0).says(&["2 built"]);
    tree.spec(&Spec::library("greet", "2", 7).version("2.0"));
    let run = start();
    // The change is made, and its dependant is not built yet.
    assert_eq!(tree.records()["greet"].source.evr.version, "2.0");
    run.signal(Signal::SIGKILL);
    run.wait();
    tree.assert_nothing_runs();
    // What the killed build left must not pass for one that waits.
    waiting_jobs(&tree).iter().for_each(|job| std::fs::remove_file(job.join("waiting")).unwrap());
    assert!(tree.records()["hello"].reasons.contains(&BuildReason::NeverBuilt));

    // What the killed run left behind is the next build's to remove.
    tree.run(&mut tree.command("millwright", &["why", "hello"])).exits(0).says(&[
        "will be built: hello requires `libgreet.so.1()(64bit)`, which nothing provides any more since `greet` was",
        "greet caused hello; it was built itself: greet.spec changed",
    ]);
    let lost = |reason: &BuildReason| {
        matches!(reason, BuildReason::RequirementLost { requirement, by: Some(by), .. }
            if requirement == "libgreet.so.1()(64bit)" && by == "greet")
    };
    finish().exits(0).says(&["1 built, 1 up to date"]).never_says(&["start  greet"]);
    assert!(tree.records()["hello"].reasons.iter().any(lost), "{:?}", tree.records()["hello"].reasons);
    assert_builds(&tree, &[]);
}
