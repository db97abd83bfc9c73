//! Properties that hold for every tree.

use std::collections::{BTreeSet, HashMap};

use grapher::{DependencyGraph, GoalRequest, NodeStates, Obstacle, Unresolvable, UnresolvedReason};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use crate::fixture::Tree;

/// Lists whose order has a meaning of its own: chains, cycles, operands as written, the likeliest first.
const OWN_ORDER: [&str; 12] =
    ["chain", "near", "via", "links", "shortest", "specs", "and", "or", "with", "without", "if", "unless"];

/// What a line may ask for: names, versions, generated capabilities, paths; boolean expressions without conditions.
fn requirement() -> impl Strategy<Value = String> {
    let name = || 0usize..8;
    prop_oneof![
        4 => name().prop_map(|n| format!("s{n}")),
        2 => name().prop_map(|n| format!("s{n}-devel")),
        2 => (name(), select(vec!["<", "<=", "=", ">=", ">"]), 1usize..4).prop_map(|(n, op, v)| format!("s{n} {op} {v}")),
        1 => name().prop_map(|n| format!("pkgconfig(s{n})")),
        1 => (name(), 1usize..4).prop_map(|(n, v)| format!("pkgconfig(s{n}) >= {v}")),
        1 => name().prop_map(|n| format!("/usr/bin/s{n}")),
        1 => name().prop_map(|n| format!("cap{n}")),
        1 => (name(), name()).prop_map(|(a, b)| format!("(s{a} or cap{b})")),
        1 => (name(), name()).prop_map(|(a, b)| format!("(s{a} with cap{b})")),
        1 => (name(), name()).prop_map(|(a, b)| format!("(cap{a} without cap{b})")),
        1 => (name(), name()).prop_map(|(a, b)| format!("(s{a} and s{b}-devel)")),
    ]
}

/// The same and expressions with conditions.
fn any_requirement() -> impl Strategy<Value = String> {
    let conditional = (0usize..8, 0usize..8, select(vec!["if", "unless"]));
    prop_oneof![6 => requirement(), 1 => conditional.prop_map(|(a, b, word)| format!("(s{a} {word} cap{b})"))]
}

fn provide() -> impl Strategy<Value = String> {
    prop_oneof![
        (0usize..8, 1usize..4).prop_map(|(n, v)| format!("pkgconfig(s{n}) = {v}")),
        (0usize..8).prop_map(|n| format!("cap{n}")),
        (0usize..8).prop_map(|n| format!("/usr/bin/s{n}")),
    ]
}

fn lines(
    word: &'static str,
    line: impl Strategy<Value = String>,
    most: usize,
) -> impl Strategy<Value = String> {
    proptest::collection::vec(line, 0..=most)
        .prop_map(move |lines| lines.iter().map(|line| format!("{word} {line}\n")).collect())
}

fn external() -> impl Strategy<Value = String> {
    let origin = select(vec!["toolchain", "core", "base", "live", "staging"]);
    let ending = select(vec!["", "-devel", "-other"]);
    (origin, 0usize..10, ending, 1usize..4, lines("provides", provide(), 2), any::<bool>()).prop_map(
        |(origin, number, ending, version, provides, file)| {
            let file = if file { format!("file /usr/bin/s{number}\n") } else { String::new() };
            format!("{origin} s{number}{ending}-{version}\n{provides}{file}")
        },
    )
}

/// Trees of up to eight specs that require one another, packages from outside, recorded builds.
fn trees_of<R: Strategy<Value = String> + 'static>(requirement: fn() -> R) -> impl Strategy<Value = String> {
    let package = || (lines("provides", provide(), 2), lines("requires", requirement(), 2));
    let recorded = || (lines("provides", provide(), 2), lines("requires", requirement(), 2));
    let spec = (
        1usize..4,
        (lines("br", requirement(), 3), lines("cr", requirement(), 1)),
        (package(), package()),
        proptest::option::of((1usize..4, recorded(), recorded())),
    );
    let specs = proptest::collection::vec(spec, 1..8);
    let externals = proptest::collection::vec(external(), 0..8);
    (specs, externals).prop_map(|(specs, externals)| {
        let mut text = String::new();
        for (index, (version, (build, check), (first, second), built)) in specs.iter().enumerate() {
            text += &format!("spec s{index} {version}\n{build}{check}");
            text +=
                &format!("pkg s{index}\n{}{}pkg s{index}-devel\n{}{}", first.0, first.1, second.0, second.1);
            if let Some((version, first, second)) = built {
                text += &format!("built {version}\nhas s{index}\n{}{}", first.0, first.1);
                text += &format!("has s{index}-devel\n{}{}", second.0, second.1);
            }
        }
        text + &externals.concat()
    })
}

