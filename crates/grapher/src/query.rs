//! What people ask the graph: what a spec needs, who needs it, how two of them hang together, what a change
//! of one would set off.
//!
//! What it is: pure functions from the graph to values that can be stored and are sorted throughout. Names may
//! be those of specs or of binary packages; a spec goes first where both have the name. What it is not: it
//! puts nothing into words or pictures (see `text` and `svg`).
//!
//! Distances count specs, not nodes: from a package to the build that makes it, and between packages of one
//! spec, is no step.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use petgraph::Direction as EdgeDirection;
use petgraph::stable_graph::NodeIndex;
use rpm_model::{Nevra, PackageOrigin, Requirement};
use serde::{Deserialize, Serialize};

use crate::emit::NodeStates;
use crate::model::{EdgeKind, Node, Scope};
use crate::{DependencyGraph, GoalErrors};

/// Who a question is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "subject", rename_all = "kebab-case")]
pub enum Subject {
    /// A spec: its build and all its packages.
    Spec {
        /// Its name.
        spec: String,
    },
    /// One binary package.
    Package {
        /// The spec that yields it.
        spec: String,
        /// The package.
        package: Nevra,
    },
}

impl Subject {
    /// Returns the spec that the subject is or comes from.
    pub fn spec(&self) -> &str {
        match self {
            Self::Spec { spec } | Self::Package { spec, .. } => spec,
        }
    }

    /// Returns whether a member is the subject or its spec.
    pub(crate) fn is(&self, member: &Member) -> bool {
        matches!(member, Member::Spec { spec } if spec == self.spec())
    }

    /// Returns the name by which people call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Spec { spec } => spec,
            Self::Package { package, .. } => &package.name,
        }
    }
}

/// What stands in answers: a spec with all its nodes, a package from outside, a requirement without provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "member", rename_all = "kebab-case")]
pub enum Member {
    /// A spec of the tree.
    Spec {
        /// Its name.
        spec: String,
    },
    /// A package from outside the tree, or an older build of a tree's package ([`PackageOrigin::Tree`]).
    External {
        /// The package.
        package: Nevra,
        /// Where it comes from.
        origin: PackageOrigin,
    },
    /// A requirement that nothing is known to provide.
    Missing {
        /// The requirement.
        requirement: Requirement,
    },
}

/// Which way edges are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To what is needed.
    DependsOn,
    /// To who needs it.
    NeededBy,
}

/// A requirement and whose kind it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stated {
    /// For a build or at run time.
    pub kind: EdgeKind,
    /// The requirement as written.
    pub requirement: Requirement,
}

/// One requirement that makes a relation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// The spec that requires, or whose package does.
    pub dependent: String,
    /// The package that requires; `None` for a build requirement.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub package: Option<Nevra>,
    /// What is required, and for what.
    #[serde(flatten)]
    pub stated: Stated,
    /// The package that serves it; `None` where nothing does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub provider: Option<Nevra>,
}

/// Somebody on the way from the subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Relation {
    /// Who.
    #[serde(flatten)]
    pub member: Member,
    /// [`Scope::Build`]: the build of one needs the other, however indirectly. [`Scope::RunTime`]: only
    /// packages do.
    pub scope: Scope,
    /// The requirements between it and who stands one level nearer, sorted.
    pub reasons: Vec<Reason>,
}

/// What a subject depends on, or who needs it, by distance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relations {
    /// The subject.
    #[serde(flatten)]
    pub subject: Subject,
    /// Which of the two.
    pub direction: Direction,
    /// Sorted by member within each; the first are those directly beside the subject.
    pub levels: Vec<Vec<Relation>>,
    /// How many specs lie further away than was asked for.
    pub specs_beyond: usize,
}

/// One step of a path; the requirements are empty from a package to the build that makes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PathStep {
    /// The dependent.
    pub from: Node,
    /// The dependency.
    pub to: Node,
    /// All requirements of the one that the other serves, sorted.
    pub requirements: Vec<Stated>,
}

/// How one subject comes to depend on another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// The dependent.
    pub from: Subject,
    /// The dependency.
    pub to: Subject,
    /// [`Scope::Build`] where the build of `from` needs `to`; [`Scope::RunTime`] where only its packages do.
    pub scope: Scope,
    /// The shortest way; `None` where there is none.
    pub steps: Option<Vec<PathStep>>,
    /// Where there is none: the shortest way in the other direction, if there is that.
    pub reverse: Option<Vec<PathStep>>,
}

