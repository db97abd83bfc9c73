//! The cpio "newc" stream inside a payload; writing only.

use std::io::{self, Read, Write};

/// Bytes of a file that are in memory at once; large enough that system calls do not show.
const PIECE: usize = 256 * 1024;

/// The numbers of one cpio record that rpm or `cpio` look at.
pub(crate) struct Record<'a> {
    pub(crate) path: &'a str,
    pub(crate) inode: u32,
    pub(crate) mode: u16,
    pub(crate) links: u32,
    pub(crate) mtime: u32,
}

/// Which side of a copy failed.
#[derive(Debug)]
pub(crate) enum StreamError {
    Read(io::Error),
    Write(io::Error),
}

/// Size of a record's numbers in hexadecimal.
const HEAD: u64 = 110;
const TRAILER: &str = "TRAILER!!!";
/// Size of what ends an archive.
pub(crate) const TRAILER_SIZE: u64 = (HEAD + TRAILER.len() as u64 + 1).next_multiple_of(4);

/// Returns the size of a record with its content and padding.
pub(crate) fn record_size(path: &str, size: u32) -> u64 {
    (HEAD + path.len() as u64 + 1).next_multiple_of(4) + u64::from(size).next_multiple_of(4)
}

/// A stream of cpio records that counts what it has written.
pub(crate) struct Writer<W> {
    inner: W,
    written: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, written: 0 }
    }

    /// Writes one record and its content.
    pub(crate) fn record(&mut self, record: &Record<'_>, content: &[u8]) -> io::Result<()> {
        self.begin(record, content.len() as u32)?;
        self.put(content)?;
        self.pad()
    }

    /// Writes one record with `size` bytes of content that is read in pieces; `seen` gets each of them.
    ///
    /// Returns how many bytes there were: at most one more than `size`, after which the archive is of no use.
    pub(crate) fn stream(
        &mut self,
        record: &Record<'_>,
        size: u32,
        content: &mut impl Read,
        mut seen: impl FnMut(&[u8]),
    ) -> Result<u64, StreamError> {
        self.begin(record, size).map_err(StreamError::Write)?;
        let mut content = content.take(u64::from(size) + 1);
        let mut buffer = vec![0; PIECE.min(size as usize + 1)];
        let mut total = 0;
        loop {
            let length = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StreamError::Read(error)),
            };
            seen(&buffer[..length]);
            self.put(&buffer[..length]).map_err(StreamError::Write)?;
            total += length as u64;
        }
        self.pad().map_err(StreamError::Write)?;
        Ok(total)
    }

    fn begin(&mut self, record: &Record<'_>, size: u32) -> io::Result<()> {
        let name_length = record.path.len() + 1;
        let mut head = String::with_capacity(HEAD as usize + name_length);
        head.push_str("070701");
        // inode, mode, uid, gid, links, mtime, size, device major/minor, rdev major/minor, name length, checksum
        let numbers = [
            record.inode,
            u32::from(record.mode),
            0,
            0,
            record.links,
            record.mtime,
            size,
            0,
            0,
            0,
            0,
            name_length as u32,
            0,
        ];
        for number in numbers {
            head.push_str(&format!("{number:08x}"));
        }
        head.push_str(record.path);
        head.push('\0');
        self.put(head.as_bytes())?;
        self.pad()
    }

    /// Writes the trailer and returns the underlying writer and the number of bytes written.
    pub(crate) fn finish(mut self) -> io::Result<(W, u64)> {
        self.record(&Record { path: TRAILER, inode: 0, mode: 0, links: 1, mtime: 0 }, &[])?;
        Ok((self.inner, self.written))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self) -> io::Result<()> {
        let missing = (4 - self.written % 4) % 4;
        self.put(&[0; 3][..missing as usize])
    }
}
