//! A build's output read in portions instead of line by line.
//!
//! Shells and compilers write many short lines. Who wakes up for each of them pays more for waking up than for
//! reading, and makes the build wait for the processor. So after a short read this waits a moment for more, unless
//! the build has ended.

use std::io::{self, PipeReader, Read};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A read of at least so many bytes is followed by the next at once: the pipe must not fill up.
const LARGE: usize = 4096;

/// How long more is waited for. Nobody who watches a log notices.
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 4_000_000 };

/// A pipe that is read in portions.
pub(crate) struct Patient {
    pipe: PipeReader,
    last: usize,
}

impl Patient {
    pub(crate) fn new(pipe: PipeReader) -> Self {
        Self { pipe, last: LARGE }
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.last < LARGE {
            // Asked for no event, it reports only that all writers are gone.
            let mut pipe = [PollFd::new(&self.pipe, PollFlags::empty())];
            // Whatever ends it early, the next read waits for what there is.
            let _ = poll(&mut pipe, Some(&MOMENT));
        }
        self.last = self.pipe.read(buffer)?;
        Ok(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn everything_comes_through_and_the_end_too() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut reader = Patient::new(reader);
        let mut buffer = [0; 16];
        writer.write_all(b"one").unwrap();
        assert_eq!(reader.read(&mut buffer).unwrap(), 3);
        // The second read waits a moment, and for what comes in it.
        let writing = std::thread::spawn(move || writer.write_all(b"two").unwrap());
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"two");
        writing.join().unwrap();
    }
}
