//! What is to be scheduled: who waits for whom, and how long each takes.
//!
//! What it is: graphs with made-up durations, and bounds that no schedule can beat. What it is not: it schedules
//! nothing.

use std::collections::BTreeSet;

use scheduler::Task;

/// The middle of the made-up durations, in seconds.
const MEDIAN_SECONDS: f64 = 45.0;
/// How far they spread: the deviation of their logarithm. With this one build in a hundred takes more than 15 minutes,
/// and the longest of 3,000 more than an hour.
const DEVIATION: f64 = 1.3;
/// The shortest and the longest build, in seconds.
const LIMITS: (f64, f64) = (1.0, 4.0 * 3600.0);

/// Tasks in an order in which each comes after those that it waits for.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) names: Vec<String>,
    /// Places of those that each waits for, all lower than its own.
    pub(crate) waits_for: Vec<Vec<usize>>,
    /// In microseconds.
    pub(crate) durations: Vec<u64>,
}

impl Problem {
    /// Returns a graph with log-normal durations of a seed.
    pub(crate) fn new(names: Vec<String>, waits_for: Vec<Vec<usize>>, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let durations = names.iter().map(|_| duration(&mut random)).collect();
        Self { names, waits_for, durations }
    }

    /// Returns a made-up graph: each waits for up to `needs` before it, and the earlier one is the likelier.
    pub(crate) fn made_up(tasks: usize, needs: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let waits_for = (0..tasks).map(|place| {
            let mut before = BTreeSet::new();
            while before.len() < needs.min(place / 2) {
                // Evenly spread logarithms: a rank's share falls as one over the rank.
                let rank = (random.f64() * (place as f64).ln()).exp() as usize;
                before.insert(rank.min(place - 1));
            }
            before.into_iter().collect()
        });
        let waits_for = waits_for.collect();
        Self::new((0..tasks).map(|place| format!("package-{place:05}")).collect(), waits_for, seed)
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn edges(&self) -> usize {
        self.waits_for.iter().map(Vec::len).sum()
    }

    /// Returns the tasks as the scheduler takes them.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = Task> + '_ {
        (0..self.len()).map(|place| Task {
            package: self.names[place].clone(),
            waits_for: self.waits_for[place].iter().map(|before| self.names[*before].clone()).collect(),
            estimate: self.durations[place] as f64 / 1e6,
        })
    }

    /// Returns all work together, in microseconds.
    pub(crate) fn work(&self) -> u64 {
        self.durations.iter().sum()
    }

    /// Returns, for each task, the longest way before its start and the longest way after its end.
    fn ways(&self) -> (Vec<u64>, Vec<u64>) {
        let (mut heads, mut tails) = (vec![0; self.len()], vec![0; self.len()]);
        for place in 0..self.len() {
            let ends = self.waits_for[place].iter().map(|before| heads[*before] + self.durations[*before]);
            heads[place] = ends.max().unwrap_or_default();
        }
        for place in (0..self.len()).rev() {
            for before in &self.waits_for[place] {
                tails[*before] = tails[*before].max(tails[place] + self.durations[place]);
            }
        }
        (heads, tails)
    }

    /// Returns the longest chain, in microseconds.
    pub(crate) fn critical_path(&self) -> u64 {
        let (heads, _) = self.ways();
        heads.iter().zip(&self.durations).map(|(head, own)| head + own).max().unwrap_or_default()
    }

    /// Returns the bound that is usually told: the longest chain, or the work divided among the workers.
    pub(crate) fn bound(&self, workers: usize) -> u64 {
        self.critical_path().max(self.work() / workers as u64)
    }

    /// Returns a bound that knows how narrow the graph is at its beginning and its end: tasks that cannot start before
    /// a moment, and after each of which some time must pass, take their work divided among the workers in between.
    pub(crate) fn tighter_bound(&self, workers: usize) -> u64 {
        let (heads, tails) = self.ways();
        let mut by_head: Vec<usize> = (0..self.len()).collect();
        by_head.sort_by_key(|place| std::cmp::Reverse(heads[*place]));
        let thresholds: BTreeSet<u64> = tails.iter().copied().collect();
        let mut best = self.bound(workers);
        for tail in thresholds {
            let mut work = 0;
            // From the latest head on: all with a head of at least this, and a tail of at least that.
            for place in by_head.iter().filter(|place| tails[**place] >= tail) {
                work += self.durations[*place];
                best = best.max(heads[*place] + work / workers as u64 + tail);
            }
        }
        best
    }

    /// Returns how long all take when there are workers enough, and the part of that time in which fewer than `workers`
    /// run, each as early as it can.
    pub(crate) fn narrow_part(&self, workers: usize) -> f64 {
        let (heads, _) = self.ways();
        let mut changes: Vec<(u64, i64)> = Vec::new();
        for (head, own) in heads.iter().zip(&self.durations) {
            changes.extend([(*head, 1), (head + own, -1)]);
        }
        changes.sort_unstable();
        let (mut narrow, mut last, mut running) = (0, 0, 0i64);
        for (time, change) in changes {
            if usize::try_from(running).is_ok_and(|running| running < workers) {
                narrow += time - last;
            }
            (last, running) = (time, running + change);
        }
        if last == 0 { 0.0 } else { narrow as f64 / last as f64 }
    }
}

/// Returns a log-normal duration in microseconds.
fn duration(random: &mut fastrand::Rng) -> u64 {
    // Two evenly spread numbers make a normal one (Box and Muller); the first is never 0.
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * random.f64()).cos();
    let seconds = MEDIAN_SECONDS * (DEVIATION * normal).exp();
    (seconds.clamp(LIMITS.0, LIMITS.1) * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_log_normal_and_always_the_same() {
        let one = Problem::made_up(4_000, 3, 7);
        assert_eq!(one.durations, Problem::made_up(4_000, 3, 7).durations);
        assert_ne!(one.durations, Problem::made_up(4_000, 3, 8).durations);
        let mut sorted = one.durations.clone();
        sorted.sort_unstable();
        let at = |part: f64| sorted[(part * 4_000.0) as usize] as f64 / 1e6;
        // The median, and the quantile one deviation above it.
        assert!((40.0..50.0).contains(&at(0.5)), "{}", at(0.5));
        assert!((145.0..185.0).contains(&at(0.8413)), "{}", at(0.8413));
    }

    #[test]
    fn bounds_know_chains_and_work_and_narrow_places() {
        let names = || (0..5).map(|place| place.to_string()).collect();
        // One before four that wait for it.
        let mut fan = Problem::new(names(), vec![vec![], vec![0], vec![0], vec![0], vec![0]], 1);
        fan.durations = vec![10; 5];
        assert_eq!((fan.critical_path(), fan.work(), fan.bound(2)), (20, 50, 25));
        // Nobody can help the first: 10, then 40 of two workers.
        assert_eq!(fan.tighter_bound(2), 30);
        assert_eq!(fan.narrow_part(2), 0.5);
    }

    #[test]
    fn a_made_up_graph_has_the_edges_asked_for() {
        let problem = Problem::made_up(3_000, 10, 1);
        assert!((29_000..=30_000).contains(&problem.edges()), "{}", problem.edges());
        assert!(
            problem.waits_for.iter().enumerate().all(|(place, before)| before.iter().all(|one| *one < place))
        );
    }
}
