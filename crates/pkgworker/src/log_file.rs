//! The log of one build: whole as far as it is small, head and tail of what is large.
//!
//! Half of the limit is the head, which is written as it comes: who reads the log of a running build sees how
//! far it is. What comes after the head goes around in a file without a name, of which the last half of the
//! limit is kept; at the end that is put behind the head, with a line between them that says what is missing.
//! So no build fills more of a disk than the limit, nor any memory, whatever it writes.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Nobody reads a log that holds less.
const SMALLEST_LIMIT: u64 = 4096;

/// Beyond this a line's end is not looked for where the tail begins.
const LONGEST_START: usize = 64 << 10;

/// The log while it is written.
pub(crate) struct LogFile {
    head: BufWriter<File>,
    head_left: u64,
    limit: u64,
    /// What came after the head; made when something did.
    tail: Option<Tail>,
    directory: std::path::PathBuf,
    total: u64,
}

/// The last bytes of what came after the head.
struct Tail {
    file: BufWriter<File>,
    /// How many it holds at most.
    size: u64,
    /// Everything that ever went through it.
    written: u64,
}

impl LogFile {
    /// Replaces the log at `path`; what it keeps is limited to about `limit` bytes.
    pub(crate) fn create(path: &Path, limit: u64) -> io::Result<Self> {
        let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
        std::fs::create_dir_all(&directory)?;
        let limit = limit.max(SMALLEST_LIMIT);
        let head =
            BufWriter::new(File::options().read(true).write(true).create(true).truncate(true).open(path)?);
        Ok(Self { head, head_left: limit.div_ceil(2), limit, tail: None, directory, total: 0 })
    }

    /// Returns how much was written, kept or not.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.total += bytes.len() as u64;
        let fits = usize::try_from(self.head_left).unwrap_or(usize::MAX).min(bytes.len());
        let (first, rest) = bytes.split_at(fits);
        self.head.write_all(first)?;
        self.head_left -= first.len() as u64;
        if rest.is_empty() {
            return Ok(());
        }
        let tail = match &mut self.tail {
            Some(tail) => tail,
            None => {
                let file = BufWriter::new(tempfile::tempfile_in(&self.directory)?);
                self.tail.insert(Tail { file, size: self.limit / 2, written: 0 })
            }
        };
        tail.write(rest)
    }

    /// Makes what was written visible to readers of the file, as far as it belongs to the head.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.head.flush()
    }

    /// Puts the tail behind the head; returns how many bytes are missing between them.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.head.flush()?;
        let Some(tail) = self.tail.take() else { return Ok(0) };
        let mut head = self.head.into_inner().map_err(io::IntoInnerError::into_error)?;
        head.seek(SeekFrom::End(0))?;
        tail.append_to(&mut head, self.limit)
    }
}

impl Tail {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let position = self.written % self.size;
            if position == 0 {
                self.file.seek(SeekFrom::Start(0))?;
            }
            let fits = usize::try_from(self.size - position).unwrap_or(usize::MAX).min(bytes.len());
            self.file.write_all(&bytes[..fits])?;
            self.written += fits as u64;
            bytes = &bytes[fits..];
        }
        Ok(())
    }

    fn append_to(self, log: &mut File, limit: u64) -> io::Result<u64> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let kept = self.written.min(self.size);
        let mut missing = self.written - kept;
        let mut ring = Ring { file, size: self.size, at: missing % self.size, left: kept };
        if missing > 0 {
            // The first line is cut somewhere; it is left out, unless it has no end.
            let mut start = vec![0; LONGEST_START];
            let length = ring.read(&mut start)?;
            let cut = start[..length].iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            missing += cut as u64;
            writeln!(log, "\n{}", gap_line(missing, limit))?;
            log.write_all(&start[cut..length])?;
        }
        io::copy(&mut ring, log)?;
        Ok(missing)
    }
}

/// Reads what a tail holds, oldest first.
struct Ring {
    file: File,
    size: u64,
    at: u64,
    left: u64,
}

impl Read for Ring {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.left.min(self.size - self.at).min(buffer.len() as u64);
        let length =
            self.file.read_at(&mut buffer[..usize::try_from(most).unwrap_or(usize::MAX)], self.at)?;
        self.at = (self.at + length as u64) % self.size;
        self.left -= length as u64;
        Ok(length)
    }
}

/// Returns the line that stands for what is missing.
pub(crate) fn gap_line(missing: u64, limit: u64) -> String {
    format!("[millwright: {missing} bytes of output are missing here; this log is limited to {limit} bytes]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limit: u64, pieces: &[Vec<u8>]) -> (Vec<u8>, u64) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/a.log");
        let mut log = LogFile::create(&path, limit).unwrap();
        for piece in pieces {
            log.write(piece).unwrap();
        }
        assert_eq!(log.total(), pieces.iter().map(|piece| piece.len() as u64).sum::<u64>());
        let missing = log.finish().unwrap();
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1, "nothing else is left");
        (std::fs::read(&path).unwrap(), missing)
    }

    fn lines(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|number| format!("line {number:06}\n").into_bytes()).collect()
    }

    #[test]
    fn a_log_within_its_limit_is_whole() {
        let all = lines(8192 / 12);
        assert_eq!(check(8192, &all), (all.concat(), 0));
        assert_eq!(check(8192, &[all.concat()]), (all.concat(), 0));
        assert_eq!(check(8192, &[]), (Vec::new(), 0));
    }

    #[test]
    fn of_a_long_log_head_and_tail_are_kept() {
        let all = lines(10_000);
        for pieces in [all.clone(), vec![all.concat()]] {
            let (log, missing) = check(8192, &pieces);
            let text = String::from_utf8(log).unwrap();
            assert!(text.len() < 8192 + 200, "{}", text.len());
            assert!(text.starts_with("line 000000\n") && text.ends_with("line 009999\n"));
            let (head, rest) = text.split_once("\n[millwright: ").unwrap();
            let (told, tail) = rest.split_once('\n').unwrap();
            assert!(told.starts_with(&format!("{missing} bytes of output are missing here; ")), "{told}");
            assert!(tail.starts_with("line 00"), "the tail begins with a line: {tail:.20}");
            assert_eq!(head.len() + tail.len() + usize::try_from(missing).unwrap(), all.concat().len());
        }
    }

    #[test]
    fn a_line_without_end_is_cut_too() {
        let (log, missing) = check(8192, &vec![vec![b'x'; 1000]; 100]);
        assert!(log.len() < 8192 + 200 && missing == 100_000 - 8192, "{} {missing}", log.len());
        assert!(log.starts_with(b"xxx") && log.ends_with(b"xxx"));
    }
}
