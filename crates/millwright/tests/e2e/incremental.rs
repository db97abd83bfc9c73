//! What is built again, and what is not: content decides, time stamps never.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

use rpm_model::{BuildReason, ContentDigest};

use crate::run::Ended;
use crate::spec::Spec;
use crate::tree::{Tree, files_below, program_path};
use crate::triggers::builds;

/// A library, a program that is linked to it, and a package that has nothing to do with them.
fn tree_of_three(test: &str) -> Option<Tree> {
    let tree = Tree::new(test)?;
    tree.spec(&Spec::library("greet", "1", 7));
    tree.spec(&Spec::program("hello", "greet"));
    tree.spec(&Spec::data("other"));
    tree.millwright(&["build"]).exits(0).says(&["3 built"]);
    Some(tree)
}

/// Asserts that a run builds these and nothing else, in this order; for those that need each other.
#[track_caller]
pub(crate) fn assert_builds(tree: &Tree, packages: &[&str]) -> String {
    let ended = tree.millwright(&["build", "-j", "1"]);
    ended.exits(0);
    assert_eq!(started(&ended), packages, "{}", ended.text());
    ended.text()
}

/// Returns the packages that a run started to build, in order.
pub(crate) fn started(ended: &Ended) -> Vec<&str> {
    let lines = ended.stderr.lines().filter_map(|line| line.trim_start().strip_prefix("start  "));
    lines.filter_map(|rest| rest.split(':').next()).collect()
}

/// Sets the time stamps of every file of the specs.
fn touch_specs(tree: &Tree, time: SystemTime) {
    for path in files_below(&tree.path("SPECS")) {
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    }
}

#[test]
fn nothing_is_done_twice() {
    let Some(tree) = tree_of_three("no-op") else { return };
    let published = tree.published();
    let whole = |tree: &Tree| -> BTreeMap<std::path::PathBuf, (SystemTime, ContentDigest)> {
        files_below(&tree.path("out"))
            .into_iter()
            // The link to the latest report leads to a directory.
            .filter(|path| path.is_file())
            .map(|path| {
                let content = ContentDigest::of_bytes(&fs::read(&path).unwrap());
                (path.clone(), (fs::metadata(&path).unwrap().modified().unwrap(), content))
            })
            .collect()
    };
    let before = whole(&tree);
    tree.millwright(&["build"]).exits(0).says_once("nothing to do: 3 packages are up to date");
    assert_eq!(whole(&tree), before, "not even the metadata is written again");
    // No decision reads a time stamp, forwards or backwards.
    for time in
        [SystemTime::now() + Duration::from_secs(3600), SystemTime::UNIX_EPOCH + Duration::from_secs(86400)]
    {
        touch_specs(&tree, time);
        tree.millwright(&["build"]).exits(0).says_once("nothing to do: 3 packages are up to date");
    }
    assert_eq!(tree.published(), published);
}

#[test]
fn a_run_that_has_nothing_to_do_starts_no_process() {
    let Some(tree) = tree_of_three("no-process") else { return };
    let trace = tree.path("trace");
    let strace = "/usr/bin/strace";
    if std::path::Path::new(strace).exists() {
        touch_specs(&tree, SystemTime::now() + Duration::from_secs(60));
        let mut command = std::process::Command::new(strace);
        command.args(["-f", "-qq", "-e", "trace=execve,fork,vfork,clone,clone3", "-o"]).arg(&trace);
        command.arg(program_path("millwright")).arg("build").current_dir(tree.path(""));
        tree.run(&mut command).exits(0).says(&["nothing to do"]);
        let text = fs::read_to_string(&trace).unwrap();
        // The end of a call that another came between, and a thread that its process ends, are lines too.
        let is_call =
            |line: &&str| ["execve(", "fork(", "clone(", "clone3("].iter().any(|call| line.contains(call));
        let (threads, processes): (Vec<&str>, Vec<&str>) =
            text.lines().filter(is_call).partition(|line| line.contains("CLONE_THREAD"));
        assert!(!threads.is_empty(), "strace sees what is created");
        // The one execve is strace's own of millwright.
        assert_eq!(processes.len(), 1, "{text}");
        assert!(processes[0].contains("execve("), "{text}");
    } else {
        assert!(std::env::var_os("CI").is_none(), "strace is missing");
        eprintln!("SKIPPED a part of no-process: needs strace");
    }
}

#[test]
fn an_edit_that_changes_no_result_stops_at_its_package() {
    let Some(tree) = tree_of_three("comment") else { return };
    let before = tree.published();
    let mut text = Spec::library("greet", "1", 7).text();
    text.push_str("# a remark at the end\n");
    tree.file("SPECS/greet/greet.spec", &text);
    let said = assert_builds(&tree, &["greet"]);
    assert!(said.contains("1 identical, 2 up to date"), "{said}");
    assert_eq!(tree.published(), before);
    assert!(matches!(tree.records()["greet"].reasons[..], [BuildReason::InputsChanged { .. }]));
    tree.millwright(&["build"]).exits(0).says(&["nothing to do"]);
}

