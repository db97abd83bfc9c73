//! Bounds of an RPM file's headers, checked before the parser sees them.
//!
//! The `rpm` crate trusts counts and offsets: a wrong one panics or asks for 30 GB of memory, which
//! ends the process. So every entry of both headers is checked here to lie inside its header. This
//! decides only that parsing is safe; what the entries mean is the parser's business.

use std::io::{self, Read};

/// Magic of the lead, the 96 bytes at the start.
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
const LEAD_BYTES: usize = 96;

/// Magic and version of a header.
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
const INTRO_BYTES: usize = 16;
const ENTRY_BYTES: usize = 16;

/// Limits that rpm itself sets (`header.c`): 65,535 tags, 256 MiB of data.
const MAX_ENTRIES: usize = 0xffff;
const MAX_DATA_BYTES: usize = 256 << 20;

/// Why the beginning of a file is not that of an RPM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// The file does not begin as RPM files do.
    #[error("not an RPM file")]
    NotAnRpm,
    /// A header does not begin as headers do.
    #[error("the {which} does not begin with the header magic")]
    Magic {
        /// Signature header or main header.
        which: &'static str,
    },
    /// A header claims to be larger than any header is.
    #[error("the {which} claims {entries} entries and {bytes} bytes")]
    TooLarge {
        /// Signature header or main header.
        which: &'static str,
        /// Claimed number of entries.
        entries: usize,
        /// Claimed size of the data.
        bytes: usize,
    },
    /// An entry points outside its header.
    #[error("entry {tag} of the {which} lies outside the header")]
    OutOfBounds {
        /// Signature header or main header.
        which: &'static str,
        /// Tag number.
        tag: u32,
    },
}

/// What comes before the payload.
#[derive(Debug)]
pub(super) struct HeaderBytes {
    /// Lead, signature header, padding and main header.
    pub(super) bytes: Vec<u8>,
    /// Where the main header begins; it reaches to the end.
    pub(super) main: usize,
}

/// Reads lead, signature header and main header and checks their bounds; the reader is then at the
/// beginning of the payload.
pub(super) fn read_headers(reader: &mut impl Read) -> io::Result<Result<HeaderBytes, HeaderFault>> {
    let mut bytes = vec![0; LEAD_BYTES];
    reader.read_exact(&mut bytes)?;
    if !bytes.starts_with(&LEAD_MAGIC) {
        return Ok(Err(HeaderFault::NotAnRpm));
    }
    let signature = match read_header(reader, &mut bytes, "signature header")? {
        Ok(size) => size,
        Err(fault) => return Ok(Err(fault)),
    };
    // Only the signature header is padded, to eight bytes.
    let padding = signature.next_multiple_of(8) - signature;
    extend(reader, &mut bytes, padding)?;
    let main = bytes.len();
    Ok(read_header(reader, &mut bytes, "main header")?.map(|_| HeaderBytes { bytes, main }))
}

/// Appends one header to `bytes`; returns the size of its data.
fn read_header(
    reader: &mut impl Read,
    bytes: &mut Vec<u8>,
    which: &'static str,
) -> io::Result<Result<usize, HeaderFault>> {
    let start = bytes.len();
    extend(reader, bytes, INTRO_BYTES)?;
    let intro = &bytes[start..];
    if !intro.starts_with(&HEADER_MAGIC) {
        return Ok(Err(HeaderFault::Magic { which }));
    }
    let (entries, size) = (number(intro, 8) as usize, number(intro, 12) as usize);
    if entries > MAX_ENTRIES || size > MAX_DATA_BYTES {
        return Ok(Err(HeaderFault::TooLarge { which, entries, bytes: size }));
    }
    extend(reader, bytes, entries * ENTRY_BYTES + size)?;
    let table = &bytes[start + INTRO_BYTES..start + INTRO_BYTES + entries * ENTRY_BYTES];
    let outside = table.chunks_exact(ENTRY_BYTES).find(|entry| !lies_inside(entry, size));
    Ok(match outside {
        Some(entry) => Err(HeaderFault::OutOfBounds { which, tag: number(entry, 0) }),
        None => Ok(size),
    })
}

/// Whether an index entry's values can all lie within `size` bytes of data.
fn lies_inside(entry: &[u8], size: usize) -> bool {
    let (kind, offset, count) = (number(entry, 4), number(entry, 8) as usize, number(entry, 12) as usize);
    let least_bytes = match kind {
        0 => 0,
        3 => 2,
        4 => 4,
        5 => 8,
        // Characters, bytes, and strings, which have at least their final NUL.
        1 | 2 | 6..=9 => 1,
        _ => return false,
    };
    // A single string has the count 1; only then is it one value.
    offset <= size
        && count.checked_mul(least_bytes).is_some_and(|bytes| bytes <= size - offset)
        && (kind != 6 || count == 1)
}

/// Appends `count` bytes, taking memory only as they come.
fn extend(reader: &mut impl Read, bytes: &mut Vec<u8>, count: usize) -> io::Result<()> {
    let read = reader.by_ref().take(count as u64).read_to_end(bytes)?;
    if read == count { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads a big-endian number; the caller guarantees that it is there.
fn number(bytes: &[u8], offset: usize) -> u32 {
    bytes[offset..offset + 4].iter().fold(0, |value, &byte| value << 8 | u32::from(byte))
}
