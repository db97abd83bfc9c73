//! The packages of a repository as a file that opens in milliseconds.
//!
//! What it is: a cache of what repository metadata says, for the solver. Opening reads tables of numbers and one
//! block of text; a package becomes an [`IndexedPackage`] when it is first asked for, so a repository of 60,000
//! packages costs a build root only the few hundred that it looks at. What it is not: an interface. The file is
//! made again whenever the metadata, or this code, is another; a damaged one counts as absent.
//!
//! On disk (little-endian `u32` unless said): `NAME`, sealed ([`file_index::read_sealed`]), holds the tables
//! that [`layout`] describes; `NAME.paths` holds who owns which file, sorted 64-bit hashes of paths with a
//! package number each, and is opened when a path is first asked for. Hashes are XXH3; a hash that two paths
//! share would name one owner too many, which only somebody who may publish packages could bring about.

mod decode;
mod encode;
mod layout;
mod open;
mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use file_index::{Sealed, read_sealed, replace_file, write_sealed};
use rpm_model::{ContentDigest, PackageOrigin};

use self::layout::{Layout, PACKAGE_WORDS, field};
pub use self::open::{OpenOptions, OpenedRepository, open_repository};
use self::paths::PathTable;
use crate::error::{IoContext, RepositoryError};
use crate::header::IndexedPackage;

/// Raised whenever the tables change their meaning, or the metadata reader learns something new.
const KIND: [u8; 8] = *b"mwrepo 2";

/// The packages of one repository, read as far as they are asked for.
#[derive(Debug)]
pub struct RepositoryIndex {
    bytes: Sealed,
    layout: Layout,
    origin: PackageOrigin,
    packages: Vec<OnceLock<Box<IndexedPackage>>>,
    paths: OnceLock<Option<PathTable>>,
    path_file: PathBuf,
    /// Packages that count as not there.
    hidden: BTreeSet<u32>,
}

impl RepositoryIndex {
    /// Opens an index that was made of this metadata; `None` where there is none, it was made of other metadata
    /// or by another version, or it is damaged.
    ///
    /// `identity` says what it was made of, for example the digest of `repomd.xml`.
    pub fn open(file: &Path, identity: &ContentDigest, origin: PackageOrigin) -> Option<Self> {
        let bytes = read_sealed(file, KIND)?;
        let layout = Layout::read(&bytes, identity)?;
        let path_file = path_file(file);
        // Its size stands in the sealed part; the content is looked at when it is needed.
        let metadata = std::fs::metadata(&path_file).ok()?;
        if metadata.len() != layout.path_bytes {
            return None;
        }
        let packages = (0..layout.packages).map(|_| OnceLock::new()).collect();
        let hidden = BTreeSet::new();
        Some(Self { bytes, layout, origin, packages, paths: OnceLock::new(), path_file, hidden })
    }

