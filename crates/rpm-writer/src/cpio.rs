//! The cpio "newc" stream inside a payload; writing only.

use std::io::{self, Write};

/// The numbers of one cpio record that rpm or `cpio` look at.
pub(crate) struct Record<'a> {
    pub(crate) path: &'a str,
    pub(crate) inode: u32,
    pub(crate) mode: u16,
    pub(crate) links: u32,
    pub(crate) mtime: u32,
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
        let name_length = record.path.len() + 1;
        let mut head = String::with_capacity(110 + name_length + 3);
        head.push_str("070701");
        // inode, mode, uid, gid, links, mtime, size, device major/minor, rdev major/minor, name length, checksum
        let numbers = [
            record.inode,
            u32::from(record.mode),
            0,
            0,
            record.links,
            record.mtime,
            content.len() as u32,
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
        self.pad()?;
        self.put(content)?;
        self.pad()
    }

    /// Writes the trailer and returns the underlying writer and the number of bytes written.
    pub(crate) fn finish(mut self) -> io::Result<(W, u64)> {
        self.record(&Record { path: "TRAILER!!!", inode: 0, mode: 0, links: 1, mtime: 0 }, &[])?;
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
