//! A plan played with expected durations: when each package would start, how long all would take, and what the end
//! would have to wait for.
//!
//! What it is: the very [`Queue`] that a run uses, driven by a clock that jumps from one end of a build to the next.
//! Equal plans give equal answers. What it is not: a model of the machine. A build takes as long as it is expected to,
//! however many processors it is given and whatever runs beside it; nothing fails and nothing joins.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde::Serialize;

use crate::demand::{Capacity, Dispatch};
use crate::plan::PlanDocument;
use crate::queue::{Queue, TaskState, microseconds};

/// One build as it was played.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlayedBuild {
    /// The spec.
    pub package: String,
    /// Seconds from the beginning to its start.
    pub start_seconds: f64,
    /// Seconds from the beginning to its end.
    pub end_seconds: f64,
    /// Processors that it is promised.
    pub cpus: u32,
    /// Memory that it is promised, in bytes.
    pub memory_bytes: u64,
}

/// What no schedule can be shorter than.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitedBy {
    /// The longest chain of builds that need one another: more workers would not help.
    LongestChain,
    /// All work, divided among the workers.
    Work,
}

/// A schedule in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlayedSchedule {
    /// Builds at the same time.
    pub workers: usize,
    /// Processors of all of them together.
    pub cpus: u32,
    /// Memory of all of them together, in bytes.
    pub memory_bytes: u64,
    /// From the first start to the last end, in seconds.
    pub makespan_seconds: f64,
    /// A lower bound of that, in seconds: the longest chain or the work divided among the workers, whichever is longer.
    pub at_least_seconds: f64,
    /// Which of both.
    pub limited_by: LimitedBy,
    /// The part of the workers' time in which they build, from 0 to 1.
    pub utilisation: f64,
    /// The most builds that run at the same time.
    pub most_at_once: usize,
}

/// Why a build started when it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "after", content = "ended", rename_all = "kebab-case")]
pub enum StartCause {
    /// At the beginning.
    Beginning,
    /// It needs this package, which ended then.
    Needs(String),
    /// It could have been built before; this package's end made room.
    Room(String),
}

/// One build of the chain that the end waited for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChainLink {
    /// The spec.
    pub package: String,
    /// Seconds from the beginning to its start.
    pub start_seconds: f64,
    /// How long it takes.
    pub seconds: f64,
    /// Why it started then.
    #[serde(flatten)]
    pub cause: StartCause,
}

/// A plan, played.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Simulation {
    /// The schedule in numbers.
    pub schedule: PlayedSchedule,
    /// The chain of builds that the end waited for, from the beginning on: each started when the one before it ended.
    pub chain: Vec<ChainLink>,
    /// Every build, by start, then by name.
    pub builds: Vec<PlayedBuild>,
    /// Packages that were never started because they wait for one another; empty for every sound plan.
    pub never_started: Vec<String>,
}

/// `simulation.json`: a plan played with several numbers of workers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SimulationDocument {
    /// [`SimulationDocument::SCHEMA`].
    pub schema: u32,
    /// How many of the durations are guesses, because the package was never built.
    pub guessed: usize,
    /// The plan with the workers asked for.
    #[serde(flatten)]
    pub simulation: Simulation,
    /// The same with half and with twice as many, by workers.
    pub others: Vec<PlayedSchedule>,
}

impl SimulationDocument {
    /// The schema that this code writes.
    pub const SCHEMA: u32 = 1;

    /// Plays a plan. `machine` is the one that is there: more workers than it has stand for as much larger a machine,
    /// fewer for fewer builds at the same time on this one.
    pub fn new(plan: &PlanDocument, queue: &Queue, machine: &Capacity, workers: usize) -> Self {
        let workers = workers.max(1);
        let play = |workers: usize| simulate(queue.clone(), &grown(machine, workers));
        let others = BTreeSet::from([workers.div_ceil(2), workers.saturating_mul(2)]);
        Self {
            schema: Self::SCHEMA,
            guessed: plan.time.guessed,
            simulation: play(workers),
            others: others
                .into_iter()
                .filter(|other| *other != workers)
                .map(|other| play(other).schedule)
                .collect(),
        }
    }
}

/// Returns a machine for this number of workers.
fn grown(machine: &Capacity, workers: usize) -> Capacity {
    let slots = machine.slots.max(1);
    if workers <= slots {
        return Capacity { slots: workers, ..*machine };
    }
    let grow = |amount: u64| u128::from(amount) * workers as u128 / slots as u128;
    Capacity {
        slots: workers,
        cpus: u32::try_from(grow(machine.cpus.into())).unwrap_or(u32::MAX),
        memory_bytes: u64::try_from(grow(machine.memory_bytes)).unwrap_or(u64::MAX),
    }
}

