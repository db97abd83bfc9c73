//! The graph as files: `graph.json` for programs, `graph.dot` for Graphviz, in the Azure toolkit's colours.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use petgraph::stable_graph::NodeIndex;
use petgraph::visit::{EdgeRef, IntoEdgeReferences};
use rpm_model::{Nevra, PackageOrigin, Requirement};
use serde::{Deserialize, Serialize};

use crate::DependencyGraph;
use crate::cycle::report::CycleReport;
use crate::model::{BuildCycle, CycleBreak, DuplicateSpec, Edge, EdgeKind, Knowledge, Node, Unresolvable};
use crate::order::Obstacle;

/// How far a node is, in the Azure toolkit's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeState {
    /// Stands for others.
    Meta,
    /// To be built.
    Build,
    /// Built, and nothing to do.
    UpToDate,
    /// Nothing serves it.
    Unresolved,
    /// From outside, there.
    Cached,
    /// Failed.
    BuildError,
}

/// The state of each spec's build; a spec that is not named is to be built.
pub type NodeStates = BTreeMap<String, NodeState>;

/// `graph.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphDocument {
    /// Raised when a field changes its meaning; this code writes [`GraphDocument::SCHEMA`].
    pub schema: u32,
    /// The architecture.
    pub arch: String,
    /// The nodes, sorted by name.
    pub nodes: Vec<GraphNode>,
    /// The edges, sorted.
    pub edges: Vec<GraphEdge>,
    /// Specs that cannot be built and why, sorted.
    pub obstacles: BTreeMap<String, Vec<Obstacle>>,
    /// Requirements that nothing serves.
    pub unresolvable: Vec<Unresolvable>,
    /// Requirements that a never-built package might serve.
    pub open: Vec<Unresolvable>,
    /// Cycles that remain.
    pub cycles: Vec<BuildCycle>,
    /// Cycles that older packages break.
    pub breaks: Vec<CycleBreak>,
    /// All knots and cycles with what is done about each.
    #[serde(default)]
    pub cycle_report: Arc<CycleReport>,
    /// Specs that are passed over because another of their name counts.
    #[serde(default)]
    pub duplicates: Vec<DuplicateSpec>,
}

/// A node of `graph.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphNode {
    /// By this the edges name it, for example `build:zlib` or `run:zlib-1.2-1.x86_64`.
    pub name: Arc<str>,
    /// What it is.
    #[serde(flatten)]
    pub node: Node,
    /// How far it is.
    pub state: NodeState,
    /// The source package, for nodes that belong to a spec.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<Nevra>,
}

/// An edge of `graph.json`, from dependent to dependency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GraphEdge {
    /// The dependent's name.
    pub from: Arc<str>,
    /// The dependency's name.
    pub to: Arc<str>,
    /// Why.
    pub kind: EdgeKind,
    /// The requirement, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub requirement: Option<Arc<Requirement>>,
    /// How it is known that the dependency serves it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub knowledge: Option<Knowledge>,
}

impl GraphDocument {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;

    /// Returns the document for Graphviz.
    pub fn to_dot(&self) -> String {
        let ids: HashMap<&str, String> =
            self.nodes.iter().enumerate().map(|(id, node)| (&*node.name, dot_name(id, node))).collect();
        let mut dot = "strict digraph dependency_graph {\n".to_owned();
        // Writing to a String cannot fail.
        for node in &self.nodes {
            let id = ids.get(&*node.name).map_or("", String::as_str);
            let _ = write!(dot, "  \"{id}\" [fillcolor={}, style=filled", colour(node));
            if let Some(source) = &node.source {
                let _ = write!(dot, ", SRPM=\"{}\"", escaped(&source.file_name()));
            }
            dot.push_str("];\n");
        }
        let mut edges: Vec<&GraphEdge> = self.edges.iter().collect();
        // As they are in a document that was made here.
        edges.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
        for pair in edges.chunk_by(|a, b| (&a.from, &a.to) == (&b.from, &b.to)) {
            let (Some(from), Some(to)) = (ids.get(&*pair[0].from), ids.get(&*pair[0].to)) else { continue };
            let _ = write!(dot, "  \"{from}\" -> \"{to}\"");
            let requirements = pair.iter().filter_map(|edge| edge.requirement.as_ref());
            let mut labels: Vec<String> = requirements.map(ToString::to_string).collect();
            labels.sort();
            labels.dedup();
            if !labels.is_empty() {
                let _ = write!(dot, " [label=\"{}\"]", escaped(&labels.join(", ")));
            }
            dot.push_str(";\n");
        }
        dot.push_str("}\n");
        dot
    }
}

