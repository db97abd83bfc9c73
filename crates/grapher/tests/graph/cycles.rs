//! Cycles: merged, broken or reported.

use crate::fixture::{Tree, graph, obstacles, steps};

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

/// The cycles of a tree and what is done about each: `rule at spec: specs of the cycle`.
fn resolved(tree: &Tree) -> Vec<String> {
    let graph = tree.graph();
    let one = |cycle: &grapher::ResolvedCycle| {
        let at = cycle.at.as_deref().unwrap_or("-");
        format!("{:?} at {at}: {}", cycle.rule, cycle.cycle.specs.join(" "))
    };
    graph.cycle_report().cycles.iter().map(one).collect()
}

#[test]
fn every_cycle_is_told_with_its_rule() {
    let check = |tree: &str, expected: &[&str]| assert_eq!(resolved(&Tree::parse(tree)), expected, "{tree}");
    check("spec make\nbr make\ncore make-4", &["ItselfFromOutside at make: make"]);
    check("spec rust\nbr rust\nbuilt 1\nhas rust", &["ItselfFromLastBuild at rust: rust"]);
    check("spec rust\nbr rust", &["Unbroken at -: rust"]);
    let two = "spec a\nbr b\nspec b\nbr a\n";
    check(two, &["Unbroken at -: a b"]);
    check(&format!("{two}core b-1"), &["FromCore at a: a b"]);
    check(&format!("{two}toolchain b-1"), &["FromToolchain at a: a b"]);
    check(&format!("{two}base b-1"), &["FromBase at a: a b"]);
    check(&format!("{two}live b-1"), &["OlderPublished at a: a b"]);
    check(&format!("{two}staging b-1"), &["OlderPublished at a: a b"]);
    check(&format!("{two}built 1\nhas b"), &["FromLastBuild at a: a b"]);
    check("spec a\nbr pkgconfig(b)\nspec b\nbr a\npkg b-devel", &["SuggestionDropped at a: a b"]);
}

#[test]
fn knots_and_harmless_cycles_are_told() {
    let graph = graph(
        "spec a\nbr b\nspec b\nbr c\nspec c\nbr a\nbr b\ntoolchain a-1\ntoolchain c-1
         spec x\npkg x\nrequires x-libs\npkg x-libs\nrequires x
         spec y\npkg y\nrequires z\nspec z\npkg z\nrequires w\nspec w\npkg w\nrequires y",
    );
    let report = graph.cycle_report();
    let knots: Vec<String> = report.knots.iter().map(ToString::to_string).collect();
    assert_eq!(knots, ["3 specs, 3 packages, 4 requirements: a b c"]);
    let run_time: Vec<String> = report.run_time.iter().map(ToString::to_string).collect();
    assert_eq!(
        run_time,
        [
            "x-1-1.x86_64 x-libs-1-1.x86_64: merged: one build yields them all; x-1-1.x86_64 requires `x-libs` \
             (x-libs-1-1.x86_64); x-libs-1-1.x86_64 requires `x` (x-1-1.x86_64)",
            "w-1-1.x86_64 y-1-1.x86_64 z-1-1.x86_64: no cycle of builds: the packages are installed together; \
             w-1-1.x86_64 requires `y` (y-1-1.x86_64); y-1-1.x86_64 requires `z` (z-1-1.x86_64); \
             z-1-1.x86_64 requires `w` (w-1-1.x86_64)",
        ]
    );
}

#[test]
fn who_was_built_with_something_older_is_due_again() {
    let passes = |tree: &str| -> Vec<String> {
        graph(tree).cycle_report().second_passes.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        passes(
            "spec a\nbr b\nbr b-devel\nspec b\nbr a\npkg b\npkg b-devel\ntoolchain b-1\ntoolchain b-devel-1"
        ),
        [
            "a is due once more after b: `b` from b-0~deb.1-1.x86_64 (toolchain) instead of b-1-1.x86_64; `b-devel` from \
          b-devel-0~deb.1-1.x86_64 (toolchain) instead of b-devel-1-1.x86_64"
        ]
    );
    // Its own next build has what this one yields.
    assert!(passes("spec make\nbr make\ncore make-4").is_empty());
}

#[test]
fn cycles_that_only_tests_make_are_told_as_such() {
    let mut tree = Tree::parse("spec a\ncr b\nspec b\nbr a\nspec c\nbr d\nspec d\nbr c");
    assert_eq!(resolved(&tree), ["Unbroken at -: c d"]);
    tree.run_check = true;
    let texts: Vec<String> = tree.graph().cycles().iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "a requires `b` (b-1-1.x86_64); b requires `a` (a-1-1.x86_64) (only because of tests: it is gone when a is \
             built without %check)",
            "c requires `d` (d-1-1.x86_64); d requires `c` (c-1-1.x86_64)",
        ]
    );
}
