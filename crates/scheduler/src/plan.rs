//! The plan: what would be built, in which order, and why. A pure function of plain data.
//!
//! Whatever runs was in a plan, or joined it by a cascade with a reason of the same kind. `plan.json` is a
//! [`PlanDocument`].

use std::collections::{BTreeMap, BTreeSet};

use rebuild::{PresentFacts, PublishedState, build_reasons};
use rpm_model::{BadSpec, BuildReason, BuildRecord, ContentDigest, Dependency, Nevra, Requirement};
use serde::{Deserialize, Serialize};

use crate::queue::{Queue, Task};
use crate::task::PackageTask;

/// Seconds assumed for a package that was never built here.
const UNKNOWN_ESTIMATE: f64 = 30.0;

/// What is done about a package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum PlannedAction {
    /// It is built.
    Build {
        /// Why.
        reasons: Vec<BuildReason>,
    },
    /// What is published is right.
    UpToDate,
    /// The user said not to build it; what is published of it is used.
    Ignored,
    /// It cannot be built.
    Blocked {
        /// What stands in the way, one sentence each.
        obstacles: Vec<String>,
    },
}

/// One package of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedPackage {
    /// The spec's name.
    pub package: String,
    /// 0 for packages that need no other of the tree; else one more than the highest of those needed.
    pub level: usize,
    /// What is done.
    #[serde(flatten)]
    pub action: PlannedAction,
    /// Specs of the tree whose packages enter its build root, sorted.
    pub needs: Vec<String>,
    /// Expected duration in seconds, from the last build.
    pub estimate_seconds: f64,
}

/// `plan.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanDocument {
    /// This code reads and writes [`PlanDocument::SCHEMA`].
    pub schema: u32,
    /// The specs asked for, sorted.
    pub goals: Vec<String>,
    /// The goals and all they need, prerequisites first.
    pub packages: Vec<PlannedPackage>,
    /// Expected duration of the longest chain, in seconds: no number of workers is faster.
    pub critical_path_seconds: f64,
    /// Expected duration of all builds together, in seconds.
    pub work_seconds: f64,
}

/// One spec in its place in the graph.
#[derive(Clone, Debug)]
pub struct PlaceInGraph {
    /// The spec's name.
    pub package: String,
    /// See [`PlannedPackage::level`].
    pub level: usize,
    /// What stands in the way of building it.
    pub obstacles: Vec<String>,
    /// All specs whose packages enter its build root.
    pub needs: BTreeSet<String>,
}

impl PlaceInGraph {
    /// Returns the place of a spec that could not be read: nothing is known of it but what is wrong.
    pub fn unreadable(spec: &BadSpec) -> Self {
        let (package, obstacles) = (spec.name.clone(), vec![spec.to_string()]);
        Self { package, level: 0, obstacles, needs: BTreeSet::new() }
    }
}

/// What a plan is made of.
pub struct PlanInput<'a> {
    /// The specs asked for.
    pub goals: &'a BTreeSet<String>,
    /// The goals and all they need, prerequisites first.
    pub places: &'a [PlaceInGraph],
    /// What is known of each spec that can be built.
    pub tasks: &'a BTreeMap<String, PackageTask>,
    /// Why a spec has no task, for example because its sources are missing.
    pub unpacked: &'a BTreeMap<String, String>,
    /// Records of the last builds.
    pub records: &'a BTreeMap<String, BuildRecord>,
    /// What is published.
    pub state: &'a dyn PublishedState,
    /// The worker generation.
    pub worker: &'a ContentDigest,
    /// Specs that the user wants built again.
    pub requested: &'a BTreeSet<String>,
    /// Specs that the user wants left alone.
    pub ignored: &'a BTreeSet<String>,
}

impl PlanDocument {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;

