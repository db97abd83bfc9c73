//! All cycles of a tree as a report: what makes each, and by which rule it is resolved.
//!
//! What it is: the knots of the graph as it was before anything was broken, every cycle that was looked at with its
//! requirements, and the builds that are due a second time. What it is not: a list of all cycles there are. A knot of
//! fifty specs has more cycles than anybody can count; each knot is listed with its members, and a cycle for each
//! requirement at which it was cut.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;
use petgraph::stable_graph::NodeIndex;
use petgraph::visit::EdgeRef;
use rpm_model::{Nevra, PackageOrigin, Requirement};
use serde::{Deserialize, Serialize};

use super::knot::requirements;
use super::ways::{Knot, Ways};
use crate::construct::{Construction, Key};
use crate::model::{BuildCycle, CycleBreak, EdgeKind, Link};

/// What is done about a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CycleRule {
    /// Packages of one spec need one another at run time: they come from one build anyway.
    WithinOneSpec,
    /// Packages of several specs need one another at run time only: they are installed together.
    InstalledTogether,
    /// A spec needs its own packages to be built; a package from outside serves.
    ItselfFromOutside,
    /// A spec needs its own packages to be built; those of its last build serve.
    ItselfFromLastBuild,
    /// A package that every build root holds serves instead.
    FromCore,
    /// A package of the staging or live repository serves instead.
    OlderPublished,
    /// A package of a base repository serves instead.
    FromBase,
    /// A package of the toolchain serves instead.
    FromToolchain,
    /// The last build of the package serves instead.
    FromLastBuild,
    /// Part of a large knot, which is untied at the spec that most others need: that is built with older packages only.
    KnotUntied,
    /// The provider was only suggested by its name, and is not believed.
    SuggestionDropped,
    /// Nothing older serves: the specs cannot be built.
    Unbroken,
}

/// A cycle of builds and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ResolvedCycle {
    /// What is done.
    pub rule: CycleRule,
    /// The spec that is built with something older; nothing where the cycle stays.
    pub at: Option<String>,
    /// The cycle, with the requirement of each step.
    pub cycle: Arc<BuildCycle>,
    /// What serves instead, sorted.
    pub replaced: Vec<CycleReplacement>,
}

/// An older package in place of one that the tree will build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CycleReplacement {
    /// For which build requirement.
    pub requirement: Requirement,
    /// The package of the tree that would have served it.
    pub instead_of: Nevra,
    /// The package that serves it.
    pub used: Nevra,
    /// Where that comes from; [`PackageOrigin::Tree`] is an older build.
    pub origin: PackageOrigin,
}

/// Specs that all need one another for their builds, before anything is broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BuildKnot {
    /// The specs, sorted.
    pub specs: Vec<String>,
    /// How many packages hold them together.
    pub packages: usize,
    /// How many requirements among them do.
    pub requirements: usize,
}

/// Packages that all need one another at run time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunTimeKnot {
    /// [`CycleRule::WithinOneSpec`] or [`CycleRule::InstalledTogether`].
    pub rule: CycleRule,
    /// The specs that yield them, sorted.
    pub specs: Vec<String>,
    /// The packages, sorted.
    pub packages: Vec<Nevra>,
    /// One of the shortest cycles among them.
    pub shortest: Vec<Link>,
}

/// A build that is due once more when the new packages exist: the first was done with older ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecondPass {
    /// The spec.
    pub spec: String,
    /// The specs whose new packages it waits for, sorted.
    pub after: Vec<String>,
    /// What it was built with the first time, and what it is to be built with.
    pub because: Vec<CycleReplacement>,
}

/// Everything about the cycles of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleReport {
    /// Knots of builds, sorted.
    pub knots: Vec<BuildKnot>,
    /// Cycles of builds and what is done about each, sorted.
    pub cycles: Vec<ResolvedCycle>,
    /// Knots of packages that need one another at run time, sorted; harmless.
    pub run_time: Vec<RunTimeKnot>,
    /// Builds that are due twice, sorted. A spec that is built with an older build of itself is not among them: there
    /// is nothing to wait for, its next build has the new one.
    pub second_passes: Vec<SecondPass>,
}

