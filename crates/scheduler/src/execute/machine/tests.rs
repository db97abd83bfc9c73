//! The machine against a fake engine: one world per seed, with every fault that engines, workers and hosts have.

use super::*;
use crate::execute::fake::{Faults, World};

/// Worlds that are played.
const SEEDS: u64 = 10_000;

/// Plays worlds and returns how often each fault happened in them.
fn play(seeds: std::ops::Range<u64>) -> BTreeMap<&'static str, u64> {
    let mut happened = BTreeMap::new();
    for seed in seeds {
        for (what, times) in World::new(seed, Faults::all()).play() {
            *happened.entry(what).or_default() += times;
        }
    }
    happened
}

/// Each job is accepted once, no result of an attempt that is not current is accepted, reading the journal gives
/// the same state, and every job ends: [`World::play`] panics with the seed where one of these does not hold.
#[test]
fn ten_thousand_worlds_of_faults_end_with_each_job_accepted_once() {
    let happened = play(0..SEEDS);
    // What never happened was not tested.
    for fault in [
        "accepted",
        "submission lost",
        "answer lost",
        "started twice",
        "late finish refused",
        "silent worker",
        "engine unreachable",
        "scheduler restarted",
        "journal torn",
        "recorded but not journalled",
        "given up",
        "never started",
        "cancellation lost",
        "out of memory",
        "requirements generated",
        "host failed",
        "result refused",
        "package failed",
        "cascade",
        "stopped",
        "engine forgot",
        "rejected",
        "impostor",
    ] {
        assert!(happened.get(fault).is_some_and(|times| *times > 20), "{fault}: {happened:#?}");
    }
}

/// The same seed gives the same world, so a failure can be looked at again.
#[test]
fn a_seed_is_a_world() {
    for seed in 0..20 {
        assert_eq!(World::new(seed, Faults::all()).play(), World::new(seed, Faults::all()).play(), "{seed}");
    }
}

/// Rule 1.
#[test]
fn an_attempt_is_journalled_before_the_engine_hears_of_it_and_a_finish_is_compared_and_swapped() {
    let mut world = World::new(1, Faults::none());
    let (first, actions) = world.submit_one();
    let journalled =
        actions.iter().position(|action| matches!(action, Action::Journal(Entry::Attempt { .. })));
    let submitted = actions.iter().position(|action| matches!(action, Action::Submit { .. }));
    assert!(journalled.unwrap() < submitted.unwrap(), "{actions:?}");
    assert_eq!(world.call_begin(&first), Some(Answer::Go));
    let stranger = Caller { token: Token::new("guess"), ..first.clone() };
    assert_eq!(world.call_finish(&stranger, Ending::Succeeded), Some(Answer::Stale));
    assert_eq!(world.call_finish(&first, Ending::Succeeded), Some(Answer::Accepted));
    assert_eq!(world.call_finish(&first, Ending::Succeeded), Some(Answer::Accepted), "repeated");
    let other = Caller { attempt: AttemptId { number: 9, ..first.attempt.clone() }, ..first };
    assert_eq!(world.call_finish(&other, Ending::Succeeded), Some(Answer::Stale));
}

/// Rule 2.
#[test]
fn a_worker_is_given_up_only_after_more_than_its_lease_and_is_fenced_then() {
    let mut world = World::new(1, Faults::none());
    let (worker, _) = world.submit_one();
    assert_eq!(world.call_begin(&worker), Some(Answer::Go));
    let lease = world.lease();
    world.pass(lease * 3 / 2);
    assert_eq!(world.call_beat(&worker), Some(Answer::Go), "one and a half leases are not 1.6");
    world.pass(lease * 3 / 2);
    assert_eq!(world.call_beat(&worker), Some(Answer::Go), "each beat is another lease");
    world.pass(lease * 17 / 10);
    assert_eq!(world.call_beat(&worker), Some(Answer::Fenced));
    assert_eq!(world.call_finish(&worker, Ending::Succeeded), Some(Answer::Stale));
}

/// Rule 2: an engine may start an attempt twice.
#[test]
fn of_two_starts_of_an_attempt_only_the_first_goes_on() {
    let mut world = World::new(1, Faults::none());
    let (worker, _) = world.submit_one();
    let twin = Caller { instance: "twin".into(), ..worker.clone() };
    assert_eq!(world.call_begin(&worker), Some(Answer::Go));
    assert_eq!(world.call_begin(&twin), Some(Answer::Fenced));
    assert_eq!(world.call_finish(&twin, Ending::Succeeded), Some(Answer::Stale));
    assert_eq!(world.call_begin(&worker), Some(Answer::Go), "its own call, repeated");
}

