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
//! The rule, in order ([`ProviderRank`], then [`ProviderRule`]); [`DependencyGraph::explain_provider`] shows it at work:
//!
//! 1. A package of the tree: what its spec declares, what its last build provided, what the external
//!    package of the same name provides that it replaces (name take-over).
//! 2. The staging repository, the live repository, the base repositories, the toolchain.
//! 3. A package of the tree that was never built and whose name suggests it (`pkgconfig(x)`: `x-devel`).
//!
//! Within one of these: the package that has the required name itself, then one that every build root holds, then the
//! highest version, then the first by name.
//!
//! A spec's own packages never serve its build: `make`, which needs `make`, gets the toolchain's, else its
//! own last build. At run time a package's siblings come before all others, and next what the core satisfies stays
//! with it.
//!
//! Run-time requirements of packages of the tree are followed as far as they lead to packages of the tree;
//! what a core package satisfies brings nothing in, for the core is in every root anyway. Those of external
//! packages are not followed: what the toolchain's own packages need does not come before everything. It
//! follows that a build may be given packages of those specs only that are in its [`BuildOrder::closure`]: a solver
//! that is offered whatever happens to be finished would make results depend on timing.
//!
//! # Cycles
//!
//! Packages that need one another at run time only are installed together. A cycle through a build is broken at a
//! build requirement by an older package, core packages first, the last build last ([`CycleRule`]); the spec that is
//! built with it is due once more when the new package exists ([`SecondPass`]). What nothing breaks is reported with
//! the requirement of each step and hinders its own specs only. [`DependencyGraph::cycle_report`] lists all of it.

mod answer;
mod catalog;
mod choose;
mod construct;
mod convention;
mod cycle;
mod emit;
mod front;
mod goal;
mod input;
mod layout;
mod model;
mod near;
mod needs;
mod neighbourhood;
mod order;
mod provider;
mod query;
mod report;
mod svg;
mod text;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use rpm_model::{BadSpec, Nevra, Requirement};

use crate::catalog::Catalog;
use crate::construct::Construction;
use crate::cycle::Broken;
use crate::needs::Needs;
use crate::provider::Offers;

pub use answer::{Answer, Question, Want, WantedBy};
pub use cycle::report::{
    BuildKnot, CycleReplacement, CycleReport, CycleRule, ResolvedCycle, RunTimeKnot, SecondPass,
};
pub use emit::{GraphDocument, GraphEdge, GraphNode, NodeState, NodeStates};
pub use front::{AnswerFormat, DrawWhole, QuestionArguments, Surroundings};
pub use goal::{GoalError, GoalErrors, GoalRequest, did_you_mean};
pub use input::{ExternalPackage, GraphHints, GraphInput, RecordedOutput, RecordedSpec};
pub use model::{
    BuildCycle, CycleBreak, DuplicateReason, DuplicateSpec, Edge, EdgeKind, Knowledge, Link, Node, Provider,
    Scope, Unresolvable, UnresolvedReason,
};
pub use near::near_names;
pub use neighbourhood::{SubEdge, SubGraph, SubNode};
pub use order::{BuildOrder, BuildStep, Obstacle, Prerequisite};
pub use provider::{
    ProviderCandidate, ProviderExplanation, ProviderRank, ProviderRefusal, ProviderRule, ProviderUse,
    ProviderVerdict,
};
pub use query::{
    Direction, Explorer, Impact, Member, Path, PathStep, Reason, Relation, Relations, Stated, Subject,
};
pub use report::{
    Cause, OwnCause, Place, RootCause, Style, TreeReport, UnresolvedRequirement, break_lines, cause_lines,
    list_of_names, report_text, root_causes, unresolved_lines,
};
pub use wanted::WantedNames;

/// The dependency graph of a tree.
#[derive(Clone, Debug)]
pub struct DependencyGraph {
    arch: String,
    graph: StableDiGraph<Node, Edge>,
    needs: Arc<Needs>,
    /// The node of each spec's build.
    builds: Vec<NodeIndex>,
    /// The spec of each package, by name.
    package_specs: BTreeMap<String, String>,
    offers: Arc<Offers>,
    bad: BTreeMap<String, BadSpec>,
    excluded: BTreeSet<String>,
    duplicates: Vec<DuplicateSpec>,
    unresolvable: Vec<Unresolvable>,
    open: Vec<Unresolvable>,
    cycles: Vec<BuildCycle>,
    breaks: Vec<CycleBreak>,
    cycle_report: Arc<CycleReport>,
}

impl DependencyGraph {
    /// Returns the graph of a tree. It never fails: what is wrong with the tree is part of the answer.
    pub fn new(input: &GraphInput<'_>) -> Self {
        Self::with_hints(input, &GraphHints::default())
    }

