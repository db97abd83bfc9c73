//! Commands of specs that give versions: run confined, each once in a run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rebuild::trigger::{ProgramAnswer, ProgramFault, answered_version};
use scheduler::{ProgramRequest, VersionPrograms};
use specreader::{Confinement, SpecCommand};

use super::{Base, Pipeline};

/// What commands said in this run: the first line of each, or why there is none.
pub(super) type Answers = Mutex<BTreeMap<ProgramRequest, Result<Vec<u8>, ProgramFault>>>;

/// Runs commands of specs in the worker's root, with what the configuration allows them.
pub(crate) struct WorkerPrograms<'a> {
    pipeline: &'a Pipeline<'a>,
    confinement: Confinement<'a>,
}

impl Pipeline<'_> {
    /// Returns what runs commands of specs.
    pub(crate) fn programs<'b>(&'b self, base: &'b Base) -> WorkerPrograms<'b> {
        WorkerPrograms {
            pipeline: self,
            confinement: Confinement::new(&base.worker, &self.sandbox, &self.layers),
        }
    }

    /// Returns the git repository that the version of a spec comes from, where the configuration names one.
    pub(crate) fn version_repository(&self, spec: &str) -> Option<PathBuf> {
        self.config.program_limits(spec).repository
    }

    /// Returns every command that was run in this run, and its answer as a text that no other answer has.
    pub(super) fn asked_programs(&self) -> Vec<(ProgramRequest, String)> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().map(|(request, output)| (request.clone(), text(&answer(output)))).collect()
    }
}

impl WorkerPrograms<'_> {
    /// Returns whether commands say again what they said once.
    pub(super) fn say_again(&self, asked: &[(ProgramRequest, String)]) -> bool {
        let requests = asked.iter().map(|(request, _)| request.clone()).collect();
        let now = self.answers(&requests);
        asked.iter().all(|(request, said)| now.get(request).is_some_and(|answer| text(answer) == *said))
    }

    /// Returns what commands say, word for word; runs those that have not been run before in this run, several at
    /// the same time.
    pub(crate) fn outputs(
        &self,
        requests: &BTreeSet<ProgramRequest>,
    ) -> BTreeMap<ProgramRequest, Result<Vec<u8>, ProgramFault>> {
        let known = || self.pipeline.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<&ProgramRequest> = {
            let known = known();
            requests.iter().filter(|request| !known.contains_key(*request)).collect()
        };
        for batch in new.chunks(self.pipeline.config.workers.max(1)) {
            let said: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> =
                    batch.iter().map(|request| scope.spawn(|| self.output(request))).collect();
                let joined = threads.into_iter().map(|thread| {
                    let lost = |_| {
                        Err(ProgramFault::NotRun { reason: "the thread that ran it panicked".to_owned() })
                    };
                    thread.join().unwrap_or_else(lost)
                });
                joined.collect()
            });
            known().extend(batch.iter().map(|request| (*request).clone()).zip(said));
        }
        let known = known();
        requests.iter().filter_map(|request| Some((request.clone(), known.get(request)?.clone()))).collect()
    }

    fn output(&self, request: &ProgramRequest) -> Result<Vec<u8>, ProgramFault> {
        let limits = self.pipeline.config.program_limits(&request.spec);
        self.confinement.run(&SpecCommand {
            words: &request.command,
            directory: &request.directory,
            time_limit: limits.timeout,
            network: limits.network,
        })
    }
}

impl VersionPrograms for WorkerPrograms<'_> {
    fn answers(&self, requests: &BTreeSet<ProgramRequest>) -> BTreeMap<ProgramRequest, ProgramAnswer> {
        let outputs = self.outputs(requests);
        outputs.into_iter().map(|(request, output)| (request, answer(&output))).collect()
    }
}

fn answer(output: &Result<Vec<u8>, ProgramFault>) -> ProgramAnswer {
    output.as_deref().map_err(Clone::clone).and_then(answered_version)
}

fn text(answer: &ProgramAnswer) -> String {
    format!("{answer:?}")
}
