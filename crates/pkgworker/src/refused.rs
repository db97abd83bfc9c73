//! Builds whose root cannot be made because of the packages that it is to be made of.
//!
//! A package that cannot be installed (its `%pre` fails, another has a directory where it has a file, its payload is
//! not what its header says) fails every build that needs it, on every host and however often it is tried. That is a
//! result, like a section that fails, and no fault of the host. A layer store whose disk is full is a result too, for
//! it has a name and a remedy. What else a host lacks stays an error of the worker.

use std::error::Error;
use std::io;

use buildroot::RootError;
use rpm_model::{FailureClass, JobDocument, LimitReport, Outcome, ResultDocument};

use crate::build::Host;
use crate::check::{CheckLog, check_report, write_check};
use crate::error::{IoContext, WorkerError};
use crate::log_file::LogFile;

/// Returns the result of a build whose root its packages do not allow; any other error stays one. The log then holds
/// all that is known.
pub(crate) fn refused(
    job: &JobDocument,
    host: &Host<'_>,
    error: WorkerError,
) -> Result<ResultDocument, WorkerError> {
    let WorkerError::Root(cause) = error else { return Err(error) };
    let is_full = cause.is_for_want_of_space();
    if !is_full && !cause.is_of_packages() {
        return Err(cause.into());
    }
    let (what, class) = if is_full {
        let what =
            "the disk of the layer store is full (`millwright cache gc --budget SIZE` frees some of it)";
        (what, FailureClass::NoSpace)
    } else {
        ("its build root cannot be made", FailureClass::PackageFailure)
    };
    let (message, lines) = words(what, &cause);
    write_log(host, job, &message, &lines).context("write", host.log)?;
    let outcome = Outcome::Failed { class, phase: None, message };
    let check = check_report(job, &outcome, &CheckLog::default(), &[]);
    // Removes that of an earlier build.
    write_check(host.log, &job.package, &check, &[], &lines)?;
    Ok(ResultDocument {
        check,
        decisive_lines: lines,
        limits: LimitReport { host_disk_full: is_full, ..LimitReport::default() },
        ..ResultDocument::without_a_run(&job.package, outcome, &host.log.to_string_lossy())
    })
}

/// Returns one sentence, and the lines that belong to it.
fn words(what: &str, cause: &RootError) -> (String, Vec<String>) {
    let mut text = cause.to_string();
    let mut next = cause.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    let mut lines = text.lines().map(|line| line.trim().to_owned());
    let first = lines.next().unwrap_or_default();
    (format!("{what}: {first}"), lines.collect())
}

fn write_log(host: &Host<'_>, job: &JobDocument, message: &str, lines: &[String]) -> io::Result<u64> {
    let mut log = LogFile::create(host.log, job.log_limit_bytes)?;
    log.write(format!("[millwright: {message}]\n").as_bytes())?;
    for line in lines {
        log.write(format!("{line}\n").as_bytes())?;
    }
    log.finish()
}