    /// Returns the same graph, that can answer more.
    pub fn with_hints(input: &GraphInput<'_>, hints: &GraphHints) -> Self {
        let catalog = Catalog::new(input, &hints.explained);
        let mut construction = Construction::new(catalog, input.run_check);
        let Broken { ignored, report } = cycle::break_cycles(&mut construction);
        construction.suggest_names(&hints.package_names);
        let cycles = sorted(std::mem::take(&mut construction.cycles));
        let findings = std::mem::take(&mut construction.findings);
        let told = |is_open: bool| {
            let some = findings.iter().filter(|finding| finding.is_open == is_open);
            sorted(some.map(|finding| finding.told.clone()).collect())
        };
        let (unresolvable, open) = (told(false), told(true));
        let needs = Needs::new(&construction, findings, cycles.clone(), &ignored);
        let mut package_specs = BTreeMap::new();
        for node in &needs.specs {
            for package in needs.packages(node) {
                package_specs.entry(package.name.clone()).or_insert_with(|| node.name.clone());
            }
        }
        let builds = (0..needs.specs.len()).map(|spec| construction.build(spec)).collect();
        let owned = |names: &BTreeSet<&str>| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            arch: input.document.arch.clone(),
            needs: Arc::new(needs),
            builds,
            package_specs,
            offers: Arc::new(Offers::new(&construction.catalog)),
            bad: input.document.bad.iter().map(|bad| (bad.name.clone(), bad.clone())).collect(),
            excluded: owned(&construction.catalog.excluded),
            duplicates: sorted(std::mem::take(&mut construction.catalog.duplicates)),
            unresolvable,
            open,
            cycles,
            breaks: sorted(construction.breaks),
            cycle_report: Arc::new(report),
            graph: construction.graph,
        }
    }

    /// Returns the architecture.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// Returns the names of all specs that can be built for the architecture, sorted.
    pub fn specs(&self) -> impl ExactSizeIterator<Item = &str> {
        self.needs.specs.iter().map(|node| node.name.as_str())
    }

    /// Returns the names of specs that are not for the architecture, sorted.
    pub fn excluded(&self) -> impl Iterator<Item = &str> {
        self.excluded.iter().map(String::as_str)
    }

    /// Returns the specs that are passed over because another of their name counts, sorted.
    pub fn duplicates(&self) -> &[DuplicateSpec] {
        &self.duplicates
    }

    /// Returns the spec that yields a package of this name.
    pub fn spec_of_package(&self, package: &str) -> Option<&str> {
        self.package_specs.get(package).map(String::as_str)
    }

    /// Returns the source package of a spec.
    pub fn source(&self, spec: &str) -> Option<&Nevra> {
        self.needs.spec(spec).map(|node| &node.source)
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

    /// Returns all knots and cycles with what is done about each, and the builds that are due twice.
    pub fn cycle_report(&self) -> &CycleReport {
        &self.cycle_report
    }

    /// Returns the specs whose build roots need packages of this one, sorted.
    pub fn needed_by<'a>(&'a self, spec: &str) -> impl Iterator<Item = &'a str> {
        self.names(self.needs.spec(spec).map(|node| node.needed_by.as_ref()))
    }

    /// Returns the specs whose packages this one's build root needs, sorted.
    pub fn depends_on<'a>(&'a self, spec: &str) -> impl Iterator<Item = &'a str> {
        self.names(self.needs.spec(spec).map(|node| node.prerequisites.as_ref()))
    }

    fn names<'a>(&'a self, places: Option<&'a [u32]>) -> impl Iterator<Item = &'a str> {
        let places = places.unwrap_or_default().iter();
        places.map(|place| self.needs.specs[*place as usize].name.as_str())
    }

    /// Returns the specs whose packages this one's build root needs, each with the shortest chain of
    /// requirements that leads to it, sorted.
    pub fn prerequisites(&self, spec: &str) -> Vec<Prerequisite> {
        self.needs.place(spec).map(|place| self.needs.prerequisites(place)).unwrap_or_default()
    }

    /// Returns why a spec cannot be built, sorted; nothing where it can.
    pub fn obstacles(&self, spec: &str) -> Vec<Obstacle> {
        self.needs.place(spec).map(|place| self.needs.obstacles(place)).unwrap_or_default()
    }

    /// Returns the specs that cannot be built, sorted; [`Self::obstacles`] says why.
    pub fn hindered(&self) -> impl Iterator<Item = &str> {
        self.needs.specs.iter().filter(|node| node.hindered).map(|node| node.name.as_str())
    }

    /// Returns who serves the build requirements of a spec, sorted by requirement.
    pub fn providers(&self, spec: &str) -> Vec<(Requirement, Provider)> {
        let Some(place) = self.needs.place(spec) else { return Vec::new() };
        let provider = |edge: petgraph::stable_graph::EdgeReference<'_, Edge>| {
            let requirement = edge.weight().requirement.as_deref()?.clone();
            let provider = Provider::of(&self.graph[edge.target()], edge.weight().knowledge)?;
            Some((requirement, provider))
        };
        sorted(self.graph.edges(self.builds[place]).filter_map(provider).collect())
    }

    /// Returns the goals and all they need, in an order in which they can be built.
    ///
    /// Whether each of them has to be built at all is not the graph's question.
    pub fn order(&self, goals: &BTreeSet<String>) -> BuildOrder {
        BuildOrder::new(&self.needs, goals)
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}
