//! How long a plan will take: measured durations where there are some, a stated guess where there are none.

use std::collections::BTreeMap;

use rpm_model::BuildRecord;
use serde::{Deserialize, Serialize};

/// Seconds assumed for a package where nothing at all was built yet.
const ASSUMED_SECONDS: f64 = 30.0;

/// The expected duration of one build.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// In seconds.
    #[serde(rename = "estimate_seconds")]
    pub seconds: f64,
    /// It was never built here: the number is a guess ([`PlannedTime::guess_from`]).
    #[serde(rename = "estimate_guessed")]
    pub guessed: bool,
}

/// Where the duration of packages that were never built is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "guess", rename_all = "kebab-case")]
pub enum GuessSource {
    /// Nothing was ever built: a number out of the air.
    Assumed,
    /// The median of what was built.
    Median {
        /// Of how many builds.
        records: usize,
    },
}

/// What durations are expected.
#[derive(Clone, Debug)]
pub struct Estimates {
    known: BTreeMap<String, f64>,
    guess: f64,
    source: GuessSource,
}

impl Estimates {
    /// Returns what the records of last builds let expect.
    pub fn new(records: &BTreeMap<String, BuildRecord>) -> Self {
        let known: BTreeMap<String, f64> =
            records.iter().map(|(name, record)| (name.clone(), record.usage.wall_seconds)).collect();
        let mut durations: Vec<f64> = known.values().copied().collect();
        durations.sort_by(f64::total_cmp);
        let (guess, source) = match durations.len() {
            0 => (ASSUMED_SECONDS, GuessSource::Assumed),
            records => {
                let (low, high) = (durations[(records - 1) / 2], durations[records / 2]);
                (f64::midpoint(low, high), GuessSource::Median { records })
            }
        };
        Self { known, guess, source }
    }

    /// Returns what is expected of a package.
    pub fn of(&self, package: &str) -> Estimate {
        let known = self.known.get(package).copied();
        Estimate { seconds: known.unwrap_or(self.guess), guessed: known.is_none() }
    }
}

/// One build of the longest chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathStep {
    /// The spec.
    pub package: String,
    /// Expected duration.
    #[serde(flatten)]
    pub estimate: Estimate,
}

/// How long a plan will take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedTime {
    /// How many packages are built at the same time.
    pub workers: usize,
    /// Expected duration of all builds together, in seconds.
    pub work_seconds: f64,
    /// Expected duration of the longest chain, in seconds: no number of workers is faster.
    pub critical_path_seconds: f64,
    /// That chain, in the order in which it is built.
    pub critical_path: Vec<PathStep>,
    /// A lower bound of the time with these workers, in seconds: the longest chain, or the work divided among
    /// them, whichever is longer.
    pub at_least_seconds: f64,
    /// How many durations are guessed because the package was never built here.
    pub guessed: usize,
    /// What is guessed, in seconds.
    pub guess_seconds: f64,
    /// From what.
    #[serde(flatten)]
    pub guess_from: GuessSource,
}

/// A package as far as it matters for the time; prerequisites come before those who need them.
pub(super) struct Timed<'a> {
    pub(super) package: &'a str,
    /// Whether it is built.
    pub(super) built: bool,
    /// Places of what it needs.
    pub(super) needs: Vec<usize>,
}

