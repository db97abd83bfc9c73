//! Finds build cycles and breaks them with older packages.
//!
//! A cycle matters only if it goes through a build: packages that need one another at run time are installed
//! together. Every such cycle leaves a build by a build requirement, so that is where it is broken: the build
//! gets a package from outside the tree instead (core packages first, for they are in its root anyway), or
//! the last build of the tree's own. Packages from outside come before older builds of our own because they
//! change only on purpose; a build that used its own last result would change after each build.
//!
//! The shortest cycle is treated first, ties by name, until none is left. A cycle in which no build
//! requirement has an older provider stays, is reported, and hinders its specs only.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use petgraph::Direction;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;
use petgraph::stable_graph::{EdgeIndex, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::catalog::Who;
use crate::construct::{Construction, Key};
use crate::model::{BuildCycle, CycleBreak, Edge, EdgeKind, Knowledge, Link};

/// Breaks what can be broken; returns the edges of the cycles that remain, which order nothing.
pub(crate) fn break_cycles(construction: &mut Construction<'_>) -> HashSet<EdgeIndex> {
    let mut ignored = HashSet::new();
    let all: BTreeSet<NodeIndex> = construction.graph.node_indices().collect();
    let mut components = build_components(construction, &all, &ignored);
    while let Some(component) = components.pop() {
        let Some(cycle) = shortest_cycle(construction, &component, &ignored) else { continue };
        let described = describe(construction, &cycle);
        match weakest_step(construction, &cycle) {
            Some(step) => replace(construction, &step, &described),
            None => {
                ignored.extend(cycle.iter().flat_map(|step| step.build_requires.iter().copied()));
                construction.cycles.push(described);
            }
        }
        components.extend(build_components(construction, &component, &ignored));
    }
    ignored
}

/// One edge of a cycle, with all edges parallel to it that are build requirements.
struct Step {
    from: NodeIndex,
    to: NodeIndex,
    build_requires: Vec<EdgeIndex>,
}

/// An edge and what serves its requirement instead; `None` drops one that was only suggested.
type Instead = (EdgeIndex, Option<Who>);

/// What serves the build requirements of a step instead.
struct Replacement {
    from: NodeIndex,
    edges: Vec<Instead>,
}

/// Returns the strongly connected components with a build in them, the one with the first spec last.
fn build_components(
    construction: &Construction<'_>,
    within: &BTreeSet<NodeIndex>,
    ignored: &HashSet<EdgeIndex>,
) -> Vec<BTreeSet<NodeIndex>> {
    let mut part: DiGraph<NodeIndex, ()> = DiGraph::new();
    let places: HashMap<NodeIndex, _> = within.iter().map(|node| (*node, part.add_node(*node))).collect();
    for node in within {
        for edge in construction.graph.edges(*node).filter(|edge| !ignored.contains(&edge.id())) {
            if let Some(target) = places.get(&edge.target()) {
                part.add_edge(places[node], *target, ());
            }
        }
    }
    let is_build = |node: &NodeIndex| matches!(construction.keys[node], Key::Build(_));
    let mut components: Vec<BTreeSet<NodeIndex>> = kosaraju_scc(&part)
        .into_iter()
        .filter(|component| component.len() > 1)
        .map(|component| component.into_iter().map(|place| part[place]).collect())
        .filter(|component: &BTreeSet<NodeIndex>| component.iter().any(is_build))
        .collect();
    let first = |component: &BTreeSet<NodeIndex>| component.iter().map(|node| construction.keys[node]).min();
    components.sort_by_key(|component| std::cmp::Reverse(first(component)));
    components
}

/// Returns the steps of the shortest cycle through a build; of equals the one with the first spec.
fn shortest_cycle(
    construction: &Construction<'_>,
    component: &BTreeSet<NodeIndex>,
    ignored: &HashSet<EdgeIndex>,
) -> Option<Vec<Step>> {
    let mut builds: Vec<(Key, NodeIndex)> =
        component.iter().map(|node| (construction.keys[node], *node)).collect();
    builds.retain(|(key, _)| matches!(key, Key::Build(_)));
    builds.sort();
    let mut best: Option<Vec<NodeIndex>> = None;
    for (_, start) in builds {
        let limit = best.as_ref().map_or(usize::MAX, |best| best.len() - 1);
        if let Some(path) = cycle_through(construction, component, ignored, start, limit) {
            best = Some(path);
        }
        // Build, package, build, package: two specs; nothing is shorter.
        if best.as_ref().is_some_and(|best| best.len() <= 4) {
            break;
        }
    }
    let path = best?;
    let ends = path.iter().zip(path.iter().cycle().skip(1));
    let step = |(from, to): (&NodeIndex, &NodeIndex)| {
        let edges = construction.graph.edges_connecting(*from, *to);
        let mut build_requires: Vec<EdgeIndex> = edges
            .filter(|edge| edge.weight().kind == EdgeKind::BuildRequires && !ignored.contains(&edge.id()))
            .map(|edge| edge.id())
            .collect();
        build_requires.sort_by_key(|edge| construction.graph[*edge].clone());
        Step { from: *from, to: *to, build_requires }
    };
    Some(ends.map(step).collect())
}

/// Returns the nodes of the shortest cycle through `start` of at most `limit` nodes, beginning with it.
fn cycle_through(
    construction: &Construction<'_>,
    component: &BTreeSet<NodeIndex>,
    ignored: &HashSet<EdgeIndex>,
    start: NodeIndex,
    limit: usize,
) -> Option<Vec<NodeIndex>> {
    let mut parents: HashMap<NodeIndex, NodeIndex> = HashMap::new();
    let mut queue = VecDeque::from([(start, 1)]);
    while let Some((node, length)) = queue.pop_front() {
        if length > limit {
            return None;
        }
        let mut targets: Vec<(Key, NodeIndex)> = construction
            .graph
            .edges_directed(node, Direction::Outgoing)
            .filter(|edge| component.contains(&edge.target()) && !ignored.contains(&edge.id()))
            .map(|edge| (construction.keys[&edge.target()], edge.target()))
            .collect();
        targets.sort();
        for (_, target) in targets {
            if target == start {
                let mut path = vec![node];
                let mut last = node;
                while last != start {
                    last = parents[&last];
                    path.push(last);
                }
                path.reverse();
                return Some(path);
            }
            if let std::collections::hash_map::Entry::Vacant(entry) = parents.entry(target) {
                entry.insert(node);
                queue.push_back((target, length + 1));
            }
        }
    }
    None
}

/// Returns the step whose build requirements have the best older providers.
fn weakest_step(construction: &Construction<'_>, cycle: &[Step]) -> Option<Replacement> {
    let mut best: Option<(usize, Key, Replacement)> = None;
    for step in cycle.iter().filter(|step| !step.build_requires.is_empty()) {
        let Some((badness, edges)) = replacements(construction, step) else { continue };
        let key = construction.keys[&step.from];
        if best.as_ref().is_none_or(|(least, first, _)| (badness, key) < (*least, *first)) {
            best = Some((badness, key, Replacement { from: step.from, edges }));
        }
    }
    best.map(|(.., replacement)| replacement)
}

/// Returns what serves the requirements of a step instead, if there is something for each.
fn replacements(construction: &Construction<'_>, step: &Step) -> Option<(usize, Vec<Instead>)> {
    let Key::Run(place) = construction.keys[&step.to] else { return None };
    let catalog = &construction.catalog;
    let replaced = catalog.packages[place].spec;
    let mut badness = 0;
    let mut edges = Vec::new();
    for edge in &step.build_requires {
        let weight = &construction.graph[*edge];
        let leaf = weight.leaf.as_ref()?;
        let order = |who: Who| match who {
            Who::External(place) if catalog.externals[place].in_core => Some(1),
            Who::External(place) => Some(2 + catalog.externals[place].origin as usize),
            Who::Older(_) if catalog.spec_of(who) == Some(replaced) => Some(9),
            Who::Older(_) | Who::Tree(_) => None,
        };
        let providers = catalog.providers(leaf);
        let best = providers.iter().filter_map(|entry| order(entry.who).map(|o| (o, entry.who)));
        // The first of equals: `providers` is sorted.
        match best.min_by_key(|(order, _)| *order) {
            Some((order, who)) => {
                badness = badness.max(order);
                edges.push((*edge, Some(who)));
            }
            None if weight.knowledge == Some(Knowledge::Suggested) => edges.push((*edge, None)),
            None => return None,
        }
    }
    Some((badness, edges))
}

fn replace(construction: &mut Construction<'_>, replacement: &Replacement, cycle: &BuildCycle) {
    for (edge, who) in &replacement.edges {
        let Some((_, to)) = construction.graph.edge_endpoints(*edge) else { continue };
        let Some(old) = construction.graph.remove_edge(*edge) else { continue };
        let (Key::Build(spec), Key::Run(place)) =
            (construction.keys[&replacement.from], construction.keys[&to])
        else {
            continue;
        };
        let Some(who) = who else {
            construction.give_up_suggestion(spec, &old);
            continue;
        };
        let target = construction.node_of(*who);
        let catalog = &construction.catalog;
        if let Some(requirement) = &old.requirement {
            construction.breaks.push(CycleBreak {
                spec: catalog.specs[spec].data.name.clone(),
                requirement: requirement.as_ref().clone(),
                instead_of: catalog.packages[place].nevra.clone(),
                used: catalog.nevra(*who).clone(),
                origin: catalog.origin(*who),
                cycle: cycle.clone(),
            });
        }
        construction.graph.add_edge(replacement.from, target, Edge { knowledge: None, ..old });
    }
}

/// Puts a cycle into words' form: who requires what from whom.
fn describe(construction: &Construction<'_>, cycle: &[Step]) -> BuildCycle {
    let catalog = &construction.catalog;
    let mut specs = Vec::new();
    let mut links = Vec::new();
    for step in cycle {
        let from = match construction.keys[&step.from] {
            Key::Build(spec) => {
                specs.push(catalog.specs[spec].data.name.clone());
                catalog.specs[spec].data.name.clone()
            }
            Key::Run(place) => catalog.packages[place].nevra.to_string(),
            _ => continue,
        };
        let Key::Run(target) = construction.keys[&step.to] else { continue };
        let edges = construction.graph.edges_connecting(step.from, step.to);
        let requirement = edges.filter_map(|edge| edge.weight().requirement.clone()).min();
        if let Some(requirement) = requirement.map(Arc::unwrap_or_clone) {
            links.push(Link { from, requirement, to: catalog.packages[target].nevra.clone() });
        }
    }
    BuildCycle { specs, links }
}