/// What would at most be built again after a change of a spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    /// The spec.
    pub spec: String,
    /// How many specs there are in all layers.
    pub total: usize,
    /// How many specs the tree has.
    pub of: usize,
    /// First those with packages of the spec in their build roots, then those with packages of these, and so
    /// on; each spec once, sorted.
    pub layers: Vec<Vec<String>>,
}

/// Distances from where a walk started: steps between specs, then nodes.
pub(crate) type Distances = HashMap<NodeIndex, (usize, usize)>;

/// The graph with what questions look up.
pub struct Explorer<'g> {
    pub(crate) graph: &'g DependencyGraph,
    pub(crate) states: &'g NodeStates,
    builds: HashMap<&'g str, NodeIndex>,
    packages: HashMap<&'g str, Vec<NodeIndex>>,
}

impl<'g> Explorer<'g> {
    /// Returns the explorer of a graph; `states` only colour drawings.
    pub fn new(graph: &'g DependencyGraph, states: &'g NodeStates) -> Self {
        let mut builds = HashMap::new();
        let mut packages: HashMap<&str, Vec<NodeIndex>> = HashMap::new();
        for index in graph.graph().node_indices() {
            match &graph.graph()[index] {
                Node::Build { spec } => {
                    builds.insert(spec.as_str(), index);
                }
                Node::Run { spec, .. } => packages.entry(spec).or_default().push(index),
                Node::Goal { .. } | Node::Test { .. } | Node::Remote { .. } | Node::Unresolved { .. } => {}
            }
        }
        Self { graph, states, builds, packages }
    }

    /// Returns who is meant by a name.
    ///
    /// # Errors
    ///
    /// Returns why the name means nothing, with similar names.
    pub fn subject(&self, name: &str) -> Result<Subject, GoalErrors> {
        let spec = self.graph.goal(name).map_err(|error| GoalErrors(vec![error]))?;
        let package = self.packages_of(&spec).find_map(|index| match &self.graph.graph()[index] {
            Node::Run { package, .. } if package.name == name => Some(package.clone()),
            _ => None,
        });
        match package {
            Some(package) if spec != name => Ok(Subject::Package { spec, package }),
            _ => Ok(Subject::Spec { spec }),
        }
    }

    /// Returns what a spec or package needs, to a distance; `None` is as far as it goes.
    ///
    /// # Errors
    ///
    /// Fails where the name means nothing.
    pub fn depends_on(&self, name: &str, depth: Option<usize>) -> Result<Relations, GoalErrors> {
        Ok(self.relations(self.subject(name)?, Direction::DependsOn, depth))
    }

    /// Returns who needs a spec or package, to a distance; `None` is as far as it goes.
    ///
    /// # Errors
    ///
    /// Fails where the name means nothing.
    pub fn needed_by(&self, name: &str, depth: Option<usize>) -> Result<Relations, GoalErrors> {
        Ok(self.relations(self.subject(name)?, Direction::NeededBy, depth))
    }

