//! Results of other builds are taken over, whatever becomes of the stores that hold them.

use std::fs;

use nix::sys::signal::Signal;
use testkit::{ObjectFault, ObjectServer};

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree, files_below};

/// A library, a program that is linked to it, and a package with a test.
fn write_specs(tree: &Tree) {
    tree.spec(&Spec::library("greet", "1", 7));
    tree.spec(&Spec::program("hello", "greet"));
    tree.spec(&Spec::data("other").check("echo all is well"));
}

fn shared(address: &str, access: &str) -> String {
    // Not offline: then only directories would be asked.
    format!(
        "[sources]\nupstream = false\n[build]\nrun-check = true\n\
         [[result-stores]]\nname = \"team\"\nurl = \"{address}\"\naccess = \"{access}\"\ntimeout = \"20s\"\n"
    )
}

/// Returns two trees of the same specs that share a store; the first has built.
fn two_trees(test: &str, address: &str) -> Option<(Tree, Tree)> {
    let (first, second) = (Tree::new(test)?, Tree::new(&format!("{test}-second"))?);
    for tree in [&first, &second] {
        write_specs(tree);
    }
    first.configure(&shared(address, "read-write"));
    second.configure(&shared(address, "read-only"));
    first.millwright(&["build"]).exits(0).says(&["3 built in"]).never_says(&["warning"]);
    Some((first, second))
}

#[test]
fn a_second_tree_builds_nothing_and_has_the_same_packages() {
    let server = ObjectServer::start();
    let Some((first, second)) = two_trees("shared-results", &format!("{}/results", server.url())) else {
        return;
    };
    let ended = second.millwright(&["build"]);
    ended.exits(0).says(&["0 built, 3 reused in", "hello: the result is taken from `team`"]);
    ended.never_says(&["warning"]);
    // Whoever counts, a person or a program, sees that nothing was built here.
    let summary: serde_json::Value =
        serde_json::from_str(&second.read("out/reports/latest/summary.json")).unwrap();
    assert_eq!(summary["counts"], serde_json::json!({"reused": 3}));
    let page = second.read("out/reports/latest/index.html");
    assert!(page.contains("<b>3</b> reused") && !page.contains("</b> built"), "{page}");
    let csv = second.read("out/reports/latest/build_state.csv");
    assert_eq!((csv.matches(",PreBuiltDelta,,0").count(), csv.matches(",Built,").count()), (3, 0), "{csv}");
    let events = second.read("out/reports/latest/events.ndjson");
    let last: serde_json::Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["counts"]), (&"run-finished".into(), &summary["counts"]));
    assert_eq!(second.published(), first.published());
    for (name, record) in second.records() {
        let theirs = &first.records()[&name];
        let reused = record.reused.unwrap();
        assert_eq!((reused.store.as_str(), &reused.identity), ("team", &theirs.identity));
        assert_eq!((&record.usage, &record.check), (&theirs.usage, &theirs.check), "{name}");
        assert_eq!(theirs.reused, None);
    }
    // What is told of the build is what is known of it there, and where it comes from.
    let info = |tree: &Tree| -> serde_json::Value {
        serde_json::from_str(&tree.read("out/PROVENANCE/other-1.0-1.mw1/buildinfo.json")).unwrap()
    };
    let (theirs, mut ours) = (info(&first), info(&second));
    assert_eq!(ours["reused"]["store"], "team");
    ours.as_object_mut().unwrap().remove("reused");
    assert_eq!(ours["finished_at"], theirs["finished_at"]);
    assert_eq!(ours, theirs);
    let log = "build/logs/pkggen/rpmbuilding/other-1.0-1.mw1.src.rpm.log";
    assert!(second.read(log).contains("all is well"));
    second.millwright(&["build"]).exits(0).says(&["nothing to do"]);

    // Its own store has them now too.
    fs::remove_dir_all(second.path("out")).unwrap();
    fs::remove_dir_all(second.path("build/records")).unwrap();
    second.configure(&format!("{OFFLINE}[build]\nrun-check = true\n"));
    second.millwright(&["build"]).exits(0).says(&["3 reused", "is taken from `local`"]);
    assert_eq!(second.published(), first.published());
    // Who asks for a build gets one.
    second.millwright(&["rebuild", "other"]).exits(0).says(&["0 built, 1 identical"]).never_says(&["reused"]);
    second.millwright(&["cache", "stat"]).exits(0).says(&["results of builds", "3 results"]);
    second.millwright(&["cache", "gc", "--results", "--budget", "0B"]).exits(0).says(&["removed 3"]);
    fs::remove_dir_all(second.path("build/records")).unwrap();
    second.millwright(&["build", "--result-cache=false"]).exits(0).never_says(&["reused"]);
    assert_eq!(second.published(), first.published());
    assert!(files_below(&second.path("build/cache/results/results")).is_empty());
}