/// Plays a queue on a machine.
pub fn simulate(mut queue: Queue, machine: &Capacity) -> Simulation {
    let (work, longest) = (queue.work(), queue.longest_way());
    let mut clock = 0;
    let mut played: Vec<Played> = Vec::new();
    let mut running: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut most_at_once = 0;
    loop {
        while let Some(dispatch) = queue.start_next(&queue.free(machine)) {
            let end = clock + microseconds(dispatch.estimate);
            running.push(Reverse((end, played.len())));
            played.push(Played { dispatch, start: clock, end });
        }
        most_at_once = most_at_once.max(running.len());
        let Some(Reverse((end, _))) = running.peek() else { break };
        clock = *end;
        // All that end now have ended before anything else starts.
        while running.peek().is_some_and(|Reverse((end, _))| *end == clock) {
            if let Some(Reverse((_, index))) = running.pop() {
                queue.succeeded(&played[index].dispatch.package);
            }
        }
    }
    let by_work = work.div_ceil(machine.slots.max(1) as u64);
    let at_least = longest.max(by_work);
    let schedule = PlayedSchedule {
        workers: machine.slots,
        cpus: machine.cpus,
        memory_bytes: machine.memory_bytes,
        makespan_seconds: seconds(clock),
        at_least_seconds: seconds(at_least),
        limited_by: if longest >= by_work { LimitedBy::LongestChain } else { LimitedBy::Work },
        utilisation: if clock == 0 { 0.0 } else { work as f64 / clock as f64 / machine.slots.max(1) as f64 },
        most_at_once,
    };
    let chain = chain(&queue, &played);
    let mut builds: Vec<PlayedBuild> = played.into_iter().map(PlayedBuild::from).collect();
    builds
        .sort_by(|a, b| a.start_seconds.total_cmp(&b.start_seconds).then_with(|| a.package.cmp(&b.package)));
    let waits =
        |(package, state): (&str, &TaskState)| (*state == TaskState::Waiting).then(|| package.to_owned());
    let never_started = queue.states().filter_map(waits).collect();
    Simulation { schedule, chain, builds, never_started }
}

/// A build, in microseconds from the beginning.
struct Played {
    dispatch: Dispatch,
    start: u64,
    end: u64,
}

impl From<Played> for PlayedBuild {
    fn from(Played { dispatch, start, end }: Played) -> Self {
        let Dispatch { package, cpus, memory_bytes, .. } = dispatch;
        Self { package, start_seconds: seconds(start), end_seconds: seconds(end), cpus, memory_bytes }
    }
}

