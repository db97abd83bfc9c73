//! The ledger of this process: workers' calls go to the run's thread and wait for its answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, mpsc};

use rpm_model::{JobDocument, ResultDocument};

use super::attempt::{AttemptId, Caller};
use super::ledger::{Beat, Begin, Finish, Ledger};
use super::machine::Answer;

/// A call on its way to the run's thread.
#[derive(Debug)]
pub(crate) enum Call {
    /// A worker begins.
    Begin,
    /// A worker lives.
    Beat,
    /// A worker has ended its work.
    Finish(Box<Result<ResultDocument, String>>),
}

/// A call with its caller, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) caller: Caller,
    pub(crate) call: Call,
    pub(crate) reply: mpsc::Sender<Answer>,
}

/// The ledger; `M` is what the run's thread receives.
#[derive(Debug)]
pub(crate) struct Desk<M> {
    sender: mpsc::Sender<M>,
    /// What workers are to do, by the attempt that they make.
    documents: Mutex<BTreeMap<AttemptId, JobDocument>>,
}

impl<M: From<Called>> Desk<M> {
    /// Returns a ledger whose calls go to this thread.
    pub(crate) fn new(sender: mpsc::Sender<M>) -> Self {
        Self { sender, documents: Mutex::new(BTreeMap::new()) }
    }

    /// Lays out what the worker of an attempt is to do.
    pub(crate) fn lay_out(&self, attempt: &AttemptId, document: JobDocument) {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt.clone(), document);
    }

    /// Takes back what nobody is to do any more.
    pub(crate) fn clear(&self, attempt: &AttemptId) {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner).remove(attempt);
    }

    /// Returns the answer to a call; none when the run has ended.
    fn ask(&self, caller: &Caller, call: Call) -> Option<Answer> {
        let (reply, answer) = mpsc::channel();
        self.sender.send(Called { caller: caller.clone(), call, reply }.into()).ok()?;
        answer.recv().ok()
    }
}

impl<M: From<Called> + Send> Ledger for Desk<M> {
    fn begin(&self, caller: &Caller) -> Begin {
        if self.ask(caller, Call::Begin) != Some(Answer::Go) {
            return Begin::Fenced;
        }
        let documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        documents
            .get(&caller.attempt)
            .map_or(Begin::Fenced, |document| Begin::Run(Box::new(document.clone())))
    }

    fn beat(&self, caller: &Caller) -> Beat {
        match self.ask(caller, Call::Beat) {
            Some(Answer::Go) => Beat::Continue,
            _ => Beat::Fenced,
        }
    }

    /// Does nothing: a worker of this host writes its log where everybody reads it.
    fn log(&self, _caller: &Caller, _at: u64, _bytes: &[u8]) {}

    fn finish(&self, caller: &Caller, result: Result<ResultDocument, String>) -> Finish {
        match self.ask(caller, Call::Finish(Box::new(result))) {
            Some(Answer::Accepted) => Finish::Accepted,
            _ => Finish::Stale,
        }
    }
}
