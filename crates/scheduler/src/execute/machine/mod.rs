//! The run as a machine: what happened goes in, what is to be done comes out.
//!
//! What it is: every decision of a run, over plain data, with a clock that is handed in; the driver of a real run and
//! the fake engine of the tests drive this same code. What must survive a crash is in its [`Book`], which changes by
//! journalled entries alone; the rest (who was heard of when) is learned again from engine and workers. What it is
//! not: it builds no package, reads no clock, writes no file and knows no process.
//!
//! The rules that it keeps, each because engines and networks do what they do:
//! 1. An attempt is journalled before an engine hears of it, and of a package only one is current; a result counts
//!    only as the current attempt's.
//! 2. A worker that cannot renew its lease ends itself; only after 1.6 leases is it given up here.
//! 3. What never began is given up only after six pictures of the engine without it. An engine that cannot be
//!    reached says nothing.
//! 4. What is given up is cancelled as far as possible and tried again; that is no failure of the package.
//! 5. Nothing is published before its result was accepted.
//! 6. After a restart journal, engine and workers tell where everything stands; what runs goes on.

mod calls;
mod endings;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use calls::times;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rpm_model::{ContentDigest, FailureClass};

use super::attempt::{Attempt, AttemptId, Caller, Token};
use super::book::{Book, Current, Entry, PackageResult, VoidReason};
use super::executor::{Capabilities, EngineState, SubmitError};
use super::hosts::{HostRules, Hosts};
use super::job::JobDigest;
use crate::demand::{Capacity, Dispatch};
use crate::queue::{Queue, Task, TaskState};
use crate::run::{Halt, RunSummary};

/// How a machine behaves.
#[derive(Clone, Copy, Debug)]
pub struct MachineSettings {
    /// Attempts after an infrastructure failure, besides the first.
    pub retries: u32,
    /// Whether the first failure ends the run.
    pub stop_on_failure: bool,
    /// How many times as much memory is given once more to what ran out of it; `None` for not at all.
    pub memory_retry: Option<f64>,
    /// How long a worker may go on without having been heard.
    pub lease: Duration,
    /// How long after an unanswered or doubtful submission the same attempt is submitted again.
    pub resubmit: Duration,
    /// When hosts are left alone.
    pub hosts: HostRules,
    /// What the engine can do.
    pub capabilities: Capabilities,
}

/// Pictures of the engine without an attempt that never began, after which it is given up.
pub const PICTURES: u32 = 6;

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request(pub u64);

/// The answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The worker goes on.
    Go,
    /// The worker ends itself.
    Fenced,
    /// The result is taken.
    Accepted,
    /// The result is not taken.
    Stale,
}

/// What a package's turn came to before there is an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// There is a job.
    Ready {
        /// Its name.
        job: JobDigest,
        /// The build identity.
        identity: ContentDigest,
        /// A fresh secret.
        token: Token,
    },
    /// What it needs may come in a later round.
    Postponed(String),
    /// Its build root cannot be made.
    Unresolvable(String),
    /// The host failed.
    Infrastructure(String),
}

/// How a worker's work ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There are packages.
    Succeeded,
    /// It asks for more build requirements.
    Generated,
    /// It failed.
    Failed {
        /// Whose fault it is.
        class: FailureClass,
        /// One sentence.
        message: String,
    },
    /// The disk of its host was full: one sentence.
    DiskFull(String),
    /// It ended without a result.
    Nothing(String),
}

/// What acceptance did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// Whether the published packages changed.
    pub changed: bool,
    /// Packages that must be built because of it.
    pub cascade: Vec<Task>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum MachineEvent {
    /// Time passed.
    Tick,
    /// The user wants the run to end.
    Stop,
    /// The user wants what runs to end as well.
    EndAll,
    /// What the run may use of the engine.
    Capacity(Capacity),
    /// A package's turn was looked at.
    Prepared {
        /// The package.
        package: String,
        /// What it came to.
        prepared: Prepared,
    },
    /// The engine answered a submission.
    Submitted {
        /// The attempt.
        attempt: AttemptId,
        /// The answer.
        answer: Result<(), SubmitError>,
    },
    /// A picture of the engine. When it cannot be reached there is none.
    Observed(BTreeMap<AttemptId, EngineState>),
    /// A worker begins.
    Begin {
        /// Who.
        caller: Caller,
        /// The call.
        request: Request,
    },
    /// A worker lives.
    Beat {
        /// Who.
        caller: Caller,
        /// The call.
        request: Request,
    },
    /// A worker has ended its work.
    Finish {
        /// Who.
        caller: Caller,
        /// The call.
        request: Request,
        /// How.
        ending: Ending,
    },
    /// Acceptance looked at a result; an error refuses it.
    Taken {
        /// The package.
        package: String,
        /// What it did.
        taken: Result<Taken, (FailureClass, String)>,
    },
}

