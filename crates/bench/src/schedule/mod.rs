//! `schedule`: how long a whole distribution takes in our order, beside any order and first come first served; and
//! what ordering itself costs.
//!
//! The Azure Linux tree's graph with made-up durations, played by the scheduler's own queue with 2 to 256 workers.
//! Each build has one processor and no memory to speak of, as it is with the peers, so that only the order differs.
//! Then 30,000 made-up jobs of different sizes in a process of their own ([`cost`]).
//!
//! What it is not: a model of building. A duration does not depend on what runs beside.

pub(crate) mod cost;
mod peers;
mod problem;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use grapher::GoalRequest;
use report::Reporter;
use scheduler::{Capacity, LimitedBy, Queue, Weight, Weights, simulate};

use self::cost::Playing;
use self::peers::{Order, makespan};
use self::problem::Problem;
use crate::error::BenchError;
use crate::figures::{Figures, Metric};
use crate::graph::{drawing, with_toolchain};
use crate::machine::Machine;
use crate::measure;
use crate::{Conclusion, Place, note};

/// Builds at the same time.
const WORKERS: [usize; 4] = [2, 16, 64, 256];
/// The makespan may be so many times the bound, where the bound can be reached.
const GOAL: f64 = 1.03;
/// The jobs of the made-up run, how many each waits for, and builds at the same time.
const MADE_UP: [usize; 3] = [30_000, 10, 256];
/// The most microseconds per job and the most MiB for the made-up run.
const COST_GOAL: (f64, f64) = (100.0, 300.0);

/// What to schedule.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScheduleArguments {
    /// A checkout of the Azure Linux 3.0 tree
    #[arg(long, value_name = "DIR", env = "AZURE_TREE")]
    azure_tree: Option<PathBuf>,
    /// What `azure-packages` wrote, so that the tree's specs need not be read again
    #[arg(long, value_name = "FILE")]
    packages: Option<PathBuf>,
    /// Only the made-up run
    #[arg(long)]
    without_azure: bool,
    /// How many sets of made-up durations are played, and how often the cost is measured
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Runs the benchmark.
pub(crate) fn run(
    place: &Place,
    arguments: &ScheduleArguments,
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    let mut metrics = BTreeMap::new();
    let mut words = String::new();
    if !arguments.without_azure {
        let (names, waits_for, left_out) = azure_graph(place, arguments, reporter)?;
        let problems: Vec<Problem> = (1..=u64::from(arguments.runs))
            .map(|seed| Problem::new(names.clone(), waits_for.clone(), seed))
            .collect();
        words += &format!(
            "the Azure tree: {} specs, {} of them in knots and left out, {} needs, durations of {} seeds\n",
            names.len() + left_out,
            left_out,
            waits_for.iter().map(Vec::len).sum::<usize>(),
            arguments.runs
        );
        // Where the work divided among the workers takes as long as the longest chain, order matters most.
        let knee = problems.first().map_or(0, |one| one.work().div_ceil(one.critical_path().max(1)));
        let workers: BTreeSet<usize> = WORKERS.into_iter().chain(usize::try_from(knee)).collect();
        for workers in workers {
            note(reporter, format!("{workers} workers, {} sets of durations", arguments.runs));
            let played: Vec<Schedules> = problems.iter().map(|one| Schedules::of(one, workers)).collect();
            metrics.extend(rows(workers, &played));
            words += &sentence(workers, &played);
        }
    }
    let [jobs, needs, workers] = MADE_UP;
    note(reporter, format!("{jobs} made-up jobs, {} times", arguments.runs));
    let playings: Vec<Playing> =
        (0..arguments.runs).map(|_| play(place, jobs, needs, workers)).collect::<Result<_, _>>()?;
    words += &format!(
        "the made-up run: {jobs} jobs, {} needs, {workers} workers, memory for an eighth of them\n",
        playings.first().map_or(0, |playing| playing.edges)
    );
    metrics.extend(cost_rows(jobs, &playings));
    Figures { metrics, runs: arguments.runs, machine: Machine::here() }
        .conclude(place, &format!("\n{words}\n"))
}

