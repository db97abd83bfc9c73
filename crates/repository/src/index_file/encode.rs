//! Makes the tables of an index from packages.

use std::collections::HashMap;

use rpm_model::{Comparison, ContentDigest, Dependency, Evr, Requirement};

use super::layout::{Counts, PACKAGE_WORDS};
use super::{hash_of, paths};
use crate::header::IndexedPackage;

/// What a dependency's second word says besides a comparison.
pub(super) mod operator {
    pub(in super::super) const ANY: u32 = 0;
    /// The first word is the whole text of a boolean expression.
    pub(in super::super) const RICH: u32 = u32::MAX;
}

/// Returns the sealed part for packages in canonical order.
pub(super) fn encode(packages: &[&IndexedPackage], identity: &ContentDigest, paths: &[u8]) -> Vec<u8> {
    let mut tables = Tables::default();
    for (number, package) in (0u32..).zip(packages) {
        tables.add(number, package);
    }
    tables.finish(identity, paths)
}

#[derive(Default)]
struct Tables {
    texts: Texts,
    packages: Vec<u32>,
    dependencies: Vec<[u32; 5]>,
    known: HashMap<[u32; 5], u32>,
    lists: Vec<u32>,
    /// (text, first package), by package.
    names: Vec<(u32, u32)>,
    /// (text, package, place).
    capabilities: Vec<(u32, u32, u32)>,
    obsoletes: Vec<(u32, u32, u32)>,
}

impl Tables {
    fn add(&mut self, number: u32, package: &IndexedPackage) {
        let header = &package.header;
        let [epoch, version, release] = self.evr(&header.nevra.evr);
        let name = self.texts.number(&header.nevra.name);
        if self.names.last().is_none_or(|(last, _)| *last != name) {
            self.names.push((name, number));
        }
        let digest = package.sha256.to_hash();
        let digest =
            digest.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        let mut words = vec![
            name,
            epoch,
            version,
            release,
            self.texts.number(&header.nevra.arch),
            header.source_rpm.as_ref().map_or(0, |source| self.texts.number(source) + 1),
            self.texts.number(&package.path.to_string_lossy()),
            package.size as u32,
            (package.size >> 32) as u32,
        ];
        words.extend(digest);
        words.push(self.lists.len() as u32);
        for (list, index) in [(&header.provides, 0), (&header.obsoletes, 3)] {
            for (place, dependency) in (0u32..).zip(list) {
                let entry = (self.texts.number(&dependency.name), number, place);
                if index == 0 { self.capabilities.push(entry) } else { self.obsoletes.push(entry) }
            }
        }
        let lengths = [
            self.simple_list(&header.provides),
            self.list(&header.requires),
            self.list(&header.conflicts),
            self.simple_list(&header.obsoletes),
            self.list(&header.recommends),
            self.list(&header.supplements),
        ];
        words.extend(lengths);
        words.extend([package.facts.build_time as u32, (package.facts.build_time >> 32) as u32]);
        self.packages.extend(words);
    }

    fn simple_list(&mut self, list: &[Dependency]) -> u32 {
        for dependency in list {
            let words = self.simple(dependency);
            self.push(words);
        }
        list.len() as u32
    }

    fn list(&mut self, list: &[Requirement]) -> u32 {
        for requirement in list {
            let words = match requirement {
                Requirement::Simple(dependency) => self.simple(dependency),
                Requirement::Rich(_) => {
                    [self.texts.number(&requirement.to_string()), operator::RICH, 0, 0, 0]
                }
            };
            self.push(words);
        }
        list.len() as u32
    }

    fn push(&mut self, words: [u32; 5]) {
        let dependencies = &mut self.dependencies;
        let number = *self.known.entry(words).or_insert_with(|| {
            dependencies.push(words);
            dependencies.len() as u32 - 1
        });
        self.lists.push(number);
    }

    fn simple(&mut self, dependency: &Dependency) -> [u32; 5] {
        let name = self.texts.number(&dependency.name);
        match &dependency.constraint {
            None => [name, operator::ANY, 0, 0, 0],
            Some(constraint) => {
                let [epoch, version, release] = self.evr(&constraint.evr);
                [name, comparison_word(constraint.comparison), epoch, version, release]
            }
        }
    }

    fn evr(&mut self, evr: &Evr) -> [u32; 3] {
        let release = evr.release.as_ref().map_or(0, |release| self.texts.number(release) + 1);
        [evr.epoch, self.texts.number(&evr.version), release]
    }

    fn finish(mut self, identity: &ContentDigest, paths: &[u8]) -> Vec<u8> {
        self.names.sort_unstable();
        self.capabilities.sort_unstable();
        self.obsoletes.sort_unstable();
        let texts = self.texts.list.len();
        let slots = self.texts.slots();
        let counts = Counts {
            texts: texts as u32,
            text_bytes: self.texts.bytes as u32,
            slots: slots.len() as u32,
            packages: (self.packages.len() / PACKAGE_WORDS) as u32,
            dependencies: self.dependencies.len() as u32,
            list_words: self.lists.len() as u32,
            names: self.names.len() as u32,
            capabilities: self.capabilities.len() as u32,
            obsoletes: self.obsoletes.len() as u32,
        };
        let mut out = Writer(identity.to_hash().to_vec());
        out.words(counts.words());
        for long in [paths.len() as u64, paths::hash_of_table(paths)] {
            out.words([long as u32, (long >> 32) as u32]);
        }
        let mut start = 0;
        for text in &self.texts.list {
            out.words([start]);
            start += text.len() as u32;
        }
        out.words([start]);
        self.texts.list.iter().for_each(|text| out.0.extend_from_slice(text.as_bytes()));
        out.0.resize(out.0.len().next_multiple_of(4), 0);
        out.words(slots);
        out.words(self.packages);
        out.words(self.dependencies.into_iter().flatten());
        out.words(self.lists);
        out.words(self.names.into_iter().flat_map(<[u32; 2]>::from));
        let mut entries = self.capabilities.iter().map(|(text, ..)| *text as usize).peekable();
        let mut count = 0;
        for text in 0..=texts {
            out.words([count]);
            while entries.next_if_eq(&text).is_some() {
                count += 1;
            }
        }
        out.words(self.capabilities.iter().flat_map(|(_, package, place)| [*package, *place]));
        out.words(self.obsoletes.into_iter().flat_map(<[u32; 3]>::from));
        out.0
    }
}

pub(super) fn comparison_word(comparison: Comparison) -> u32 {
    match comparison {
        Comparison::Less => 1,
        Comparison::LessOrEqual => 2,
        Comparison::Equal => 3,
        Comparison::GreaterOrEqual => 4,
        Comparison::Greater => 5,
        Comparison::Unequal => 6,
    }
}

/// Texts, each once, in the order in which they were met.
#[derive(Default)]
struct Texts {
    list: Vec<String>,
    numbers: HashMap<String, u32>,
    bytes: usize,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.list.len() as u32;
        self.bytes += text.len();
        self.list.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    fn slots(&self) -> Vec<u32> {
        let mut slots = vec![0; (2 * self.list.len()).next_power_of_two().max(2)];
        let mask = slots.len() - 1;
        for (number, text) in (1..).zip(&self.list) {
            let mut slot = hash_of(text) as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = number;
        }
        slots
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn words(&mut self, words: impl IntoIterator<Item = u32>) {
        words.into_iter().for_each(|word| self.0.extend_from_slice(&word.to_le_bytes()));
    }
}
