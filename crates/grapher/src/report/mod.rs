//! What cannot be built and why: each root cause once, with everything that it blocks.
//!
//! What it is: the whole-tree report as far as the graph alone knows it. Nothing is packed and no record is
//! read for it. A [`RootCause`] is what somebody would mend: one requirement that nothing serves, one spec
//! that cannot be read, one cycle; not the chain that leads from it to each package. [`root_causes`] takes
//! causes of any kind, so that whoever knows more (missing sources, a build that failed) adds them.
//!
//! What it is not: a plan. It does not know what is built already.

mod cause;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use rpm_model::Requirement;
use serde::{Deserialize, Serialize};

use crate::DependencyGraph;
use crate::model::{CycleBreak, Link, Scope, Unresolvable, UnresolvedReason};
use crate::order::BuildOrder;

pub use cause::Cause;
pub use words::{Style, break_lines, cause_lines, list_of_names, report_text, unresolved_lines};

/// A cause in the place where it hinders a spec itself, not by way of another spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCause<C> {
    /// What it is.
    pub cause: C,
    /// Who says so: the spec, or the NEVRA of a package that its build root needs.
    pub stated_by: String,
    /// The requirement as stated there, where it is one: the cause may hold for other versions of it too.
    pub written: Option<Requirement>,
    /// How the spec comes to it; empty where the spec says so itself.
    pub chain: Vec<Arc<Link>>,
}

/// A cause, and everything that cannot be built because of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootCause<C> {
    /// What it is.
    #[serde(flatten)]
    pub cause: C,
    /// Who says so, sorted: specs, or NEVRAs of packages that build roots need.
    pub stated_by: Vec<String>,
    /// The requirements as stated there, sorted; none for a cause that is no requirement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<Requirement>,
    /// Where no spec says so itself: how one of them comes to it, by the shortest way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Arc<Link>>,
    /// Every spec that cannot be built because of it, directly or not, sorted.
    pub blocks: Vec<String>,
    /// How many of them nothing else blocks: once this is mended they can be built, or wait at most for what
    /// builds will show.
    pub blocks_alone: usize,
}

/// One requirement that nothing serves, with everybody who states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnresolvedRequirement {
    /// The requirement as written.
    pub requirement: Requirement,
    /// Why nothing serves it.
    #[serde(flatten)]
    pub reason: UnresolvedReason,
    /// Names that look similar.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
    /// A package that was never built may turn out to provide it.
    pub open: bool,
    /// Specs whose builds state it, sorted.
    pub builds: Vec<String>,
    /// Packages of the tree that state it for run time, NEVRAs, sorted.
    pub packages: Vec<String>,
    /// How many specs cannot be built because of it. None, where only the packages themselves cannot be
    /// installed and no build needs them.
    pub blocks: usize,
}

/// Everything that stands in the way of goals, as far as the graph knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeReport {
    /// This code reads and writes [`TreeReport::SCHEMA`].
    pub schema: u32,
    /// The architecture.
    pub arch: String,
    /// How many specs the goals and all that they need are, unreadable ones included.
    pub specs: usize,
    /// How many of them cannot be built before something is mended.
    pub blocked: usize,
    /// How many others cannot be built before a build shows what it provides.
    pub waiting: usize,
    /// Why, the cause that blocks most first.
    pub causes: Vec<RootCause<Cause>>,
    /// Requirements of these specs and their packages that nothing serves, sorted.
    pub unresolvable: Vec<UnresolvedRequirement>,
    /// Where older packages serve builds that would otherwise need themselves, sorted.
    pub breaks: Vec<CycleBreak>,
    /// How many specs of the tree are not for the architecture.
    pub excluded: usize,
}

impl TreeReport {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;
}

impl DependencyGraph {
    /// Returns what stands in the way of goals and all that they need. A goal may be a spec that cannot be
    /// read.
    pub fn report(&self, goals: &BTreeSet<String>) -> TreeReport {
        self.report_over(&self.order(goals), goals)
    }

