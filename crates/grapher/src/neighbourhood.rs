//! Part of the graph, one node for each spec: what drawings show.
//!
//! A [`SubGraph`] has a node for each spec, package from outside and missing requirement, and one edge for all
//! requirements between two of them. Levels say how far a node is from what was asked for: below zero it
//! needs the subject, above zero it is needed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use petgraph::stable_graph::NodeIndex;
use petgraph::visit::{EdgeRef, IntoEdgeReferences};
use rpm_model::{Nevra, PackageOrigin};
use serde::{Deserialize, Serialize};

use crate::GoalErrors;
use crate::emit::{NodeState, escaped};
use crate::model::{BuildCycle, Node};
use crate::query::{Direction, Explorer, Member, Path, Stated, Subject};

/// Part of the graph, spec by spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubGraph {
    /// What it shows, in a few words.
    pub title: String,
    /// What was asked for, sorted; for a path, its ends.
    pub subjects: Vec<Subject>,
    /// Sorted by level, then member.
    pub nodes: Vec<SubNode>,
    /// Sorted.
    pub edges: Vec<SubEdge>,
}

/// A node of a [`SubGraph`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubNode {
    /// By this the edges name it: a spec's name, `toolchain:make-4-1.x86_64`, `unresolved:gone >= 2`.
    pub name: String,
    /// Steps from the subject; below zero for those that need it.
    pub level: i64,
    /// What it is.
    #[serde(flatten)]
    pub member: Member,
    /// How far it is.
    pub state: NodeState,
    /// A spec's source package.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<Nevra>,
}

/// An edge of a [`SubGraph`], from dependent to dependency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubEdge {
    /// The dependent's name.
    pub from: String,
    /// The dependency's name.
    pub to: String,
    /// All requirements between the two, sorted; never empty.
    pub requirements: Vec<Stated>,
}

impl Member {
    /// Returns the name of the member's node.
    pub fn node_name(&self) -> String {
        match self {
            Self::Spec { spec } => spec.clone(),
            Self::External { package, origin } => {
                crate::emit::name(&Node::Remote { package: package.clone(), origin: *origin })
            }
            Self::Missing { requirement } => format!("unresolved:{requirement}"),
        }
    }

    /// Returns what is written on the member's node.
    pub fn label(&self) -> String {
        match self {
            Self::Spec { spec } => spec.clone(),
            Self::External { package, .. } => package.name.clone(),
            Self::Missing { requirement } => requirement.to_string(),
        }
    }
}

