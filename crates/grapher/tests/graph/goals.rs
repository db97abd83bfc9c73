//! Goals by the names of specs and packages.

use grapher::GoalRequest;

use crate::fixture::{Tree, graph};

const TREE: &str = "spec zlib\npkg zlib\npkg zlib-devel\nspec png\nbr zlib-devel\nspec viewer\nbr png\n\
                    spec other\nbad broken\nspec arm\narch aarch64";

fn check(names: &[&str], extra_layers: usize, expected: Result<&[&str], &str>) {
    let request = GoalRequest { names: names.iter().map(|name| (*name).to_owned()).collect(), extra_layers };
    let found = graph(TREE).select(&request);
    match expected {
        Ok(expected) => assert_eq!(found.unwrap().into_iter().collect::<Vec<_>>(), expected),
        Err(expected) => assert_eq!(found.unwrap_err().to_string(), expected),
    }
}

#[test]
fn goals_are_specs_or_packages() {
    check(&[], 0, Ok(&["other", "png", "viewer", "zlib"]));
    check(&["png"], 0, Ok(&["png"]));
    check(&["zlib-devel", "zlib"], 0, Ok(&["zlib"]));
}

#[test]
fn layers_of_dependants_are_added() {
    check(&["zlib"], 1, Ok(&["png", "zlib"]));
    check(&["zlib"], 2, Ok(&["png", "viewer", "zlib"]));
    check(&["zlib"], 9, Ok(&["png", "viewer", "zlib"]));
}

#[test]
fn every_wrong_name_is_told_with_a_hint() {
    check(
        &["zlip", "qqq", "broken", "arm", "png"],
        0,
        Err("no spec or package is called `qqq`\n\
             no spec or package is called `zlip`; did you mean zlib?\n\
             `broken` cannot be built: its spec cannot be read\n\
             `arm` cannot be built: it is not for x86_64"),
    );
}

#[test]
fn of_two_specs_of_one_name_one_counts_and_the_other_is_told() {
    let mut tree = Tree::parse("spec a 1\nspec a 2\nspec b 1\narch aarch64\nspec b 2");
    for (spec, path) in tree.document.specs.iter_mut().zip(["Y/a.spec", "X/a.spec", "X/b.spec", "Y/b.spec"]) {
        path.clone_into(&mut spec.spec_path);
    }
    let graph = tree.graph();
    let texts: Vec<String> = graph.duplicates().iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "two specs are called a: X/a.spec counts, Y/a.spec comes later by path and is passed over",
            "two specs are called b: Y/b.spec counts, X/b.spec is not for this architecture and is passed over",
        ]
    );
    assert_eq!(graph.specs().collect::<Vec<_>>(), ["a", "b"]);
}
