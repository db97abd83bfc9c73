//! What the queue promises, played.

use super::*;
use crate::weights::Weight;
use proptest::prelude::*;

const MACHINE: Capacity = Capacity { slots: 4, cpus: 4, memory_bytes: 8 << 30 };

/// Starts the next task and returns its name.
fn next(queue: &mut Queue) -> Option<String> {
    let free = queue.free(&MACHINE);
    queue.start_next(&free).map(|dispatch| dispatch.package)
}

fn task(package: &str, waits_for: &[&str], estimate: f64) -> Task {
    Task {
        package: package.into(),
        waits_for: waits_for.iter().map(|name| (*name).to_owned()).collect(),
        estimate,
    }
}

/// Plays a queue with one worker and returns the order.
fn play(mut queue: Queue, failing: &[&str]) -> Vec<String> {
    let mut order = Vec::new();
    while let Some(Dispatch { package, .. }) = queue.start_next(&queue.free(&MACHINE)) {
        if failing.contains(&package.as_str()) {
            queue.failed(&package);
        } else {
            queue.succeeded(&package);
        }
        order.push(package);
    }
    assert!(!queue.is_stuck());
    order
}

fn diamond() -> Queue {
    Queue::new([
        task("jq", &["oniguruma"], 10.0),
        task("oniguruma", &[], 10.0),
        task("tree", &[], 15.0),
        task("which", &["absent"], 1.0),
    ])
}

#[test]
fn the_longest_way_comes_first() {
    assert_eq!(play(diamond(), &[]), ["oniguruma", "tree", "jq", "which"]);
}

#[test]
fn a_failure_blocks_what_waits_and_nothing_else() {
    let mut queue = Queue::new([
        task("a", &[], 1.0),
        task("b", &["a"], 1.0),
        task("c", &["b"], 1.0),
        task("d", &[], 1.0),
    ]);
    assert_eq!(next(&mut queue).as_deref(), Some("a"));
    assert_eq!(queue.failed("a"), ["b", "c"]);
    assert_eq!(queue.state("c"), Some(&TaskState::Blocked { by: BTreeSet::from(["a".to_owned()]) }));
    assert_eq!(next(&mut queue).as_deref(), Some("d"));
    assert_eq!((queue.ended(), queue.waiting()), (3, 0));
}

#[test]
fn two_failures_are_both_named() {
    let mut queue = Queue::new([task("a", &[], 2.0), task("b", &[], 1.0), task("c", &["a", "b"], 1.0)]);
    next(&mut queue);
    next(&mut queue);
    queue.failed("a");
    queue.failed("b");
    let both = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    assert_eq!(queue.state("c"), Some(&TaskState::Blocked { by: both }));
}

#[test]
fn a_cascade_joins_a_running_queue_once() {
    let mut queue = Queue::new([task("oniguruma", &[], 1.0)]);
    next(&mut queue);
    queue.succeeded("oniguruma");
    assert!(queue.add(task("jq", &["oniguruma"], 1.0)));
    assert!(!queue.add(task("jq", &["oniguruma"], 1.0)));
    assert_eq!(next(&mut queue).as_deref(), Some("jq"));
}

#[test]
fn a_cascade_neither_repeats_nor_awaits_what_has_failed() {
    let mut queue = Queue::new([task("a", &[], 2.0), task("b", &["a"], 1.0), task("c", &[], 1.0)]);
    assert_eq!(next(&mut queue).as_deref(), Some("a"));
    queue.failed("a");
    for name in ["a", "b"] {
        assert!(!queue.add(task(name, &[], 1.0)), "{name}");
    }
    assert!(!queue.add(task("d", &["b", "c"], 1.0)));
    assert_eq!(queue.state("d"), Some(&TaskState::Blocked { by: BTreeSet::from(["a".to_owned()]) }));
    assert_eq!(play(queue, &[]), ["c"]);
}

#[test]
fn a_cycle_is_noticed() {
    let queue = Queue::new([task("a", &["b"], 1.0), task("b", &["a"], 1.0)]);
    assert!(queue.is_stuck());
}

