//! The dependency graph of a tree of specs: who needs whom, in which order, and what stands in the way.
//!
//! # What it is
//!
//! A pure function from package data to a [`DependencyGraph`]. Nodes are builds, their tests, binary
//! packages, packages from outside and goals; edges go from dependent to dependency and carry the
//! requirement. Everything it says is sorted and the same whatever order the input has. Problems are
//! values, for the whole tree at once, before anything runs: requirements that nothing serves, requirements
//! that stay open until a package was built once, cycles, and what breaks them.
//!
//! # What it is not
//!
//! It reads no file and starts no process, and it is no solver: it finds out which packages *of the tree*
//! have to be there before a build starts, and whether each requirement can be served at all. Which exact
//! packages a build root gets is the solver's answer, within what the graph allows (next section).
//!
//! # How providers are chosen
//!
//! 1. A package of the tree: what its spec declares, what its last build provided, what the external
//!    package of the same name provides that it replaces (name take-over).
//! 2. Staging, the live repository, the base repositories, the toolchain.
//! 3. A package of the tree that was never built and whose name suggests it (`pkgconfig(x)`: `x-devel`).
//!
//! Run-time requirements of packages of the tree are followed as far as they lead to packages of the tree;
//! what a core package satisfies stays with it, for the core is in every root anyway. Those of external
//! packages are not followed: what the toolchain's own packages need does not come before everything. It
//! follows that a build may be given packages of
//! those specs only that are in its [`BuildOrder::closure`]: a solver that is offered whatever happens to be
//! finished would make results depend on timing.
//!
//! A spec's own packages never serve its build: `make`, which needs `make`, gets the toolchain's, else its
//! own last build. Cycles over several specs are broken alike; see [`CycleBreak`].

mod catalog;
mod choose;
mod construct;
mod convention;
mod cycle;
mod emit;
mod goal;
mod input;
mod model;
mod near;
mod order;

use std::collections::{BTreeMap, BTreeSet};

use petgraph::stable_graph::StableDiGraph;
use petgraph::visit::EdgeRef;
use rpm_model::Requirement;

use crate::catalog::Catalog;
use crate::construct::{Construction, Key};
use crate::order::SpecNode;

pub use emit::{GraphDocument, GraphEdge, GraphNode, NodeState, NodeStates};
pub use goal::{GoalError, GoalErrors, GoalRequest};
pub use input::{ExternalPackage, GraphInput, RecordedOutput, RecordedSpec};
pub use model::{
    BuildCycle, CycleBreak, Edge, EdgeKind, Knowledge, Link, Node, Provider, Scope, Unresolvable,
    UnresolvedReason,
};
pub use order::{BuildOrder, BuildStep, Obstacle, Prerequisite};

/// The dependency graph of a tree.
#[derive(Clone, Debug)]
pub struct DependencyGraph {
    arch: String,
    graph: StableDiGraph<Node, Edge>,
    specs: BTreeMap<String, SpecNode>,
    package_specs: BTreeMap<String, String>,
    needed_by: BTreeMap<String, BTreeSet<String>>,
    providers: BTreeMap<String, Vec<(Requirement, Provider)>>,
    bad: BTreeSet<String>,
    excluded: BTreeSet<String>,
    unresolvable: Vec<Unresolvable>,
    open: Vec<Unresolvable>,
    cycles: Vec<BuildCycle>,
    breaks: Vec<CycleBreak>,
}

