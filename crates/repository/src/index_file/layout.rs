//! Where things stand in the sealed file.
//!
//! A head of [`HEAD_WORDS`] words (the identity's digest first), then, one after the other:
//! - texts: the start of each in the block of bytes, and one more for the end; the block of bytes itself;
//! - slots: a table of twice as many places, a power of two, in which a text's number stands at its hash or
//!   after it (0 is free, else number + 1);
//! - packages in canonical order, [`PACKAGE_WORDS`] words each, see [`field`];
//! - dependencies, each distinct one once, [`DEPENDENCY_WORDS`] words each;
//! - lists: numbers of dependencies, six lists per package one after the other;
//! - names: pairs (text, first package), sorted by text;
//! - capabilities: for each text the start of its entries, and one more for the end; entries (package, place
//!   of the provide in its list);
//! - obsoletes: triples (text, package, place), sorted.

use std::ops::Range;

use rpm_model::ContentDigest;

use super::hash_of;

/// Digest (8), nine counts, the size of the path table (2) and its hash (2).
pub(super) const HEAD_WORDS: usize = 21;
pub(super) const PACKAGE_WORDS: usize = 26;
pub(super) const DEPENDENCY_WORDS: usize = 5;

/// What stands in the words of a package; texts by number, those that may be missing one higher or 0.
pub(super) mod field {
    pub(in super::super) const NAME: usize = 0;
    pub(in super::super) const EPOCH: usize = 1;
    pub(in super::super) const VERSION: usize = 2;
    pub(in super::super) const RELEASE: usize = 3;
    pub(in super::super) const ARCH: usize = 4;
    pub(in super::super) const SOURCE: usize = 5;
    pub(in super::super) const PATH: usize = 6;
    pub(in super::super) const SIZE: usize = 7;
    pub(in super::super) const DIGEST: usize = 9;
    /// Where the first list starts; the others follow.
    pub(in super::super) const LISTS: usize = 17;
    /// The lengths of provides, requires, conflicts, obsoletes, recommends, supplements.
    pub(in super::super) const LENGTHS: usize = 18;
    /// Seconds since 1970, low word first.
    pub(in super::super) const BUILD_TIME: usize = 24;
}

/// Byte offsets of the tables, from the counts in the head.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) texts: u32,
    pub(super) packages: u32,
    pub(super) path_bytes: u64,
    pub(super) path_hash: u64,
    slots: usize,
    starts: usize,
    block: usize,
    slot_table: usize,
    package_table: usize,
    dependencies: usize,
    lists: usize,
    name_count: usize,
    names: usize,
    capability_starts: usize,
    capabilities: usize,
    obsolete_count: usize,
    obsoletes: usize,
}

/// The counts of the head, in its order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) texts: u32,
    pub(super) text_bytes: u32,
    pub(super) slots: u32,
    pub(super) packages: u32,
    pub(super) dependencies: u32,
    pub(super) list_words: u32,
    pub(super) names: u32,
    pub(super) capabilities: u32,
    pub(super) obsoletes: u32,
}

impl Counts {
    pub(super) fn words(self) -> [u32; 9] {
        [
            self.texts,
            self.text_bytes,
            self.slots,
            self.packages,
            self.dependencies,
            self.list_words,
            self.names,
            self.capabilities,
            self.obsoletes,
        ]
    }
}

impl Layout {
    /// Reads the head; `None` where the file was made of something else or its tables do not fill it exactly.
    pub(super) fn read(bytes: &[u8], identity: &ContentDigest) -> Option<Self> {
        let head: Vec<u32> = (0..HEAD_WORDS).map(|word| word_at(bytes, 4 * word)).collect::<Option<_>>()?;
        if bytes.get(..32)? != identity.to_hash() {
            return None;
        }
        let [texts, text_bytes, slots, packages, dependencies, list_words, names, capabilities, obsoletes] =
            head[8..17].try_into().ok()?;
        let long = |at: usize| u64::from(head[at]) | u64::from(head[at + 1]) << 32;
        let mut end = 4 * HEAD_WORDS;
        let mut table = |bytes: usize| {
            let start = end;
            end += bytes;
            start
        };
        let words = |count: u32, each: usize| 4 * count as usize * each;
        let layout = Self {
            texts,
            packages,
            path_bytes: long(17),
            path_hash: long(19),
            slots: slots as usize,
            starts: table(words(texts, 1) + 4),
            block: table((text_bytes as usize).next_multiple_of(4)),
            slot_table: table(words(slots, 1)),
            package_table: table(words(packages, PACKAGE_WORDS)),
            dependencies: table(words(dependencies, DEPENDENCY_WORDS)),
            lists: table(words(list_words, 1)),
            name_count: names as usize,
            names: table(words(names, 2)),
            capability_starts: table(words(texts, 1) + 4),
            capabilities: table(words(capabilities, 2)),
            obsolete_count: obsoletes as usize,
            obsoletes: table(words(obsoletes, 3)),
        };
        (end == bytes.len() && slots.is_power_of_two()).then_some(layout)
    }

