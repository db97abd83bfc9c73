//! What a build log says: the section reached, why it failed, the lines that tell.
//!
//! Functions of lines only, none of which is held longer than needed: a log may be large. The forms are rpmbuild's (4.18): `Executing(%build): ...` when a section starts
//! and `error: Bad exit status from FILE (%build)` when one fails.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

use rpm_model::{FailureClass, PhaseUsage};

use crate::network::{LAST_LINES, complaint};

/// A section's name is shorter than this.
const LONGEST_NAME: usize = 64;

/// What is looked at of one line.
const LONGEST_LINE: u64 = 4096;

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

/// Returns the section that starts on this line, for example `%prep`, when it is not the `current` one.
///
/// rpmbuild announces no packaging; its first word of it is that it looks at a package's files.
pub(crate) fn phase_of_line<'a>(line: &'a [u8], current: Option<&str>) -> Option<&'a str> {
    if line.starts_with(b"Processing files: ") {
        let is_new = current.is_some_and(|phase| phase != PhaseUsage::PACKAGING);
        return is_new.then_some(PhaseUsage::PACKAGING);
    }
    let rest = line.strip_prefix(b"Executing(")?;
    let end = rest.iter().take(LONGEST_NAME).position(|byte| *byte == b')')?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// Returns what the log of a failed build says. `open` opens it from its beginning; it is read twice.
pub(crate) fn judge<R: BufRead>(open: impl Fn() -> io::Result<R>) -> io::Result<LogVerdict> {
    let (mut failed, mut reached) = (None, None);
    let (mut full_disk, mut no_memory) = (false, false);
    for_each_line(open()?, |line| {
        let phase = phase_of_line(line.as_bytes(), reached.as_deref()).map(str::to_owned);
        reached = phase.or(reached.take());
        failed = failed_section(line).map(str::to_owned).or(failed.take());
        full_disk |= line.contains("No space left on device") || line.contains("Disk quota exceeded");
        no_memory |=
            line.contains("Killed signal terminated program") || line.contains("Cannot allocate memory");
    })?;
    let phase = failed.or(reached);
    let mut telling = Telling::default();
    for_each_line(open()?, |line| telling.line(line, phase.as_deref()))?;
    let network = telling.complaint();
    let class = if full_disk {
        FailureClass::NoSpace
    } else if no_memory {
        FailureClass::OutOfMemory
    } else if phase.as_deref() == Some("%check") {
        FailureClass::CheckFailure
    } else if network.is_some() {
        FailureClass::NetworkNeeded
    } else {
        FailureClass::PackageFailure
    };
    let mut lines = telling.lines();
    if let Some(complaint) = network.as_ref().filter(|complaint| !lines.contains(complaint)) {
        lines.push(complaint.clone());
    }
    Ok(LogVerdict { lines, phase, class, network })
}

/// Calls `act` with the beginning of each line, however broken its text.
pub(crate) fn for_each_line(mut log: impl BufRead, mut act: impl FnMut(&str)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if log.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let is_whole = line.ends_with(b"\n");
        act(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        if !is_whole {
            log.skip_until(b'\n')?;
        }
    }
}

/// Returns the section named by rpmbuild's own failure line.
fn failed_section(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("Bad exit status from")?;
    let (_, rest) = rest.split_once('(')?;
    rest.split_once(')').map(|(section, _)| section)
}

/// The lines of the failed section that name a cause, and its last lines.
#[derive(Default)]
struct Telling {
    current: Option<String>,
    causes: Vec<String>,
    last: VecDeque<String>,
}

impl Telling {
    fn line(&mut self, line: &str, phase: Option<&str>) {
        if let Some(started) = phase_of_line(line.as_bytes(), self.current.as_deref()) {
            if Some(started) == phase {
                self.causes.clear();
                self.last.clear();
            }
            self.current = Some(started.to_owned());
        }
        if line.trim().is_empty() || ECHOES.iter().any(|echo| line.contains(echo)) {
            return;
        }
        // The shell's trace (`+ command`) only repeats the script. The first causes are the true ones; what
        // follows is their consequence.
        let is_cause = !line.starts_with('+') && CAUSES.iter().any(|cause| line.contains(cause));
        if is_cause && self.causes.len() < DECISIVE_LINES {
            self.causes.push(shorten(line));
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }

    /// Returns the causes; without a named cause the end tells.
    fn lines(self) -> Vec<String> {
        if !self.causes.is_empty() {
            return self.causes;
        }
        let more = self.last.len().saturating_sub(DECISIVE_LINES);
        self.last.iter().skip(more).map(|line| shorten(line)).collect()
    }

    /// Returns the line that says that the network could not be reached.
    fn complaint(&self) -> Option<String> {
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        complaint(&lines).map(shorten)
    }
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
        let verdict = judge(|| Ok(log.as_bytes())).unwrap();
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
        let judged = |log: &str| judge(|| Ok(log.as_bytes())).unwrap();
        let verdict = judged(&log.replace("%build", "%check"));
        assert_eq!(verdict.class, FailureClass::CheckFailure);
        assert_eq!(verdict.network.as_deref(), Some(lines[0]));
        // What another section said is not why this one failed.
        let verdict = judged(
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
        let verdict = judge(|| Ok(log.as_bytes())).unwrap();
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
    #[test]
    fn a_shortened_log_tells_as_much_as_a_whole_one() {
        let gap = crate::log_file::gap_line(1 << 30, 1 << 20);
        let long = "x".repeat(1 << 20);
        let log = format!(
            "Executing(%prep): a\nfine\n{long}\n{gap}\nmore\nfoo.c:1: error: boom\n\
             error: Bad exit status from /v/b (%build)\n"
        );
        check(&log, Some("%build"), FailureClass::PackageFailure, &["foo.c:1: error: boom"]);
    }
}
