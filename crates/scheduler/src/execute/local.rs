//! The executor of this host: each attempt is a worker process that a thread waits for.
//!
//! The thread speaks to the ledger for its worker: it begins, and hands in what came out. One more thread says for
//! all of them that they live. A worker of this host cannot outlive the scheduler: it ends when its standard input
//! closes ([`Fence`]), and that happens however this process ends.

use std::collections::BTreeMap;
use std::process::ChildStdin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use rpm_model::{JobDocument, ResultDocument};

use super::attempt::{Attempt, AttemptId, Caller};
use super::executor::{Capabilities, EngineState, Executor, SubmitError, Unreachable};
use super::job::JobSpec;
use super::ledger::{Beat, Begin, Ledger};
use crate::demand::{Capacity, Demand};

/// Runs a worker on this host; called on the executor's threads.
pub trait Worker: Sync {
    /// Runs a job and returns when its worker has ended, which it does soon after the fence was closed. An error is the
    /// sentence on why there is no result.
    fn work(&self, attempt: &Attempt, job: &JobDocument, fence: &Fence) -> Result<ResultDocument, String>;
}

/// What holds a worker alive: the pipe at whose end it ends.
#[derive(Debug, Default)]
pub struct Fence(Mutex<Gate>);

#[derive(Debug, Default)]
struct Gate {
    is_closed: bool,
    lifeline: Option<ChildStdin>,
}

impl Fence {
    /// Takes over a worker's standard input; lets go of it at once when the fence is closed already.
    pub fn hold(&self, lifeline: Option<ChildStdin>) {
        let mut gate = self.lock();
        if !gate.is_closed {
            gate.lifeline = lifeline;
        }
    }

    /// Gives the worker's standard input back when its work is done; nothing when the fence was closed meanwhile.
    pub fn release(&self) -> Option<ChildStdin> {
        self.lock().lifeline.take()
    }

    /// Ends the worker, now or as soon as there is one.
    pub fn close(&self) {
        let mut gate = self.lock();
        gate.is_closed = true;
        // The pipe closes with it.
        drop(gate.lifeline.take());
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that has a thread.
#[derive(Clone, Debug)]
struct Running {
    caller: Caller,
    fence: Arc<Fence>,
}

type Attempts = Arc<Mutex<BTreeMap<AttemptId, Running>>>;

/// The executor; see the module text.
pub(crate) struct LocalExecutor<'e, 'scope> {
    scope: &'e rayon::Scope<'scope>,
    worker: &'scope dyn Worker,
    ledger: &'scope dyn Ledger,
    capacity: Capacity,
    attempts: Attempts,
    starts: AtomicU64,
}

impl<'e, 'scope> LocalExecutor<'e, 'scope> {
    /// Returns an executor whose attempts run on the threads of this scope.
    pub(crate) fn new(
        scope: &'e rayon::Scope<'scope>,
        worker: &'scope dyn Worker,
        ledger: &'scope dyn Ledger,
        capacity: Capacity,
        attempts: &Pulse,
    ) -> Self {
        let attempts = Arc::clone(&attempts.attempts);
        Self { scope, worker, ledger, capacity, attempts, starts: AtomicU64::new(0) }
    }
}

impl Executor for LocalExecutor<'_, '_> {
    fn capabilities(&self) -> Capabilities {
        LOCAL
    }

    fn capacity(&self) -> Result<Capacity, Unreachable> {
        Ok(self.capacity)
    }

    fn submit(&self, attempt: &Attempt, _job: &JobSpec, _demand: &Demand) -> Result<(), SubmitError> {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let caller = Caller {
            attempt: attempt.id.clone(),
            token: attempt.token.clone(),
            instance: format!("{}.{start}", std::process::id()),
            host: "this host".to_owned(),
        };
        let fence = Arc::new(Fence::default());
        let running = Running { caller: caller.clone(), fence: Arc::clone(&fence) };
        let mut attempts = lock(&self.attempts);
        if attempts.contains_key(&attempt.id) {
            return Ok(());
        }
        attempts.insert(attempt.id.clone(), running);
        drop(attempts);
        let (worker, ledger, attempt) = (self.worker, self.ledger, attempt.clone());
        let all = Arc::clone(&self.attempts);
        self.scope.spawn(move |_| {
            if let Begin::Run(document) = ledger.begin(&caller) {
                let result = worker.work(&attempt, &document, &fence);
                ledger.finish(&caller, result);
            }
            lock(&all).remove(&caller.attempt);
        });
        Ok(())
    }

    fn observe(&self) -> Result<BTreeMap<AttemptId, EngineState>, Unreachable> {
        Ok(lock(&self.attempts).keys().map(|attempt| (attempt.clone(), EngineState::Running)).collect())
    }

    fn cancel(&self, attempt: &AttemptId) {
        if let Some(running) = lock(&self.attempts).get(attempt) {
            running.fence.close();
        }
    }

    fn set_priority(&self, _attempt: &AttemptId, _priority: i64) {}
}

/// What the executor of this host can do.
pub(crate) const LOCAL: Capabilities = Capabilities {
    outlives_scheduler: false,
    single_host: true,
    enforces_memory: true,
    kills_tree: true,
    can_reprioritise: false,
};

/// Says for the attempts of an executor that they live.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    attempts: Attempts,
}

impl Pulse {
    /// Renews the leases of all attempts again and again, until the other end of `until` is dropped.
    pub(crate) fn beat(&self, ledger: &dyn Ledger, every: Duration, until: &mpsc::Receiver<()>) {
        while until.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
            let living: Vec<Running> = lock(&self.attempts).values().cloned().collect();
            for Running { caller, fence } in living {
                let answer = ledger.beat(&caller);
                // Its thread may have handed in the result meanwhile; then it has no lease to lose.
                if answer == Beat::Fenced && lock(&self.attempts).contains_key(&caller.attempt) {
                    fence.close();
                }
            }
        }
    }
}

fn lock(attempts: &Attempts) -> MutexGuard<'_, BTreeMap<AttemptId, Running>> {
    attempts.lock().unwrap_or_else(PoisonError::into_inner)
}
