//! A build's output stream: into the log file, and watched for the sections that start.

use std::io::{BufRead, BufReader, Read};
use std::time::Instant;

use buildroot::Probe;
use rpm_model::PhaseUsage;

use crate::check::CheckLog;
use crate::log::phase_of_line;
use crate::log_file::LogFile;
use crate::patience::{Output, SILENCE};

/// A line beyond this is passed on in pieces, so that a build without newlines cannot fill memory.
const LONGEST_LINE: u64 = 1 << 20;

/// How much is read at once, in bytes. Small builds say less; a buffer is filled with zeroes before it is used.
const PORTION: usize = 16 << 10;

/// More sections than these are not told apart: a build that writes such lines itself fills no memory.
const MOST_PHASES: usize = 1_000;

/// A section that was seen to start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PhaseStart {
    /// Its name, for example `%build`.
    pub(crate) phase: String,
    /// When its first line came.
    pub(crate) at: Instant,
    /// What the run had used then; `None` when it had ended already.
    pub(crate) probe: Option<Probe>,
}

/// What whoever follows a build wants to be told and asked.
pub(crate) struct Follower<'a> {
    /// Called with each section that starts.
    pub(crate) on_phase: &'a dyn Fn(&str),
    /// Asks what the run has used so far.
    pub(crate) probe: &'a dyn Fn() -> Option<Probe>,
    /// Output in bytes, that of earlier runs included, beyond which the run is ended.
    pub(crate) flood: u64,
    /// Ends the run.
    pub(crate) kill: &'a dyn Fn(),
}

/// What the output showed.
pub(crate) struct Followed {
    /// The sections in order.
    pub(crate) phases: Vec<PhaseStart>,
    /// What `%check` said.
    pub(crate) check: CheckLog,
    /// Whether the run was ended because it wrote too much.
    pub(crate) flooded: bool,
    /// Whether the log could be written.
    pub(crate) written: std::io::Result<()>,
}

/// Copies a build's output to its log until it ends.
///
/// An error of the log file ends the copying, not the reading: a build must not hang on a full pipe because
/// its log's disk is full.
pub(crate) fn follow(output: impl Output, log: &mut LogFile, follower: &Follower<'_>) -> Followed {
    let mut reader = BufReader::with_capacity(PORTION, output);
    let mut seen =
        Followed { phases: Vec::new(), check: CheckLog::default(), flooded: false, written: Ok(()) };
    let (mut line, mut is_line_start) = (Vec::new(), true);
    let mut shown = Instant::now();
    let mut total = log.total();
    loop {
        line.clear();
        match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        total = total.saturating_add(line.len() as u64);
        if seen.written.is_ok() {
            seen.written = log.write(&line);
        }
        if is_line_start {
            seen.look_at(&line, follower);
        }
        is_line_start = line.ends_with(b"\n");
        if total > follower.flood && !seen.flooded {
            seen.flooded = true;
            (follower.kill)();
        }
        if seen.written.is_ok()
            && reader.buffer().is_empty()
            && (shown.elapsed() >= SILENCE || reader.get_mut().is_silent())
        {
            // Before waiting for more: who reads the log of a running build sees how far it is, and a
            // worker that is killed leaves a log that ends about where the build was. Not for each line: a
            // write costs more than what is written.
            seen.written = log.flush();
            shown = Instant::now();
        }
    }
    seen
}

impl Followed {
    fn look_at(&mut self, line: &[u8], follower: &Follower<'_>) {
        let current = self.phases.last().map(|start| start.phase.as_str());
        let Some(phase) = phase_of_line(line, current) else {
            if current == Some("%check") {
                self.check.line(line);
            }
            return;
        };
        let phase = usage_phase(phase);
        let is_new = phase != PhaseUsage::PACKAGING || current != Some(phase);
        if is_new && self.phases.len() < MOST_PHASES {
            let (phase, at) = (phase.to_owned(), Instant::now());
            (follower.on_phase)(&phase);
            self.phases.push(PhaseStart { phase, at, probe: (follower.probe)() });
        }
    }
}

/// Returns where the use of a section counts: documentation and licences are copied by scripts of their own while
/// packages are made.
fn usage_phase(section: &str) -> &str {
    if matches!(section, "%doc" | "%license") { PhaseUsage::PACKAGING } else { section }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::io::Write;
    use std::path::Path;

    impl Output for &[u8] {
        fn is_silent(&mut self) -> bool {
            false
        }
    }

    impl Output for std::io::PipeReader {
        fn is_silent(&mut self) -> bool {
            true
        }
    }

    fn quiet<'a>() -> Follower<'a> {
        Follower { on_phase: &|_| {}, probe: &|| None, flood: u64::MAX, kill: &|| {} }
    }

    #[test]
    fn the_log_of_a_silent_build_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = LogFile::create(&path, 1 << 20).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::thread::scope(|scope| {
            let follower = scope.spawn(move || follow(reader, &mut log, &quiet()).written);
            writer.write_all(b"compiling\n").unwrap();
            // The build says nothing more and has not ended.
            while std::fs::read(&path).unwrap() != b"compiling\n" {
                assert!(!follower.is_finished());
                std::thread::yield_now();
            }
            drop(writer);
            follower.join().unwrap().unwrap();
        });
    }

    #[test]
    fn the_log_gets_everything_and_sections_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = LogFile::create(&path, 1 << 20).unwrap();
        let seen = RefCell::new(Vec::new());
        let text = b"Processing files: too early\nExecuting(%prep): /bin/sh\nb\xff\nExecuting(%build): /bin/sh\n\
                     Executing(%install): /bin/sh\nProcessing files: zlib-1-1.x86_64\nProcessing files: a-1-1.x86_64\n\
                     Executing(%doc): /bin/sh\nExecuting(%license): /bin/sh\nend without newline";
        let probes = Cell::new(0);
        let followed = follow(
            &text[..],
            &mut log,
            &Follower {
                on_phase: &|phase| seen.borrow_mut().push(phase.to_owned()),
                probe: &|| {
                    probes.set(probes.get() + 1);
                    None
                },
                ..quiet()
            },
        );
        followed.written.unwrap();
        log.finish().unwrap();
        let expected = ["%prep", "%build", "%install", "packaging"];
        assert_eq!(seen.into_inner(), expected);
        assert_eq!(followed.phases.iter().map(|start| start.phase.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(probes.get(), 4);
        assert_eq!(std::fs::read(path).unwrap(), text);
    }

    #[test]
    fn floods_end_the_run_once_and_fake_sections_fill_no_memory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = LogFile::create(&path, 8192).unwrap();
        let kills = Cell::new(0);
        let follower = Follower { flood: 100_000, kill: &|| kills.set(kills.get() + 1), ..quiet() };
        let text = "Executing(%x): y\n".repeat(20_000);
        let followed = follow(text.as_bytes(), &mut log, &follower);
        assert!(followed.flooded && kills.get() == 1);
        assert_eq!(followed.phases.len(), MOST_PHASES);
        // Nor does it go on for ever when its log cannot be written.
        let mut full = LogFile::create(Path::new("/dev/full"), 1 << 20).unwrap();
        let followed = follow(text.as_bytes(), &mut full, &follower);
        assert!(followed.flooded && followed.written.is_err());
        assert_eq!(kills.get(), 2);
        // One line of many pieces is no line start again and again.
        let text = "Executing(%".repeat(1 << 18);
        let followed = follow(text.as_bytes(), &mut log, &quiet());
        assert!(followed.phases.is_empty());
        assert!(log.finish().unwrap() > 0);
    }
}
