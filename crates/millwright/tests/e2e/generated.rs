//! `%generate_buildrequires`: what a spec asks for only when its sources are there.

use rpm_model::{PackageOrigin, Requirement};

use crate::spec::Spec;
use crate::tree::Tree;

fn requirements(list: &[&str]) -> Vec<Requirement> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

/// Returns the names of a spec's build root that come from the tree.
fn from_tree(tree: &Tree, spec: &str) -> Vec<String> {
    let record = &tree.records()[spec];
    let packages = record.lock.packages().iter().filter(|package| package.origin == PackageOrigin::Tree);
    packages.map(|package| package.nevra.name.clone()).collect()
}

#[test]
fn what_is_generated_is_in_the_build_root() {
    let Some(tree) = Tree::new("generated") else { return };
    tree.spec(&Spec::data("none").generate("true"));
    tree.spec(&Spec::data("satisfied").generate("echo bash").build("ls /bin/sh"));
    // In the toolchain, but in no build root that does not ask for it; and what is asked for depends on it.
    let steps = "echo chrpath\nif test -x /usr/bin/chrpath; then echo 'bc > 1'; fi";
    tree.spec(&Spec::data("steps").generate(steps).build("chrpath --version; echo 1+1 | bc"));
    let ended = tree.millwright(&["build", "--verbose"]);
    ended.exits(0).says(&["3 built", "%generate_buildrequires"]);
    let records = tree.records();
    assert_eq!(records["none"].generated, []);
    assert_eq!(records["satisfied"].generated, requirements(&["bash"]));
    assert_eq!(records["steps"].generated, requirements(&["bc > 1", "chrpath"]));
    let in_lock = |spec: &str, name: &str| records[spec].lock.packages().iter().any(|p| p.nevra.name == name);
    assert!(in_lock("steps", "chrpath") && in_lock("steps", "bc") && !in_lock("none", "bc"));
    // `%prep` runs once in the round that builds.
    let sections: Vec<&str> = records["none"].phases.iter().map(|phase| phase.phase.as_str()).collect();
    assert_eq!(
        sections,
        [
            "preparation",
            "%prep",
            "%generate_buildrequires",
            "preparation",
            "%generate_buildrequires",
            "%build",
            "%install",
            "packaging"
        ]
    );
    tree.millwright(&["build"]).exits(0).says(&["nothing to do: 3 packages"]);
    // What was asked for before is there at once.
    tree.millwright(&["rebuild", "steps"]).exits(0).says(&["identical", "steps"]);
    assert_eq!(tree.records()["steps"].generated, records["steps"].generated);
}

#[test]
fn what_another_spec_provides_is_built_first() {
    let Some(tree) = Tree::new("generated-tree") else { return };
    // By name it would come first, and nothing but the build tells what it needs.
    tree.spec(&Spec::data("aaa").generate("echo 'zzz >= 1.0'").build("cat /usr/share/zzz/text"));
    tree.spec(&Spec::data("bbb").needs("aaa"));
    tree.spec(&Spec::data("zzz"));
    let ended = tree.millwright(&["build", "-j", "1"]);
    ended.exits(0).says(&["postponed  aaa", "asks for `zzz >= 1.0`", "round  2: 2 to build", "3 built"]);
    assert_eq!(from_tree(&tree, "aaa"), ["zzz"]);
    assert_eq!(tree.records()["aaa"].generated, requirements(&["zzz >= 1.0"]));
    tree.millwright(&["build"]).exits(0).says(&["nothing to do: 3 packages"]);
    // The record tells the next graph: a change of both is built in the right order, in one round.
    tree.spec(&Spec::data("zzz").version("2.0"));
    tree.spec(
        &Spec::data("aaa").version("2.0").generate("echo 'zzz >= 2.0'").build("cat /usr/share/zzz/text"),
    );
    let ended = tree.millwright(&["build", "-j", "1"]);
    ended.exits(0).says(&["2 built"]);
    assert!(!ended.text().contains("postponed"), "{}", ended.text());
    assert_eq!(tree.records()["aaa"].generated, requirements(&["zzz >= 2.0"]));
    // What it no longer asks for does not hinder it when it is gone.
    std::fs::remove_dir_all(tree.path("SPECS/zzz")).unwrap();
    tree.spec(&Spec::data("aaa").version("3.0").generate("true"));
    tree.millwright(&["build", "aaa"]).exits(0).says(&["1 built"]);
    assert_eq!(tree.records()["aaa"].generated, []);
}

#[test]
fn what_nothing_provides_is_named() {
    let Some(tree) = Tree::new("generated-nowhere") else { return };
    tree.spec(&Spec::data("aaa").generate("echo 'nowhere-to-be-found >= 3'"));
    tree.spec(&Spec::data("bbb"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&["nothing provides `nowhere-to-be-found >= 3`", "postponed  aaa"]);
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["bbb"]);
}

#[test]
fn what_never_settles_is_ended_with_what_changes() {
    let Some(tree) = Tree::new("generated-endless") else { return };
    // Asks for one thing where the other is there, and the other way round.
    let script = "if test -x /usr/bin/chrpath; then echo bc; else echo chrpath; fi";
    tree.spec(&Spec::data("aaa").generate(script));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&[
        "%generate_buildrequires does not settle: in round 10 it asks for `",
        "now, and no more for `",
    ]);
    assert!(tree.records().is_empty());
}

#[test]
fn a_failing_section_is_the_packages_fault() {
    let Some(tree) = Tree::new("generated-failing") else { return };
    tree.spec(&Spec::data("aaa").generate("echo 'error: no setup.py'  >&2; exit 3"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&["[package-failure]", "%generate_buildrequires failed", "error: no setup.py"]);
}