    /// Returns the plan.
    pub fn new(input: &PlanInput<'_>) -> Self {
        let mut packages: Vec<PlannedPackage> = Vec::new();
        let mut stuck: BTreeSet<&str> = BTreeSet::new();
        let mut returning = Returning { state: input.state, records: Vec::new() };
        for place in input.places {
            let action = input.action(place, &stuck, &returning);
            match action {
                PlannedAction::Blocked { .. } => _ = stuck.insert(&place.package),
                PlannedAction::Build { .. } => returning.records.extend(input.records.get(&place.package)),
                PlannedAction::UpToDate | PlannedAction::Ignored => {}
            }
            packages.push(PlannedPackage {
                package: place.package.clone(),
                level: place.level,
                action,
                needs: place.needs.iter().cloned().collect(),
                estimate_seconds: estimate(input.records, &place.package),
            });
        }
        let goals = input.goals.iter().cloned().collect();
        let mut plan =
            Self { schema: Self::SCHEMA, goals, packages, critical_path_seconds: 0.0, work_seconds: 0.0 };
        plan.critical_path_seconds = plan.queue().critical_path_seconds();
        plan.work_seconds = plan.to_build().map(|package| package.estimate_seconds).sum();
        plan
    }

    /// Returns the packages that are built.
    pub fn to_build(&self) -> impl Iterator<Item = &PlannedPackage> {
        self.packages.iter().filter(|package| matches!(package.action, PlannedAction::Build { .. }))
    }

    /// Returns how many packages are right as they are published.
    pub fn up_to_date(&self) -> usize {
        self.packages.iter().filter(|package| package.action == PlannedAction::UpToDate).count()
    }

    /// Returns the packages that a change of another may bring into the run: neither those that the user
    /// wants left alone nor those that cannot be built.
    pub fn cascading(&self) -> BTreeSet<String> {
        let may =
            |action: &PlannedAction| matches!(action, PlannedAction::Build { .. } | PlannedAction::UpToDate);
        self.packages
            .iter()
            .filter(|package| may(&package.action))
            .map(|package| package.package.clone())
            .collect()
    }

    /// Returns the packages that cannot be built, with what stands in the way.
    pub fn blocked(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.packages.iter().filter_map(|package| match &package.action {
            PlannedAction::Blocked { obstacles } => Some((package.package.as_str(), obstacles.as_slice())),
            _ => None,
        })
    }

    /// Returns the reasons of the packages that are built.
    pub fn reasons(&self) -> BTreeMap<String, Vec<BuildReason>> {
        self.packages
            .iter()
            .filter_map(|package| match &package.action {
                PlannedAction::Build { reasons } => Some((package.package.clone(), reasons.clone())),
                _ => None,
            })
            .collect()
    }

    /// Returns the queue that carries the plan out.
    pub fn queue(&self) -> Queue {
        Queue::new(self.to_build().map(|package| Task {
            package: package.package.clone(),
            waits_for: package.needs.iter().cloned().collect(),
            estimate: package.estimate_seconds,
        }))
    }
}

/// Returns the expected duration of a package's build in seconds.
pub fn estimate(records: &BTreeMap<String, BuildRecord>, package: &str) -> f64 {
    records.get(package).map_or(UNKNOWN_ESTIMATE, |record| record.usage.wall_seconds)
}

impl PlanInput<'_> {
    fn action(
        &self,
        place: &PlaceInGraph,
        stuck: &BTreeSet<&str>,
        state: &dyn PublishedState,
    ) -> PlannedAction {
        let name = &place.package;
        if self.ignored.contains(name) {
            return PlannedAction::Ignored;
        }
        let mut obstacles = place.obstacles.clone();
        obstacles.extend(self.unpacked.get(name).cloned());
        if obstacles.is_empty() {
            let blocking = place.needs.iter().filter(|need| stuck.contains(need.as_str()));
            obstacles.extend(blocking.map(|need| format!("needs `{need}`, which cannot be built")));
        }
        if !obstacles.is_empty() {
            return PlannedAction::Blocked { obstacles };
        }
        let Some(task) = self.tasks.get(name) else {
            return PlannedAction::Blocked { obstacles: vec!["it was not packed".to_owned()] };
        };
        let present = PresentFacts {
            inputs: &task.inputs,
            run_check: task.run_check,
            worker: self.worker,
            requested: self.requested.contains(name),
            policy: task.policy,
            build_requires: task.spec.requirements(task.run_check),
        };
        let reasons = build_reasons(self.records.get(name), &present, state);
        if reasons.is_empty() { PlannedAction::UpToDate } else { PlannedAction::Build { reasons } }
    }
}

