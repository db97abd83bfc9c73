//! `pkgworker --serve`: job after job from standard input; [`pkgworker::service`] has what is said.

use std::io::{BufRead, Write};
use std::os::fd::AsFd;

use pkgworker::service::{WorkReply, WorkRequest};
use report::{ExitStatus, Failure};

use crate::arguments::Arguments;
use crate::{Site, build_once, lifeline, read_job, tell_phase, write_result};

/// Answers requests until standard input closes.
pub(crate) fn serve(arguments: &Arguments, site: &Site) -> Result<ExitStatus, Failure> {
    let input = std::io::stdin();
    let mut line = Vec::new();
    loop {
        line.clear();
        let failed = |error| Failure::new(ExitStatus::Environment, error);
        if input.lock().read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok(ExitStatus::Done);
        }
        let request: WorkRequest = serde_json::from_slice(&line).map_err(|error| {
            Failure::new(ExitStatus::Usage, format!("a line of standard input is no request: {error}"))
        })?;
        // Between jobs the line is read, and a signal for each one would end us.
        let lifeline = lifeline(input.as_fd())?;
        let reply = match work(arguments, site, &request) {
            Ok(()) => WorkReply::Done,
            Err(failure) => WorkReply::Failed(failure.text()),
        };
        drop(lifeline);
        let mut text = serde_json::to_vec(&reply).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        std::io::stdout().write_all(&text).map_err(failed)?;
    }
}

fn work(arguments: &Arguments, site: &Site, request: &WorkRequest) -> Result<(), Failure> {
    let mut job = read_job(&request.job)?;
    arguments.overrule(&mut job);
    let reporter = report::choose(true, false);
    let on_phase = |phase: &str| tell_phase(&job.package, phase, Some(&*reporter));
    let host = site.host(arguments, &request.output, &request.log, &on_phase);
    let result = build_once(arguments, &job, &host, Some(&*reporter))?;
    write_result(&request.result, &result)
}
