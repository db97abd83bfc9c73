//! A run that is stopped before it has built anything.
//!
//! What it is: what the first signal does as long as no build runs: it says that the run is over and what is kept, and
//! ends the process. Whatever was being made then is either there as a whole or is made again, as after `kill -9`. What
//! it is not: once builds run, it is the driver that stops them in order, and reports.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use report::{Event, ExitStatus, Failure, Reporter, RunOutcome};
use scheduler::Stop;

use crate::arguments::Command;
use crate::reporting::events_file;

/// Takes over the signals of a command that makes or builds something; those of others end them, as anywhere.
///
/// # Errors
/// When the signals cannot be taken over.
pub(crate) fn stop_of(
    command: &Command,
    reporter: &Arc<dyn Reporter>,
    build: &Path,
    started: Instant,
) -> Result<Stop, Failure> {
    if !command.builds() && !prepares(command) {
        return Ok(Stop::default());
    }
    // It must not outlive the command, for it gives the terminal back when it is dropped.
    let reporter: Weak<dyn Reporter> = Arc::downgrade(reporter);
    let recorded = command.builds().then(|| events_file(build));
    Stop::on_signals(move || {
        let Some(reporter) = reporter.upgrade() else { return };
        // Nothing was built, so there is nothing to report on afterwards.
        let _ = recorded.as_ref().map(std::fs::remove_file);
        let kept = "what was made so far (toolchain, sources, SRPMs) is kept";
        let message = match recorded {
            Some(_) => {
                format!("interrupted before any build began; {kept}, and the same command goes on from there")
            }
            None => format!("interrupted; {kept}, and the same command goes on from there"),
        };
        reporter.event(&Event::Warning { message });
        let (outcome, seconds) = (RunOutcome::Stopped, started.elapsed().as_secs_f64());
        reporter.event(&Event::RunFinished { outcome, message: None, seconds, counts: Default::default() });
        end_children();
        end_now();
    })
    .map_err(|error| Failure::new(ExitStatus::Environment, error))
}

/// Returns whether a command only makes what builds need, which may take long.
fn prepares(command: &Command) -> bool {
    matches!(
        command,
        Command::Toolchain { .. }
            | Command::Worker { .. }
            | Command::Fetch { .. }
            | Command::Pack(_)
            | Command::Expand(_)
    )
}

/// Ends the programs that this process has started: `apt-get` would go on, and hold its lock.
fn end_children() {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    for thread in threads {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|number| number.parse().ok()) {
            // One that has ended just now need not be ended.
            let _ = kill(Pid::from_raw(child), Signal::SIGTERM);
        }
    }
}

#[expect(clippy::exit, reason = "the main thread is busy with what is to be ended")]
fn end_now() -> ! {
    std::process::exit(ExitStatus::GoalsFailed.code().into())
}
