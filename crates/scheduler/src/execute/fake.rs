//! A fake engine and the world around it: for tests of the machine.
//!
//! Everything follows from a seed: packages and what waits for what, how long workers take, and every fault. The
//! clock is a number. The scheduler can be killed between any two things that it does; what it had not yet written
//! to disk is lost then, in the middle of a line. Records are the truth about packages, as in a real run.

mod hands;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rpm_model::{ContentDigest, FailureClass};

use super::{journal::parse, *};
use crate::demand::Capacity;
use crate::queue::{Queue, Task};

const LEASE: Duration = Duration::from_secs(10);

/// How often a fault happens where it can, out of a thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults(u32);

impl Faults {
    pub(crate) fn all() -> Self {
        Self(1)
    }

    pub(crate) fn none() -> Self {
        Self(0)
    }
}

/// How the build of a package ends when nothing interferes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Good,
    Bad,
    /// Needs more memory than it is given first.
    Hungry,
    /// Asks for more build requirements once.
    Generating,
}

#[derive(Clone, Debug)]
struct Package {
    name: String,
    waits_for: BTreeSet<String>,
    nature: Nature,
}

/// What is published of a package.
#[derive(Clone, Debug)]
struct Record {
    attempt: Option<AttemptId>,
    identity: ContentDigest,
    /// The versions of what it waits for that it was built against.
    against: BTreeMap<String, u32>,
}

/// One start of a worker.
#[derive(Clone, Debug)]
struct Process {
    caller: Caller,
    package: String,
    starts: Duration,
    ends: Duration,
    /// From then on nothing that it says arrives.
    silent: Option<Duration>,
    /// Does not end itself, whatever it is told.
    undead: bool,
    ending: Ending,
    begun: bool,
    renewed: Duration,
}

/// See the module text.
pub(crate) struct World {
    seed: u64,
    random: fastrand::Rng,
    faults: Faults,
    now: Duration,
    packages: BTreeMap<String, Package>,
    records: BTreeMap<String, Record>,
    versions: BTreeMap<String, u32>,
    /// What the machine's packages are made of, as last looked at.
    prepared: BTreeMap<String, Record>,
    generated: BTreeSet<String>,
    raised: BTreeSet<String>,
    machine: Machine,
    outlives: bool,
    on_disk: Vec<u8>,
    pending: Vec<u8>,
    processes: Vec<Process>,
    /// What the engine says it has.
    engine: BTreeMap<AttemptId, EngineState>,
    unreachable_until: Duration,
    /// `None` while it lives.
    dead_until: Option<Duration>,
    answers: BTreeMap<Request, Answer>,
    requests: u64,
    tokens: u32,
    log: Vec<Action>,
    accepted_jobs: BTreeSet<JobDigest>,
    accepted_attempts: BTreeSet<AttemptId>,
    happened: BTreeMap<&'static str, u64>,
    stopped: bool,
}

