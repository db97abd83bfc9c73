//! The program `mkpkg`: what it builds, what it leaves in the spec, and its last line.

use std::process::Command;

use crate::run::Ended;
use crate::spec::Spec;
use crate::tree::Tree;

/// Runs `mkpkg` with a home directory of the test's own.
#[track_caller]
pub(crate) fn mkpkg(tree: &Tree, arguments: &[&str]) -> Ended {
    let mut command: Command = tree.command("mkpkg", arguments);
    let ended = tree.run(command.env("HOME", tree.path("home")));
    tree.assert_clean();
    ended
}

/// Asserts exit code and last line.
#[track_caller]
pub(crate) fn ends(tree: &Tree, arguments: &[&str], code: i32, status: &str) -> Ended {
    let ended = mkpkg(tree, arguments);
    ended.exits(code);
    assert_eq!(
        ended.stdout.lines().last(),
        Some(format!("mkp-status: {status}").as_str()),
        "{}",
        ended.text()
    );
    ended
}

/// A library and a program that watches it; everything is built.
fn built(test: &str) -> Option<Tree> {
    let tree = Tree::new(test)?;
    tree.spec(&Spec::library("greet", "1", 7));
    tree.spec(&Spec::program("hello", "greet").tag("%global _mkpkg_depends greet > minor"));
    ends(&tree, &["hello"], 0, "success 1.0-1.mw1");
    Some(tree)
}

