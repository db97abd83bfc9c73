//! The graph as files: `graph.json` for programs, `graph.dot` for Graphviz, in the Azure toolkit's colours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use petgraph::visit::{EdgeRef, IntoEdgeReferences};
use rpm_model::{Nevra, PackageOrigin, Requirement};
use serde::{Deserialize, Serialize};

use crate::DependencyGraph;
use crate::cycle::report::CycleReport;
use crate::model::{BuildCycle, CycleBreak, DuplicateSpec, EdgeKind, Knowledge, Node, Unresolvable};
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
    pub cycle_report: CycleReport,
    /// Specs that are passed over because another of their name counts.
    #[serde(default)]
    pub duplicates: Vec<DuplicateSpec>,
}

/// A node of `graph.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphNode {
    /// By this the edges name it, for example `build:zlib` or `run:zlib-1.2-1.x86_64`.
    pub name: String,
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
    pub from: String,
    /// The dependency's name.
    pub to: String,
    /// Why.
    pub kind: EdgeKind,
    /// The requirement, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub requirement: Option<Requirement>,
    /// How it is known that the dependency serves it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub knowledge: Option<Knowledge>,
}

impl GraphDocument {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;

    /// Returns the document for Graphviz.
    pub fn to_dot(&self) -> String {
        let ids: BTreeMap<&str, String> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(id, node)| (node.name.as_str(), dot_name(id, node)))
            .collect();
        let mut dot = "strict digraph dependency_graph {\n".to_owned();
        // Writing to a String cannot fail.
        for node in &self.nodes {
            let id = ids.get(node.name.as_str()).map_or("", String::as_str);
            let _ = write!(dot, "  \"{id}\" [fillcolor={}, style=filled", colour(node));
            if let Some(source) = &node.source {
                let _ = write!(dot, ", SRPM=\"{}\"", escaped(&source.file_name()));
            }
            dot.push_str("];\n");
        }
        let mut pairs: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
        for edge in &self.edges {
            let labels = pairs.entry((&edge.from, &edge.to)).or_default();
            labels.extend(edge.requirement.as_ref().map(ToString::to_string));
        }
        for ((from, to), labels) in pairs {
            let (Some(from), Some(to)) = (ids.get(from), ids.get(to)) else { continue };
            let _ = write!(dot, "  \"{from}\" -> \"{to}\"");
            if !labels.is_empty() {
                let labels: Vec<String> = labels.into_iter().collect();
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
        let mut nodes: Vec<GraphNode> =
            self.graph.node_weights().map(|node| self.graph_node(node, states)).collect();
        let mut edges: Vec<GraphEdge> = self
            .graph
            .edge_references()
            .map(|edge| GraphEdge {
                from: name(&self.graph[edge.source()]),
                to: name(&self.graph[edge.target()]),
                kind: edge.weight().kind,
                requirement: edge.weight().requirement.as_deref().cloned(),
                knowledge: edge.weight().knowledge,
            })
            .collect();
        let all = goals.len() == self.specs().len();
        let goal = Node::Goal { goal: if all { "ALL" } else { "PackagesToBuild" }.to_owned() };
        edges.extend(self.goal_edges(&goal, goals));
        nodes.push(self.graph_node(&goal, states));
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        edges.sort();
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
            cycle_report: self.cycle_report().clone(),
            duplicates: self.duplicates.clone(),
        }
    }

    fn graph_node(&self, node: &Node, states: &NodeStates) -> GraphNode {
        let state = |spec: &str| states.get(spec).copied().unwrap_or(NodeState::Build);
        GraphNode {
            name: name(node),
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

    /// Returns the edges from a goal to builds, tests and packages of the specs wanted.
    fn goal_edges(&self, goal: &Node, goals: &BTreeSet<String>) -> Vec<GraphEdge> {
        let wanted = |node: &&Node| match node {
            Node::Build { spec } | Node::Run { spec, .. } | Node::Test { spec } => goals.contains(spec),
            Node::Goal { .. } | Node::Remote { .. } | Node::Unresolved { .. } => false,
        };
        let edge = |node: &Node| GraphEdge {
            from: name(goal),
            to: name(node),
            kind: EdgeKind::Wanted,
            requirement: None,
            knowledge: None,
        };
        self.graph.node_weights().filter(wanted).map(edge).collect()
    }
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