/// How a package ended, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Published.
    Built,
    /// As published before.
    Identical,
    /// Failed.
    Failed(FailureClass, String),
    /// Not built in this round.
    Postponed(String),
    /// Not tried because this package failed.
    Blocked(String),
}

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Look what a package is to be built from, and say so.
    Prepare {
        /// The package.
        package: String,
        /// Whether it is given more memory than its limit.
        more_memory: bool,
        /// Processors that it is promised.
        cpus: u32,
    },
    /// Write this down, on disk before any later `Submit` or `Answer`.
    Journal(Entry),
    /// Give an attempt to the engine, and say what it answered.
    Submit {
        /// The attempt.
        attempt: Attempt,
        /// What it is promised.
        dispatch: Dispatch,
    },
    /// End an attempt.
    Cancel(AttemptId),
    /// Take the result that this attempt handed in, and say what came of it.
    Accept {
        /// The package.
        package: String,
        /// The attempt.
        attempt: AttemptId,
    },
    /// Answer a call.
    Answer(Request, Answer),
    /// Tell that a package's turn has come.
    TellStarted {
        /// The package.
        package: String,
        /// How many are still to be started.
        waiting: usize,
    },
    /// Tell how a package ended.
    TellEnded {
        /// The package.
        package: String,
        /// How.
        told: Told,
        /// Ended, out of all.
        done: usize,
        /// All that the queue holds.
        total: usize,
    },
    /// Tell something that the user may act on.
    Warn(String),
}

/// What a package in flight waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// To be looked at.
    Preparing,
    /// For the engine's answer, or for the moment to ask again.
    Submitting { again: Duration },
    /// For the worker to begin.
    Placed { unseen: u32 },
    /// For the worker's result.
    Running { heard: Duration },
    /// For acceptance; these calls wait with it.
    Taking { requests: Vec<Request> },
}

/// A package whose turn has come and that has not ended.
#[derive(Clone, Debug)]
struct Flight {
    dispatch: Dispatch,
    phase: Phase,
}

/// A run; see the module text.
#[derive(Debug)]
pub struct Machine {
    settings: MachineSettings,
    queue: Queue,
    book: Book,
    flights: BTreeMap<String, Flight>,
    /// The package of each attempt of this run.
    owners: BTreeMap<AttemptId, String>,
    hosts: Hosts,
    capacity: Option<Capacity>,
    now: Duration,
    stopping: bool,
    summary: RunSummary,
    actions: VecDeque<Action>,
}

impl Machine {
    /// Returns a machine that carries a queue out. `book` is what the journal says of an earlier run that did not
    /// come to its end, and `is_recorded` whether a build record vouches for what an attempt made.
    pub fn new(
        queue: Queue,
        settings: MachineSettings,
        book: Book,
        is_recorded: &dyn Fn(&str, &Current) -> bool,
    ) -> Self {
        let mut machine = Self {
            settings,
            queue,
            book,
            flights: BTreeMap::new(),
            owners: BTreeMap::new(),
            hosts: Hosts::default(),
            capacity: None,
            now: Duration::ZERO,
            stopping: false,
            summary: RunSummary::default(),
            actions: VecDeque::new(),
        };
        machine.take_over(is_recorded);
        machine
    }

    /// Takes in what happened, at a time that never goes back.
    pub fn handle(&mut self, now: Duration, event: MachineEvent) {
        self.now = now.max(self.now);
        match event {
            MachineEvent::Tick => self.tick(),
            MachineEvent::Stop => self.stop(),
            MachineEvent::EndAll => self.end_all(),
            MachineEvent::Capacity(capacity) => self.capacity = Some(capacity),
            MachineEvent::Prepared { package, prepared } => self.prepared(&package, prepared),
            MachineEvent::Submitted { attempt, answer } => self.submitted(&attempt, answer),
            MachineEvent::Observed(picture) => self.observed(&picture),
            MachineEvent::Begin { caller, request } => self.begin(&caller, request),
            MachineEvent::Beat { caller, request } => self.beat(&caller, request),
            MachineEvent::Finish { caller, request, ending } => self.finish(&caller, request, ending),
            MachineEvent::Taken { package, taken } => self.taken(&package, taken),
        }
        self.fill();
    }

