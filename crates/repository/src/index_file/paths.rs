//! Who owns which path: hashes of paths, sorted, each with the number of a package.

use std::path::Path;

use rayon::prelude::*;

use super::hash_of;
use crate::header::IndexedPackage;

/// Eight bytes of hash, four of package number.
const ENTRY: usize = 12;

/// Returns the table for packages in canonical order.
pub(super) fn encode(packages: &[&IndexedPackage]) -> Vec<u8> {
    let mut entries: Vec<(u64, u32)> = (0u32..)
        .zip(packages)
        .collect::<Vec<_>>()
        .into_par_iter()
        .flat_map_iter(|(number, package)| {
            package.header.files.iter().map(move |path| (hash_of(path), number))
        })
        .collect();
    entries.par_sort_unstable();
    let mut bytes = Vec::with_capacity(ENTRY * entries.len());
    for (hash, package) in entries {
        bytes.extend_from_slice(&hash.to_le_bytes());
        bytes.extend_from_slice(&package.to_le_bytes());
    }
    bytes
}

/// Returns the hash by which a table is known again.
pub(super) fn hash_of_table(bytes: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(bytes)
}

/// The table as it was read.
#[derive(Debug)]
pub(super) struct PathTable(Vec<u8>);

impl PathTable {
    /// Reads a table with this hash; `None` where it is another, or damaged.
    pub(super) fn read(file: &Path, hash: u64) -> Option<Self> {
        std::fs::read(file).ok().filter(|bytes| hash_of_table(bytes) == hash).map(Self)
    }

    /// Returns the packages that own a path, sorted.
    pub(super) fn owners(&self, path: &str) -> Vec<u32> {
        let wanted = hash_of(path);
        let (entries, _) = self.0.as_chunks::<ENTRY>();
        let first = entries.partition_point(|entry| hash(entry) < wanted);
        entries[first..].iter().take_while(|entry| hash(entry) == wanted).map(package).collect()
    }
}

fn hash(entry: &[u8; ENTRY]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *entry;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn package(entry: &[u8; ENTRY]) -> u32 {
    let [.., a, b, c, d] = *entry;
    u32::from_le_bytes([a, b, c, d])
}