impl DependencyGraph {
    /// Returns the graph of a tree. It never fails: what is wrong with the tree is part of the answer.
    pub fn new(input: &GraphInput<'_>) -> Self {
        let mut construction = Construction::new(Catalog::new(input), input.run_check);
        let ignored = cycle::break_cycles(&mut construction);
        let specs = order::spec_nodes(&construction, &ignored);
        let mut needed_by: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut package_specs = BTreeMap::new();
        for (name, node) in &specs {
            for prerequisite in &node.prerequisites {
                needed_by.entry(prerequisite.spec.clone()).or_default().insert(name.clone());
            }
            for package in &node.packages {
                package_specs.entry(package.name.clone()).or_insert_with(|| name.clone());
            }
        }
        let providers = (0..construction.catalog.specs.len())
            .map(|spec| {
                (construction.catalog.specs[spec].data.name.clone(), build_providers(&construction, spec))
            })
            .collect();
        let owned = |names: &BTreeSet<&str>| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            arch: input.document.arch.clone(),
            specs,
            package_specs,
            needed_by,
            providers,
            bad: owned(&construction.catalog.bad),
            excluded: owned(&construction.catalog.excluded),
            unresolvable: sorted(construction.unresolvable),
            open: sorted(construction.open),
            cycles: sorted(construction.cycles),
            breaks: sorted(construction.breaks),
            graph: construction.graph,
        }
    }

    /// Returns the architecture.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// Returns the names of all specs that can be built for the architecture, sorted.
    pub fn specs(&self) -> impl ExactSizeIterator<Item = &str> {
        self.specs.keys().map(String::as_str)
    }

    /// Returns the names of specs that are not for the architecture, sorted.
    pub fn excluded(&self) -> impl Iterator<Item = &str> {
        self.excluded.iter().map(String::as_str)
    }

    /// Returns the spec that yields a package of this name.
    pub fn spec_of_package(&self, package: &str) -> Option<&str> {
        self.package_specs.get(package).map(String::as_str)
    }

    /// Returns the nodes and edges.
    pub fn graph(&self) -> &StableDiGraph<Node, Edge> {
        &self.graph
    }

    /// Returns every requirement of the tree that nothing serves, sorted by spec.
    pub fn unresolvable(&self) -> &[Unresolvable] {
        &self.unresolvable
    }

    /// Returns requirements that nothing is known to serve yet, but a never-built package might.
    pub fn open(&self) -> &[Unresolvable] {
        &self.open
    }

    /// Returns the build cycles that no older package breaks; the shortest of each knot.
    pub fn cycles(&self) -> &[BuildCycle] {
        &self.cycles
    }

    /// Returns what older packages are used for, where a spec would otherwise need itself.
    pub fn breaks(&self) -> &[CycleBreak] {
        &self.breaks
    }

    /// Returns the specs whose build roots need packages of this one, sorted.
    pub fn needed_by<'a>(&'a self, spec: &str) -> impl Iterator<Item = &'a str> {
        self.needed_by.get(spec).into_iter().flatten().map(String::as_str)
    }

    /// Returns the specs whose packages this one's build root needs, sorted.
    pub fn depends_on<'a>(&'a self, spec: &str) -> impl Iterator<Item = &'a str> {
        let node = self.specs.get(spec);
        node.into_iter().flat_map(|node| &node.prerequisites).map(|needed| needed.spec.as_str())
    }

    /// Returns who serves the build requirements of a spec, sorted by requirement.
    pub fn providers(&self, spec: &str) -> &[(Requirement, Provider)] {
        self.providers.get(spec).map_or(&[], Vec::as_slice)
    }

    /// Returns the goals and all they need, in an order in which they can be built.
    ///
    /// Whether each of them has to be built at all is not the graph's question.
    pub fn order(&self, goals: &BTreeSet<String>) -> BuildOrder {
        let mut needed: BTreeSet<&str> = BTreeSet::new();
        let mut queue: Vec<&str> = goals.iter().map(String::as_str).collect();
        while let Some(name) = queue.pop() {
            if let Some((name, node)) = self.specs.get_key_value(name)
                && needed.insert(name)
            {
                queue.extend(node.prerequisites.iter().map(|needed| needed.spec.as_str()));
            }
        }
        let step = |name: &&str| {
            let node = self.specs.get(*name)?;
            Some(BuildStep {
                spec: (*name).to_owned(),
                level: node.level,
                prerequisites: node.prerequisites.clone(),
                obstacles: node.obstacles.clone(),
            })
        };
        BuildOrder::new(needed.iter().filter_map(step).collect())
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}

fn build_providers(construction: &Construction<'_>, spec: usize) -> Vec<(Requirement, Provider)> {
    let catalog = &construction.catalog;
    let edges = construction.graph.edges(construction.nodes[&Key::Build(spec)]);
    let provider = |edge: petgraph::stable_graph::EdgeReference<'_, Edge>| {
        let requirement = edge.weight().requirement.as_deref()?.clone();
        let provider = match construction.keys[&edge.target()] {
            Key::Run(place) => Provider::Tree {
                spec: catalog.specs[catalog.packages[place].spec].data.name.clone(),
                package: catalog.packages[place].nevra.clone(),
                knowledge: edge.weight().knowledge.unwrap_or(Knowledge::Declared),
            },
            Key::Remote(who) => {
                Provider::External { package: catalog.nevra(who).clone(), origin: catalog.origin(who) }
            }
            _ => return None,
        };
        Some((requirement, provider))
    };
    sorted(edges.filter_map(provider).collect())
}