    /// Returns the shortest way from a dependent to a dependency.
    ///
    /// # Errors
    ///
    /// Fails where one of the names means nothing; names both if neither does.
    pub fn path(&self, from: &str, to: &str) -> Result<Path, GoalErrors> {
        let (from, to) = match (self.subject(from), self.subject(to)) {
            (Ok(from), Ok(to)) => (from, to),
            (Err(mut first), Err(second)) => {
                first.0.extend(second.0);
                return Err(first);
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let found = self.shortest(&from, &to);
        let reverse = if found.is_none() { self.shortest(&to, &from).map(|(_, steps)| steps) } else { None };
        let (scope, steps) = found.map_or((Scope::RunTime, None), |(scope, steps)| (scope, Some(steps)));
        Ok(Path { from, to, scope, steps, reverse })
    }

    /// Returns what would at most be built again after a change of a spec, or of a package's spec.
    ///
    /// # Errors
    ///
    /// Fails where the name means nothing.
    pub fn impact(&self, name: &str) -> Result<Impact, GoalErrors> {
        let spec = self.subject(name)?.spec().to_owned();
        let mut seen = BTreeSet::from([spec.as_str()]);
        let mut layers: Vec<Vec<String>> = Vec::new();
        let mut layer = vec![spec.as_str()];
        loop {
            let next: BTreeSet<&str> = layer.iter().flat_map(|spec| self.graph.needed_by(spec)).collect();
            layer = next.into_iter().filter(|spec| !seen.contains(spec)).collect();
            if layer.is_empty() {
                break;
            }
            seen.extend(&layer);
            layers.push(layer.iter().map(|spec| (*spec).to_owned()).collect());
        }
        let total = layers.iter().map(Vec::len).sum();
        Ok(Impact { spec: spec.clone(), total, of: self.graph.specs().len(), layers })
    }

    fn packages_of(&self, spec: &str) -> impl Iterator<Item = NodeIndex> + '_ {
        self.packages.get(spec).into_iter().flatten().copied()
    }

    /// Returns all nodes of a subject.
    pub(crate) fn nodes_of(&self, subject: &Subject) -> Vec<NodeIndex> {
        match subject {
            Subject::Spec { spec } => {
                self.builds.get(spec.as_str()).copied().into_iter().chain(self.packages_of(spec)).collect()
            }
            Subject::Package { spec, package } => self
                .packages_of(spec)
                .filter(|index| matches!(&self.graph.graph()[*index], Node::Run { package: p, .. } if p == package))
                .collect(),
        }
    }

    fn build_of(&self, subject: &Subject) -> Vec<NodeIndex> {
        self.builds.get(subject.spec()).copied().into_iter().collect()
    }

    /// Returns what a node is part of; goals and tests are part of no answer.
    pub(crate) fn member(&self, node: NodeIndex) -> Option<Member> {
        Some(match &self.graph.graph()[node] {
            Node::Build { spec } | Node::Run { spec, .. } => Member::Spec { spec: spec.clone() },
            Node::Remote { package, origin } => {
                Member::External { package: package.clone(), origin: *origin }
            }
            Node::Unresolved { requirement } => Member::Missing { requirement: requirement.clone() },
            Node::Goal { .. } | Node::Test { .. } => return None,
        })
    }

    fn spec_of(&self, node: NodeIndex) -> Option<&str> {
        match &self.graph.graph()[node] {
            Node::Build { spec } | Node::Run { spec, .. } => Some(spec),
            _ => None,
        }
    }

    /// Walks from some nodes as far as edges lead.
    pub(crate) fn walk(&self, starts: &[NodeIndex], direction: Direction) -> Distances {
        let graph = self.graph.graph();
        let along = match direction {
            Direction::DependsOn => EdgeDirection::Outgoing,
            Direction::NeededBy => EdgeDirection::Incoming,
        };
        let mut distances: Distances = starts.iter().map(|start| (*start, (0, 0))).collect();
        let mut queue: BinaryHeap<Reverse<((usize, usize), NodeIndex)>> =
            starts.iter().map(|start| Reverse(((0, 0), *start))).collect();
        while let Some(Reverse((distance, node))) = queue.pop() {
            if distances.get(&node).is_some_and(|least| *least < distance) {
                continue;
            }
            for next in graph.neighbors_directed(node, along) {
                if matches!(graph[next], Node::Goal { .. } | Node::Test { .. }) {
                    continue;
                }
                let own = self.spec_of(node).is_some() && self.spec_of(node) == self.spec_of(next);
                let reached = (distance.0 + usize::from(!own), distance.1 + 1);
                if distances.get(&next).is_none_or(|least| reached < *least) {
                    distances.insert(next, reached);
                    queue.push(Reverse((reached, next)));
                }
            }
        }
        distances
    }

    pub(crate) fn relations(
        &self,
        subject: Subject,
        direction: Direction,
        depth: Option<usize>,
    ) -> Relations {
        let distances = self.walk(&self.nodes_of(&subject), direction);
        let mut least: BTreeMap<Member, usize> = BTreeMap::new();
        for (node, (steps, _)) in &distances {
            if let Some(member) = self.member(*node) {
                let known = least.entry(member).or_insert(*steps);
                *known = (*known).min(*steps);
            }
        }
        let of_builds = match direction {
            Direction::DependsOn => self.walk(&self.build_of(&subject), direction),
            Direction::NeededBy => {
                let is_build = |node: &NodeIndex| matches!(self.graph.graph()[*node], Node::Build { .. });
                distances.iter().filter(|(node, _)| is_build(node)).map(|(n, d)| (*n, *d)).collect()
            }
        };
        let for_builds: BTreeSet<Member> = of_builds.keys().filter_map(|node| self.member(*node)).collect();
        let mut reasons = self.reasons(&distances, &least, direction);
        least.retain(|_, level| *level > 0);
        let wanted = depth.unwrap_or(usize::MAX);
        let is_spec = |member: &Member| matches!(member, Member::Spec { .. });
        let specs_beyond = least.iter().filter(|(member, level)| **level > wanted && is_spec(member)).count();
        let mut levels: Vec<Vec<Relation>> = Vec::new();
        for (member, level) in least.into_iter().filter(|(_, level)| *level <= wanted) {
            levels.resize(levels.len().max(level), Vec::new());
            let scope = if for_builds.contains(&member) { Scope::Build } else { Scope::RunTime };
            let mut reasons: Vec<Reason> = reasons.remove(&member).unwrap_or_default();
            reasons.sort();
            reasons.dedup();
            levels[level - 1].push(Relation { member, scope, reasons });
        }
        Relations { subject, direction, levels, specs_beyond }
    }

    /// Returns the requirements between each member and those one level nearer.
    fn reasons(
        &self,
        distances: &Distances,
        least: &BTreeMap<Member, usize>,
        direction: Direction,
    ) -> HashMap<Member, Vec<Reason>> {
        let graph = self.graph.graph();
        let mut reasons: HashMap<Member, Vec<Reason>> = HashMap::new();
        for edge in graph.edge_indices() {
            let Some((from, to)) = graph.edge_endpoints(edge) else { continue };
            let (near, far) = match direction {
                Direction::DependsOn => (from, to),
                Direction::NeededBy => (to, from),
            };
            let (Some((near_level, _)), Some(_)) = (distances.get(&near), distances.get(&far)) else {
                continue;
            };
            let Some(member) = self.member(far) else { continue };
            if least.get(&member) != Some(&(near_level + 1)) {
                continue;
            }
            let (Some(requirement), Some(dependent)) = (&graph[edge].requirement, self.spec_of(from)) else {
                continue;
            };
            let package = |node: NodeIndex| match &graph[node] {
                Node::Run { package, .. } | Node::Remote { package, .. } => Some(package.clone()),
                _ => None,
            };
            reasons.entry(member).or_default().push(Reason {
                dependent: dependent.to_owned(),
                package: package(from),
                stated: Stated { kind: graph[edge].kind, requirement: requirement.as_ref().clone() },
                provider: package(to),
            });
        }
        reasons
    }

    /// Returns the shortest way from one subject to another: from its build if there is one, else from its
    /// packages; of equals the first by the nodes' order.
    fn shortest(&self, from: &Subject, to: &Subject) -> Option<(Scope, Vec<PathStep>)> {
        let distances = self.walk(&self.nodes_of(to), Direction::NeededBy);
        let nearest = |starts: Vec<NodeIndex>| {
            let known = starts.into_iter().filter_map(|node| Some((*distances.get(&node)?, node)));
            known.min_by_key(|(distance, node)| (*distance, &self.graph.graph()[*node]))
        };
        let build = match from {
            Subject::Spec { .. } => nearest(self.build_of(from)),
            Subject::Package { .. } => None,
        };
        let scope = if build.is_some() { Scope::Build } else { Scope::RunTime };
        let (_, start) = build.or_else(|| nearest(self.nodes_of(from)))?;
        Some((scope, self.descend(&distances, start)))
    }

    fn descend(&self, distances: &Distances, start: NodeIndex) -> Vec<PathStep> {
        let graph = self.graph.graph();
        let mut steps = Vec::new();
        let mut node = start;
        while distances.get(&node).is_some_and(|distance| *distance != (0, 0)) {
            let next = graph
                .neighbors(node)
                .filter_map(|next| Some((*distances.get(&next)?, &graph[next], next)))
                .min_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
            // Whoever has a distance has a neighbour with a smaller one.
            let Some((_, _, next)) = next else { break };
            steps.push(PathStep {
                from: graph[node].clone(),
                to: graph[next].clone(),
                requirements: self.stated(node, next),
            });
            node = next;
        }
        steps
    }

    /// Returns all requirements on the edges between two nodes, sorted.
    pub(crate) fn stated(&self, from: NodeIndex, to: NodeIndex) -> Vec<Stated> {
        let edges = self.graph.graph().edges_connecting(from, to);
        let stated: BTreeSet<Stated> = edges
            .filter_map(|edge| {
                let requirement = edge.weight().requirement.as_deref()?.clone();
                Some(Stated { kind: edge.weight().kind, requirement })
            })
            .collect();
        stated.into_iter().collect()
    }
}