    /// Does the same over an order of these goals that is there already.
    pub fn report_over(&self, order: &BuildOrder, goals: &BTreeSet<String>) -> TreeReport {
        let bad: Vec<&String> = goals.iter().filter(|goal| self.bad.contains_key(*goal)).collect();
        let steps = order.steps.iter().map(|step| Place {
            spec: &step.spec,
            needs: step.needs().collect(),
            own: step
                .own_obstacles()
                .iter()
                .filter_map(|obstacle| self.own_cause(&step.spec, obstacle))
                .collect(),
        });
        let unreadable = bad.iter().map(|spec| Place {
            spec,
            needs: Vec::new(),
            own: self.unreadable(spec).into_iter().collect(),
        });
        let causes = root_causes(steps.chain(unreadable), Cause::is_open);
        let blocks = |open: bool| -> BTreeSet<&String> {
            let alike = causes.iter().filter(|root| root.cause.is_open() == open);
            alike.flat_map(|root| &root.blocks).collect()
        };
        let (blocked, open) = (blocks(false), blocks(true));
        let included = |spec: &str| order.step(spec).is_some();
        TreeReport {
            schema: TreeReport::SCHEMA,
            arch: self.arch.clone(),
            specs: order.steps.len() + bad.len(),
            blocked: blocked.len(),
            waiting: open.difference(&blocked).count(),
            unresolvable: self.unresolved(&causes, &included),
            breaks: self.breaks.iter().filter(|found| included(&found.spec)).cloned().collect(),
            excluded: self.excluded.len(),
            causes,
        }
    }

    fn unresolved(
        &self,
        causes: &[RootCause<Cause>],
        included: &dyn Fn(&str) -> bool,
    ) -> Vec<UnresolvedRequirement> {
        let blocks: BTreeMap<&Cause, usize> =
            causes.iter().map(|root| (&root.cause, root.blocks.len())).collect();
        let mut found: BTreeMap<(&Requirement, &UnresolvedReason, bool), UnresolvedRequirement> =
            BTreeMap::new();
        let findings = self.unresolvable.iter().map(|finding| (finding, false));
        for (finding, open) in findings.chain(self.open.iter().map(|finding| (finding, true))) {
            if !included(&finding.spec) {
                continue;
            }
            let Unresolvable { requirement, reason, near, scope, required_by, .. } = finding;
            let entry = found.entry((requirement, reason, open)).or_insert_with(|| UnresolvedRequirement {
                requirement: requirement.clone(),
                reason: reason.clone(),
                near: near.clone(),
                open,
                builds: Vec::new(),
                packages: Vec::new(),
                blocks: blocks.get(&self.cause_of(finding, open)).copied().unwrap_or_default(),
            });
            match scope {
                Scope::Build => entry.builds.push(required_by.clone()),
                Scope::RunTime => entry.packages.push(required_by.clone()),
            }
        }
        let mut list: Vec<UnresolvedRequirement> = found.into_values().collect();
        for entry in &mut list {
            entry.builds.sort();
            entry.packages.sort();
        }
        list
    }

    /// Returns, for each of these specs, how many specs of the whole tree need it, directly or not.
    pub fn dependants(&self, specs: &BTreeSet<&str>) -> BTreeMap<String, usize> {
        let nodes = &self.needs.specs;
        let mut by_level: Vec<usize> = (0..nodes.len()).collect();
        by_level.sort_by_key(|spec| nodes[*spec].level);
        let wanted: Vec<usize> = specs.iter().filter_map(|name| self.needs.place(name)).collect();
        let mut counts = BTreeMap::new();
        // A group at a time: all against all would take a bit for each pair.
        for group in wanted.chunks(GROUP) {
            let columns: BTreeMap<usize, usize> =
                group.iter().enumerate().map(|(column, spec)| (*spec, column)).collect();
            // Which of the group each spec needs; prerequisites are on lower levels.
            let mut needs: Vec<FixedBitSet> = vec![FixedBitSet::with_capacity(group.len()); nodes.len()];
            let mut count = vec![0; group.len()];
            for spec in &by_level {
                let mut own = FixedBitSet::with_capacity(group.len());
                for needed in nodes[*spec].prerequisites.iter().map(|needed| *needed as usize) {
                    own.union_with(&needs[needed]);
                    if let Some(column) = columns.get(&needed) {
                        own.insert(*column);
                    }
                }
                for column in own.ones() {
                    count[column] += 1;
                }
                needs[*spec] = own;
            }
            let named = group.iter().map(|spec| nodes[*spec].name.clone());
            counts.extend(named.zip(count));
        }
        counts
    }
}

