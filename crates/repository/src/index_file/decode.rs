//! Makes a package from the tables.

use std::path::PathBuf;

use rpm_model::{Comparison, ContentDigest, Dependency, Evr, Nevra, PackageHeader, Requirement};

use super::RepositoryIndex;
use super::encode::operator;
use super::layout::field;
use crate::header::{IndexedPackage, PackageFacts};

impl RepositoryIndex {
    pub(super) fn decode(&self, number: u32) -> IndexedPackage {
        let word = |field: usize| self.word_of(number, field);
        let long = |field: usize| u64::from(word(field)) | u64::from(word(field + 1)) << 32;
        let text = |field: usize| self.text(word(field)).to_owned();
        let evr = self.evr(word(field::EPOCH), word(field::VERSION), word(field::RELEASE));
        let mut lists = Lists { index: self, next: word(field::LISTS) };
        let lengths: [u32; 6] = std::array::from_fn(|list| word(field::LENGTHS + list));
        let mut digest = [0; 32];
        for (place, bytes) in digest.chunks_exact_mut(4).enumerate() {
            bytes.copy_from_slice(&word(field::DIGEST + place).to_le_bytes());
        }
        IndexedPackage {
            header: PackageHeader {
                nevra: Nevra::new(text(field::NAME), evr, text(field::ARCH)),
                source_rpm: word(field::SOURCE).checked_sub(1).map(|source| self.text(source).to_owned()),
                provides: lists.simple(lengths[0]),
                requires: lists.requirements(lengths[1]),
                conflicts: lists.requirements(lengths[2]),
                obsoletes: lists.simple(lengths[3]),
                recommends: lists.requirements(lengths[4]),
                supplements: lists.requirements(lengths[5]),
                files: Vec::new(),
            },
            facts: PackageFacts { build_time: long(field::BUILD_TIME), ..PackageFacts::default() },
            sha256: ContentDigest::from_hash(&digest),
            size: long(field::SIZE),
            path: PathBuf::from(self.text(word(field::PATH))),
            origin: self.origin,
        }
    }

    fn evr(&self, epoch: u32, version: u32, release: u32) -> Evr {
        let release = release.checked_sub(1).map(|release| self.text(release));
        Evr::new(epoch, self.text(version), release)
    }

    fn dependency(&self, number: u32) -> Dependency {
        let word = |at: usize| self.layout.dependency_word(&self.bytes, number, at);
        let name = self.text(word(0));
        match comparison(word(1)) {
            None => Dependency::any(name),
            Some(comparison) => Dependency::versioned(name, comparison, self.evr(word(2), word(3), word(4))),
        }
    }

    fn requirement(&self, number: u32) -> Requirement {
        if self.layout.dependency_word(&self.bytes, number, 1) == operator::RICH {
            let text = self.text(self.layout.dependency_word(&self.bytes, number, 0));
            // What was written is the text of a parsed expression; should it not parse, nothing provides it.
            return text.parse().unwrap_or_else(|_| Requirement::Simple(Dependency::any(text)));
        }
        Requirement::Simple(self.dependency(number))
    }
}

/// The lists of one package, which stand one after the other.
struct Lists<'i> {
    index: &'i RepositoryIndex,
    next: u32,
}

impl Lists<'_> {
    fn numbers(&mut self, length: u32) -> impl Iterator<Item = u32> {
        let (index, start) = (self.index, self.next);
        self.next += length;
        (start..start + length).map(|at| index.layout.list_word(&index.bytes, at))
    }

    fn simple(&mut self, length: u32) -> Vec<Dependency> {
        let index = self.index;
        self.numbers(length).map(|number| index.dependency(number)).collect()
    }

    fn requirements(&mut self, length: u32) -> Vec<Requirement> {
        let index = self.index;
        self.numbers(length).map(|number| index.requirement(number)).collect()
    }
}

/// The inverse of [`super::encode::comparison_word`].
fn comparison(word: u32) -> Option<Comparison> {
    Some(match word {
        1 => Comparison::Less,
        2 => Comparison::LessOrEqual,
        3 => Comparison::Equal,
        4 => Comparison::GreaterOrEqual,
        5 => Comparison::Greater,
        6 => Comparison::Unequal,
        _ => return None,
    })
}
