//! The loop of a run: hand out ready packages, take what comes back, until nothing is left.
//!
//! Builds run on a pool of threads that do nothing but wait for one worker process each; everything that
//! changes state (acceptance, records, the queue) happens on the calling thread, one result at a time, so
//! there are no locks to hold and no order that a test cannot play. What a build is and what acceptance
//! means is behind [`Builder`] and [`Acceptor`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use report::{Event, PackageEnd, Reporter};
use rpm_model::{BuildReason, FailureClass, JobDocument, Outcome, ResultDocument};

use crate::demand::{Capacity, Dispatch};
use crate::overlap::FileOverlap;
use crate::queue::{Queue, Task, TaskState};

/// What came back from one attempt at a package.
#[derive(Debug)]
pub enum Attempt {
    /// A worker ran the job to an end, good or bad.
    Ran {
        /// What was asked.
        job: Box<JobDocument>,
        /// What the worker says.
        result: Box<ResultDocument>,
    },
    /// Nothing was built: `%generate_buildrequires` asks for what may not enter the build root yet. The next
    /// round's graph knows of it.
    Postponed(String),
    /// The build root cannot be made: the solver's words.
    Unresolvable(String),
    /// The host or the worker failed; worth another attempt.
    Infrastructure(String),
}

/// Makes one attempt; called on the pool's threads.
pub trait Builder: Sync {
    /// Builds a package with what it is promised, waiting until the worker has ended. `attempt` counts from 1.
    fn build(&self, dispatch: &Dispatch, attempt: u32) -> Attempt;
}

/// What acceptance found.
#[derive(Debug, Default)]
pub struct Acceptance {
    /// Whether the published packages changed; if not, the wave stops here.
    pub changed: bool,
    /// Packages that must be built because of the change, with the reasons.
    pub cascade: Vec<(Task, Vec<BuildReason>)>,
    /// Files that packages of other specs have too, with other content.
    pub overlaps: Vec<FileOverlap>,
}

/// A result that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whose fault it is.
    pub class: FailureClass,
    /// Why, in one sentence.
    pub message: String,
}

/// Takes results into the repository; called on the run's own thread.
pub trait Acceptor {
    /// Verifies, compares, publishes and records what a worker made. An error refuses the result.
    fn accept(
        &mut self,
        package: &str,
        reasons: &[BuildReason],
        job: &JobDocument,
        result: &ResultDocument,
    ) -> Result<Acceptance, Refused>;
}

/// How a run behaves.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Packages built at the same time.
    pub workers: usize,
    /// Processors that all of them may use together.
    pub cpus: u32,
    /// Memory that all of them may use together, in bytes.
    pub memory_bytes: u64,
    /// Attempts after an infrastructure failure, besides the first.
    pub retries: u32,
    /// Whether the first failure ends the run.
    pub stop_on_failure: bool,
    /// Whether it is told what each build used and found.
    pub verbose: bool,
}

impl RunSettings {
    /// Returns what all builds may use together.
    pub fn machine(&self) -> Capacity {
        Capacity { slots: self.workers.max(1), cpus: self.cpus, memory_bytes: self.memory_bytes }
    }
}

/// What a run did; every list is sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Built, with packages that differ from what was published.
    pub built: Vec<String>,
    /// Built, with identical packages.
    pub identical: Vec<String>,
    /// Failed, each with its one sentence.
    pub failed: BTreeMap<String, String>,
    /// Not tried, each with the packages whose failure prevents it.
    pub blocked: BTreeMap<String, BTreeSet<String>>,
    /// Not built because of what they turned out to need, each with what that is; the next round knows of it.
    pub postponed: BTreeMap<String, String>,
    /// Not started because the run was stopped.
    pub not_started: Vec<String>,
}

impl RunSummary {
    /// Returns whether everything that was asked for is there.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
            && self.blocked.is_empty()
            && self.postponed.is_empty()
            && self.not_started.is_empty()
    }

    /// Returns whether a package was built and accepted.
    pub fn has_built(&self, package: &str) -> bool {
        self.built.iter().chain(&self.identical).any(|name| name == package)
    }

    /// Adds what a later round of the same run did.
    pub fn join(&mut self, later: Self) {
        let sets = |list: &mut Vec<String>| list.drain(..).collect::<BTreeSet<String>>();
        let (mut built, mut identical) = (sets(&mut self.built), sets(&mut self.identical));
        built.extend(later.built);
        identical.extend(later.identical);
        self.identical = identical.difference(&built).cloned().collect();
        self.built = built.into_iter().collect();
        self.failed.extend(later.failed);
        self.blocked.extend(later.blocked);
        // What waited for what was postponed, and that itself, had its turn with the later round.
        self.postponed = later.postponed;
        let done: BTreeSet<&String> = self.built.iter().chain(&self.identical).collect();
        self.blocked.retain(|package, _| !done.contains(package));
        // What an earlier round did not start, a later one had its turn with.
        self.not_started = later.not_started;
    }
}

