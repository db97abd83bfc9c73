//! Rebuild triggers in specs: what fires, what is quiet and what cannot be told.

use std::fs;

use rpm_model::BuildReason;

use crate::run::Ended;
use crate::spec::Spec;
use crate::tree::Tree;

/// Runs a build and asserts that it starts these builds and no other; in which order those start that do not need each
/// other is a matter of how long they took.
#[track_caller]
pub(crate) fn builds(tree: &Tree, packages: &[&str]) -> Ended {
    let ended = tree.millwright(&["build", "-j", "1"]);
    ended.exits(0);
    let starts = ended.stderr.lines().filter_map(|line| line.trim_start().strip_prefix("start  "));
    let mut started: Vec<&str> = starts.filter_map(|rest| rest.split(':').next()).collect();
    started.sort_unstable();
    let mut packages = packages.to_vec();
    packages.sort_unstable();
    assert_eq!(started, packages, "{}", ended.text());
    ended
}

#[test]
fn a_level_is_quiet_below_itself_and_an_unknown_trigger_hides_nothing() {
    let Some(tree) = Tree::new("trigger-level") else { return };
    let moon = |version: &str| Spec::data("moon").version(version);
    tree.spec(&moon("5.4.6"));
    let user = Spec::data("user").needs("moon");
    tree.spec(&user.clone().tag("%global _mkpkg_depends nowhere, 'moon > minor'"));
    // Watches a package that is not even in its build root, by what that provides.
    tree.spec(&moon("5.4.6").tag("Provides: light = 2.1"));
    tree.spec(&Spec::data("watcher").tag("%global _mkpkg_depends light"));
    tree.millwright(&["build"]).exits(0).says(&["3 built"]).never_says(&["is unknown"]);
    let seen = tree.records()["user"].triggers.clone();
    assert_eq!(seen.packages["nowhere"], None);
    assert_eq!(seen.packages["moon"].as_ref().unwrap().nevra.evr.version, "5.4.6");
    builds(&tree, &[]).says(&["user: trigger `nowhere` is unknown: no package has the name `nowhere`"]);

    tree.spec(&moon("5.4.7").tag("Provides: light = 2.1"));
    builds(&tree, &["moon", "watcher"])
        .says(&["trigger `light` fires: moon-5.4.6", "trigger `nowhere` is unknown"]);
    tree.spec(&moon("5.5.0").tag("Provides: light = 2.1"));
    let plan = tree.millwright(&["plan"]);
    plan.exits(0).says(&["1 to build", "at most 2 more follow", "watcher (layer 1, after moon: watches it)"]);
    // Who watches follows as any dependant does: within the limit, and with who caused it.
    tree.millwright(&["build", "--max-cascading-rebuilds=0"]).exits(0).says(&["1 built", "user, watcher;"]);
    tree.millwright(&["why", "watcher"]).exits(0).says(&[
        "will be built: trigger `light` fires: moon-5.4.7",
        "moon caused watcher; it was built itself: moon.spec changed",
    ]);
    let ended = builds(&tree, &["user", "watcher"]);
    // What a trigger watches need not show in what a build is made of: no earlier result will do.
    ended.never_says(&["the result is taken from"]);
    ended.says(&["trigger `moon > minor` fires: 5.4 -> 5.5, moon-5.4.6", "trigger `nowhere` is unknown"]);
    let fired = |reason: &BuildReason| matches!(reason, BuildReason::TriggerFired { trigger, .. } if trigger == "moon > minor");
    assert!(tree.records()["user"].reasons.iter().any(fired), "{:?}", tree.records()["user"].reasons);
    builds(&tree, &[]);
}

#[test]
fn watched_files_count_by_content() {
    let Some(tree) = Tree::new("trigger-files") else { return };
    tree.spec(&Spec::data("user").tag("%global _mkpkg_depends_files conf/*.conf"));
    tree.file("SPECS/user/conf/a.conf", "a\n");
    tree.file("SPECS/user/conf/unwatched", "a\n");
    builds(&tree, &["user"]);
    // Neither a time stamp nor another file counts.
    tree.file("SPECS/user/conf/a.conf", "a\n");
    tree.file("SPECS/user/conf/unwatched", "b\n");
    builds(&tree, &[]);
    tree.file("SPECS/user/conf/a.conf", "b\n");
    builds(&tree, &["user"]).says(&["`conf/a.conf` (trigger `conf/*.conf`) changed"]);
    tree.file("SPECS/user/conf/b.conf", "b\n");
    builds(&tree, &["user"]).says(&["`conf/b.conf` (trigger `conf/*.conf`) is new"]);
    fs::remove_file(tree.path("SPECS/user/conf/a.conf")).unwrap();
    builds(&tree, &["user"]).says(&["`conf/a.conf` (trigger `conf/*.conf`) is gone"]);
    builds(&tree, &[]);
}

#[test]
fn a_malformed_trigger_is_told_with_its_place_and_stops_its_spec_alone() {
    let Some(tree) = Tree::new("trigger-malformed") else { return };
    tree.spec(&Spec::data("bad").tag("%global _mkpkg_depends lua > nonsense"));
    tree.spec(&Spec::data("good"));
    tree.millwright(&["build"]).exits(1).says(&[
        "SPECS/bad/bad.spec:7: column 30: `%_mkpkg_depends`: expected a level or a version, found `nonsense`",
        "each is `name`, `name operator level` or `name operator version`",
        "1 built",
    ]);
}

/// A library's new soname brings along who is linked to it, and nobody else.
#[test]
fn only_what_is_linked_to_a_changed_soname_is_built_again() {
    let Some(tree) = Tree::new("trigger-soname") else { return };
    tree.spec(&Spec::library("oniguruma", "5", 7));
    tree.spec(&Spec::program("jq", "oniguruma"));
    tree.spec(&Spec::data("other").needs("oniguruma-devel"));
    builds(&tree, &["oniguruma", "jq", "other"]);
    let linked = &tree.records()["jq"].triggers.sonames;
    assert_eq!(linked["liboniguruma.so.5()(64bit)"].nevra.name, "oniguruma", "{linked:?}");
    tree.spec(&Spec::library("oniguruma", "6", 7).version("2.0"));
    builds(&tree, &["oniguruma", "jq"])
        .says(&["jq requires `liboniguruma.so.5()(64bit)`, which nothing provides"]);
    // The chain, with both sides of each of its links.
    let why =
        tree.millwright(&["why", "jq"]).exits(0).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "built: jq requires `liboniguruma.so.5()(64bit)`, which nothing provides any more since `oniguruma` was \
         built (oniguruma-1.0-1.mw1.x86_64 provided it, oniguruma-2.0-1.mw1.x86_64 provides \
         `liboniguruma.so.6()(64bit)`)",
        "cause: oniguruma caused jq; it was built itself: oniguruma.spec changed (",
        "now: up to date, will not be built",
    ] {
        assert!(why.contains(words), "`{words}` is not in: {why}");
    }
    tree.millwright(&["why", "other"]).exits(0).never_says(&["oniguruma caused"]);
    assert!(tree.records()["jq"].triggers.sonames.contains_key("liboniguruma.so.6()(64bit)"));
    builds(&tree, &[]);
}