/// Rule 3.
#[test]
fn what_never_began_is_lost_after_six_pictures_and_an_engine_that_is_silent_says_nothing() {
    let mut world = World::new(1, Faults::none());
    let (worker, _) = world.submit_one();
    let lease = world.lease();
    // No picture can be had: nothing is known, so nothing is lost.
    world.pass(lease * 100);
    for _ in 1..PICTURES {
        world.show(BTreeMap::new());
    }
    assert_eq!(world.current(), Some(worker.attempt.clone()));
    world.show(BTreeMap::from([(worker.attempt.clone(), EngineState::Queued)]));
    for _ in 1..PICTURES {
        world.show(BTreeMap::from([(worker.attempt.clone(), EngineState::Ended)]));
    }
    assert_eq!(world.current(), Some(worker.attempt.clone()));
    world.show(BTreeMap::new());
    let next = world.current().unwrap();
    assert_eq!((next.job, next.number), (worker.attempt.job, worker.attempt.number + 1));
}

/// Rule 4.
#[test]
fn what_is_lost_is_cancelled_and_tried_again_and_is_no_failure_of_the_package() {
    let mut world = World::new(1, Faults::none());
    let (worker, _) = world.submit_one();
    world.call_begin(&worker);
    let actions = world.pass(world.lease() * 2);
    assert!(actions.contains(&Action::Cancel(worker.attempt.clone())), "{actions:?}");
    assert!(actions.iter().any(|action| matches!(action, Action::Submit { .. })), "{actions:?}");
    assert!(!actions.iter().any(|action| matches!(action, Action::TellEnded { .. })), "{actions:?}");
}

/// Rule 5.
#[test]
fn nothing_is_accepted_that_the_ledger_did_not_take() {
    let mut world = World::new(1, Faults::none());
    let (worker, _) = world.submit_one();
    world.call_begin(&worker);
    world.pass(world.lease() * 2);
    world.call_finish(&worker, Ending::Succeeded);
    assert_eq!(world.accepted(), 0);
}

/// Rule 6.
#[test]
fn a_scheduler_that_starts_again_takes_over_what_runs() {
    let mut world = World::new(1, Faults::none());
    let (worker, _) = world.submit_one();
    assert_eq!(world.call_begin(&worker), Some(Answer::Go));
    world.restart();
    assert_eq!(world.current(), Some(worker.attempt.clone()));
    assert_eq!(world.call_beat(&worker), Some(Answer::Go));
    assert_eq!(world.call_finish(&worker, Ending::Succeeded), Some(Answer::Accepted));
    assert_eq!(world.accepted(), 1);
    world.restart();
    assert_eq!(world.call_finish(&worker, Ending::Succeeded), Some(Answer::Accepted), "repeated");
    assert_eq!(world.accepted(), 1);
}

#[test]
fn memory_is_raised_once_where_that_is_configured_and_infrastructure_failures_do_not_count() {
    let out_of_memory =
        || Ending::Failed { class: FailureClass::OutOfMemory, message: "it needs more".into() };
    let mut world = World::new(1, Faults::none());
    let (worker, _) = world.submit_one();
    world.call_begin(&worker);
    assert_eq!(world.call_finish(&worker, Ending::Nothing("killed".into())), Some(Answer::Accepted));
    let second = world.caller_of_current(&worker);
    world.call_begin(&second);
    world.call_finish(&second, out_of_memory());
    let third = world.caller_of_current(&worker);
    assert_eq!(third.attempt.number, 3);
    world.call_begin(&third);
    let actions = world.finish_actions(&third, out_of_memory());
    let failed = |action: &Action| {
        matches!(action, Action::TellEnded { told: Told::Failed(FailureClass::OutOfMemory, _), .. })
    };
    assert!(actions.iter().any(failed), "{actions:?}");
}

/// Returns a job of a package, and what is written when an attempt at it is made.
fn attempted(package: &str) -> (Caller, Entry) {
    let identity = ContentDigest::of_bytes(package.as_bytes());
    let id = AttemptId { job: JobDigest::new(identity.clone()), number: 1 };
    let token = Token::new("secret");
    let caller = Caller {
        attempt: id.clone(),
        token: token.clone(),
        instance: "worker".to_owned(),
        host: "n0".to_owned(),
    };
    (caller, Entry::Attempt { package: package.to_owned(), id, identity, token })
}

