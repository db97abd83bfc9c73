//! Which package serves a requirement.

use crate::fixture::{graph, steps};

/// Checks who serves the build requirements of spec `a`, as `package origin-or-knowledge` each.
fn check(tree: &str, expected: &[&str]) {
    let graph = graph(tree);
    let written: Vec<String> = graph
        .providers("a")
        .iter()
        .map(|(_, provider)| match provider {
            grapher::Provider::Tree { package, knowledge, .. } => format!("{} {knowledge:?}", package.name),
            grapher::Provider::External { package, origin } => format!("{} {origin:?}", package.name),
        })
        .collect();
    assert_eq!(written, expected, "{tree}\n{:?}", graph.unresolvable());
}

#[test]
fn the_tree_comes_first_then_live_base_toolchain() {
    let external = "toolchain x-3\nbase x-4\nlive x-2";
    check(&format!("spec a\nbr x\n{external}\nspec x"), &["x Declared"]);
    check(&format!("spec a\nbr x\n{external}"), &["x Live"]);
    check(&format!("spec a\nbr x > 2\n{external}"), &["x Base"]);
    check(&format!("spec a\nbr x < 4\nbr x > 2\n{external}"), &["x Live", "x Base"]);
    check(&format!("spec a\nbr x = 3\nspec x 5\n{external}"), &["x Toolchain"]);
}

#[test]
fn a_record_says_what_generators_added() {
    let tree = "spec a\nbr pkgconfig(z) >= 2\nspec z 2\npkg z-devel\nbuilt 1\nhas z-devel\nprovides pkgconfig(z) = 1";
    check(tree, &["z-devel Recorded"]);
}

#[test]
fn a_new_package_takes_over_from_the_one_it_replaces() {
    let toolchain =
        "toolchain z-devel-1\nprovides pkgconfig(z) = 1\nprovides other = 7\nfile /usr/include/z.h";
    check(&format!("spec a\nbr pkgconfig(z)\n{toolchain}"), &["z-devel Toolchain"]);
    let tree = format!("spec z 2\npkg z-devel\n{toolchain}");
    check(&format!("spec a\nbr pkgconfig(z) >= 2\n{tree}"), &["z-devel Replaced"]);
    check(&format!("spec a\nbr other = 7\n{tree}"), &["z-devel Replaced"]);
    check(&format!("spec a\nbr /usr/include/z.h\n{tree}"), &["z-devel Replaced"]);
    // The tree has 2 only.
    check(&format!("spec a\nbr pkgconfig(z) < 2\n{tree}"), &["z-devel Toolchain"]);
    // Once built, the record decides, and it does not provide it.
    check(
        &format!("spec a\nbr pkgconfig(z)\n{toolchain}\nspec z 2\npkg z-devel\nbuilt 2\nhas z-devel"),
        &["z-devel Toolchain"],
    );
}

#[test]
fn files_that_a_spec_lists_by_path_are_declared() {
    let check = |listed: &str, expected: &[&str]| {
        check(&format!("spec a\nbr /usr/bin/odd\nspec z\npkg z\n{listed}"), expected);
    };
    check("file /usr/bin/odd", &["z Declared"]);
    check("file %ghost /usr/bin/odd", &["z Declared"]);
    // Only the build shows what a pattern or a directory matches.
    check("file /usr/bin/*", &[]);
    check("file /usr/bin", &[]);
    check("file %exclude /usr/bin/odd", &[]);
    check("file /usr/bin/odd\nfile %exclude /usr/bin/odd", &[]);
}

#[test]
fn names_suggest_providers_only_where_nothing_better_is_known() {
    check("spec a\nbr pkgconfig(libz)\nspec z\npkg z-devel", &["z-devel Suggested"]);
    // The likelier name first, although another comes before it.
    check("spec a\nbr pkgconfig(z)\nspec z\npkg z\npkg z-devel", &["z-devel Suggested"]);
    // Also where the package it replaces does not provide it (Debian's bzip2 has no bzip2.pc, ours has).
    check("spec a\nbr pkgconfig(z)\nspec z\npkg z-devel\ntoolchain z-devel-1", &["z-devel Suggested"]);
    check("spec a\nbr pkgconfig(z)\nspec z\npkg z-devel\nbuilt 1\nhas z-devel", &[]);
    check("spec a\nbr pkgconfig(libz)\nspec z\npkg z-devel\nbase q-1\nprovides pkgconfig(libz)", &["q Base"]);
}

#[test]
fn the_package_of_the_name_is_preferred_then_the_core_then_the_newest() {
    check("spec a\nbr x\nspec b\npkg b\nprovides x\nspec x", &["x Declared"]);
    check("spec a\nbr v\ntoolchain p-9\nprovides v\ncore q-1\nprovides v", &["q Toolchain"]);
    check("spec a\nbr v\ntoolchain p-1\nprovides v\ntoolchain q-2\nprovides v", &["q Toolchain"]);
}

#[test]
fn boolean_requirements_are_evaluated() {
    let check = |requirement: &str, rest: &str, expected: &[&str]| {
        check(&format!("spec a\nbr {requirement}\n{rest}"), expected);
    };
    check("(x and y)", "spec x\ntoolchain y-1", &["x Declared", "y Toolchain"]);
    check("(none or y)", "toolchain y-1", &["y Toolchain"]);
    check("(x or y)", "toolchain x-1\nspec y", &["y Declared"]);
    check("(x or y)", "toolchain x-1\ntoolchain y-2", &["x Toolchain"]);
    check("(x with v)", "toolchain x-9\nspec b\npkg b\nprovides x\nprovides v", &["b Declared"]);
    check(
        "(v without w)",
        "spec b\npkg b\nprovides v\nprovides w\ntoolchain c-1\nprovides v",
        &["c Toolchain"],
    );
    check("(x if sh)", "core sh-1\nspec x", &["x Declared"]);
    check("(x if sh)", "toolchain sh-1\nspec x", &[]);
    check("(x if sh else y)", "toolchain sh-1\ntoolchain y-1", &["y Toolchain"]);
    check("(x if y)", "br y\nspec x\nspec y", &["y Declared", "x Declared"]);
    check("(x unless sh)", "core sh-1\ntoolchain x-1", &[]);
    check("(x unless sh)", "toolchain sh-1\ntoolchain x-1", &["x Toolchain"]);
    check("(x unless sh else y)", "core sh-1\ntoolchain x-1\ntoolchain y-1", &["y Toolchain"]);
}

#[test]
fn expressions_that_no_package_satisfies_are_told() {
    let graph = graph("spec a\nbr (x with y)\nspec x\nspec y\nspec b\nbr (none or nowhere)");
    let texts: Vec<String> = graph.unresolvable().iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "a requires `(x with y)`: no single package satisfies all parts of the expression",
            "b requires `(none or nowhere)`: nothing provides `none`",
        ]
    );
}

#[test]
fn a_package_prefers_its_siblings() {
    let tree =
        "spec a\nbr b\nspec b\npkg b\nrequires plugin\npkg b-plugin\nprovides plugin\nspec c\npkg plugin";
    assert_eq!(steps(&graph(tree)), ["0 b:", "0 c:", "1 a: b"]);
}

#[test]
fn recorded_requirements_count_where_they_can_be_served() {
    let tree = "spec a\nbr b\nspec b\nbuilt 1\nhas b\nrequires libc.so.6\nrequires libgone.so.1\nspec c\npkg c\nprovides libc.so.6";
    let graph = graph(tree);
    assert_eq!(steps(&graph), ["0 b:", "0 c:", "1 a: b c"]);
    assert!(graph.unresolvable().is_empty());
}