proptest! {
    /// Edges go from higher to lower numbers, so there is no cycle: everything must end, each task after
    /// what it waits for, in an order that does not depend on the order of insertion.
    #[test]
    fn everything_ends_in_order(edges in proptest::collection::vec((0usize..20, 0usize..20), 0..60), estimates in proptest::collection::vec(0.1f64..9.0, 20)) {
        let tasks: Vec<Task> = (0..20).map(|number| {
            let waits: Vec<String> = edges.iter().filter(|(a, b)| *a == number && b < a).map(|(_, b)| format!("p{b}")).collect();
            task(&format!("p{number}"), &waits.iter().map(String::as_str).collect::<Vec<_>>(), estimates[number])
        }).collect();
        let order = play(Queue::new(tasks.clone()), &[]);
        prop_assert_eq!(order.len(), 20);
        for task in &tasks {
            let place = |name: &str| order.iter().position(|other| other == name).unwrap();
            for before in &task.waits_for {
                prop_assert!(place(before) < place(&task.package));
            }
        }
        prop_assert_eq!(play(Queue::new(tasks.into_iter().rev()), &[]), order);
    }
}

/// A made-up run: tasks of the numbers 0..N; edges go from higher to lower numbers, so there is no cycle.
#[derive(Clone, Debug)]
struct Made {
    tasks: Vec<Task>,
    weights: Vec<Weight>,
    machine: Capacity,
    /// Numbers that decide which running task ends next, and how.
    ends: Vec<u8>,
}

const TASKS: usize = 24;

fn made() -> impl Strategy<Value = Made> {
    let weights = (1u32..6, 0u32..8, 0u64..12);
    (
        proptest::collection::vec((0..TASKS, 0..TASKS), 0..60),
        proptest::collection::vec(0.1f64..9.0, TASKS),
        proptest::collection::vec(weights, TASKS),
        (1usize..6, 1u32..7, 1u64..9),
        proptest::collection::vec(any::<u8>(), TASKS),
    )
        .prop_map(|(edges, estimates, weights, (slots, cpus, gib), ends)| {
            let waits = |number: usize| {
                let before = edges.iter().filter(move |(a, b)| *a == number && b < a);
                before.map(|(_, b)| format!("p{b}")).collect()
            };
            let tasks = estimates.iter().enumerate().map(|(number, estimate)| Task {
                package: format!("p{number}"),
                waits_for: waits(number),
                estimate: *estimate,
            });
            let weight = |(least, more, gib): (u32, u32, u64)| Weight {
                least_cpus: least,
                most_cpus: least + more,
                memory_bytes: gib << 30,
            };
            Made {
                tasks: tasks.collect(),
                weights: weights.into_iter().map(weight).collect(),
                machine: Capacity { slots, cpus, memory_bytes: gib << 30 },
                ends,
            }
        })
}

impl Made {
    fn queue(&self, tasks: impl IntoIterator<Item = Task>) -> Queue {
        let known = self.weights.iter().enumerate().map(|(number, weight)| (format!("p{number}"), *weight));
        Queue::new(tasks).with_weights(Weights::new(known.collect(), Weight::default()))
    }

    /// Plays a queue; calls back at every start with what runs besides. One in four tasks may fail.
    fn play(
        &self,
        mut queue: Queue,
        may_fail: bool,
        mut started: impl FnMut(&Queue, &Dispatch, &[Dispatch]),
    ) -> Queue {
        let mut running: Vec<Dispatch> = Vec::new();
        let mut ends = self.ends.iter().cycle();
        loop {
            while let Some(dispatch) = queue.start_next(&queue.free(&self.machine)) {
                started(&queue, &dispatch, &running);
                running.push(dispatch);
            }
            if running.is_empty() {
                return queue;
            }
            let end = usize::from(*ends.next().unwrap());
            let Dispatch { package, .. } = running.remove(end / 4 % running.len());
            if may_fail && end % 4 == 0 {
                queue.failed(&package);
            } else {
                queue.succeeded(&package);
            }
        }
    }
}

/// What needs a failure is no way to the end: who comes before it alone is in no hurry any more.
#[test]
fn what_cannot_be_built_any_more_hurries_nobody() {
    let tasks = || {
        [
            task("bad", &[], 10.0),
            task("top", &["bad", "z"], 100.0),
            task("z", &[], 5.0),
            task("x", &[], 5.0),
            task("y", &["x"], 50.0),
        ]
    };
    assert_eq!(play(Queue::new(tasks()), &[]), ["bad", "z", "top", "x", "y"]);
    assert_eq!(play(Queue::new(tasks()), &["bad"]), ["bad", "x", "y", "z"]);
    // A task that is put back is ranked by what is left, too.
    let mut queue = Queue::new(tasks());
    assert_eq!((next(&mut queue).as_deref(), next(&mut queue).as_deref()), (Some("bad"), Some("z")));
    queue.failed("bad");
    queue.again("z", None);
    assert_eq!(play(queue, &[]), ["x", "y", "z"]);
}