/// Tells a machine something and returns what it does about it.
fn said(machine: &mut Machine, seconds: u64, event: MachineEvent) -> Vec<Action> {
    machine.handle(Duration::from_secs(seconds), event);
    std::iter::from_fn(|| machine.next_action()).collect()
}

/// Rules 1 and 4: what an engine may not have heard is said again, and only as long as that is not known.
#[test]
fn submissions_and_cancellations_that_were_lost_are_repeated() {
    let queue = Queue::new([crate::testing::task("a", &[])]);
    let mut machine = Machine::new(queue, World::settings(false), Book::default(), &|_, _| false);
    let room = Capacity { slots: 1, cpus: 1, memory_bytes: 1 };
    said(&mut machine, 0, MachineEvent::Capacity(room));
    let (caller, _) = attempted("a");
    let attempt = caller.attempt;
    let (job, identity) = (attempt.job.clone(), ContentDigest::of_bytes(b"a"));
    let prepared = Prepared::Ready { job, identity, token: caller.token };
    said(&mut machine, 0, MachineEvent::Prepared { package: "a".into(), prepared });
    let lost = Err(SubmitError::Transient("no answer".into()));
    let answer = MachineEvent::Submitted { attempt: attempt.clone(), answer: lost };
    assert_eq!(said(&mut machine, 0, answer), []);
    assert_eq!(said(&mut machine, 1, MachineEvent::Tick), []);
    let again = said(&mut machine, 2, MachineEvent::Tick);
    assert!(
        matches!(&again[..], [Action::Submit { attempt: again, .. }] if again.id == attempt),
        "{again:?}"
    );
    let picture = |state| MachineEvent::Observed(BTreeMap::from([(attempt.clone(), state)]));
    assert_eq!(said(&mut machine, 3, picture(EngineState::Queued)), []);
    assert_eq!(said(&mut machine, 60, MachineEvent::Tick), [], "the engine has it");
    // Taken back because the run is to end; the engine does not hear that either.
    let cancel = Action::Cancel(attempt.clone());
    assert!(said(&mut machine, 61, MachineEvent::Stop).contains(&cancel));
    assert_eq!(said(&mut machine, 62, picture(EngineState::Running)), [cancel]);
    assert_eq!(said(&mut machine, 63, picture(EngineState::Ended)), []);
}

/// Rule 6, for each thing that a run before may have left.
#[test]
fn what_a_run_before_left_is_recorded_gone_or_failed() {
    let machine = |single_host, entries: &[Entry], is_recorded: bool| {
        let queue = Queue::new([crate::testing::task("a", &[])]);
        let settings = World::settings(single_host);
        let mut machine = Machine::new(queue, settings, Book::replay(entries), &|_, _| is_recorded);
        let room = Capacity { slots: 1, cpus: 1, memory_bytes: 1 };
        let actions = said(&mut machine, 0, MachineEvent::Capacity(room));
        let prepares = actions.iter().any(|action| matches!(action, Action::Prepare { .. }));
        (machine, prepares)
    };
    let (caller, attempt) = attempted("a");
    // Recorded, and only the journal was not told: its worker may say so once more.
    let (mut recorded, _) = machine(false, std::slice::from_ref(&attempt), true);
    let finish = MachineEvent::Finish { caller, request: Request(1), ending: Ending::Succeeded };
    assert_eq!(said(&mut recorded, 0, finish), [Action::Answer(Request(1), Answer::Accepted)]);
    // A worker of another host goes on; one of this host ended with its scheduler, and is not waited for.
    assert!(!machine(false, std::slice::from_ref(&attempt), false).1);
    let (gone, prepares) = machine(true, std::slice::from_ref(&attempt), false);
    assert!(prepares && gone.book().open().next().is_none());
    // What failed has failed in a run that goes on; a run of this host alone is a new one.
    let result = PackageResult::Failed { class: FailureClass::PackageFailure, message: "no".into() };
    let failed = [attempt, Entry::Ended { package: "a".into(), result }];
    let (goes_on, prepares) = machine(false, &failed, false);
    assert!(!prepares && goes_on.is_over());
    assert_eq!(goes_on.conclude().unwrap().failed["a"], "no");
    assert!(machine(true, &failed, false).1);
}

