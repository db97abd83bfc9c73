//! The whole-tree report: root causes, what they block, and how it reads.

use std::collections::BTreeSet;

use grapher::{Cause, Style, TreeReport, report_text};

use crate::fixture::graph;

fn report(tree: &str) -> TreeReport {
    let graph = graph(tree);
    let mut goals: BTreeSet<String> = graph.specs().map(str::to_owned).collect();
    goals.extend(tree.lines().filter_map(|line| line.trim().strip_prefix("bad ")).map(str::to_owned));
    graph.report(&goals)
}

/// The report's text at 80 columns.
fn check(tree: &str, expected: &str) {
    let text = report_text(&report(tree), &Style { width: 80, whole: false });
    assert_eq!(text, expected, "\n{text}\n");
}

/// Each cause in short: how many it blocks, how many of them alone, what it is.
fn causes(tree: &str) -> Vec<String> {
    let line = |root: &grapher::RootCause<Cause>| {
        format!("{} {} {}: {}", root.blocks.len(), root.blocks_alone, root.cause, root.blocks.join(" "))
    };
    report(tree).causes.iter().map(line).collect()
}

const LIBRARIES: &str = "spec app
    br lib-devel
    br tool
    spec lib
    br nowhere-devel >= 2
    pkg lib-devel
    spec tool
    br nowhere-devel
    spec viewer
    br app
    spec good
    core make-4";

#[test]
fn a_root_cause_is_told_once_with_all_that_it_blocks() {
    check(
        LIBRARIES,
        "1 of 5 specs can be built, 4 blocked by 1 cause

blocked, by what blocks most:
    4  nothing provides `nowhere-devel`
       stated by lib, tool as `nowhere-devel`, `nowhere-devel >= 2`
       blocks app, lib, tool, viewer

unresolvable: 2 requirements, hindering builds: 2
  nothing provides it (2):
    `nowhere-devel` for building tool
    `nowhere-devel >= 2` for building lib",
    );
}

#[test]
fn what_is_blocked_twice_is_no_ones_alone() {
    assert_eq!(
        causes("spec a\nbr x\nspec b\nbr a\nbr y\nspec c\nbr b\nspec d\nbr y"),
        ["3 1 nothing provides `x`: a b c", "3 1 nothing provides `y`: b c d",]
    );
}

#[test]
fn a_run_time_requirement_is_told_with_the_way_to_it() {
    check(
        "spec app\nbr lib-devel\nspec lib\npkg lib-devel\nrequires lib = 1-1\npkg lib\nrequires nowhere",
        "1 of 2 specs can be built, 1 blocked by 1 cause

blocked, by what blocks most:
    1  nothing provides `nowhere`
       stated by lib-1-1.x86_64; app requires `lib-devel`
       (lib-devel-1-1.x86_64); lib-devel-1-1.x86_64 requires `lib = 1-1`
       (lib-1-1.x86_64)
       blocks app

unresolvable: 1 requirement, hindering builds: 1
  nothing provides it (1):
    `nowhere` by lib-1-1.x86_64",
    );
}

#[test]
fn what_a_build_will_show_is_not_blocked_but_waiting() {
    check(
        "spec app\nbr pkgconfig(odd-name) >= 2\nspec viewer\nbr app\nbr /usr/bin/nothing-else\nspec lib\nbr nowhere",
        "0 of 3 specs can be built, 1 blocked by 1 cause, 2 wait for what builds will
provide

blocked, by what blocks most:
    1  nothing provides `nowhere`
       blocks lib

waiting, by what most wait for:
    2  nothing is known to provide `pkgconfig(odd-name)`; a package that was
       never built may turn out to
       stated by app as `pkgconfig(odd-name) >= 2`
       blocks app, viewer; 1 by nothing else
    1  nothing is known to provide `/usr/bin/nothing-else`; a package that was
       never built may turn out to
       blocks viewer; all of these by others too

unresolvable: 3 requirements, hindering builds: 3
  nothing provides it (1):
    `nowhere` for building lib
  open until a package that was never built shows what it provides (2):
    `pkgconfig(odd-name) >= 2` for building app
    `/usr/bin/nothing-else` for building viewer",
    );
}

