//! Commands that only look, while another run builds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use testkit::{Account, SubordinateIds, give_to_somebody};

use crate::interruption::{release, waiting, waiting_jobs};
use crate::spec::Spec;
use crate::tree::{Tree, files_below, program_path};

/// Returns what a run leaves for others to read, with content and time.
fn left_for_others(tree: &Tree) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let places = ["build/pkg_artifacts", "build/INTERMEDIATE_SRPMS", "build/cache/srpms", "build/records"];
    let files = places.into_iter().flat_map(|place| files_below(&tree.path(place)));
    let seen = |path: PathBuf| {
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        (path.clone(), (time, fs::read(&path).unwrap()))
    };
    files.map(seen).collect()
}

#[test]
fn who_only_looks_is_answered_while_a_run_builds_and_leaves_nothing() {
    let Some(tree) = Tree::new("beside") else { return };
    tree.spec(&Spec::data("fast"));
    tree.spec(&waiting("slow").needs("fast"));
    tree.spec(&Spec::data("last").needs("slow"));
    let mut run = tree.start_millwright(&["build"]);
    run.wait_until("the build waits", || !waiting_jobs(&tree).is_empty());
    // What a look packs anew must not take the place of what the run builds from.
    tree.spec(&Spec::data("fast").build("echo changed"));
    tree.spec(&waiting("slow").needs("fast").build("echo changed"));
    let before = left_for_others(&tree);
    let look = |words: &[&str]| tree.start_millwright(words).wait();

    let goes_on = format!("another run goes on (process {}: millwright build)", run.id());
    let why = look(&["why", "fast", "last"]);
    why.exits(0).says(&[&goes_on, "never built", "fast.spec changed", "now: will be built"]);
    let plan = look(&["plan"]);
    plan.exits(0).says(&[&goes_on, "3 to build", "fast.spec changed ("]).never_says(&["plan.json"]);
    let document: serde_json::Value = serde_json::from_str(&look(&["plan", "--json"]).stdout).unwrap();
    assert_eq!(document["packages"].as_array().map(Vec::len), Some(3));
    look(&["plan", "--simulate"]).exits(0).says(&["3 builds played"]);
    look(&["build", "--dry-run", "slow"]).exits(0).says(&["2 to build"]);
    look(&["rebuild", "--dry-run", "fast"]).exits(0).says(&["to build"]);
    look(&["graph", "--needed-by", "fast"]).exits(0).says(&["slow"]);
    look(&["plan", "--update-versions"]).exits(0).says(&[&goes_on, "3 to build"]);
    // Not these: they would write what the run uses.
    let refused = [&["graph"][..], &["plan", "--signature-handling", "update"], &["read"]];
    for words in refused {
        look(words).exits(3).says(&["is in use by another run", "`plan`, `why` and `log` answer meanwhile"]);
    }
    look(&["build", "--update-versions"]).exits(3).says(&[
        "is in use by another run",
        "new versions are written into specs, which that run reads",
        "`plan --update-versions` tells meanwhile",
    ]);
    assert_eq!(left_for_others(&tree), before);
    assert_eq!(files_below(&tree.path("build/work/looks")), Vec::<PathBuf>::new());

    for job in waiting_jobs(&tree) {
        release(&job);
    }
    run.wait().exits(0).says(&["3 built"]);
    tree.assert_clean();
    // What a look has read is read; what it said is still to be done.
    tree.millwright(&["build", "fast"]).exits(0).says(&["fast.spec changed (", "1 identical"]);
}

