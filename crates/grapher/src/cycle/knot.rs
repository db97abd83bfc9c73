//! Knots: sets of nodes that all need one another, with a build among them.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;
use petgraph::stable_graph::{EdgeIndex, NodeIndex};
use petgraph::visit::{EdgeRef, NodeIndexable};

use crate::construct::{Construction, Key};
use crate::model::EdgeKind;

/// A strongly connected part of the graph with a build in it.
pub(super) struct Knot {
    /// Its nodes with what they stand for, in that order.
    pub(super) nodes: Vec<(Key, NodeIndex)>,
    members: HashSet<NodeIndex>,
}

/// One step of a cycle: from a node to the next, with all parallel edges that are build requirements.
pub(super) struct Step {
    pub(super) from: NodeIndex,
    pub(super) to: NodeIndex,
    pub(super) build_requires: Vec<EdgeIndex>,
}

impl Knot {
    /// Returns the knots among some nodes, the one with the first spec last.
    pub(super) fn find(
        construction: &Construction<'_>,
        within: impl Iterator<Item = NodeIndex>,
        ignored: &HashSet<EdgeIndex>,
    ) -> Vec<Self> {
        let graph = &construction.graph;
        let mut part: DiGraph<NodeIndex, ()> = DiGraph::new();
        let mut places = vec![None; graph.node_bound()];
        for node in within {
            places[node.index()] = Some(part.add_node(node));
        }
        for place in part.node_indices() {
            for edge in graph.edges(part[place]).filter(|edge| !ignored.contains(&edge.id())) {
                if let Some(target) = places[edge.target().index()] {
                    part.add_edge(place, target, ());
                }
            }
        }
        let mut knots: Vec<Self> = kosaraju_scc(&part)
            .into_iter()
            .filter(|component| component.len() > 1)
            .map(|component| Self::new(construction, component.into_iter().map(|place| part[place])))
            .filter(|knot| knot.builds().next().is_some())
            .collect();
        knots.sort_by_key(|knot| Reverse(knot.nodes.first().map(|(key, _)| *key)));
        knots
    }

    fn new(construction: &Construction<'_>, nodes: impl Iterator<Item = NodeIndex>) -> Self {
        let mut nodes: Vec<(Key, NodeIndex)> = nodes.map(|node| (construction.key(node), node)).collect();
        nodes.sort();
        let members = nodes.iter().map(|(_, node)| *node).collect();
        Self { nodes, members }
    }

    /// Returns the builds; they come first among the keys.
    pub(super) fn builds(&self) -> impl Iterator<Item = (Key, NodeIndex)> {
        self.nodes.iter().copied().take_while(|(key, _)| matches!(key, Key::Build(_)))
    }

    /// Returns the specs of the knot, those first that most build requirements of the knot lead to.
    pub(super) fn most_needed(&self, construction: &Construction<'_>) -> Vec<(Key, NodeIndex)> {
        let mut counts: HashMap<usize, usize> = HashMap::new();
        for (_, build) in self.builds() {
            for edge in construction.graph.edges(build) {
                if let Some(Key::Run(place)) = self.inside(construction, edge.target()) {
                    *counts.entry(construction.catalog.packages[place].spec).or_default() += 1;
                }
            }
        }
        let mut builds: Vec<(Key, NodeIndex)> = self.builds().collect();
        builds.sort_by_key(|(key, _)| match key {
            Key::Build(spec) => (Reverse(counts.get(spec).copied().unwrap_or(0)), *key),
            _ => (Reverse(0), *key),
        });
        builds
    }