pub(crate) fn trees() -> impl Strategy<Value = String> {
    trees_of(|| any_requirement().boxed())
}

/// Puts a list into another order that follows from a seed.
fn shuffle<T>(list: &mut [T], seed: u64) {
    let mut state = seed | 1;
    for last in (1..list.len()).rev() {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        list.swap(last, (state >> 33) as usize % (last + 1));
    }
}

fn shuffled(tree: &Tree, seed: u64) -> Tree {
    let mut tree = tree.clone();
    shuffle(&mut tree.document.specs, seed);
    for spec in &mut tree.document.specs {
        shuffle(&mut spec.build_requires, seed);
        shuffle(&mut spec.check_requires, seed);
        shuffle(&mut spec.packages, seed);
        for package in &mut spec.packages {
            shuffle(&mut package.provides, seed);
            shuffle(&mut package.requires, seed);
        }
    }
    shuffle(&mut tree.externals, seed);
    for external in &mut tree.externals {
        shuffle(&mut external.provides, seed);
        shuffle(&mut external.files, seed);
    }
    shuffle(&mut tree.outputs, seed);
    for output in &mut tree.outputs {
        shuffle(&mut output.provides, seed);
        shuffle(&mut output.requires, seed);
    }
    tree
}

/// Everything that the graph says, as text.
fn told(graph: &DependencyGraph) -> String {
    let goals: BTreeSet<String> = graph.specs().map(str::to_owned).collect();
    let mut text = serde_json::to_string_pretty(&graph.document(&NodeStates::new(), &goals)).unwrap();
    for step in graph.order(&goals).steps {
        text += &format!("{} {} {:?} {:?}\n", step.level, step.spec, step.prerequisites(), step.obstacles());
        text += &format!("{:?}\n", graph.providers(&step.spec));
    }
    for name in (0..8).flat_map(|n| [format!("s{n}"), format!("cap{n}"), format!("pkgconfig(s{n}) >= 2")]) {
        text += &graph.explain_provider(&name.parse().unwrap()).to_string();
    }
    text
}

/// Who is not served: by whom, what.
fn unserved(findings: &[Unresolvable]) -> BTreeSet<(String, String)> {
    findings.iter().map(|finding| (finding.required_by.clone(), finding.requirement.to_string())).collect()
}

/// Checks that every list of texts is sorted and without repetition.
fn check_lists(value: &Value, key: &str) {
    match value {
        Value::Array(list) => {
            let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            if !OWN_ORDER.contains(&key) {
                assert!(texts.windows(2).all(|pair| pair[0] < pair[1]), "{key}: {list:?}");
            }
            list.iter().for_each(|item| check_lists(item, key));
        }
        Value::Object(map) => map.iter().for_each(|(key, value)| check_lists(value, key)),
        _ => {}
    }
}

fn is_sorted<T: Ord + std::fmt::Debug>(list: &[T]) {
    assert!(list.windows(2).all(|pair| pair[0] < pair[1]), "{list:#?}");
}