/// What runs is cancelled and its turn comes in the next run; what is being accepted is accepted.
#[test]
fn who_wants_all_to_end_is_told_what_was_interrupted() {
    let queue = Queue::new(["a", "b", "c", "d"].map(|name| crate::testing::task(name, &[])));
    let mut machine = Machine::new(queue, World::settings(true), Book::default(), &|_, _| false);
    said(&mut machine, 0, MachineEvent::Capacity(Capacity { slots: 3, cpus: 3, memory_bytes: 3 }));
    let callers = ["a", "b"].map(|package| {
        let (caller, _) = attempted(package);
        let (job, token) = (caller.attempt.job.clone(), caller.token.clone());
        let prepared = Prepared::Ready { job, identity: ContentDigest::of_bytes(b"i"), token };
        said(&mut machine, 0, MachineEvent::Prepared { package: package.into(), prepared });
        said(&mut machine, 0, MachineEvent::Begin { caller: caller.clone(), request: Request(1) });
        caller
    });
    let [running, ended] = callers;
    let finish = |caller: &Caller| MachineEvent::Finish {
        caller: caller.clone(),
        request: Request(2),
        ending: Ending::Succeeded,
    };
    said(&mut machine, 1, finish(&ended));
    let actions = said(&mut machine, 2, MachineEvent::EndAll);
    assert!(actions.contains(&Action::Cancel(running.attempt.clone())), "{actions:?}");
    assert!(!machine.is_over(), "acceptance goes on");
    let stale = said(&mut machine, 3, finish(&running));
    assert_eq!(stale, [Action::Answer(Request(2), Answer::Stale)]);
    let taken = Ok(Taken { changed: true, cascade: Vec::new() });
    said(&mut machine, 4, MachineEvent::Taken { package: "b".into(), taken });
    assert!(machine.is_over() && machine.book().open().next().is_none());
    let summary = machine.conclude().unwrap();
    assert_eq!(
        (&summary.built[..], &summary.not_started[..]),
        (&["b".into()][..], &["c".into(), "d".into()][..])
    );
    assert_eq!(summary.interrupted, BTreeSet::from(["a".to_owned()]));
}

/// Engines, workers and acceptance may answer late, twice, or when nobody waits any more.
#[test]
fn what_is_said_twice_or_too_late_changes_nothing() {
    let queue = Queue::new([crate::testing::task("a", &[])]);
    let mut machine = Machine::new(queue, World::settings(false), Book::default(), &|_, _| false);
    let mut said = |event: MachineEvent| -> Vec<Action> {
        machine.handle(Duration::ZERO, event);
        std::iter::from_fn(|| machine.next_action()).collect()
    };
    said(MachineEvent::Capacity(Capacity { slots: 1, cpus: 1, memory_bytes: 1 }));
    let prepared = |token: &str| {
        let identity = ContentDigest::of_bytes(b"a");
        let (job, token) = (JobDigest::new(identity.clone()), Token::new(token));
        MachineEvent::Prepared { package: "a".into(), prepared: Prepared::Ready { job, identity, token } }
    };
    let actions = said(prepared("secret"));
    let Some(Action::Submit { attempt: Attempt { id, token, .. }, .. }) = actions.last() else {
        panic!("{actions:?}");
    };
    let caller = Caller {
        attempt: id.clone(),
        token: token.clone(),
        instance: "worker".to_owned(),
        host: "n0".to_owned(),
    };
    assert_eq!(said(prepared("another")), [], "a job that nobody waits for");
    let begun = said(MachineEvent::Begin { caller: caller.clone(), request: Request(1) });
    assert_eq!(begun.last(), Some(&Action::Answer(Request(1), Answer::Go)));
    // The engine says no to what its own start of the worker has begun.
    let answer = Err(SubmitError::Rejected("no".into()));
    assert_eq!(said(MachineEvent::Submitted { attempt: caller.attempt.clone(), answer }), []);
    assert_eq!(
        said(MachineEvent::Taken { package: "a".into(), taken: Ok(Taken::default()) }),
        [],
        "no result yet"
    );
    // Acceptance takes its time, and the worker hands its result in once more.
    let finish = |request| MachineEvent::Finish {
        caller: caller.clone(),
        request: Request(request),
        ending: Ending::Succeeded,
    };
    let actions = said(finish(2));
    assert!(matches!(actions[..], [Action::Accept { .. }]), "{actions:?}");
    assert_eq!(said(finish(3)), [], "one result is taken once");
    let taken = || {
        let taken = Taken { changed: true, cascade: Vec::new() };
        MachineEvent::Taken { package: "a".into(), taken: Ok(taken) }
    };
    let actions = said(taken());
    for request in [2, 3] {
        assert!(actions.contains(&Action::Answer(Request(request), Answer::Accepted)), "{actions:?}");
    }
    assert_eq!(said(taken()), [], "taken already");
    assert!(machine.is_over());
    assert_eq!(machine.conclude().unwrap().built, ["a"]);
}

