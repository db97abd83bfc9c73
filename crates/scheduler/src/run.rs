//! A run: ready packages are handed out, what comes back is taken, until nothing is left.
//!
//! What it is: the words of a run ([`RunSettings`], [`RunSummary`]), what it is given ([`Builder`], [`Acceptor`]) and
//! its start on this host. Every decision is the [`Machine`](crate::execute::Machine)'s; the driver carries them
//! out on the calling thread, one after the other, so there are no locks to hold and no order that a test cannot
//! play. Threads do nothing but look for build roots and wait for one worker process each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rebuild::bump::Rise;
use report::{Event, Reporter};
use rpm_model::{BuildReason, ContentDigest, FailureClass, JobDocument, Requirement, ResultDocument};

use crate::demand::Capacity;
use crate::drive::{Driver, Message};
use crate::execute::{
    Desk, HostRules, JobSpec, Journal, JournalError, LOCAL, LocalExecutor, Machine, MachineSettings, Pulse,
    Worker,
};
use crate::overlap::FileOverlap;
use crate::queue::{Queue, Task};
use crate::stop::Stop;

/// A package's job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// As its worker is given it.
    pub document: JobDocument,
    /// As engines know it.
    pub spec: JobSpec,
}

/// What a package is to be built from, or why it cannot be.
#[derive(Debug)]
pub enum Preparation {
    /// There is a job.
    Ready(Box<Job>),
    /// Nothing is built: `%generate_buildrequires` asks for what may not enter the build root yet. The next
    /// round's graph knows of it.
    Postponed(String),
    /// The build root cannot be made: the solver's words.
    Unresolvable(String),
    /// The host failed; worth another attempt.
    Infrastructure(String),
}

/// What a worker found `%generate_buildrequires` to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// What the build root was made for.
    pub before: Vec<Requirement>,
    /// What was asked for instead.
    pub now: Vec<Requirement>,
    /// How often it asked for something else, this time included.
    pub rounds: usize,
}

/// How a package is to be looked at.
#[derive(Clone, Debug, Default)]
pub struct PrepareRequest {
    /// What a worker of this run found it to ask for.
    pub generated: Option<Generated>,
    /// Whether its memory limit is raised.
    pub more_memory: bool,
    /// Whether it is built whatever another build of the same inputs has made.
    pub anew: bool,
    /// What the build is to make of its release.
    pub rise: Rise,
    /// Processors that it is promised; `None` leaves it at its even share.
    pub cpus: Option<u32>,
}

/// Knows what packages are built from, and runs their workers; called on threads of the run.
pub trait Builder: Worker {
    /// Returns what a package is to be built from now.
    fn prepare(&self, package: &str, request: &PrepareRequest) -> Preparation;
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

    /// Returns whether the record of a package's last build says that it was this one.
    fn has_recorded(&self, package: &str, identity: &ContentDigest) -> bool;
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
    /// How many times its memory limit a package is given once more that ran out of it; `None` for not at all.
    pub memory_retry: Option<f64>,
    /// Whether the first failure ends the run.
    pub stop_on_failure: bool,
    /// Whether it is told what each build used and found.
    pub verbose: bool,
    /// Whether builds are watched, so that it is told which of their requirements they open nothing of.
    pub find_unused: bool,
}

impl RunSettings {
    /// Returns what all builds may use together.
    pub fn machine(&self) -> Capacity {
        Capacity { slots: self.workers.max(1), cpus: self.cpus, memory_bytes: self.memory_bytes }
    }
}

/// A host that fails whatever it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// The host.
    pub host: String,
    /// The packages that failed on it, one after the other, for no fault of theirs.
    pub packages: BTreeSet<String>,
    /// How the last of them did.
    pub message: String,
}

/// What a run did; every list is sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Built, with packages that differ from what was published.
    pub built: Vec<String>,
    /// Built, with identical packages.
    pub identical: Vec<String>,
    /// Those of them whose results were taken from a store, not built.
    pub reused: BTreeSet<String>,
    /// Failed, each with its one sentence.
    pub failed: BTreeMap<String, String>,
    /// Not tried, each with the packages whose failure prevents it.
    pub blocked: BTreeMap<String, BTreeSet<String>>,
    /// Not built because of what they turned out to need, each with what that is; the next round knows of it.
    pub postponed: BTreeMap<String, String>,
    /// Not started because the run was stopped.
    pub not_started: Vec<String>,
    /// Begun, and ended with the run because the user wanted that.
    pub interrupted: BTreeSet<String>,
    /// Why the run was ended before its end, when the host is to blame.
    pub halt: Option<Halt>,
}