/// The specs' names, the places of what each needs, and how many specs were left out.
type AzureGraph = (Vec<String>, Vec<Vec<usize>>, usize);

/// Returns the tree's specs by level with what each needs; what waits for itself is left out with all behind it.
fn azure_graph(
    place: &Place,
    arguments: &ScheduleArguments,
    reporter: &dyn Reporter,
) -> Result<AzureGraph, BenchError> {
    let draw =
        with_toolchain(place, arguments.azure_tree.as_deref(), arguments.packages.as_deref(), reporter)?;
    let graph = drawing::draw(&draw)?;
    let goals = graph.select(&GoalRequest::default()).unwrap_or_default();
    let order = graph.order(&goals);
    let (mut names, mut waits_for) = (Vec::new(), Vec::new());
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for step in &order.steps {
        // Prerequisites come first, but for those in a knot.
        let before: Option<Vec<usize>> = step.needs().map(|need| places.get(need).copied()).collect();
        if let Some(before) = before {
            places.insert(&step.spec, names.len());
            names.push(step.spec.clone());
            waits_for.push(before);
        }
    }
    let left_out = order.steps.len() - names.len();
    Ok((names, waits_for, left_out))
}

/// How long a problem takes in each order, in seconds, and what it takes at least.
struct Schedules {
    ours: f64,
    random: f64,
    first_ready: f64,
    bound: f64,
    tighter: f64,
    limited_by: LimitedBy,
    utilisation: f64,
    narrow: f64,
}

impl Schedules {
    fn of(problem: &Problem, workers: usize) -> Self {
        let one = Weight { least_cpus: 1, most_cpus: 1, memory_bytes: 0 };
        let queue = Queue::new(problem.tasks()).with_weights(Weights::new(BTreeMap::new(), one));
        let cpus = u32::try_from(workers).unwrap_or(u32::MAX);
        let played = simulate(queue, &Capacity { slots: workers, cpus, memory_bytes: 0 }).schedule;
        let seconds = |micros: u64| micros as f64 / 1e6;
        Self {
            ours: played.makespan_seconds,
            random: seconds(makespan(problem, workers, &Order::Random(1))),
            first_ready: seconds(makespan(problem, workers, &Order::FirstReady)),
            bound: seconds(problem.bound(workers)),
            tighter: seconds(problem.tighter_bound(workers)),
            limited_by: played.limited_by,
            utilisation: played.utilisation,
            narrow: problem.narrow_part(workers),
        }
    }
}

/// Returns the figures of a number of workers.
fn rows(workers: usize, played: &[Schedules]) -> impl Iterator<Item = (String, Metric)> {
    let values = |value: fn(&Schedules) -> f64| played.iter().map(value).collect::<Vec<_>>();
    let over_bound = Metric::of("x bound", &values(|one| one.ours / one.bound));
    let is_reachable = median_of(played, |one| one.tighter / one.bound) <= GOAL;
    let rows = [
        (
            "1_beside_any_order",
            with_goal(over_bound.clone(), is_reachable)
                .map(|metric| metric.beside(&values(|one| one.random / one.bound))),
        ),
        (
            "2_beside_first_come",
            over_bound.map(|metric| metric.beside(&values(|one| one.first_ready / one.bound))),
        ),
        (
            "3_tighter_bound",
            with_goal(Metric::of("x tighter bound", &values(|one| one.ours / one.tighter)), true),
        ),
        ("4_makespan", Metric::of("min", &values(|one| one.ours / 60.0))),
        ("5_busy", Metric::of("%", &values(|one| one.utilisation * 100.0))),
    ];
    let named = rows.map(|(row, metric)| (format!("{workers:03}_workers_{row}"), metric));
    named.into_iter().filter_map(|(name, metric)| Some((name, metric?)))
}

fn with_goal(metric: Option<Metric>, wanted: bool) -> Option<Metric> {
    metric.map(|metric| if wanted { metric.at_most(GOAL) } else { metric })
}

fn median_of(played: &[Schedules], value: fn(&Schedules) -> f64) -> f64 {
    let values: Vec<f64> = played.iter().map(value).collect();
    crate::figures::Spread::of(&values).map_or(0.0, |spread| spread.median)
}

