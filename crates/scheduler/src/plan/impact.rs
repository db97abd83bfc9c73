//! What a plan could set off: the packages that follow if nothing that is built comes out identical.
//!
//! An upper bound, by what records know: whose packages a build root held, who satisfies which requirement. What
//! really follows is found out as builds are accepted, and is less, for most rebuilds change nothing that others see.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use rebuild::{layer, sensitivity};
use rpm_model::RebuildPolicy;
use serde::{Deserialize, Serialize};

use super::decide::{PlaceInGraph, PlanInput, layer_of};
use super::time::{Timed, times};
use super::{Estimates, PlannedAction, PlannedTime};

/// How a package could be touched by the change of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// Its packages require what that one provides.
    Requirement,
    /// A package of that one was in its build root, and its policy counts it.
    BuildRoot,
    /// A trigger of its spec watches a package of that one.
    Trigger,
}

/// A package that may have to be built because of what a plan builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PossibleRebuild {
    /// The spec's name.
    pub package: String,
    /// How many packages lie between a build of the plan and this one; 1 is a direct dependant.
    pub layer: u32,
    /// The nearest spec whose change could bring it along.
    pub by: String,
    /// How.
    pub through: Touch,
    /// Its policy.
    pub policy: RebuildPolicy,
}

/// What a plan builds for certain and what could follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedImpact {
    /// How many builds are certain.
    pub certain: usize,
    /// What follows at most, the nearest first: all of it is built if nothing comes out identical.
    pub possible: Vec<PossibleRebuild>,
    /// How long all of it takes then.
    pub time: PlannedTime,
}

/// Who could touch whom: for each up-to-date package the specs whose change it may see.
struct Touches<'a> {
    /// For each place those that it may bring along, each with the way.
    followers: Vec<BTreeMap<usize, Touch>>,
    places: &'a [&'a PlaceInGraph],
}

impl<'a> Touches<'a> {
    fn new(input: &PlanInput<'_>, places: &'a [&'a PlaceInGraph], actions: &[PlannedAction]) -> Self {
        let mut makers: HashMap<&str, BTreeSet<usize>> = HashMap::new();
        let mut providers: HashMap<&str, BTreeSet<usize>> = HashMap::new();
        for (number, place) in places.iter().enumerate() {
            if let Some(record) = input.records.get(&place.package) {
                for rpm in &record.rpms {
                    makers.entry(rpm.artifact.nevra.name.as_str()).or_default().insert(number);
                    for provided in &rpm.provides {
                        providers.entry(provided.name.as_str()).or_default().insert(number);
                    }
                }
            }
            let announced = input.tasks.get(&place.package).into_iter().flat_map(|task| &task.spec.packages);
            for package in announced {
                makers.entry(package.nevra.name.as_str()).or_default().insert(number);
            }
        }
        let mut followers = vec![BTreeMap::new(); places.len()];
        for (number, place) in places.iter().enumerate() {
            let name = &place.package;
            let (Some(record), Some(task)) = (input.records.get(name), input.tasks.get(name)) else {
                continue;
            };
            if actions[number] != PlannedAction::UpToDate {
                continue;
            }
            let seen = sensitivity(record, task.policy, task.spec.requirements(task.run_check));
            let leaves = seen.requirements.iter().flat_map(|requirement| requirement.leaves());
            let required = leaves.filter_map(|leaf| providers.get(leaf.name.as_str())).flatten();
            let held = seen.packages.iter().filter_map(|package| makers.get(package)).flatten();
            let watched = seen.watched.iter();
            let watched = watched.flat_map(|name| makers.get(name).into_iter().chain(providers.get(name)));
            let touched = held
                .map(|maker| (maker, Touch::BuildRoot))
                .chain(required.map(|maker| (maker, Touch::Requirement)))
                .chain(watched.flatten().map(|maker| (maker, Touch::Trigger)));
            for (maker, touch) in touched {
                if *maker != number {
                    followers[*maker].entry(number).or_insert(touch);
                }
            }
        }
        Self { followers, places }
    }

    /// Returns what follows at most, by place, within a number of layers.
    fn follow(
        &self,
        input: &PlanInput<'_>,
        certain: impl Iterator<Item = (usize, u32)>,
    ) -> BTreeMap<usize, PossibleRebuild> {
        use std::cmp::Reverse;
        let mut next: BinaryHeap<Reverse<(u32, usize)>> = BinaryHeap::new();
        let mut nearest: HashMap<usize, u32> = HashMap::new();
        for (place, layer) in certain {
            nearest.insert(place, layer);
            next.push(Reverse((layer, place)));
        }
        let mut found = BTreeMap::new();
        while let Some(Reverse((layer, place))) = next.pop() {
            if input.max_layers.is_some_and(|most| layer >= most) {
                continue;
            }
            for (follower, through) in &self.followers[place] {
                if nearest.contains_key(follower) {
                    continue;
                }
                nearest.insert(*follower, layer + 1);
                next.push(Reverse((layer + 1, *follower)));
                let package = self.places[*follower].package.clone();
                let policy =
                    input.tasks.get(&package).map_or_else(RebuildPolicy::default, |task| task.policy);
                let by = self.places[place].package.clone();
                let (layer, through) = (layer + 1, *through);
                found.insert(*follower, PossibleRebuild { package, layer, by, through, policy });
            }
        }
        found
    }
}

/// Returns what a plan could set off; `needs` are the places of what each place needs.
pub(super) fn impact(
    input: &PlanInput<'_>,
    places: &[&PlaceInGraph],
    actions: &[PlannedAction],
    needs: &[Vec<usize>],
    estimates: &Estimates,
) -> PlannedImpact {
    let certain: Vec<(usize, u32)> = actions
        .iter()
        .enumerate()
        .filter_map(|(place, action)| match action {
            PlannedAction::Build { reasons, .. } => {
                Some((place, layer(reasons, &|spec| layer_of(input.records, spec))))
            }
            _ => None,
        })
        .collect();
    let found = if certain.is_empty() {
        BTreeMap::new()
    } else {
        Touches::new(input, places, actions).follow(input, certain.iter().copied())
    };
    let timed: Vec<Timed<'_>> = places
        .iter()
        .enumerate()
        .map(|(number, place)| Timed {
            package: &place.package,
            built: matches!(actions[number], PlannedAction::Build { .. }) || found.contains_key(&number),
            needs: needs[number].clone(),
        })
        .collect();
    let (_, time) = times(&timed, estimates, input.workers);
    let mut possible: Vec<PossibleRebuild> = found.into_values().collect();
    possible.sort_by(|a, b| (a.layer, &a.package).cmp(&(b.layer, &b.package)));
    PlannedImpact { certain: certain.len(), possible, time }
}
