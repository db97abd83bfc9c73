//! The index cache on disk: one JSON line for each package file, written as a whole and renamed into place.
//!
//! First line `{"schema":N}`; a file of another schema, or one that does not parse to its end, counts as
//! empty. Dependencies are kept in RPM's text form, which parses faster than tagged JSON.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rayon::prelude::*;
use rpm_model::{ContentDigest, Dependency, Evr, Nevra, PackageHeader, PackageOrigin, Requirement};
use serde::{Deserialize, Serialize};

use crate::error::{IoContext, RepositoryError};
use crate::header::{IndexedPackage, PackageFacts};

/// Raised whenever a line's meaning changes or the header reader learns something new.
const SCHEMA: u32 = 2;

/// How a file is recognised as unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileStamp {
    pub(crate) size: u64,
    pub(crate) mtime_seconds: i64,
    pub(crate) mtime_nanoseconds: i64,
    pub(crate) inode: u64,
}

/// One remembered file.
#[derive(Clone, Debug)]
pub(crate) struct CacheEntry {
    pub(crate) stamp: FileStamp,
    pub(crate) package: IndexedPackage,
}

/// All remembered files, by path.
#[derive(Debug, Default)]
pub(crate) struct IndexCache(HashMap<PathBuf, CacheEntry>);

impl IndexCache {
    pub(crate) fn remove(&mut self, path: &Path) -> Option<CacheEntry> {
        self.0.remove(path)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[derive(Serialize, Deserialize)]
struct Heading {
    schema: u32,
}

/// A line: the package with its dependencies as texts.
#[derive(Serialize, Deserialize)]
struct Line {
    path: String,
    stamp: FileStamp,
    sha256: ContentDigest,
    name: String,
    evr: Evr,
    arch: String,
    source_rpm: Option<String>,
    provides: Vec<String>,
    requires: Vec<String>,
    conflicts: Vec<String>,
    obsoletes: Vec<String>,
    recommends: Vec<String>,
    supplements: Vec<String>,
    files: Vec<String>,
    facts: PackageFacts,
}

/// Reads a cache; whatever is wrong with it makes it empty, because it can always be made again.
pub(crate) fn load(file: &Path) -> IndexCache {
    let Ok(text) = std::fs::read_to_string(file) else { return IndexCache::default() };
    let mut lines = text.lines();
    let heading = lines.next().and_then(|line| serde_json::from_str::<Heading>(line).ok());
    if heading.is_none_or(|heading| heading.schema != SCHEMA) {
        return IndexCache::default();
    }
    let lines: Vec<&str> = lines.collect();
    let entries: Option<HashMap<_, _>> = lines
        .into_par_iter()
        .map(|line| {
            let entry = serde_json::from_str::<Line>(line).ok()?.into_entry()?;
            Some((entry.package.path.clone(), entry))
        })
        .collect();
    IndexCache(entries.unwrap_or_default())
}

/// Writes a cache and puts it in place of the former one.
pub(crate) fn store(file: &Path, entries: &[CacheEntry]) -> Result<(), RepositoryError> {
    let directory = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).context("create", directory)?;
    // Temporary files are private; what is remembered of packages saves everybody time.
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let temporary = tempfile::Builder::new().permissions(permissions).tempfile_in(directory);
    let temporary = temporary.context("create a file in", directory)?;
    let mut writer = BufWriter::new(temporary);
    write_line(&mut writer, &Heading { schema: SCHEMA }).context("write", file)?;
    for line in entries.iter().filter_map(Line::from_entry) {
        write_line(&mut writer, &line).context("write", file)?;
    }
    let temporary = writer.into_inner().map_err(|error| error.into_error()).context("write", file)?;
    temporary.persist(file).map_err(|error| error.error).context("rename", file)?;
    Ok(())
}

fn write_line(writer: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *writer, value)?;
    writer.write_all(b"\n")
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn parsed<T: FromStr>(list: &[String]) -> Option<Vec<T>> {
    list.iter().map(|text| text.parse().ok()).collect()
}

impl Line {
    /// Returns the line, or `None` for a path that JSON cannot hold; such a file is read each time.
    fn from_entry(entry: &CacheEntry) -> Option<Self> {
        let IndexedPackage { header, facts, sha256, path, .. } = &entry.package;
        Some(Self {
            path: path.to_str()?.to_owned(),
            stamp: entry.stamp,
            sha256: sha256.clone(),
            name: header.nevra.name.clone(),
            evr: header.nevra.evr.clone(),
            arch: header.nevra.arch.clone(),
            source_rpm: header.source_rpm.clone(),
            provides: texts(&header.provides),
            requires: texts(&header.requires),
            conflicts: texts(&header.conflicts),
            obsoletes: texts(&header.obsoletes),
            recommends: texts(&header.recommends),
            supplements: texts(&header.supplements),
            files: header.files.clone(),
            facts: facts.clone(),
        })
    }

    fn into_entry(self) -> Option<CacheEntry> {
        Some(CacheEntry {
            stamp: self.stamp,
            package: IndexedPackage {
                header: PackageHeader {
                    nevra: Nevra::new(self.name, self.evr, self.arch),
                    source_rpm: self.source_rpm,
                    provides: parsed::<Dependency>(&self.provides)?,
                    requires: parsed::<Requirement>(&self.requires)?,
                    conflicts: parsed::<Requirement>(&self.conflicts)?,
                    obsoletes: parsed::<Dependency>(&self.obsoletes)?,
                    recommends: parsed::<Requirement>(&self.recommends)?,
                    supplements: parsed::<Requirement>(&self.supplements)?,
                    files: self.files,
                },
                facts: self.facts,
                sha256: self.sha256,
                size: self.stamp.size,
                path: self.path.into(),
                // The directory that owns the cache says where its packages come from.
                origin: PackageOrigin::Base,
            },
        })
    }
}