proptest! {
    #[test]
    fn the_order_of_the_input_does_not_matter(text in trees(), seed in any::<u64>(), run_check in any::<bool>()) {
        let tree = Tree { run_check, ..Tree::parse(&text) };
        prop_assert_eq!(told(&tree.graph()), told(&shuffled(&tree, seed).graph()));
    }

    #[test]
    fn what_nobody_wants_does_not_matter(text in trees()) {
        let tree = Tree::parse(&text);
        prop_assert_eq!(told(&tree.graph()), told(&tree.graph_of_what_matters()));
    }

    #[test]
    fn one_provider_more_makes_nothing_unresolvable(
        text in trees_of(|| requirement().boxed()),
        more in external(),
        spec in any::<bool>(),
        version in 1usize..4,
        provided in lines("provides", provide(), 2),
    ) {
        let more = if spec { format!("spec s9 {version}\npkg s9\n{provided}pkg s9-devel\n") } else { more };
        let (before, after) = (Tree::parse(&text).graph(), Tree::parse(&format!("{text}{more}")).graph());
        let unserved_before: BTreeSet<_> =
            unserved(before.unresolvable()).into_iter().chain(unserved(before.open())).collect();
        // What is not to be there beside the new package is named as such.
        let excludes = |finding: &&Unresolvable| matches!(finding.reason, UnresolvedReason::ExceptionHolds { .. });
        let after_without: Vec<Unresolvable> =
            after.unresolvable().iter().filter(|finding| !excludes(finding)).cloned().collect();
        let new: Vec<_> = unserved(&after_without).difference(&unserved_before).cloned().collect();
        prop_assert!(new.is_empty(), "{new:?}\n{text}\n{more}");
        // A guess by name that turns out to make a cycle is given up, so that it may be open again.
        let open: Vec<_> = unserved(after.open()).difference(&unserved_before).cloned().collect();
        for (_, requirement) in open {
            let explained = before.explain_provider(&requirement.parse().unwrap());
            prop_assert_eq!(explained.chosen().unwrap().rank, grapher::ProviderRank::Suggested);
        }
    }

    #[test]
    fn every_list_is_sorted(text in trees()) {
        let graph = Tree::parse(&text).graph();
        let document = graph.to_json(&NodeStates::new());
        check_lists(&serde_json::to_value(&document).unwrap(), "");
        is_sorted(&document.nodes.iter().map(|node| &node.node).collect::<Vec<_>>());
        is_sorted(&document.edges);
        document.obstacles.values().for_each(|obstacles| is_sorted(obstacles));
        is_sorted(&document.unresolvable);
        is_sorted(&document.open);
        is_sorted(&document.cycles);
        is_sorted(&document.breaks);
        is_sorted(&document.duplicates);
        let report = &document.cycle_report;
        is_sorted(&report.knots);
        is_sorted(&report.cycles);
        is_sorted(&report.run_time);
        is_sorted(&report.second_passes);
        report.knots.iter().for_each(|knot| is_sorted(&knot.specs));
        report.run_time.iter().for_each(|knot| is_sorted(&knot.specs));
        report.cycles.iter().for_each(|cycle| is_sorted(&cycle.replaced));
        report.second_passes.iter().for_each(|pass| is_sorted(&pass.because));
        let steps = graph.order(&graph.specs().map(str::to_owned).collect()).steps;
        is_sorted(&steps.iter().map(|step| (step.level, &step.spec)).collect::<Vec<_>>());
        for step in &steps {
            is_sorted(&step.needs().collect::<Vec<_>>());
            is_sorted(&step.prerequisites());
            is_sorted(&graph.providers(&step.spec));
            is_sorted(&graph.needed_by(&step.spec).collect::<Vec<_>>());
        }
    }

    #[test]
    fn prerequisites_come_first_and_every_spec_has_its_place(text in trees()) {
        let graph = Tree::parse(&text).graph();
        let goals = graph.select(&GoalRequest::default()).unwrap();
        let order = graph.order(&goals);
        prop_assert_eq!(order.steps.len(), goals.len());
        let places: HashMap<&str, usize> =
            order.steps.iter().enumerate().map(|(place, step)| (step.spec.as_str(), place)).collect();
        for step in &order.steps {
            prop_assert_eq!(step.is_hindered(), !step.obstacles().is_empty());
            let needs: Vec<String> = step.prerequisites().into_iter().map(|needed| needed.spec).collect();
            prop_assert_eq!(&needs, &step.needs().collect::<Vec<_>>());
            let hindered =
                step.obstacles().iter().any(|o| matches!(o, Obstacle::Cycle(_) | Obstacle::Blocked { .. }));
            for prerequisite in step.prerequisites() {
                prop_assert!(
                    hindered || places[prerequisite.spec.as_str()] < places[step.spec.as_str()],
                    "{} before {}\n{}", step.spec, prerequisite.spec, text
                );
                let first = &prerequisite.via[0];
                prop_assert_eq!(&first.from, &step.spec);
                for pair in prerequisite.via.windows(2) {
                    prop_assert_eq!(pair[0].to.to_string(), pair[1].from.clone());
                }
            }
        }
        for (requirement, _) in graph.specs().flat_map(|spec| graph.providers(spec)) {
            prop_assert!(text.contains(&requirement.to_string()));
        }
    }

    #[test]
    fn every_cycle_that_is_told_is_one(text in trees(), run_check in any::<bool>()) {
        let graph = Tree { run_check, ..Tree::parse(&text) }.graph();
        let report = graph.cycle_report();
        for cycle in &report.cycles {
            // Each step begins at what the step before it led to, or at the build that yields it.
            let links = &cycle.cycle.links;
            for (link, next) in links.iter().zip(links.iter().cycle().skip(1)) {
                let spec = graph.spec_of_package(&link.to.name);
                prop_assert!(next.from == link.to.to_string() || spec == Some(next.from.as_str()), "{cycle}\n{text}");
            }
        }
        for knot in &report.run_time {
            for (link, next) in knot.shortest.iter().zip(knot.shortest.iter().cycle().skip(1)) {
                prop_assert_eq!(link.to.to_string(), next.from.clone());
            }
            prop_assert!(knot.shortest.len() > 1 && knot.shortest.len() <= knot.packages.len());
        }
        prop_assert_eq!(graph.cycles().len(), report.cycles.iter().filter(|c| c.rule == grapher::CycleRule::Unbroken).count());
    }
}
