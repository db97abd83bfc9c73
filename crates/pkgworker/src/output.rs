//! A build's output stream: into the log file, and watched for the sections that start.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::time::Instant;

use rpm_model::PhaseTime;

use crate::log::phase_of_line;

/// A line beyond this is passed on in pieces, so that a build without newlines cannot fill memory.
const LONGEST_LINE: u64 = 1 << 20;

/// Copies a build's output to its log until it ends; calls `on_phase` for each section that starts.
///
/// Returns how long each section took. An error of the log file ends the copying, not the reading: a build
/// must not hang on a full pipe because its log's disk is full.
pub(crate) fn follow(
    output: impl Read,
    log: File,
    on_phase: &dyn Fn(&str),
) -> (Vec<PhaseTime>, std::io::Result<()>) {
    let mut reader = BufReader::new(output);
    let mut writer = BufWriter::new(log);
    let mut phases: Vec<(String, Instant)> = Vec::new();
    let mut result = Ok(());
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if result.is_ok() {
            result = writer.write_all(&line);
        }
        if let Some(phase) = std::str::from_utf8(&line).ok().and_then(phase_of_line) {
            phases.push((phase.to_owned(), Instant::now()));
            on_phase(phase);
        }
        if result.is_ok() && reader.buffer().is_empty() {
            // Before waiting for more: who reads the log of a running build sees how far it is, and a
            // worker that is killed leaves a log that ends where the build was.
            result = writer.flush();
        }
    }
    if result.is_ok() {
        result = writer.flush();
    }
    (durations(&phases, Instant::now()), result)
}

fn durations(starts: &[(String, Instant)], end: Instant) -> Vec<PhaseTime> {
    let ends = starts.iter().skip(1).map(|(_, start)| *start).chain([end]);
    starts
        .iter()
        .zip(ends)
        .map(|((phase, start), end)| PhaseTime {
            phase: phase.clone(),
            seconds: (end - *start).as_secs_f64(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn the_log_of_a_silent_build_is_complete() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let log = file.reopen().unwrap();
        std::thread::scope(|scope| {
            let follower = scope.spawn(|| follow(reader, log, &|_| {}));
            writer.write_all(b"compiling\n").unwrap();
            // The build says nothing more and has not ended.
            while std::fs::read(file.path()).unwrap() != b"compiling\n" {
                assert!(!follower.is_finished());
                std::thread::yield_now();
            }
            drop(writer);
            follower.join().unwrap().1.unwrap();
        });
    }

    #[test]
    fn the_log_gets_everything_and_sections_are_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let seen = RefCell::new(Vec::new());
        let text = b"a\nExecuting(%prep): /bin/sh\nb\xff\nExecuting(%build): /bin/sh\nend without newline";
        let (phases, result) =
            follow(&text[..], file.reopen().unwrap(), &|phase| seen.borrow_mut().push(phase.to_owned()));
        result.unwrap();
        assert_eq!(seen.into_inner(), ["%prep", "%build"]);
        assert_eq!(phases.iter().map(|phase| phase.phase.as_str()).collect::<Vec<_>>(), ["%prep", "%build"]);
        assert_eq!(std::fs::read(file.path()).unwrap(), text);
    }
}
