//! Looking into builds that failed: kept roots, shells in them, running them again, what they left.

use std::fs;
use std::path::PathBuf;

use crate::run::Ended;
use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};

/// A package whose `%build` fails because a source says so; it leaves a file in each temporary directory.
fn failing(tree: &Tree) {
    tree.spec(
        &Spec::data("broken")
            .tag("Source0: verdict.txt")
            .build(
                "cp %{SOURCE0} verdict\necho left > /tmp/left-in-tmp\nmkdir -p /var/tmp/left\n\
                 echo more > /var/tmp/left/in-var-tmp\ngrep good verdict",
            )
            .install("cp verdict %{buildroot}/usr/share/broken/"),
    );
    tree.file("SPECS/broken/verdict.txt", "bad\n");
    let hash = rpm_model::ContentDigest::of_bytes(b"bad\n");
    tree.file(
        "SPECS/broken/broken.signatures.json",
        &format!("{{\"Signatures\": {{\"verdict.txt\": \"{hash}\"}}}}"),
    );
}

/// Builds the failing package so that its root is kept, and returns the tree and the kept directory.
pub(crate) fn kept(test: &str) -> Option<(Tree, PathBuf)> {
    let tree = Tree::new(test)?;
    tree.configure(&format!("{OFFLINE}[build]\nclean = \"on-success\"\n"));
    failing(&tree);
    let ended = run(&tree, &["build"]);
    ended.exits(1).says(&["%build failed", "next: millwright shell broken"]);
    let kept = tree.path("build/worker/chroot/broken-1.0-1.mw1");
    assert!(kept.join("kept.json").is_file());
    Some((tree, kept))
}

/// Runs `millwright` and asserts that nothing of it runs on; kept roots may stay.
#[track_caller]
pub(crate) fn run(tree: &Tree, arguments: &[&str]) -> Ended {
    let ended = tree.start_millwright(arguments).wait();
    tree.assert_nothing_runs();
    ended
}

#[test]
fn a_shell_sees_what_the_failed_section_saw() {
    let Some((tree, kept)) = kept("shell") else { return };
    let script = "pwd; echo root=$RPM_BUILD_ROOT; echo $RPM_PACKAGE_NAME-$RPM_PACKAGE_VERSION; \
                  umask; rpm --eval 'dist=%{dist} top=%{_topdir}'; cat verdict; cat /tmp/left-in-tmp; id -u";
    let ended = run(&tree, &["shell", "broken", "--", "bash", "-c", script]);
    ended.exits(0).says(&[
        "/build/BUILD/broken-1.0",
        "root=/build/BUILDROOT/broken-1.0-1.mw1.",
        "broken-1.0\n",
        "0022",
        "dist=.mw1 top=/build",
        "bad\nleft\n1000",
    ]);
    run(&tree, &["shell", "broken", "--", "sh", "-c", "exit 7"]).exits(1).says(&["exit code 7"]);
    // The root is read-only to the builder; root may change it, and the change is there the next time.
    run(&tree, &["shell", "broken", "--", "touch", "/usr/new"]).exits(1).says(&["Read-only file system"]);
    run(
        &tree,
        &["shell", "broken", "--root", "--", "sh", "-c", "id -u; echo hello > /usr/new; rm /usr/bin/env"],
    )
    .exits(0)
    .says(&["0\n"]);
    run(&tree, &["shell", "broken", "--", "cat", "/usr/new"]).exits(0).says(&["hello"]);
    assert!(kept.join("root/upper/usr/new").is_file());
    // A standard input that is no terminal is a script.
    run(&tree, &["shell", "broken"]).exits(0);
}

#[test]
fn a_build_goes_on_from_its_failed_section_after_an_edit() {
    let Some((tree, kept)) = kept("rerun") else { return };
    run(&tree, &["rerun", "broken"]).exits(1).says(&["%build failed", "millwright shell broken"]);
    // The source of the kept tree, not that of the package.
    fs::write(kept.join("build/SOURCES/verdict.txt"), "good\n").unwrap();
    let ended = run(&tree, &["rerun", "broken", "--from", "%build"]);
    ended.exits(0).says(&["nothing is published", "broken-1.0-1.mw1.noarch.rpm"]);
    // What was left out did not run again: the log has one trace of %build and none of %prep.
    let log = tree.read("build/logs/pkggen/rpmbuilding/broken-1.0-1.mw1.src.rpm.rerun.log");
    assert!(log.contains("+ grep good verdict") && !log.contains("+ mkdir -p broken-1.0"), "{log}");
    assert!(tree.records().is_empty() && tree.published().is_empty());
    // The scripts of the sections that failed are gone with their failures.
    assert!(!run(&tree, &["diff", "broken"]).exits(0).stdout.contains("rpm-tmp"));
    // From a later section: %build is not needed any more.
    fs::write(kept.join("build/SOURCES/verdict.txt"), "bad\n").unwrap();
    run(&tree, &["rerun", "broken", "--from", "install"]).exits(0).says(&["%install and what follows"]);
    run(&tree, &["rerun", "broken", "--from", "files"]).exits(2).says(&["no section"]);
    // Shortly after, the package itself is still what it was.
    run(&tree, &["build"]).exits(1).says(&["%build failed"]);
}

