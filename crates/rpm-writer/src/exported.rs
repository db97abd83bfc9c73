//! Reads a header in rpm's exported form: what `headerExport` gives of a header that a spec was parsed into.
//!
//! Layout: number of index entries and length of the store as two big-endian 32-bit numbers, the index
//! (tag, type, offset, count), the store. Everything is checked before it is used: the bytes come from
//! another process and may have lain on disk.
//!
//! What it is not: a reader of package files; those begin with a magic and have regions.

use crate::header::{EncodedValue, alignment_of};
use std::collections::BTreeMap;

/// What is wrong with the bytes of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderFault {
    /// The lengths at the beginning do not fit the bytes.
    #[error("its length is wrong")]
    Length,
    /// A value lies outside the store, or begins where its type cannot.
    #[error("the value of tag {tag} is out of place")]
    Place {
        /// The tag.
        tag: u32,
    },
    /// A type that no header has.
    #[error("tag {tag} has the unknown type {kind}")]
    Type {
        /// The tag.
        tag: u32,
        /// The type's number.
        kind: u32,
    },
    /// A tag stands in the index twice.
    #[error("tag {tag} is there twice")]
    Twice {
        /// The tag.
        tag: u32,
    },
}

/// One value with its place in the store resolved.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    kind: u32,
    count: u32,
    bytes: &'a [u8],
}

/// A header's values by tag.
#[derive(Debug, Clone)]
pub(crate) struct ExportedHeader<'a> {
    entries: BTreeMap<u32, Entry<'a>>,
}

const INDEX_ENTRY: usize = 16;

impl<'a> ExportedHeader<'a> {
    /// Takes the bytes apart.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, HeaderFault> {
        let word = |at: usize| {
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
            word.map(u32::from_be_bytes).ok_or(HeaderFault::Length)
        };
        let (length, store_length) = (word(0)? as usize, word(4)? as usize);
        let begin = 8 + length.checked_mul(INDEX_ENTRY).ok_or(HeaderFault::Length)?;
        let store = bytes.get(begin..).filter(|store| store.len() == store_length);
        let store = store.ok_or(HeaderFault::Length)?;
        let mut entries = BTreeMap::new();
        for number in 0..length {
            let at = 8 + number * INDEX_ENTRY;
            let (tag, kind, offset, count) = (word(at)?, word(at + 4)?, word(at + 8)?, word(at + 12)?);
            let bytes = value(store, tag, kind, offset as usize, count)?;
            if entries.insert(tag, Entry { kind, count, bytes }).is_some() {
                return Err(HeaderFault::Twice { tag });
            }
        }
        Ok(Self { entries })
    }

    /// Returns the string of a tag, as bytes.
    pub(crate) fn text(&self, tag: u32) -> Option<&'a [u8]> {
        self.texts(tag).next()
    }

    /// Returns the strings of a tag, as bytes; none where there is no such tag.
    pub(crate) fn texts(&self, tag: u32) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let entry = self.entries.get(&tag).filter(|entry| is_text(entry.kind)).copied();
        let strings = entry.map(|entry| entry.bytes.split(|byte| *byte == 0).take(entry.count as usize));
        strings.into_iter().flatten()
    }

    /// Returns the 32-bit numbers of a tag; none where there is no such tag.
    pub(crate) fn numbers(&self, tag: u32) -> impl Iterator<Item = u32> + use<'a> {
        let entry = self.entries.get(&tag).filter(|entry| entry.kind == 4).copied();
        let bytes = entry.map_or(&[][..], |entry| entry.bytes);
        bytes.chunks_exact(4).map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    /// Returns whether there is such a tag.
    pub(crate) fn contains(&self, tag: u32) -> bool {
        self.entries.contains_key(&tag)
    }

    /// Returns the first tag whose text is not UTF-8.
    pub(crate) fn foreign_text(&self) -> Option<u32> {
        let foreign = |entry: &Entry<'_>| is_text(entry.kind) && std::str::from_utf8(entry.bytes).is_err();
        self.entries.iter().find(|(_, entry)| foreign(entry)).map(|(tag, _)| *tag)
    }

    /// Returns all values as they are.
    pub(crate) fn values(&self) -> impl Iterator<Item = (u32, EncodedValue)> {
        self.entries.iter().map(|(tag, entry)| {
            let bytes = entry.bytes.to_vec();
            (*tag, EncodedValue { kind: entry.kind, count: entry.count, bytes })
        })
    }
}

fn is_text(kind: u32) -> bool {
    matches!(kind, 6 | 8 | 9)
}

