//! The end of a binary: how an error is told and which code the process returns.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use crate::text::printable;

/// What a process's exit code means; scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// 0: all that was asked for is done.
    Done,
    /// 1: some goals failed, or the user interrupted the run before they were reached; the rest is done.
    GoalsFailed,
    /// 2: the command line, a configuration file or the tree is wrong; nothing was done.
    Usage,
    /// 3: the host lacks something: a program, a right, space, a network.
    Environment,
    /// 4: a defect of Millwright itself.
    Internal,
}

impl ExitStatus {
    /// Returns the number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::GoalsFailed => 1,
            Self::Usage => 2,
            Self::Environment => 3,
            Self::Internal => 4,
        }
    }
}

/// An error with its kind and what to do about it, made where a binary meets a library's error.
#[derive(Debug)]
pub struct Failure {
    status: ExitStatus,
    error: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
}

impl Failure {
    /// Returns a failure of this kind.
    pub fn new(status: ExitStatus, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { status, error: error.into(), hints: Vec::new() }
    }

    /// Returns the same failure with one more line of advice.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// Returns the kind.
    pub fn status(&self) -> ExitStatus {
        self.status
    }

    /// Returns what a program prints at its end: that there is an error, and [`Self::text`].
    pub fn render(&self) -> String {
        format!("error: {}", self.text())
    }

    /// Returns the text that a person reads: the message, its causes, then the advice.
    pub fn text(&self) -> String {
        let mut text = self.error.to_string();
        let mut told = self.error.to_string();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let message = error.to_string();
            // Many errors already contain their cause's text; saying it twice helps nobody.
            if !told.contains(&message) {
                // Writing to a String cannot fail.
                let _ = write!(text, "\ncaused by: {message}");
            }
            told = message;
            cause = error.source();
        }
        for hint in &self.hints {
            let _ = write!(text, "\nhelp: {hint}");
        }
        text
    }
}

/// Ends a binary: prints the failure, if any, to standard error and returns the exit code.
pub fn conclude(result: Result<ExitStatus, Failure>) -> ExitCode {
    let status = match result {
        Ok(status) => status,
        Err(failure) => {
            // When standard error is closed there is nobody left to tell.
            let _ = writeln!(anstream::stderr(), "{}", printable(&failure.render()));
            failure.status
        }
    };
    ExitCode::from(status.code())
}

/// Runs a binary's work; a panic in it is a defect of Millwright, and becomes a failure that says so.
///
/// # Errors
/// What the work returns, or that it panicked.
pub fn guarded(work: impl FnOnce() -> Result<ExitStatus, Failure>) -> Result<ExitStatus, Failure> {
    // Nothing of what the work has half changed is looked at afterwards.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it does not say why");
        let failure = Failure::new(ExitStatus::Internal, format!("a defect of Millwright: {text}"));
        Err(failure.hint("what was accepted is safe; run the same command again, and report the lines above"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cannot read `a.spec`")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn tells_message_causes_and_advice() {
        let failure =
            Failure::new(ExitStatus::Usage, Outer(io::Error::other("disk on fire"))).hint("buy another");
        assert_eq!(
            failure.render(),
            "error: cannot read `a.spec`\ncaused by: disk on fire\nhelp: buy another"
        );
    }

    #[test]
    fn does_not_repeat_a_cause_that_the_message_holds() {
        let error = Outer(io::Error::other("cannot read"));
        assert_eq!(Failure::new(ExitStatus::Usage, error).render(), "error: cannot read `a.spec`");
    }

    #[test]
    fn codes_are_a_contract() {
        let all = [
            ExitStatus::Done,
            ExitStatus::GoalsFailed,
            ExitStatus::Usage,
            ExitStatus::Environment,
            ExitStatus::Internal,
        ];
        assert_eq!(all.map(ExitStatus::code), [0, 1, 2, 3, 4]);
    }
}
