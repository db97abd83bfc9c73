//! Between the graph and its [`Ways`]: which node has which number, and which edges a way stands for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::stable_graph::{EdgeIndex, NodeIndex};
use petgraph::visit::EdgeRef;

use super::ways::{Knot, Lists, Ways};
use crate::construct::{Construction, Key};
use crate::model::EdgeKind;

/// One step of a cycle: from a node to the next, with all parallel edges that are build requirements.
pub(super) struct Step {
    pub(super) from: NodeIndex,
    pub(super) to: NodeIndex,
    pub(super) build_requires: Vec<EdgeIndex>,
}

/// Returns the ways of the graph and the knots among them, the one with the first spec last.
pub(super) fn ways(construction: &Construction<'_>) -> (Ways, Vec<Knot>) {
    let specs = construction.catalog.specs.len();
    let mut targets = Lists::default();
    let mut list = Vec::new();
    for number in 0..(specs + construction.catalog.packages.len()) as u32 {
        let edges = construction.graph.edges(node(construction, number));
        list.clear();
        list.extend(edges.filter_map(|edge| self::number(construction, edge.target())));
        list.sort_unstable();
        list.dedup();
        targets.push(&list);
    }
    Ways::new(specs, targets)
}

/// Returns the number of a build or package; nothing else leads anywhere.
fn number(construction: &Construction<'_>, node: NodeIndex) -> Option<u32> {
    match construction.key(node) {
        Key::Build(spec) => Some(spec as u32),
        Key::Run(place) => Some((construction.catalog.specs.len() + place) as u32),
        Key::Test(_) | Key::Remote(_) | Key::Unresolved(_) => None,
    }
}

fn node(construction: &Construction<'_>, number: u32) -> NodeIndex {
    let number = number as usize;
    match number.checked_sub(construction.catalog.specs.len()) {
        Some(place) => construction.run(place),
        None => construction.build(number),
    }
}

/// Returns how many requirements lead from one node of a knot to another.
pub(super) fn requirements(construction: &Construction<'_>, ways: &Ways, knot: &Knot) -> usize {
    let edges = knot.nodes().iter().flat_map(|from| construction.graph.edges(node(construction, *from)));
    let required = edges.filter(|edge| edge.weight().kind != EdgeKind::BuiltBy);
    let targets = required.filter_map(|edge| number(construction, edge.target()));
    targets.filter(|target| ways.is_in(*target, knot)).count()
}

impl Step {
    /// Returns the step from one node to another, by their numbers.
    pub(super) fn new(construction: &Construction<'_>, from: u32, to: u32) -> Self {
        let graph = &construction.graph;
        let (from, to) = (node(construction, from), node(construction, to));
        let edges = graph.edges_connecting(from, to);
        let required = edges.filter(|edge| edge.weight().kind == EdgeKind::BuildRequires);
        let mut build_requires: Vec<EdgeIndex> = required.map(|edge| edge.id()).collect();
        build_requires.sort_by(|a, b| graph[*a].cmp(&graph[*b]));
        Self { from, to, build_requires }
    }

    /// Returns the steps of a cycle.
    pub(super) fn all(construction: &Construction<'_>, cycle: &[u32]) -> Vec<Self> {
        let ends = cycle.iter().zip(cycle.iter().cycle().skip(1));
        ends.map(|(from, to)| Self::new(construction, *from, *to)).collect()
    }

    /// Takes the build requirements of the step out of the ways.
    pub(super) fn cut(&self, construction: &Construction<'_>, ways: &mut Ways) {
        let ends = (number(construction, self.from), number(construction, self.to));
        if let (Some(from), Some(to), false) = (ends.0, ends.1, self.build_requires.is_empty()) {
            ways.cut(from, to);
        }
    }
}

/// How often builds require packages, a requirement for each edge of the graph.
pub(super) struct Required {
    packages: Lists,
    specs: Vec<u32>,
}

impl Required {
    pub(super) fn new(construction: &Construction<'_>) -> Self {
        let catalog = &construction.catalog;
        let mut packages = Lists::default();
        let mut list = Vec::new();
        for spec in 0..catalog.specs.len() {
            let edges = construction.graph.edges(construction.build(spec));
            list.clear();
            list.extend(edges.filter_map(|edge| number(construction, edge.target())));
            packages.push(&list);
        }
        let specs = catalog.packages.iter().map(|package| package.spec as u32).collect();
        Self { packages, specs }
    }

    /// Returns the builds of a knot, those first to which most build requirements of the knot lead.
    pub(super) fn most_needed(&self, ways: &Ways, knot: &Knot) -> impl Iterator<Item = u32> + use<> {
        let builds = self.packages.len();
        let mut counts = vec![0_usize; builds];
        for build in knot.builds() {
            for package in self.packages.of(*build).iter().filter(|package| ways.is_in(**package, knot)) {
                counts[self.specs[*package as usize - builds] as usize] += 1;
            }
        }
        let ranked = knot.builds().iter().map(|build| (counts[*build as usize], Reverse(*build)));
        let mut heap: BinaryHeap<(usize, Reverse<u32>)> = ranked.collect();
        // Most often the first is the one.
        std::iter::from_fn(move || heap.pop().map(|(_, Reverse(build))| build))
    }

    /// Forgets what a step's requirements were; something older serves them.
    pub(super) fn forget(&mut self, construction: &Construction<'_>, step: &Step) {
        let ends = (number(construction, step.from), number(construction, step.to));
        if let (Some(from), Some(to)) = ends {
            self.packages.retain(from, |package| package != to);
        }
    }
}
