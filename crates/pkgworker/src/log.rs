//! What a build log says: the section reached, why it failed, the lines that tell.
//!
//! Functions of text only. The forms are rpmbuild's (4.18): `Executing(%build): ...` when a section starts
//! and `error: Bad exit status from FILE (%build)` when one fails.

use rpm_model::FailureClass;

use crate::network::complaint;

/// How many lines a failure summary shows.
const DECISIVE_LINES: usize = 12;

/// Texts that mark a line as the cause of a failure rather than its echo.
const CAUSES: [&str; 16] = [
    "error:",
    "Error:",
    "ERROR:",
    "error[",
    "FAILED",
    "FAIL:",
    "undefined reference",
    "cannot find",
    "No such file or directory",
    "No space left on device",
    "not found",
    "Permission denied",
    "Assertion",
    "Segmentation fault",
    "Killed",
    "Hunk #",
];

/// Lines that only repeat that something failed before.
const ECHOES: [&str; 6] = [
    "RPM build errors:",
    "Bad exit status from",
    "make: ***",
    "make[1]: ***",
    // A build root has no rpm database; rpmbuild looks for one at its end all the same.
    "rpmdb.sqlite",
    "cannot open Packages",
];

/// What a failed build's log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogVerdict {
    /// The section that failed, for example `%build`; `None` before the first section.
    pub(crate) phase: Option<String>,
    /// Whose fault the log shows, for a build that ended by itself.
    pub(crate) class: FailureClass,
    /// The line that says that the network could not be reached, when one does.
    pub(crate) network: Option<String>,
    /// The lines that tell, oldest first.
    pub(crate) lines: Vec<String>,
}

/// Returns the section that starts on this line, for example `%prep`.
pub(crate) fn phase_of_line(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("Executing(")?;
    rest.split_once(')').map(|(phase, _)| phase)
}

/// Returns what the log of a failed build says.
pub(crate) fn judge(log: &str) -> LogVerdict {
    let failed = log.lines().rev().find_map(failed_section);
    let reached = log.lines().filter_map(phase_of_line).next_back();
    let phase = failed.or(reached).map(str::to_owned);
    let telling = telling_lines(log, phase.as_deref());
    let network = complaint(&telling).map(shorten);
    let class = if log.contains("No space left on device") || log.contains("Disk quota exceeded") {
        FailureClass::NoSpace
    } else if log.contains("Killed signal terminated program") || log.contains("Cannot allocate memory") {
        FailureClass::OutOfMemory
    } else if phase.as_deref() == Some("%check") {
        FailureClass::CheckFailure
    } else if network.is_some() {
        FailureClass::NetworkNeeded
    } else {
        FailureClass::PackageFailure
    };
    let mut lines = decisive_lines(&telling);
    if let Some(complaint) = network.as_ref().filter(|complaint| !lines.contains(complaint)) {
        lines.push(complaint.clone());
    }
    LogVerdict { lines, phase, class, network }
}

/// Returns the section named by rpmbuild's own failure line.
fn failed_section(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("Bad exit status from")?;
    let (_, rest) = rest.split_once('(')?;
    rest.split_once(')').map(|(section, _)| section)
}

/// Returns the lines of the failed section that are no echoes.
fn telling_lines<'a>(log: &'a str, phase: Option<&str>) -> Vec<&'a str> {
    let mut section: Vec<&str> = Vec::new();
    for line in log.lines() {
        if phase_of_line(line).is_some_and(|started| Some(started) == phase) {
            section.clear();
        }
        section.push(line);
    }
    let plain = |line: &&str| !line.trim().is_empty() && !ECHOES.iter().any(|echo| line.contains(echo));
    section.into_iter().filter(plain).collect()
}

