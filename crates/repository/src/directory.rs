//! Directories of RPM files, read in parallel, with a cache of what has been read.
//!
//! A file is read and hashed once. Later scans recognise it by (path, size, mtime, inode), as git's index
//! does; that quadruple is only a memory of the hash, and nothing else looks at it. A file that cannot be
//! read as a package is reported by name and the others go on. A damaged or foreign cache file is ignored
//! and written anew.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rpm_model::PackageOrigin;

use crate::cache::{self, CacheEntry, FileStamp, IndexCache};
use crate::error::{IoContext, RepositoryError};
use crate::header::{IndexedPackage, read_package};

/// A directory of binary packages, with its subdirectories.
#[derive(Clone, Debug)]
pub struct PackageDirectory {
    directory: PathBuf,
    origin: PackageOrigin,
    cache: Option<PathBuf>,
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Scan {
    /// The good packages, sorted by NEVRA, then path.
    pub packages: Vec<IndexedPackage>,
    /// One error for each file that is no good package, sorted by path.
    pub failures: Vec<RepositoryError>,
    /// How many files had to be read; the others were known from the cache.
    pub files_read: usize,
}

impl PackageDirectory {
    /// Names a directory and where its packages count as coming from.
    pub fn new(directory: impl Into<PathBuf>, origin: PackageOrigin) -> Self {
        Self { directory: directory.into(), origin, cache: None }
    }

    /// Remembers what was read in this file, which is made when it does not exist.
    #[must_use]
    pub fn with_cache(mut self, file: impl Into<PathBuf>) -> Self {
        self.cache = Some(file.into());
        self
    }

    /// Reads every `*.rpm` below the directory except source packages; an absent directory is empty.
    ///
    /// Symbolic links to files are followed, links to directories are not.
    ///
    /// # Errors
    /// When a directory cannot be listed or the cache cannot be written. A bad package file is no error
    /// here: it is in [`Scan::failures`].
    pub fn scan(&self) -> Result<Scan, RepositoryError> {
        let files = self.package_files()?;
        let mut known = self.cache.as_deref().map(cache::load).unwrap_or_default();
        let remembered = known.len();
        let looked: Vec<(PathBuf, FileStamp, Option<CacheEntry>)> = files
            .into_iter()
            .map(|(path, stamp)| {
                let entry = known.take(&path, &stamp);
                (path, stamp, entry)
            })
            .collect();
        let results: Vec<(usize, Result<CacheEntry, RepositoryError>)> = looked
            .into_par_iter()
            .map(|(path, stamp, entry)| match entry {
                Some(entry) => (0, Ok(entry)),
                None => (1, read_package(&path, self.origin).map(|package| CacheEntry { stamp, package })),
            })
            .collect();
        let mut scan = Scan::default();
        let mut entries = Vec::with_capacity(results.len());
        for (read, result) in results {
            scan.files_read += read;
            match result {
                Ok(entry) => entries.push(entry),
                Err(error) => scan.failures.push(error),
            }
        }
        if let Some(cache) = &self.cache
            && (scan.files_read > 0 || remembered != entries.len())
        {
            cache::store(cache, &entries)?;
        }
        scan.packages = entries
            .into_iter()
            .map(|entry| IndexedPackage { origin: self.origin, ..entry.package })
            .collect();
        scan.packages.sort_by(|a, b| (&a.header.nevra, &a.path).cmp(&(&b.header.nevra, &b.path)));
        Ok(scan)
    }

