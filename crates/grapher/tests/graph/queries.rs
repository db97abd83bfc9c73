//! What a spec needs, who needs it, how two hang together, what a change sets off.

use grapher::{DependencyGraph, Explorer, Member, NodeStates, PathStep, Relations, Scope, SubGraph, Subject};
use proptest::prelude::*;

use crate::fixture::graph;
use crate::properties::trees;

/// `app` is built with `lib` and run with `data`; `lib` is built with `tool`; `top` is built with what `app`
/// needs at run time as well.
const TREE: &str = "
    spec app
    br lib-devel >= 1
    br (lib-devel or nothing)
    br gone
    pkg app
    requires data
    spec lib
    br tool
    br cc
    pkg lib
    pkg lib-devel
    requires lib = 1-1
    spec tool
    spec data
    br tool
    spec top
    br app
    spec alone
    core cc-4";

fn explore<T>(graph: &DependencyGraph, ask: impl Fn(&Explorer<'_>) -> T) -> T {
    let states = NodeStates::new();
    ask(&Explorer::new(graph, &states))
}

/// One line for each member: `level name (scope): reasons`.
fn lines(relations: &Relations) -> Vec<String> {
    let mut lines = Vec::new();
    for (level, relation) in
        relations.levels.iter().enumerate().flat_map(|(level, list)| list.iter().map(move |r| (level + 1, r)))
    {
        let scope = if relation.scope == Scope::Build { "" } else { " (run)" };
        let reason = |reason: &grapher::Reason| {
            let owner = reason.package.as_ref().map_or(&reason.dependent, |package| &package.name);
            format!("{owner} {}", reason.stated)
        };
        let reasons: Vec<String> = relation.reasons.iter().map(reason).collect();
        lines.push(format!("{level} {}{scope}: {}", relation.member.node_name(), reasons.join(", ")));
    }
    lines
}

fn node_names(graph: &SubGraph) -> Vec<String> {
    graph.nodes.iter().map(|node| format!("{} {}", node.level, node.name)).collect()
}

fn steps(steps: &[PathStep]) -> Vec<String> {
    let text = |node: &grapher::Node| match node {
        grapher::Node::Build { spec } => format!("build {spec}"),
        grapher::Node::Run { package, .. } => package.name.clone(),
        other => format!("{other:?}"),
    };
    let requirements = |step: &PathStep| {
        let all: Vec<String> = step.requirements.iter().map(ToString::to_string).collect();
        all.join(", ")
    };
    steps.iter().map(|s| format!("{} -> {} [{}]", text(&s.from), text(&s.to), requirements(s))).collect()
}

#[test]
fn what_a_spec_depends_on_is_told_by_level_with_every_requirement() {
    let graph = graph(TREE);
    let all = explore(&graph, |explorer| explorer.depends_on("app", None)).unwrap();
    assert_eq!(all.subject, Subject::Spec { spec: "app".to_owned() });
    assert_eq!(
        lines(&all),
        [
            "1 data (run): app Requires: data",
            "1 lib: app BuildRequires: lib-devel >= 1, app BuildRequires: (lib-devel or nothing)",
            "1 unresolved:gone: app BuildRequires: gone",
            "2 tool: data BuildRequires: tool, lib BuildRequires: tool",
            "2 toolchain:cc-0~deb.4-1.x86_64: lib BuildRequires: cc",
        ]
    );
    let direct = explore(&graph, |explorer| explorer.depends_on("app", Some(1))).unwrap();
    assert_eq!((direct.levels.len(), direct.specs_beyond), (1, 1));
    assert_eq!(direct.levels[0], all.levels[0]);
    let json = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<Relations>(&json).unwrap(), all);
}

#[test]
fn who_needs_a_spec_or_one_of_its_packages() {
    let graph = graph(TREE);
    let needed_by = |name| explore(&graph, |explorer| explorer.needed_by(name, None)).map(|all| lines(&all));
    assert_eq!(
        needed_by("tool").unwrap(),
        [
            "1 data: data BuildRequires: tool",
            "1 lib: lib BuildRequires: tool",
            "2 app: app BuildRequires: lib-devel >= 1, app BuildRequires: (lib-devel or nothing), app Requires: data",
            "3 top: top BuildRequires: app",
        ]
    );
    assert_eq!(
        needed_by("data").unwrap(),
        ["1 app (run): app Requires: data", "2 top: top BuildRequires: app"]
    );
    assert_eq!(needed_by("lib-devel").unwrap().len(), 2);
    assert!(needed_by("alone").unwrap().is_empty());
    let error = needed_by("lib-devle").unwrap_err();
    assert_eq!(error.to_string(), "no spec or package is called `lib-devle`; did you mean lib-devel?");
}