impl Explorer<'_> {
    /// Returns everything within a distance of some specs or packages; `None` is as far as it goes.
    ///
    /// # Errors
    ///
    /// Returns every name that means nothing.
    pub fn neighbourhood(&self, names: &[String], depth: Option<usize>) -> Result<SubGraph, GoalErrors> {
        self.around(names, &[Direction::DependsOn, Direction::NeededBy], depth)
    }

    /// Returns everything within a distance of some subjects in some directions.
    pub(crate) fn around(
        &self,
        names: &[String],
        directions: &[Direction],
        depth: Option<usize>,
    ) -> Result<SubGraph, GoalErrors> {
        let mut subjects = BTreeSet::new();
        let mut errors = Vec::new();
        for name in names {
            match self.subject(name) {
                Ok(subject) => {
                    subjects.insert(subject);
                }
                Err(error) => errors.extend(error.0),
            }
        }
        if !errors.is_empty() {
            errors.sort();
            errors.dedup();
            return Err(GoalErrors(errors));
        }
        let starts: Vec<NodeIndex> = subjects.iter().flat_map(|subject| self.nodes_of(subject)).collect();
        let wanted = i64::try_from(depth.unwrap_or(usize::MAX)).unwrap_or(i64::MAX);
        let mut placed: HashMap<NodeIndex, i64> = HashMap::new();
        for direction in directions {
            for (node, (steps, _)) in self.walk(&starts, *direction) {
                let steps = i64::try_from(steps).unwrap_or(i64::MAX);
                let level = if *direction == Direction::DependsOn { steps } else { -steps };
                if steps <= wanted && placed.get(&node).is_none_or(|known| steps < known.abs()) {
                    placed.insert(node, level);
                }
            }
        }
        let names: Vec<&str> = subjects.iter().map(Subject::name).collect();
        let names = names.join(", ");
        let title = match directions {
            [Direction::DependsOn] => format!("What {names} needs"),
            [Direction::NeededBy] => format!("Who needs {names}"),
            _ => format!("{names}: who needs it, and what it needs"),
        };
        Ok(self.sub_graph(title, subjects.into_iter().collect(), &placed))
    }

    /// Returns the steps of a path as a graph.
    pub fn path_graph(&self, path: &Path) -> SubGraph {
        let indices: BTreeMap<&Node, NodeIndex> =
            self.graph.graph().node_indices().map(|index| (&self.graph.graph()[index], index)).collect();
        let steps = path.steps.as_ref().or(path.reverse.as_ref());
        let mut placed = HashMap::new();
        for (place, step) in steps.into_iter().flatten().enumerate() {
            for (node, level) in [(&step.from, place), (&step.to, place + 1)] {
                if let Some(index) = indices.get(node) {
                    placed.entry(*index).or_insert_with(|| i64::try_from(level).unwrap_or(i64::MAX));
                }
            }
        }
        let (from, to) = (path.from.name(), path.to.name());
        let title = match (&path.steps, &path.reverse) {
            (Some(_), _) => format!("How {from} comes to need {to}"),
            (None, Some(_)) => format!("{from} does not need {to}, but {to} needs {from}"),
            (None, None) => format!("{from} does not need {to}"),
        };
        self.sub_graph(title, vec![path.from.clone(), path.to.clone()], &placed)
    }

    /// Returns the specs of cycles and the requirements that make them.
    pub fn cycle_graph<'c>(&self, cycles: impl Iterator<Item = &'c BuildCycle>) -> SubGraph {
        let mut edges: BTreeMap<(Member, Member), BTreeSet<Stated>> = BTreeMap::new();
        let spec_of: HashMap<String, &str> = self
            .graph
            .graph()
            .node_weights()
            .filter_map(|node| match node {
                Node::Run { spec, package } => Some((package.to_string(), spec.as_str())),
                _ => None,
            })
            .collect();
        for link in cycles.flat_map(|cycle| &cycle.links) {
            let of_build = !spec_of.contains_key(&link.from);
            let from = spec_of.get(&link.from).map_or(link.from.as_str(), |spec| spec);
            let Some(to) = spec_of.get(&link.to.to_string()) else { continue };
            let kind = if of_build { crate::EdgeKind::BuildRequires } else { crate::EdgeKind::Requires };
            let ends = (Member::Spec { spec: from.to_owned() }, Member::Spec { spec: (*to).to_owned() });
            edges.entry(ends).or_default().insert(Stated { kind, requirement: link.requirement.clone() });
        }
        let members: BTreeSet<&Member> = edges.keys().flat_map(|(from, to)| [from, to]).collect();
        let nodes = members.into_iter().map(|member| self.sub_node(member.clone(), 0)).collect();
        SubGraph {
            title: "Cycles of builds".to_owned(),
            subjects: Vec::new(),
            nodes,
            edges: sub_edges(edges),
        }
    }

    fn sub_graph(&self, title: String, subjects: Vec<Subject>, placed: &HashMap<NodeIndex, i64>) -> SubGraph {
        let mut levels: BTreeMap<Member, i64> = BTreeMap::new();
        for (node, level) in placed {
            let Some(member) = self.member(*node) else { continue };
            let known = levels.entry(member).or_insert(*level);
            *known = nearer(*known, *level);
        }
        let mut edges: BTreeMap<(Member, Member), BTreeSet<Stated>> = BTreeMap::new();
        for edge in self.graph.graph().edge_references() {
            if !placed.contains_key(&edge.source()) || !placed.contains_key(&edge.target()) {
                continue;
            }
            let (Some(from), Some(to)) = (self.member(edge.source()), self.member(edge.target())) else {
                continue;
            };
            let Some(requirement) = edge.weight().requirement.as_deref() else { continue };
            if from != to {
                let stated = Stated { kind: edge.weight().kind, requirement: requirement.clone() };
                edges.entry((from, to)).or_default().insert(stated);
            }
        }
        let mut nodes: Vec<SubNode> =
            levels.into_iter().map(|(member, level)| self.sub_node(member, level)).collect();
        nodes.sort_by(|a, b| (a.level, &a.member).cmp(&(b.level, &b.member)));
        SubGraph { title, subjects, nodes, edges: sub_edges(edges) }
    }

    fn sub_node(&self, member: Member, level: i64) -> SubNode {
        let (state, source) = match &member {
            Member::Spec { spec } => {
                let state = self.states.get(spec).copied().unwrap_or(NodeState::Build);
                (state, self.graph.source(spec).cloned())
            }
            Member::External { .. } => (NodeState::Cached, None),
            Member::Missing { .. } => (NodeState::Unresolved, None),
        };
        SubNode { name: member.node_name(), level, member, state, source }
    }
}

