//! What a scheduler asks: what must be finished before what, and what stands in the way.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{BuildCycle, Link, Unresolvable};
use crate::needs::Needs;

/// A spec of the tree whose packages another spec's build root needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Prerequisite {
    /// The spec that must be finished before.
    pub spec: String,
    /// Why: a build requirement, then run-time requirements up to one of the spec's packages.
    pub via: Vec<Arc<Link>>,
}

/// One spec of a [`BuildOrder`].
///
/// Chains and obstacles are found when they are asked for: a whole distribution has millions of them.
#[derive(Clone, Debug)]
pub struct BuildStep {
    /// The spec.
    pub spec: String,
    /// 0 for specs that need no other; otherwise one more than the highest of its prerequisites.
    pub level: usize,
    place: usize,
    needs: Arc<Needs>,
}

impl BuildStep {
    /// Returns the names of all specs whose packages enter its build root, sorted.
    pub fn needs(&self) -> impl ExactSizeIterator<Item = &str> {
        let needed = self.needs.specs[self.place].prerequisites.iter();
        needed.map(|place| self.needs.specs[*place as usize].name.as_str())
    }

    /// Returns every spec whose packages enter its build root and why, sorted by name.
    pub fn prerequisites(&self) -> Vec<Prerequisite> {
        self.needs.prerequisites(self.place)
    }

    /// Returns whether it cannot be built; [`Self::obstacles`] says why.
    pub fn is_hindered(&self) -> bool {
        self.needs.specs[self.place].hindered
    }

    /// Returns what hinders it itself, not by way of a prerequisite that cannot be built.
    pub fn own_obstacles(&self) -> Vec<Obstacle> {
        self.needs.own_obstacles(self.place)
    }

    /// Returns why it cannot be built; nothing where it can.
    pub fn obstacles(&self) -> Vec<Obstacle> {
        self.needs.obstacles(self.place)
    }
}

impl PartialEq for BuildStep {
    fn eq(&self, other: &Self) -> bool {
        (&self.spec, self.level) == (&other.spec, other.level)
            && self.prerequisites() == other.prerequisites()
            && self.obstacles() == other.obstacles()
    }
}

impl Eq for BuildStep {}

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
    /// Returns the order of some specs and all they need.
    pub(crate) fn new(needs: &Arc<Needs>, goals: &BTreeSet<String>) -> Self {
        let mut wanted = vec![false; needs.specs.len()];
        let mut queue: Vec<usize> = goals.iter().filter_map(|goal| needs.place(goal)).collect();
        while let Some(spec) = queue.pop() {
            if !std::mem::replace(&mut wanted[spec], true) {
                queue.extend(needs.specs[spec].prerequisites.iter().map(|needed| *needed as usize));
            }
        }
        let mut order: Vec<usize> = (0..wanted.len()).filter(|spec| wanted[*spec]).collect();
        // By level; specs are sorted by name.
        order.sort_by_key(|spec| needs.specs[*spec].level);
        let mut places = vec![usize::MAX; wanted.len()];
        for (place, spec) in order.iter().enumerate() {
            places[*spec] = place;
        }
        let needed = order
            .iter()
            .map(|spec| {
                needs.specs[*spec].prerequisites.iter().map(|needed| places[*needed as usize]).collect()
            })
            .collect();
        let steps: Vec<BuildStep> = order
            .into_iter()
            .map(|place| BuildStep {
                spec: needs.specs[place].name.clone(),
                level: needs.specs[place].level,
                place,
                needs: Arc::clone(needs),
            })
            .collect();
        let places = steps.iter().enumerate().map(|(place, step)| (step.spec.clone(), place)).collect();
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
