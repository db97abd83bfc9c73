//! What workers and the engine say: the ledger's side of the machine.

use super::{Action, Answer, Caller, Ending, Entry, Machine, PackageResult, Phase, Request, VoidReason};
use crate::execute::attempt::AttemptId;
use crate::execute::executor::SubmitError;
use rpm_model::{FailureClass, Remedy};

impl Machine {
    pub(super) fn submitted(&mut self, attempt: &AttemptId, answer: Result<(), SubmitError>) {
        let Some(package) = self.package_of(attempt) else { return };
        // A worker may have begun before the engine's answer was here.
        if !matches!(self.phase(&package), Some(Phase::Submitting { .. })) {
            return;
        }
        match answer {
            Ok(()) => self.set_phase(&package, Phase::Placed { unseen: 0 }),
            Err(SubmitError::Transient(_)) => {
                let again = self.now.saturating_add(self.settings.resubmit);
                self.set_phase(&package, Phase::Submitting { again });
            }
            Err(SubmitError::Rejected(message)) => {
                self.spoilt(&package, VoidReason::Infrastructure { message });
            }
        }
    }

    pub(super) fn begin(&mut self, caller: &Caller, request: Request) {
        let goes_on = self.is_current(caller).is_some_and(|package| self.hear(&package, caller));
        self.answer(request, if goes_on { Answer::Go } else { Answer::Fenced });
    }

    pub(super) fn beat(&mut self, caller: &Caller, request: Request) {
        // A beat says what a begin says: after a crash the journal may have lost that there was one.
        self.begin(caller, request);
    }

    pub(super) fn finish(&mut self, caller: &Caller, request: Request, ending: Ending) {
        if self.was_accepted(&caller.attempt) {
            return self.answer(request, Answer::Accepted);
        }
        let Some(package) = self.is_current(caller) else { return self.answer(request, Answer::Stale) };
        if let Some(Phase::Taking { requests }) =
            self.flights.get_mut(&package).map(|flight| &mut flight.phase)
        {
            // The same result once more, because the first call's answer was lost.
            requests.push(request);
            return;
        }
        if !self.hear(&package, caller) {
            return self.answer(request, Answer::Stale);
        }
        match ending {
            Ending::Succeeded => {
                self.set_phase(&package, Phase::Taking { requests: vec![request] });
                self.actions.push_back(Action::Accept { package, attempt: caller.attempt.clone() });
            }
            Ending::Generated => {
                self.hosts.sound(&self.host(&caller.host));
                self.void(&package, VoidReason::RequirementsGenerated);
                self.answer(request, Answer::Accepted);
                self.prepare(&package);
            }
            Ending::Failed { class, message } => self.ended_badly(&package, caller, request, class, message),
            Ending::DiskFull(message) => {
                self.disk_full(&package, message);
                self.answer(request, Answer::Accepted);
            }
            Ending::Nothing(message) => {
                self.spoilt(&package, VoidReason::Infrastructure { message });
                self.answer(request, Answer::Accepted);
            }
        }
    }

    fn ended_badly(
        &mut self,
        package: &str,
        caller: &Caller,
        request: Request,
        class: FailureClass,
        message: String,
    ) {
        if class != FailureClass::InfrastructureFailure {
            self.hosts.sound(&self.host(&caller.host));
        }
        let raised = self.book.state(package).is_some_and(|state| state.memory_raised);
        let factor = self.settings.memory_retry.filter(|_| !raised && !self.stopping);
        match (class.remedy(), factor) {
            (Remedy::TryAgain, _) => self.spoilt(package, VoidReason::Infrastructure { message }),
            (Remedy::TryWithMoreMemory, Some(factor)) => {
                self.actions.push_back(Action::Warn(format!(
                    "{package}: {message}; trying once more with {factor} times the memory"
                )));
                self.void(package, VoidReason::OutOfMemory);
                self.write(Entry::MemoryRaised { package: package.to_owned() });
                let memory = self.flights.get(package).map(|flight| flight.dispatch.memory_bytes);
                self.put_back(package, memory.map(|bytes| times(bytes, factor)));
            }
            (Remedy::TryWithMoreMemory | Remedy::Mend, _) => {
                self.end(package, PackageResult::Failed { class, message });
            }
        }
        self.answer(request, Answer::Accepted);
    }

    pub(super) fn answer(&mut self, request: Request, answer: Answer) {
        self.actions.push_back(Action::Answer(request, answer));
    }

    pub(super) fn set_phase(&mut self, package: &str, phase: Phase) {
        if let Some(flight) = self.flights.get_mut(package) {
            flight.phase = phase;
        }
    }

    /// Returns the package of whoever makes the current attempt and knows its secret.
    fn is_current(&self, caller: &Caller) -> Option<String> {
        let package = self.package_of(&caller.attempt)?;
        let current = self.book.current(&package)?;
        let is_it = current.token == caller.token
            && current.begun.as_ref().is_none_or(|begun| begun.instance == caller.instance);
        is_it.then_some(package)
    }

    /// Renews the lease of a current attempt; returns false when its package is not in flight.
    fn hear(&mut self, package: &str, caller: &Caller) -> bool {
        let now = self.now;
        let Some(flight) = self.flights.get_mut(package) else { return false };
        match &mut flight.phase {
            Phase::Running { heard } => *heard = now,
            Phase::Taking { .. } => {}
            Phase::Submitting { .. } | Phase::Placed { .. } => {
                flight.phase = Phase::Running { heard: now };
                self.write(Entry::Began {
                    package: package.to_owned(),
                    instance: caller.instance.clone(),
                    host: caller.host.clone(),
                });
            }
            Phase::Preparing => return false,
        }
        true
    }

    /// Returns whether the result of this attempt is what a package ended with.
    fn was_accepted(&self, attempt: &AttemptId) -> bool {
        let package = self.owners.get(attempt);
        let state = package.and_then(|package| self.book.state(package));
        state.and_then(|state| state.result.as_ref()).is_some_and(
            |result| matches!(result, PackageResult::Accepted { attempt: accepted } if accepted == attempt),
        )
    }
}

/// Returns bytes times a factor, and never less than they are.
pub(crate) fn times(bytes: u64, factor: f64) -> u64 {
    // A cast of a float ends at the bounds, and is 0 for what is no number.
    ((bytes as f64 * factor) as u64).max(bytes)
}
