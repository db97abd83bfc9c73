//! Who needs whom, reduced to numbers: what every question about builds is answered from.
//!
//! A build's root holds the packages that its build requirements lead to, and what those need at run time. That set
//! is found once for every spec when the graph is made and kept as numbers; *how* a build comes to a package, and
//! what stands in its way in words, is found again when somebody asks. Storing every chain for every pair of specs
//! would take more memory than all else together.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use foldhash::HashMap;
use petgraph::stable_graph::{EdgeIndex, NodeIndex};
use petgraph::visit::EdgeRef;
use rpm_model::{Nevra, Requirement};

use crate::construct::{Construction, Finding, Key};
use crate::model::{BuildCycle, EdgeKind, Link, Unresolvable};
use crate::order::{Obstacle, Prerequisite};

/// The place of a spec, by name, or of a package, by spec and name.
type Place = u32;

/// One spec of the tree.
#[derive(Clone, Debug)]
pub(crate) struct SpecNode {
    pub(crate) name: String,
    pub(crate) source: Nevra,
    /// The places of its packages.
    pub(crate) packages: Range<usize>,
    pub(crate) level: usize,
    /// The specs whose packages enter its build root, sorted.
    pub(crate) prerequisites: Box<[Place]>,
    /// The specs whose build roots its packages enter, sorted.
    pub(crate) needed_by: Box<[Place]>,
    /// What nothing serves, of its build and of the packages in its root: places in [`Needs::findings`].
    findings: Box<[Place]>,
    /// Cycles that it is part of: places in [`Needs::cycles`].
    cycles: Box<[Place]>,
    /// Whether it, or a prerequisite, cannot be built.
    pub(crate) hindered: bool,
}

/// A package that a build or a package needs.
#[derive(Clone, Debug)]
struct Need {
    package: Place,
    requirement: Arc<Requirement>,
}

/// A package of the tree.
#[derive(Clone, Debug)]
struct PackageNode {
    spec: Place,
    nevra: Nevra,
}

/// Specs, packages and their needs.
#[derive(Clone, Debug)]
pub(crate) struct Needs {
    /// Sorted by name.
    pub(crate) specs: Vec<SpecNode>,
    packages: Vec<PackageNode>,
    /// What each owner needs: builds of all specs first, then all packages; `starts[owner]..starts[owner + 1]`.
    starts: Vec<u32>,
    list: Vec<Need>,
    /// What each owner needs that nothing serves.
    unserved: HashMap<usize, Vec<Place>>,
    findings: Vec<Finding>,
    cycles: Vec<BuildCycle>,
}

/// How a walk came to each package: from which owner, by which need.
type Arrivals = HashMap<Place, (usize, usize)>;

impl Needs {
    /// Follows the edges of every build and package; `ignored` edges order nothing.
    pub(crate) fn new(
        construction: &Construction<'_>,
        findings: Vec<Finding>,
        cycles: Vec<BuildCycle>,
        ignored: &HashSet<EdgeIndex>,
    ) -> Self {
        let catalog = &construction.catalog;
        let mut unserved: HashMap<usize, Vec<Place>> = HashMap::default();
        for (place, finding) in findings.iter().enumerate() {
            let owner = owner(finding.owner, catalog.specs.len());
            unserved.entry(owner.unwrap_or(usize::MAX)).or_default().push(place as Place);
        }
        let specs = catalog.specs.iter().map(|spec| SpecNode {
            name: spec.data.name.clone(),
            source: spec.data.source.clone(),
            packages: spec.packages.clone(),
            level: 0,
            prerequisites: Box::default(),
            needed_by: Box::default(),
            findings: Box::default(),
            cycles: Box::default(),
            hindered: false,
        });
        let packages = catalog
            .packages
            .iter()
            .map(|package| PackageNode { spec: package.spec as Place, nevra: package.nevra.clone() });
        let mut needs = Self {
            specs: specs.collect(),
            packages: packages.collect(),
            starts: vec![0],
            list: Vec::new(),
            unserved,
            findings,
            cycles,
        };
        for spec in 0..needs.specs.len() {
            needs.add(construction, construction.build(spec), ignored);
        }
        for place in 0..needs.packages.len() {
            needs.add(construction, construction.run(place), ignored);
        }
        needs.walk_all();
        needs.settle_all();
        needs
    }