#[test]
fn the_shortest_path_carries_all_requirements_and_knows_the_other_direction() {
    let graph = graph(TREE);
    let path = |from, to| explore(&graph, |explorer| explorer.path(from, to)).unwrap();
    let found = path("top", "tool");
    assert_eq!(found.scope, Scope::Build);
    assert_eq!(
        steps(&found.steps.unwrap()),
        [
            "build top -> app [BuildRequires: app]",
            "app -> data [Requires: data]",
            "data -> build data []",
            "build data -> tool [BuildRequires: tool]",
        ]
    );
    let found = path("app", "lib");
    assert_eq!(
        steps(&found.steps.unwrap()),
        ["build app -> lib-devel [BuildRequires: lib-devel >= 1, BuildRequires: (lib-devel or nothing)]"]
    );
    assert_eq!(path("app", "data").scope, Scope::RunTime);
    let against = path("tool", "top");
    assert_eq!((against.steps, against.reverse.map(|steps| steps.len())), (None, Some(4)));
    let none = path("alone", "top");
    assert_eq!((none.steps, none.reverse), (None, None));
    let error = explore(&graph, |explorer| explorer.path("nix", "xin")).unwrap_err();
    assert_eq!(error.0.len(), 2);
}

#[test]
fn a_neighbourhood_has_both_sides_and_the_edges_among_them() {
    let graph = graph(TREE);
    let of = |names: &[&str], depth| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        explore(&graph, |explorer| explorer.neighbourhood(&names, depth)).unwrap()
    };
    let around = of(&["lib"], Some(1));
    assert_eq!(node_names(&around), ["-1 app", "0 lib", "1 tool", "1 toolchain:cc-0~deb.4-1.x86_64"]);
    let edges: Vec<String> =
        around.edges.iter().map(|edge| format!("{} -> {}", edge.from, edge.to)).collect();
    assert_eq!(edges, ["app -> lib", "lib -> tool", "lib -> toolchain:cc-0~deb.4-1.x86_64"]);
    assert_eq!(of(&["lib"], Some(0)).nodes.len(), 1);
    assert_eq!(of(&["lib", "top"], None).nodes.len(), 7);
    let json = serde_json::to_string(&around).unwrap();
    assert_eq!(serde_json::from_str::<SubGraph>(&json).unwrap(), around);
}

#[test]
fn the_impact_is_every_spec_with_something_of_it_in_its_root() {
    let graph = graph(TREE);
    let impact = explore(&graph, |explorer| explorer.impact("tool")).unwrap();
    assert_eq!(impact.layers, [vec!["data", "lib"], vec!["app", "top"]]);
    assert_eq!((impact.total, impact.of), (4, 6));
    let impact = explore(&graph, |explorer| explorer.impact("data")).unwrap();
    assert_eq!(impact.layers, [vec!["top"]]);
}

proptest! {
    /// Who is needed by whom is one relation, whichever end is asked, and levels are distances.
    #[test]
    fn both_directions_agree(text in trees()) {
        let graph = graph(&text);
        let states = NodeStates::new();
        let explorer = Explorer::new(&graph, &states);
        let spec_levels = |relations: &Relations| -> Vec<(String, usize)> {
            let levels = relations.levels.iter().enumerate();
            let specs = levels.flat_map(|(level, list)| list.iter().map(move |r| (level + 1, r)));
            specs.filter_map(|(level, relation)| match &relation.member {
                Member::Spec { spec } => Some((spec.clone(), level)),
                _ => None,
            }).collect()
        };
        for name in graph.specs() {
            let down = explorer.depends_on(name, None).unwrap();
            for relation in down.levels.iter().flatten() {
                prop_assert!(!relation.reasons.is_empty(), "{name}: {relation:?}\n{text}");
            }
            let found = spec_levels(&down);
            for (other, level) in &found {
                let up = spec_levels(&explorer.needed_by(other, None).unwrap());
                let back = up.iter().find(|(spec, _)| spec == name);
                // From all nodes of a spec a package may be nearer than the one that the other needs.
                prop_assert!(back.is_some_and(|(_, back)| back <= level), "{name} {other}\n{text}");
                let path = explorer.path(name, other).unwrap();
                prop_assert!(path.steps.is_some(), "{name} {other}\n{text}");
            }
            // The graph's own prerequisites are among those whose packages a build needs.
            for needed in graph.depends_on(name) {
                prop_assert!(found.iter().any(|(spec, _)| spec == needed), "{name} {needed}\n{text}");
            }
            if !graph.cycles().is_empty() {
                // What an unbroken cycle would order is no prerequisite, so it sets nothing off.
                continue;
            }
            let impact = explorer.impact(name).unwrap();
            let up = explorer.needed_by(name, None).unwrap();
            let rebuilt = up.levels.iter().flatten().filter(|r| r.scope == Scope::Build).count();
            prop_assert_eq!(impact.total, rebuilt, "{}\n{}", name, text);
        }
    }
}
