//! A worker that is given one job after another: what is said between it and whoever gives it jobs.
//!
//! Starting a program, loading its libraries and opening the layer store costs as much as all else that a worker does
//! for a small package, so `pkgworker --serve` does that once. On its standard input each line is a [`WorkRequest`],
//! sent when the one before has been answered; on its standard output come the events of the build and at its end one
//! [`WorkReply`], a line each. Its standard input is also its lifeline: while it works it ends with its sandbox as soon
//! as the far end closes, and at once when it has nothing to do.
//!
//! A build still has a process tree, a root and a sandbox of its own; nothing of one job is passed on to the next but
//! what is known of layers, whose content never changes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use report::Event;
use serde::{Deserialize, Serialize};

/// A job, and where what comes out of it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WorkRequest {
    /// The job document.
    pub job: PathBuf,
    /// Where the result document is written.
    pub result: PathBuf,
    /// Where the packages go, as `<arch>/<file>`.
    pub output: PathBuf,
    /// The build's log, replaced.
    pub log: PathBuf,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkReply {
    /// The result document is there.
    Done,
    /// There is none: host or worker failed, as this text says.
    Failed(String),
}

/// How a worker's answer to a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It replied, and takes the next request.
    Replied(WorkReply),
    /// It closed its output without a reply; it has ended or is about to.
    Silent,
}

/// What has the C library's allocator keep the memory that a job needed for the next one. Giving back the end of the
/// heap after each larger buffer and asking for it again costs a small package a tenth of all that the worker does; a
/// worker has a few MiB.
const KEEP_MEMORY: [(&str, &str); 3] = [
    ("MALLOC_TRIM_THRESHOLD_", "33554432"),
    ("MALLOC_MMAP_THRESHOLD_", "33554432"),
    ("MALLOC_TOP_PAD_", "1048576"),
];

/// A running worker that takes requests.
#[derive(Debug)]
pub struct WorkerProcess {
    child: Child,
    /// Requests go in; it ends when this is closed. Whoever may have to end it while it works takes it meanwhile.
    pub lifeline: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    complaints: File,
}

impl WorkerProcess {
    /// Starts a worker by a command that has all its arguments.
    ///
    /// # Errors
    /// When the program cannot be started, or there is no place for what it complains about.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let complaints = tempfile::tempfile()?;
        command.envs(KEEP_MEMORY);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(complaints.try_clone()?);
        let mut child = command.spawn()?;
        let lifeline = child.stdin.take();
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, lifeline, answers: BufReader::new(output), complaints })
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives it a job. It must have answered the one before.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] when it has ended.
    pub fn give(&mut self, request: &WorkRequest) -> io::Result<()> {
        // What it complained about before is of another job. Both ends write at the same place of the file.
        self.complaints.set_len(0)?;
        self.complaints.rewind()?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.lifeline.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(&line)
    }

    /// Passes its events on until it has answered.
    pub fn follow(&mut self, mut on_event: impl FnMut(Event)) -> Answer {
        let mut line = String::new();
        loop {
            line.clear();
            match self.answers.read_line(&mut line) {
                Ok(0) | Err(_) => return Answer::Silent,
                Ok(_) => {}
            }
            if let Ok(event) = serde_json::from_str::<Event>(&line) {
                on_event(event);
            } else if let Ok(reply) = serde_json::from_str(&line) {
                return Answer::Replied(reply);
            }
        }
    }

    /// Lets it end, waits for that, and returns how it ended and what it complained about.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn end(&mut self) -> io::Result<(ExitStatus, String)> {
        drop(self.lifeline.take());
        let status = self.child.wait()?;
        let mut complaints = Vec::new();
        self.complaints.rewind().and_then(|()| self.complaints.read_to_end(&mut complaints))?;
        Ok((status, String::from_utf8_lossy(&complaints).trim_end().to_owned()))
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // One that was waited for is not waited for again; nobody asks how an idle one ends.
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> WorkRequest {
        let at = |name: &str| PathBuf::from(format!("/jobs/zlib/{name}"));
        WorkRequest { job: at("job.json"), result: at("result.json"), output: at("rpms"), log: at("log") }
    }

    /// A worker that the shell plays.
    fn worker(script: &str) -> WorkerProcess {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        WorkerProcess::start(command).unwrap()
    }

    #[test]
    fn requests_and_replies_are_lines() {
        let text = serde_json::to_string(&request()).unwrap();
        assert_eq!(serde_json::from_str::<WorkRequest>(&text).unwrap(), request());
        assert_eq!(serde_json::to_string(&WorkReply::Done).unwrap(), "\"done\"");
        let failed = WorkReply::Failed("no\nroom".into());
        let text = serde_json::to_string(&failed).unwrap();
        assert_eq!((text.as_str(), text.lines().count()), ("{\"failed\":\"no\\nroom\"}", 1));
        assert!(serde_json::from_str::<Event>(&text).is_err());
    }

    #[test]
    fn one_worker_answers_request_after_request() {
        let answer = r#"echo '{"event":"note","message":"hello"}'; echo noise"#;
        let mut worker = worker(&format!(
            "read one; echo chatter >&2; {answer}; echo '\"done\"'; read two; echo '{{\"failed\":\"full\"}}'; \
             read three; echo last words >&2; exit 7"
        ));
        let mut events = Vec::new();
        worker.give(&request()).unwrap();
        assert_eq!(worker.follow(|event| events.push(event)), Answer::Replied(WorkReply::Done));
        assert_eq!(events, [Event::Note { message: "hello".into() }]);
        worker.give(&request()).unwrap();
        let failed = WorkReply::Failed("full".into());
        assert_eq!(worker.follow(|_| panic!("an event")), Answer::Replied(failed));
        worker.give(&request()).unwrap();
        assert_eq!(worker.follow(|_| panic!("an event")), Answer::Silent);
        let (status, complaints) = worker.end().unwrap();
        assert_eq!((status.code(), complaints.as_str()), (Some(7), "last words"));
        assert_eq!(worker.give(&request()).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_worker_that_is_let_go_ends() {
        // It would wait for ever for a line that is not the end.
        let mut worker = worker("while read line; do :; done; echo gone >&2");
        assert_eq!(worker.end().unwrap().1, "gone");
    }
}