    /// Adds what the next owner needs.
    fn add(&mut self, construction: &Construction<'_>, node: NodeIndex, ignored: &HashSet<EdgeIndex>) {
        let edges = construction.graph.edges(node);
        let mut found: Vec<(usize, &Arc<Requirement>)> = edges
            .filter(|edge| edge.weight().kind != EdgeKind::BuiltBy && !ignored.contains(&edge.id()))
            .filter_map(|edge| match construction.key(edge.target()) {
                Key::Run(place) => Some((place, edge.weight().requirement.as_ref()?)),
                _ => None,
            })
            .collect();
        found.sort();
        // The first requirement of several that lead to one package says enough.
        found.dedup_by_key(|(place, _)| *place);
        let need = |(place, requirement): (usize, &Arc<Requirement>)| Need {
            package: place as Place,
            requirement: Arc::clone(requirement),
        };
        self.list.extend(found.into_iter().map(need));
        self.starts.push(self.list.len() as u32);
    }

    fn needed(&self, owner: usize) -> Range<usize> {
        self.starts[owner] as usize..self.starts[owner + 1] as usize
    }

    fn owner_of_package(&self, package: Place) -> usize {
        self.specs.len() + package as usize
    }

    /// Finds what enters the root of every build.
    fn walk_all(&mut self) {
        let mut cycles: Vec<Vec<Place>> = vec![Vec::new(); self.specs.len()];
        for (place, cycle) in self.cycles.iter().enumerate() {
            for spec in cycle.specs.iter().filter_map(|name| self.place(name)) {
                cycles[spec].push(place as Place);
            }
        }
        // Marks carry the number of the walk that set them, so nothing has to be cleared.
        let mut seen_packages = vec![0_u32; self.packages.len()];
        let mut seen_specs = vec![0_u32; self.specs.len()];
        let mut needed_by: Vec<Vec<Place>> = vec![Vec::new(); self.specs.len()];
        let mut queue: Vec<usize> = Vec::new();
        for (spec, cycles) in cycles.into_iter().enumerate() {
            let walk = spec as u32 + 1;
            let mut prerequisites: Vec<Place> = Vec::new();
            let mut findings: Vec<Place> = Vec::new();
            // With an unbroken cycle a spec can come to its own packages; the cycle itself is the obstacle.
            seen_specs[spec] = walk;
            queue.push(spec);
            while let Some(owner) = queue.pop() {
                findings.extend(self.unserved.get(&owner).into_iter().flatten());
                for need in &self.list[self.needed(owner)] {
                    let package = need.package as usize;
                    if std::mem::replace(&mut seen_packages[package], walk) == walk {
                        continue;
                    }
                    queue.push(self.owner_of_package(need.package));
                    let yielding = self.packages[package].spec;
                    if std::mem::replace(&mut seen_specs[yielding as usize], walk) != walk {
                        prerequisites.push(yielding);
                    }
                }
            }
            prerequisites.sort_unstable();
            for needed in &prerequisites {
                needed_by[*needed as usize].push(spec as Place);
            }
            let node = &mut self.specs[spec];
            node.prerequisites = prerequisites.into();
            node.findings = findings.into();
            node.cycles = cycles.into();
        }
        for (node, needed_by) in self.specs.iter_mut().zip(needed_by) {
            node.needed_by = needed_by.into();
        }
    }

    /// Sets levels and hands on what hinders to dependants, in one pass over a topological order.
    fn settle_all(&mut self) {
        let mut waiting: Vec<usize> = self.specs.iter().map(|node| node.prerequisites.len()).collect();
        let ready = waiting.iter().enumerate().filter(|(_, count)| **count == 0);
        let mut queue: VecDeque<usize> = ready.map(|(spec, _)| spec).collect();
        for node in &mut self.specs {
            node.hindered = !node.findings.is_empty() || !node.cycles.is_empty();
        }
        while let Some(spec) = queue.pop_front() {
            let needed = self.specs[spec].prerequisites.iter().map(|needed| &self.specs[*needed as usize]);
            let (level, blocked) = needed.fold((0, false), |(level, blocked), node| {
                (level.max(node.level + 1), blocked | node.hindered)
            });
            let node = &mut self.specs[spec];
            node.level = level;
            node.hindered |= blocked;
            for dependant in node.needed_by.iter().map(|dependant| *dependant as usize) {
                waiting[dependant] -= 1;
                if waiting[dependant] == 0 {
                    queue.push_back(dependant);
                }
            }
        }
    }

    /// Returns the place of a spec.
    pub(crate) fn place(&self, spec: &str) -> Option<usize> {
        self.specs.binary_search_by(|node| node.name.as_str().cmp(spec)).ok()
    }

    /// Returns a spec by name.
    pub(crate) fn spec(&self, name: &str) -> Option<&SpecNode> {
        self.place(name).map(|place| &self.specs[place])
    }

    /// Returns the packages of a spec.
    pub(crate) fn packages(&self, spec: &SpecNode) -> impl Iterator<Item = &Nevra> {
        self.packages[spec.packages.clone()].iter().map(|package| &package.nevra)
    }