#[test]
fn stores_that_lie_or_fail_cost_a_warning_and_a_build() {
    let server = ObjectServer::start();
    let Some((first, second)) = two_trees("lying-results", &format!("{}/results", server.url())) else {
        return;
    };
    let again = |expected: &[&str]| {
        let ended = second.millwright(&["build"]);
        ended.exits(0).says(expected);
        assert_eq!(second.published(), first.published());
        for part in ["out", "build/records", "build/cache/results"] {
            fs::remove_dir_all(second.path(part)).unwrap();
        }
        ended
    };
    let good = server.objects();
    // Every file is another than its name says.
    server.change(|objects| {
        objects
            .iter_mut()
            .filter(|(path, _)| path.contains("/sha256/"))
            .for_each(|(_, bytes)| bytes.reverse());
    });
    again(&["3 built in", "other is built, although the store `team` has a result", "another content"]);
    // The documents of two builds are exchanged, and the third is cut.
    server.change(|objects| {
        *objects = good.clone();
        let names: Vec<String> = objects.keys().filter(|path| path.ends_with(".json")).cloned().collect();
        let (a, b) = (objects[&names[0]].clone(), objects[&names[1]].clone());
        objects.insert(names[0].clone(), b);
        objects.insert(names[1].clone(), a);
        objects.get_mut(&names[2]).unwrap().truncate(100);
    });
    again(&["3 built in", "describes another build", "no result document"]);
    server.change(|objects| *objects = good.clone());
    server.fail("GET", "", ObjectFault::Status(500));
    again(&["3 built in"]).says_once("no results are taken from the store `team`: it cannot be reached");
    server.recover();
    again(&["0 built, 3 reused"]);
    // Results that nobody takes are a warning.
    server.change(|objects| objects.clear());
    server.fail("PUT", "", ObjectFault::Status(403));
    second.configure(&shared(&format!("{}/results", server.url()), "read-write"));
    again(&["3 built in"]).says_once("not in the store `team`: it refuses access");
    assert!(server.objects().is_empty());
}

#[test]
fn a_run_killed_while_it_puts_results_into_a_store_leaves_no_half_one() {
    let server = ObjectServer::start();
    let Some(tree) = Tree::new("killed-results") else { return };
    tree.spec(&Spec::data("other"));
    let address = format!("{}/results", server.url());
    tree.configure(&shared(&address, "read-write"));
    server.fail("PUT", ".json", ObjectFault::Silence);
    let mut running = tree.start_millwright(&["build"]);
    let is_document = |path: &str| path.ends_with(".json");
    running.wait_until("the document is on its way", || {
        server.requests().iter().any(|request| request.method == "PUT" && is_document(&request.path))
    });
    running.signal(Signal::SIGKILL);
    running.wait();
    tree.assert_nothing_runs();
    assert!(!server.objects().is_empty(), "the files are there");
    assert!(!server.objects().keys().any(|path| is_document(path)), "nobody finds them");
    server.recover();
    let published = tree.published();
    // Elsewhere it is built, and then there is a result.
    for part in ["out", "build/records", "build/cache/results"] {
        fs::remove_dir_all(tree.path(part)).unwrap();
    }
    tree.millwright(&["build"]).exits(0).says(&["1 built in"]).never_says(&["warning"]);
    assert_eq!(tree.published(), published);
    assert!(server.objects().keys().any(|path| is_document(path)));
    assert!(files_below(&tree.path("build/cache/results-to-publish")).is_empty());
}