    /// Returns how many requirements lead from one of its nodes to another.
    pub(super) fn requirements(&self, construction: &Construction<'_>) -> usize {
        let edges = self.nodes.iter().flat_map(|(_, node)| construction.graph.edges(*node));
        let inside = |edge: &petgraph::stable_graph::EdgeReference<'_, crate::model::Edge>| {
            edge.weight().kind != EdgeKind::BuiltBy && self.members.contains(&edge.target())
        };
        edges.filter(inside).count()
    }

    fn inside(&self, construction: &Construction<'_>, node: NodeIndex) -> Option<Key> {
        self.members.contains(&node).then(|| construction.key(node))
    }

    /// Returns the steps from a build to packages of the knot.
    pub(super) fn steps_from(
        &self,
        construction: &Construction<'_>,
        ignored: &HashSet<EdgeIndex>,
        build: NodeIndex,
    ) -> Vec<Step> {
        self.targets(construction, ignored, build)
            .into_iter()
            .map(|(_, to)| step(construction, ignored, build, to))
            .collect()
    }

    /// Returns the distinct nodes of the knot that an edge leads to, sorted.
    fn targets(
        &self,
        construction: &Construction<'_>,
        ignored: &HashSet<EdgeIndex>,
        node: NodeIndex,
    ) -> Vec<(Key, NodeIndex)> {
        let mut targets: Vec<(Key, NodeIndex)> = construction
            .graph
            .edges(node)
            .filter(|edge| self.members.contains(&edge.target()) && !ignored.contains(&edge.id()))
            .map(|edge| (construction.key(edge.target()), edge.target()))
            .collect();
        targets.sort();
        targets.dedup();
        targets
    }

    /// Returns the shortest cycle through one of some builds; of equals the first found.
    pub(super) fn shortest_cycle(
        &self,
        construction: &Construction<'_>,
        ignored: &HashSet<EdgeIndex>,
        starts: impl Iterator<Item = NodeIndex>,
    ) -> Option<Vec<Step>> {
        let mut best: Option<Vec<NodeIndex>> = None;
        for start in starts {
            let limit = best.as_ref().map_or(usize::MAX, |best| best.len() - 1);
            if let Some(path) = self.path_back(construction, ignored, &[start], limit) {
                best = Some(path);
            }
            // Build, package, build, package: two specs; nothing is shorter.
            if best.as_ref().is_some_and(|best| best.len() <= 4) {
                break;
            }
        }
        best.map(|path| steps(construction, ignored, &path))
    }

    /// Returns the shortest cycle that begins with a step.
    pub(super) fn cycle_over(
        &self,
        construction: &Construction<'_>,
        ignored: &HashSet<EdgeIndex>,
        first: &Step,
    ) -> Option<Vec<Step>> {
        let path = self.path_back(construction, ignored, &[first.from, first.to], usize::MAX)?;
        Some(steps(construction, ignored, &path))
    }

    /// Returns the shortest way from the last node of `prefix` back to its first, `prefix` before it, with
    /// at most `limit` nodes.
    fn path_back(
        &self,
        construction: &Construction<'_>,
        ignored: &HashSet<EdgeIndex>,
        prefix: &[NodeIndex],
        limit: usize,
    ) -> Option<Vec<NodeIndex>> {
        let (start, last) = (*prefix.first()?, *prefix.last()?);
        let mut parents: HashMap<NodeIndex, NodeIndex> = HashMap::new();
        let mut queue = VecDeque::from([(last, prefix.len())]);
        while let Some((node, length)) = queue.pop_front() {
            if length > limit {
                return None;
            }
            for (_, target) in self.targets(construction, ignored, node) {
                if target == start {
                    let mut path = vec![node];
                    let mut at = node;
                    while at != last {
                        at = parents[&at];
                        path.push(at);
                    }
                    path.reverse();
                    return Some(prefix[..prefix.len() - 1].iter().copied().chain(path).collect());
                }
                if target != last && !parents.contains_key(&target) {
                    parents.insert(target, node);
                    queue.push_back((target, length + 1));
                }
            }
        }
        None
    }
}

fn steps(construction: &Construction<'_>, ignored: &HashSet<EdgeIndex>, path: &[NodeIndex]) -> Vec<Step> {
    let ends = path.iter().zip(path.iter().cycle().skip(1));
    ends.map(|(from, to)| step(construction, ignored, *from, *to)).collect()
}

fn step(
    construction: &Construction<'_>,
    ignored: &HashSet<EdgeIndex>,
    from: NodeIndex,
    to: NodeIndex,
) -> Step {
    let edges = construction.graph.edges_connecting(from, to);
    let mut build_requires: Vec<EdgeIndex> = edges
        .filter(|edge| edge.weight().kind == EdgeKind::BuildRequires && !ignored.contains(&edge.id()))
        .map(|edge| edge.id())
        .collect();
    build_requires.sort_by_key(|edge| construction.graph[*edge].clone());
    Step { from, to, build_requires }
}
