//! The driver: carries out what the machine says, and tells it what came of that.
//!
//! What it is: the rim around [`Machine`]: clock, journal, engine, acceptance and reports, on one thread. What it is
//! not: it decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rebuild::bump::rise;
use report::{Event, PackageEnd};
use rpm_model::{BuildReason, FailureClass, JobDocument, Outcome, ResultDocument};

use crate::execute::{
    Action, Answer, AttemptId, Call, Called, Desk, Ending, Executor, Journal, JournalError, Machine,
    MachineEvent, Prepared, Request, Taken, Token, Told,
};
use crate::run::{
    Acceptance, Acceptor, Generated, Job, Preparation, PrepareRequest, Refused, RunContext, RunError,
    RunSummary,
};

/// How many notes on one build root are said at most.
const MOST_ROOT_NOTES: usize = 3;

/// How soon a run notices that it is to stop.
const GLANCE: Duration = Duration::from_millis(200);

/// How often the engine is asked for a picture.
const PICTURE: Duration = Duration::from_secs(2);

/// What another thread tells the driver.
#[derive(Debug)]
pub(crate) enum Message {
    /// A package was looked at.
    Prepared {
        /// The package.
        package: String,
        /// What it is to be built from.
        preparation: Preparation,
    },
    /// A worker calls.
    Called(Called),
}

impl From<Called> for Message {
    fn from(called: Called) -> Self {
        Self::Called(called)
    }
}

/// The driver's clock: the time that it was awake. A process that was stopped or asleep has heard of nobody, and that
/// is nobody's fault; so no step is longer than this.
const LONGEST_STEP: Duration = Duration::from_secs(1);

struct Clock {
    now: Duration,
    last: Instant,
}

impl Clock {
    fn read(&mut self) -> Duration {
        let step = self.last.elapsed();
        self.last += step;
        self.now += step.min(LONGEST_STEP);
        self.now
    }
}

/// What a package's last worker left for people.
#[derive(Debug, Default)]
struct Remains {
    decisive_lines: Vec<String>,
    log: String,
}