/// What is published, as a plan looks at it: what is built anyway is expected to provide what it provided
/// before. If it does not, acceptance finds out and brings its dependants into the run.
struct Returning<'a> {
    state: &'a dyn PublishedState,
    /// Last builds of what is built.
    records: Vec<&'a BuildRecord>,
}

impl PublishedState for Returning<'_> {
    fn content(&self, path: &str) -> Option<ContentDigest> {
        self.state.content(path)
    }

    fn satisfied(&self, requirement: &Requirement) -> bool {
        let provides = |leaf: &Dependency| {
            let packages = self.records.iter().flat_map(|record| &record.rpms);
            packages.flat_map(|package| &package.provides).any(|provided| provided.overlaps(leaf))
        };
        self.state.satisfied(requirement) || requirement.leaves().into_iter().any(provides)
    }

    fn package(&self, name: &str) -> Option<(&Nevra, &ContentDigest)> {
        self.state.package(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{indexed, package_task, record_of};
    use crate::universe::Universe;
    use rpm_model::PackageOrigin;
    use std::path::Path;

    fn place(package: &str, needs: &[&str], obstacles: &[&str]) -> PlaceInGraph {
        PlaceInGraph {
            package: package.into(),
            level: needs.len(),
            obstacles: obstacles.iter().map(|text| (*text).to_owned()).collect(),
            needs: needs.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Plans over zlib (built and published), jq (never built, needs onig) and onig.
    fn plan(places: &[PlaceInGraph], requested: &[&str], ignored: &[&str]) -> Vec<(String, &'static str)> {
        let zlib = indexed("zlib", "1-1", PackageOrigin::Tree, &[]);
        let mut record = record_of("zlib", std::slice::from_ref(&zlib));
        let tasks: BTreeMap<String, PackageTask> =
            ["zlib", "jq", "onig"].map(|name| (name.to_owned(), package_task(name))).into();
        record.inputs = tasks["zlib"].inputs.clone();
        let records = BTreeMap::from([("zlib".to_owned(), record)]);
        let universe = Universe::new(Vec::new(), Path::new("/repo"), vec![zlib], &records);
        let worker = records["zlib"].worker.clone();
        let input = PlanInput {
            goals: &names(&["zlib", "jq"]),
            places,
            tasks: &tasks,
            unpacked: &BTreeMap::new(),
            records: &records,
            state: &universe.state(),
            worker: &worker,
            requested: &names(requested),
            ignored: &names(ignored),
        };
        let plan = PlanDocument::new(&input);
        assert!(!plan.queue().is_stuck());
        let word = |action: &PlannedAction| match action {
            PlannedAction::Build { .. } => "build",
            PlannedAction::UpToDate => "up-to-date",
            PlannedAction::Ignored => "ignored",
            PlannedAction::Blocked { .. } => "blocked",
        };
        plan.packages.iter().map(|package| (package.package.clone(), word(&package.action))).collect()
    }

    fn check(found: Vec<(String, &'static str)>, expected: &[(&str, &str)]) {
        let found: Vec<(&str, &str)> = found.iter().map(|(name, word)| (name.as_str(), *word)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_published_stays_unless_a_rebuild_is_asked_for() {
        let places = [place("zlib", &[], &[]), place("onig", &[], &[]), place("jq", &["onig"], &[])];
        check(plan(&places, &[], &[]), &[("zlib", "up-to-date"), ("onig", "build"), ("jq", "build")]);
        check(
            plan(&places, &["zlib"], &["onig"]),
            &[("zlib", "build"), ("onig", "ignored"), ("jq", "build")],
        );
    }

    #[test]
    fn what_needs_something_blocked_is_blocked() {
        let places = [
            place("zlib", &[], &[]),
            place("onig", &[], &["nothing provides `x`"]),
            place("jq", &["onig"], &[]),
        ];
        check(plan(&places, &[], &[]), &[("zlib", "up-to-date"), ("onig", "blocked"), ("jq", "blocked")]);
    }
}