/// Returns those of the lines that name a cause, or else the last ones.
fn decisive_lines(telling: &[&str]) -> Vec<String> {
    // The shell's trace (`+ command`) only repeats the script.
    let is_cause = |line: &&str| !line.starts_with('+') && CAUSES.iter().any(|cause| line.contains(cause));
    let causes: Vec<&str> = telling.iter().copied().filter(is_cause).collect();
    let chosen = if causes.is_empty() {
        // Without a named cause the end tells.
        &telling[telling.len().saturating_sub(DECISIVE_LINES)..]
    } else {
        // The first causes are the true ones; what follows is their consequence.
        &causes[..causes.len().min(DECISIVE_LINES)]
    };
    chosen.iter().map(|line| shorten(line)).collect()
}

/// Returns a line cut to what a terminal shows.
fn shorten(line: &str) -> String {
    const WIDTH: usize = 300;
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(log: &str, phase: Option<&str>, class: FailureClass, lines: &[&str]) {
        let verdict = judge(log);
        assert_eq!(verdict.phase.as_deref(), phase, "{log}");
        assert_eq!(verdict.class, class, "{log}");
        assert_eq!(verdict.lines, lines, "{log}");
    }

    #[test]
    fn a_compiler_error_is_found() {
        let log = "Executing(%prep): /bin/sh -e /var/tmp/a\nPatch #0\nExecuting(%build): /bin/sh -e /var/tmp/b\n\
                   + gcc -c x.c -DMESSAGE=error:\nx.c:3:1: error: boom\nmake: *** [x.o] Error 1\n\
                   error: Bad exit status from /var/tmp/b (%build)\n\nRPM build errors:\n    Bad exit status from /var/tmp/b (%build)\n";
        check(log, Some("%build"), FailureClass::PackageFailure, &["x.c:3:1: error: boom"]);
    }

    #[test]
    fn a_failing_check_is_a_class_of_its_own() {
        let log = "Executing(%build): a\nExecuting(%check): b\nrunning\nFAIL: test 3\nerror: Bad exit status from /v/b (%check)\n";
        check(log, Some("%check"), FailureClass::CheckFailure, &["FAIL: test 3"]);
    }

    #[test]
    fn a_full_disk_is_no_fault_of_the_package() {
        let log = "Executing(%install): a\ncp: write error: No space left on device\nerror: Bad exit status from /v/b (%install)\n";
        check(log, Some("%install"), FailureClass::NoSpace, &["cp: write error: No space left on device"]);
    }

    #[test]
    fn a_build_that_wants_the_network_is_told_so() {
        let log = "Executing(%build): a\n+ pip install x\n\
                   socket.gaierror: [Errno -3] Temporary failure in name resolution\nerror: it failed\n\
                   error: Bad exit status from /v/b (%build)\n";
        let lines = ["socket.gaierror: [Errno -3] Temporary failure in name resolution", "error: it failed"];
        check(log, Some("%build"), FailureClass::NetworkNeeded, &lines);
        // A failing test is a failing test; which one it is the verdict says all the same.
        let verdict = judge(&log.replace("%build", "%check"));
        assert_eq!(verdict.class, FailureClass::CheckFailure);
        assert_eq!(verdict.network.as_deref(), Some(lines[0]));
        // What another section said is not why this one failed.
        let verdict = judge(
            &log.replace("error: it failed", "Executing(%install): c\nerror: it failed")
                .replace("b (%build)", "c (%install)"),
        );
        assert_eq!(verdict.class, FailureClass::PackageFailure);
    }

    #[test]
    fn without_a_named_cause_the_end_is_shown() {
        let mut log = String::from("Executing(%build): a\n");
        for number in 0..40 {
            log.push_str(&format!("step {number}\n"));
        }
        let verdict = judge(&log);
        assert_eq!(verdict.lines.len(), DECISIVE_LINES);
        assert_eq!(verdict.lines.last().unwrap(), "step 39");
    }

    #[test]
    fn an_error_before_any_section_is_shown() {
        check(
            "error: Failed build dependencies:\n",
            None,
            FailureClass::PackageFailure,
            &["error: Failed build dependencies:"],
        );
    }
}