impl World {
    pub(crate) fn settings(single_host: bool) -> MachineSettings {
        MachineSettings {
            retries: 2,
            stop_on_failure: false,
            memory_retry: Some(2.0),
            lease: LEASE,
            resubmit: Duration::from_secs(2),
            hosts: HostRules::default(),
            capabilities: Capabilities {
                outlives_scheduler: !single_host,
                single_host,
                enforces_memory: true,
                kills_tree: true,
                can_reprioritise: false,
            },
        }
    }

    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut packages, mut records) = (BTreeMap::new(), BTreeMap::new());
        let count = if faults.0 == 0 { 1 } else { random.usize(2..7) };
        for number in 0..count {
            let name = format!("p{number}");
            let waits_for: BTreeSet<String> =
                (0..number).filter(|_| random.u32(0..3) == 0).map(|before| format!("p{before}")).collect();
            let nature = match random.u32(0..10) {
                _ if faults.0 == 0 => Nature::Good,
                0 => Nature::Bad,
                1 => Nature::Hungry,
                2 => Nature::Generating,
                _ => Nature::Good,
            };
            let built_before = faults.0 > 0 && !waits_for.is_empty() && random.u32(0..4) == 0;
            if built_before {
                let against = waits_for.iter().map(|before| (before.clone(), 0)).collect();
                let identity = ContentDigest::of_bytes(format!("{name} of old").as_bytes());
                records.insert(name.clone(), Record { attempt: None, identity, against });
            }
            packages.insert(name.clone(), Package { name, waits_for, nature });
        }
        let outlives = faults.0 == 0 || random.bool();
        let mut world = Self {
            seed,
            random,
            faults,
            now: Duration::ZERO,
            packages,
            records,
            versions: BTreeMap::new(),
            prepared: BTreeMap::new(),
            generated: BTreeSet::new(),
            raised: BTreeSet::new(),
            machine: Machine::new(Queue::default(), Self::settings(false), Book::default(), &|_, _| false),
            outlives,
            on_disk: b"{\"journal\":1}\n".to_vec(),
            pending: Vec::new(),
            processes: Vec::new(),
            engine: BTreeMap::new(),
            unreachable_until: Duration::ZERO,
            dead_until: None,
            answers: BTreeMap::new(),
            requests: 0,
            tokens: 0,
            log: Vec::new(),
            accepted_jobs: BTreeSet::new(),
            accepted_attempts: BTreeSet::new(),
            happened: BTreeMap::new(),
            stopped: false,
        };
        world.restart();
        world
    }

    /// Plays the world to its end; panics where the machine breaks a promise.
    pub(crate) fn play(mut self) -> BTreeMap<&'static str, u64> {
        let seed = self.seed;
        for _ in 0..4_000 {
            if self.dead_until.is_none() && self.machine.is_over() {
                self.check_end();
                return self.happened;
            }
            self.step();
        }
        let book = self.machine.book();
        panic!("seed {seed}: the run does not end; at {:?}: {book:#?}\n{:#?}", self.now, self.processes);
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.random.u64(100..2_500));
        if self.dead_until.is_some_and(|until| until <= self.now) {
            self.restart();
        }
        if self.chance(3) {
            self.note("engine unreachable");
            self.unreachable_until = self.now + Duration::from_secs(self.random.u64(1..60));
        }
        if self.chance(2) && !self.stopped && self.dead_until.is_none() {
            self.note("stopped");
            self.stopped = true;
            self.tell(MachineEvent::Stop);
        }
        if self.chance(10) && self.dead_until.is_none() {
            self.kill();
        }
        for index in 0..self.processes.len() {
            self.live(index);
        }
        self.processes.retain(|process| process.ends != Duration::MAX);
        if self.now >= self.unreachable_until && self.random.bool() {
            let forgets = self.chance(20);
            let mut picture = self.engine.clone();
            if forgets && picture.pop_first().is_some() {
                self.note("engine forgot");
            }
            let slots = self.random.usize(1..4);
            self.tell(MachineEvent::Capacity(Capacity { slots, cpus: 4, memory_bytes: 1 << 40 }));
            self.tell(MachineEvent::Observed(picture));
        }
        self.tell(MachineEvent::Tick);
        if self.random.u32(0..8) == 0 {
            self.check_replay();
        }
    }

    /// Lets a worker do what it does now.
    fn live(&mut self, index: usize) {
        let process = self.processes[index].clone();
        let is_dead = process.ends == Duration::MAX;
        if is_dead || process.starts > self.now {
            return;
        }
        let is_heard = process.silent.is_none_or(|since| since > self.now) && !self.chance(30);
        let lapsed = self.now.saturating_sub(process.renewed) > LEASE && process.begun;
        if lapsed && !process.undead {
            return self.end_process(index);
        }
        if self.chance(10) {
            self.impersonate(&process);
        }
        let ends = process.ends <= self.now;
        // An undead one speaks when it has ended, however silent it was.
        if !(is_heard || process.undead && ends) {
            return;
        }
        let caller = &process.caller;
        let answer = match (process.begun, ends) {
            (false, _) => self.call_begin(caller),
            (true, false) => self.call_beat(caller),
            (true, true) => self.call_finish(caller, process.ending.clone()),
        };
        // The answer may be lost; then the same is said again later.
        let answer = if self.chance(20) && answer.is_some() {
            self.note("answer lost");
            None
        } else {
            answer
        };
        match answer {
            Some(Answer::Go) => {
                self.processes[index].begun = true;
                self.processes[index].renewed = self.now;
            }
            Some(Answer::Fenced) if process.undead && process.begun => {}
            Some(Answer::Accepted) => {
                let is_accepted = self.accepted_attempts.contains(&caller.attempt);
                assert!(
                    process.ending != Ending::Succeeded || is_accepted,
                    "seed {}: {:?} is told that its result counts",
                    self.seed,
                    caller.attempt
                );
                self.end_process(index);
            }
            Some(Answer::Stale) => {
                if process.undead && process.ending == Ending::Succeeded {
                    self.note("late finish refused");
                }
                self.end_process(index);
            }
            Some(Answer::Fenced) => self.end_process(index),
            None => {}
        }
    }

    fn end_process(&mut self, index: usize) {
        let attempt = self.processes[index].caller.attempt.clone();
        self.processes[index].ends = Duration::MAX;
        let others =
            self.processes.iter().any(|other| other.caller.attempt == attempt && other.ends != Duration::MAX);
        if !others {
            // Engines remember what has ended for a while, or not at all.
            if self.random.bool() {
                self.engine.insert(attempt, EngineState::Ended);
            } else {
                self.engine.remove(&attempt);
            }
        }
    }

    /// Tells the machine something and does what it says; it may be killed on the way.
    fn tell(&mut self, event: MachineEvent) {
        if self.dead_until.is_some() {
            return;
        }
        let mut next = Some(event);
        while let Some(event) = next.take() {
            self.machine.handle(self.now, event);
            while next.is_none()
                && let Some(action) = self.machine.next_action()
            {
                if self.chance(2) {
                    return self.kill();
                }
                self.log.push(action.clone());
                next = self.act(action);
                if self.dead_until.is_some() {
                    return;
                }
            }
        }
    }

    fn act(&mut self, action: Action) -> Option<MachineEvent> {
        match action {
            Action::Prepare { package, more_memory, .. } => {
                if more_memory {
                    self.raised.insert(package.clone());
                }
                return Some(self.prepare(package));
            }
            Action::Journal(entry) => {
                if let Entry::Void { reason, .. } = &entry {
                    match reason {
                        VoidReason::LeaseLapsed => self.note("given up"),
                        VoidReason::NeverStarted => self.note("never started"),
                        VoidReason::OutOfMemory => self.note("out of memory"),
                        VoidReason::RequirementsGenerated => self.note("requirements generated"),
                        _ => {}
                    }
                }
                serde_json::to_writer(&mut self.pending, &entry).unwrap();
                self.pending.push(b'\n');
            }
            Action::Submit { attempt, .. } => {
                self.sync();
                let answer = self.submit(&attempt);
                return Some(MachineEvent::Submitted { attempt: attempt.id, answer });
            }
            Action::Cancel(attempt) => {
                if self.chance(200) {
                    self.note("cancellation lost");
                    return None;
                }
                for index in 0..self.processes.len() {
                    if self.processes[index].caller.attempt == attempt && !self.processes[index].undead {
                        self.end_process(index);
                    }
                }
                self.engine.remove(&attempt);
            }
            Action::Accept { package, attempt } => return Some(self.accept(package, &attempt)),
            Action::Answer(request, answer) => {
                self.sync();
                self.answers.insert(request, answer);
            }
            Action::TellEnded { told: Told::Failed(..), .. } => self.note("package failed"),
            Action::TellStarted { .. } | Action::TellEnded { .. } | Action::Warn(_) => {}
        }
        None
    }

    fn prepare(&mut self, package: String) -> MachineEvent {
        if self.chance(15) {
            self.note("host failed");
            let prepared = Prepared::Infrastructure("the host failed".into());
            return MachineEvent::Prepared { package, prepared };
        }
        let against: BTreeMap<String, u32> =
            self.packages[&package].waits_for.iter().map(|name| (name.clone(), self.version(name))).collect();
        let generated = self.generated.contains(&package);
        let identity = ContentDigest::of_bytes(format!("{package} {against:?} {generated}").as_bytes());
        let job = JobDigest::new(identity.clone());
        self.prepared.insert(package.clone(), Record { attempt: None, identity: identity.clone(), against });
        self.tokens += 1;
        let token = Token::new(format!("{}", self.tokens));
        MachineEvent::Prepared { package, prepared: Prepared::Ready { job, identity, token } }
    }

    fn submit(&mut self, attempt: &Attempt) -> Result<(), SubmitError> {
        let transient = || Err(SubmitError::Transient("no answer".into()));
        if self.chance(10) {
            self.note("rejected");
            return Err(SubmitError::Rejected("not here".into()));
        }
        if self.now < self.unreachable_until || self.chance(60) {
            self.note("submission lost");
            return transient();
        }
        if self.engine.contains_key(&attempt.id) {
            return Ok(());
        }
        self.engine.insert(attempt.id.clone(), EngineState::Running);
        let starts = match self.random.u32(0..20) {
            _ if self.faults.0 == 0 => 0,
            0 => {
                // Taken, and never heard of again.
                self.engine.remove(&attempt.id);
                0
            }
            1 => {
                self.note("started twice");
                2
            }
            _ => 1,
        };
        for start in 0..starts {
            let process = self.process(attempt, start);
            self.processes.push(process);
        }
        if self.chance(60) { transient() } else { Ok(()) }
    }

    fn process(&mut self, attempt: &Attempt, start: u32) -> Process {
        let starts = self.now + Duration::from_millis(self.random.u64(0..8_000));
        let ends = starts + Duration::from_millis(self.random.u64(500..40_000));
        let silent = self.chance(80).then(|| starts + (ends - starts) / 2);
        if silent.is_some() {
            self.note("silent worker");
        }
        let package = &self.packages[&attempt.package];
        let ending = match package.nature {
            _ if self.random.u32(0..1000) < 60 => Ending::Nothing("the worker was killed".into()),
            _ if self.random.u32(0..1000) < 30 => Ending::DiskFull("No space left on device".into()),
            Nature::Bad => {
                Ending::Failed { class: FailureClass::PackageFailure, message: "it does not compile".into() }
            }
            Nature::Hungry if !self.raised.contains(&package.name) => {
                Ending::Failed { class: FailureClass::OutOfMemory, message: "it needs more".into() }
            }
            Nature::Generating if !self.generated.contains(&package.name) => Ending::Generated,
            _ => Ending::Succeeded,
        };
        Process {
            caller: Caller {
                attempt: attempt.id.clone(),
                token: attempt.token.clone(),
                instance: format!("{start}"),
                host: format!("n{}", self.random.u32(0..3)),
            },
            package: attempt.package.clone(),
            starts,
            ends,
            silent,
            undead: silent.is_some() && self.random.bool(),
            ending,
            begun: false,
            renewed: starts,
        }
    }

    fn accept(&mut self, package: String, attempt: &AttemptId) -> MachineEvent {
        let seed = self.seed;
        let written = Book::replay(&self.journal());
        let current = written.current(&package).map(|current| &current.id);
        assert_eq!(
            current,
            Some(attempt),
            "seed {seed}: {package}: accepted is not the current attempt's result"
        );
        if self.chance(15) {
            self.note("result refused");
            let taken = Err((FailureClass::InfrastructureFailure, "a file is damaged".into()));
            return MachineEvent::Taken { package, taken };
        }
        let is_new = self.accepted_jobs.insert(attempt.job.clone());
        assert!(is_new, "seed {seed}: {package}: the same job is accepted twice");
        self.accepted_attempts.insert(attempt.clone());
        self.note("accepted");
        let mut record = self.prepared[&package].clone();
        record.attempt = Some(attempt.clone());
        self.records.insert(package.clone(), record);
        let changed = self.random.u32(0..4) > 0;
        let mut cascade = Vec::new();
        if changed {
            *self.versions.entry(package.clone()).or_default() += 1;
            for other in self.packages.values().filter(|other| other.waits_for.contains(&package)) {
                if self.is_stale(other) {
                    cascade.push(Self::task(other));
                }
            }
        }
        if !cascade.is_empty() {
            self.note("cascade");
        }
        if self.chance(20) {
            // Recorded, and killed before anybody was told.
            self.note("recorded but not journalled");
            self.kill();
        }
        MachineEvent::Taken { package, taken: Ok(Taken { changed, cascade }) }
    }

    /// Kills the scheduler; what it had not written to disk is lost, perhaps in the middle of a line.
    fn kill(&mut self) {
        if self.dead_until.is_some() {
            return;
        }
        let kept = self.random.usize(0..=self.pending.len());
        if kept < self.pending.len() {
            self.note("journal torn");
        }
        self.on_disk.extend_from_slice(&self.pending[..kept]);
        self.pending.clear();
        self.dead_until = Some(self.now + Duration::from_secs(self.random.u64(0..40)));
        if !self.outlives {
            for process in &mut self.processes {
                process.ends = Duration::MAX;
            }
            self.engine.clear();
        }
    }

    /// Starts the scheduler from what is on disk: journal and records.
    pub(crate) fn restart(&mut self) {
        if self.dead_until.take().is_some() {
            self.note("scheduler restarted");
        }
        let (entries, whole) = parse(&self.on_disk);
        self.on_disk.truncate(whole);
        self.pending.clear();
        let book = Book::replay(&entries);
        let planned: Vec<Task> =
            self.packages.values().filter(|package| self.is_stale(package)).map(Self::task).collect();
        let settings = MachineSettings {
            capabilities: Capabilities {
                outlives_scheduler: self.outlives,
                ..Self::settings(false).capabilities
            },
            ..Self::settings(false)
        };
        let records = &self.records;
        // Who waits for what need not be built waits for all behind it.
        let fresh = self.packages.values().filter(|package| !self.is_stale(package));
        let passages: Vec<_> =
            fresh.map(|package| (package.name.clone(), package.waits_for.clone())).collect();
        let queue = Queue::with_passages(planned, passages);
        self.machine = Machine::new(queue, settings, book, &|package, current| {
            records.get(package).is_some_and(|record| record.identity == current.identity)
        });
        let capacity = Capacity { slots: 2, cpus: 4, memory_bytes: 1 << 40 };
        self.tell(MachineEvent::Capacity(capacity));
        if self.stopped {
            self.tell(MachineEvent::Stop);
        }
    }

    fn task(package: &Package) -> Task {
        Task { package: package.name.clone(), waits_for: package.waits_for.clone(), estimate: 1.0 }
    }

    /// Returns whether a package is to be built: it has no record, or one made of what is no longer there.
    fn is_stale(&self, package: &Package) -> bool {
        let Some(record) = self.records.get(&package.name) else { return true };
        record.against.iter().any(|(name, version)| self.version(name) != *version)
    }

    fn version(&self, package: &str) -> u32 {
        self.versions.get(package).copied().unwrap_or_default()
    }

    fn journal(&self) -> Vec<Entry> {
        let mut text = self.on_disk.clone();
        text.extend_from_slice(&self.pending);
        parse(&text).0
    }

    fn sync(&mut self) {
        self.on_disk.append(&mut self.pending);
    }

    /// Returns whether something happens that does so this often out of a thousand.
    fn chance(&mut self, often: u32) -> bool {
        self.random.u32(0..1000) < often * self.faults.0
    }

    fn note(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }
}