impl CycleReport {
    /// Puts together what the search for cycles left.
    pub(super) fn new(
        construction: &Construction<'_>,
        knots: Vec<BuildKnot>,
        dropped: Vec<(String, Arc<BuildCycle>)>,
    ) -> Self {
        let mut cycles: Vec<ResolvedCycle> = Vec::new();
        let mut broken: BTreeMap<(&Arc<BuildCycle>, &str, CycleRule), Vec<CycleReplacement>> =
            BTreeMap::new();
        for found in &construction.breaks {
            let replaced = broken.entry((&found.cycle, &found.spec, found.rule)).or_default();
            replaced.push(CycleReplacement::of(found));
        }
        cycles.extend(broken.into_iter().map(|((cycle, spec, rule), mut replaced)| {
            replaced.sort();
            replaced.dedup();
            ResolvedCycle { rule, at: Some(spec.to_owned()), cycle: cycle.clone(), replaced }
        }));
        let bare = |rule, at, cycle| ResolvedCycle { rule, at, cycle, replaced: Vec::new() };
        cycles.extend(
            dropped.into_iter().map(|(spec, cycle)| bare(CycleRule::SuggestionDropped, Some(spec), cycle)),
        );
        cycles.extend(
            construction.cycles.iter().map(|cycle| bare(CycleRule::Unbroken, None, Arc::new(cycle.clone()))),
        );
        cycles.sort();
        cycles.dedup();
        let second_passes = second_passes(construction);
        Self { knots: sorted(knots), cycles, run_time: sorted(run_time_knots(construction)), second_passes }
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

impl CycleReplacement {
    fn of(found: &CycleBreak) -> Self {
        Self {
            requirement: found.requirement.clone(),
            instead_of: found.instead_of.clone(),
            used: found.used.clone(),
            origin: found.origin,
        }
    }
}

impl BuildKnot {
    pub(super) fn of(construction: &Construction<'_>, ways: &Ways, knot: &Knot) -> Self {
        let specs = knot.builds().iter();
        Self {
            specs: specs.map(|spec| construction.catalog.specs[*spec as usize].data.name.clone()).collect(),
            packages: knot.nodes().len() - knot.builds().len(),
            requirements: requirements(construction, ways, knot),
        }
    }
}

/// Returns who is to be built again with what the first time was not there.
fn second_passes(construction: &Construction<'_>) -> Vec<SecondPass> {
    let catalog = &construction.catalog;
    let mut specs: foldhash::HashMap<&Nevra, &str> =
        foldhash::HashMap::with_capacity_and_hasher(catalog.packages.len(), Default::default());
    for package in &catalog.packages {
        specs.entry(package.nevra).or_insert(&catalog.specs[package.spec].data.name);
    }
    let mut passes: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<CycleReplacement>)> = BTreeMap::new();
    for found in construction.breaks.iter().filter(|found| found.cycle.specs.len() > 1) {
        let (after, because) = passes.entry(&found.spec).or_default();
        after.extend(specs.get(&found.instead_of));
        because.insert(CycleReplacement::of(found));
    }
    let pass = |(spec, (after, because)): (&str, (BTreeSet<&str>, BTreeSet<CycleReplacement>))| SecondPass {
        spec: spec.to_owned(),
        after: after.into_iter().map(str::to_owned).collect(),
        because: because.into_iter().collect(),
    };
    passes.into_iter().map(pass).collect()
}

/// Finds packages that need one another at run time.
fn run_time_knots(construction: &Construction<'_>) -> Vec<RunTimeKnot> {
    let packages = construction.catalog.packages.len();
    let mut graph: DiGraph<usize, ()> = DiGraph::new();
    for place in 0..packages {
        graph.add_node(place);
    }
    for place in 0..packages {
        for target in run_time_targets(construction, place) {
            graph.add_edge(NodeIndex::new(place), NodeIndex::new(target), ());
        }
    }
    kosaraju_scc(&graph)
        .into_iter()
        .filter(|component| component.len() > 1)
        .map(|component| run_time_knot(construction, component.into_iter().map(NodeIndex::index).collect()))
        .collect()
}

/// Returns the packages of the tree that a package needs at run time, sorted.
fn run_time_targets(construction: &Construction<'_>, place: usize) -> BTreeSet<usize> {
    let edges = construction.graph.edges(construction.run(place));
    edges
        .filter(|edge| matches!(edge.weight().kind, EdgeKind::Requires | EdgeKind::RecordedRequires))
        .filter_map(|edge| match construction.key(edge.target()) {
            Key::Run(target) if target != place => Some(target),
            _ => None,
        })
        .collect()
}

fn run_time_knot(construction: &Construction<'_>, members: BTreeSet<usize>) -> RunTimeKnot {
    let catalog = &construction.catalog;
    let specs: BTreeSet<&str> =
        members.iter().map(|place| catalog.specs[catalog.packages[*place].spec].data.name.as_str()).collect();
    let rule = if specs.len() == 1 { CycleRule::WithinOneSpec } else { CycleRule::InstalledTogether };
    let path = shortest_ring(construction, &members);
    let link = |(from, to): (&usize, &usize)| {
        let ends = (construction.run(*from), construction.run(*to));
        let edges = construction.graph.edges_connecting(ends.0, ends.1);
        let requirement = edges.filter_map(|edge| edge.weight().requirement.as_deref()).min()?;
        Some(Link {
            from: catalog.packages[*from].nevra.to_string(),
            requirement: requirement.clone(),
            to: catalog.packages[*to].nevra.clone(),
        })
    };
    RunTimeKnot {
        rule,
        specs: specs.into_iter().map(str::to_owned).collect(),
        packages: sorted(members.iter().map(|place| catalog.packages[*place].nevra.clone()).collect()),
        shortest: path.iter().zip(path.iter().cycle().skip(1)).filter_map(link).collect(),
    }
}

/// Returns a shortest cycle among packages, the first by name of equals.
fn shortest_ring(construction: &Construction<'_>, members: &BTreeSet<usize>) -> Vec<usize> {
    let targets: HashMap<usize, Vec<usize>> = members
        .iter()
        .map(|place| {
            let inside = run_time_targets(construction, *place).into_iter().filter(|to| members.contains(to));
            (*place, inside.collect())
        })
        .collect();
    let mut best: Vec<usize> = Vec::new();
    for start in members {
        if best.len() == 2 {
            break;
        }
        let mut parents: HashMap<usize, usize> = HashMap::new();
        let mut seen: HashSet<usize> = HashSet::from([*start]);
        let mut queue = VecDeque::from([*start]);
        'search: while let Some(place) = queue.pop_front() {
            for target in &targets[&place] {
                if target == start {
                    let mut ring = vec![place];
                    while let Some(parent) = ring.last().and_then(|last| parents.get(last)) {
                        ring.push(*parent);
                    }
                    ring.reverse();
                    if best.is_empty() || ring.len() < best.len() {
                        best = ring;
                    }
                    break 'search;
                }
                if seen.insert(*target) {
                    parents.insert(*target, place);
                    queue.push_back(*target);
                }
            }
        }
    }
    best
}