/// Signs a published package as a distribution does, in place; `None` when nobody can sign here.
fn sign(tree: &Tree, package: &std::path::Path) -> Option<()> {
    let home = tree.path("gnupg");
    fs::create_dir_all(&home).unwrap();
    let mut gpg = std::process::Command::new("gpg");
    gpg.arg("--homedir").arg(&home).args(["--batch", "--quiet", "--passphrase", ""]);
    gpg.args(["--quick-gen-key", "signer@example.org", "rsa2048", "sign", "never"]);
    let made = gpg.output();
    let mut rpmsign = std::process::Command::new("rpmsign");
    rpmsign.env("GNUPGHOME", &home).args([
        "--define",
        "__gpg /usr/bin/gpg",
        "--define",
        "_gpg_name signer@example.org",
        "--addsign",
    ]);
    let (Ok(made), Ok(signed)) = (made, rpmsign.arg(package).output()) else {
        assert!(std::env::var_os("CI").is_none(), "gpg or rpmsign is missing");
        eprintln!("SKIPPED signed: needs gpg and rpmsign");
        return None;
    };
    assert!(made.status.success() && signed.status.success(), "{made:?} {signed:?}");
    // Its agent holds the directory.
    let _ = std::process::Command::new("gpgconf").env("GNUPGHOME", &home).args(["--kill", "all"]).status();
    Some(())
}

#[test]
fn a_package_that_was_signed_since_stays_as_it_is() {
    let Some(tree) = tree_of_three("signed") else { return };
    let package = tree.path("out/RPMS/x86_64/greet-1.0-1.mw1.x86_64.rpm");
    let unsigned = fs::read(&package).unwrap();
    if sign(&tree, &package).is_none() {
        return;
    }
    let signed = fs::read(&package).unwrap();
    assert_ne!(signed, unsigned);
    let said = assert_builds(&tree, &["greet"]);
    assert!(said.contains("1 identical, 2 up to date"), "{said}");
    assert!(said.contains("greet: the same as published; 1 package that needs it is spared"), "{said}");
    assert_eq!(fs::read(&package).unwrap(), signed, "the signature stays");
    tree.millwright(&["build"]).exits(0).says(&["nothing to do"]);
}

#[test]
fn a_changed_library_is_built_and_dependants_that_do_not_see_it_are_not() {
    let Some(tree) = tree_of_three("changed") else { return };
    let before = tree.published();
    tree.spec(&Spec::library("greet", "1", 8));
    let said = assert_builds(&tree, &["greet"]);
    let change = "greet: differs from what was published: greet-1.0-1.mw1.x86_64: ";
    assert!(said.contains(change) && said.contains("/libgreet.so.1 has another content"), "{said}");
    let changes = &tree.records()["greet"].changes;
    assert!(changes.iter().all(|change| change.published.name.starts_with("greet")), "{changes:?}");
    assert!(!changes.is_empty());
    let after = tree.published();
    let changed: Vec<&str> = after
        .iter()
        .filter(|(path, content)| before.get(*path) != Some(content))
        .map(|(path, _)| path.as_str())
        .collect();
    assert!(changed.iter().any(|path| path.starts_with("x86_64/greet-1.0-")), "{changed:?}");
    assert!(changed.iter().all(|path| path.contains("/greet-")), "{changed:?}");
    assert_builds(&tree, &[]);
}

#[test]
fn a_changed_soname_brings_the_dependants_along_in_the_same_run() {
    let Some(tree) = tree_of_three("soname") else { return };
    tree.spec(&Spec::library("greet", "2", 7).version("2.0"));
    let said = assert_builds(&tree, &["greet", "hello"]);
    assert!(
        said.contains("hello requires `libgreet.so.1()(64bit)`, which nothing provides any more"),
        "{said}"
    );
    let records = tree.records();
    let lost = |reason: &BuildReason| matches!(reason, BuildReason::RequirementLost { requirement, .. } if requirement == "libgreet.so.1()(64bit)");
    assert!(records["hello"].reasons.iter().any(lost), "{:?}", records["hello"].reasons);
    // The old library's packages are gone from the repository.
    assert!(tree.published().keys().all(|path| !path.contains("greet-1.0")), "{:?}", tree.published().keys());
    assert_builds(&tree, &[]);
}

