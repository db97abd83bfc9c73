//! Reads the cpio archive (SVR4 "newc") of an RPM payload, entry by entry.
//!
//! Allocates nothing that the archive's own numbers ask for beyond a file name. Knows nothing of
//! headers or file systems.

use std::io::{self, BufRead};

/// Longest file name, as the kernel has it, with the final NUL.
const MAX_NAME_BYTES: usize = 4096;
const HEADER_BYTES: usize = 110;

/// Name of the entry that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// The facts of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CpioEntry {
    /// As in the archive; not checked.
    pub(super) name: Vec<u8>,
    /// File type and permission bits.
    pub(super) mode: u32,
    /// Which names are links to one file: equal for those of a set.
    pub(super) inode: (u64, u32),
    /// How many names the file has.
    pub(super) links: u32,
    /// Bytes of content that follow.
    pub(super) size: u64,
}

/// Why an archive cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum CpioFault {
    /// Reading or decompressing failed.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// An entry of rpm's own form, without name and size, which stands for files over 4 GiB.
    #[error("stripped entry")]
    Stripped,
    /// Something that is not a cpio header.
    #[error("no cpio header where one must be, {position} bytes into the payload")]
    Malformed { position: u64 },
}

/// Reads entries and their content in turn.
pub(super) struct CpioReader<R> {
    inner: R,
    position: u64,
    /// Bytes of the current entry's content that have not been read.
    left: u64,
}

impl<R: BufRead> CpioReader<R> {
    /// Reads an archive from its beginning.
    pub(super) fn new(inner: R) -> Self {
        Self { inner, position: 0, left: 0 }
    }

    /// Returns the next entry, passing over content that was not read; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<CpioEntry>, CpioFault> {
        while self.left > 0 {
            let passed = self.content()?.len();
            self.take(passed);
        }
        self.align()?;
        let position = self.position;
        let mut header = [0; HEADER_BYTES];
        self.fill(&mut header[..6])?;
        match &header[..6] {
            b"070701" | b"070702" => {}
            b"07070X" => return Err(CpioFault::Stripped),
            _ => return Err(CpioFault::Malformed { position }),
        }
        self.fill(&mut header[6..])?;
        let field = |index: usize| {
            let digits = &header[6 + index * 8..14 + index * 8];
            let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
            text.and_then(|text| u32::from_str_radix(text, 16).ok()).ok_or(CpioFault::Malformed { position })
        };
        let name_bytes = field(11)? as usize;
        if name_bytes == 0 || name_bytes > MAX_NAME_BYTES {
            return Err(CpioFault::Malformed { position });
        }
        let entry = CpioEntry {
            mode: field(1)?,
            inode: ((u64::from(field(7)?) << 32) | u64::from(field(8)?), field(0)?),
            links: field(4)?,
            size: u64::from(field(6)?),
            name: self.name(name_bytes)?.ok_or(CpioFault::Malformed { position })?,
        };
        self.align()?;
        self.left = entry.size;
        Ok((entry.name != TRAILER).then_some(entry))
    }

    /// Returns what comes next of the current entry's content, until it is taken; empty at its end.
    pub(super) fn content(&mut self) -> Result<&[u8], CpioFault> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let buffered = self.inner.fill_buf()?;
        if buffered.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let length = buffered.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        Ok(&buffered[..length])
    }

    /// Passes over so many bytes of what [`Self::content`] returned.
    pub(super) fn take(&mut self, bytes: usize) {
        self.inner.consume(bytes);
        self.left = self.left.saturating_sub(bytes as u64);
        self.position += bytes as u64;
    }

    /// Reads some of the current entry's content; 0 at its end.
    pub(super) fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, CpioFault> {
        let content = self.content()?;
        let read = content.len().min(buffer.len());
        buffer[..read].copy_from_slice(&content[..read]);
        self.take(read);
        Ok(read)
    }

    /// Returns the name without its final NUL; `None` when there is none.
    fn name(&mut self, bytes: usize) -> Result<Option<Vec<u8>>, CpioFault> {
        let mut name = vec![0; bytes];
        self.fill(&mut name)?;
        let ends = name.pop() == Some(0);
        Ok((ends && !name.contains(&0)).then_some(name))
    }

    /// Passes over the padding to the next multiple of four.
    fn align(&mut self) -> Result<(), CpioFault> {
        let padding = (self.position.next_multiple_of(4) - self.position) as usize;
        self.fill(&mut [0; 4][..padding])
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CpioFault> {
        self.inner.read_exact(buffer)?;
        self.position += buffer.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An archive of these names and contents, written as the format's description says.
    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, (name, content)) in entries.iter().chain([&("TRAILER!!!", &b""[..])]).enumerate() {
            let fields = [number, 0o100644, 0, 0, 1, 0, content.len(), 8, 1, 0, 0, name.len() + 1, 0]
                .map(|f| format!("{f:08x}"));
            bytes.extend(format!("070701{}{name}\0", fields.concat()).bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, CpioFault> {
        let mut reader = CpioReader::new(bytes);
        let mut found = Vec::new();
        while let Some(entry) = reader.next()? {
            let mut content = Vec::new();
            let mut buffer = [0; 3];
            loop {
                match reader.read_content(&mut buffer)? {
                    0 => break,
                    read => content.extend_from_slice(&buffer[..read]),
                }
            }
            found.push((String::from_utf8_lossy(&entry.name).into_owned(), content));
        }
        Ok(found)
    }

    #[test]
    fn every_alignment_is_read() {
        let entries: Vec<(&str, &[u8])> =
            vec![("./a", b""), ("./ab", b"1"), ("./abc", b"12"), ("./abcd", b"123"), ("./abcde", b"1234")];
        let expected: Vec<(String, Vec<u8>)> =
            entries.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect();
        assert_eq!(read_all(&archive(&entries)).expect("archive"), expected);
    }

    #[test]
    fn unread_content_is_passed_over() {
        let big = vec![7; 10_001];
        let bytes = archive(&[("./big", &big), ("./after", b"x")]);
        let mut reader = CpioReader::new(&bytes[..]);
        assert_eq!(reader.next().expect("first").expect("entry").size, 10_001);
        assert_eq!(reader.next().expect("second").expect("entry").name, b"./after");
        assert!(reader.next().expect("end").is_none());
    }

    #[test]
    fn damage_is_an_error() {
        let good = archive(&[("./a", b"content")]);
        let mut stripped = good.clone();
        stripped[5] = b'X';
        assert!(matches!(read_all(&stripped), Err(CpioFault::Stripped)));
        let mut garbled = good.clone();
        garbled[0] = b'1';
        assert!(matches!(read_all(&garbled), Err(CpioFault::Malformed { position: 0 })));
        for cut in 0..good.len() - 4 {
            assert!(read_all(&good[..cut]).is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_all(&bytes);
        }

        #[test]
        fn any_flipped_byte_ends_without_panic(place in 0usize..400, value: u8) {
            let mut bytes = archive(&[("./a", b"content"), ("./usr/lib/b", b"more content")]);
            let length = bytes.len();
            bytes[place % length] = value;
            let _ = read_all(&bytes);
        }
    }
}