    /// Returns what is to be done next; in this order.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns whether nothing will happen any more.
    pub fn is_over(&self) -> bool {
        self.actions.is_empty()
            && self.flights.is_empty()
            && (self.stopping || self.queue.waiting() == 0 || self.queue.is_stuck())
    }

    /// Returns what must survive a crash.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Returns how many packages have a worker.
    pub fn running(&self) -> usize {
        let is_running =
            |flight: &&Flight| matches!(flight.phase, Phase::Running { .. } | Phase::Taking { .. });
        self.flights.values().filter(is_running).count()
    }

    /// Returns whether the run starts nothing more.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Ends the run and returns what it did, or the packages that wait for one another.
    pub fn conclude(mut self) -> Result<RunSummary, Vec<String>> {
        let mut waiting = Vec::new();
        for (package, state) in self.queue.states() {
            match state {
                // What waits only for something postponed is neither started nor blocked: its turn comes.
                TaskState::Blocked { by }
                    if by.iter().all(|cause| self.summary.postponed.contains_key(cause)) => {}
                TaskState::Blocked { by } => {
                    self.summary.blocked.insert(package.to_owned(), by.clone());
                }
                TaskState::Waiting => waiting.push(package.to_owned()),
                TaskState::Running | TaskState::Done | TaskState::Failed => {}
            }
        }
        if !self.stopping && !waiting.is_empty() {
            return Err(waiting);
        }
        waiting.retain(|package| !self.summary.interrupted.contains(package));
        self.summary.not_started = waiting;
        self.summary.built.sort();
        self.summary.identical.sort();
        Ok(self.summary)
    }

    /// Starts what may be started.
    fn fill(&mut self) {
        while !self.stopping
            && let Some(dispatch) = self.start_next()
        {
            let package = dispatch.package.clone();
            let waiting = self.queue.waiting();
            self.actions.push_back(Action::TellStarted { package: package.clone(), waiting });
            self.flights.insert(package.clone(), Flight { dispatch, phase: Phase::Preparing });
            self.prepare(&package);
        }
    }

    /// Returns the next package that there is room for.
    fn start_next(&mut self) -> Option<Dispatch> {
        let capacity = self.capacity?;
        let free = self.queue.free(&capacity);
        self.queue.start_next(&free)
    }

    /// Takes a package out of flight whose turn comes later, perhaps with more memory.
    fn put_back(&mut self, package: &str, memory_bytes: Option<u64>) {
        if self.flights.remove(package).is_some() {
            self.queue.again(package, memory_bytes);
        }
    }

    /// Asks for the job of a package in flight.
    fn prepare(&mut self, package: &str) {
        let more_memory = self.book.state(package).is_some_and(|state| state.memory_raised);
        let Some(flight) = self.flights.get_mut(package) else { return };
        flight.phase = Phase::Preparing;
        let cpus = flight.dispatch.cpus;
        self.actions.push_back(Action::Prepare { package: package.to_owned(), more_memory, cpus });
    }

    fn prepared(&mut self, package: &str, prepared: Prepared) {
        if self.phase(package) != Some(&Phase::Preparing) {
            return;
        }
        if self.stopping {
            return self.put_back(package, None);
        }
        match prepared {
            Prepared::Ready { job, identity, token } => {
                let number = self.book.state(package).map_or(0, |state| state.attempts) + 1;
                let id = AttemptId { job, number };
                self.owners.insert(id.clone(), package.to_owned());
                self.write(Entry::Attempt { package: package.to_owned(), id, identity, token });
                self.submit(package);
            }
            Prepared::Postponed(message) => {
                self.end(package, PackageResult::Postponed { message });
            }
            Prepared::Unresolvable(message) => {
                self.end(package, PackageResult::Failed { class: FailureClass::PackageFailure, message });
            }
            Prepared::Infrastructure(message) => self.spoilt(package, VoidReason::Infrastructure { message }),
        }
    }

    /// Gives a package's current attempt to the engine, perhaps again.
    fn submit(&mut self, package: &str) {
        let again = self.now.saturating_add(self.settings.resubmit);
        let avoid = self.hosts.avoided(self.now);
        let Some(flight) = self.flights.get_mut(package) else { return };
        let Some(current) = self.book.current(package) else { return };
        flight.phase = Phase::Submitting { again };
        self.actions.push_back(Action::Submit {
            attempt: Attempt {
                id: current.id.clone(),
                package: package.to_owned(),
                token: current.token.clone(),
                lease: self.settings.lease,
                avoid,
            },
            dispatch: flight.dispatch.clone(),
        });
    }

