//! How attempts and packages end.

use rpm_model::FailureClass;

use super::{Action, Answer, Entry, Machine, PackageResult, Phase, Taken, Told, VoidReason};

/// The host of the run itself.
const THIS_HOST: &str = "this host";

impl Machine {
    /// Ends the current attempt without ending the package.
    pub(super) fn void(&mut self, package: &str, reason: VoidReason) {
        self.write(Entry::Void { package: package.to_owned(), reason });
    }

    /// An attempt was spoilt for no fault of the package: it is tried again, as often as is allowed.
    pub(super) fn spoilt(&mut self, package: &str, reason: VoidReason) {
        let state = self.book.state(package).cloned().unwrap_or_default();
        let host = self.host_of(package);
        let message = reason.to_string();
        self.void(package, reason);
        self.blame(&host, package, &message);
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

    /// The disk of a package's host was full. Another host may have room. Where there is none a second attempt would find
    /// the same, but it is the host that fails and not the package, which shows with the next ones.
    pub(super) fn disk_full(&mut self, package: &str, message: String) {
        if !self.settings.capabilities.single_host {
            return self.spoilt(package, VoidReason::Infrastructure { message });
        }
        self.no_space_here(package, message);
    }

    /// There was no space where the run itself keeps what it makes.
    fn no_space_here(&mut self, package: &str, message: String) {
        if self.blame(THIS_HOST, package, &message) {
            // As with any failure of the host, its turn comes in the next run.
            self.void(package, VoidReason::Infrastructure { message });
            self.put_back(package, None);
        } else {
            self.end(package, PackageResult::Failed { class: FailureClass::NoSpace, message });
        }
    }

    /// Puts a failure down to a host; returns whether that ends the run.
    fn blame(&mut self, host: &str, package: &str, message: &str) -> bool {
        let rules = self.settings.hosts;
        // What never reached a host says nothing about one.
        if host.is_empty() {
            return false;
        }
        let Some(packages) = self.hosts.failed(host, package, &rules, self.now) else { return false };
        if host == THIS_HOST {
            self.halt(host.to_owned(), packages, message.to_owned());
            return true;
        }
        let minutes = rules.pause.as_secs() / 60;
        let names: Vec<String> = packages.into_iter().collect();
        self.actions.push_back(Action::Warn(format!(
            "`{host}` failed {}, one after the other; it is given nothing for {minutes} minutes",
            names.join(", ")
        )));
        false
    }

    /// Returns the host that a package's current attempt has begun on; empty where it has on none.
    fn host_of(&self, package: &str) -> String {
        let begun = self.book.current(package).and_then(|current| current.begun.as_ref());
        self.host(begun.map_or("", |begun| &begun.host))
    }

    /// Returns the host that a failure or success is put down to: where there is only one, that one.
    pub(super) fn host(&self, host: &str) -> String {
        if self.settings.capabilities.single_host { THIS_HOST.to_owned() } else { host.to_owned() }
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
                // Only now: a host whose results are damaged, or on which none can be published, is not sound.
                let host = self.host_of(package);
                self.hosts.sound(&host);
                self.hosts.sound(THIS_HOST);
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
                    FailureClass::NoSpace => self.no_space_here(package, message),
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
