//! The plan: what would be built, in which order, and why; what is blocked and by what; what it will cost.
//!
//! A pure function of plain data. Whatever runs was in a plan, or joined it by a cascade with a reason of the
//! same kind. `plan.json` is a [`PlanDocument`].

mod cause;
mod decide;
mod impact;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use grapher::{CycleBreak, RootCause, UnresolvedRequirement};
use rpm_model::{BuildReason, Requirement};
use serde::{Deserialize, Serialize};

use crate::queue::{Queue, Task};
use crate::releases::PlannedRelease;

pub use cause::{LocalCause, PlanCause};
pub(crate) use decide::layer_of;
pub use decide::{PlaceInGraph, PlanInput};
pub use impact::{PlannedImpact, PossibleRebuild, Touch};
pub use time::{Estimate, Estimates, GuessSource, PathStep, PlannedTime};

/// What is done about a package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum PlannedAction {
    /// It is built.
    Build {
        /// Why.
        reasons: Vec<BuildReason>,
        /// Whether its sources were looked at.
        sources: SourcesState,
    },
    /// What is published is right.
    UpToDate,
    /// It is due because of a change of others, but lies beyond the layers of dependants that a rebuild may bring
    /// along (`max-cascading-rebuilds`). It stays due until a run without that limit.
    Deferred {
        /// Why it is due.
        reasons: Vec<BuildReason>,
        /// How many packages lie between the change that began it and this one; 1 is a direct dependant.
        layer: u32,
    },
    /// The user said not to build it; what is published of it is used.
    Ignored,
    /// Whether it can be built is known once others are built, which are; `millwright build` goes on with it
    /// in its next round.
    Waiting {
        /// For what: places in [`PlanDocument::causes`].
        causes: Vec<usize>,
    },
    /// It cannot be built.
    Blocked {
        /// Why not: places in [`PlanDocument::causes`].
        causes: Vec<usize>,
    },
}

/// What is known of the sources of a package that is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourcesState {
    /// They are there, verified and packed.
    Packed,
    /// Nobody looked: a package that was never built is built whatever is in them.
    NotLookedAt,
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
    /// What becomes of its release, where that does not stay; absent where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<PlannedRelease>,
    /// Specs of the tree whose packages enter its build root, sorted; what those were built with is not
    /// among them.
    pub needs: Vec<String>,
    /// How many specs of the tree need it, directly or not.
    pub dependants: usize,
    /// Expected duration.
    #[serde(flatten)]
    pub estimate: Estimate,
}

/// `plan.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanDocument {
    /// This code reads and writes [`PlanDocument::SCHEMA`].
    pub schema: u32,
    /// The specs asked for, sorted.
    pub goals: Vec<String>,
    /// The goals and all they need: by level, so prerequisites come first; within a level what the longest
    /// chain of builds hangs on comes first.
    pub packages: Vec<PlannedPackage>,
    /// Why packages are blocked or wait, what hinders most first.
    pub causes: Vec<RootCause<PlanCause>>,
    /// Requirements that nothing serves, also those that hinder no build, sorted.
    pub unresolvable: Vec<UnresolvedRequirement>,
    /// Where older packages serve builds that would otherwise need themselves.
    pub breaks: Vec<CycleBreak>,
    /// How long it will take.
    pub time: PlannedTime,
    /// What it could set off; absent in documents of older versions.
    #[serde(default)]
    pub impact: Option<PlannedImpact>,
}

impl PlanDocument {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 2;

    /// Returns the packages that are built.
    pub fn to_build(&self) -> impl Iterator<Item = &PlannedPackage> {
        self.packages.iter().filter(|package| matches!(package.action, PlannedAction::Build { .. }))
    }

    /// Returns how many packages are right as they are published.
    pub fn up_to_date(&self) -> usize {
        self.packages.iter().filter(|package| package.action == PlannedAction::UpToDate).count()
    }

    /// Returns how many packages are built whose sources nobody looked at.
    pub fn sources_not_looked_at(&self) -> usize {
        let unseen = |package: &&PlannedPackage| {
            matches!(package.action, PlannedAction::Build { sources: SourcesState::NotLookedAt, .. })
        };
        self.packages.iter().filter(unseen).count()
    }

    /// Returns the packages that a change of another may bring into the run: neither those that the user
    /// wants left alone nor those that cannot be built.
    pub fn cascading(&self) -> BTreeSet<String> {
        let may = |action: &PlannedAction| {
            matches!(
                action,
                PlannedAction::Build { .. } | PlannedAction::UpToDate | PlannedAction::Deferred { .. }
            )
        };
        self.packages
            .iter()
            .filter(|package| may(&package.action))
            .map(|package| package.package.clone())
            .collect()
    }

    /// Returns the packages that are due and beyond the limit of layers.
    pub fn deferred(&self) -> impl Iterator<Item = &PlannedPackage> {
        self.packages.iter().filter(|package| matches!(package.action, PlannedAction::Deferred { .. }))
    }

    /// Returns the packages that cannot be built.
    pub fn blocked(&self) -> impl Iterator<Item = &str> {
        let blocked = |package: &&PlannedPackage| matches!(package.action, PlannedAction::Blocked { .. });
        self.packages.iter().filter(blocked).map(|package| package.package.as_str())
    }

    /// Returns the packages that wait for what others will provide.
    pub fn waiting(&self) -> impl Iterator<Item = &str> {
        let waiting = |package: &&PlannedPackage| matches!(package.action, PlannedAction::Waiting { .. });
        self.packages.iter().filter(waiting).map(|package| package.package.as_str())
    }

    /// Returns the causes of blocked packages, and those of packages that only wait.
    pub fn hard_and_open(&self) -> (Vec<&RootCause<PlanCause>>, Vec<&RootCause<PlanCause>>) {
        self.causes.iter().partition(|root| !root.cause.is_open())
    }

    /// Returns the requirements that packages wait for.
    pub fn awaited(&self) -> impl Iterator<Item = &Requirement> {
        self.causes.iter().filter_map(|root| root.cause.awaited())
    }

    /// Returns the reasons of the packages that are built.
    pub fn reasons(&self) -> BTreeMap<String, Vec<BuildReason>> {
        self.packages
            .iter()
            .filter_map(|package| match &package.action {
                PlannedAction::Build { reasons, .. } => Some((package.package.clone(), reasons.clone())),
                _ => None,
            })
            .collect()
    }

    /// Returns the queue that carries the plan out.
    ///
    /// A package waits for all that it needs, directly or not: a change of any of them may bring packages in
    /// between into the run.
    pub fn queue(&self) -> Queue {
        let is_built = |package: &&PlannedPackage| matches!(package.action, PlannedAction::Build { .. });
        let needs = |package: &PlannedPackage| package.needs.iter().cloned().collect();
        let (built, others): (Vec<_>, Vec<_>) = self.packages.iter().partition(is_built);
        Queue::with_passages(
            built.into_iter().map(|package| Task {
                package: package.package.clone(),
                waits_for: needs(package),
                estimate: package.estimate.seconds,
            }),
            others.into_iter().map(|package| (package.package.clone(), needs(package))),
        )
    }
}