#[test]
fn what_a_build_left_outside_its_directory_is_told_exactly() {
    let Some((tree, _)) = kept("diff") else { return };
    let ended = run(&tree, &["diff", "broken"]);
    assert_eq!(
        ended.exits(0).stdout,
        "added     /tmp/left-in-tmp (file, 5 bytes)\nadded     /var/tmp/left (directory)\n\
         added     /var/tmp/left/in-var-tmp (file, 5 bytes)\n"
    );
    run(
        &tree,
        &[
            "shell",
            "broken",
            "--as-root",
            "--",
            "sh",
            "-c",
            "rm -r /tmp/* /var/tmp/left /usr/bin/env; chmod 700 /usr/bin/cat; echo x > /etc/x",
        ],
    )
    .exits(0);
    let ended = run(&tree, &["diff", "broken", "--json"]);
    let difference: serde_json::Value = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    let changes: Vec<String> = difference["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| format!("{} {} {}", change["kind"], change["path"], change["aspects"]).replace('"', ""))
        .collect();
    assert_eq!(changes, ["added /etc/x null", "modified /usr/bin/cat [mode]", "removed /usr/bin/env null"]);
}

#[test]
fn without_a_kept_root_one_is_made_where_it_is_wanted() {
    let Some(tree) = Tree::new("shell-without-root") else { return };
    failing(&tree);
    // Never built: from a plan, up to the first section that could fail.
    let ended = run(&tree, &["shell", "broken", "--", "sh", "-c", "pwd; ls"]);
    ended.exits(0).says(&["making one from a new plan, up to %build", "/build/BUILD/broken-1.0"]);
    ended.never_says(&["verdict"]);
    fs::remove_dir_all(tree.path("build/worker/chroot")).unwrap();
    // Built, nothing kept: from the job, up to where it failed.
    tree.millwright(&["build"]).exits(1);
    let ended = run(&tree, &["shell", "broken", "--", "cat", "/build/SOURCES/verdict.txt"]);
    ended.exits(0).says(&["making one from its last job, up to %build", "bad"]);
    // Up to a section that is not reached.
    let ended = run(&tree, &["shell", "broken", "--at", "%install", "--", "pwd"]);
    ended.exits(0).says(&["the kept root is replaced", "%build failed before %install was reached"]);
    let ended = run(&tree, &["shell", "broken", "--at", "prep", "--", "sh", "-c", "pwd; ls"]);
    ended.exits(0).says(&["/build/BUILD\n"]).never_says(&["broken-1.0\n"]);
    for words in [["diff", "nobody"], ["rerun", "nobody"]] {
        run(&tree, &words).exits(2).says(&["there is no package `nobody`"]);
    }
    run(&tree, &["shell", "nobody"]).exits(2).says(&["nobody"]);
}

#[test]
fn roots_are_kept_as_the_policy_says() {
    let Some(tree) = Tree::new("clean-policy") else { return };
    failing(&tree);
    tree.spec(&Spec::data("good"));
    let kept = || -> Vec<String> {
        let entries = fs::read_dir(tree.path("build/worker/chroot")).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    for (policy, expected) in [
        ("always", &[][..]),
        ("on-success", &["broken-1.0-1.mw1"][..]),
        ("never", &["broken-1.0-1.mw1", "good-1.0-1.mw1"][..]),
    ] {
        let _ = fs::remove_dir_all(tree.path("build/worker/chroot"));
        run(&tree, &["rebuild", "good", "broken", &format!("--clean={policy}")])
            .exits(1)
            .says(&["  1 package in `"]);
        assert_eq!(kept(), expected, "{policy}");
    }
    run(&tree, &["build", "--clean=maybe"]).exits(2).says(&["never", "on-success", "always"]);
}

#[test]
fn build_requirements_that_nothing_was_opened_of_are_told() {
    let Some(tree) = Tree::new("unused") else { return };
    tree.spec(&Spec::library("greet", "1", 7));
    tree.spec(&Spec::library("spare", "1", 8));
    tree.spec(&Spec::program("hello", "greet").needs("spare-devel"));
    tree.spec(&Spec::data("words"));
    // Asked of every build of a run: told as they end, and in its report.
    let ended = tree.millwright(&["build", "--find-unused"]);
    ended
        .exits(0)
        .says(&["4 built", "unused  hello: it opened nothing of 1 of its 3 build requirements: spare-devel"]);
    let summary: serde_json::Value =
        serde_json::from_str(&tree.read("out/reports/latest/summary.json")).unwrap();
    let of = |package: &str| {
        let mut packages = summary["packages"].as_array().unwrap().iter();
        packages.find(|report| report["package"] == package).unwrap()["unused"].clone()
    };
    assert_eq!(of("hello")["unused"][0]["requirement"], "spare-devel", "{summary}");
    assert_eq!((&of("greet")["requirements"], &of("greet")["unused"]), (&1.into(), &serde_json::json!([])));
    let page = tree.read("out/reports/latest/index.html");
    assert!(
        page.contains("Unused build requirements") && page.contains("<code>spare-devel</code>"),
        "{page}"
    );
    let before = tree.published();
    let ended = tree.millwright(&["unused", "hello"]);
    ended
        .exits(0)
        .says(&["hello: of 3 build requirements 1 are unused", "BuildRequires: spare-devel (spare-1.0-1"]);
    ended.never_says(&["BuildRequires: gcc", "BuildRequires: greet-devel"]);
    run(&tree, &["unused", "words"]).exits(0).says(&["words: its spec states no build requirement"]);
    let ended = tree.millwright(&["unused", "hello", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    assert_eq!(report["unused"][0]["requirement"], "spare-devel");
    assert_eq!(report["unused"].as_array().unwrap().len(), 1);
    assert_eq!(tree.published(), before);
    // A package of the spec names it as well.
    run(&tree, &["shell", "greet-devel", "--", "pwd"]).exits(0).says(&["/build/BUILD/greet-1.0"]);
    run(&tree, &["diff", "greet-devel"]).exits(0).says(&["greet: nothing was changed outside /build"]);
}
