//! The keys of specs: a hash of all that decides what a spec says.
//!
//! That is the identity of engine, architecture, definitions and macro files, the spec's name and bytes, the
//! release macros that it names, and the files that its macros can see (`visible.rs`). A directory that many specs
//! share is hashed once.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use file_index::{Directory, FileIndex};
use rayon::prelude::*;
use rpm_model::{ContentDigest, ContentHasher};

use crate::engine::{ReadOptions, SpecInput};
use crate::texts::TextIndex;
use crate::visible;

/// Raised when [`SpecData`](rpm_model::SpecData), the way it is read or the way keys are made changes.
const SCHEMA: u32 = 8;

/// No spec is larger; a file that is gets no key, and the engine says what is wrong with it.
const LARGEST_SPEC: u64 = 16 << 20;

/// What keys are made with.
pub(crate) struct KeyMaker<'a> {
    pub(crate) identity: &'a ContentDigest,
    pub(crate) options: &'a ReadOptions,
    pub(crate) files: &'a FileIndex,
    pub(crate) texts: &'a TextIndex,
}

/// A directory of specs or sources, with the digests of what is visible there.
struct Place<'a> {
    directory: &'a Directory,
    beside_plain_text: OnceLock<Option<ContentDigest>>,
    beside_reading_text: OnceLock<Option<ContentDigest>>,
}

impl KeyMaker<'_> {
    /// Returns the keys of specs, in their order; `None` for a spec whose surroundings cannot be read.
    ///
    /// `listings` are used for the directories that they have; the others are listed.
    pub(crate) fn keys(&self, specs: &[SpecInput], listings: &[Directory]) -> Vec<Option<ContentDigest>> {
        let wanted: BTreeSet<&Path> =
            specs.iter().flat_map(|spec| [directory_of(spec), named(&spec.source_dir)]).collect();
        let given = |path: &Path| listings.iter().find_map(|listing| listing.find(path));
        let unlisted: BTreeSet<&Path> = wanted.iter().copied().filter(|path| given(path).is_none()).collect();
        let outermost = |path: &&&Path| !path.ancestors().skip(1).any(|outer| unlisted.contains(outer));
        let own: Vec<&Path> = unlisted.iter().filter(outermost).copied().collect();
        let own: Vec<Directory> = own.into_par_iter().map(Directory::list).collect();
        let own: BTreeMap<&Path, &Directory> = own.iter().map(|own| (own.path(), own)).collect();
        let found = |path: &Path| {
            let outer = path.ancestors().find_map(|outer| own.get(outer));
            given(path).or_else(|| outer.and_then(|outer| outer.find(path)))
        };
        let place = |path: &'_ Path| {
            let (plain, reading) = (OnceLock::new(), OnceLock::new());
            let directory = found(path)?;
            Some(Place { directory, beside_plain_text: plain, beside_reading_text: reading })
        };
        let places: BTreeMap<&Path, Place<'_>> =
            wanted.iter().filter_map(|path| Some((*path, place(path)?))).collect();
        specs.par_iter().map(|spec| self.key(spec, &places).ok().flatten()).collect()
    }

    fn key(
        &self,
        spec: &SpecInput,
        places: &BTreeMap<&Path, Place<'_>>,
    ) -> io::Result<Option<ContentDigest>> {
        let (Some(place), Some(sources)) =
            (places.get(directory_of(spec)), places.get(named(&spec.source_dir)))
        else {
            return Ok(None);
        };
        let files = place.directory.files();
        let name = spec.path.file_name().unwrap_or_default();
        let file = files.binary_search_by(|file| file.name.as_os_str().cmp(name));
        let Some(file) = file.ok().map(|place| &files[place]) else { return Ok(None) };
        if file.stamp.size() > LARGEST_SPEC {
            return Ok(None);
        }
        let text = self.files.listed(place.directory, file)?;
        let facts = self.texts.facts(&text, || fs::read(&spec.path))?;
        let mut hasher = ContentHasher::new("spec-data", SCHEMA);
        hasher.field("options", self.identity.as_str()).field("name", &spec.name);
        hasher.field("spec", text.as_str());
        let release = self.options.release_macros.named_among(&facts.words);
        hasher.list("release-macros", release.into_iter().flat_map(|(name, body)| [name, body]));
        let Some(beside) = place.visible(self.files, facts.reads_files) else { return Ok(None) };
        hasher.field("neighbours", beside.as_str());
        if !std::ptr::eq(place.directory, sources.directory) {
            let Some(beside) = sources.visible(self.files, facts.reads_files) else { return Ok(None) };
            hasher.field("sources", beside.as_str());
        }
        Ok(Some(hasher.finish()))
    }
}

impl Place<'_> {
    /// Returns the digest of what macros can see here; `None` where it cannot all be read.
    fn visible(&self, files: &FileIndex, reads_files: bool) -> Option<&ContentDigest> {
        let digest = if reads_files { &self.beside_reading_text } else { &self.beside_plain_text };
        let make = || {
            let mut list = Vec::new();
            collect(self.directory, "", files, reads_files, &mut list).ok()?;
            let mut hasher = ContentHasher::new("spec-neighbours", SCHEMA);
            hasher.list("files", list);
            Some(hasher.finish())
        };
        digest.get_or_init(make).as_ref()
    }
}

/// Lists what macros can see in a directory, as name and content.
fn collect(
    directory: &Directory,
    prefix: &str,
    files: &FileIndex,
    reads_files: bool,
    list: &mut Vec<String>,
) -> io::Result<()> {
    if prefix.is_empty()
        && let Some(fault) = directory.fault()
    {
        return Err(io::Error::other(fault.source.to_string()));
    }
    let name_of = |name: &OsStr| format!("{prefix}{}", name.as_bytes().escape_ascii());
    for file in directory.files() {
        if visible::is_visible(file.name.as_bytes(), file.stamp.size(), reads_files) {
            list.push(name_of(&file.name));
            list.push(files.listed(directory, file)?.into());
        }
    }
    for below in directory.directories() {
        collect(below, &format!("{}/", name_of(below.name())), files, reads_files, list)?;
    }
    Ok(())
}

fn directory_of(spec: &SpecInput) -> &Path {
    named(spec.path.parent().unwrap_or(Path::new("")))
}

/// The directory that is meant by no name has a name.
fn named(directory: &Path) -> &Path {
    if directory.as_os_str().is_empty() { Path::new(".") } else { directory }
}
