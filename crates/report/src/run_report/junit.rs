//! `junit.xml`: a suite for each package, with its build as one case and what its `%check` found as others.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};
use rpm_model::{CheckVerdict, TestStatus};

use super::{PackageReport, PackageState, RunReport};

/// Returns the file's text.
pub(super) fn junit(report: &RunReport) -> Result<String, SerializeError> {
    let mut junit = Report::new(report.run.as_str());
    junit.set_time(time(report.seconds));
    junit.add_test_suites(report.packages.iter().map(suite));
    junit_text(&junit)
}

/// Returns the text of a report in JUnit's form. The names of tests are what a build wrote: what no XML document may hold,
/// and this form's writer lets through, is replaced.
///
/// # Errors
/// When the writer fails.
pub fn junit_text(junit: &Report) -> Result<String, SerializeError> {
    Ok(junit.to_string()?.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}"))
}

fn suite(package: &PackageReport) -> TestSuite {
    let mut suite = TestSuite::new(package.package.as_str());
    suite.set_time(time(package.seconds()));
    let store =
        package.reused_from.as_ref().map(|store| format!("the result was taken from the store {store}"));
    let mut add = |name: &str, status: TestCaseStatus, seconds: Option<f64>, said: Option<&str>| {
        let mut case = TestCase::new(name, status);
        case.set_classname(package.package.as_str());
        if let Some(seconds) = seconds {
            case.set_time(time(seconds));
        }
        if let Some(said) = said {
            case.set_system_out(said);
        }
        suite.add_test_case(case);
    };
    add("build", build_status(package), Some(package.seconds()), store.as_deref());
    let Some(check) = &package.check_with_cases else { return suite };
    let verdict = match check.verdict {
        CheckVerdict::Passed => Some(TestCaseStatus::success()),
        CheckVerdict::Failed => {
            let mut failed = TestCaseStatus::non_success(NonSuccessKind::Failure);
            failed.set_message(check.to_string());
            Some(failed)
        }
        CheckVerdict::Skipped => Some(TestCaseStatus::skipped()),
        CheckVerdict::None | CheckVerdict::NotRun => None,
    };
    if let Some(verdict) = verdict {
        let section = package.usage.iter().find(|phase| phase.phase == "%check");
        add("%check", verdict, section.map(|phase| phase.wall_seconds), None);
    }
    for case in &check.cases {
        let status = match case.status {
            TestStatus::Passed => TestCaseStatus::success(),
            TestStatus::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
            TestStatus::Skipped => TestCaseStatus::skipped(),
        };
        add(&format!("{}: {}", case.runner, case.name), status, None, None);
    }
    suite
}

fn build_status(package: &PackageReport) -> TestCaseStatus {
    let skipped = |why: String| {
        let mut status = TestCaseStatus::skipped();
        status.set_message(why);
        status
    };
    match package.state {
        PackageState::Built | PackageState::Identical => TestCaseStatus::success(),
        PackageState::Failed => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            if let Some(failure) = &package.failure {
                status.set_type(failure.class.as_str()).set_message(failure.message.as_str());
                status.set_description(failure.decisive_lines.join("\n"));
            }
            status
        }
        PackageState::Blocked => skipped(format!("needs {}, which failed", package.blocked_by.join(", "))),
        PackageState::Postponed => skipped(package.postponed_for.clone().unwrap_or_default()),
        PackageState::Interrupted | PackageState::NotStarted => skipped(package.state.as_str().to_owned()),
    }
}

/// What no clock gave is no time at all.
fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
