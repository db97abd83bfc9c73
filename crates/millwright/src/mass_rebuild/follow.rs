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

#[cfg(test)]
mod tests {
    use super::*;
    use rpm_model::FailureClass;

    /// Keeps the counts that it is told.
    #[derive(Default)]
    struct Counts(Mutex<Vec<(usize, usize)>>);

    impl Reporter for Counts {
        fn event(&self, event: &Event) {
            if let Event::MassRebuildProgress { done, failed, .. } = event {
                self.0.lock().unwrap().push((*done, *failed));
            }
        }
    }

    #[test]
    fn ends_are_counted_over_the_set_and_failures_are_kept_when_they_happen() {
        let directory = tempfile::tempdir().unwrap();
        let store = ChangeSetStore::new(directory.path());
        let counts = Counts::default();
        let open = BTreeSet::from(["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        let failed = || PackageEnd::Failed {
            class: FailureClass::Timeout,
            message: "late".to_owned(),
            decisive_lines: Vec::new(),
            log: "a.log".to_owned(),
        };
        let failure =
            FailedSpec { class: FailureClass::Timeout, message: "late".into(), log: "a.log".into() };
        let earlier =
            Progress { failed: BTreeMap::from([("b".to_owned(), failure.clone())]), ..Progress::default() };
        let reporter = SetReporter::new(&counts, &store, ("set", 5), open, earlier);
        let end = |package: &str, end: PackageEnd| {
            let (package, seconds, done, total) = (package.to_owned(), 1.0, 1, 1);
            reporter.event(&Event::PackageFinished { package, end, seconds, done, total });
        };
        end("other", PackageEnd::Built);
        end("a", failed());
        let kept = store.progress("set").unwrap().unwrap();
        assert_eq!(kept.failed.keys().collect::<Vec<_>>(), ["a", "b"]);
        end("c", PackageEnd::Blocked { by: vec!["a".into()] });
        end("b", PackageEnd::Identical);
        end("b", PackageEnd::Built);
        assert_eq!(reporter.failed(), BTreeMap::from([("a".to_owned(), failure)]));
        assert_eq!(*counts.0.lock().unwrap(), [(2, 1), (2, 2), (3, 1)]);
    }
}