    /// Returns a text; the writer wrote only whole UTF-8.
    pub(super) fn text<'b>(&self, bytes: &'b [u8], number: u32) -> &'b str {
        let at = self.starts + 4 * number as usize;
        let range = self.block + word(bytes, at) as usize..self.block + word(bytes, at + 4) as usize;
        std::str::from_utf8(&bytes[range]).unwrap_or_default()
    }

    /// Returns the number of a text.
    pub(super) fn find(&self, bytes: &[u8], text: &str) -> Option<u32> {
        let mask = self.slots - 1;
        let mut slot = hash_of(text) as usize & mask;
        loop {
            let number = word(bytes, self.slot_table + 4 * slot).checked_sub(1)?;
            if self.text(bytes, number) == text {
                return Some(number);
            }
            slot = (slot + 1) & mask;
        }
    }

    pub(super) fn package_word(&self, bytes: &[u8], at: usize) -> u32 {
        word(bytes, self.package_table + 4 * at)
    }

    pub(super) fn dependency_word(&self, bytes: &[u8], dependency: u32, at: usize) -> u32 {
        word(bytes, self.dependencies + 4 * (dependency as usize * DEPENDENCY_WORDS + at))
    }

    pub(super) fn list_word(&self, bytes: &[u8], at: u32) -> u32 {
        word(bytes, self.lists + 4 * at as usize)
    }

    /// Returns the packages whose name is a text.
    pub(super) fn name_range(&self, bytes: &[u8], text: u32) -> Option<Range<u32>> {
        let entry = |at: usize| word(bytes, self.names + 8 * at);
        let at = lower_bound(self.name_count, |at| entry(at) < text);
        if at == self.name_count || entry(at) != text {
            return None;
        }
        let first = word(bytes, self.names + 8 * at + 4);
        // The packages of a name are neighbours, so they end where the text of the name changes.
        let same =
            |package: &u32| self.package_word(bytes, *package as usize * PACKAGE_WORDS + field::NAME) == text;
        let count = (first..self.packages).take_while(same).count() as u32;
        Some(first..first + count)
    }

    pub(super) fn capability_range(&self, bytes: &[u8], text: u32) -> Range<u32> {
        let at = self.capability_starts + 4 * text as usize;
        word(bytes, at)..word(bytes, at + 4)
    }

    pub(super) fn capability_entry(&self, bytes: &[u8], entry: u32) -> (u32, u32) {
        let at = self.capabilities + 8 * entry as usize;
        (word(bytes, at), word(bytes, at + 4))
    }

    pub(super) fn obsolete_range(&self, bytes: &[u8], text: u32) -> Range<u32> {
        let entry = |at: usize| word(bytes, self.obsoletes + 12 * at);
        let first = lower_bound(self.obsolete_count, |at| entry(at) < text);
        let count = (first..self.obsolete_count).take_while(|at| entry(*at) == text).count();
        first as u32..(first + count) as u32
    }

    pub(super) fn obsolete_entry(&self, bytes: &[u8], entry: u32) -> (u32, u32) {
        let at = self.obsoletes + 12 * entry as usize;
        (word(bytes, at + 4), word(bytes, at + 8))
    }
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    word.try_into().ok().map(u32::from_le_bytes)
}

/// Reads a word of a table; the file is sealed, so its numbers lead nowhere else.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Returns the first of `count` places for which `less` does not hold.
fn lower_bound(count: usize, less: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = (low + high) / 2;
        if less(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