/// Returns a node's name in the form of Azure's graph files.
fn dot_name(id: usize, node: &GraphNode) -> String {
    let state = format!("{:?}", node.state);
    let versioned = |package: &Nevra| format!("{}-{}", package.name, package.evr);
    let (label, kind) = match &node.node {
        Node::Goal { goal } => (goal.clone(), "Goal"),
        Node::Build { spec } => (node.source.as_ref().map_or(spec.clone(), versioned), "Build"),
        Node::Test { spec } => (node.source.as_ref().map_or(spec.clone(), versioned), "Test"),
        Node::Run { package, .. } => (versioned(package), "Run"),
        Node::Remote { package, .. } => (versioned(package), "Remote"),
        Node::Unresolved { requirement } => (requirement.to_string(), "Remote"),
    };
    let upper = kind.to_uppercase();
    escaped(&format!("{label}-{upper}<{state}> (ID={id},TYPE={kind},STATE={state})"))
}

impl DependencyGraph {
    /// Returns the graph as `graph.json` with the goal node `ALL`.
    pub fn to_json(&self, states: &NodeStates) -> GraphDocument {
        self.document(states, &self.specs().map(str::to_owned).collect())
    }

    /// Returns the graph as `graph.dot` with the goal node `ALL`.
    pub fn to_dot(&self, states: &NodeStates) -> String {
        self.to_json(states).to_dot()
    }

    /// Returns the graph as a document; `goals` become the node `PackagesToBuild`, or `ALL` for all specs.
    pub fn document(&self, states: &NodeStates, goals: &BTreeSet<String>) -> GraphDocument {
        let all = goals.len() == self.specs().len();
        let goal = Node::Goal { goal: if all { "ALL" } else { "PackagesToBuild" }.to_owned() };
        let names = Names::new(self, &goal);
        let mut nodes: Vec<GraphNode> = self
            .graph
            .node_indices()
            .map(|node| {
                let weight = &self.graph[node];
                self.graph_node(weight, Arc::clone(&names.of(node).1), states)
            })
            .collect();
        nodes.push(self.graph_node(&goal, Arc::clone(&names.goal.1), states));
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        let edge = |from: &Named, to: &Named, weight: Option<&Edge>| RankedEdge {
            ranks: (from.0, to.0),
            edge: GraphEdge {
                from: Arc::clone(&from.1),
                to: Arc::clone(&to.1),
                kind: weight.map_or(EdgeKind::Wanted, |edge| edge.kind),
                requirement: weight.and_then(|edge| edge.requirement.clone()),
                knowledge: weight.and_then(|edge| edge.knowledge),
            },
        };
        let own = self.graph.edge_references();
        let mut edges: Vec<RankedEdge> =
            own.map(|own| edge(names.of(own.source()), names.of(own.target()), Some(own.weight()))).collect();
        let wanted = self.graph.node_indices().filter(|node| is_wanted(&self.graph[*node], goals));
        edges.extend(wanted.map(|node| edge(&names.goal, names.of(node), None)));
        edges.sort();
        let mut edges: Vec<GraphEdge> = edges.into_iter().map(|ranked| ranked.edge).collect();
        edges.dedup();
        let hindered = self.hindered().map(|spec| (spec.to_owned(), self.obstacles(spec)));
        GraphDocument {
            schema: GraphDocument::SCHEMA,
            arch: self.arch.clone(),
            nodes,
            edges,
            obstacles: hindered.collect(),
            unresolvable: self.unresolvable.clone(),
            open: self.open.clone(),
            cycles: self.cycles.clone(),
            breaks: self.breaks.clone(),
            cycle_report: Arc::clone(&self.cycle_report),
            duplicates: self.duplicates.clone(),
        }
    }

