//! Whose `%check` runs: the Azure toolkit's three lists, over what the configuration says.

use std::collections::BTreeSet;

use clap::Args;
use config::PackageLimits;
use grapher::{did_you_mean, near_names};
use report::{ExitStatus, Failure};

use crate::arguments::words;

/// The three lists, by name of the spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChosenTests {
    /// Where checks run, only these do; empty means all.
    pub(crate) run: BTreeSet<String>,
    /// These are built and checked again in any case.
    pub(crate) rerun: BTreeSet<String>,
    /// These are not checked.
    pub(crate) ignore: BTreeSet<String>,
}

impl ChosenTests {
    /// Refuses lists that contradict one another or name what is not there.
    pub(crate) fn check(&self, specs: &BTreeSet<&str>) -> Result<(), Failure> {
        let usage = |text: String| Err(Failure::new(ExitStatus::Usage, text));
        if let Some(name) = self.rerun.intersection(&self.ignore).next() {
            return usage(format!(
                "`{name}` is in the list of tests to run again and in that of tests to ignore"
            ));
        }
        for (list, names) in [("run", &self.run), ("run again", &self.rerun), ("ignore", &self.ignore)] {
            if let Some(name) = names.iter().find(|name| !specs.contains(name.as_str())) {
                let near = did_you_mean(&near_names(specs.iter().copied(), name));
                return usage(format!(
                    "`{name}` is in the list of tests to {list}, but no spec is called so{near}"
                ));
            }
        }
        Ok(())
    }

    /// Returns what holds for a spec.
    pub(crate) fn over(&self, spec: &str, mut limits: PackageLimits) -> PackageLimits {
        let is_chosen = self.run.is_empty() || self.run.contains(spec);
        let runs = (limits.run_check && is_chosen) || self.rerun.contains(spec);
        limits.run_check = runs && !self.ignore.contains(spec);
        limits
    }
}

/// Whose `%check` runs.
#[derive(Clone, Debug, Args)]
pub(crate) struct TestLists {
    /// With --run-check run %check of these specs alone, separated by blanks; empty means all
    #[arg(long, value_name = "LIST", env = "TEST_RUN_LIST", hide_env_values = true)]
    test_run_list: Option<String>,
    /// Specs to build and test again although they are up to date, separated by blanks
    #[arg(long, value_name = "LIST", env = "TEST_RERUN_LIST", hide_env_values = true)]
    test_rerun_list: Option<String>,
    /// Specs whose %check does not run, separated by blanks
    #[arg(long, value_name = "LIST", env = "TEST_IGNORE_LIST", hide_env_values = true)]
    test_ignore_list: Option<String>,
}

impl TestLists {
    /// Returns the lists as checks are chosen by.
    pub(crate) fn chosen(&self) -> ChosenTests {
        let set = |list: &Option<String>| words(list.as_deref()).into_iter().collect();
        ChosenTests {
            run: set(&self.test_run_list),
            rerun: set(&self.test_rerun_list),
            ignore: set(&self.test_ignore_list),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn lists_choose_among_what_the_configuration_allows() {
        let config = config::RawConfig::default().resolve(std::path::Path::new("/tree"), 1).unwrap();
        let runs = |lists: &ChosenTests, run_check| {
            let limits = PackageLimits { run_check, ..config.limits("") };
            ["a", "b", "c"].map(|spec| lists.over(spec, limits.clone()).run_check)
        };
        assert_eq!(runs(&ChosenTests::default(), true), [true, true, true]);
        assert_eq!(runs(&ChosenTests::default(), false), [false, false, false]);
        let lists = ChosenTests { run: set(&["a", "b"]), rerun: set(&["c"]), ignore: set(&["b"]) };
        assert_eq!(runs(&lists, true), [true, false, true]);
        assert_eq!(runs(&lists, false), [false, false, true]);
        assert!(lists.check(&["a", "b", "c"].into()).is_ok());
        assert!(lists.check(&["a", "b"].into()).unwrap_err().render().contains("`c`"));
        let lists = ChosenTests { ignore: set(&["zlb"]), ..ChosenTests::default() };
        assert!(lists.check(&["zlib"].into()).unwrap_err().render().ends_with("; did you mean zlib?"));
        let lists = ChosenTests { rerun: set(&["a"]), ignore: set(&["a"]), ..ChosenTests::default() };
        assert!(lists.check(&["a"].into()).is_err());
    }
}
