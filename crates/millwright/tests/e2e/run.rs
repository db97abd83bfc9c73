//! Programs under test: started with their output in files, waited for with a limit, looked at afterwards.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than anything here takes on a loaded machine; only ends tests that hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// How often something that will happen is looked for.
pub(crate) const GLANCE: Duration = Duration::from_millis(20);

/// A program that was started.
pub(crate) struct Running {
    child: Child,
    words: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A program that has ended.
pub(crate) struct Ended {
    /// What was started, for messages.
    words: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Starts a command whose output goes to `<place>.out` and `<place>.err`.
pub(crate) fn start(command: &mut Command, place: &Path) -> Running {
    let (stdout, stderr) = (place.with_extension("out"), place.with_extension("err"));
    let words = format!("{command:?}");
    let child = command
        .stdin(Stdio::null())
        .stdout(File::create(&stdout).unwrap())
        .stderr(File::create(&stderr).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {words}: {error}"));
    Running { child, words, stdout, stderr }
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits until the program has written this text to standard error.
    pub(crate) fn wait_for_text(&mut self, text: &str) {
        let stderr = self.stderr.clone();
        self.wait_until(text, || read(&stderr).contains(text));
    }

    /// Waits until the program has written this text to standard output.
    pub(crate) fn wait_for_output(&mut self, text: &str) {
        let stdout = self.stdout.clone();
        self.wait_until(text, || read(&stdout).contains(text));
    }

    /// Waits until something is so; fails when the program ends before.
    pub(crate) fn wait_until(&mut self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended ({status}) before: {what}\n{}", self.words, read(&self.stderr));
            }
            if start.elapsed() > PATIENCE {
                let _ = self.child.kill();
                panic!("{} waited in vain for: {what}\n{}", self.words, read(&self.stderr));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("{} does not end\n{}{}", self.words, read(&self.stdout), read(&self.stderr));
            }
            std::thread::sleep(GLANCE);
        };
        Ended {
            words: std::mem::take(&mut self.words),
            status,
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of a test that failed nothing is to go on and wait for it for ever; after `wait` there is nobody to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Returns all that was said, on both streams.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{}\n{}", self.words, self.text());
        self
    }

    /// Asserts that all of these texts were said, be it on several lines.
    #[track_caller]
    pub(crate) fn says(&self, texts: &[&str]) -> &Self {
        let unbroken = self.text().split_whitespace().collect::<Vec<_>>().join(" ");
        for text in texts {
            assert!(
                self.text().contains(text) || unbroken.contains(text),
                "`{text}` is not in what {} said:\n{}",
                self.words,
                self.text()
            );
        }
        self
    }

    /// Asserts that none of these texts was said.
    #[track_caller]
    pub(crate) fn never_says(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(!self.text().contains(text), "`{text}` is in what {} said:\n{}", self.words, self.text());
        }
        self
    }

    /// Asserts that a line with this text was said exactly once.
    #[track_caller]
    pub(crate) fn says_once(&self, text: &str) -> &Self {
        let count = self.text().lines().filter(|line| line.contains(text)).count();
        assert_eq!(count, 1, "`{text}` in what {} said:\n{}", self.words, self.text());
        self
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
