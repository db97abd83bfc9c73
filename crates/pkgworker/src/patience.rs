//! A build's output read in portions instead of line by line.
//!
//! Shells and compilers write many short lines. Who wakes up for each of them pays more for waking up than for
//! reading, and makes the build wait for the processor. So after a short read this waits a moment for more, unless
//! the build has ended.

use std::io::{self, PipeReader, Read};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A read of at least so many bytes is followed by the next at once: the pipe must not fill up.
const LARGE: usize = 4096;

/// How long more is waited for. Nobody who watches a log notices; times and counts of sections are as exact.
const MOMENT: Duration = Duration::from_millis(8);

/// Whoever says nothing for so long is silent.
pub(crate) const SILENCE: Duration = Duration::from_millis(100);

/// Something that is read and may have nothing to say for a while.
pub(crate) trait Output: Read {
    /// Returns whether nothing more comes soon; waits for a moment to find out.
    fn is_silent(&mut self) -> bool;
}

/// A pipe that is read in portions.
pub(crate) struct Patient<F> {
    pipe: PipeReader,
    last: usize,
    /// Whether more has been waited for since the last read.
    has_paused: bool,
    /// What is to be done when reading has not come to its end until then.
    later: Option<(Instant, F)>,
}

impl<F: FnOnce()> Patient<F> {
    /// Reads `pipe`; calls `act` once when that takes longer than `soon`.
    pub(crate) fn new(pipe: PipeReader, soon: Duration, act: F) -> Self {
        let later = Instant::now().checked_add(soon).map(|then| (then, act));
        Self { pipe, last: LARGE, has_paused: false, later }
    }

    /// Waits for more to come, after a short read.
    fn pause(&mut self) {
        if self.last < LARGE && !self.has_paused {
            // Asked for no event, it reports only that all writers are gone.
            self.wait(PollFlags::empty(), MOMENT);
        }
        self.has_paused = true;
    }

    /// Acts when it is time; otherwise waits until it is, or until there is something to read.
    fn act_or_wait(&mut self) {
        while let Some((then, act)) = self.later.take() {
            let left = then.saturating_duration_since(Instant::now());
            if left.is_zero() {
                act();
                return;
            }
            self.later = Some((then, act));
            if self.wait(PollFlags::IN, left) {
                return;
            }
        }
    }

    /// Returns whether there are such events, or the end of all writers, within some time.
    fn wait(&self, events: PollFlags, at_most: Duration) -> bool {
        let at_most = Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(at_most.subsec_nanos()),
        };
        // What ends it early, a signal for example, is no event: whoever waits for one asks again.
        poll(&mut [PollFd::new(&self.pipe, events)], Some(&at_most)).is_ok_and(|ready| ready > 0)
    }
}

impl<F: FnOnce()> Read for Patient<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pause();
        self.act_or_wait();
        self.last = self.pipe.read(buffer)?;
        self.has_paused = false;
        Ok(self.last)
    }
}

impl<F: FnOnce()> Output for Patient<F> {
    fn is_silent(&mut self) -> bool {
        self.pause();
        !self.wait(PollFlags::IN, SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn everything_comes_through_and_the_end_too() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut acted = false;
        let mut reader = Patient::new(reader, Duration::ZERO, || acted = true);
        let mut buffer = [0; 16];
        writer.write_all(b"one").unwrap();
        assert_eq!(reader.read(&mut buffer).unwrap(), 3);
        // The second read waits a moment, and for what comes in it.
        let writing = std::thread::spawn(move || writer.write_all(b"two").unwrap());
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"two");
        writing.join().unwrap();
        drop(reader);
        assert!(acted);
    }

    #[test]
    fn what_is_to_be_done_later_is_done_while_nothing_comes() {
        let (reader, writer) = io::pipe().unwrap();
        // Nothing is written and nobody closes the pipe until it is done.
        let mut reader = Patient::new(reader, Duration::from_millis(1), move || drop(writer));
        assert_eq!(reader.read(&mut [0; 16]).unwrap(), 0);
    }

    #[test]
    fn silence_is_neither_more_to_read_nor_the_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut reader = Patient::new(reader, Duration::from_secs(3600), || panic!("it is not time"));
        assert!(reader.is_silent());
        writer.write_all(b"x").unwrap();
        assert!(!reader.is_silent());
        assert_eq!(reader.read(&mut [0; 16]).unwrap(), 1);
        drop(writer);
        assert!(!reader.is_silent());
    }

    #[test]
    fn a_short_run_never_acts() {
        let (reader, writer) = io::pipe().unwrap();
        drop(writer);
        let mut reader = Patient::new(reader, Duration::from_secs(3600), || panic!("it is not time"));
        assert_eq!(reader.read(&mut [0; 16]).unwrap(), 0);
    }
}