/// Returns the longest way from a task through those that wait, in microseconds.
fn way_left(made: &Made, queue: &Queue, task: &Task) -> u64 {
    let after = made.tasks.iter().filter(|after| after.waits_for.contains(&task.package));
    let waiting = after.filter(|after| queue.state(&after.package) == Some(&TaskState::Waiting));
    let longest = waiting.map(|after| way_left(made, queue, after)).max().unwrap_or_default();
    microseconds(task.estimate) + longest
}

proptest! {
    #[test]
    fn priority_is_the_longest_way_through_what_can_still_be_built(made in made()) {
        let queue = made.queue(made.tasks.clone());
        made.play(queue, true, |queue, dispatch, _| {
            let task = made.tasks.iter().find(|task| task.package == dispatch.package).unwrap();
            let way = i64::try_from(way_left(&made, queue, task) / 1000).unwrap();
            assert_eq!(dispatch.priority, way, "{dispatch:?}");
        });
    }

    #[test]
    fn never_more_is_promised_than_there_is(made in made()) {
        let queue = made.queue(made.tasks.clone());
        made.play(queue, true, |_, dispatch, running| {
            let all = running.iter().chain([dispatch]).fold(Capacity::NONE, |sum, one| sum.plus(&one.promised()));
            assert_eq!(all.at_most(&made.machine), all, "{dispatch:?} beside {running:?}");
            let number: usize = dispatch.package[1..].parse().unwrap();
            let weight = made.weights[number];
            assert!(dispatch.cpus >= weight.least_cpus.min(made.machine.cpus), "{dispatch:?}");
            assert!(dispatch.cpus <= weight.most_cpus, "{dispatch:?}");
            assert!(dispatch.memory_bytes >= weight.memory_bytes.min(made.machine.memory_bytes), "{dispatch:?}");
        });
    }

    #[test]
    fn every_task_ends_after_what_it_waits_for(made in made()) {
        let mut order = Vec::new();
        let queue = made.play(made.queue(made.tasks.clone()), false, |queue, dispatch, _| {
            let task = made.tasks.iter().find(|task| task.package == dispatch.package).unwrap();
            for before in &task.waits_for {
                assert_eq!(queue.state(before), Some(&TaskState::Done), "{before} before {dispatch:?}");
            }
            order.push(dispatch.package.clone());
        });
        prop_assert_eq!((order.len(), queue.ended(), queue.waiting()), (TASKS, TASKS, 0));
    }

    #[test]
    fn failures_block_what_needs_them_and_everything_else_ends(made in made()) {
        let queue = made.play(made.queue(made.tasks.clone()), true, |_, _, _| {});
        let is_lost = |name: &String| {
            matches!(queue.state(name), Some(TaskState::Failed | TaskState::Blocked { .. }))
        };
        for task in &made.tasks {
            let expected = task.waits_for.iter().any(is_lost);
            match queue.state(&task.package).unwrap() {
                TaskState::Done | TaskState::Failed => prop_assert!(!expected, "{}", task.package),
                TaskState::Blocked { by } => {
                    // The causes are those of what it waits for, and they are failures themselves.
                    let causes: BTreeSet<String> = task.waits_for.iter().flat_map(|before| {
                        match queue.state(before).unwrap() {
                            TaskState::Failed => BTreeSet::from([before.clone()]),
                            TaskState::Blocked { by } => by.clone(),
                            _ => BTreeSet::new(),
                        }
                    }).collect();
                    prop_assert_eq!(by, &causes);
                }
                state => prop_assert!(false, "{} is left {:?}", task.package, state),
            }
        }
    }

    #[test]
    fn the_order_of_the_input_is_of_no_matter(made in made(), turn in 0..TASKS) {
        let mut tasks = made.tasks.clone();
        let mut one = Vec::new();
        made.play(made.queue(tasks.clone()), true, |_, dispatch, _| one.push(dispatch.clone()));
        tasks.reverse();
        tasks.rotate_left(turn);
        let mut other = Vec::new();
        made.play(made.queue(tasks), true, |_, dispatch, _| other.push(dispatch.clone()));
        prop_assert_eq!(one, other);
    }

    /// Nobody waits longer than until those have ended that ran when its turn had come: whatever starts beside a
    /// task that has to wait for room leaves that room.
    #[test]
    fn who_waits_for_room_waits_for_those_that_ran_before(made in made()) {
        let mut queue = made.queue(made.tasks.clone());
        let mut running: Vec<Dispatch> = Vec::new();
        // The task whose turn it is, and who ran when that was so.
        let mut turn: Option<(String, BTreeSet<String>)> = None;
        let mut ends = made.ends.iter().cycle();
        loop {
            let free = queue.free(&made.machine);
            let first = queue.ready.first(|_| true).map(|(_, rank)| rank.name.0.to_string());
            let started = queue.start_next(&free);
            match (first, &started, free.slots > 0) {
                (Some(first), Some(dispatch), _) if first == dispatch.package => turn = None,
                (Some(first), _, true) => {
                    if turn.as_ref().is_none_or(|(name, _)| *name != first) {
                        turn = Some((first, running.iter().map(|one| one.package.clone()).collect()));
                    }
                    let (name, before) = turn.as_ref().unwrap();
                    let still: Vec<&Dispatch> =
                        running.iter().filter(|one| before.contains(&one.package)).collect();
                    prop_assert!(!still.is_empty(), "{} has waited for all and is not started", name);
                }
                _ => {}
            }
            if let Some(dispatch) = started {
                running.push(dispatch);
                continue;
            }
            if running.is_empty() {
                break;
            }
            let end = usize::from(*ends.next().unwrap());
            let Dispatch { package, .. } = running.remove(end % running.len());
            queue.succeeded(&package);
        }
        prop_assert_eq!(queue.waiting(), 0);
    }

    /// A queue that tasks join one by one is the queue that has them all at once.
    #[test]
    fn who_joins_later_is_ranked_like_the_others(made in made(), later in proptest::collection::btree_set(0..TASKS, 0..TASKS)) {
        let whole = made.queue(made.tasks.clone());
        let (joining, first): (Vec<_>, Vec<_>) =
            made.tasks.iter().cloned().enumerate().partition(|(number, _)| later.contains(number));
        let mut grown = made.queue(first.into_iter().map(|(_, task)| task));
        for (_, task) in joining {
            prop_assert!(grown.add(task));
        }
        for task in &made.tasks {
            let (a, b) = (&whole.nodes[whole.places[task.package.as_str()]], &grown.nodes[grown.places[task.package.as_str()]]);
            prop_assert_eq!((a.way, a.open, a.rank.is_some()), (b.way, b.open, b.rank.is_some()), "{}", task.package);
        }
        prop_assert_eq!((whole.waiting(), whole.work_left, whole.ready()), (grown.waiting(), grown.work_left, grown.ready()));
    }
}