/// Returns the builds that the last end waited for: back from it, each time to one that ended when the later started.
fn chain(queue: &Queue, played: &[Played]) -> Vec<ChainLink> {
    let by_name: BTreeMap<&str, usize> =
        played.iter().enumerate().map(|(index, one)| (one.dispatch.package.as_str(), index)).collect();
    // The longest of those that end at a moment, then the first by name: a start follows an end.
    let mut last_before: BTreeMap<u64, usize> = BTreeMap::new();
    for (index, one) in played.iter().enumerate() {
        let best = last_before.entry(one.end).or_insert(index);
        let key = |index: usize| (played[index].start, &played[index].dispatch.package);
        if key(index) < key(*best) {
            *best = index;
        }
    }
    let mut chain = Vec::new();
    let mut next = last_before.last_key_value().map(|(_, index)| *index);
    let mut left = played.len();
    while let Some(index) = next.filter(|_| left > 0) {
        left -= 1;
        let Played { dispatch, start, end } = &played[index];
        let needed = queue
            .tasks_before(&dispatch.package)
            .into_iter()
            .filter_map(|before| by_name.get(before).copied())
            .find(|before| played[*before].end == *start);
        let room = last_before.get(start).copied().filter(|other| *other != index);
        let name = |index: usize| played[index].dispatch.package.clone();
        let (cause, before) = match (needed, room) {
            _ if *start == 0 => (StartCause::Beginning, None),
            (Some(before), _) => (StartCause::Needs(name(before)), Some(before)),
            (None, Some(before)) => (StartCause::Room(name(before)), Some(before)),
            (None, None) => (StartCause::Beginning, None),
        };
        chain.push(ChainLink {
            package: dispatch.package.clone(),
            start_seconds: seconds(*start),
            seconds: seconds(end - start),
            cause,
        });
        next = before;
    }
    chain.reverse();
    chain
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Task;
    use crate::weights::{Weight, Weights};

    fn task(package: &str, waits_for: &[&str], estimate: f64) -> Task {
        let waits_for = waits_for.iter().map(|name| (*name).to_owned()).collect();
        Task { package: package.into(), waits_for, estimate }
    }

    fn machine(slots: usize) -> Capacity {
        Capacity { slots, cpus: u32::try_from(slots).unwrap(), memory_bytes: 8 << 30 }
    }

    fn starts(simulation: &Simulation) -> Vec<(&str, f64)> {
        simulation.builds.iter().map(|build| (build.package.as_str(), build.start_seconds)).collect()
    }

    #[test]
    fn the_schedule_is_played_to_its_end() {
        let tasks = [
            task("zlib", &[], 2.0),
            task("png", &["zlib"], 3.0),
            task("gtk", &["png"], 5.0),
            task("sed", &[], 4.0),
            task("jq", &[], 4.0),
        ];
        let two = simulate(Queue::new(tasks.clone()), &machine(2));
        assert_eq!(starts(&two), [("jq", 0.0), ("zlib", 0.0), ("png", 2.0), ("sed", 4.0), ("gtk", 5.0)]);
        let PlayedSchedule { makespan_seconds, at_least_seconds, limited_by, most_at_once, .. } =
            two.schedule;
        assert_eq!(
            (makespan_seconds, at_least_seconds, limited_by, most_at_once),
            (10.0, 10.0, LimitedBy::LongestChain, 2)
        );
        assert_eq!(two.schedule.utilisation, 0.9);
        let chain: Vec<(&str, &StartCause)> =
            two.chain.iter().map(|link| (link.package.as_str(), &link.cause)).collect();
        assert_eq!(
            chain,
            [
                ("zlib", &StartCause::Beginning),
                ("png", &StartCause::Needs("zlib".into())),
                ("gtk", &StartCause::Needs("png".into())),
            ]
        );
        let one = simulate(Queue::new(tasks), &machine(1));
        assert_eq!((one.schedule.makespan_seconds, one.schedule.limited_by), (18.0, LimitedBy::Work));
        assert_eq!(one.schedule.utilisation, 1.0);
        // The last is `sed`, for which there was no room; the chain goes on to the beginning.
        let last = one.chain.last().unwrap();
        assert_eq!(last.cause, StartCause::Room(one.builds[3].package.clone()), "{one:?}");
        assert_eq!(one.chain.len(), 5);
    }

    #[test]
    fn the_document_keeps_its_shape() {
        let simulation = simulate(Queue::new([task("a", &[], 1.0), task("b", &["a"], 2.0)]), &machine(1));
        let document = SimulationDocument {
            schema: SimulationDocument::SCHEMA,
            guessed: 1,
            others: vec![simulation.schedule.clone()],
            simulation,
        };
        let schedule = serde_json::json!({
            "workers": 1, "cpus": 1, "memory_bytes": 8u64 << 30, "makespan_seconds": 3.0, "at_least_seconds": 3.0,
            "limited_by": "longest-chain", "utilisation": 1.0, "most_at_once": 1,
        });
        let build = |package, start: f64, end: f64| {
            serde_json::json!({
                "package": package, "start_seconds": start, "end_seconds": end, "cpus": 1, "memory_bytes": 0,
            })
        };
        assert_eq!(
            serde_json::to_value(&document).unwrap(),
            serde_json::json!({
                "schema": 1, "guessed": 1, "schedule": schedule, "others": [schedule],
                "builds": [build("a", 0.0, 1.0), build("b", 1.0, 3.0)],
                "chain": [
                    {"package": "a", "start_seconds": 0.0, "seconds": 1.0, "after": "beginning"},
                    {"package": "b", "start_seconds": 1.0, "seconds": 2.0, "after": "needs", "ended": "a"},
                ],
                "never_started": [],
            })
        );
    }

    #[test]
    fn a_package_that_is_up_to_date_hides_no_need() {
        let passages = [("b".to_owned(), ["a".to_owned()].into())];
        let queue = Queue::with_passages([task("a", &[], 1.0), task("c", &["b"], 1.0)], passages);
        let simulation = simulate(queue, &machine(9));
        assert_eq!(simulation.schedule.makespan_seconds, 2.0);
        assert_eq!(simulation.chain[1].cause, StartCause::Needs("a".into()));
    }

    #[test]
    fn memory_that_is_short_makes_it_longer() {
        let weight = Weight { memory_bytes: 5 << 30, ..Weight::default() };
        let queue = Queue::new([task("a", &[], 2.0), task("b", &[], 1.0)]).with_weights(Weights::new(
            [("a".into(), weight), ("b".into(), weight)].into(),
            Weight::default(),
        ));
        let simulation = simulate(queue, &machine(2));
        assert_eq!((simulation.schedule.makespan_seconds, simulation.schedule.most_at_once), (3.0, 1));
        assert_eq!(simulation.chain[1].cause, StartCause::Room("a".into()));
    }

    #[test]
    fn more_workers_are_a_larger_machine_and_fewer_are_not_a_smaller_one() {
        let here = Capacity { slots: 4, cpus: 8, memory_bytes: 16 << 30 };
        assert_eq!(grown(&here, 2), Capacity { slots: 2, ..here });
        assert_eq!(grown(&here, 6), Capacity { slots: 6, cpus: 12, memory_bytes: 24 << 30 });
        let unknown = Capacity { memory_bytes: u64::MAX, ..here };
        assert_eq!(grown(&unknown, 64).memory_bytes, u64::MAX);
    }

    #[test]
    fn nothing_takes_no_time_and_a_knot_is_named() {
        let nothing = simulate(Queue::new([]), &machine(2));
        assert_eq!((nothing.schedule.makespan_seconds, nothing.schedule.utilisation), (0.0, 0.0));
        let knot = simulate(Queue::new([task("a", &["b"], 1.0), task("b", &["a"], 1.0)]), &machine(2));
        assert_eq!(knot.never_started, ["a", "b"]);
    }
}
