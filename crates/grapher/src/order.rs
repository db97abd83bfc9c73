//! From the graph to what a scheduler asks: what must be finished before what, and what stands in the way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use petgraph::stable_graph::{EdgeIndex, NodeIndex};
use petgraph::visit::EdgeRef;
use rpm_model::{Nevra, Requirement};
use serde::{Deserialize, Serialize};

use crate::construct::{Construction, Key};
use crate::model::{BuildCycle, EdgeKind, Link, Unresolvable};

/// A spec of the tree whose packages another spec's build root needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Prerequisite {
    /// The spec that must be finished before.
    pub spec: String,
    /// Why: a build requirement, then run-time requirements up to one of the spec's packages.
    pub via: Vec<Arc<Link>>,
}

/// One spec of a [`BuildOrder`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildStep {
    /// The spec.
    pub spec: String,
    /// 0 for specs that need no other; otherwise one more than the highest of its prerequisites.
    pub level: usize,
    /// Every spec whose packages enter its build root, sorted by name.
    pub prerequisites: Vec<Prerequisite>,
    /// Why it cannot be built; empty where it can.
    pub obstacles: Vec<Obstacle>,
}

/// Why a spec cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "obstacle", rename_all = "kebab-case")]
pub enum Obstacle {
    /// A requirement of its build, or of a package its build needs, is served by nothing.
    Unresolvable(Unresolvable),
    /// The same, but a package that was never built might turn out to serve it.
    Open(Unresolvable),
    /// It needs itself, and nothing older breaks the cycle.
    Cycle(BuildCycle),
    /// A prerequisite cannot be built.
    Blocked {
        /// The prerequisite.
        prerequisite: Prerequisite,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolvable(finding) => write!(f, "{finding}"),
            Self::Open(finding) => {
                write!(f, "{finding}; a package of the tree that was never built may turn out to provide it")
            }
            Self::Cycle(cycle) => write!(f, "build cycle that no older package breaks: {cycle}"),
            Self::Blocked { prerequisite } => {
                let via: Vec<String> = prerequisite.via.iter().map(ToString::to_string).collect();
                write!(f, "`{}` cannot be built, and {}", prerequisite.spec, via.join("; "))
            }
        }
    }
}

/// Specs in an order in which they can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOrder {
    /// The specs, by level, then name.
    pub steps: Vec<BuildStep>,
    /// Where each spec stands in `steps`.
    places: HashMap<String, usize>,
    /// The places of each step's prerequisites.
    needed: Vec<Vec<usize>>,
}

impl BuildOrder {
    pub(crate) fn new(mut steps: Vec<BuildStep>) -> Self {
        steps.sort_by(|a, b| (a.level, &a.spec).cmp(&(b.level, &b.spec)));
        let places: HashMap<String, usize> =
            steps.iter().enumerate().map(|(place, step)| (step.spec.clone(), place)).collect();
        let place = |needed: &Prerequisite| places.get(&needed.spec).copied();
        let needed = steps.iter().map(|step| step.prerequisites.iter().filter_map(place).collect()).collect();
        Self { steps, places, needed }
    }

    /// Returns the step of a spec.
    pub fn step(&self, spec: &str) -> Option<&BuildStep> {
        self.places.get(spec).and_then(|place| self.steps.get(*place))
    }

    /// Returns all prerequisites of a spec, and theirs, and so on; not the spec itself.
    pub fn closure(&self, spec: &str) -> BTreeSet<String> {
        let Some(own) = self.places.get(spec) else { return BTreeSet::new() };
        let mut seen = vec![false; self.steps.len()];
        let mut queue = vec![*own];
        while let Some(place) = queue.pop() {
            for needed in &self.needed[place] {
                if !std::mem::replace(&mut seen[*needed], true) {
                    queue.push(*needed);
                }
            }
        }
        seen[*own] = false;
        let found = self.steps.iter().zip(seen).filter(|(_, seen)| *seen);
        found.map(|(step, _)| step.spec.clone()).collect()
    }

    /// Returns the specs of each level, sorted; the specs of one level can be built side by side.
    pub fn levels(&self) -> Vec<Vec<&str>> {
        let mut levels: Vec<Vec<&str>> = Vec::new();
        for step in &self.steps {
            if levels.len() <= step.level {
                levels.resize(step.level + 1, Vec::new());
            }
            levels[step.level].push(&step.spec);
        }
        levels
    }
}

