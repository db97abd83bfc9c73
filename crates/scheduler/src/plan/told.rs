//! A plan as those need it who watch it being carried out: [`RunPlan`] in the event stream.

use std::collections::BTreeMap;

use report::{Hindrance, PlannedBuild, RunPlan};

use super::{PlanDocument, PlannedAction, PlannedPackage};

impl PlanDocument {
    /// Returns the plan as the event stream tells it.
    pub(crate) fn told(&self) -> RunPlan {
        let names = |wanted: &dyn Fn(&PlannedPackage) -> bool| {
            let chosen = self.packages.iter().filter(|package| wanted(package));
            let mut names: Vec<String> = chosen.map(|package| package.package.clone()).collect();
            names.sort();
            names
        };
        let ways = self.ways();
        let build = |package: &PlannedPackage| match &package.action {
            PlannedAction::Build { reasons, .. } => Some(PlannedBuild {
                package: package.package.clone(),
                reasons: reasons.clone(),
                needs: package.needs.clone(),
                dependants: package.dependants,
                estimate_seconds: package.estimate.seconds,
                estimate_guessed: package.estimate.guessed,
                way_seconds: ways.get(package.package.as_str()).copied().unwrap_or_default(),
            }),
            _ => None,
        };
        let mut builds: Vec<PlannedBuild> = self.packages.iter().filter_map(build).collect();
        builds.sort_by(|a, b| a.package.cmp(&b.package));
        let hindrances = self.causes.iter().map(|root| Hindrance {
            cause: root.cause.to_string(),
            open: root.cause.is_open(),
            packages: root.blocks.clone(),
        });
        RunPlan {
            workers: self.time.workers,
            goals: self.goals.clone(),
            builds,
            up_to_date: names(&|package| package.action == PlannedAction::UpToDate),
            ignored: names(&|package| package.action == PlannedAction::Ignored),
            hindrances: hindrances.collect(),
            critical_path: self.time.critical_path.iter().map(|step| step.package.clone()).collect(),
            critical_path_seconds: self.time.critical_path_seconds,
            work_seconds: self.time.work_seconds,
            at_least_seconds: self.time.at_least_seconds,
        }
    }

    /// Returns, for each package, the longest expected way from its start to the end of the plan, in seconds.
    /// Ways lead through packages that are not built too: they order builds.
    fn ways(&self) -> BTreeMap<&str, f64> {
        let mut ways: BTreeMap<&str, f64> = BTreeMap::new();
        // Prerequisites come first, so those who need a package have their way before it.
        for package in self.packages.iter().rev() {
            let own = match package.action {
                PlannedAction::Build { .. } => package.estimate.seconds,
                _ => 0.0,
            };
            // Until its own turn comes, a package holds the longest way that follows it.
            let way = ways.get(package.package.as_str()).copied().unwrap_or_default() + own;
            ways.insert(&package.package, way);
            for need in &package.needs {
                let longest = ways.entry(need).or_default();
                *longest = longest.max(way);
            }
        }
        ways
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::tests::{Scene, plan_of};
    use crate::rounds::Rounds;

    #[test]
    fn ways_and_hindrances_are_told() {
        let scene = Scene::new(&["a:", "b: a", "c: b", "d:", "x: !nothing"]).took("d", 5.0);
        let plan = plan_of(&scene, &Rounds::default());
        let told = plan.told();
        for build in &told.builds {
            let below = plan.time.critical_path_seconds;
            assert!(build.way_seconds >= build.estimate_seconds && build.way_seconds <= below, "{build:?}");
        }
        assert_eq!(told.critical_path, ["a", "b", "c"]);
        let first = told.builds.iter().find(|build| build.package == told.critical_path[0]).unwrap();
        assert_eq!(first.way_seconds, told.critical_path_seconds);
        assert_eq!(told.hindrances[0].packages, ["x"]);
        assert!(!told.hindrances[0].open);
    }
}