/// How many specs' dependants are counted at once.
const GROUP: usize = 4096;

/// A spec among those that [`root_causes`] looks at.
#[derive(Clone, Debug)]
pub struct Place<'a, C> {
    /// The spec.
    pub spec: &'a str,
    /// The specs that it needs directly, as far as they hinder it when they cannot be built.
    pub needs: Vec<&'a str>,
    /// What hinders it itself.
    pub own: Vec<OwnCause<C>>,
}

/// Who states a cause, and the shortest way from a spec to it.
#[derive(Default)]
struct Stated {
    by: BTreeSet<String>,
    requirements: BTreeSet<Requirement>,
    shortest: Option<Vec<Arc<Link>>>,
}

/// Returns every cause once, with all that it blocks: what blocks most comes first, then by cause.
///
/// `places` has prerequisites before those who need them, each spec once. A cause `is_open` if builds may remove
/// it: it does not count as one more where something has to be mended.
pub fn root_causes<'a, C: Ord>(
    places: impl IntoIterator<Item = Place<'a, C>>,
    is_open: impl Fn(&C) -> bool,
) -> Vec<RootCause<C>> {
    let mut numbers: BTreeMap<C, usize> = BTreeMap::new();
    let mut found: Vec<Stated> = Vec::new();
    let mut causes_of: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for Place { spec, needs, own } in places {
        let mut causes: BTreeSet<usize> =
            needs.iter().filter_map(|needed| causes_of.get(needed)).flatten().copied().collect();
        for OwnCause { cause, stated_by, written, chain } in own {
            let next = numbers.len();
            let number = *numbers.entry(cause).or_insert(next);
            if number == found.len() {
                found.push(Stated::default());
            }
            let Stated { by, requirements, shortest } = &mut found[number];
            by.insert(stated_by);
            requirements.extend(written);
            let rank = |chain: &Vec<Arc<Link>>| (chain.len(), chain.clone());
            if shortest.as_ref().is_none_or(|shortest| rank(&chain) < rank(shortest)) {
                *shortest = Some(chain);
            }
            causes.insert(number);
        }
        if !causes.is_empty() {
            causes_of.insert(spec, causes);
        }
    }
    let open: BTreeSet<usize> =
        numbers.iter().filter(|(cause, _)| is_open(cause)).map(|(_, number)| *number).collect();
    let mut blocks: Vec<(Vec<String>, usize)> = vec![(Vec::new(), 0); found.len()];
    for (name, causes) in &causes_of {
        for number in causes {
            blocks[*number].0.push((*name).to_owned());
            let mut others = causes.iter().filter(|other| *other != number);
            let alone = others.all(|other| open.contains(other) && !open.contains(number));
            blocks[*number].1 += usize::from(alone);
        }
    }
    let mut roots: Vec<RootCause<C>> = Vec::new();
    for (cause, number) in numbers {
        let Stated { by, requirements, shortest } = std::mem::take(&mut found[number]);
        let (blocked, blocks_alone) = std::mem::take(&mut blocks[number]);
        roots.push(RootCause {
            cause,
            stated_by: by.into_iter().collect(),
            written: requirements.into_iter().collect(),
            chain: shortest.unwrap_or_default(),
            blocks: blocked,
            blocks_alone,
        });
    }
    // Stable: equals stay in the order of causes.
    roots.sort_by_key(|root| std::cmp::Reverse(root.blocks.len()));
    roots
}
