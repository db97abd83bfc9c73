//! From the graph to what a scheduler asks: what must be finished before what, and what stands in the way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;

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
    pub via: Vec<Link>,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildOrder {
    /// The specs, by level, then name.
    pub steps: Vec<BuildStep>,
}

impl BuildOrder {
    /// Returns the step of a spec.
    pub fn step(&self, spec: &str) -> Option<&BuildStep> {
        self.steps.iter().find(|step| step.spec == spec)
    }

    /// Returns all prerequisites of a spec, and theirs, and so on; not the spec itself.
    pub fn closure(&self, spec: &str) -> BTreeSet<String> {
        let steps: HashMap<&str, &BuildStep> =
            self.steps.iter().map(|step| (step.spec.as_str(), step)).collect();
        let mut found = BTreeSet::new();
        let mut queue = vec![spec];
        while let Some(step) = queue.pop().and_then(|spec| steps.get(spec)) {
            for prerequisite in &step.prerequisites {
                if prerequisite.spec != spec && found.insert(prerequisite.spec.clone()) {
                    queue.push(&prerequisite.spec);
                }
            }
        }
        found
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
    let findings = Findings::new(construction);
    let mut specs = BTreeMap::new();
    for (index, spec) in construction.catalog.specs.iter().enumerate() {
        let node = construction.nodes[&Key::Build(index)];
        let (prerequisites, mut obstacles) = walk(construction, ignored, node, &findings);
        let name = &spec.data.name;
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

/// Walks from a build over all packages that enter its root.
fn walk(
    construction: &Construction<'_>,
    ignored: &HashSet<EdgeIndex>,
    build: NodeIndex,
    findings: &Findings<'_>,
) -> (Vec<Prerequisite>, Vec<Obstacle>) {
    let catalog = &construction.catalog;
    let name_of = |node: NodeIndex| match construction.keys[&node] {
        Key::Build(spec) | Key::Test(spec) => catalog.specs[spec].data.name.clone(),
        Key::Run(place) => catalog.packages[place].nevra.to_string(),
        Key::Remote(who) => catalog.nevra(who).to_string(),
        Key::Unresolved(_) => String::new(),
    };
    let mut prerequisites: BTreeMap<String, Vec<Link>> = BTreeMap::new();
    let mut obstacles = Vec::new();
    let mut chains: HashMap<NodeIndex, Vec<Link>> = HashMap::from([(build, Vec::new())]);
    let mut queue = VecDeque::from([build]);
    while let Some(node) = queue.pop_front() {
        let chain = chains[&node].clone();
        let mut edges: Vec<_> = construction
            .graph
            .edges(node)
            .filter(|edge| edge.weight().kind != EdgeKind::BuiltBy && !ignored.contains(&edge.id()))
            .filter_map(|edge| {
                Some((construction.keys[&edge.target()], edge.weight().requirement.as_ref()?, edge.target()))
            })
            .collect();
        edges.sort();
        for (key, requirement, target) in edges {
            match key {
                Key::Run(place) if !chains.contains_key(&target) => {
                    let package = &catalog.packages[place];
                    let link = Link {
                        from: name_of(node),
                        requirement: requirement.as_ref().clone(),
                        to: package.nevra.clone(),
                    };
                    let chain: Vec<Link> = chain.iter().cloned().chain([link]).collect();
                    let spec = &catalog.specs[package.spec].data.name;
                    prerequisites.entry(spec.clone()).or_insert_with(|| chain.clone());
                    chains.insert(target, chain);
                    queue.push_back(target);
                }
                Key::Unresolved(_) => {
                    let owner = name_of(node);
                    let found = findings.by_owner.get(&(owner.as_str(), requirement.as_ref())).cloned();
                    obstacles.extend(found.map(|obstacle| with_chain(obstacle, &chain)));
                }
                _ => {}
            }
        }
    }
    // With an unbroken cycle a spec can be its own prerequisite; the cycle itself is the obstacle.
    prerequisites.remove(&name_of(build));
    obstacles.sort();
    obstacles.dedup();
    let prerequisites = prerequisites.into_iter().map(|(spec, via)| Prerequisite { spec, via }).collect();
    (prerequisites, obstacles)
}

fn with_chain(obstacle: Obstacle, chain: &[Link]) -> Obstacle {
    let with = |finding: Unresolvable| Unresolvable { chain: chain.to_vec(), ..finding };
    match obstacle {
        Obstacle::Unresolvable(finding) => Obstacle::Unresolvable(with(finding)),
        Obstacle::Open(finding) => Obstacle::Open(with(finding)),
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
