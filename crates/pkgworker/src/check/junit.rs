//! A check's report in JUnit's form, which test dashboards read.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use report::junit_text;
use rpm_model::{CheckReport, CheckVerdict, TestStatus};

/// Writes a report beside the log, whole: one suite for each test program. A section that shows no tests
/// becomes one test, which is the section.
///
/// `seconds` is how long the section took, `lines` what the log says of why it failed.
pub(crate) fn write_junit(
    path: &Path,
    package: &str,
    report: &CheckReport,
    seconds: f64,
    lines: &[String],
) -> io::Result<()> {
    let mut junit = Report::new(package);
    // What the clock never gave is no time at all.
    junit.set_time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    for runner in &report.runners {
        let cases: Vec<TestCase> = report
            .cases
            .iter()
            .filter(|case| case.runner == *runner)
            .map(|case| {
                let mut made = TestCase::new(case.name.as_str(), status(case.status));
                made.set_classname(package);
                made
            })
            .collect();
        if !cases.is_empty() {
            let mut suite = TestSuite::new(runner.as_str());
            suite.add_test_cases(cases);
            junit.add_test_suite(suite);
        }
    }
    // The verdict is the section's, and the tests that a log names need not show it.
    let mut section = TestSuite::new("%check");
    let mut case = match report.verdict {
        CheckVerdict::Failed => {
            let mut failed = TestCaseStatus::non_success(NonSuccessKind::Failure);
            failed.set_message(report.to_string()).set_description(lines.join("\n"));
            TestCase::new("%check", failed)
        }
        CheckVerdict::Skipped => TestCase::new("%check", TestCaseStatus::skipped()),
        _ => TestCase::new("%check", TestCaseStatus::success()),
    };
    case.set_classname(package);
    section.add_test_case(case);
    junit.add_test_suite(section);

    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(junit_text(&junit).map_err(io::Error::other)?.as_bytes())?;
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn status(status: TestStatus) -> TestCaseStatus {
    match status {
        TestStatus::Passed => TestCaseStatus::success(),
        TestStatus::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        TestStatus::Skipped => TestCaseStatus::skipped(),
    }
}