/// Returns the bytes of a value, the final NUL of strings included.
fn value(store: &[u8], tag: u32, kind: u32, offset: usize, count: u32) -> Result<&[u8], HeaderFault> {
    let place = HeaderFault::Place { tag };
    let rest = store.get(offset..).ok_or(place)?;
    if count == 0 || !offset.is_multiple_of(alignment_of(kind)) {
        return Err(place);
    }
    let length = match kind {
        1 | 2 | 7 => count as usize,
        3 => 2 * count as usize,
        4 => 4 * count as usize,
        5 => 8 * count as usize,
        6 | 8 | 9 => {
            let ends = rest.iter().enumerate().filter(|(_, byte)| **byte == 0);
            // A single string has the count 1, whatever was written there.
            let last = if kind == 6 { 0 } else { count as usize - 1 };
            ends.map(|(at, _)| at + 1).nth(last).ok_or(place)?
        }
        _ => return Err(HeaderFault::Type { tag, kind }),
    };
    rest.get(..length).ok_or(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;
    use proptest::prelude::*;

    /// What `headerExport` would give of some values: an encoded header without magic and region.
    fn export(entries: &[(u32, u32, u32, &[u8])]) -> Vec<u8> {
        let (mut index, mut store) = (Vec::new(), Vec::new());
        for (tag, kind, count, bytes) in entries {
            store.resize(store.len().next_multiple_of(alignment_of(*kind)), 0);
            for number in [*tag, *kind, store.len() as u32, *count] {
                index.extend_from_slice(&number.to_be_bytes());
            }
            store.extend_from_slice(bytes);
        }
        let mut bytes = (entries.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&(store.len() as u32).to_be_bytes());
        bytes.extend(index);
        bytes.extend(store);
        bytes
    }

    #[test]
    fn values_come_out_as_they_went_in() {
        let bytes = export(&[
            (1000, 6, 1, b"name\0"),
            (1003, 4, 2, &[0, 0, 0, 7, 0, 1, 0, 0]),
            (1018, 8, 3, b"a\0\0c\0"),
            (1004, 9, 2, b"x\0\xff\0"),
        ]);
        let header = ExportedHeader::parse(&bytes).unwrap();
        assert_eq!(header.text(1000), Some(&b"name"[..]));
        assert_eq!(header.texts(1018).collect::<Vec<_>>(), [&b"a"[..], b"", b"c"]);
        assert_eq!(header.numbers(1003).collect::<Vec<_>>(), [7, 65536]);
        assert_eq!((header.text(1003), header.numbers(1000).count()), (None, 0));
        assert_eq!(header.foreign_text(), Some(1004));
        let mut again = Header::new(63);
        header.values().for_each(|(tag, value)| again.encoded(tag, value));
        let encoded = again.encode();
        assert_eq!(&encoded[16 + 5 * INDEX_ENTRY..][..5], b"name\0");
    }

    #[test]
    fn damage_is_named() {
        let good = export(&[(1000, 6, 1, b"name\0"), (1003, 4, 1, &[0, 0, 0, 7])]);
        let fault = |bytes: &[u8]| ExportedHeader::parse(bytes).unwrap_err();
        assert_eq!(fault(&good[..good.len() - 1]), HeaderFault::Length);
        assert_eq!(fault(&[]), HeaderFault::Length);
        assert_eq!(fault(&export(&[(1000, 6, 1, b"name")])), HeaderFault::Place { tag: 1000 });
        assert_eq!(fault(&export(&[(1003, 4, 2, &[0; 4])])), HeaderFault::Place { tag: 1003 });
        assert_eq!(fault(&export(&[(1003, 4, 0, &[])])), HeaderFault::Place { tag: 1003 });
        assert_eq!(fault(&export(&[(1003, 77, 1, &[0; 4])])), HeaderFault::Type { tag: 1003, kind: 77 });
        assert_eq!(fault(&export(&[(1, 1, 1, &[0]), (1, 1, 1, &[0])])), HeaderFault::Twice { tag: 1 });
    }

    proptest! {
        /// Whatever the bytes are: an answer, never a panic or an endless loop.
        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..200), entries in 0u8..6) {
            let mut bytes = bytes;
            if bytes.len() >= 8 + 16 * usize::from(entries) {
                let store = (bytes.len() - 8 - 16 * usize::from(entries)) as u32;
                bytes[..4].copy_from_slice(&[0, 0, 0, entries]);
                bytes[4..8].copy_from_slice(&store.to_be_bytes());
            }
            if let Ok(header) = ExportedHeader::parse(&bytes) {
                for (tag, _) in header.values() {
                    let _ = (header.texts(tag).count(), header.numbers(tag).count());
                }
            }
        }
    }
}