#[test]
fn who_may_read_and_not_write_is_answered() {
    let test = "reader";
    let Some(tree) = Tree::new(test) else { return };
    tree.spec(&Spec::data("shown"));
    tree.spec(&Spec::data("user").needs("shown"));
    tree.millwright(&["build"]).exits(0).says(&["2 built"]);
    let (own, temporary) = (tree.path("account"), tree.path("temporary"));
    [&own, &temporary].into_iter().for_each(|directory| fs::create_dir(directory).unwrap());
    give_to_somebody(&temporary);
    let account = match Account::new(&own, SubordinateIds::Range) {
        Ok(account) => account,
        Err(missing) => return eprintln!("SKIPPED {test}: {missing}"),
    };
    let command = |program: &Path, words: &[&str]| {
        let mut command = account.command(program);
        command.args(words).current_dir(tree.path("")).env("TMPDIR", &temporary);
        command
    };
    let program = program_path("millwright");
    let can_come_here = tree.run(&mut command(Path::new("test"), &["-x", program.to_str().unwrap()]));
    if !can_come_here.status.success() {
        return eprintln!("SKIPPED {test}: ordinary users cannot come to `{}`", tree.path("").display());
    }
    let ask = |words: &[&str]| tree.run(&mut command(&program, words));
    let before = left_for_others(&tree);
    let warning = "cannot be written by this user: what is worked out for the answer";
    let plan = ask(&["plan"]);
    plan.exits(0).says(&[warning, "0 to build, 2 up to date"]).never_says(&["plan.json"]);
    assert_eq!(plan.text().matches(warning).count(), 1);
    let document: serde_json::Value = serde_json::from_str(&ask(&["plan", "--json"]).stdout).unwrap();
    assert_eq!(document["packages"].as_array().map(Vec::len), Some(2));
    ask(&["why", "shown"]).exits(0).says(&[warning, "for the first time", "up to date, will not be built"]);
    ask(&["graph", "--needed-by", "shown"]).exits(0).says(&[warning, "user"]);
    // What changed is read and packed, in a worker of the reader's own.
    tree.spec(&Spec::data("shown").build("echo changed"));
    ask(&["build", "--dry-run"]).exits(0).says(&["1 to build, 1 up to date", "shown.spec changed ("]);
    for words in [&["build"][..], &["graph"], &["pack"]] {
        ask(words).exits(3).says(&["cannot lock the build directory", "needs a writable build directory"]);
    }
    assert_eq!(left_for_others(&tree), before);
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "a look leaves nothing");
    tree.assert_clean();
}

#[test]
fn a_look_makes_no_toolchain() {
    let Some(tree) = Tree::new("beside-toolchain") else { return };
    tree.spec(&waiting("slow"));
    let mut run = tree.start_millwright(&["build"]);
    run.wait_until("the build waits", || !waiting_jobs(&tree).is_empty());
    let state = tree.read("build/toolchain.json");
    fs::rename(tree.path("build/toolchain.json"), tree.path("build/toolchain.away")).unwrap();
    let refused = tree.start_millwright(&["why", "slow"]).wait();
    refused.exits(3).says(&[
        "the toolchain is not there, or not up to date",
        "ask again when a run that may write there has made the toolchain",
    ]);
    fs::rename(tree.path("build/toolchain.away"), tree.path("build/toolchain.json")).unwrap();
    assert_eq!(tree.read("build/toolchain.json"), state);
    tree.start_millwright(&["why", "slow"]).wait().exits(0);
    for job in waiting_jobs(&tree) {
        release(&job);
    }
    run.wait().exits(0).says(&["1 built"]);
}

#[test]
fn what_failed_is_looked_into_while_the_rest_is_built() {
    let Some(tree) = Tree::new("beside-kept") else { return };
    tree.spec(&Spec::data("broken").build("touch /build/BUILD/trace\nexit 1"));
    tree.spec(&waiting("slow"));
    let mut run = tree.start_millwright(&["build", "--clean", "on-success"]);
    run.wait_for_text("next: millwright shell broken");
    run.wait_until("the build waits", || !waiting_jobs(&tree).is_empty());
    let look = |words: &[&str]| tree.start_millwright(words).wait();
    look(&["shell", "broken", "--", "ls", "/build/BUILD"]).exits(0).says(&["trace"]);
    look(&["diff", "broken"]).exits(0).says(&["nothing was changed outside /build"]);
    look(&["rerun", "broken"]).exits(1).says(&["%build failed"]);
    // A root that is not there yet would have to be made.
    for words in [&["shell", "slow"][..], &["shell", "broken", "--at", "%install"], &["diff", "slow"]] {
        look(words).exits(3).says(&["is in use by another run", "`shell` enters roots that are kept"]);
    }
    for job in waiting_jobs(&tree) {
        release(&job);
    }
    run.wait().exits(1).says(&["1 built, 1 failed"]);
    tree.assert_nothing_runs();
}
