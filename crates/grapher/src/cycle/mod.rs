//! Finds build cycles and breaks them with older packages.
//!
//! A cycle matters only if it goes through a build: packages that need one another at run time are installed
//! together. Every such cycle leaves a build by a build requirement, so that is where it is broken: the build
//! gets a package from outside the tree instead (core packages first, for they are in its root anyway), or
//! the last build of the tree's own. Packages from outside come before older builds of our own because they
//! change only on purpose; a build that used its own last result would change after each build.
//!
//! In a knot of few specs the shortest cycle is treated first, ties by name, until none is left. A large knot
//! (a compiler and all that it is made of) is untied at the spec that most others need: it is built with
//! older packages throughout, as one bootstraps by hand.
//!
//! A cycle in which no build requirement has an older provider stays, is reported, and hinders its specs
//! only.

mod knot;
pub(crate) mod report;

use std::collections::HashSet;
use std::sync::Arc;

use petgraph::stable_graph::{EdgeIndex, NodeIndex};

use self::knot::{Knot, Step};
use self::report::{BuildKnot, CycleReport, CycleRule};
use rpm_model::PackageOrigin;

use crate::catalog::{Catalog, Who};
use crate::construct::{Construction, Key};
use crate::model::{BuildCycle, CycleBreak, Edge, Knowledge, Link};

/// Knots of at most this many specs are searched exhaustively.
const FEW_SPECS: usize = 40;
/// Where no whole spec can be untied, cycles through this many of the most needed specs are looked at.
const STARTS: usize = 8;

/// What came of the search for cycles.
pub(crate) struct Broken {
    /// The edges of the cycles that remain, which order nothing.
    pub(crate) ignored: HashSet<EdgeIndex>,
    pub(crate) report: CycleReport,
}

/// Breaks what can be broken.
pub(crate) fn break_cycles(construction: &mut Construction<'_>) -> Broken {
    let mut ignored = HashSet::new();
    let mut dropped = Vec::new();
    let all: Vec<NodeIndex> = construction.graph.node_indices().collect();
    let mut knots = Knot::find(construction, all.into_iter(), &ignored);
    let found: Vec<BuildKnot> = knots.iter().map(|knot| BuildKnot::of(construction, knot)).collect();
    while let Some(knot) = knots.pop() {
        let small = knot.builds().count() <= FEW_SPECS;
        if small || !untie_most_needed(construction, &knot, &ignored, &mut dropped) {
            break_shortest(construction, &knot, small, &mut ignored, &mut dropped);
        }
        knots.extend(Knot::find(construction, knot.nodes.iter().map(|(_, node)| *node), &ignored));
    }
    let report = CycleReport::new(construction, found, dropped);
    Broken { ignored, report }
}

/// Specs and cycles that were cut by not believing a suggested provider.
type Dropped = Vec<(String, BuildCycle)>;

/// Breaks the shortest cycle of a knot, or gives it up.
fn break_shortest(
    construction: &mut Construction<'_>,
    knot: &Knot,
    exhaustive: bool,
    ignored: &mut HashSet<EdgeIndex>,
    dropped: &mut Dropped,
) {
    let starts: Vec<NodeIndex> = if exhaustive {
        knot.builds().map(|(_, node)| node).collect()
    } else {
        knot.most_needed(construction).into_iter().take(STARTS).map(|(_, node)| node).collect()
    };
    // A knot has a cycle through each of its builds.
    let Some(cycle) = knot.ways(construction, ignored).shortest_cycle(starts.into_iter()) else { return };
    let described = describe(construction, &cycle);
    match weakest_step(construction, &cycle) {
        Some(replacement) => replace(construction, &replacement, &described, false, dropped),
        None => {
            ignored.extend(cycle.iter().flat_map(|step| step.build_requires.iter().copied()));
            construction.cycles.push(described);
        }
    }
}

/// Serves every requirement of the most needed spec that leads into the knot by something older.
///
/// Returns whether there was a spec for which that is possible.
fn untie_most_needed(
    construction: &mut Construction<'_>,
    knot: &Knot,
    ignored: &HashSet<EdgeIndex>,
    dropped: &mut Dropped,
) -> bool {
    let ways = knot.ways(construction, ignored);
    for (_, build) in knot.most_needed(construction) {
        let steps = ways.steps_from(build);
        let found: Option<Vec<_>> =
            steps.iter().map(|step| replacements(construction, step).map(|(_, edges)| edges)).collect();
        let Some(found) = found else { continue };
        let described: Vec<BuildCycle> = steps
            .iter()
            .filter_map(|step| ways.cycle_over(step))
            .map(|cycle| describe(construction, &cycle))
            .collect();
        for (edges, cycle) in found.into_iter().zip(&described) {
            replace(construction, &Replacement { from: build, edges }, cycle, true, dropped);
        }
        return !described.is_empty();
    }
    false
}

/// An edge and what serves its requirement instead; `None` drops one that was only suggested.
type Instead = (EdgeIndex, Option<Who>);

/// What serves the build requirements of a step instead.
struct Replacement {
    from: NodeIndex,
    edges: Vec<Instead>,
}