    /// Writes an index of packages, in place of a former one.
    ///
    /// Of the descriptive facts of packages ([`crate::PackageFacts`]) only the build time is kept, and file lists only as far as to
    /// answer who owns a path.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(
        file: &Path,
        identity: &ContentDigest,
        packages: &[IndexedPackage],
    ) -> Result<(), RepositoryError> {
        let mut sorted: Vec<&IndexedPackage> = packages.iter().collect();
        sorted.sort_by(|a, b| canonical(a).cmp(&canonical(b)));
        let paths = paths::encode(&sorted);
        // The sealed part comes last: an index whose path table is another's would not open.
        let path_file = path_file(file);
        replace_file(&path_file, &[&paths]).context("write", &path_file)?;
        let content = encode::encode(&sorted, identity, &paths);
        write_sealed(file, KIND, &content).context("write", file)
    }

    /// Lets packages count as not there, for example because another repository's go before them.
    pub fn hide(&mut self, packages: impl IntoIterator<Item = u32>) {
        self.hidden.extend(packages);
    }

    /// Returns how many packages count.
    pub fn len(&self) -> usize {
        self.packages.len() - self.hidden.len()
    }

    /// Returns whether no package counts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the numbers of the packages that count.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        (0..self.end()).filter(|number| !self.hidden.contains(number))
    }

    /// Returns one more than the highest number.
    pub(crate) fn end(&self) -> u32 {
        self.packages.len() as u32
    }

    /// Returns every name of a package, sorted.
    pub fn names(&self) -> BTreeSet<&str> {
        self.numbers().map(|number| self.text(self.word_of(number, field::NAME))).collect()
    }

    /// Returns the packages that provide any of some names in any version, or own a file of such a path, each with
    /// those paths.
    pub fn relevant<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> BTreeMap<u32, Vec<String>> {
        let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for name in names {
            for (number, _) in self.providers(name) {
                found.entry(number).or_default();
            }
            if name.starts_with('/') {
                for number in self.owners(name) {
                    found.entry(number).or_default().push(name.to_owned());
                }
            }
        }
        found
    }

    /// Returns a package by its number, in canonical order from 0. Its list of files is empty: ask
    /// [`Self::owners`].
    ///
    /// # Panics
    /// When there are not so many.
    pub fn package(&self, number: u32) -> &IndexedPackage {
        self.packages[number as usize].get_or_init(|| Box::new(self.decode(number)))
    }

    /// Returns a package's architecture without making the package.
    pub(crate) fn arch(&self, number: u32) -> &str {
        self.text(self.word_of(number, field::ARCH))
    }

    /// Returns the numbers of the packages of a name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = u32> {
        let found = self.find(name).and_then(|text| self.layout.name_range(&self.bytes, text));
        found.unwrap_or(0..0).filter(|number| !self.hidden.contains(number))
    }

    /// Returns the packages that provide a name in any version, each with the place of the provide in its list.
    pub(crate) fn providers(&self, name: &str) -> impl Iterator<Item = (u32, u32)> {
        let range = self.find(name).map_or(0..0, |text| self.layout.capability_range(&self.bytes, text));
        let entries = range.map(|entry| self.layout.capability_entry(&self.bytes, entry));
        entries.filter(|(number, _)| !self.hidden.contains(number))
    }

    /// Returns the packages that obsolete a name in any version, each with the place of the obsolete in its list.
    pub(crate) fn obsoleters(&self, name: &str) -> impl Iterator<Item = (u32, u32)> {
        let range = self.find(name).map_or(0..0, |text| self.layout.obsolete_range(&self.bytes, text));
        let entries = range.map(|entry| self.layout.obsolete_entry(&self.bytes, entry));
        entries.filter(|(number, _)| !self.hidden.contains(number))
    }

    /// Returns the packages that own a path, sorted; none where the table of paths is damaged.
    pub(crate) fn owners(&self, path: &str) -> Vec<u32> {
        let table = self.paths.get_or_init(|| PathTable::read(&self.path_file, self.layout.path_hash));
        let mut owners = table.as_ref().map_or_else(Vec::new, |table| table.owners(path));
        owners.retain(|number| !self.hidden.contains(number));
        owners
    }

    /// Returns the table of paths where it was needed and turned out to be damaged: then an answer that something
    /// is missing may be wrong, and both files should be removed and made again.
    pub fn damaged(&self) -> Option<&Path> {
        matches!(self.paths.get(), Some(None)).then_some(self.path_file.as_path())
    }

    /// Returns every provided name.
    pub(crate) fn capability_names(&self) -> impl Iterator<Item = &str> {
        (0..self.layout.texts)
            .filter(|text| !self.layout.capability_range(&self.bytes, *text).is_empty())
            .map(|text| self.text(text))
    }

    fn find(&self, text: &str) -> Option<u32> {
        self.layout.find(&self.bytes, text)
    }

    fn text(&self, number: u32) -> &str {
        self.layout.text(&self.bytes, number)
    }

    fn word_of(&self, package: u32, field: usize) -> u32 {
        self.layout.package_word(&self.bytes, package as usize * PACKAGE_WORDS + field)
    }
}

/// The order in which packages stand wherever an order is needed.
pub(crate) fn canonical(package: &IndexedPackage) -> impl Ord + '_ {
    (&package.header.nevra, package.origin, &package.sha256, &package.path)
}

fn path_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".paths");
    PathBuf::from(name)
}

/// The hash of texts in the tables.
pub(crate) fn hash_of(text: &str) -> u64 {
    twox_hash::XxHash3_64::oneshot(text.as_bytes())
}

#[cfg(test)]
mod tests;
