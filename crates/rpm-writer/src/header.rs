//! The tagged binary structure that rpm calls a header: an index of (tag, type, offset, count) and a store.
//!
//! Used twice in a package, for the signature and for the header proper. Values are collected in a map by tag,
//! so entries come out in tag order whatever the order of the calls.

use std::collections::BTreeMap;

/// A header under construction.
pub(crate) struct Header {
    region: u32,
    entries: BTreeMap<u32, Value>,
}

enum Value {
    Int16(Vec<u16>),
    Int32(Vec<u32>),
    Text(String),
    Binary(Vec<u8>),
    Texts(Vec<String>),
    Translated(String),
    Encoded(EncodedValue),
}

/// A value in the bytes of another header's store.
pub(crate) struct EncodedValue {
    /// The type's number.
    pub(crate) kind: u32,
    /// Number of elements as the index says it.
    pub(crate) count: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Returns the multiple at which values of a type begin in the store.
pub(crate) fn alignment_of(kind: u32) -> usize {
    match kind {
        3 => 2,
        4 => 4,
        5 => 8,
        _ => 1,
    }
}

impl Value {
    fn type_number(&self) -> u32 {
        match self {
            Self::Int16(_) => 3,
            Self::Int32(_) => 4,
            Self::Text(_) => 6,
            Self::Binary(_) => 7,
            Self::Texts(_) => 8,
            Self::Translated(_) => 9,
            Self::Encoded(value) => value.kind,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Int16(values) => values.len(),
            Self::Int32(values) => values.len(),
            Self::Text(_) | Self::Translated(_) => 1,
            Self::Binary(bytes) => bytes.len(),
            Self::Texts(texts) => texts.len(),
            Self::Encoded(value) => value.count as usize,
        }
    }

    fn append_to(&self, store: &mut Vec<u8>) {
        match self {
            Self::Int16(values) => values.iter().for_each(|v| store.extend_from_slice(&v.to_be_bytes())),
            Self::Int32(values) => values.iter().for_each(|v| store.extend_from_slice(&v.to_be_bytes())),
            Self::Binary(bytes) | Self::Encoded(EncodedValue { bytes, .. }) => store.extend_from_slice(bytes),
            Self::Text(text) | Self::Translated(text) => append_text(store, text),
            Self::Texts(texts) => texts.iter().for_each(|text| append_text(store, text)),
        }
    }
}

/// Appends a NUL-terminated string; a NUL inside would shift every later string, so the text ends there.
fn append_text(store: &mut Vec<u8>, text: &str) {
    let end = text.find('\0').unwrap_or(text.len());
    store.extend_from_slice(&text.as_bytes()[..end]);
    store.push(0);
}

impl Header {
    /// Each header in a package file starts at a multiple of this many bytes.
    pub(crate) const ALIGNMENT: usize = 8;
    const INDEX_ENTRY: usize = 16;

    /// Returns an empty header whose region (the part covered by digests) has this tag.
    pub(crate) fn new(region: u32) -> Self {
        Self { region, entries: BTreeMap::new() }
    }

    pub(crate) fn text(&mut self, tag: u32, text: impl Into<String>) {
        self.entries.insert(tag, Value::Text(text.into()));
    }

    pub(crate) fn translated(&mut self, tag: u32, text: impl Into<String>) {
        self.entries.insert(tag, Value::Translated(text.into()));
    }

    /// Sets a list of strings; an empty list sets nothing, as rpm refuses entries without values.
    pub(crate) fn texts(&mut self, tag: u32, texts: Vec<String>) {
        if !texts.is_empty() {
            self.entries.insert(tag, Value::Texts(texts));
        }
    }

    pub(crate) fn int32(&mut self, tag: u32, values: Vec<u32>) {
        if !values.is_empty() {
            self.entries.insert(tag, Value::Int32(values));
        }
    }

    pub(crate) fn int16(&mut self, tag: u32, values: Vec<u16>) {
        if !values.is_empty() {
            self.entries.insert(tag, Value::Int16(values));
        }
    }

    pub(crate) fn binary(&mut self, tag: u32, bytes: Vec<u8>) {
        self.entries.insert(tag, Value::Binary(bytes));
    }

    /// Sets a value whose bytes are known.
    pub(crate) fn encoded(&mut self, tag: u32, value: EncodedValue) {
        self.entries.insert(tag, Value::Encoded(value));
    }

    /// Returns the encoded header: magic, index (region first), store (region trailer last).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let index_length = self.entries.len() + 1;
        let mut index = Vec::with_capacity(index_length * Self::INDEX_ENTRY);
        let mut store = Vec::new();
        for (tag, value) in &self.entries {
            store.resize(store.len().next_multiple_of(alignment_of(value.type_number())), 0);
            push_entry(&mut index, *tag, value.type_number(), store.len() as u32, value.count() as u32);
            value.append_to(&mut store);
        }
        const BINARY: u32 = 7;
        let mut region = Vec::with_capacity(Self::INDEX_ENTRY);
        push_entry(&mut region, self.region, BINARY, store.len() as u32, Self::INDEX_ENTRY as u32);
        // The trailer repeats the entry with the negated size of the index instead of an offset.
        let negated = 0u32.wrapping_sub((index_length * Self::INDEX_ENTRY) as u32);
        push_entry(&mut store, self.region, BINARY, negated, Self::INDEX_ENTRY as u32);

        let mut bytes = Vec::with_capacity(16 + index.len() + region.len() + store.len());
        bytes.extend_from_slice(&[0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0]);
        bytes.extend_from_slice(&(index_length as u32).to_be_bytes());
        bytes.extend_from_slice(&(store.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&region);
        bytes.extend_from_slice(&index);
        bytes.extend_from_slice(&store);
        bytes
    }
}

fn push_entry(bytes: &mut Vec<u8>, tag: u32, kind: u32, offset: u32, count: u32) {
    for number in [tag, kind, offset, count] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_entries_in_tag_order_with_alignment() {
        let mut header = Header::new(63);
        header.int32(1009, vec![7]);
        header.text(1000, "ab");
        let bytes = header.encode();
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((word(8), word(12)), (3, 4 + 4 + 16), "index length, store length");
        assert_eq!((word(16), word(24)), (63, 8), "region entry points at the trailer");
        assert_eq!((word(32), word(36), word(40), word(44)), (1000, 6, 0, 1));
        assert_eq!((word(48), word(52), word(56), word(60)), (1009, 4, 4, 1));
        assert_eq!(&bytes[64..68], b"ab\0\0");
        assert_eq!(word(68), 7);
        assert_eq!(word(72 + 8) as i32, -48, "trailer counts the region's own entry");
    }

    #[test]
    fn leaves_out_empty_lists() {
        let mut header = Header::new(63);
        header.texts(1118, Vec::new());
        header.int32(1028, Vec::new());
        assert_eq!(header.encode().len(), 16 + 16 + 16);
    }
}