/// Plays independent packages on this host alone; each is built, and then what is said of it happens. Returns what the
/// run did.
fn play_here(packages: &[&str], ending: impl Fn(&str) -> Result<(), Ending>) -> RunSummary {
    let tasks = packages.iter().map(|name| crate::testing::task(name, &[]));
    let mut machine = Machine::new(Queue::new(tasks), World::settings(true), Book::default(), &|_, _| false);
    let mut events =
        VecDeque::from([MachineEvent::Capacity(Capacity { slots: 1, cpus: 1, memory_bytes: 1 })]);
    while let Some(event) = events.pop_front() {
        machine.handle(Duration::ZERO, event);
        while let Some(action) = machine.next_action() {
            match action {
                Action::Prepare { package, .. } => {
                    let identity = ContentDigest::of_bytes(package.as_bytes());
                    let (job, token) = (JobDigest::new(identity.clone()), Token::new("t"));
                    let prepared = Prepared::Ready { job, identity, token };
                    events.push_back(MachineEvent::Prepared { package, prepared });
                }
                Action::Submit { attempt, .. } => {
                    let Attempt { id, token, package, .. } = attempt;
                    events.push_back(MachineEvent::Submitted { attempt: id.clone(), answer: Ok(()) });
                    let instance = "worker".to_owned();
                    let caller = Caller { attempt: id, token, instance, host: "here".to_owned() };
                    events.push_back(MachineEvent::Begin { caller: caller.clone(), request: Request(1) });
                    let ending = match ending(&package) {
                        Err(ending @ (Ending::DiskFull(_) | Ending::Failed { .. })) => ending,
                        _ => Ending::Succeeded,
                    };
                    events.push_back(MachineEvent::Finish { caller, request: Request(2), ending });
                }
                Action::Accept { package, .. } => {
                    let full = || (FailureClass::NoSpace, "no room".to_owned());
                    let taken = ending(&package).map(|()| Taken::default()).map_err(|_| full());
                    events.push_back(MachineEvent::Taken { package, taken });
                }
                _ => {}
            }
        }
    }
    assert!(machine.is_over());
    machine.conclude().unwrap()
}

/// A full disk fails whatever comes next; a package that passes its own limit says nothing about the host.
#[test]
fn a_full_disk_is_the_failure_of_a_host_and_a_passed_limit_is_not() {
    let names = ["a", "b", "c", "d", "e"];
    let under_builds = || Err(Ending::DiskFull("No space left on device".into()));
    let under_the_repository = || Err(Ending::Nothing(String::new()));
    for full in [&under_builds as &dyn Fn() -> Result<(), Ending>, &under_the_repository] {
        let summary = play_here(&names, |_| full());
        let halt = summary.halt.unwrap();
        assert_eq!(halt.packages.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
        // No second attempt, and what comes after the third is not tried.
        assert_eq!(summary.failed.into_keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(summary.not_started, ["c", "d", "e"]);
        // One that goes well in between says that there is room.
        let summary = play_here(&names, |name| if name == "c" { Ok(()) } else { full() });
        assert_eq!((summary.failed.len(), summary.halt), (4, None));
    }
    let passed = || Err(Ending::Failed { class: FailureClass::NoSpace, message: "its limit".into() });
    let summary = play_here(&names, |_| passed());
    assert_eq!((summary.failed.len(), summary.halt), (5, None));
}

#[test]
fn a_single_host_that_fails_several_packages_in_a_row_ends_the_run() {
    let tasks = ["a", "b", "c", "d", "e"].map(|name| crate::testing::task(name, &[]));
    let settings = World::settings(true);
    let mut machine = Machine::new(Queue::new(tasks), settings, Book::default(), &|_, _| false);
    machine.handle(Duration::ZERO, MachineEvent::Capacity(Capacity { slots: 1, cpus: 1, memory_bytes: 1 }));
    let mut turns = 0;
    while let Some(action) = machine.next_action() {
        if let Action::Prepare { package, .. } = action {
            turns += 1;
            let prepared = Prepared::Infrastructure("the disk is gone".into());
            machine.handle(Duration::ZERO, MachineEvent::Prepared { package, prepared });
        }
    }
    assert!(machine.is_over());
    let summary = machine.conclude().unwrap();
    let halt = summary.halt.unwrap();
    assert_eq!((halt.packages.len(), halt.message.as_str()), (3, "the disk is gone"));
    // Two had their attempts; the one that was too many and the rest have their turn in the next run.
    assert_eq!((summary.failed.len(), summary.not_started.len()), (2, 3));
    assert!(turns <= 9, "{turns}");
}