    /// Writes an entry into the book and the journal: the only way to change the book.
    fn write(&mut self, entry: Entry) {
        self.book.apply(&entry);
        self.actions.push_back(Action::Journal(entry));
    }

    fn phase(&self, package: &str) -> Option<&Phase> {
        self.flights.get(package).map(|flight| &flight.phase)
    }

    /// Returns the package whose current attempt this is.
    fn package_of(&self, attempt: &AttemptId) -> Option<String> {
        let package = self.owners.get(attempt)?;
        let current = self.book.current(package)?;
        (current.id == *attempt).then(|| package.clone())
    }

    /// Finds out where everything stands after a restart (rule 6).
    fn take_over(&mut self, is_recorded: &dyn Fn(&str, &Current) -> bool) {
        let known: Vec<String> = self.book.packages().keys().cloned().collect();
        for package in known {
            if let Some(current) = self.book.current(&package).cloned() {
                self.owners.insert(current.id.clone(), package.clone());
                self.take_over_attempt(&package, &current, is_recorded(&package, &current));
                continue;
            }
            let result = self.book.state(&package).and_then(|state| state.result.clone());
            if let Some(PackageResult::Accepted { attempt }) = &result {
                self.owners.insert(attempt.clone(), package.clone());
            }
            if !matches!(self.queue.state(&package), Some(TaskState::Waiting)) {
                continue;
            }
            match result {
                // The same run goes on, so what failed in it has failed.
                Some(PackageResult::Failed { class, message })
                    if self.settings.capabilities.outlives_scheduler
                        && self.queue.resume(&package).is_some() =>
                {
                    self.failed(&package, class, message);
                }
                None => {}
                // It is to be built although it has ended: something joined it to the run, or the user did.
                Some(_) => self.write(Entry::Joined { package }),
            }
        }
    }

    fn take_over_attempt(&mut self, package: &str, current: &Current, is_recorded: bool) {
        let attempt = current.id.clone();
        if is_recorded {
            // Accepted and recorded; only the journal was not told.
            let result = PackageResult::Accepted { attempt };
            self.write(Entry::Ended { package: package.to_owned(), result });
            return;
        }
        let is_wanted = matches!(self.queue.state(package), Some(TaskState::Waiting));
        if !self.settings.capabilities.outlives_scheduler {
            self.write(Entry::Void { package: package.to_owned(), reason: VoidReason::SchedulerEnded });
        } else if is_wanted && let Some(dispatch) = self.queue.resume(package) {
            let phase = match current.begun {
                Some(_) => Phase::Running { heard: self.now },
                None => Phase::Placed { unseen: 0 },
            };
            self.flights.insert(package.to_owned(), Flight { dispatch, phase });
        } else {
            self.write(Entry::Void { package: package.to_owned(), reason: VoidReason::Stopped });
            self.actions.push_back(Action::Cancel(attempt));
        }
    }

    /// Starts nothing more and takes back what no worker has begun.
    fn stop(&mut self) {
        self.stopping = true;
        let idle: BTreeSet<String> = self
            .flights
            .iter()
            .filter(|(_, flight)| matches!(flight.phase, Phase::Submitting { .. } | Phase::Placed { .. }))
            .map(|(package, _)| package.clone())
            .collect();
        for package in idle {
            self.give_up(&package, VoidReason::Stopped);
            self.put_back(&package, None);
        }
    }

    /// Gives up what workers have begun as well; what is being accepted is whole, and is accepted.
    fn end_all(&mut self) {
        self.stop();
        let is_taken = |flight: &Flight| matches!(flight.phase, Phase::Taking { .. });
        let begun: Vec<(String, bool)> = self
            .flights
            .iter()
            .filter(|(_, flight)| !is_taken(flight))
            .map(|(package, flight)| (package.clone(), matches!(flight.phase, Phase::Running { .. })))
            .collect();
        for (package, is_running) in begun {
            if is_running {
                self.give_up(&package, VoidReason::Stopped);
                self.summary.interrupted.insert(package.clone());
            }
            self.put_back(&package, None);
        }
    }

    /// Ends the run because the host that everything runs on fails.
    fn halt(&mut self, host: String, packages: BTreeSet<String>, message: String) {
        self.summary.halt = Some(Halt { host, packages, message });
        self.stop();
    }
}
