//! Mass rebuilds: one change set that is reviewed, carried out, killed, gone on with, and what is left of it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use rpm_model::BuildReason;

use crate::interruption::{release, waiting_jobs};
use crate::spec::Spec;
use crate::tree::{Tree, files_below};

const SELECTED: [&str; 4] = ["aaa", "after", "bad", "slow"];

/// A flag that all others are built with: where it is up, `slow` waits and `bad` fails.
fn raise_flag(tree: &Tree) {
    tree.spec(&Spec::data("flag").install("echo up > %{buildroot}/usr/share/flag/text"));
    tree.millwright(&["build", "flag"]).exits(0).says(&["1 built"]);
}

fn spec_file(name: &str) -> String {
    format!("SPECS/{name}/{name}.spec")
}

/// Returns the texts of the selected specs.
fn texts(tree: &Tree) -> Vec<String> {
    SELECTED.iter().map(|name| tree.read(&spec_file(name))).collect()
}

/// Returns the one change set's directory.
fn change_set(tree: &Tree) -> PathBuf {
    let sets: Vec<PathBuf> =
        fs::read_dir(tree.path("build/mass-rebuilds")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(sets.len(), 1, "{sets:?}");
    sets[0].clone()
}

/// Returns the selected specs' texts after the patch was applied to copies of them.
fn patched(tree: &Tree, patch: &PathBuf) -> Vec<String> {
    let copy = tree.path("copy");
    for name in SELECTED {
        let file = copy.join(spec_file(name));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::copy(tree.path(&spec_file(name)), file).unwrap();
    }
    // In a repository of its own: below that of the workspace `git apply` would look for the paths there.
    tree.run(Command::new("git").args(["init", "--quiet"]).arg(&copy)).exits(0);
    tree.run(Command::new("git").arg("-C").arg(&copy).arg("apply").arg(patch)).exits(0);
    let texts = SELECTED.iter().map(|name| fs::read_to_string(copy.join(spec_file(name))).unwrap()).collect();
    fs::remove_dir_all(copy).unwrap();
    texts
}

#[test]
fn a_reviewed_set_is_carried_out_once_whatever_kills_it_and_what_is_left_is_told() {
    let Some(tree) = Tree::new("mass-change-set") else { return };
    let if_up = |script: &str| format!("if grep -q up /usr/share/flag/text; then {script}; fi");
    tree.spec(&Spec::data("flag"));
    tree.spec(&Spec::data("aaa").needs("flag"));
    let wait = if_up("touch /build/waiting; while ! test -e /build/go-on; do sleep 0.1; done");
    tree.spec(&Spec::data("slow").needs("flag").needs("aaa").build(&wait));
    tree.spec(&Spec::data("bad").needs("flag").build(&if_up("exit 1")));
    tree.spec(&Spec::data("after").needs("flag").needs("bad"));
    let made = Spec::data("made").needs("flag").text();
    tree.file(&spec_file("made"), &made.replace("Release: 1%", "%global number 1\nRelease: %{number}%"));
    tree.spec(&Spec::data("apart"));
    tree.millwright(&["build"]).exits(0).says(&["7 built"]);
    raise_flag(&tree);
    tree.spec(&Spec::data("new").needs("flag"));

    // Looking changes nothing.
    let asked = ["rebuild", "--all-of", "builds-with:flag", "--bump", "spec"];
    let (before, records) = (texts(&tree), tree.records());
    let dry_run = [&asked[..], &["--dry-run"]].concat();
    tree.millwright(&dry_run).exits(1).says(&[
        "4 to build for builds-with:flag, in 2 layers",
        "1.0-1.mw1 -> 1.0-2.mw1; built with flag-1.0-1.mw1.noarch",
        "left out (1):",
        "a macro makes the release `%{number}%{?dist}`",
        "never built, so nobody knows whether they belong to it (1): new",
        "4 edits:",
    ]);
    let directory = change_set(&tree);
    let (file, patch) = (directory.join("change-set.json"), directory.join("edits.patch"));
    let document = tree.millwright(&[&dry_run[..], &["--json"]].concat());
    let document: serde_json::Value = serde_json::from_str(&document.exits(1).stdout).unwrap();
    assert_eq!(document["count"], 4);
    let order: Vec<(&str, u64)> = document["specs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|spec| (spec["spec"].as_str().unwrap(), spec["layer"].as_u64().unwrap()))
        .collect();
    assert_eq!(order, [("aaa", 1), ("bad", 1), ("after", 2), ("slow", 2)]);
    assert_eq!((texts(&tree), tree.records()), (before.clone(), records));
    let expected = patched(&tree, &patch);
    assert!(expected.iter().zip(&before).all(|(new, old)| new != old), "{expected:?}");

    // Killed where one is built, one has failed and one is being built.
    let file = file.to_str().unwrap();
    let mut run = tree.start_millwright(&["rebuild", "--change-set", file, "-j", "2"]);
    run.wait_until("slow waits", || !waiting_jobs(&tree).is_empty());
    // That is written down before it is said.
    run.wait_for_text("1 of 4 done, 1 failed, 2 to go");
    let killed = waiting_jobs(&tree);
    run.signal(Signal::SIGKILL);
    run.wait();
    tree.assert_nothing_runs();
    assert!(fs::read_to_string(directory.join("progress.json")).unwrap().contains("bad"));
    assert_eq!(texts(&tree), expected, "what was reviewed is what is in the tree");
    let name = directory.file_name().unwrap().to_str().unwrap();
    let reason = BuildReason::MassRebuild { name: name.to_owned(), cause: "builds-with:flag".to_owned() };
    assert!(tree.records()["aaa"].reasons.contains(&reason));

    // The same command goes on: nothing is edited twice, nothing built twice.
    let mut run = tree.start_millwright(&asked);
    let again = || waiting_jobs(&tree).into_iter().find(|job| !killed.contains(job));
    run.wait_until("slow waits again", || again().is_some());
    release(&again().unwrap());
    run.wait()
        .exits(1)
        .says(&[
            &format!("going on with mass rebuild {name}"),
            "2 of 4 done: 2 rebuilt, 1 failed, 1 never reached, 1 left out",
            "failed: bad: [package-failure]",
            "bad-1.0-2.mw1.src.rpm.log",
            "never reached: after: blocked by bad",
            "as before, for their builds did not succeed: bad, after",
        ])
        .never_says(&["start  aaa"]);
    tree.assert_clean();
    let of = |name: &str| SELECTED.iter().position(|selected| *selected == name).unwrap();
    for (name, texts) in [("aaa", &expected), ("slow", &expected), ("bad", &before), ("after", &before)] {
        assert_eq!(tree.read(&spec_file(name)), texts[of(name)], "{name}");
    }
    let published = tree.published();
    for package in ["aaa-1.0-2", "slow-1.0-2", "bad-1.0-1", "after-1.0-1"] {
        assert!(published.contains_key(&format!("noarch/{package}.mw1.noarch.rpm")), "{package}");
    }
    tree.millwright(&["why", "aaa"]).exits(0).says(&[&format!("mass rebuild {name} for builds-with:flag")]);

    // What failed is tried alone, with its edit, which is undone again.
    tree.millwright(&["rebuild", "--change-set", file, "--only-failed"])
        .exits(1)
        .says(&["start  bad", "as before, for their builds did not succeed: bad"])
        .never_says(&["start  after", "start  slow"]);
    assert_eq!(tree.read(&spec_file("bad")), before[of("bad")]);

    // A spec that was mended is not what was reviewed; what is left becomes a set of its own.
    tree.spec(&Spec::data("bad").needs("flag"));
    tree.millwright(&["rebuild", "--change-set", file]).exits(2).says(&[
        "these specs are not what was reviewed",
        "bad/bad.spec` was changed since",
        &format!("--all-of left-by:{name} --dry-run"),
    ]);
    let left = format!("left-by:{name}");
    tree.millwright(&["rebuild", "--all-of", &left, "--bump", "spec"])
        .exits(1)
        .says(&["selects 3 specs", "2 of 2 done: 2 rebuilt, 1 left out", "left out: made"])
        .never_says(&["start  aaa", "start  slow"]);
    assert!(tree.published().contains_key("noarch/after-1.0-2.mw1.noarch.rpm"));
    // Of the first nothing is left but what could not be edited: whoever built it, it is done.
    tree.millwright(&["rebuild", "--change-set", file])
        .exits(1)
        .says(&["4 of 4 done: 4 rebuilt, 1 left out"]);
    let temporary: Vec<_> = files_below(&tree.path("SPECS"))
        .into_iter()
        .filter(|path| path.extension().is_none_or(|extension| extension != "spec"))
        .collect();
    assert!(temporary.is_empty(), "{temporary:?}");
}