    fn graph_node(&self, node: &Node, name: Arc<str>, states: &NodeStates) -> GraphNode {
        let state = |spec: &str| states.get(spec).copied().unwrap_or(NodeState::Build);
        GraphNode {
            name,
            state: match node {
                Node::Goal { .. } | Node::Run { .. } => NodeState::Meta,
                Node::Build { spec } | Node::Test { spec } => state(spec),
                Node::Remote { .. } => NodeState::Cached,
                Node::Unresolved { .. } => NodeState::Unresolved,
            },
            source: match node {
                Node::Build { spec } | Node::Test { spec } | Node::Run { spec, .. } => {
                    self.needs.spec(spec).map(|node| node.source.clone())
                }
                Node::Goal { .. } | Node::Remote { .. } | Node::Unresolved { .. } => None,
            },
            node: node.clone(),
        }
    }
}

/// Returns whether a node is a build, the tests or a package of a spec that is wanted.
fn is_wanted(node: &Node, goals: &BTreeSet<String>) -> bool {
    match node {
        Node::Build { spec } | Node::Run { spec, .. } | Node::Test { spec } => goals.contains(spec),
        Node::Goal { .. } | Node::Remote { .. } | Node::Unresolved { .. } => false,
    }
}

/// The name of a node, and its place among all names, sorted.
type Named = (u32, Arc<str>);

/// The names of all nodes, made once.
struct Names {
    /// By index of the node: none is ever removed.
    nodes: Vec<Named>,
    goal: Named,
}

impl Names {
    fn new(graph: &DependencyGraph, goal: &Node) -> Self {
        let goals = std::iter::once(goal);
        let mut names: Vec<Named> =
            graph.graph.node_weights().chain(goals).map(|node| (0, name(node).into())).collect();
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by(|a, b| names[*a].1.cmp(&names[*b].1));
        let mut rank = 0;
        for pair in order.windows(2) {
            rank += u32::from(names[pair[0]].1 != names[pair[1]].1);
            names[pair[1]].0 = rank;
        }
        let goal = names.pop().unwrap_or_else(|| (0, name(goal).into()));
        Self { nodes: names, goal }
    }

    fn of(&self, node: NodeIndex) -> &Named {
        &self.nodes[node.index()]
    }
}

/// An edge that is put in its place without comparing names.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RankedEdge {
    ranks: (u32, u32),
    edge: GraphEdge,
}

/// Returns the name by which edges name a node.
pub(crate) fn name(node: &Node) -> String {
    match node {
        Node::Goal { goal } => format!("goal:{goal}"),
        Node::Build { spec } => format!("build:{spec}"),
        Node::Test { spec } => format!("test:{spec}"),
        Node::Run { package, .. } => format!("run:{package}"),
        Node::Remote { package, origin } => {
            let origin = match origin {
                PackageOrigin::Tree => "older",
                PackageOrigin::Staging => "staging",
                PackageOrigin::Live => "live",
                PackageOrigin::Base => "base",
                PackageOrigin::Toolchain => "toolchain",
            };
            format!("{origin}:{package}")
        }
        Node::Unresolved { requirement } => format!("unresolved:{requirement}"),
    }
}

/// The colours of the Azure toolkit's graphs.
fn colour(node: &GraphNode) -> &'static str {
    match (&node.node, node.state) {
        (Node::Goal { .. }, _) => "deeppink",
        (_, NodeState::Meta) => "aquamarine",
        (Node::Test { .. }, NodeState::Build) => "gold4",
        (Node::Test { .. }, NodeState::UpToDate) => "lime",
        (_, NodeState::Build) => "gold",
        (_, NodeState::BuildError) => "darkorange",
        (Node::Remote { origin: PackageOrigin::Tree, .. }, _) => "greenyellow",
        (_, NodeState::UpToDate) => "forestgreen",
        (_, NodeState::Unresolved) => "crimson",
        (_, NodeState::Cached) => "darkorchid",
    }
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
