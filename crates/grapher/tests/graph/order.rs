//! Order, levels and what stands in the way.

use std::collections::BTreeSet;

use crate::fixture::{Tree, graph, obstacles, steps};

fn check(tree: &str, expected: &[&str]) {
    assert_eq!(steps(&graph(tree)), expected, "{tree}");
}

#[test]
fn builds_come_after_what_their_roots_need() {
    check(
        "spec jq
         br oniguruma-devel
         br make
         spec oniguruma
         br make
         pkg oniguruma
         pkg oniguruma-devel
         requires oniguruma = 1-1
         core make-4",
        &["0 oniguruma:", "1 jq: oniguruma"],
    );
}

#[test]
fn run_time_requirements_are_followed_among_packages_of_the_tree() {
    check(
        "spec nano
         br readline-devel
         spec readline
         pkg readline
         requires ncurses
         pkg readline-devel
         requires readline = 1-1
         spec ncurses
         pkg ncurses
         requires libc
         core libc-1",
        &["0 ncurses:", "0 readline:", "1 nano: ncurses readline"],
    );
}

#[test]
fn what_the_core_satisfies_at_run_time_brings_nothing_in() {
    // As found in the real tree: macros that every spec needs require grep, which the tree builds too.
    let tree = "spec macros\npkg macros\nrequires grep\nspec grep 4\nbr macros\nbr pcre\nspec pcre\nbr macros\ncore grep-3";
    check(tree, &["0 macros:", "1 pcre: macros", "2 grep: macros pcre"]);
    // A build requirement asks for the tree's, and so does a version that the core has not.
    check(
        &format!("{tree}\nspec app\nbr grep"),
        &["0 macros:", "1 pcre: macros", "2 grep: macros pcre", "3 app: grep"],
    );
    check(
        "spec app\nbr x\nspec x\npkg x\nrequires grep >= 4\nspec grep 4\ncore grep-3",
        &["0 grep:", "0 x:", "1 app: grep x"],
    );
}

#[test]
fn what_external_packages_need_does_not_come_first() {
    // The toolchain's cmake surely needs a zlib, but that is the toolchain's affair.
    check("spec app\nbr cmake\nspec zlib\ntoolchain cmake-3\ntoolchain zlib-1", &["0 app:", "0 zlib:"]);
}

#[test]
fn the_chain_of_a_prerequisite_is_told() {
    let graph = graph("spec a\nbr b-devel\nspec b\npkg b-devel\nrequires c >= 1\nspec c 2");
    let order = graph.order(&BTreeSet::from(["a".to_owned()]));
    let via: Vec<String> =
        order.step("a").unwrap().prerequisites()[1].via.iter().map(ToString::to_string).collect();
    assert_eq!(
        via,
        ["a requires `b-devel` (b-devel-1-1.x86_64)", "b-devel-1-1.x86_64 requires `c >= 1` (c-2-1.x86_64)"]
    );
    assert_eq!(order.levels(), [vec!["b", "c"], vec!["a"]]);
}

#[test]
fn check_requirements_count_when_tests_run() {
    let mut tree = Tree::parse("spec a\ncr tester\nspec tester\nspec b\nbr a");
    assert_eq!(steps(&tree.graph()), ["0 a:", "0 tester:", "1 b: a"]);
    tree.run_check = true;
    assert_eq!(steps(&tree.graph()), ["0 tester:", "1 a: tester", "2 b: a"]);
}

#[test]
fn closures_hold_all_that_may_enter_a_root() {
    let graph = graph("spec a\nbr b\nspec b\nbr c\nspec c\nbr d\nspec d\nspec e\nbr a");
    let order = graph.order(&BTreeSet::from(["b".to_owned()]));
    assert_eq!(order.closure("b").into_iter().collect::<Vec<_>>(), ["c", "d"]);
    assert_eq!(order.steps.len(), 3);
    assert_eq!(graph.needed_by("b").collect::<Vec<_>>(), ["a"]);
    assert_eq!(graph.depends_on("b").collect::<Vec<_>>(), ["c"]);
}

#[test]
fn what_nothing_provides_is_found_for_the_whole_tree() {
    let graph = graph(
        "spec a
         br b
         spec b
         pkg b
         requires zlib-devle
         spec c
         br a
         spec d
         br new > 5
         spec new 4
         spec e
         br broken-devel
         bad broken
         spec f
         br elsewhere-libs
         spec elsewhere
         arch aarch64
         pkg elsewhere-libs
         toolchain zlib-devel-1",
    );
    assert_eq!(
        obstacles(&graph, "a"),
        [
            "a requires `b` (b-1-1.x86_64); b-1-1.x86_64 requires `zlib-devle`: nothing provides `zlib-devle`; \
          similar: zlib-devel"
        ]
    );
    // Building b needs nothing; only installing it does.
    assert!(obstacles(&graph, "b").is_empty());
    assert_eq!(
        obstacles(&graph, "c").last().unwrap(),
        "`a` cannot be built, and c requires `a` (a-1-1.x86_64)"
    );
    assert_eq!(
        obstacles(&graph, "d"),
        ["d requires `new > 5`: no version fits: new-4-1.x86_64 (tree) provides new = 4-1"]
    );
    assert_eq!(
        obstacles(&graph, "e"),
        ["e requires `broken-devel`: `broken` should provide it, but its spec cannot be read"]
    );
    assert_eq!(
        obstacles(&graph, "f"),
        ["f requires `elsewhere-libs`: `elsewhere` provides it, but is not for this architecture"]
    );
    let found: Vec<&str> = graph.unresolvable().iter().map(|finding| finding.spec.as_str()).collect();
    assert_eq!(found, ["b", "d", "e", "f"]);
}

#[test]
fn generated_capabilities_stay_open_until_something_is_built() {
    let tree = "spec a\nbr pkgconfig(odd)\nspec b\n";
    let first = graph(tree);
    assert_eq!(first.open().len(), 1);
    assert!(obstacles(&first, "a")[0].contains("may turn out to provide it"));
    // Once everything was built there is no hope left.
    let later = graph(&format!("{tree}built 1\nhas b"));
    assert_eq!((later.open().len(), later.unresolvable().len()), (0, 1));
}