/// Returns the step whose build requirements have the best older providers.
fn weakest_step(construction: &Construction<'_>, cycle: &[Step]) -> Option<Replacement> {
    let mut best: Option<(usize, Key, Replacement)> = None;
    for step in cycle.iter().filter(|step| !step.build_requires.is_empty()) {
        let Some((badness, edges)) = replacements(construction, step) else { continue };
        let key = construction.key(step.from);
        if best.as_ref().is_none_or(|(least, first, _)| (badness, key) < (*least, *first)) {
            best = Some((badness, key, Replacement { from: step.from, edges }));
        }
    }
    best.map(|(.., replacement)| replacement)
}

/// Returns what serves the requirements of a step instead, if there is something for each.
fn replacements(construction: &Construction<'_>, step: &Step) -> Option<(usize, Vec<Instead>)> {
    let Key::Run(place) = construction.key(step.to) else { return None };
    let catalog = &construction.catalog;
    let replaced = catalog.packages[place].spec;
    let mut badness = 0;
    let mut edges = Vec::new();
    for edge in &step.build_requires {
        let weight = &construction.graph[*edge];
        let leaf = weight.leaf.as_ref()?;
        let order = |who: Who| match who {
            Who::External(place) if catalog.externals[place].in_core => Some(1),
            Who::External(place) => Some(2 + catalog.externals[place].origin as usize),
            Who::Older(_) if catalog.spec_of(who) == Some(replaced) => Some(9),
            Who::Older(_) | Who::Tree(_) => None,
        };
        let best = catalog.providers(leaf).filter_map(|entry| order(entry.who).map(|o| (o, entry.who)));
        // The first of equals: `providers` is sorted.
        match best.min_by_key(|(order, _)| *order) {
            Some((order, who)) => {
                badness = badness.max(order);
                edges.push((*edge, Some(who)));
            }
            None if weight.knowledge == Some(Knowledge::Suggested) => edges.push((*edge, None)),
            None => return None,
        }
    }
    Some((badness, edges))
}

fn replace(
    construction: &mut Construction<'_>,
    replacement: &Replacement,
    cycle: &BuildCycle,
    untied: bool,
    dropped: &mut Dropped,
) {
    for (edge, who) in &replacement.edges {
        let Some((_, to)) = construction.graph.edge_endpoints(*edge) else { continue };
        let Some(old) = construction.graph.remove_edge(*edge) else { continue };
        let (Key::Build(spec), Key::Run(place)) = (construction.key(replacement.from), construction.key(to))
        else {
            continue;
        };
        let Some(who) = who else {
            construction.give_up_suggestion(spec, &old);
            dropped.push((construction.catalog.specs[spec].data.name.clone(), cycle.clone()));
            continue;
        };
        let target = construction.node_of(*who);
        let catalog = &construction.catalog;
        if let Some(requirement) = &old.requirement {
            construction.breaks.push(CycleBreak {
                spec: catalog.specs[spec].data.name.clone(),
                requirement: requirement.as_ref().clone(),
                instead_of: catalog.packages[place].nevra.clone(),
                used: catalog.nevra(*who).clone(),
                origin: catalog.origin(*who),
                rule: if untied { CycleRule::KnotUntied } else { rule_for(catalog, *who) },
                cycle: cycle.clone(),
            });
        }
        construction.graph.add_edge(replacement.from, target, Edge { knowledge: None, ..old });
    }
}

/// Returns by which rule a package breaks a cycle.
fn rule_for(catalog: &Catalog<'_>, who: Who) -> CycleRule {
    match (who, catalog.origin(who)) {
        (Who::Tree(_) | Who::Older(_), _) => CycleRule::FromLastBuild,
        _ if catalog.in_core(who) => CycleRule::FromCore,
        (_, PackageOrigin::Staging | PackageOrigin::Live | PackageOrigin::Tree) => CycleRule::OlderPublished,
        (_, PackageOrigin::Base) => CycleRule::FromBase,
        (_, PackageOrigin::Toolchain) => CycleRule::FromToolchain,
    }
}

/// Puts a cycle into words' form: who requires what from whom.
fn describe(construction: &Construction<'_>, cycle: &[Step]) -> BuildCycle {
    let catalog = &construction.catalog;
    let mut specs = Vec::new();
    let mut links = Vec::new();
    let mut only_for_tests_of = Vec::new();
    for step in cycle {
        let from = match construction.key(step.from) {
            Key::Build(spec) => {
                specs.push(catalog.specs[spec].data.name.clone());
                if !step.build_requires.is_empty()
                    && step.build_requires.iter().all(|edge| construction.is_for_tests(spec, *edge))
                {
                    only_for_tests_of.push(catalog.specs[spec].data.name.clone());
                }
                catalog.specs[spec].data.name.clone()
            }
            Key::Run(place) => catalog.packages[place].nevra.to_string(),
            _ => continue,
        };
        let Key::Run(target) = construction.key(step.to) else { continue };
        let edges = construction.graph.edges_connecting(step.from, step.to);
        let requirement = edges.filter_map(|edge| edge.weight().requirement.clone()).min();
        if let Some(requirement) = requirement.map(Arc::unwrap_or_clone) {
            links.push(Link { from, requirement, to: catalog.packages[target].nevra.clone() });
        }
    }
    only_for_tests_of.sort();
    BuildCycle { specs, links, only_for_tests_of }
}
