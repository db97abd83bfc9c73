//! What `%check` found, as data.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a package's `%check` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckVerdict {
    /// The section ended with exit code 0.
    Passed,
    /// The section ended with another exit code, or was ended by a limit.
    Failed,
    /// The section ended with exit code 0 and its log shows tests, all of them skipped.
    Skipped,
    /// The spec has no `%check` section.
    None,
    /// There is one; it was not asked for, or the build failed before it.
    NotRun,
}

impl CheckVerdict {
    /// Returns the verdict as reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::None => "none",
            Self::NotRun => "not-run",
        }
    }
}

impl fmt::Display for CheckVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestStatus {
    /// It passed, or failed as it was expected to.
    Passed,
    /// It failed, could not be run, or passed although it was expected to fail.
    Failed,
    /// It was not run.
    Skipped,
}

/// One test that the log shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCase {
    /// Its name as the log writes it.
    pub name: String,
    /// How it ended.
    pub status: TestStatus,
    /// The program that ran it, for example `ctest`.
    pub runner: String,
}

/// What `%check` found. The verdict is that of the section's exit code; the tests are what its log shows, so
/// there may be failed tests in a section that passed, where the spec ignores them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// How the section ended.
    pub verdict: CheckVerdict,
    /// Tests that passed.
    #[serde(default)]
    pub passed: u64,
    /// Tests that failed.
    #[serde(default)]
    pub failed: u64,
    /// Tests that were skipped.
    #[serde(default)]
    pub skipped: u64,
    /// The test programs whose output was understood, sorted; empty means that the exit code says all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runners: Vec<String>,
    /// The tests in the order of the log, at most [`CheckReport::MOST_CASES`]. Where a runner names only some of
    /// its tests there are fewer than it counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<TestCase>,
}

impl CheckReport {
    /// More tests than these are counted, but not kept one by one.
    pub const MOST_CASES: usize = 5_000;

    /// Returns a report without tests.
    pub fn of(verdict: CheckVerdict) -> Self {
        Self { verdict, passed: 0, failed: 0, skipped: 0, runners: Vec::new(), cases: Vec::new() }
    }

    /// Returns the same without its cases: what a record keeps.
    #[must_use]
    pub fn summary(&self) -> Self {
        Self { cases: Vec::new(), ..self.clone() }
    }
}

impl fmt::Display for CheckReport {
    /// Writes the verdict, and the numbers of tests where any are known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verdict.fmt(f)?;
        if [self.passed, self.failed, self.skipped].iter().any(|number| *number > 0) {
            write!(f, " ({} passed, {} failed, {} skipped)", self.passed, self.failed, self.skipped)?;
        }
        Ok(())
    }
}
