//! The memory that there was nothing to do: whatever changes of what a run reads or leaves behind, it is not believed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree, files_below};

/// Where it is.
const MEMORY: &str = "build/cache/index/nothing-to-do";

/// How many runs it may take until nothing of what they look at was written just now.
const RUNS: usize = 10;

/// Says once more when a file was last changed, which changes its stamp and nothing else.
fn touch(path: &Path) {
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now()).unwrap();
}

/// Returns a file below a directory whose name ends like this.
#[track_caller]
fn some_file(directory: &Path, ending: &str) -> PathBuf {
    let found = files_below(directory).into_iter().find(|path| path.to_string_lossy().ends_with(ending));
    found.unwrap_or_else(|| panic!("nothing in {} is called *{ending}", directory.display()))
}

#[test]
fn whatever_changes_the_whole_way_is_gone() {
    let Some(tree) = Tree::new("nothing-to-do") else { return };
    tree.own_toolchain();
    tree.spec(&Spec::data("one"));
    tree.file("SPECS/bad/bad.spec", "Name: bad\n");
    tree.file("macros", "%one 1\n");
    let configuration = format!("{OFFLINE}[build]\nmacros-file = \"macros\"\n");
    tree.configure(&configuration);
    tree.millwright(&["build", "one"]).exits(0).says(&["1 built"]);
    let memory = || fs::read(tree.path(MEMORY)).unwrap_or_default();
    let finds_nothing = |asked: &[&str]| {
        // A stamp of just now may hide a change that follows, so it is not remembered.
        std::thread::sleep(Duration::from_millis(50));
        let ended = tree.millwright(&[&["build"], asked].concat());
        ended.exits(0).says_once("nothing to do: 1 package is up to date");
        ended.says(&["bad.spec"]);
    };
    assert!(memory().is_empty());
    let way = |what: &str, asked: &[&str], change: &dyn Fn()| {
        let before = memory();
        change();
        finds_nothing(asked);
        assert!(memory() != before, "{what}: it is believed");
        // What a run itself made again, for example a source package, is new to the next, and what was written a
        // moment ago is not remembered; soon nothing changes any more, and it is believed and not even written again.
        let written = || fs::metadata(tree.path(MEMORY)).ok().and_then(|metadata| metadata.modified().ok());
        let rests = || {
            let before = (memory(), written());
            finds_nothing(asked);
            before.1.is_some() && before == (memory(), written())
        };
        assert!((0..RUNS).any(|_| rests()), "{what}: no run believes the memory");
    };
    let touched = |what: &str, path: PathBuf| way(what, &["one"], &|| touch(&path));
    way("the first time", &["one"], &|| ());
    touched("a spec", tree.path("SPECS/one/one.spec"));
    touched("a spec that nobody asked for", tree.path("SPECS/bad/bad.spec"));
    way("a file beside a spec", &["one"], &|| tree.file("SPECS/one/deep/file", "1"));
    touched("a source package", some_file(&tree.path("build/INTERMEDIATE_SRPMS"), ".src.rpm"));
    touched("a record", tree.path("build/records/one.json"));
    touched("a published package", some_file(&tree.path("out/RPMS"), ".rpm"));
    touched("the metadata", tree.path("out/RPMS/repodata/repomd.xml"));
    touched("the plan", tree.path("build/pkg_artifacts/plan.json"));
    way("a document is gone", &["one"], &|| {
        fs::remove_file(tree.path("build/pkg_artifacts/packages.json")).unwrap();
    });
    assert!(tree.path("build/pkg_artifacts/packages.json").is_file(), "it is made again");
    way("a package from outside", &["one"], &|| tree.file("build/rpm_cache/cache/readme", "1"));
    way("the toolchain", &["one"], &|| tree.file("build/toolchain_rpms/readme", "1"));
    touched("what the toolchain is made from", tree.path("build/toolchain.json"));
    touched("the worker", tree.path("build/worker/worker.json"));
    touched("the file of macros", tree.path("macros"));
    // What an interrupted run has left is taken away, which a run that believes the memory would not do.
    tree.file("build/journal.ndjson", "");
    finds_nothing(&["one"]);
    assert!(!tree.path("build/journal.ndjson").exists());
    way("the configuration", &["one"], &|| {
        tree.configure(&configuration.replace("[build]\n", "[build]\nretries = 3\n"));
    });
    way("the question", &["one", "--extra-build-layers=1"], &|| ());
    // It is a memory of one answer.
    fs::write(tree.path(MEMORY), "damaged").unwrap();
    way("damage", &["one"], &|| ());
}