/// See the module text.
pub(crate) struct Driver<'a> {
    machine: Machine,
    journal: Journal,
    executor: &'a dyn Executor,
    desk: &'a Desk<Message>,
    prepare: &'a dyn Fn(String, PrepareRequest),
    acceptor: &'a mut dyn Acceptor,
    context: &'a RunContext<'a>,
    reasons: BTreeMap<String, Vec<BuildReason>>,
    /// The job of each package in flight.
    jobs: BTreeMap<String, Job>,
    results: BTreeMap<AttemptId, ResultDocument>,
    generated: BTreeMap<String, Generated>,
    remains: BTreeMap<String, Remains>,
    started: BTreeMap<String, Instant>,
    /// What was said of build roots: what many have in common is said once.
    told_roots: BTreeSet<String>,
    calls: BTreeMap<Request, mpsc::Sender<Answer>>,
    requests: u64,
    clock: Clock,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(
        machine: Machine,
        journal: Journal,
        executor: &'a dyn Executor,
        desk: &'a Desk<Message>,
        prepare: &'a dyn Fn(String, PrepareRequest),
        acceptor: &'a mut dyn Acceptor,
        context: &'a RunContext<'a>,
    ) -> Self {
        Self {
            machine,
            journal,
            executor,
            desk,
            prepare,
            acceptor,
            reasons: context.reasons.clone(),
            context,
            jobs: BTreeMap::new(),
            results: BTreeMap::new(),
            generated: BTreeMap::new(),
            remains: BTreeMap::new(),
            started: BTreeMap::new(),
            told_roots: BTreeSet::new(),
            calls: BTreeMap::new(),
            requests: 0,
            clock: Clock { now: Duration::ZERO, last: Instant::now() },
        }
    }

    /// Drives the run to its end. Whoever still calls then is told that there is nobody: the receiver is gone.
    pub(crate) fn drive(mut self, receiver: mpsc::Receiver<Message>) -> Result<RunSummary, RunError> {
        let _attending = self.context.stop.attend();
        if let Err(error) = self.go_on(&receiver) {
            // Without a journal no result counts.
            for (_, current) in self.machine.book().open() {
                self.executor.cancel(&current.id);
            }
            return Err(error.into());
        }
        self.journal.sync()?;
        if self.machine.book().open().next().is_none() {
            self.journal.end()?;
        }
        self.machine.conclude().map_err(|names| RunError::Stuck(names.join(", ")))
    }

    fn go_on(&mut self, receiver: &mpsc::Receiver<Message>) -> Result<(), JournalError> {
        let mut next_picture = Duration::ZERO;
        loop {
            self.notice_stop()?;
            if self.clock.now >= next_picture {
                self.look()?;
                next_picture = self.clock.now + PICTURE;
            }
            self.tell(MachineEvent::Tick)?;
            if self.machine.is_over() {
                return Ok(());
            }
            match receiver.recv_timeout(GLANCE) {
                Ok(message) => self.receive(message)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            // All that was said before time passes: who was heard of while this thread was busy is not late.
            while let Ok(message) = receiver.try_recv() {
                self.receive(message)?;
            }
        }
    }

    /// Looks whether the user wants the run to end, and says once what happens then.
    fn notice_stop(&mut self) -> Result<(), JournalError> {
        if self.context.stop.is_to_end_all() {
            return self.end_all();
        }
        if !self.context.stop.is_asked() || self.machine.is_stopping() {
            return Ok(());
        }
        self.tell(MachineEvent::Stop)?;
        let message = match self.machine.running() {
            0 => "stopping".to_owned(),
            1 => "stopping after the running build; interrupt again to end it too".to_owned(),
            more => format!("stopping after the {more} running builds; interrupt again to end them too"),
        };
        self.context.reporter.event(&Event::Warning { message });
        Ok(())
    }

    /// Ends what runs; what waits for its workers' ends does so after this run's own.
    fn end_all(&mut self) -> Result<(), JournalError> {
        let message = match self.machine.running() {
            0 => return self.tell(MachineEvent::EndAll),
            1 => "ending the running build".to_owned(),
            more => format!("ending the {more} running builds"),
        };
        self.context.reporter.event(&Event::Warning { message });
        self.tell(MachineEvent::EndAll)
    }

    /// Looks at the engine; one that cannot be reached changes nothing.
    fn look(&mut self) -> Result<(), JournalError> {
        if let Ok(capacity) = self.executor.capacity() {
            self.tell(MachineEvent::Capacity(capacity))?;
        }
        if let Ok(picture) = self.executor.observe() {
            self.tell(MachineEvent::Observed(picture))?;
        }
        Ok(())
    }

    fn receive(&mut self, message: Message) -> Result<(), JournalError> {
        match message {
            Message::Prepared { package, preparation } => {
                let prepared = self.prepared(&package, preparation);
                self.tell(MachineEvent::Prepared { package, prepared })
            }
            Message::Called(Called { caller, call, reply }) => {
                let request = Request(self.requests);
                self.requests += 1;
                self.calls.insert(request, reply);
                let event = match call {
                    Call::Begin => MachineEvent::Begin { caller, request },
                    Call::Beat => MachineEvent::Beat { caller, request },
                    Call::Finish(result) => {
                        let ending = self.ending(&caller.attempt, *result);
                        MachineEvent::Finish { caller, request, ending }
                    }
                };
                self.tell(event)
            }
        }
    }

    /// Tells the machine what happened, and does what it says until it says nothing more.
    fn tell(&mut self, event: MachineEvent) -> Result<(), JournalError> {
        let now = self.clock.read();
        self.machine.handle(now, event);
        while let Some(action) = self.machine.next_action() {
            if let Some(event) = self.act(action)? {
                let now = self.clock.read();
                self.machine.handle(now, event);
            }
        }
        Ok(())
    }

    /// Does one thing; returns what came of it.
    fn act(&mut self, action: Action) -> Result<Option<MachineEvent>, JournalError> {
        match action {
            Action::Prepare { package, more_memory, cpus } => {
                self.remains.remove(&package);
                let generated = self.generated.get(&package).cloned();
                let reasons = self.reasons.get(&package).map_or(&[][..], Vec::as_slice);
                let anew = reasons.iter().any(BuildReason::demands_a_build);
                let (rise, cpus) = (rise(reasons), Some(cpus));
                (self.prepare)(package, PrepareRequest { generated, more_memory, cpus, anew, rise });
            }
            Action::Journal(entry) => self.journal.append(&entry)?,
            Action::Submit { attempt, dispatch } => {
                self.journal.sync()?;
                let Some(job) = self.jobs.get(&attempt.package) else { return Ok(None) };
                let JobDocument { disk_limit_bytes, timeout_seconds, .. } = job.document;
                let demand = dispatch.demand(disk_limit_bytes, Duration::from_secs(timeout_seconds));
                self.desk.lay_out(&attempt.id, job.document.clone());
                let answer = self.executor.submit(&attempt, &job.spec, &demand);
                return Ok(Some(MachineEvent::Submitted { attempt: attempt.id, answer }));
            }
            Action::Cancel(attempt) => {
                self.desk.clear(&attempt);
                self.executor.cancel(&attempt);
            }
            Action::Accept { package, attempt } => {
                let taken = self.accept(&package, &attempt);
                return Ok(Some(MachineEvent::Taken { package, taken }));
            }
            Action::Answer(request, answer) => {
                self.journal.sync()?;
                if let Some(reply) = self.calls.remove(&request) {
                    // Who does not wait any more has ended.
                    let _ = reply.send(answer);
                }
            }
            Action::TellStarted { package, waiting } => {
                self.started.insert(package.clone(), Instant::now());
                let reasons = self.reasons.get(&package).cloned().unwrap_or_default();
                self.context.reporter.event(&Event::PackageStarted { package, reasons, waiting });
            }
            Action::TellEnded { package, told, done, total } => self.tell_ended(package, told, done, total),
            Action::Warn(message) => self.context.reporter.event(&Event::Warning { message }),
        }
        Ok(None)
    }

    fn prepared(&mut self, package: &str, preparation: Preparation) -> Prepared {
        match preparation {
            Preparation::Ready(job) => {
                let (digest, identity) = (job.spec.digest(), job.spec.identity.clone());
                self.jobs.insert(package.to_owned(), *job);
                match Token::random() {
                    Ok(token) => Prepared::Ready { job: digest, identity, token },
                    Err(error) => {
                        Prepared::Infrastructure(format!("the host gives no random bytes: {error}"))
                    }
                }
            }
            Preparation::Postponed(text) => Prepared::Postponed(text),
            Preparation::Unresolvable(text) => Prepared::Unresolvable(text),
            Preparation::Infrastructure(text) => Prepared::Infrastructure(text),
        }
    }

    /// Keeps a result and returns what the machine must know of it.
    fn ending(&mut self, attempt: &AttemptId, result: Result<ResultDocument, String>) -> Ending {
        self.desk.clear(attempt);
        let result = match result {
            Ok(result) => result,
            Err(text) => return Ending::Nothing(text),
        };
        let ending = match &result.outcome {
            Outcome::Succeeded => Ending::Succeeded,
            Outcome::RequirementsGenerated { requirements } => {
                let rounds = self.generated.get(&result.package).map_or(0, |generated| generated.rounds) + 1;
                let before = self.jobs.get(&result.package).map(|job| job.document.generated.clone());
                let generated =
                    Generated { before: before.unwrap_or_default(), now: requirements.clone(), rounds };
                self.generated.insert(result.package.clone(), generated);
                return Ending::Generated;
            }
            Outcome::Failed { class: FailureClass::NoSpace, message, .. } if result.limits.host_disk_full => {
                Ending::DiskFull(message.clone())
            }
            Outcome::Failed { class, message, .. } => {
                Ending::Failed { class: *class, message: message.clone() }
            }
        };
        self.tell_root_notes(&result);
        if self.context.settings.verbose {
            self.context.reporter.event(&Event::PackageUsage {
                package: result.package.clone(),
                phases: result.phases.clone(),
                source: result.usage_source,
                check: result.check.clone(),
                caches: result.caches.clone(),
            });
        }
        let remains = Remains { decisive_lines: result.decisive_lines.clone(), log: result.log.clone() };
        self.remains.insert(result.package.clone(), remains);
        if ending == Ending::Succeeded {
            self.results.insert(attempt.clone(), result);
        }
        ending
    }

    /// Says what was noteworthy about a build's root: a scriptlet that failed may be why the build did.
    fn tell_root_notes(&mut self, result: &ResultDocument) {
        // One that was taken from a store had its root elsewhere.
        if result.reused.is_some() {
            return;
        }
        let new: Vec<&String> =
            result.root_notes.iter().filter(|note| self.told_roots.insert((*note).clone())).collect();
        let more = new.len().saturating_sub(MOST_ROOT_NOTES);
        for (index, note) in new.into_iter().take(MOST_ROOT_NOTES).enumerate() {
            let rest = if index + 1 == MOST_ROOT_NOTES && more > 0 {
                format!("; and {more} more in `root_notes` of its result")
            } else {
                String::new()
            };
            let message = format!("{}: in its build root: {note}{rest}", result.package);
            self.context.reporter.event(&Event::Warning { message });
        }
    }

    fn accept(&mut self, package: &str, attempt: &AttemptId) -> Result<Taken, (FailureClass, String)> {
        let reasons = self.reasons.get(package).cloned().unwrap_or_default();
        let result = self.results.remove(attempt);
        let job: Option<&JobDocument> = self.jobs.get(package).map(|job| &job.document);
        let (Some(result), Some(job)) = (result, job) else {
            let class = FailureClass::InfrastructureFailure;
            return Err((class, "it is not there".to_owned()));
        };
        match self.acceptor.accept(package, &reasons, job, &result) {
            Ok(Acceptance { changed, cascade, overlaps }) => {
                for overlap in overlaps {
                    let message = format!("{package}: {overlap}");
                    self.context.reporter.event(&Event::Warning { message });
                }
                self.jobs.remove(package);
                self.generated.remove(package);
                let mut tasks = Vec::new();
                for (task, reasons) in cascade {
                    // What waits already has its reasons.
                    self.reasons.entry(task.package.clone()).or_insert(reasons);
                    tasks.push(task);
                }
                // Built again in this run it is for another reason.
                self.reasons.remove(package);
                Ok(Taken { changed, cascade: tasks })
            }
            Err(Refused { class, message }) => {
                self.remains.entry(package.to_owned()).or_default().decisive_lines.clear();
                Err((class, message))
            }
        }
    }

    fn tell_ended(&mut self, package: String, told: Told, done: usize, total: usize) {
        let end = match told {
            Told::Built => PackageEnd::Built,
            Told::Identical => PackageEnd::Identical,
            Told::Postponed(why) => PackageEnd::Postponed { why },
            Told::Blocked(by) => PackageEnd::Blocked { by: vec![by] },
            Told::Failed(class, message) => {
                let Remains { decisive_lines, log } = self.remains.remove(&package).unwrap_or_default();
                PackageEnd::Failed { class, message, decisive_lines, log }
            }
        };
        let seconds = self.started.get(&package).map_or(0.0, |start| start.elapsed().as_secs_f64());
        self.context.reporter.event(&Event::PackageFinished { package, end, seconds, done, total });
    }
}