fn weighed(tasks: &[(&str, f64, Weight)]) -> Queue {
    let known = tasks.iter().map(|(name, _, weight)| ((*name).to_owned(), *weight)).collect();
    Queue::new(tasks.iter().map(|(name, estimate, _)| task(name, &[], *estimate)))
        .with_weights(Weights::new(known, Weight::default()))
}

const ONE_CPU: Weight = Weight { least_cpus: 1, most_cpus: 1, memory_bytes: 1 << 30 };

#[test]
fn small_tasks_fill_what_a_big_one_leaves() {
    let big = Weight { memory_bytes: 6 << 30, ..ONE_CPU };
    let mut queue = weighed(&[
        ("long", 9.0, Weight { memory_bytes: 3 << 30, ..ONE_CPU }),
        ("big", 8.0, big),
        ("small-1", 3.0, ONE_CPU),
        ("small-2", 2.0, ONE_CPU),
        ("small-3", 1.0, ONE_CPU),
    ]);
    // Of 8 GiB `long` has 3, so `big` waits; beside its 6 there is room for two small ones, and not for three.
    let names: Vec<String> = std::iter::from_fn(|| next(&mut queue)).collect();
    assert_eq!(names, ["long", "small-1", "small-2"]);
    queue.succeeded("small-2");
    assert_eq!(next(&mut queue).as_deref(), Some("small-3"));
    queue.succeeded("long");
    assert_eq!(next(&mut queue).as_deref(), Some("big"));
}

#[test]
fn who_needs_more_than_there_is_has_all_of_it_alone() {
    let huge = Weight { least_cpus: 64, most_cpus: 64, memory_bytes: 1 << 40 };
    let mut queue = weighed(&[("huge", 9.0, huge), ("small", 1.0, ONE_CPU)]);
    let dispatch = queue.start_next(&MACHINE).unwrap();
    assert_eq!(
        (dispatch.package.as_str(), dispatch.promised().cpus, dispatch.memory_bytes),
        ("huge", 4, 8 << 30)
    );
    assert_eq!(next(&mut queue), None);
    queue.succeeded("huge");
    assert_eq!(next(&mut queue).as_deref(), Some("small"));
}