/// What one spec of the tree needs, found once when the graph is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpecNode {
    pub(crate) source: Nevra,
    pub(crate) packages: Vec<Nevra>,
    pub(crate) level: usize,
    pub(crate) prerequisites: Vec<Prerequisite>,
    pub(crate) obstacles: Vec<Obstacle>,
}

/// Follows the edges of every spec's build.
pub(crate) fn spec_nodes(
    construction: &Construction<'_>,
    ignored: &HashSet<EdgeIndex>,
) -> BTreeMap<String, SpecNode> {
    let needs = Needs::new(construction, ignored);
    let mut specs = BTreeMap::new();
    for (index, spec) in construction.catalog.specs.iter().enumerate() {
        let name = &spec.data.name;
        let (prerequisites, mut obstacles) = needs.walk(index);
        let cycles = construction.cycles.iter().filter(|cycle| cycle.specs.contains(name));
        obstacles.extend(cycles.cloned().map(Obstacle::Cycle));
        obstacles.sort();
        let packages = spec.data.packages.iter().map(|package| package.nevra.clone()).collect();
        let source = spec.data.source.clone();
        specs.insert(name.clone(), SpecNode { source, packages, level: 0, prerequisites, obstacles });
    }
    order(&mut specs);
    specs
}

/// What builds and packages need directly, looked up once for all walks.
struct Needs<'c, 'a> {
    construction: &'c Construction<'a>,
    /// Packages of the tree that a build or package needs, sorted.
    packages: HashMap<NodeIndex, Vec<(NodeIndex, Arc<Link>)>>,
    /// What it needs that nothing serves.
    findings: HashMap<NodeIndex, Vec<Obstacle>>,
}

impl<'c, 'a> Needs<'c, 'a> {
    fn new(construction: &'c Construction<'a>, ignored: &HashSet<EdgeIndex>) -> Self {
        let findings = Findings::new(construction);
        let mut needs = Self { construction, packages: HashMap::new(), findings: HashMap::new() };
        for (key, node) in &construction.nodes {
            let owner = match key {
                Key::Build(spec) => construction.catalog.specs[*spec].data.name.clone(),
                Key::Run(place) => construction.catalog.packages[*place].nevra.to_string(),
                Key::Test(_) | Key::Remote(_) | Key::Unresolved(_) => continue,
            };
            needs.add(*node, &owner, ignored, &findings);
        }
        needs
    }

    fn add(&mut self, node: NodeIndex, owner: &str, ignored: &HashSet<EdgeIndex>, findings: &Findings<'_>) {
        let mut edges: Vec<_> = self
            .construction
            .graph
            .edges(node)
            .filter(|edge| edge.weight().kind != EdgeKind::BuiltBy && !ignored.contains(&edge.id()))
            .filter_map(|edge| {
                let requirement = edge.weight().requirement.as_ref()?;
                Some((self.construction.keys[&edge.target()], requirement, edge.target()))
            })
            .collect();
        edges.sort();
        let mut last = None;
        for (key, requirement, target) in edges {
            match key {
                // The first requirement of several that lead to one package says enough.
                Key::Run(place) if last != Some(target) => {
                    last = Some(target);
                    let link = Link {
                        from: owner.to_owned(),
                        requirement: requirement.as_ref().clone(),
                        to: self.construction.catalog.packages[place].nevra.clone(),
                    };
                    self.packages.entry(node).or_default().push((target, Arc::new(link)));
                }
                Key::Unresolved(_) => {
                    let found = findings.by_owner.get(&(owner, requirement.as_ref())).cloned();
                    self.findings.entry(node).or_default().extend(found);
                }
                _ => {}
            }
        }
    }

