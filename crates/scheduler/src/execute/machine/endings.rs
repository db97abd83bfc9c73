//! How attempts and packages end.

use rpm_model::FailureClass;

use super::{Action, Answer, Entry, Machine, PackageResult, Phase, Taken, Told, VoidReason};

impl Machine {
    /// Ends the current attempt without ending the package.
    pub(super) fn void(&mut self, package: &str, reason: VoidReason) {
        if self.book.current(package).is_some() || reason.is_infrastructure() {
            self.write(Entry::Void { package: package.to_owned(), reason });
        }
    }

    /// An attempt was spoilt for no fault of the package: it is tried again, as often as is allowed.
    pub(super) fn spoilt(&mut self, package: &str, reason: VoidReason) {
        let state = self.book.state(package).cloned().unwrap_or_default();
        let begun = state.current.as_ref().and_then(|current| current.begun.clone());
        let host = self.host(begun.as_ref().map_or("", |begun| &begun.host));
        let message = reason.to_string();
        self.void(package, reason);
        let rules = self.settings.hosts;
        // What never reached a host says nothing about one.
        let failing =
            if host.is_empty() { None } else { self.hosts.failed(&host, package, &rules, self.now) };
        if let Some(packages) = failing {
            if self.settings.capabilities.single_host {
                self.halt(host, packages, message.clone());
            } else {
                let minutes = rules.pause.as_secs() / 60;
                let names: Vec<String> = packages.into_iter().collect();
                self.actions.push_back(Action::Warn(format!(
                    "`{host}` failed {}, one after the other; it is given nothing for {minutes} minutes",
                    names.join(", ")
                )));
            }
        }
        if self.stopping {
            // Neither failed nor built: its turn comes in the next run.
            self.put_back(package, None);
        } else if state.infrastructure_failures < self.settings.retries {
            let number = state.attempts.max(1);
            self.actions.push_back(Action::Warn(format!(
                "{package}: attempt {number} failed ({message}); trying again"
            )));
            self.prepare(package);
        } else {
            let class = FailureClass::InfrastructureFailure;
            self.end(package, PackageResult::Failed { class, message });
        }
    }

    /// Returns the host that a failure or success is put down to: where there is only one, that one.
    pub(super) fn host(&self, host: &str) -> String {
        if self.settings.capabilities.single_host { "this host".to_owned() } else { host.to_owned() }
    }

    /// Ends a package whose result was not accepted.
    pub(super) fn end(&mut self, package: &str, result: PackageResult) {
        self.write(Entry::Ended { package: package.to_owned(), result: result.clone() });
        self.flights.remove(package);
        match result {
            PackageResult::Failed { class, message } => self.failed(package, class, message),
            PackageResult::Postponed { message } => {
                // Nothing that needs it can be built in this round.
                self.queue.failed(package);
                self.summary.postponed.insert(package.to_owned(), message.clone());
                self.tell_ended(package, Told::Postponed(message));
            }
            PackageResult::Accepted { .. } => {}
        }
    }

    /// Acceptance has looked at a result.
    pub(super) fn taken(&mut self, package: &str, taken: Result<Taken, (FailureClass, String)>) {
        let Some(flight) = self.flights.get(package) else { return };
        let Phase::Taking { requests } = flight.phase.clone() else { return };
        let Some(attempt) = self.book.current(package).map(|current| current.id.clone()) else { return };
        let answer = match taken {
            Ok(taken) => {
                let result = PackageResult::Accepted { attempt };
                self.write(Entry::Ended { package: package.to_owned(), result });
                self.flights.remove(package);
                self.accepted(package, taken);
                Answer::Accepted
            }
            Err((class, message)) => {
                let message = format!("the result was refused: {message}");
                match class {
                    FailureClass::InfrastructureFailure => {
                        self.spoilt(package, VoidReason::Infrastructure { message });
                    }
                    class => self.end(package, PackageResult::Failed { class, message }),
                }
                Answer::Stale
            }
        };
        for request in requests {
            self.answer(request, answer);
        }
    }

    fn accepted(&mut self, package: &str, taken: Taken) {
        self.queue.succeeded(package);
        for task in taken.cascade {
            let name = task.package.clone();
            if self.queue.add(task) && self.book.state(&name).is_some() {
                self.write(Entry::Joined { package: name });
            }
        }
        let (list, told) = if taken.changed {
            (&mut self.summary.built, Told::Built)
        } else {
            (&mut self.summary.identical, Told::Identical)
        };
        list.push(package.to_owned());
        self.tell_ended(package, told);
    }

    /// Notes that a package has failed, in queue and summary.
    pub(super) fn failed(&mut self, package: &str, class: FailureClass, message: String) {
        let blocked = self.queue.failed(package);
        self.summary.failed.insert(package.to_owned(), message.clone());
        self.tell_ended(package, Told::Failed(class, message));
        for name in blocked {
            self.tell_ended(&name, Told::Blocked(package.to_owned()));
        }
        if self.settings.stop_on_failure {
            self.stop();
        }
    }

    fn tell_ended(&mut self, package: &str, told: Told) {
        self.actions.push_back(Action::TellEnded {
            package: package.to_owned(),
            told,
            done: self.queue.ended(),
            total: self.queue.len(),
        });
    }
}