impl RunSummary {
    /// Returns whether everything that was asked for is there.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
            && self.blocked.is_empty()
            && self.postponed.is_empty()
            && self.not_started.is_empty()
            && self.interrupted.is_empty()
    }

    /// Returns whether a package was built and accepted.
    pub fn has_built(&self, package: &str) -> bool {
        self.built.iter().chain(&self.identical).any(|name| name == package)
    }

    /// Adds what a later round of the same run did.
    pub fn join(&mut self, later: Self) {
        let sets = |list: &mut Vec<String>| list.drain(..).collect::<BTreeSet<String>>();
        let (mut built, mut identical) = (sets(&mut self.built), sets(&mut self.identical));
        // What counts is how the last result of a package came about.
        self.reused.retain(|package| !later.has_built(package));
        built.extend(later.built);
        identical.extend(later.identical);
        self.identical = identical.difference(&built).cloned().collect();
        self.built = built.into_iter().collect();
        self.reused.extend(later.reused);
        self.failed.extend(later.failed);
        self.blocked.extend(later.blocked);
        // What waited for what was postponed, and that itself, had its turn with the later round.
        self.postponed = later.postponed;
        let done: BTreeSet<&String> = self.built.iter().chain(&self.identical).collect();
        self.blocked.retain(|package, _| !done.contains(package));
        // What an earlier round did not start, a later one had its turn with.
        self.not_started = later.not_started;
        self.interrupted = later.interrupted;
        self.halt = later.halt;
    }
}

/// How long a worker may go on unheard of.
const LEASE: Duration = Duration::from_secs(60);

/// How long after a doubtful submission an attempt is submitted again.
const RESUBMIT: Duration = Duration::from_secs(5);

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
    /// The journal cannot be kept, so nothing may be started.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What a run works on and tells.
pub struct RunContext<'a> {
    /// Why each package is built.
    pub reasons: BTreeMap<String, Vec<BuildReason>>,
    /// How it behaves.
    pub settings: &'a RunSettings,
    /// Told of what happens.
    pub reporter: &'a dyn Reporter,
    /// What the user wants of the run while it goes on.
    pub stop: &'a Stop,
    /// The file of the journal.
    pub journal: &'a Path,
}

/// Runs a queue on this host to its end, or until it is to stop; running builds are then waited for, or ended where the
/// user wants that.
pub fn run(
    queue: Queue,
    context: RunContext<'_>,
    builder: &dyn Builder,
    acceptor: &mut dyn Acceptor,
) -> Result<RunSummary, RunError> {
    let settings = context.settings;
    let workers = settings.workers.max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(workers)
        .thread_name(|index| format!("worker-{index}"))
        .build()
        .map_err(|source| RunError::Threads { workers, source })?;
    let (journal, book) = Journal::open(context.journal)?;
    let interrupted =
        book.open().filter(|(package, current)| !acceptor.has_recorded(package, &current.identity));
    tell_interrupted(interrupted.map(|(package, _)| package), context.reporter);
    let rules = MachineSettings {
        retries: settings.retries,
        stop_on_failure: settings.stop_on_failure,
        memory_retry: settings.memory_retry,
        lease: LEASE,
        resubmit: RESUBMIT,
        hosts: HostRules::default(),
        capabilities: LOCAL,
    };
    let machine = Machine::new(queue, rules, book, &|package, current| {
        acceptor.has_recorded(package, &current.identity)
    });
    let capacity = settings.machine();
    let (sender, receiver) = mpsc::channel::<Message>();
    let (desk, pulse) = (Desk::new(sender.clone()), Pulse::default());
    let (alive, until) = mpsc::channel::<()>();
    let (ledger, living) = (&desk, &pulse);
    std::thread::scope(|threads| {
        threads.spawn(move || living.beat(ledger, LEASE / 4, &until));
        // The receiver goes in: when the run has ended, whoever still calls must not wait for an answer.
        let result = pool.in_place_scope(move |scope| {
            let executor = LocalExecutor::new(scope, builder, ledger, capacity, living);
            let prepare = |package: String, request: PrepareRequest| {
                let sender = sender.clone();
                scope.spawn(move |_| {
                    let preparation = builder.prepare(&package, &request);
                    // A run that has ended does not want it.
                    let _ = sender.send(Message::Prepared { package, preparation });
                });
            };
            Driver::new(machine, journal, &executor, ledger, &prepare, acceptor, &context).drive(receiver)
        });
        drop(alive);
        result
    })
}