    /// Walks from a build over all packages that enter its root.
    fn walk(&self, spec: usize) -> (Vec<Prerequisite>, Vec<Obstacle>) {
        let catalog = &self.construction.catalog;
        let build = self.construction.nodes[&Key::Build(spec)];
        let mut arrivals: HashMap<NodeIndex, Option<(NodeIndex, &Arc<Link>)>> =
            HashMap::from([(build, None)]);
        let mut first_packages: BTreeMap<&str, NodeIndex> = BTreeMap::new();
        let mut obstacles = Vec::new();
        let mut queue = VecDeque::from([build]);
        while let Some(node) = queue.pop_front() {
            for obstacle in self.findings.get(&node).into_iter().flatten() {
                obstacles.push(with_chain(obstacle.clone(), chain(&arrivals, node)));
            }
            for (target, link) in self.packages.get(&node).into_iter().flatten() {
                if arrivals.contains_key(target) {
                    continue;
                }
                arrivals.insert(*target, Some((node, link)));
                queue.push_back(*target);
                if let Key::Run(place) = self.construction.keys[target] {
                    let owner = &catalog.specs[catalog.packages[place].spec].data.name;
                    first_packages.entry(owner).or_insert(*target);
                }
            }
        }
        // With an unbroken cycle a spec can be its own prerequisite; the cycle itself is the obstacle.
        first_packages.remove(catalog.specs[spec].data.name.as_str());
        obstacles.sort();
        obstacles.dedup();
        let prerequisite = |(spec, package): (&str, NodeIndex)| Prerequisite {
            spec: spec.to_owned(),
            via: chain(&arrivals, package),
        };
        (first_packages.into_iter().map(prerequisite).collect(), obstacles)
    }
}

/// Returns how a walk came to a node.
fn chain(
    arrivals: &HashMap<NodeIndex, Option<(NodeIndex, &Arc<Link>)>>,
    mut node: NodeIndex,
) -> Vec<Arc<Link>> {
    let mut links = Vec::new();
    while let Some(Some((from, link))) = arrivals.get(&node) {
        links.push(Arc::clone(link));
        node = *from;
    }
    links.reverse();
    links
}

/// Findings by who states the requirement.
struct Findings<'f> {
    by_owner: HashMap<(&'f str, &'f Requirement), Obstacle>,
}

impl<'f> Findings<'f> {
    fn new(construction: &'f Construction<'_>) -> Self {
        let unresolvable = construction.unresolvable.iter().map(|f| (f, Obstacle::Unresolvable(f.clone())));
        let open = construction.open.iter().map(|f| (f, Obstacle::Open(f.clone())));
        let by_owner = unresolvable
            .chain(open)
            .map(|(finding, obstacle)| ((finding.required_by.as_str(), &finding.requirement), obstacle))
            .collect();
        Self { by_owner }
    }
}

fn with_chain(obstacle: Obstacle, chain: Vec<Arc<Link>>) -> Obstacle {
    match obstacle {
        Obstacle::Unresolvable(finding) => Obstacle::Unresolvable(Unresolvable { chain, ..finding }),
        Obstacle::Open(finding) => Obstacle::Open(Unresolvable { chain, ..finding }),
        other => other,
    }
}

/// Sets levels, and hands obstacles on to dependants, in one pass over a topological order.
fn order(specs: &mut BTreeMap<String, SpecNode>) {
    let mut waiting: BTreeMap<String, usize> = BTreeMap::new();
    let mut dependants: HashMap<String, Vec<String>> = HashMap::new();
    for (name, node) in specs.iter() {
        waiting.insert(name.clone(), node.prerequisites.len());
        for prerequisite in &node.prerequisites {
            dependants.entry(prerequisite.spec.clone()).or_default().push(name.clone());
        }
    }
    let ready = waiting.iter().filter(|(_, count)| **count == 0);
    let mut queue: VecDeque<String> = ready.map(|(name, _)| name.clone()).collect();
    while let Some(name) = queue.pop_front() {
        settle(specs, &name);
        for dependant in dependants.get(&name).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(dependant) {
                *count -= 1;
                if *count == 0 {
                    queue.push_back(dependant.clone());
                }
            }
        }
    }
}

fn settle(specs: &mut BTreeMap<String, SpecNode>, name: &str) {
    let Some(node) = specs.get(name) else { return };
    let mut level = 0;
    let mut blocked = Vec::new();
    for prerequisite in &node.prerequisites {
        let Some(needed) = specs.get(&prerequisite.spec) else { continue };
        level = level.max(needed.level + 1);
        if !needed.obstacles.is_empty() {
            blocked.push(Obstacle::Blocked { prerequisite: prerequisite.clone() });
        }
    }
    if let Some(node) = specs.get_mut(name) {
        node.level = level;
        node.obstacles.extend(blocked);
    }
}
