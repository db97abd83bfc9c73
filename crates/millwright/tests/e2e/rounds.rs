//! What only a build shows: a run goes on in rounds with what its first builds turn out to provide.

use rpm_model::BuildReason;

use crate::spec::Spec;
use crate::tree::Tree;

/// A package whose name suggests nothing of `pkgconfig(foo-odd-name)`, nor does its list of files.
fn with_odd_module(name: &str) -> Spec {
    Spec::data(name)
        .needs("pkgconf")
        .needs("pkgconf-pkg-config")
        .install(
            "mkdir -p %{buildroot}/usr/share/pkgconfig\n\
             printf 'Name: odd\\nDescription: odd\\nVersion: 3\\n' > %{buildroot}/usr/share/pkgconfig/foo-odd-name.pc",
        )
        .file("/usr/share/pkgconfig/*.pc")
}

#[test]
fn what_a_first_build_provides_is_used_in_the_same_run() {
    let Some(tree) = Tree::new("rounds") else { return };
    tree.spec(&with_odd_module("aaa"));
    tree.spec(&Spec::data("bbb").needs("pkgconfig(foo-odd-name) >= 2"));
    tree.spec(&Spec::data("ccc").needs("bbb"));
    let plan = tree.millwright(&["plan"]);
    plan.exits(0).says(&[
        "1 to build, 0 up to date, 2 waiting for what these builds",
        "nothing is known to provide `pkgconfig(foo-odd-name)`",
        "blocks bbb, ccc",
        "1 first build may show it: aaa",
    ]);
    let ended = tree.millwright(&["build"]);
    ended.exits(0).says(&[
        "round  1: 1 to build, 2 wait for what they provide",
        "round  2: 2 to build\n",
        "start  bbb: never built",
        "3 built in",
    ]);
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["aaa", "bbb", "ccc"]);
    assert_eq!(tree.records()["ccc"].reasons, [BuildReason::NeverBuilt]);
    tree.millwright(&["build"]).exits(0).says(&["nothing to do: 3 packages"]);
    assert!(tree.read("build/pkg_artifacts/build_state.csv").contains("bbb,Built,,0"));
}

#[test]
fn a_file_that_only_the_built_package_shows_counts_too() {
    let Some(tree) = Tree::new("rounds-file") else { return };
    let script = "install -D -m 755 /dev/null %{buildroot}/usr/bin/foo-odd-tool";
    tree.spec(&Spec::data("aaa").install(script).file("/usr/bin/*"));
    tree.spec(&Spec::data("bbb").needs("/usr/bin/foo-odd-tool").build("test -x /usr/bin/foo-odd-tool"));
    tree.millwright(&["build"]).exits(0).says(&["round  2: 1 to build", "2 built in"]);
    tree.millwright(&["build"]).exits(0).says(&["nothing to do: 2 packages"]);
}

#[test]
fn what_nothing_turns_out_to_provide_is_blocked_with_the_reason() {
    let Some(tree) = Tree::new("rounds-in-vain") else { return };
    tree.spec(&Spec::data("aaa"));
    tree.spec(&Spec::data("bbb").needs("pkgconfig(foo-odd-name)"));
    tree.spec(&Spec::data("ccc").needs("bbb"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&[
        "round  1: 1 to build, 2 wait for what they provide",
        "`pkgconfig(foo-odd-name)`: built everything that might provide it; nothing does",
        "blocks bbb, ccc",
        "1 built, 2 blocked in",
    ]);
    ended.never_says(&["round  2"]);
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["aaa"]);
    // The next run knows it from the start.
    tree.millwright(&["plan"]).exits(1).says(&["0 to build, 1 up to date, 2 blocked by 1 cause"]);
}

#[test]
fn a_failed_build_leaves_open_what_it_might_have_shown() {
    let Some(tree) = Tree::new("rounds-failed") else { return };
    tree.spec(&with_odd_module("aaa").build("exit 1"));
    tree.spec(&Spec::data("bbb").needs("pkgconfig(foo-odd-name)"));
    let ended = tree.millwright(&["build"]);
    ended
        .exits(1)
        .says(&["what might, but was never built and cannot be: aaa", "0 built, 1 failed, 1 blocked"]);
    ended.says_once("start  aaa");
}