#[test]
fn the_last_line_says_how_it_went() {
    let Some(tree) = built("mkpkg-status") else { return };
    let report = tree.read("out/reports/latest/summary.json");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((report["outcome"].as_str(), report["packages"].as_array().unwrap().len()), (Some("done"), 2));
    ends(&tree, &["hello"], 0, "current 1.0-1.mw1").never_says(&["mkp: "]);
    ends(&tree, &[], 0, "current 2 packages");
    assert_eq!(tree.read("build/pkg_artifacts/mkpkg/hello/.mkp_dep_vers"), "greet 1.0-1.mw1\n");
    let sonames = tree.read("build/pkg_artifacts/mkpkg/hello/.mkp_dep_soname");
    assert!(
        sonames.contains("[\"libgreet.so.1()(64bit)\"]\nsoname = \"libgreet.so.1\"\nvers = \"1\"\n"),
        "{sonames}"
    );
    assert!(sonames.contains("path = \"/usr/lib/libgreet.so.1\"\npath_vers = \"1.0\"\n"), "{sonames}");
    // Nothing asks for a build, but the user; options of the build come after `--`.
    ends(&tree, &["-v", "-f", "hello", "--", "-j", "1"], 0, "success 1.0-1.mw1")
        .says(&["mkp: success hello 1.0-1.mw1 its rebuild was asked for"]);
    tree.spec(&Spec::library("greet", "1", 7).version("1.1"));
    ends(&tree, &["--dry-run"], 0, "due 2 packages");
    ends(&tree, &["-v", "hello"], 0, "success 1.0-1.mw1")
        .says(&["trigger `greet > minor` fires: 1.0 -> 1.1"]);
    let document = mkpkg(&tree, &["hello", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&document.exits(0).stdout).unwrap();
    assert_eq!(document["status"], "current");
    assert_eq!(document["packages"][0]["package"], "hello");
    ends(&tree, &["nobody"], 2, "error -");
}

#[test]
fn libraries_are_judged_as_the_configuration_says() {
    let Some(tree) = built("mkpkg-sonames") else { return };
    tree.file("home/.config/mkpkg/config", "soname_comp = \"newer\"\n");
    tree.spec(&Spec::library("greet", "1", 8));
    ends(&tree, &["-v", "hello"], 0, "success 1.0-1.mw1")
        .says(&["hello is linked to `libgreet.so.1()(64bit)`, whose package changed (soname policy newer)"]);
    ends(&tree, &["hello"], 0, "current 1.0-1.mw1");
    // What was typed wins: not even a library that is gone counts.
    tree.spec(&Spec::library("greet", "2", 8));
    ends(&tree, &["--soname-comp", "neverever", "hello"], 0, "current 1.0-1.mw1");
    ends(&tree, &["-v", "hello"], 0, "success 1.0-1.mw1.2")
        .says(&["requires `libgreet.so.1()(64bit)`, which nothing"]);
    tree.file("home/.config/mkpkg/config", "soname_comp = \"sometimes\"\n");
    mkpkg(&tree, &["hello"]).exits(2).says(&["home/.config/mkpkg/config", "neverever"]);
}

#[test]
fn a_release_rises_with_the_rebuild_and_falls_back_with_its_failure() {
    let Some(tree) = built("mkpkg-bump") else { return };
    tree.spec(&Spec::library("greet", "1", 7).version("1.1"));
    tree.millwright(&["build", "greet"]).exits(0);
    let before = tree.read("SPECS/hello/hello.spec");
    ends(&tree, &["--bump", "spec", "hello"], 0, "success 1.0-2.mw1");
    let after = tree.read("SPECS/hello/hello.spec");
    assert!(after.contains("Release: 2%{?dist}\n"), "{after}");
    assert!(
        after.contains(
            " mkpkg <mkpkg@localhost> - 1.0-2\n- Rebuilt: trigger `greet > minor` fires: 1.0 -> 1.1"
        ),
        "{after}"
    );
    assert_eq!(after.lines().count(), before.lines().count() + 3);
    assert!(
        tree.published().contains_key("x86_64/hello-1.0-2.mw1.x86_64.rpm"),
        "{:?}",
        tree.published().keys()
    );
    ends(&tree, &["--bump", "spec", "hello"], 0, "current 1.0-2.mw1");
    // A new version begins anew, whatever release the packager left there.
    let newer = after.replace("Version: 1.0", "Version: 2.0").replace("Release: 2%", "Release: 7%");
    tree.file("SPECS/hello/hello.spec", &newer);
    ends(&tree, &["--bump", "spec", "hello"], 0, "success 2.0-1.mw1");
    let after = tree.read("SPECS/hello/hello.spec");
    assert!(
        after.contains("Release: 1%{?dist}\n") && after.contains("> - 2.0-1\n- Version 2.0\n"),
        "{after}"
    );
    // The function is gone: what used it cannot be built.
    let without =
        Spec::library("greet", "1", 7).version("1.2").install("echo > %{buildroot}%{_includedir}/greet.h");
    tree.spec(
        &without.build(
            "echo 'int other;' > o.c; gcc -shared -fPIC -Wl,-soname,libgreet.so.1 -o libgreet.so.1 o.c",
        ),
    );
    tree.millwright(&["build", "greet"]).exits(0);
    ends(&tree, &["--bump", "spec", "hello"], 1, "error 2.0-1.mw1").says(&["mkp: error hello"]);
    assert_eq!(tree.read("SPECS/hello/hello.spec"), after);
}

#[test]
fn a_refresh_takes_over_what_is_true_and_says_what_it_cannot_know() {
    let Some(tree) = built("mkpkg-refresh") else { return };
    tree.spec(&Spec::library("greet", "1", 7).version("1.1"));
    tree.millwright(&["build", "greet"]).exits(0);
    ends(&tree, &["--dry-run", "hello"], 0, "due 1.0-1.mw1");
    ends(&tree, &["-r", "hello"], 0, "current 1.0-1.mw1");
    assert_eq!(tree.read("build/pkg_artifacts/mkpkg/hello/.mkp_dep_vers"), "greet 1.1-1.mw1\n");
    ends(&tree, &["hello"], 0, "current 1.0-1.mw1");
    tree.spec(&Spec::data("new").tag("%global _mkpkg_depends nowhere"));
    mkpkg(&tree, &["-r", "new"]).exits(0).says(&["mkp: unknown new: it was never built", "mkp-status: due"]);
}

#[test]
fn a_mass_rebuild_selects_by_what_builds_have_in_common() {
    let Some(tree) = built("mass-rebuild") else { return };
    tree.spec(&Spec::data("other"));
    tree.millwright(&["build"]).exits(0);
    tree.millwright(&["rebuild", "--all-of", "soname:libgreet.so.1", "--dry-run"]).exits(0).says(&[
        "1 to build for soname:libgreet.so.1, in 1 layer",
        "1.0-1.mw1 -> 1.0-1.mw1.2, unless it comes out the same",
        "hello requires `libgreet.so.1()(64bit)`",
    ]);
    tree.millwright(&["rebuild", "--all-of", "soname:libgreet.so.2", "--dry-run"])
        .exits(2)
        .says(&["no last build knows `libgreet.so.2`", "did you mean libgreet.so.1?"]);
    tree.file("list", "hello # remark\nother\n");
    let ended = tree.millwright(&["rebuild", "--all-of", "requires:greet", "--all-of", "list"]);
    ended
        .exits(0)
        .never_says(&["start  greet"])
        .says(&["list, requires:greet selects 2 specs", "2 of 2 done: 0 rebuilt, 2 identical and kept"]);
    let except = ["rebuild", "--all-of", "list", "--except", "hello other"];
    tree.millwright(&except).exits(0).says(&["selects 0 specs"]);
    tree.millwright(&["rebuild", "--all-of", "builds-with:nothing"]).exits(2).says(&["means nothing"]);
    tree.millwright(&["rebuild", "--all-of", "nonsense"]).exits(2).says(&["builds-with:PACKAGE"]);
}