    /// Walks from a build over all packages that enter its root, breadth first.
    fn arrivals(&self, spec: usize) -> (Arrivals, Vec<usize>) {
        let mut arrivals = Arrivals::default();
        let mut owners = vec![spec];
        let mut next = 0;
        while let Some(owner) = owners.get(next).copied() {
            next += 1;
            for (place, need) in self.needed(owner).zip(&self.list[self.needed(owner)]) {
                if let Entry::Vacant(first) = arrivals.entry(need.package) {
                    first.insert((owner, place));
                    owners.push(self.owner_of_package(need.package));
                }
            }
        }
        (arrivals, owners)
    }

    /// Returns how a walk came to an owner: the shortest chain of requirements.
    fn chain(&self, arrivals: &Arrivals, mut owner: usize) -> Vec<Arc<Link>> {
        let mut links = Vec::new();
        while let Some(package) = owner.checked_sub(self.specs.len()) {
            let Some((from, place)) = arrivals.get(&(package as Place)) else { break };
            links.push(Arc::new(self.link(*from, &self.list[*place])));
            owner = *from;
        }
        links.reverse();
        links
    }

    fn link(&self, owner: usize, need: &Need) -> Link {
        let from = match owner.checked_sub(self.specs.len()) {
            Some(package) => self.packages[package].nevra.to_string(),
            None => self.specs[owner].name.clone(),
        };
        let to = self.packages[need.package as usize].nevra.clone();
        Link { from, requirement: need.requirement.as_ref().clone(), to }
    }

    /// Returns the specs whose packages enter a spec's build root, each with the shortest chain to it; sorted.
    pub(crate) fn prerequisites(&self, spec: usize) -> Vec<Prerequisite> {
        let (arrivals, owners) = self.arrivals(spec);
        self.reached(spec, &arrivals, &owners, |_| true)
    }

    /// Returns those prerequisites that `wanted` picks.
    fn reached(
        &self,
        spec: usize,
        arrivals: &Arrivals,
        owners: &[usize],
        wanted: impl Fn(&SpecNode) -> bool,
    ) -> Vec<Prerequisite> {
        let mut first: BTreeMap<usize, usize> = BTreeMap::new();
        for owner in &owners[1..] {
            let yielding = self.packages[owner - self.specs.len()].spec as usize;
            if yielding != spec && wanted(&self.specs[yielding]) {
                first.entry(yielding).or_insert(*owner);
            }
        }
        let prerequisite = |(yielding, owner): (usize, usize)| Prerequisite {
            spec: self.specs[yielding].name.clone(),
            via: self.chain(arrivals, owner),
        };
        first.into_iter().map(prerequisite).collect()
    }

    /// Returns why a spec cannot be built: what nothing serves and cycles first, then hindered prerequisites.
    pub(crate) fn obstacles(&self, spec: usize) -> Vec<Obstacle> {
        let node = &self.specs[spec];
        if !node.hindered {
            return Vec::new();
        }
        let (arrivals, owners) = self.arrivals(spec);
        let mut obstacles = self.own_obstacles_among(spec, &arrivals, &owners);
        let blocked = self.reached(spec, &arrivals, &owners, |node| node.hindered);
        obstacles.extend(blocked.into_iter().map(|prerequisite| Obstacle::Blocked { prerequisite }));
        obstacles
    }

    /// Returns the same without hindered prerequisites.
    pub(crate) fn own_obstacles(&self, spec: usize) -> Vec<Obstacle> {
        let node = &self.specs[spec];
        if node.findings.is_empty() && node.cycles.is_empty() {
            return Vec::new();
        }
        let (arrivals, owners) = self.arrivals(spec);
        self.own_obstacles_among(spec, &arrivals, &owners)
    }

    fn own_obstacles_among(&self, spec: usize, arrivals: &Arrivals, owners: &[usize]) -> Vec<Obstacle> {
        let node = &self.specs[spec];
        let mut obstacles: Vec<Obstacle> =
            node.cycles.iter().map(|cycle| Obstacle::Cycle(self.cycles[*cycle as usize].clone())).collect();
        for owner in owners {
            for place in self.unserved.get(owner).into_iter().flatten() {
                let Finding { is_open, told, .. } = &self.findings[*place as usize];
                let told = Unresolvable { chain: self.chain(arrivals, *owner), ..told.clone() };
                obstacles.push(if *is_open { Obstacle::Open(told) } else { Obstacle::Unresolvable(told) });
            }
        }
        obstacles.sort();
        obstacles.dedup();
        obstacles
    }
}

/// Returns the number of who states a requirement.
fn owner(key: Key, specs: usize) -> Option<usize> {
    match key {
        Key::Build(spec) => Some(spec),
        Key::Run(place) => Some(specs + place),
        Key::Test(_) | Key::Remote(_) | Key::Unresolved(_) => None,
    }
}
