//! Checks the structure of an RPM file's front part before a parser sees it.
//!
//! The `rpm` crate (0.30.2) trusts the numbers in a header: an entry that points outside the store panics,
//! a count of a billion aborts the process. Here every entry is held against the bytes that are really
//! there, so that the parser is only given what it can take. Format: rpm's `docs/manual/format_v4.md`.

use std::io::Read;

use crate::error::{BadPackage, HeaderPart};

const LEAD_BYTES: u64 = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
const INTRO_BYTES: u64 = 16;
const ENTRY_BYTES: u64 = 16;

/// rpm's own limit on index entries (`HEADER_TAGS_MAX`).
const MAXIMUM_ENTRIES: u32 = 0xffff;
/// rpm's own limit on a header's data (`HEADER_DATA_MAX`).
const MAXIMUM_STORE_BYTES: u32 = 0x0fff_ffff;

/// The lead, signature header and header of an RPM file, checked.
pub(super) struct Front {
    /// The bytes from the start of the file to the end of the header.
    pub(super) bytes: Vec<u8>,
    /// Where the signature header and its padding end and the main header begins.
    pub(super) header_start: usize,
}

impl Front {
    /// Where the main header ends and the payload begins.
    pub(super) fn end(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// Reads the front part of a file of `file_size` bytes; `Ok(Err(_))` is a file that is no good package.
pub(super) fn read_front(file: &mut impl Read, file_size: u64) -> std::io::Result<Result<Front, BadPackage>> {
    FrontReader { file, file_size, bytes: Vec::new() }.front()
}

struct FrontReader<'a, R> {
    file: &'a mut R,
    file_size: u64,
    bytes: Vec<u8>,
}

/// Returns early with an inner error, keeping I/O errors in the outer result.
macro_rules! inner {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(bad) => return Ok(Err(bad)),
        }
    };
}

impl<R: Read> FrontReader<'_, R> {
    fn front(mut self) -> std::io::Result<Result<Front, BadPackage>> {
        let magic_bytes = self.file_size.min(4);
        self.file.take(magic_bytes).read_to_end(&mut self.bytes)?;
        if self.bytes != LEAD_MAGIC {
            let found = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            return Ok(Err(BadPackage::Magic { found }));
        }
        inner!(self.extend_to(HeaderPart::Lead, LEAD_BYTES)?);
        inner!(self.header(HeaderPart::Signature)?);
        let header_start = (self.bytes.len() as u64).next_multiple_of(8);
        inner!(self.extend_to(HeaderPart::Signature, header_start)?);
        inner!(self.header(HeaderPart::Header)?);
        // Checked above: no part is longer than memory.
        let header_start = header_start as usize;
        Ok(Ok(Front { bytes: self.bytes, header_start }))
    }

    /// Reads on until `end` bytes of the file are held.
    fn extend_to(&mut self, part: HeaderPart, end: u64) -> std::io::Result<Result<(), BadPackage>> {
        let truncated = |available| BadPackage::Truncated { part, needed: end, available };
        if end > self.file_size {
            return Ok(Err(truncated(self.file_size)));
        }
        let missing = end - self.bytes.len() as u64;
        self.file.take(missing).read_to_end(&mut self.bytes)?;
        let held = self.bytes.len() as u64;
        Ok(if held < end { Err(truncated(held)) } else { Ok(()) })
    }

    fn header(&mut self, part: HeaderPart) -> std::io::Result<Result<(), BadPackage>> {
        let start = self.bytes.len();
        inner!(self.extend_to(part, start as u64 + INTRO_BYTES)?);
        let intro = &self.bytes[start..];
        if intro[..4] != HEADER_MAGIC {
            return Ok(Err(BadPackage::Damaged { part, tag: 0, problem: "is missing: wrong magic number" }));
        }
        let (entries, store_bytes) = (number(intro, 8), number(intro, 12));
        if entries > MAXIMUM_ENTRIES || store_bytes > MAXIMUM_STORE_BYTES {
            return Ok(Err(BadPackage::TooLarge { part, entries, bytes: store_bytes }));
        }
        let index_start = start as u64 + INTRO_BYTES;
        let store_start = index_start + u64::from(entries) * ENTRY_BYTES;
        inner!(self.extend_to(part, store_start + u64::from(store_bytes))?);
        let index = &self.bytes[index_start as usize..store_start as usize];
        let store = &self.bytes[store_start as usize..];
        Ok(index.chunks_exact(ENTRY_BYTES as usize).try_for_each(|entry| {
            check_entry(entry, store).map_err(|problem| BadPackage::Damaged {
                part,
                tag: number(entry, 0),
                problem,
            })
        }))
    }
}

/// Returns the big-endian number at an offset; callers pass offsets inside the slice.
fn number(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

/// Holds one index entry against the store.
fn check_entry(entry: &[u8], store: &[u8]) -> Result<(), &'static str> {
    let (kind, offset, count) = (number(entry, 4), number(entry, 8) as usize, number(entry, 12) as usize);
    let data = store.get(offset..).ok_or("points outside the store")?;
    let fixed = |size: usize| {
        let fits = count.checked_mul(size).is_some_and(|bytes| bytes <= data.len());
        if fits { Ok(()) } else { Err("is larger than the store") }
    };
    match kind {
        0 => Ok(()),
        1 | 2 | 7 => fixed(1),
        3 => fixed(2),
        4 => fixed(4),
        5 => fixed(8),
        6 if count != 1 => Err("is a text with a count other than one"),
        6 | 8 | 9 => {
            let ends = data.iter().filter(|byte| **byte == 0).take(count).count();
            if ends == count { Ok(()) } else { Err("has a text without an end") }
        }
        _ => Err("has an unknown type"),
    }
}
