//! Cycles: merged, broken or reported.

use crate::fixture::{graph, obstacles, steps};

/// Checks the breaks of a tree, as `spec: requirement -> used package (origin)`.
fn check(tree: &str, breaks: &[&str], order: &[&str]) {
    let graph = graph(tree);
    let written: Vec<String> = graph
        .breaks()
        .iter()
        .map(|b| format!("{}: {} -> {} ({:?})", b.spec, b.requirement, b.used, b.origin))
        .collect();
    assert_eq!(written, breaks, "{tree}");
    assert_eq!(steps(&graph), order, "{tree}");
    assert!(graph.cycles().is_empty(), "{:?}", graph.cycles());
}

#[test]
fn a_spec_that_needs_itself_uses_the_toolchain() {
    check(
        "spec make\nbr make\ncore make-4",
        &["make: make -> make-0~deb.4-1.x86_64 (Toolchain)"],
        &["0 make:"],
    );
    // Ours is newer than what the requirement asks, the toolchain's is not.
    check(
        "spec make 9\nbr make >= 8\ncore make-4\nbuilt 8\nhas make",
        &["make: make >= 8 -> make-8-1.x86_64 (Tree)"],
        &["0 make:"],
    );
}

#[test]
fn a_spec_that_needs_itself_and_has_no_older_self_is_told() {
    let graph = graph("spec rust\nbr rust\nspec app\nbr rust");
    assert_eq!(
        obstacles(&graph, "rust"),
        ["build cycle that no older package breaks: rust requires `rust` (rust-1-1.x86_64)"]
    );
    assert_eq!(
        obstacles(&graph, "app"),
        ["`rust` cannot be built, and app requires `rust` (rust-1-1.x86_64)"]
    );
}

#[test]
fn packages_that_need_one_another_at_run_time_are_no_cycle() {
    check(
        "spec a\npkg a\nrequires b\nspec b\npkg b\nrequires a\nspec app\nbr a",
        &[],
        &["0 a:", "0 b:", "1 app: a b"],
    );
}

#[test]
fn builds_that_need_one_another_use_what_is_there() {
    // Both can be broken; the core package is the better choice although `make` comes later by name.
    check(
        "spec gettext\nbr make\nspec make\nbr gettext\ncore make-4\ntoolchain gettext-1",
        &["gettext: make -> make-0~deb.4-1.x86_64 (Toolchain)"],
        &["0 gettext:", "1 make: gettext"],
    );
    check(
        "spec a\nbr b\nspec b\nbr a\nbuilt 1\nhas b",
        &["a: b -> b-1-1.x86_64 (Tree)"],
        &["0 a:", "1 b: a"],
    );
}

#[test]
fn every_requirement_that_leads_into_the_cycle_is_replaced() {
    check(
        "spec a\nbr b\nbr b-devel\nspec b\nbr a\npkg b\npkg b-devel\nrequires b\ntoolchain b-1\ntoolchain b-devel-1",
        &["a: b -> b-0~deb.1-1.x86_64 (Toolchain)", "a: b-devel -> b-devel-0~deb.1-1.x86_64 (Toolchain)"],
        &["0 a:", "1 b: a"],
    );
}

#[test]
fn a_cycle_through_run_time_requirements_is_a_cycle() {
    // Building perl needs perl-Test, which at run time needs perl.
    check(
        "spec perl\nbr perl-Test\nspec perl-Test\npkg perl-Test\nrequires perl\ntoolchain perl-Test-1",
        &["perl: perl-Test -> perl-Test-0~deb.1-1.x86_64 (Toolchain)"],
        &["0 perl:", "0 perl-Test:"],
    );
}

#[test]
fn the_shortest_cycle_is_shown_with_its_requirements() {
    let graph = graph(
        "spec a\nbr b >= 1\nspec b\nbr c\nbr d\nspec c\nbr a\nspec d\nbr e\nspec e\nbr b\nspec app\nbr a",
    );
    let cycles: Vec<String> = graph.cycles().iter().map(ToString::to_string).collect();
    assert_eq!(
        cycles,
        [
            "a requires `b >= 1` (b-1-1.x86_64); b requires `c` (c-1-1.x86_64); c requires `a` (a-1-1.x86_64)",
            "b requires `d` (d-1-1.x86_64); d requires `e` (e-1-1.x86_64); e requires `b` (b-1-1.x86_64)",
        ]
    );
    assert!(obstacles(&graph, "app")[0].starts_with("`a` cannot be built"));
    assert!(obstacles(&graph, "d")[0].starts_with("build cycle"));
}

#[test]
fn a_suggested_provider_never_makes_a_cycle() {
    let graph = graph("spec a\nbr pkgconfig(b)\nspec b\nbr a\npkg b-devel");
    assert_eq!(steps(&graph), ["0 a:", "1 b: a"]);
    assert_eq!((graph.cycles().len(), graph.breaks().len(), graph.open().len()), (0, 0, 1));
}

#[test]
fn knots_are_untied_one_by_one() {
    check(
        "spec a\nbr b\nspec b\nbr a\nspec c\nbr d\nbr a\nspec d\nbr c\ncore a-1\ncore d-1",
        &["b: a -> a-0~deb.1-1.x86_64 (Toolchain)", "c: d -> d-0~deb.1-1.x86_64 (Toolchain)"],
        &["0 b:", "1 a: b", "2 c: a", "3 d: c"],
    );
}

#[test]
fn a_large_knot_is_untied_at_the_spec_that_most_others_need() {
    // A hundred specs need the compiler, which needs three of them; only these are replaced.
    let mut tree = String::from("spec cc\nbr s7\nbr s8\nbr s9\n");
    for index in 0..100 {
        tree += &format!("spec s{index}\nbr cc\ntoolchain s{index}-1\n");
        tree += &if index > 0 { format!("br s{}\n", index - 1) } else { String::new() };
    }
    let graph = graph(&tree);
    let breaks: Vec<String> = graph
        .breaks()
        .iter()
        .map(|b| format!("{}: {}, {}", b.spec, b.used.name, b.cycle.specs.join(" ")))
        .collect();
    assert_eq!(breaks, ["cc: s7, cc s7", "cc: s8, cc s8", "cc: s9, cc s9"]);
    assert!(graph.cycles().is_empty());
    assert_eq!(steps(&graph)[0], "0 cc:");
}
