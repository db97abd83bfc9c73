//! What time and the engine's picture mean: leases, submissions that nobody answered, attempts that are gone.

use std::collections::BTreeMap;

use super::{Action, Machine, PICTURES, Phase, VoidReason};
use crate::execute::attempt::AttemptId;
use crate::execute::executor::EngineState;

/// What a package in flight is due for.
enum Due {
    Resubmission,
    Loss(VoidReason),
}

impl Machine {
    /// Looks what is due.
    pub(super) fn tick(&mut self) {
        // 1.6 leases: the worker has ended itself after one (rule 2), with some time for clocks that differ.
        let patience = self.settings.lease.saturating_mul(8) / 5;
        let due: Vec<(String, Due)> = self
            .flights
            .iter()
            .filter_map(|(package, flight)| {
                let due = match &flight.phase {
                    Phase::Submitting { again } if *again <= self.now => Due::Resubmission,
                    Phase::Running { heard } if self.now.saturating_sub(*heard) > patience => {
                        Due::Loss(VoidReason::LeaseLapsed)
                    }
                    _ => return None,
                };
                Some((package.clone(), due))
            })
            .collect();
        for (package, due) in due {
            match due {
                Due::Resubmission => self.submit(&package),
                Due::Loss(reason) => self.lost(&package, reason),
            }
        }
    }

    /// Looks at a picture of the engine.
    pub(super) fn observed(&mut self, picture: &BTreeMap<AttemptId, EngineState>) {
        let mut gone = Vec::new();
        for (package, flight) in &mut self.flights {
            let Some(current) = self.book.current(package) else { continue };
            let is_there =
                matches!(picture.get(&current.id), Some(EngineState::Queued | EngineState::Running));
            match &mut flight.phase {
                // Taken, although the answer said otherwise or was lost.
                Phase::Submitting { .. } if is_there => flight.phase = Phase::Placed { unseen: 0 },
                Phase::Placed { unseen } if is_there => *unseen = 0,
                Phase::Placed { unseen } => {
                    *unseen += 1;
                    if *unseen >= PICTURES {
                        gone.push(package.clone());
                    }
                }
                // Of what has begun the worker tells; the engine's word does not count (rule 2).
                Phase::Submitting { .. }
                | Phase::Running { .. }
                | Phase::Taking { .. }
                | Phase::Preparing => {}
            }
        }
        for package in gone {
            self.lost(&package, VoidReason::NeverStarted);
        }
        // Attempts that were given up but are still there: the cancellation was lost.
        for (attempt, state) in picture {
            let is_ours = self.owners.contains_key(attempt);
            if is_ours && *state != EngineState::Ended && self.package_of(attempt).is_none() {
                self.actions.push_back(Action::Cancel(attempt.clone()));
            }
        }
    }

    /// Gives an attempt up that nobody hears of.
    fn lost(&mut self, package: &str, reason: VoidReason) {
        if let Some(current) = self.book.current(package) {
            self.actions.push_back(Action::Cancel(current.id.clone()));
        }
        self.spoilt(package, reason);
    }

    /// Gives an attempt up that is not wanted any more.
    pub(super) fn give_up(&mut self, package: &str, reason: VoidReason) {
        if let Some(current) = self.book.current(package) {
            self.actions.push_back(Action::Cancel(current.id.clone()));
        }
        self.void(package, reason);
    }
}
