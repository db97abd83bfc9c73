//! The choice of providers in words.

use grapher::{ProviderExplanation, ProviderRule};

use crate::fixture::graph;

fn explain(tree: &str, dependency: &str) -> ProviderExplanation {
    graph(tree).explain_provider(&dependency.parse().unwrap())
}

/// Checks an explanation line by line, the first line and indentation left out.
fn check(tree: &str, dependency: &str, expected: &[&str]) {
    let text = explain(tree, dependency).to_string();
    let lines: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
    assert_eq!(lines, expected, "{tree}");
}

#[test]
fn every_candidate_has_its_place_and_its_reason() {
    check(
        "spec a\nbr pkgconfig(z) >= 2
         spec z 2\npkg z-devel
         base z-devel-1\nprovides pkgconfig(z) = 1
         staging y-3\nprovides pkgconfig(z) = 3
         live x-3\nprovides pkgconfig(z) = 3
         core w-3\nprovides pkgconfig(z) = 3
         toolchain v-4\nprovides pkgconfig(z) = 4
         toolchain u-3\nprovides pkgconfig(z) = 3
         toolchain t-3\nprovides pkgconfig(z) = 3",
        "pkgconfig(z) >= 2",
        &[
            "z-devel-2-1.x86_64 (tree, it replaces the package of its name that provides it) provides `pkgconfig(z) = 2`; \
             chosen: by where it comes from and how surely it is known: the tree first",
            "y-0~deb.3-1.x86_64 (staging repository) provides `pkgconfig(z) = 3`; \
             not chosen: by where it comes from and how surely it is known: the tree first",
            "x-0~deb.3-1.x86_64 (live repository) provides `pkgconfig(z) = 3`; \
             not chosen: by where it comes from and how surely it is known: the tree first",
            "z-devel-0~deb.1-1.x86_64 (base repository) provides `pkgconfig(z) = 1`; refused: the version does not fit",
            "w-0~deb.3-1.x86_64 (toolchain, core) provides `pkgconfig(z) = 3`; \
             not chosen: by where it comes from and how surely it is known: the tree first",
            "v-0~deb.4-1.x86_64 (toolchain) provides `pkgconfig(z) = 4`; \
             not chosen: by where it comes from and how surely it is known: the tree first",
            "t-0~deb.3-1.x86_64 (toolchain) provides `pkgconfig(z) = 3`; \
             not chosen: by where it comes from and how surely it is known: the tree first",
            "u-0~deb.3-1.x86_64 (toolchain) provides `pkgconfig(z) = 3`; \
             not chosen: by where it comes from and how surely it is known: the tree first",
            "asked for by",
            "a requires `pkgconfig(z) >= 2`: z-devel-2-1.x86_64; by where it comes from and how surely it is known: the \
             tree first",
        ],
    );
}

#[test]
fn each_rule_is_named_where_it_decides() {
    let rule = |tree: &str, dependency: &str| {
        let explanation = explain(tree, dependency);
        let verdict = explanation.chosen().unwrap().verdict;
        match verdict {
            grapher::ProviderVerdict::Chosen { rule } => rule,
            other => panic!("{other}"),
        }
    };
    let v = "spec a\nbr v\n";
    assert_eq!(rule("spec a\nbr x\nspec x", "x"), ProviderRule::OnlyCandidate);
    assert_eq!(rule("spec a\nbr x\nspec b\npkg b\nprovides x\nspec x", "x"), ProviderRule::OwnName);
    let core = format!("{v}toolchain p-9\nprovides v\ncore q-1\nprovides v");
    assert_eq!(rule(&core, "v"), ProviderRule::Core);
    let newer = format!("{v}toolchain p-1\nprovides v\ntoolchain q-2\nprovides v");
    assert_eq!(rule(&newer, "v"), ProviderRule::HigherVersion);
    let equal = format!("{v}toolchain p-1\nprovides v\ntoolchain q-1\nprovides v");
    assert_eq!(rule(&equal, "v"), ProviderRule::NameOrder);
}

#[test]
fn who_gets_something_else_is_told_why() {
    let uses = |tree: &str, dependency: &str| -> Vec<String> {
        let explanation = explain(tree, dependency);
        let one = |used: &grapher::ProviderUse| {
            format!("{} {} {:?}", used.required_by, used.provider.package().name, used.rule)
        };
        explanation.uses.iter().map(one).collect()
    };
    // make itself gets the core's, others the tree's, but at run time the core's is enough.
    assert_eq!(
        uses("spec make\nbr make\ncore make-4\nspec a\nbr make\npkg a\nrequires make", "make"),
        ["a make Rank", "a-1-1.x86_64 make CoreAtRunTime", "make make NeverOwnBuild"]
    );
    assert_eq!(
        uses("spec a\nbr b\nspec b\nbr a\nbuilt 1\nhas b\nspec c\nbr b", "b"),
        ["a b CycleBroken", "c b OnlyCandidate"]
    );
    assert_eq!(
        uses("spec b\npkg b\nrequires plugin\npkg b-plugin\nprovides plugin\nspec c\npkg plugin", "plugin"),
        ["b-1-1.x86_64 b-plugin Sibling"]
    );
    assert_eq!(
        uses(
            "spec a\nbr (v without w)\nspec b\npkg b\nprovides v\nprovides w\ntoolchain c-1\nprovides v",
            "v"
        ),
        ["a c Expression"]
    );
    assert_eq!(uses("spec rust\nbr rust\nbuilt 1\nhas rust", "rust"), ["rust rust NeverOwnBuild"]);
}

#[test]
fn what_is_not_served_and_what_nobody_asks_for_is_told() {
    check(
        "spec a\nbr gone",
        "gone",
        &["nothing provides it", "not served", "a requires `gone`: nothing provides `gone`"],
    );
    check("spec a\nspec z", "z", &["nothing in the tree asks for it"]);
    let tree = crate::fixture::Tree::parse("spec a\nspec z");
    let graph = tree.graph_that_answers(&["z"]);
    let explanation = graph.explain_provider(&"z".parse().unwrap());
    assert_eq!(explanation.chosen().unwrap().package.name, "z");
    let json = serde_json::to_string(&explanation).unwrap();
    assert_eq!(serde_json::from_str::<ProviderExplanation>(&json).unwrap(), explanation);
}