/// Returns, for each package, the longest expected way from its start to the end of the plan in seconds, and
/// how long the plan takes.
pub(super) fn times(
    packages: &[Timed<'_>],
    estimates: &Estimates,
    workers: usize,
) -> (Vec<f64>, PlannedTime) {
    let own = |place: usize| {
        let timed = &packages[place];
        if timed.built { estimates.of(timed.package).seconds } else { 0.0 }
    };
    let mut after: Vec<Option<usize>> = vec![None; packages.len()];
    let mut ways = vec![0.0; packages.len()];
    for place in (0..packages.len()).rev() {
        ways[place] += own(place);
        for needed in &packages[place].needs {
            // Until its own turn comes, a place holds the longest way that follows it.
            if ways[place] > ways[*needed] || after[*needed].is_none() {
                ways[*needed] = ways[place];
                after[*needed] = Some(place);
            }
        }
    }
    let mut critical_path = Vec::new();
    // The first of equals, in the plan's order.
    let longest = |best: Option<usize>, place: usize| match best {
        Some(best) if ways[best] >= ways[place] => Some(best),
        _ => Some(place),
    };
    let mut next = (0..packages.len()).filter(|place| packages[*place].built).fold(None, longest);
    while let Some(place) = next {
        if packages[place].built {
            let package = packages[place].package.to_owned();
            let estimate = estimates.of(&package);
            critical_path.push(PathStep { package, estimate });
        }
        next = after[place];
    }
    let built = || packages.iter().filter(|timed| timed.built).map(|timed| estimates.of(timed.package));
    // The sum of no numbers is `-0.0`, which nobody wants to read in a document.
    let sum = |seconds: &mut dyn Iterator<Item = f64>| seconds.sum::<f64>() + 0.0;
    let work_seconds = sum(&mut built().map(|estimate| estimate.seconds));
    let critical_path_seconds = sum(&mut critical_path.iter().map(|step| step.estimate.seconds));
    let time = PlannedTime {
        workers,
        work_seconds,
        critical_path_seconds,
        critical_path,
        at_least_seconds: f64::max(critical_path_seconds, work_seconds / workers.max(1) as f64),
        guessed: built().filter(|estimate| estimate.guessed).count(),
        guess_seconds: estimates.guess,
        guess_from: estimates.source,
    };
    (ways, time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimates(known: &[(&str, f64)]) -> Estimates {
        let records: BTreeMap<String, BuildRecord> = known
            .iter()
            .map(|(name, seconds)| {
                let mut record = crate::testing::record_of(name, &[]);
                record.usage.wall_seconds = *seconds;
                ((*name).to_owned(), record)
            })
            .collect();
        Estimates::new(&records)
    }

    #[test]
    fn what_was_never_built_is_guessed_and_said_so() {
        assert_eq!(estimates(&[]).of("x"), Estimate { seconds: 30.0, guessed: true });
        let some = estimates(&[("a", 1.0), ("b", 2.0), ("c", 400.0)]);
        assert_eq!(some.of("x"), Estimate { seconds: 2.0, guessed: true });
        assert_eq!(some.of("c"), Estimate { seconds: 400.0, guessed: false });
        assert_eq!(estimates(&[("a", 1.0), ("b", 2.0)]).of("x").seconds, 1.5);
    }

    #[test]
    fn the_longest_chain_is_listed_and_passes_through_what_is_up_to_date() {
        let estimates = estimates(&[("a", 10.0), ("b", 3.0), ("c", 5.0), ("d", 1.0)]);
        let timed = |package, built, needs: &[usize]| Timed { package, built, needs: needs.to_vec() };
        let packages =
            [timed("a", true, &[]), timed("b", false, &[0]), timed("c", true, &[1]), timed("d", true, &[0])];
        let (ways, time) = times(&packages, &estimates, 3);
        assert_eq!(ways, [15.0, 5.0, 5.0, 1.0]);
        let path: Vec<&str> = time.critical_path.iter().map(|step| step.package.as_str()).collect();
        assert_eq!(path, ["a", "c"]);
        assert_eq!(
            (time.work_seconds, time.critical_path_seconds, time.at_least_seconds),
            (16.0, 15.0, 15.0)
        );
        let (_, alone) = times(&packages, &estimates, 1);
        assert_eq!(alone.at_least_seconds, 16.0);
    }

    #[test]
    fn nothing_takes_no_time() {
        let (_, time) = times(&[], &estimates(&[]), 2);
        assert_eq!((time.at_least_seconds, time.critical_path.len(), time.guessed), (0.0, 0, 0));
    }
}