#[test]
fn processors_are_shared_among_those_that_may_start() {
    let cpus = |tasks: &[(&str, f64, Weight)]| {
        let mut queue = weighed(tasks);
        let machine = Capacity { cpus: 8, slots: 8, ..MACHINE };
        std::iter::from_fn(|| queue.start_next(&queue.free(&machine)))
            .map(|start| start.cpus)
            .collect::<Vec<_>>()
    };
    let any = Weight::default();
    assert_eq!(cpus(&[("a", 1.0, any)]), [8]);
    assert_eq!(cpus(&[("a", 1.0, any), ("b", 1.0, any)]), [4, 4]);
    // Ways as long as all work divided by eight: these have no more than their share.
    let many: Vec<String> = (0..9).map(|number| format!("p{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), 1.0, any)).collect();
    assert_eq!(cpus(&many), [1; 8]);
    // One that is longer than that has half.
    let long: Vec<_> = many.iter().copied().chain([("long", 4.0, any)]).collect();
    assert_eq!(cpus(&long), [4, 1, 1, 1, 1]);
    // Memory for two only: the processors are theirs.
    let heavy = Weight { memory_bytes: 3 << 30, ..any };
    assert_eq!(cpus(&[("a", 1.0, heavy), ("b", 1.0, heavy), ("c", 1.0, heavy)]), [4, 4]);
    assert_eq!(cpus(&[("a", 1.0, Weight { most_cpus: 3, ..any })]), [3]);
}

#[test]
fn a_retry_may_ask_for_more_memory() {
    let mut queue = weighed(&[("a", 9.0, ONE_CPU), ("b", 1.0, ONE_CPU)]);
    assert_eq!(next(&mut queue).as_deref(), Some("a"));
    queue.again("a", Some(5 << 30));
    let dispatch = queue.start_next(&MACHINE).unwrap();
    assert_eq!((dispatch.package.as_str(), dispatch.memory_bytes), ("a", 5 << 30));
    assert_eq!((queue.running(), queue.waiting(), queue.ended()), (1, 1, 0));
}

#[test]
fn who_waits_for_a_passage_waits_for_what_is_behind_it() {
    let needs = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let tasks = [task("a", &[], 1.0), task("d", &["c"], 1.0)];
    let passages = [("b".to_owned(), needs(&["a"])), ("c".to_owned(), needs(&["b"]))];
    let mut queue = Queue::with_passages(tasks.clone(), passages.clone());
    assert_eq!((queue.len(), next(&mut queue).as_deref(), next(&mut queue)), (2, Some("a"), None));
    queue.succeeded("a");
    // The change of `a` brings `b` into the run: `d` waits for it, through `c`.
    assert_eq!(queue.ready(), 1);
    assert!(queue.add(task("b", &["a"], 1.0)));
    assert_eq!((next(&mut queue).as_deref(), next(&mut queue)), (Some("b"), None));
    queue.succeeded("b");
    assert_eq!(next(&mut queue).as_deref(), Some("d"));
    // A failure goes through passages too; they themselves are no tasks.
    let mut queue = Queue::with_passages(tasks, passages);
    next(&mut queue);
    assert_eq!(queue.failed("a"), ["d"]);
    assert!(!queue.add(task("c", &["b"], 1.0)));
    assert_eq!(queue.state("c"), Some(&TaskState::Blocked { by: needs(&["a"]) }));
    assert_eq!((queue.state("b"), queue.ended(), queue.len()), (None, 3, 3));
}

#[test]
fn what_is_built_again_is_waited_for_again() {
    let mut queue = Queue::new([
        task("a", &[], 1.0),
        task("b", &["a"], 1.0),
        task("c", &["b"], 1.0),
        task("x", &[], 0.5),
    ]);
    for name in ["a", "b"] {
        assert_eq!(next(&mut queue).as_deref(), Some(name));
        if name == "b" {
            // It joins while `b` runs, so `c` waits for both.
            assert!(queue.add(task("a", &[], 1.0)));
        }
        queue.succeeded(name);
    }
    assert_eq!(
        (next(&mut queue).as_deref(), next(&mut queue).as_deref(), next(&mut queue)),
        (Some("a"), Some("x"), None)
    );
    queue.succeeded("a");
    assert_eq!(next(&mut queue).as_deref(), Some("c"));
}
