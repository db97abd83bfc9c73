//! A plan as far as those need it who watch it being carried out and report on it afterwards.

use rpm_model::BuildReason;
use serde::{Deserialize, Serialize};

/// What is about to be built, what is not, and how long it will take. Every list is sorted by name, but for the
/// critical path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// Packages built at the same time.
    pub workers: usize,
    /// The specs asked for.
    pub goals: Vec<String>,
    /// What is built.
    pub builds: Vec<PlannedBuild>,
    /// What is right as it is published.
    pub up_to_date: Vec<String>,
    /// What the user said not to build.
    pub ignored: Vec<String>,
    /// Why packages cannot be built, or not yet; what hinders most first.
    pub hindrances: Vec<Hindrance>,
    /// The longest chain of builds, in the order in which it is built.
    pub critical_path: Vec<String>,
    /// How long that takes, in seconds.
    pub critical_path_seconds: f64,
    /// All builds together, in seconds.
    pub work_seconds: f64,
    /// A lower bound of the time with these workers, in seconds.
    pub at_least_seconds: f64,
}

/// One package that is built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedBuild {
    /// The spec's name.
    pub package: String,
    /// Why.
    pub reasons: Vec<BuildReason>,
    /// Specs of the tree whose packages enter its build root.
    pub needs: Vec<String>,
    /// How many specs of the tree need it, directly or not.
    pub dependants: usize,
    /// Expected duration in seconds.
    pub estimate_seconds: f64,
    /// It was never built here: the duration is a guess.
    pub estimate_guessed: bool,
    /// The longest expected way from its start to the end of the plan, in seconds.
    pub way_seconds: f64,
}

/// Something because of which packages are not built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hindrance {
    /// What it is, in words.
    pub cause: String,
    /// Whether builds of the plan may remove it.
    pub open: bool,
    /// The packages that it hinders.
    pub packages: Vec<String>,
}