#[test]
fn a_removed_or_damaged_result_is_made_again() {
    let Some(tree) = tree_of_three("damaged") else { return };
    let before = tree.published();
    fs::remove_file(tree.path("out/RPMS/noarch/other-1.0-1.mw1.noarch.rpm")).unwrap();
    let library = tree.path("out/RPMS/x86_64/greet-1.0-1.mw1.x86_64.rpm");
    let mut bytes = fs::read(&library).unwrap();
    bytes.truncate(bytes.len() - 10);
    fs::write(&library, bytes).unwrap();
    builds(&tree, &["greet", "other"]).says(&["other-1.0-1.mw1.noarch.rpm` is missing"]);
    assert_eq!(tree.published(), before, "the same packages, bit by bit");
}

#[test]
fn the_rebuild_and_ignore_lists_are_followed() {
    let Some(tree) = tree_of_three("lists") else { return };
    let before = tree.published();
    let ended = tree.millwright(&["rebuild", "greet"]);
    ended.exits(0).says(&["greet: its rebuild was asked for", "1 identical"]);
    assert_eq!(tree.published(), before);
    tree.spec(&Spec::library("greet", "1", 8));
    tree.spec(&Spec::data("other").version("2.0"));
    let ended = tree.millwright(&["build", "--ignore-list=greet"]);
    ended.exits(0).says(&["1 built, 1 up to date"]).never_says(&["start  greet"]);
}

#[test]
fn a_package_that_fails_is_tried_once_however_many_others_change() {
    let Some(tree) = tree_of_three("tried-once") else { return };
    tree.spec(&Spec::library("greet", "2", 7).version("2.0").build("exit 1"));
    tree.spec(&Spec::data("other").version("2.0"));
    tree.spec(&Spec::data("another"));
    let ended = tree.millwright(&["build", "-j", "1"]);
    ended.exits(1).says(&["2 built, 1 up to date, 1 failed"]).says_once("start  greet");
    // What was published of it stays, and so does what needs it.
    assert!(tree.published().contains_key("x86_64/greet-1.0-1.mw1.x86_64.rpm"));
}

/// Cuts every file that a run left in the build directory in half, one after the other: none of them is
/// believed, none of them stops the next run.
#[test]
fn damaged_state_is_made_again() {
    let Some(tree) = Tree::new("state") else { return };
    tree.spec(&Spec::data("one").tag("Source0: one-1.0.txt"));
    tree.file("SPECS/one/one-1.0.txt", "one\n");
    let hash = ContentDigest::of_bytes(b"one\n");
    tree.file(
        "SPECS/one/one.signatures.json",
        &format!("{{\"Signatures\": {{\"one-1.0.txt\": \"{hash}\"}}}}"),
    );
    tree.spec(&Spec::data("two").needs("one"));
    tree.millwright(&["build"]).exits(0).says(&["2 built"]);
    tree.millwright(&["expand"]).exits(0);
    let before = tree.published();
    let build = tree.path("build");
    // The toolchain is made from what the network gives; that is no part of this test.
    let taken = ["apt", "toolchain.json", "toolchain_rpms", "cache/layers"].map(|name| build.join(name));
    let files: Vec<_> = files_below(&build)
        .into_iter()
        .filter(|path| !taken.iter().any(|directory| path.starts_with(directory)))
        .collect();
    assert!(files.len() > 20, "{files:?}");
    for path in files {
        let open = fs::File::options().write(true).open(&path);
        let file = open.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        let ended = tree.millwright(&["build"]);
        assert_eq!(ended.status.code(), Some(0), "{}\n{}", path.display(), ended.text());
        assert_eq!(tree.published(), before, "{}", path.display());
    }
    tree.millwright(&["build"]).exits(0).says(&["nothing to do: 2 packages"]);
}

#[test]
fn plans_and_dry_runs_build_nothing_and_events_are_json() {
    let Some(tree) = Tree::new("plan") else { return };
    tree.spec(&Spec::data("one"));
    tree.spec(&Spec::data("two").needs("one"));
    for arguments in [&["plan"][..], &["build", "--dry-run"], &["rebuild", "one", "--dry-run"]] {
        tree.millwright(arguments).exits(0).says(&["never built", " to build"]);
    }
    assert!(tree.published().is_empty());
    let ended = tree.millwright(&["build", "--json"]);
    let events: Vec<serde_json::Value> =
        ended.exits(0).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let built = |event: &&serde_json::Value| event["event"] == "package-finished" && event["end"] == "built";
    assert_eq!(events.iter().filter(built).count(), 2, "{}", ended.stdout);
    // What `clean` removes is made again; what was published stays the same.
    let before = tree.published();
    tree.millwright(&["clean", "input-srpms", "spec-parse", "workplan", "expand-specs"]).exits(0);
    tree.millwright(&["build"]).exits(0).says(&["nothing to do: 2 packages"]);
    tree.millwright(&["clean", "build-packages"]).exits(0);
    assert!(tree.published().is_empty());
    tree.millwright(&["build", "--result-cache=false"]).exits(0).says(&["2 built"]);
    assert_eq!(tree.published(), before);
}
