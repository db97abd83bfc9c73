//! `%check` as data: what the section's log shows of tests, and the report made of it.
//!
//! The log is read line by line while it is written, so a shortened log loses no test. Each test program's
//! form is recognised by itself (the modules `lines` and `summaries`); where the outer program of a section
//! is known (ctest, meson, automake, prove) what its tests print is not counted again. Nothing here decides
//! whether a check passed: the section's exit code does.

mod junit;
mod lines;
mod summaries;

use std::collections::{BTreeMap, HashMap};

use std::io;
use std::path::{Path, PathBuf};

use rpm_model::{CheckReport, CheckVerdict, JobDocument, Outcome, PhaseUsage, TestCase, TestStatus};

use crate::error::{IoContext, WorkerError};
use junit::write_junit;
use lines::recognise;
use summaries::{summarise, unittest_end};

/// The section.
const CHECK: &str = "%check";

/// Returns what `%check` found.
pub(crate) fn check_report(
    job: &JobDocument,
    outcome: &Outcome,
    log: &CheckLog,
    phases: &[PhaseUsage],
) -> CheckReport {
    if job.has_check == Some(false) {
        return CheckReport::of(CheckVerdict::None);
    }
    if !job.run_check {
        return CheckReport::of(CheckVerdict::NotRun);
    }
    let reached = phases.iter().any(|phase| phase.phase == CHECK);
    match outcome {
        Outcome::Failed { phase, .. } if reached => {
            let failed_there = phase.as_deref() == Some(CHECK);
            log.report(if failed_there { CheckVerdict::Failed } else { CheckVerdict::Passed })
        }
        _ if reached => log.report(CheckVerdict::Passed),
        Outcome::Succeeded => CheckReport::of(CheckVerdict::None),
        _ => CheckReport::of(CheckVerdict::NotRun),
    }
}

/// Writes the report in JUnit's form beside the log, when `%check` ran; an older one goes away.
pub(crate) fn write_check(
    log: &Path,
    package: &str,
    check: &CheckReport,
    phases: &[PhaseUsage],
    lines: &[String],
) -> Result<Option<PathBuf>, WorkerError> {
    let path = log.with_extension("junit.xml");
    if matches!(check.verdict, CheckVerdict::None | CheckVerdict::NotRun) {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("remove", &path),
            _ => Ok(None),
        };
    }
    let seconds = phases.iter().filter(|phase| phase.phase == CHECK).map(|phase| phase.wall_seconds).sum();
    write_junit(&path, package, check, seconds, lines).context("write", &path)?;
    Ok(Some(path))
}

/// A test program whose output is understood, outer ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Runner {
    /// `ctest`
    Ctest,
    /// `meson test`
    Meson,
    /// automake's `make check`
    Automake,
    /// perl's `prove` and `make test`
    Prove,
    /// `pytest`
    Pytest,
    /// python's `unittest`
    Unittest,
    /// `cargo test`
    Cargo,
    /// `go test`
    Go,
    /// `go test` that names packages alone
    GoPackages,
    /// The Test Anything Protocol, spoken directly
    Tap,
}

impl Runner {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ctest => "ctest",
            Self::Meson => "meson",
            Self::Automake => "automake",
            Self::Prove => "prove",
            Self::Pytest => "pytest",
            Self::Unittest => "unittest",
            Self::Cargo => "cargo",
            Self::Go | Self::GoPackages => "go",
            Self::Tap => "tap",
        }
    }

    /// Returns how far out it stands: programs of a greater number may run inside those of a smaller one.
    fn depth(self) -> u8 {
        match self {
            Self::Ctest | Self::Meson | Self::Automake | Self::Prove => 0,
            Self::Pytest | Self::Unittest | Self::Cargo | Self::Go => 1,
            Self::GoPackages | Self::Tap => 2,
        }
    }
}

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed = self.passed.saturating_add(other.passed);
        self.failed = self.failed.saturating_add(other.failed);
        self.skipped = self.skipped.saturating_add(other.skipped);
    }

    fn count(&mut self, status: TestStatus, by: i64) {
        let place = match status {
            TestStatus::Passed => &mut self.passed,
            TestStatus::Failed => &mut self.failed,
            TestStatus::Skipped => &mut self.skipped,
        };
        *place = place.saturating_add_signed(by);
    }

    fn total(&self) -> u64 {
        self.passed.saturating_add(self.failed).saturating_add(self.skipped)
    }
}