impl fmt::Display for CycleRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WithinOneSpec => "merged: one build yields them all",
            Self::InstalledTogether => "no cycle of builds: the packages are installed together",
            Self::ItselfFromOutside => "the spec needs itself and gets a package from outside the tree",
            Self::ItselfFromLastBuild => "the spec needs itself and gets its own last build",
            Self::FromCore => "broken by a package that every build root holds",
            Self::OlderPublished => "broken by an older published package",
            Self::FromBase => "broken by a package of a base repository",
            Self::FromToolchain => "broken by a package of the toolchain",
            Self::FromLastBuild => "broken by the last build",
            Self::KnotUntied => "a large knot is untied at the spec that most others need",
            Self::SuggestionDropped => "the provider was only suggested by its name, and is not believed",
            Self::Unbroken => "not broken: nothing older serves",
        })
    }
}

impl fmt::Display for ResolvedCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cycle, self.rule)?;
        if let Some(spec) = &self.at {
            write!(f, ", at {spec}")?;
        }
        for replaced in &self.replaced {
            write!(f, "; {replaced}")?;
        }
        Ok(())
    }
}

impl fmt::Display for CycleReplacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requirement, instead_of, used, origin } = self;
        let origin = crate::model::origin_name(*origin);
        write!(f, "`{requirement}` from {used} ({origin}) instead of {instead_of}")
    }
}

impl fmt::Display for BuildKnot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { specs, packages, requirements } = self;
        let names = specs.join(" ");
        write!(f, "{} specs, {packages} packages, {requirements} requirements: {names}", specs.len())
    }
}

impl fmt::Display for RunTimeKnot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packages: Vec<String> = self.packages.iter().map(ToString::to_string).collect();
        let links: Vec<String> = self.shortest.iter().map(ToString::to_string).collect();
        write!(f, "{}: {}; {}", packages.join(" "), self.rule, links.join("; "))
    }
}

impl fmt::Display for SecondPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because: Vec<String> = self.because.iter().map(ToString::to_string).collect();
        let Self { spec, after, .. } = self;
        write!(f, "{spec} is due once more after {}: {}", after.join(", "), because.join("; "))
    }
}
