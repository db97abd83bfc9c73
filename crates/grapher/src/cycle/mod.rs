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
mod ways;

use std::collections::HashSet;
use std::sync::Arc;

use petgraph::stable_graph::EdgeIndex;

use rpm_model::PackageOrigin;

use self::knot::{Required, Step};
use self::report::{BuildKnot, CycleReport, CycleRule};
use self::ways::{Knot, Ways};
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
    let (ways, mut knots) = knot::ways(construction);
    let found: Vec<BuildKnot> = knots.iter().map(|knot| BuildKnot::of(construction, &ways, knot)).collect();
    let required = Required::new(construction);
    let mut breaking = Breaking { ways, required, ignored: HashSet::new(), dropped: Vec::new() };
    while let Some(knot) = knots.pop() {
        let small = knot.builds().len() <= FEW_SPECS;
        if small || !breaking.untie_most_needed(construction, &knot) {
            breaking.break_shortest(construction, &knot, small);
        }
        knots.extend(breaking.ways.split(knot));
    }
    let report = CycleReport::new(construction, found, breaking.dropped);
    Broken { ignored: breaking.ignored, report }
}

/// What is kept while cycles are broken.
struct Breaking {
    ways: Ways,
    required: Required,
    ignored: HashSet<EdgeIndex>,
    /// Specs and cycles that were cut by not believing a suggested provider.
    dropped: Vec<(String, Arc<BuildCycle>)>,
}

impl Breaking {
    /// Breaks the shortest cycle of a knot, or gives it up.
    fn break_shortest(&mut self, construction: &mut Construction<'_>, knot: &Knot, exhaustive: bool) {
        let starts: Vec<u32> = if exhaustive {
            knot.builds().to_vec()
        } else {
            self.required.most_needed(&self.ways, knot).take(STARTS).collect()
        };
        // A knot has a cycle through each of its builds.
        let Some(cycle) = self.ways.shortest_cycle(starts.into_iter()) else { return };
        let cycle = Step::all(construction, &cycle);
        let described = Arc::new(describe(construction, &cycle));
        match weakest_step(construction, &cycle) {
            Some((step, edges)) => self.replace(construction, step, &edges, &described, false),
            None => {
                for step in &cycle {
                    self.ignored.extend(step.build_requires.iter().copied());
                    step.cut(construction, &mut self.ways);
                }
                construction.cycles.push(Arc::unwrap_or_clone(described));
            }
        }
    }

    /// Serves every requirement of the most needed spec that leads into the knot by something older.
    ///
    /// Returns whether there was a spec for which that is possible.
    fn untie_most_needed(&mut self, construction: &mut Construction<'_>, knot: &Knot) -> bool {
        for build in self.required.most_needed(&self.ways, knot) {
            let targets = self.ways.targets(build).iter();
            let steps: Vec<Step> = targets.map(|to| Step::new(construction, build, *to)).collect();
            let found: Option<Vec<_>> =
                steps.iter().map(|step| replacements(construction, step).map(|(_, edges)| edges)).collect();
            let Some(found) = found else { continue };
            let cycles = self.ways.cycles_over_each(build);
            let describe =
                |cycle: &Vec<u32>| Arc::new(describe(construction, &Step::all(construction, cycle)));
            let described: Vec<Arc<BuildCycle>> = cycles.iter().map(describe).collect();
            for ((step, edges), cycle) in steps.iter().zip(found).zip(&described) {
                self.replace(construction, step, &edges, cycle, true);
            }
            return !described.is_empty();
        }
        false
    }

    /// Serves the build requirements of a step by something older.
    fn replace(
        &mut self,
        construction: &mut Construction<'_>,
        step: &Step,
        edges: &[Instead],
        cycle: &Arc<BuildCycle>,
        untied: bool,
    ) {
        step.cut(construction, &mut self.ways);
        self.required.forget(construction, step);
        let (Key::Build(spec), Key::Run(place)) = (construction.key(step.from), construction.key(step.to))
        else {
            return;
        };
        for (edge, who) in edges {
            let Some(old) = construction.graph.remove_edge(*edge) else { continue };
            let Some(who) = who else {
                construction.give_up_suggestion(spec, &old);
                let name = construction.catalog.specs[spec].data.name.clone();
                self.dropped.push((name, cycle.clone()));
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
            construction.graph.add_edge(step.from, target, Edge { knowledge: None, ..old });
        }
    }
}

/// An edge and what serves its requirement instead; `None` drops one that was only suggested.
type Instead = (EdgeIndex, Option<Who>);

/// Returns the step whose build requirements have the best older providers, with them.
fn weakest_step<'s>(construction: &Construction<'_>, cycle: &'s [Step]) -> Option<(&'s Step, Vec<Instead>)> {
    let required = cycle.iter().filter(|step| !step.build_requires.is_empty());
    let found = required.filter_map(|step| {
        let (badness, edges) = replacements(construction, step)?;
        Some(((badness, construction.key(step.from)), (step, edges)))
    });
    // The first of equals.
    found.min_by_key(|(order, _)| *order).map(|(_, found)| found)
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
