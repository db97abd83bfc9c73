//! Knots: sets of nodes that all need one another, with a build among them.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};

use fixedbitset::FixedBitSet;
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
    members: FixedBitSet,
}

/// No node of a knot.
const NOWHERE: u32 = u32::MAX;

/// The ways within a knot, as long as the graph stays as it is.
///
/// Nodes are meant by their places among the knot's, which are in the order of what they stand for. Where edges lead
/// is found out once for each node: a large knot is searched hundreds of times.
pub(super) struct Ways<'a> {
    construction: &'a Construction<'a>,
    ignored: &'a HashSet<EdgeIndex>,
    knot: &'a Knot,
    /// The place of each node of the graph, [`NOWHERE`] for those outside.
    places: Vec<u32>,
    targets: Vec<OnceCell<Vec<u32>>>,
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
            let counts = |edge: &EdgeIndex| ignored.is_empty() || !ignored.contains(edge);
            for edge in graph.edges(part[place]).filter(|edge| counts(&edge.id())) {
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
        let mut members = FixedBitSet::with_capacity(construction.graph.node_bound());
        nodes.iter().for_each(|(_, node)| members.insert(node.index()));
        Self { nodes, members }
    }

    /// Returns the builds; they come first among the keys.
    pub(super) fn builds(&self) -> impl Iterator<Item = (Key, NodeIndex)> {
        self.nodes.iter().copied().take_while(|(key, _)| matches!(key, Key::Build(_)))
    }

    /// Returns the specs of the knot, those first that most build requirements of the knot lead to.
    pub(super) fn most_needed(&self, construction: &Construction<'_>) -> Vec<(Key, NodeIndex)> {
        let mut counts = vec![0_usize; construction.catalog.specs.len()];
        for (_, build) in self.builds() {
            for edge in construction.graph.edges(build) {
                if let Some(Key::Run(place)) = self.inside(construction, edge.target()) {
                    counts[construction.catalog.packages[place].spec] += 1;
                }
            }
        }
        let mut builds: Vec<(Key, NodeIndex)> = self.builds().collect();
        builds.sort_by_key(|(key, _)| match key {
            Key::Build(spec) => (Reverse(counts[*spec]), *key),
            _ => (Reverse(0), *key),
        });
        builds
    }

    /// Returns how many requirements lead from one of its nodes to another.
    pub(super) fn requirements(&self, construction: &Construction<'_>) -> usize {
        let edges = self.nodes.iter().flat_map(|(_, node)| construction.graph.edges(*node));
        let inside = |edge: &petgraph::stable_graph::EdgeReference<'_, crate::model::Edge>| {
            edge.weight().kind != EdgeKind::BuiltBy && self.members.contains(edge.target().index())
        };
        edges.filter(inside).count()
    }

    fn inside(&self, construction: &Construction<'_>, node: NodeIndex) -> Option<Key> {
        self.members.contains(node.index()).then(|| construction.key(node))
    }

    /// Returns the ways within the knot.
    pub(super) fn ways<'a>(
        &'a self,
        construction: &'a Construction<'a>,
        ignored: &'a HashSet<EdgeIndex>,
    ) -> Ways<'a> {
        let mut places = vec![NOWHERE; construction.graph.node_bound()];
        for (place, (_, node)) in (0..).zip(&self.nodes) {
            places[node.index()] = place;
        }
        let targets = vec![OnceCell::new(); self.nodes.len()];
        Ways { construction, ignored, knot: self, places, targets }
    }
}

impl Ways<'_> {
    /// Returns the steps from a build to packages of the knot.
    pub(super) fn steps_from(&self, build: NodeIndex) -> Vec<Step> {
        let targets = self.targets(self.places[build.index()]);
        targets.iter().map(|to| self.step(build, self.node(*to))).collect()
    }

    /// Returns the shortest cycle through one of some builds; of equals the first found.
    pub(super) fn shortest_cycle(&self, starts: impl Iterator<Item = NodeIndex>) -> Option<Vec<Step>> {
        let mut best: Option<Vec<u32>> = None;
        for start in starts {
            let limit = best.as_ref().map_or(usize::MAX, |best| best.len() - 1);
            if let Some(path) = self.path_back(&[self.places[start.index()]], limit) {
                best = Some(path);
            }
            // Build, package, build, package: two specs; nothing is shorter.
            if best.as_ref().is_some_and(|best| best.len() <= 4) {
                break;
            }
        }
        best.map(|path| self.steps(&path))
    }

    /// Returns the shortest cycle that begins with a step.
    pub(super) fn cycle_over(&self, first: &Step) -> Option<Vec<Step>> {
        let prefix = [self.places[first.from.index()], self.places[first.to.index()]];
        Some(self.steps(&self.path_back(&prefix, usize::MAX)?))
    }

    fn node(&self, place: u32) -> NodeIndex {
        self.knot.nodes[place as usize].1
    }

    /// Returns the distinct nodes of the knot that an edge leads to, sorted.
    fn targets(&self, place: u32) -> &[u32] {
        self.targets[place as usize].get_or_init(|| {
            let edges = self.construction.graph.edges(self.node(place));
            let counted = edges.filter(|edge| self.ignored.is_empty() || !self.ignored.contains(&edge.id()));
            let mut targets: Vec<u32> = counted
                .map(|edge| self.places[edge.target().index()])
                .filter(|place| *place != NOWHERE)
                .collect();
            targets.sort_unstable();
            targets.dedup();
            targets
        })
    }

    /// Returns the shortest way from the last node of `prefix` back to its first, `prefix` before it, with
    /// at most `limit` nodes.
    fn path_back(&self, prefix: &[u32], limit: usize) -> Option<Vec<u32>> {
        let (start, last) = (*prefix.first()?, *prefix.last()?);
        let mut parents = vec![NOWHERE; self.knot.nodes.len()];
        let mut queue = VecDeque::from([(last, prefix.len())]);
        while let Some((node, length)) = queue.pop_front() {
            if length > limit {
                return None;
            }
            for target in self.targets(node).iter().copied() {
                if target == start {
                    let mut path = vec![node];
                    let mut at = node;
                    while at != last {
                        at = parents[at as usize];
                        path.push(at);
                    }
                    path.reverse();
                    return Some(prefix[..prefix.len() - 1].iter().copied().chain(path).collect());
                }
                if target != last && parents[target as usize] == NOWHERE {
                    parents[target as usize] = node;
                    queue.push_back((target, length + 1));
                }
            }
        }
        None
    }

    fn steps(&self, path: &[u32]) -> Vec<Step> {
        let ends = path.iter().zip(path.iter().cycle().skip(1));
        ends.map(|(from, to)| self.step(self.node(*from), self.node(*to))).collect()
    }

    fn step(&self, from: NodeIndex, to: NodeIndex) -> Step {
        let graph = &self.construction.graph;
        let mut build_requires: Vec<EdgeIndex> = graph
            .edges_connecting(from, to)
            .filter(|edge| {
                edge.weight().kind == EdgeKind::BuildRequires && !self.ignored.contains(&edge.id())
            })
            .map(|edge| edge.id())
            .collect();
        build_requires.sort_by(|a, b| graph[*a].cmp(&graph[*b]));
        Step { from, to, build_requires }
    }
}
