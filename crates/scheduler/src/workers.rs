//! The worker processes of a run on this host: each builds one job after another, and there are as many as work at the
//! same time.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use pkgworker::service::{Answer, WorkReply, WorkRequest, WorkerProcess};
use report::Reporter;

use crate::execute::Fence;

/// Workers that wait for their next job. They end when this is dropped, or with this process.
#[derive(Debug, Default)]
pub struct Workers {
    idle: Mutex<Vec<WorkerProcess>>,
}

/// Why a worker left no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerFailure {
    /// There is none.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be spoken to, or waited for.
    #[error("cannot speak with pkgworker: {0}")]
    Io(#[from] io::Error),
    /// It says why.
    #[error("{0}")]
    Replied(String),
    /// It has ended instead of replying.
    #[error("pkgworker ended with {status} and no result{}{complaints}", if .complaints.is_empty() { "" } else { ": " })]
    Ended {
        /// How.
        status: std::process::ExitStatus,
        /// What it wrote on its standard error.
        complaints: String,
    },
}

impl Workers {
    /// Has a worker do a job, one that `command` starts when none is idle; `fence` can end it meanwhile.
    pub(crate) fn work(
        &self,
        command: impl Fn() -> Command,
        request: &WorkRequest,
        fence: &Fence,
        reporter: &dyn Reporter,
    ) -> Result<(), WorkerFailure> {
        let mut worker = self.give(command, request)?;
        // Held until it has answered: our end of the pipe tells it that we live and want the result.
        fence.hold(worker.lifeline.take());
        let answer = worker.follow(|event| reporter.event(&event));
        worker.lifeline = fence.release();
        match answer {
            Answer::Replied(reply) => {
                if worker.lifeline.is_some() {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
                }
                match reply {
                    WorkReply::Done => Ok(()),
                    WorkReply::Failed(text) => Err(WorkerFailure::Replied(text)),
                }
            }
            Answer::Silent => {
                let (status, complaints) = worker.end()?;
                Err(WorkerFailure::Ended { status, complaints })
            }
        }
    }

    /// Returns a worker that has taken the request.
    fn give(
        &self,
        command: impl Fn() -> Command,
        request: &WorkRequest,
    ) -> Result<WorkerProcess, WorkerFailure> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            // One that has ended since its last job takes none; the next does, or a new one.
            let Some(mut worker) = idle else { break };
            if worker.give(request).is_ok() {
                return Ok(worker);
            }
        }
        let command = command();
        let program = PathBuf::from(command.get_program());
        let mut worker =
            WorkerProcess::start(command).map_err(|source| WorkerFailure::Start { program, source })?;
        worker.give(request)?;
        Ok(worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use report::Event;
    use std::path::Path;
    use std::sync::Arc;

    /// Keeps what workers say of themselves.
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Reporter for Heard {
        fn event(&self, event: &Event) {
            if let Event::Note { message } = event {
                self.0.lock().unwrap().push(message.clone());
            }
        }
    }

    /// A worker that the shell plays: it says who it is, and does as the job's name tells it.
    fn shell() -> Command {
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            r#"while read -r line; do
                echo "{\"event\":\"note\",\"message\":\"$$\"}"
                case $line in
                    *fails*) echo '{"failed":"no room"}';;
                    *ends*) echo good-bye >&2; exit 3;;
                    *hangs*) read -r line; exit 4;;
                    *last*) echo '"done"'; exit 0;;
                    *) echo '"done"';;
                esac
            done"#,
        ]);
        command
    }

    /// Returns who did a job, and what came of it.
    fn work(workers: &Workers, job: &str, fence: &Fence) -> (String, Result<(), String>) {
        let at = |name: &str| Path::new("/jobs").join(name);
        let request = WorkRequest { job: at(job), result: at("result"), output: at("rpms"), log: at("log") };
        let heard = Heard::default();
        let result = workers.work(shell, &request, fence, &heard);
        let who = heard.0.into_inner().unwrap().pop().unwrap_or_default();
        (who, result.map_err(|error| error.to_string()))
    }

    #[test]
    fn one_process_does_job_after_job_and_one_that_has_ended_is_replaced() {
        let (workers, fence) = (Workers::default(), Fence::default());
        let (first, result) = work(&workers, "builds", &fence);
        assert_eq!(result, Ok(()));
        // That a job came to nothing is no reason to start anew.
        assert_eq!(work(&workers, "fails", &fence), (first.clone(), Err("no room".to_owned())));
        assert_eq!(work(&workers, "builds", &fence), (first.clone(), Ok(())));
        let (who, error) = work(&workers, "ends", &fence);
        let text = "pkgworker ended with exit status: 3 and no result: good-bye".to_owned();
        assert_eq!((who, error), (first.clone(), Err(text)));
        let (second, result) = work(&workers, "last", &fence);
        assert_eq!(result, Ok(()));
        assert_ne!(first, second);
        // It replied and has gone since.
        let gone = Path::new("/proc").join(&second).join("fd");
        while std::fs::read_dir(&gone).is_ok_and(|mut entries| entries.next().is_some()) {
            std::thread::yield_now();
        }
        let (third, result) = work(&workers, "builds", &fence);
        assert_eq!(result, Ok(()));
        assert_ne!(second, third);
    }

    #[test]
    fn a_closed_fence_ends_the_worker_that_works() {
        let (workers, fence) = (Workers::default(), Arc::new(Fence::default()));
        let (_, result) = std::thread::scope(|scope| {
            let working = scope.spawn(|| work(&workers, "hangs", &fence));
            fence.close();
            working.join().unwrap()
        });
        let text = result.unwrap_err();
        // It wrote nothing, so nothing follows.
        assert!(text.starts_with("pkgworker ended with exit status: "), "{text}");
        assert!(text.ends_with(" and no result"), "{text}");
        assert!(workers.idle.lock().unwrap().is_empty());
    }
}