/// Says that an earlier run did not come to its end.
fn tell_interrupted<'p>(packages: impl Iterator<Item = &'p str>, reporter: &dyn Reporter) {
    let packages: Vec<&str> = packages.collect();
    if !packages.is_empty() {
        let message = format!(
            "the last run was interrupted while it built {}; what it had accepted is kept",
            packages.join(", ")
        );
        reporter.event(&Event::Note { message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::{Attempt, Fence};
    use crate::testing::{FakeAcceptor, FakeBuilder, Silent, job, result_of, task};
    use rpm_model::Outcome;
    use std::sync::Mutex;

    fn play(
        tasks: Vec<Task>,
        builder: &dyn Builder,
        settings: &RunSettings,
        acceptor: &mut FakeAcceptor,
        stop: &Stop,
    ) -> Result<RunSummary, RunError> {
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("journal.ndjson");
        let reasons = BTreeMap::new();
        let context = RunContext { reasons, settings, reporter: &Silent, stop, journal: &journal };
        let summary = run(Queue::new(tasks), context, builder, acceptor);
        assert!(!journal.exists() || summary.is_err(), "a run that came to its end needs no journal");
        summary
    }

    fn check(tasks: Vec<Task>, builder: &FakeBuilder, settings: &RunSettings) -> RunSummary {
        let stop = Stop::default();
        play(tasks, builder, settings, &mut FakeAcceptor::default(), &stop).unwrap()
    }

    fn settings() -> RunSettings {
        RunSettings {
            workers: 2,
            cpus: 2,
            memory_bytes: 1 << 30,
            retries: 1,
            memory_retry: None,
            stop_on_failure: false,
            verbose: false,
            find_unused: false,
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
        let stop = Stop::default();
        let mut acceptor = FakeAcceptor::default();
        acceptor.cascades.insert("onig".into(), vec!["jq".into()]);
        acceptor.identical.insert("jq".into());
        let summary = play(vec![task("onig", &[])], &builder, &settings(), &mut acceptor, &stop).unwrap();
        assert_eq!((summary.built, summary.identical), (vec!["onig".to_owned()], vec!["jq".to_owned()]));
    }

    #[test]
    fn a_refused_result_is_a_failure() {
        let builder = FakeBuilder::default();
        let stop = Stop::default();
        let mut acceptor = FakeAcceptor::default();
        acceptor.refused.insert("a".into());
        let summary = play(vec![task("a", &[])], &builder, &settings(), &mut acceptor, &stop).unwrap();
        assert!(summary.failed["a"].contains("refused"), "{summary:?}");
    }

    #[test]
    fn packages_that_wait_for_one_another_are_named() {
        let stop = Stop::default();
        let mut acceptor = FakeAcceptor::default();
        let tasks = vec![task("a", &["b"]), task("b", &["a"])];
        let error = play(tasks, &FakeBuilder::default(), &settings(), &mut acceptor, &stop).unwrap_err();
        assert_eq!(error.to_string(), "these packages wait for one another: a, b");
    }

    /// A builder that stops the run while it builds.
    struct Stopping<'a>(&'a Stop, Mutex<Vec<String>>);

    impl Builder for Stopping<'_> {
        fn prepare(&self, package: &str, _request: &PrepareRequest) -> Preparation {
            Preparation::Ready(Box::new(job(package)))
        }
    }

    impl Worker for Stopping<'_> {
        fn work(&self, _: &Attempt, job: &JobDocument, _: &Fence) -> Result<ResultDocument, String> {
            self.0.ask();
            self.1.lock().unwrap().push(job.package.clone());
            Ok(result_of(&job.package, Outcome::Succeeded))
        }
    }

    #[test]
    fn a_stopped_run_waits_for_what_runs_and_starts_nothing() {
        let stop = Stop::default();
        let builder = Stopping(&stop, Mutex::new(Vec::new()));
        let settings = RunSettings { workers: 1, ..settings() };
        let mut acceptor = FakeAcceptor::default();
        let tasks = vec![task("a", &[]), task("b", &[])];
        let summary = play(tasks, &builder, &settings, &mut acceptor, &stop).unwrap();
        assert_eq!((summary.built, summary.not_started), (vec!["a".to_owned()], vec!["b".to_owned()]));
    }
}