/// Says what limits a number of workers, and whether the usual bound can be reached.
fn sentence(workers: usize, played: &[Schedules]) -> String {
    let by_chain = played.iter().filter(|one| one.limited_by == LimitedBy::LongestChain).count();
    let limit = match by_chain {
        0 => "the work".to_owned(),
        all if all == played.len() => "the longest chain".to_owned(),
        some => format!("the longest chain in {some} of {}, else the work", played.len()),
    };
    let tighter = median_of(played, |one| one.tighter / one.bound);
    let reachable = if tighter <= GOAL {
        format!("no proof that it cannot be reached (the tighter bound is {tighter:.3} times as long)")
    } else {
        format!(
            "not reachable: no schedule is shorter than {tighter:.3} times it, for with all started as early as can be \
             fewer than {workers} run in {:.0} % of the time",
            median_of(played, |one| one.narrow) * 100.0
        )
    };
    format!("{workers} workers: bounded by {limit}; {reachable}\n")
}

/// Has the made-up run played by a new process.
fn play(place: &Place, jobs: usize, needs: usize, workers: usize) -> Result<Playing, BenchError> {
    let output = place.scratch.join("playing.json");
    let mut command = Command::new(place.programs.join("millwright-bench"));
    let options = [("jobs", jobs), ("needs", needs), ("workers", workers)];
    command.arg("play").args(options.map(|(name, number)| format!("--{name}={number}")));
    measure::run(&mut command, &output)?;
    let text = fs::read(&output).map_err(BenchError::io("read", &output))?;
    serde_json::from_slice(&text).map_err(|source| BenchError::Document {
        what: "playing",
        path: output,
        source,
    })
}

fn cost_rows(jobs: usize, playings: &[Playing]) -> impl Iterator<Item = (String, Metric)> {
    let values = |value: fn(&Playing) -> f64| playings.iter().map(value).collect::<Vec<_>>();
    let rows = [
        (
            "1_dispatch",
            Metric::of("us/job", &values(|one| one.dispatch_micros)).map(|m| m.at_most(COST_GOAL.0)),
        ),
        ("2_slowest_call", Metric::of("us", &values(|one| one.slowest_micros))),
        ("3_making_the_queue", Metric::of("s", &values(|one| one.queue_wall))),
        ("4_peak_memory", Metric::of("MiB", &values(|one| one.peak_mib)).map(|m| m.at_most(COST_GOAL.1))),
        ("5_of_it_the_made_up_graph", Metric::of("MiB", &values(|one| one.graph_mib))),
    ];
    let named = rows.map(|(row, metric)| (format!("{jobs}_jobs_{row}"), metric));
    named.into_iter().filter_map(|(name, metric)| Some((name, metric?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_order_is_within_the_bounds_and_no_longer_than_others() {
        let problem = Problem::made_up(600, 3, 5);
        for workers in [1, 3, 16, 700] {
            let one = Schedules::of(&problem, workers);
            assert!(one.bound <= one.tighter && one.tighter <= one.ours, "{workers} workers");
            assert!(one.ours <= one.random && one.ours <= one.first_ready, "{workers} workers");
        }
    }

    #[test]
    fn the_goal_is_set_where_the_bound_can_be_reached() {
        let schedules = |tighter| Schedules {
            ours: 10.0,
            random: 20.0,
            first_ready: 15.0,
            bound: 10.0,
            tighter,
            limited_by: LimitedBy::Work,
            utilisation: 0.5,
            narrow: 0.9,
        };
        let of = |tighter| rows(16, &[schedules(tighter)]).collect::<BTreeMap<_, _>>();
        assert_eq!(of(10.1)["016_workers_1_beside_any_order"].met, Some(true));
        assert_eq!(of(10.1)["016_workers_1_beside_any_order"].peer, Some(2.0));
        assert_eq!(of(11.0)["016_workers_1_beside_any_order"].met, None);
        assert!(
            sentence(16, &[schedules(11.0)])
                .contains("not reachable: no schedule is shorter than 1.100 times")
        );
    }
}