#[test]
fn bad_specs_other_architectures_and_cycles_are_causes() {
    check(
        "spec app
         br broken-devel
         br foreign
         spec foreign
         arch riscv64
         bad broken
         spec hen
         br egg
         spec egg
         br hen
         spec made
         br made
         toolchain made-1
         spec version
         br made >= 7",
        "1 of 6 specs can be built, 5 blocked by 4 causes; not for x86_64: 1

blocked, by what blocks most:
    2  the spec of `broken` cannot be read: broken.spec: line 1: broken
       stated by app, broken as `broken-devel`
       blocks app, broken; 1 by nothing else
    2  build cycle that no older package breaks: egg requires `hen`
       (hen-1-1.x86_64); hen requires `egg` (egg-1-1.x86_64)
       blocks egg, hen
    1  `foreign` is not for x86_64
       blocks app; all of these by others too
    1  `made >= 7`: no version fits: made-0~deb.1-1.x86_64 (toolchain) provides
       made = 1, made-1-1.x86_64 (tree) provides made = 1, made-1-1.x86_64
       (tree) provides made = 1-1
       blocks version

unresolvable: 3 requirements, hindering builds: 3
  provided in other versions only (1):
    `made >= 7` for building version; there is: made-0~deb.1-1.x86_64
    (toolchain) provides made = 1, made-1-1.x86_64 (tree) provides made = 1,
    made-1-1.x86_64 (tree) provides made = 1-1
  its spec cannot be read (1):
    `broken-devel` for building app; the spec is `broken`
  its spec is not for this architecture (1):
    `foreign` for building app; the spec is `foreign`

cycles broken with older packages: 1
  made is built with made-0~deb.1-1.x86_64 (toolchain); it needs itself",
    );
}

#[test]
fn long_lists_are_cut_and_say_so() {
    let mut tree = String::new();
    for number in 0..30 {
        tree.push_str(&format!("spec s{number:02}\nbr absent-{number:02}\nbr common\n"));
    }
    let text = report_text(&report(&tree), &Style { width: 200, whole: false });
    assert!(
        text.contains("blocks s00, s01, s02, s03, s04, s05 and 24 more; all of these by others too"),
        "{text}"
    );
    assert!(text.contains("  ... and 21 more causes (--all shows all)"), "{text}");
    let whole = report_text(&report(&tree), &Style { width: 200, whole: true });
    assert!(!whole.contains(" more"), "{whole}");
    assert!(whole.contains("s29"), "{whole}");
}

#[test]
fn dependants_are_counted_through_others() {
    let graph = graph("spec a\nspec b\nbr a\nspec c\nbr b\nspec d\nbr b\nbr a\nspec e");
    let counts = graph.dependants(&BTreeSet::from(["a", "b", "c", "e"]));
    let counts: Vec<(&str, usize)> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(counts, [("a", 3), ("b", 2), ("c", 0), ("e", 0)]);
}

#[test]
fn the_document_keeps_its_shape() {
    let json = serde_json::to_value(report(LIBRARIES)).unwrap();
    let expected = serde_json::json!({
        "schema": 1,
        "arch": "x86_64",
        "specs": 5,
        "blocked": 4,
        "waiting": 0,
        "causes": [{
            "cause": "unresolvable",
            "requirement": "nowhere-devel",
            "reason": "nothing-provides",
            "name": "nowhere-devel",
            "stated_by": ["lib", "tool"],
            "written": ["nowhere-devel", "nowhere-devel >= 2"],
            "blocks": ["app", "lib", "tool", "viewer"],
            "blocks_alone": 4,
        }],
        "unresolvable": [
            {"requirement": "nowhere-devel", "reason": "nothing-provides", "name": "nowhere-devel", "open": false,
             "builds": ["tool"], "packages": [], "blocks": 4},
            {"requirement": "nowhere-devel >= 2", "reason": "nothing-provides", "name": "nowhere-devel", "open": false,
             "builds": ["lib"], "packages": [], "blocks": 4},
        ],
        "breaks": [],
        "excluded": 0,
    });
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_value::<TreeReport>(json).unwrap(), report(LIBRARIES));
}