/// One finished attempt on its way to the run's thread.
struct Message {
    dispatch: Dispatch,
    attempt: u32,
    outcome: Attempt,
}

/// The state of a run on its own thread.
struct Run<'a> {
    queue: Queue,
    reasons: BTreeMap<String, Vec<BuildReason>>,
    started: BTreeMap<String, Instant>,
    settings: &'a RunSettings,
    reporter: &'a dyn Reporter,
    summary: RunSummary,
    stopping: bool,
}

/// How soon a run notices that it is to stop.
const STOP_INTERVAL: Duration = Duration::from_millis(200);

/// Why a run could not take place at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The threads that wait for workers could not be started.
    #[error("cannot start {workers} threads")]
    Threads {
        /// How many were asked for.
        workers: usize,
        /// Why.
        source: rayon::ThreadPoolBuildError,
    },
    /// Packages wait for one another; the plan should have shown it.
    #[error("these packages wait for one another: {0}")]
    Stuck(String),
}

/// Runs a queue to its end, or until `stop` is set; running builds are then waited for.
pub fn run(
    queue: Queue,
    reasons: BTreeMap<String, Vec<BuildReason>>,
    settings: &RunSettings,
    builder: &dyn Builder,
    acceptor: &mut dyn Acceptor,
    reporter: &dyn Reporter,
    stop: &AtomicBool,
) -> Result<RunSummary, RunError> {
    let workers = settings.workers.max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(workers)
        .thread_name(|index| format!("worker-{index}"))
        .build()
        .map_err(|source| RunError::Threads { workers, source })?;
    let started = BTreeMap::new();
    let summary = RunSummary::default();
    let mut run = Run { queue, reasons, started, settings, reporter, summary, stopping: false };
    let (sender, receiver) = mpsc::channel::<Message>();
    pool.in_place_scope(|scope| {
        let mut running = 0;
        loop {
            run.notice_stop(stop, running);
            while running < workers
                && let Some((dispatch, attempt)) = run.next()
            {
                running += 1;
                let sender = sender.clone();
                scope.spawn(move |_| {
                    let outcome = builder.build(&dispatch, attempt);
                    // The receiver lives as long as the scope.
                    let _ = sender.send(Message { dispatch, attempt, outcome });
                });
            }
            if running == 0 {
                break;
            }
            let message = match receiver.recv_timeout(STOP_INTERVAL) {
                Ok(message) => message,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    run.notice_stop(stop, running);
                    continue;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            running -= 1;
            if let Some(again) = run.take(message, acceptor) {
                running += 1;
                let sender = sender.clone();
                scope.spawn(move |_| {
                    let outcome = builder.build(&again.dispatch, again.attempt);
                    let _ = sender.send(Message { outcome, ..again });
                });
            }
        }
    });
    run.finish()
}

impl Run<'_> {
    /// Looks whether the user wants the run to end, and says once what happens then.
    fn notice_stop(&mut self, stop: &AtomicBool, running: usize) {
        if stop.load(Ordering::Relaxed) && !self.stopping {
            self.stopping = true;
            let message = match running {
                0 => "stopping".to_owned(),
                1 => "stopping after the running build; interrupt again to end it too".to_owned(),
                more => format!("stopping after the {more} running builds; interrupt again to end them too"),
            };
            self.reporter.event(&Event::Warning { message });
        }
    }

    /// Returns the next package to start, and reports it.
    fn next(&mut self) -> Option<(Dispatch, u32)> {
        if self.stopping {
            return None;
        }
        let dispatch = self.queue.start_next(&self.queue.free(&self.settings.machine()))?;
        let package = dispatch.package.clone();
        self.started.insert(package.clone(), Instant::now());
        self.reporter.event(&Event::PackageStarted {
            package: package.clone(),
            reasons: self.reasons.get(&package).cloned().unwrap_or_default(),
            waiting: self.queue.waiting(),
        });
        Some((dispatch, 1))
    }

    /// Takes an attempt's outcome; returns another attempt to be made at once, if one is due.
    fn take(&mut self, message: Message, acceptor: &mut dyn Acceptor) -> Option<Message> {
        let Message { dispatch, attempt, outcome } = message;
        let package = dispatch.package.clone();
        let infrastructure = match &outcome {
            Attempt::Infrastructure(text) => Some(text.clone()),
            Attempt::Ran { result, .. } => match &result.outcome {
                Outcome::Failed { class: FailureClass::InfrastructureFailure, message, .. } => {
                    Some(message.clone())
                }
                _ => None,
            },
            Attempt::Unresolvable(_) | Attempt::Postponed(_) => None,
        };
        if let Some(text) = infrastructure
            && attempt <= self.settings.retries
            && !self.stopping
        {
            let message = format!("{package}: attempt {attempt} failed ({text}); trying again");
            self.reporter.event(&Event::Warning { message });
            return Some(Message { dispatch, attempt: attempt + 1, outcome: Attempt::Infrastructure(text) });
        }
        match outcome {
            Attempt::Ran { job, result } => self.ran(&package, &job, &result, acceptor),
            Attempt::Postponed(why) => self.postponed(&package, why),
            Attempt::Unresolvable(text) => {
                self.failed(&package, FailureClass::PackageFailure, text, Vec::new(), String::new())
            }
            Attempt::Infrastructure(text) => {
                self.failed(&package, FailureClass::InfrastructureFailure, text, Vec::new(), String::new());
            }
        }
        None
    }

    fn ran(
        &mut self,
        package: &str,
        job: &JobDocument,
        result: &ResultDocument,
        acceptor: &mut dyn Acceptor,
    ) {
        if self.settings.verbose {
            self.reporter.event(&Event::PackageUsage {
                package: package.to_owned(),
                phases: result.phases.clone(),
                source: result.usage_source,
                check: result.check.clone(),
                caches: result.caches.clone(),
            });
        }
        if let Outcome::RequirementsGenerated { .. } = &result.outcome {
            let message = "the worker asked for build requirements that nobody looked at".to_owned();
            return self.failed(
                package,
                FailureClass::InfrastructureFailure,
                message,
                Vec::new(),
                result.log.clone(),
            );
        }
        if let Outcome::Failed { class, message, .. } = &result.outcome {
            return self.failed(
                package,
                *class,
                message.clone(),
                result.decisive_lines.clone(),
                result.log.clone(),
            );
        }
        let reasons = self.reasons.get(package).cloned().unwrap_or_default();
        match acceptor.accept(package, &reasons, job, result) {
            Ok(acceptance) => self.accepted(package, acceptance),
            Err(Refused { class, message }) => {
                let message = format!("the result was refused: {message}");
                self.failed(package, class, message, Vec::new(), result.log.clone());
            }
        }
    }

    fn accepted(&mut self, package: &str, acceptance: Acceptance) {
        self.queue.succeeded(package);
        for overlap in acceptance.overlaps {
            self.reporter.event(&Event::Warning { message: format!("{package}: {overlap}") });
        }
        for (task, reasons) in acceptance.cascade {
            let name = task.package.clone();
            if self.queue.add(task) {
                self.reasons.insert(name, reasons);
            }
        }
        let (list, end) = if acceptance.changed {
            (&mut self.summary.built, PackageEnd::Built)
        } else {
            (&mut self.summary.identical, PackageEnd::Identical)
        };
        list.push(package.to_owned());
        self.report_end(package, end);
    }

    fn postponed(&mut self, package: &str, why: String) {
        // Nothing that needs it can be built in this round.
        self.queue.failed(package);
        self.summary.postponed.insert(package.to_owned(), why.clone());
        self.report_end(package, PackageEnd::Postponed { why });
    }

    fn failed(
        &mut self,
        package: &str,
        class: FailureClass,
        message: String,
        decisive_lines: Vec<String>,
        log: String,
    ) {
        let blocked = self.queue.failed(package);
        self.summary.failed.insert(package.to_owned(), message.clone());
        self.report_end(package, PackageEnd::Failed { class, message, decisive_lines, log });
        for name in blocked {
            self.report_end(&name, PackageEnd::Blocked { by: vec![package.to_owned()] });
        }
        self.stopping |= self.settings.stop_on_failure;
    }

    fn report_end(&self, package: &str, end: PackageEnd) {
        let seconds = self.started.get(package).map_or(0.0, |start| start.elapsed().as_secs_f64());
        let (done, total) = (self.queue.ended(), self.queue.len());
        self.reporter.event(&Event::PackageFinished {
            package: package.to_owned(),
            end,
            seconds,
            done,
            total,
        });
    }

    fn finish(mut self) -> Result<RunSummary, RunError> {
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
            return Err(RunError::Stuck(waiting.join(", ")));
        }
        self.summary.not_started = waiting;
        self.summary.built.sort();
        self.summary.identical.sort();
        Ok(self.summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeAcceptor, FakeBuilder, Silent, result_of, task};
    use std::sync::Mutex;

    fn check(tasks: Vec<Task>, builder: &FakeBuilder, settings: &RunSettings) -> RunSummary {
        let mut acceptor = FakeAcceptor::default();
        let stop = AtomicBool::new(false);
        run(Queue::new(tasks), BTreeMap::new(), settings, builder, &mut acceptor, &Silent, &stop).unwrap()
    }

    fn settings() -> RunSettings {
        RunSettings {
            workers: 2,
            cpus: 2,
            memory_bytes: 1 << 30,
            retries: 1,
            stop_on_failure: false,
            verbose: false,
        }
    }

    #[test]
    fn independent_packages_go_on_after_a_failure() {
        let builder = FakeBuilder::default().failing("a", FailureClass::PackageFailure);
        let tasks = vec![task("a", &[]), task("b", &["a"]), task("c", &[]), task("d", &["c"])];
        let summary = check(tasks, &builder, &settings());
        assert_eq!(summary.built, ["c", "d"]);
        assert_eq!(summary.failed.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(summary.blocked["b"], BTreeSet::from(["a".to_owned()]));
        assert!(!summary.is_complete());
    }

    #[test]
    fn only_infrastructure_failures_are_tried_again() {
        for (class, attempts) in [
            (FailureClass::InfrastructureFailure, 2),
            (FailureClass::PackageFailure, 1),
            (FailureClass::Timeout, 1),
        ] {
            let builder = FakeBuilder::default().failing("a", class);
            check(vec![task("a", &[])], &builder, &settings());
            assert_eq!(builder.attempts(), attempts, "{class:?}");
        }
    }

    #[test]
    fn stop_on_failure_starts_nothing_more() {
        let builder = FakeBuilder::default().failing("a", FailureClass::PackageFailure);
        let tasks = vec![task("a", &[]), task("b", &[]), task("c", &[])];
        let settings = RunSettings { workers: 1, retries: 0, stop_on_failure: true, ..settings() };
        let summary = check(tasks, &builder, &settings);
        assert_eq!(summary.not_started, ["b", "c"]);
        assert_eq!(builder.attempts(), 1);
    }

    #[test]
    fn a_cascade_is_built_and_an_identical_result_ends_it() {
        let builder = FakeBuilder::default();
        let stop = AtomicBool::new(false);
        let mut acceptor = FakeAcceptor::default();
        acceptor.cascades.insert("onig".into(), vec!["jq".into()]);
        acceptor.identical.insert("jq".into());
        let queue = Queue::new([task("onig", &[])]);
        let summary =
            run(queue, BTreeMap::new(), &settings(), &builder, &mut acceptor, &Silent, &stop).unwrap();
        assert_eq!((summary.built, summary.identical), (vec!["onig".to_owned()], vec!["jq".to_owned()]));
    }

    #[test]
    fn a_refused_result_is_a_failure() {
        let builder = FakeBuilder::default();
        let stop = AtomicBool::new(false);
        let mut acceptor = FakeAcceptor::default();
        acceptor.refused.insert("a".into());
        let queue = Queue::new([task("a", &[])]);
        let summary =
            run(queue, BTreeMap::new(), &settings(), &builder, &mut acceptor, &Silent, &stop).unwrap();
        assert!(summary.failed["a"].contains("refused"), "{summary:?}");
    }

    #[test]
    fn packages_that_wait_for_one_another_are_named() {
        let queue = Queue::new([task("a", &["b"]), task("b", &["a"])]);
        let stop = AtomicBool::new(false);
        let mut acceptor = FakeAcceptor::default();
        let error =
            run(queue, BTreeMap::new(), &settings(), &FakeBuilder::default(), &mut acceptor, &Silent, &stop)
                .unwrap_err();
        assert_eq!(error.to_string(), "these packages wait for one another: a, b");
    }

    /// A builder that stops the run while it builds.
    struct Stopping<'a>(&'a AtomicBool, Mutex<Vec<String>>);

    impl Builder for Stopping<'_> {
        fn build(&self, dispatch: &Dispatch, _attempt: u32) -> Attempt {
            self.0.store(true, Ordering::Relaxed);
            self.1.lock().unwrap().push(dispatch.package.clone());
            result_of(&dispatch.package, Outcome::Succeeded)
        }
    }

    #[test]
    fn a_stopped_run_waits_for_what_runs_and_starts_nothing() {
        let stop = AtomicBool::new(false);
        let builder = Stopping(&stop, Mutex::new(Vec::new()));
        let settings = RunSettings { workers: 1, ..settings() };
        let mut acceptor = FakeAcceptor::default();
        let queue = Queue::new([task("a", &[]), task("b", &[])]);
        let summary =
            run(queue, BTreeMap::new(), &settings, &builder, &mut acceptor, &Silent, &stop).unwrap();
        assert_eq!((summary.built, summary.not_started), (vec!["a".to_owned()], vec!["b".to_owned()]));
    }
}
