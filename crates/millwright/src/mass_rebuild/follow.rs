//! What a run does, counted over the set that it belongs to; failures are written down when they happen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use report::{Event, PackageEnd, Reporter};

use super::store::{ChangeSetStore, FailedSpec, Progress};

/// Passes events on, and tells after each end of a member how far the set is.
pub(super) struct SetReporter<'a> {
    next: &'a dyn Reporter,
    store: &'a ChangeSetStore,
    name: &'a str,
    total: usize,
    state: Mutex<State>,
}

struct State {
    open: BTreeSet<String>,
    progress: Progress,
}

impl<'a> SetReporter<'a> {
    /// Returns the reporter of a set of which this is still to be built, and tells how far it is.
    pub(super) fn new(
        next: &'a dyn Reporter,
        store: &'a ChangeSetStore,
        (name, total): (&'a str, usize),
        open: BTreeSet<String>,
        progress: Progress,
    ) -> Self {
        let reporter = Self { next, store, name, total, state: Mutex::new(State { open, progress }) };
        reporter.tell();
        reporter
    }

    /// Returns the failures of the set, those of earlier runs included.
    pub(super) fn failed(&self) -> BTreeMap<String, FailedSpec> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).progress.failed.clone()
    }

    fn tell(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = state.progress.failed.keys().filter(|spec| state.open.contains(*spec)).count();
        let (name, total) = (self.name.to_owned(), self.total);
        let done = total - state.open.len();
        drop(state);
        self.next.event(&Event::MassRebuildProgress { name, done, failed, total });
    }

    /// Takes the end of a build; returns whether it is one of the set's.
    fn take(&self, package: &str, end: &PackageEnd) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { open, progress } = &mut *state;
        if !open.contains(package) {
            return false;
        }
        match end {
            PackageEnd::Built | PackageEnd::Identical => {
                open.remove(package);
                progress.failed.remove(package);
            }
            PackageEnd::Failed { class, message, log, .. } => {
                let failed = FailedSpec { class: *class, message: message.clone(), log: log.clone() };
                progress.failed.insert(package.to_owned(), failed);
                // A run that is killed later has it still; one that cannot write it has it told at its end.
                if let Err(failure) = self.store.write_progress(self.name, progress) {
                    self.next.event(&Event::Warning { message: failure.render() });
                }
            }
            PackageEnd::Postponed { .. } | PackageEnd::Blocked { .. } => return false,
        }
        true
    }
}

impl Reporter for SetReporter<'_> {
    fn event(&self, event: &Event) {
        self.next.event(event);
        if let Event::PackageFinished { package, end, .. } = event
            && self.take(package, end)
        {
            self.tell();
        }
    }
}