    fn package_files(&self) -> Result<Vec<(PathBuf, FileStamp)>, RepositoryError> {
        if !self.directory.exists() {
            return Ok(Vec::new());
        }
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(&self.directory).sort_by_file_name() {
            let entry = entry.map_err(|error| RepositoryError::Io {
                operation: "list",
                path: error.path().unwrap_or(&self.directory).to_owned(),
                source: error.into(),
            })?;
            if !is_binary_package(entry.path()) {
                continue;
            }
            let metadata = std::fs::metadata(entry.path()).context("read", entry.path())?;
            if metadata.is_file() {
                files.push((entry.into_path(), stamp_of(&metadata)));
            }
        }
        Ok(files)
    }
}

impl IndexCache {
    /// Takes what is known of a file out; `None` where it has another stamp.
    fn take(&mut self, path: &Path, stamp: &FileStamp) -> Option<CacheEntry> {
        self.remove(path).filter(|entry| entry.stamp == *stamp)
    }
}

/// Tells binary from source packages by the file name, as every RPM tool does.
fn is_binary_package(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
        name.ends_with(".rpm") && !name.ends_with(".src.rpm") && !name.ends_with(".nosrc.rpm")
    })
}

fn stamp_of(metadata: &Metadata) -> FileStamp {
    FileStamp {
        size: metadata.size(),
        mtime_seconds: metadata.mtime(),
        mtime_nanoseconds: metadata.mtime_nsec(),
        inode: metadata.ino(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scratch, TinyPackage};

    fn scan(directory: &PackageDirectory) -> (Vec<String>, usize, usize) {
        let scan = directory.scan().unwrap();
        let names = scan.packages.iter().map(|package| package.header.nevra.nvra()).collect();
        (names, scan.failures.len(), scan.files_read)
    }

    #[test]
    fn finds_packages_below_and_reads_each_once() {
        let scratch = Scratch::new();
        let write = |package: TinyPackage| {
            let name = format!("{}/{}", package.nevra.arch, package.nevra.file_name());
            scratch.write(&name, &package.bytes())
        };
        write(TinyPackage::new("b", "1-1", "x86_64").requires("(a if c)").file("/usr/bin/b"));
        let a = write(TinyPackage::new("a", "1-1", "noarch"));
        scratch.write("noarch/a-1-1.src.rpm", b"not looked at");
        scratch.write("noarch/readme.txt", b"not looked at");
        let cache = scratch.path().join("cache/index");
        let directory = PackageDirectory::new(scratch.path(), PackageOrigin::Tree).with_cache(&cache);
        let names = vec!["a-1-1.noarch".to_owned(), "b-1-1.x86_64".to_owned()];
        assert_eq!(scan(&directory), (names.clone(), 0, 2));
        let first = directory.scan().unwrap();
        assert_eq!(first.files_read, 0, "the second scan knows both files");
        let again = PackageDirectory::new(scratch.path(), PackageOrigin::Tree).scan().unwrap();
        assert_eq!(first.packages, again.packages, "the cache gives back what was read");

        std::fs::write(&a, TinyPackage::new("a", "2-1", "noarch").bytes()).unwrap();
        assert_eq!(scan(&directory), (vec!["a-2-1.noarch".to_owned(), names[1].clone()], 0, 1));
        std::fs::remove_file(&a).unwrap();
        assert_eq!(scan(&directory), (vec![names[1].clone()], 0, 0));
        for damage in [&b"{}"[..], b"{\"schema\":2}\n{\"path\":", b"\xff\xff"] {
            std::fs::write(&cache, damage).unwrap();
            assert_eq!(scan(&directory), (vec![names[1].clone()], 0, 1), "a bad cache is read anew");
        }
    }

    #[test]
    fn a_bad_file_is_named_and_the_others_go_on() {
        let scratch = Scratch::new();
        scratch.package(&TinyPackage::new("good", "1-1", "noarch"));
        let bytes = TinyPackage::new("cut", "1-1", "noarch").bytes();
        scratch.write("cut.rpm", &bytes[..300]);
        let scan = PackageDirectory::new(scratch.path(), PackageOrigin::Base).scan().unwrap();
        assert_eq!(scan.packages.len(), 1);
        assert_eq!(scan.failures.len(), 1);
        assert!(scan.failures[0].to_string().contains("cut.rpm: cut short"), "{}", scan.failures[0]);
    }

    #[test]
    fn an_absent_directory_is_empty() {
        let directory = PackageDirectory::new("/nonexistent/rpms", PackageOrigin::Tree);
        assert_eq!(scan(&directory), (vec![], 0, 0));
    }
}