/// Returns which of two levels counts for a member with nodes on both: the nearer; of equally near ones that on
/// the side of what is needed, whatever the order in which nodes come.
fn nearer(a: i64, b: i64) -> i64 {
    std::cmp::min_by_key(a, b, |level| (level.abs(), *level < 0))
}

fn sub_edges(edges: BTreeMap<(Member, Member), BTreeSet<Stated>>) -> Vec<SubEdge> {
    let mut edges: Vec<SubEdge> = edges
        .into_iter()
        .map(|((from, to), requirements)| SubEdge {
            from: from.node_name(),
            to: to.node_name(),
            requirements: requirements.into_iter().collect(),
        })
        .collect();
    edges.sort();
    edges
}

impl SubNode {
    /// Returns the colour that the Azure toolkit gives such a node.
    pub(crate) fn colour(&self) -> &'static str {
        match (&self.member, self.state) {
            (Member::External { origin: PackageOrigin::Tree, .. }, _) => "greenyellow",
            (Member::External { .. }, _) => "darkorchid",
            (Member::Missing { .. }, _) => "crimson",
            (Member::Spec { .. }, NodeState::UpToDate) => "forestgreen",
            (Member::Spec { .. }, NodeState::BuildError) => "darkorange",
            (Member::Spec { .. }, _) => "gold",
        }
    }

    /// Returns whether text on the node must be light.
    pub(crate) fn is_dark(&self) -> bool {
        matches!(self.colour(), "darkorchid" | "crimson" | "forestgreen")
    }

    /// Returns what there is to say of the node beyond its label.
    pub(crate) fn description(&self) -> String {
        match (&self.member, &self.source) {
            (Member::Spec { .. }, Some(source)) => source.to_string(),
            (Member::Spec { spec }, None) => spec.clone(),
            (Member::External { package, origin }, _) => {
                format!("{package} ({})", crate::model::origin_name(*origin))
            }
            (Member::Missing { requirement }, _) => format!("nothing provides {requirement}"),
        }
    }
}

impl SubGraph {
    /// Returns the graph for Graphviz, in the form of Azure's graph files; each spec stands for all its nodes.
    pub fn to_dot(&self) -> String {
        let mut dot = "strict digraph dependency_graph {\n".to_owned();
        let mut ids: BTreeMap<&str, String> = BTreeMap::new();
        // Writing to a String cannot fail.
        for (id, node) in self.nodes.iter().enumerate() {
            let (label, kind) = match (&node.member, &node.source) {
                (Member::Spec { .. }, Some(source)) => (format!("{}-{}", source.name, source.evr), "Build"),
                (Member::Spec { spec }, None) => (spec.clone(), "Build"),
                (Member::External { package, .. }, _) => {
                    (format!("{}-{}", package.name, package.evr), "Remote")
                }
                (Member::Missing { requirement }, _) => (requirement.to_string(), "Remote"),
            };
            let (state, upper) = (format!("{:?}", node.state), kind.to_uppercase());
            let text = escaped(&format!("{label}-{upper}<{state}> (ID={id},TYPE={kind},STATE={state})"));
            let _ = write!(dot, "  \"{text}\" [fillcolor={}, style=filled", node.colour());
            if node.is_dark() {
                dot.push_str(", fontcolor=white");
            }
            let _ = write!(dot, ", label=\"{}\"", escaped(&node.member.label()));
            let _ = write!(dot, ", tooltip=\"{}\"", escaped(&node.description()));
            if let Some(source) = &node.source {
                let _ = write!(dot, ", SRPM=\"{}\"", escaped(&source.file_name()));
            }
            dot.push_str("];\n");
            ids.insert(&node.name, text);
        }
        for edge in &self.edges {
            let (Some(from), Some(to)) = (ids.get(edge.from.as_str()), ids.get(edge.to.as_str())) else {
                continue;
            };
            let text = escaped(&edge.text("\n")).replace('\n', "\\n");
            let style = if edge.is_for_builds() { "solid" } else { "dashed" };
            let _ = writeln!(dot, "  \"{from}\" -> \"{to}\" [style={style}, edgetooltip=\"{text}\"];");
        }
        dot.push_str("}\n");
        dot
    }
}

impl SubEdge {
    /// Returns whether a build requirement is among them.
    pub(crate) fn is_for_builds(&self) -> bool {
        self.requirements.iter().any(|stated| stated.kind == crate::EdgeKind::BuildRequires)
    }

    /// Returns all requirements in RPM's words.
    pub(crate) fn text(&self, separator: &str) -> String {
        let texts: Vec<String> = self.requirements.iter().map(ToString::to_string).collect();
        texts.join(separator)
    }
}

impl std::fmt::Display for Stated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.tag(), self.requirement)
    }
}
