//! The world by hand: what tests of single rules do in it, call by call, and what must be true of it.

use super::*;

impl World {
    fn call(&mut self, event: impl FnOnce(Request) -> MachineEvent) -> Option<Answer> {
        self.requests += 1;
        let request = Request(self.requests);
        self.tell(event(request));
        self.answers.remove(&request)
    }

    pub(crate) fn call_begin(&mut self, caller: &Caller) -> Option<Answer> {
        self.call(|request| MachineEvent::Begin { caller: caller.clone(), request })
    }

    pub(crate) fn call_beat(&mut self, caller: &Caller) -> Option<Answer> {
        self.call(|request| MachineEvent::Beat { caller: caller.clone(), request })
    }

    pub(crate) fn call_finish(&mut self, caller: &Caller, ending: Ending) -> Option<Answer> {
        if ending == Ending::Generated {
            let package = self.processes.iter().find(|process| process.caller == *caller);
            self.generated.extend(package.map(|process| process.package.clone()));
        }
        self.call(|request| MachineEvent::Finish { caller: caller.clone(), request, ending })
    }

    /// Finishes and returns what the machine did about it.
    pub(crate) fn finish_actions(&mut self, caller: &Caller, ending: Ending) -> Vec<Action> {
        self.log.clear();
        self.call_finish(caller, ending);
        std::mem::take(&mut self.log)
    }

    /// Returns the worker of the only package's current attempt, and all that was done until it was submitted.
    pub(crate) fn submit_one(&mut self) -> (Caller, Vec<Action>) {
        let actions = std::mem::take(&mut self.log);
        let submitted = actions.iter().find_map(|action| match action {
            Action::Submit { attempt, .. } => Some(attempt.clone()),
            _ => None,
        });
        let attempt = submitted.expect("the only package is submitted");
        let caller = Caller {
            attempt: attempt.id,
            token: attempt.token,
            instance: "worker".into(),
            host: "n0".into(),
        };
        (caller, actions)
    }

    /// Returns the worker of the current attempt at the package that this worker builds.
    pub(crate) fn caller_of_current(&self, worker: &Caller) -> Caller {
        let mut open = self.machine.book().open();
        let (_, current) = open.next().expect("there is a current attempt");
        Caller { attempt: current.id.clone(), token: current.token.clone(), ..worker.clone() }
    }

    /// Returns the current attempt at the only package.
    pub(crate) fn current(&self) -> Option<AttemptId> {
        self.machine.book().open().next().map(|(_, current)| current.id.clone())
    }

    /// Lets time pass and returns what the machine did about it.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Action> {
        self.log.clear();
        self.now += time;
        self.tell(MachineEvent::Tick);
        std::mem::take(&mut self.log)
    }

    pub(crate) fn show(&mut self, picture: BTreeMap<AttemptId, EngineState>) {
        self.tell(MachineEvent::Observed(picture));
    }

    pub(crate) fn lease(&self) -> Duration {
        LEASE
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted_jobs.len()
    }

    /// Says what the worker of an attempt may say without being it: with a guessed secret, and as an attempt that was given
    /// up with the secret of the one that took its place. Neither may go on, and nothing of theirs counts.
    pub(super) fn impersonate(&mut self, process: &Process) {
        let attempt = &process.caller.attempt;
        let mut tokens = vec![Token::new("guess")];
        let current = self.machine.book().current(&process.package);
        tokens.extend(current.filter(|current| current.id != *attempt).map(|current| current.token.clone()));
        for token in tokens {
            let caller = Caller { token, ..process.caller.clone() };
            // To say once more that a result counts is no harm.
            if self.accepted_attempts.contains(attempt) {
                return;
            }
            self.note("impostor");
            let begun = self.call_begin(&caller);
            assert_ne!(begun, Some(Answer::Go), "seed {}: {caller:?} goes on", self.seed);
            let finished = self.call_finish(&caller, Ending::Succeeded);
            assert_ne!(finished, Some(Answer::Accepted), "seed {}: {caller:?} counts", self.seed);
        }
    }

    pub(super) fn check_replay(&self) {
        if self.dead_until.is_none() {
            let replayed = Book::replay(&self.journal());
            assert_eq!(&replayed, self.machine.book(), "seed {}: the journal says otherwise", self.seed);
        }
    }

    /// Every job has ended: accepted, or failed, or prevented by one that failed.
    pub(super) fn check_end(&mut self) {
        self.check_replay();
        let seed = self.seed;
        let open: Vec<_> = self.machine.book().open().map(|(package, _)| package.to_owned()).collect();
        assert!(open.is_empty(), "seed {seed}: attempts are open at the end: {open:?}");
        let machine = std::mem::replace(
            &mut self.machine,
            Machine::new(Queue::default(), Self::settings(false), Book::default(), &|_, _| false),
        );
        let summary = machine.conclude().unwrap_or_else(|stuck| panic!("seed {seed}: stuck: {stuck:?}"));
        if self.stopped {
            return;
        }
        assert!(summary.not_started.is_empty(), "seed {seed}: {summary:?}");
        for package in self.packages.values().filter(|package| self.is_stale(package)) {
            let name = &package.name;
            let is_told = summary.failed.contains_key(name) || summary.blocked.contains_key(name);
            assert!(is_told, "seed {seed}: {name} neither built nor failed nor blocked: {summary:?}");
        }
    }
}
