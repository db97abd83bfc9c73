//! How a run of rpmbuild ended, as the outcome of a job: whose fault a failure is, in which section, in one sentence.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use buildroot::End;
use rpm_model::{FailureClass, JobDocument, LimitReport, Outcome, PhaseUsage};

use crate::build::Ran;
use crate::disk::Passed;
use crate::error::{IoContext, WorkerError};
use crate::log::{LogVerdict, judge};

/// Turns the sandbox's end into the job's outcome.
pub(crate) fn conclude(ran: &Ran, job: &JobDocument, log: &Path) -> Result<Outcome, WorkerError> {
    let failed = |class, phase: Option<String>, message: String| Outcome::Failed { class, phase, message };
    let last = ran.phases.last().map(|phase| phase.phase.clone());
    let place = last.clone().unwrap_or_else(|| PhaseUsage::PREPARATION.to_owned());
    let last = last.filter(|phase| phase != PhaseUsage::PREPARATION);
    Ok(match &ran.outcome.end {
        End::Exited { code: 0 } => Outcome::Succeeded,
        End::TimedOut => failed(FailureClass::Timeout, last, format!("the time limit ended it in {place}")),
        End::CpuTimePassed => {
            let limit = job.limits.cpu_limit_seconds.unwrap_or_default();
            failed(
                FailureClass::Timeout,
                last,
                format!("it used up its {limit} s of processor time in {place}"),
            )
        }
        End::OutOfMemory => {
            let limit = ran.memory_limit.unwrap_or_default() >> 20;
            failed(
                FailureClass::OutOfMemory,
                last,
                format!("it used more than its {limit} MiB of memory in {place}"),
            )
        }
        End::TooManyProcesses => {
            let limit = job.limits.process_limit;
            let message = format!("it started more than its {limit} processes in {place} (process-limit)");
            failed(FailureClass::PackageFailure, last, message)
        }
        End::SetupFailed(failure) => failed(
            FailureClass::InfrastructureFailure,
            None,
            format!("the build root could not be set up: {failure}"),
        ),
        End::Cancelled if ran.flooded => {
            let limit = job.log_limit_bytes.saturating_mul(JobDocument::FLOOD);
            let message = format!(
                "it was ended because it wrote more than {limit} bytes of output ({} times the limit of its log) \
                 in {place}",
                JobDocument::FLOOD
            );
            failed(FailureClass::PackageFailure, last, message)
        }
        End::Cancelled if ran.passed == Some(Passed::Bytes) => {
            let limit = job.disk_limit_bytes >> 20;
            let message = format!("it used more than its {limit} MiB of disk in {place}");
            failed(FailureClass::NoSpace, last, message)
        }
        End::Cancelled if ran.passed == Some(Passed::Files) => {
            let limit = job.limits.file_limit;
            let message = format!("it made more than its {limit} files in {place}");
            failed(FailureClass::NoSpace, last, message)
        }
        End::KilledFromOutside { signal } => {
            let message = format!(
                "somebody on the host killed the first process of its sandbox (signal {signal}) in {place}; nothing \
                 inside can do that"
            );
            failed(FailureClass::InfrastructureFailure, last, message)
        }
        End::HostOutOfMemory => {
            let message = format!(
                "the host had no memory left and ended processes of it in {place}, though it was within its own limit; \
                 with fewer --workers there is more for each"
            );
            failed(FailureClass::InfrastructureFailure, last, message)
        }
        End::Cancelled => {
            failed(FailureClass::InfrastructureFailure, last, "the build was cancelled".to_owned())
        }
        end @ (End::Exited { .. } | End::Signaled { .. }) => {
            let verdict = judge_log(log)?;
            let killed_for_memory = ran.outcome.usage.oom_kills.is_some_and(|kills| kills > 0);
            let class = if killed_for_memory { FailureClass::OutOfMemory } else { verdict.class };
            let place = verdict
                .phase
                .as_deref()
                .map_or("rpmbuild failed".to_owned(), |phase| format!("{phase} failed"));
            let network = match &verdict.network {
                Some(line) if !killed_for_memory => format!("; builds have no network: `{}`", line.trim()),
                _ => String::new(),
            };
            failed(class, verdict.phase, format!("{place} ({end}){network}"))
        }
    })
}

/// Returns a failure that no section is to blame for.
pub(crate) fn package_failure(message: String) -> Outcome {
    Outcome::Failed { class: FailureClass::PackageFailure, phase: None, message }
}

/// Reads what the log says of a failed build.
pub(crate) fn judge_log(path: &Path) -> Result<LogVerdict, WorkerError> {
    judge(|| File::open(path).map(BufReader::new)).context("read", path)
}

/// Returns what held the build within its limits.
pub(crate) fn limits_of(ran: &Ran) -> LimitReport {
    LimitReport {
        enforced_by: ran.outcome.limiter.to_string(),
        id_mapping: ran.outcome.id_mapping.to_string(),
        unenforced: ran.outcome.unenforced.iter().map(ToString::to_string).collect(),
        memory_limit_bytes: ran.memory_limit,
        host_disk_full: ran.host_disk_full,
    }
}