/// What one runner showed.
#[derive(Clone, Debug, Default)]
struct Shown {
    /// Single tests.
    cases: Vec<(String, TestStatus)>,
    /// Where the kept ones of a name are, for runners that name a test twice.
    places: HashMap<String, usize>,
    counted: Counts,
    summed: Counts,
}

/// What the log of a `%check` section has shown so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckLog {
    shown: BTreeMap<Runner, Shown>,
    /// The number of the last test that spoke TAP.
    tap: u64,
    /// What the section's own end marker says, where a distribution's macros write one.
    marked: Option<CheckVerdict>,
}

impl CheckLog {
    /// Takes the next line.
    pub(crate) fn line(&mut self, line: &[u8]) {
        /// No line of a test program that means something is longer.
        const LONGEST: usize = 2048;
        if line.len() > LONGEST {
            return;
        }
        let text = String::from_utf8_lossy(line);
        let plain = without_colours(&text);
        let text = plain.trim_end();
        self.marked = marker(text).or(self.marked);
        if let Some((runner, counts)) = summarise(text).filter(|(_, counts)| counts.total() > 0) {
            self.shown.entry(runner).or_default().summed.add(counts);
        }
        if let (Some(not_passed), Some(shown)) = (unittest_end(text), self.shown.get_mut(&Runner::Unittest)) {
            shown.summed.passed = shown.summed.passed.saturating_sub(not_passed.total());
            shown.summed.add(not_passed);
        }
        if let Some((runner, name, status)) = recognise(text, &mut self.tap) {
            self.shown.entry(runner).or_default().case(runner, name, status);
        }
    }

    /// Returns the report of a section that ended like this.
    pub(crate) fn report(&self, verdict: CheckVerdict) -> CheckReport {
        let mut report = CheckReport::of(verdict);
        let outermost = self.shown.keys().map(|runner| runner.depth()).min();
        let mut counts = Counts::default();
        for (runner, shown) in self.shown.iter().filter(|(runner, _)| Some(runner.depth()) == outermost) {
            counts.add(shown.counts());
            report.runners.push(runner.as_str().to_owned());
            report.cases.extend(shown.cases.iter().map(|(name, status)| TestCase {
                name: name.clone(),
                status: *status,
                runner: runner.as_str().to_owned(),
            }));
        }
        (report.passed, report.failed, report.skipped) = (counts.passed, counts.failed, counts.skipped);
        report.runners.sort();
        report.cases.truncate(CheckReport::MOST_CASES);
        if let (CheckVerdict::Passed, Some(marked)) = (verdict, self.marked) {
            report.verdict = marked;
        } else if verdict == CheckVerdict::Passed && counts.total() == counts.skipped && counts.skipped > 0 {
            report.verdict = CheckVerdict::Skipped;
        }
        report
    }
}

impl Shown {
    fn case(&mut self, runner: Runner, name: &str, status: TestStatus) {
        // Automake and pytest name what failed once more at the end; ctest may repeat what failed.
        let is_repeated = matches!(runner, Runner::Automake | Runner::Pytest | Runner::Ctest);
        if is_repeated && let Some(place) = self.places.get(name) {
            let old = std::mem::replace(&mut self.cases[*place].1, status);
            self.counted.count(old, -1);
            self.counted.count(status, 1);
            return;
        }
        self.counted.count(status, 1);
        if self.cases.len() < CheckReport::MOST_CASES {
            if is_repeated {
                self.places.insert(name.to_owned(), self.cases.len());
            }
            self.cases.push((name.to_owned(), status));
        }
    }

    /// A summary knows of tests that the log does not name; a log that was cut short has none.
    fn counts(&self) -> Counts {
        if self.summed.total() > self.counted.total() { self.summed } else { self.counted }
    }
}

/// Reads the end marker of Azure Linux's `%check`, whose macros hide the section's exit code.
fn marker(line: &str) -> Option<CheckVerdict> {
    let text = line.strip_prefix("====== ")?;
    if text.starts_with("SKIPPING CHECK ") {
        return Some(CheckVerdict::Skipped);
    }
    let code = text.strip_prefix("CHECK DONE ")?.split_once(". EXIT STATUS ")?.1;
    Some(if code.trim() == "0" { CheckVerdict::Passed } else { CheckVerdict::Failed })
}

/// Returns a line without the escape sequences of a terminal.
fn without_colours(line: &str) -> String {
    if !line.contains('\u{1b}') {
        return line.to_owned();
    }
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            plain.push(character);
        } else if characters.next() == Some('[') {
            // A control sequence ends with its first letter.
            for part in characters.by_ref() {
                if part.is_ascii_alphabetic() {
                    break;
                }
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests;
