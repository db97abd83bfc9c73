//! The lock of external packages: exactly which packages from outside the tree and the toolchain builds use.
//!
//! `build/rpm_cache/external-packages.lock.json`. What it does not name is no part of any build root,
//! whatever lies in the cache.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use file_index::replace_file;
use rpm_model::{ContentDigest, Nevra, PackageOrigin};
use serde::{Deserialize, Serialize};

use crate::definition::RepositoryDefinition;
use crate::download::{PackagePlace, WantedPackage};

/// One package of the lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockedRpm {
    /// Its identity.
    pub nevra: Nevra,
    /// Its name in the cache.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: ContentDigest,
    /// Its size in bytes.
    pub size: u64,
    /// Where it counts as coming from.
    pub origin: PackageOrigin,
    /// Where it was found.
    pub repository: LockedOrigin,
}

/// Where a package was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockedOrigin {
    /// The repository's id.
    pub id: String,
    /// The address or directory that it had.
    pub url: String,
    /// The file below it.
    pub location: String,
}

/// `external-packages.lock.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageLock {
    /// This code reads and writes [`PackageLock::SCHEMA`].
    pub schema: u32,
    /// The packages, sorted by NEVRA.
    pub packages: Vec<LockedRpm>,
}

/// Why a lock cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read or written.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// `read` or `write`.
        operation: &'static str,
        /// The lock.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is damaged.
    #[error("`{}` is no lock of packages: {message}", path.display())]
    Damaged {
        /// The lock.
        path: PathBuf,
        /// What the parser said.
        message: String,
    },
    /// Another version wrote it.
    #[error("`{}` has schema {found}, this version reads {}", path.display(), PackageLock::SCHEMA)]
    Schema {
        /// The lock.
        path: PathBuf,
        /// What it has.
        found: u64,
    },
}

impl PackageLock {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;

    /// Returns the lock of these packages; sorts them.
    pub fn new(mut packages: Vec<LockedRpm>) -> Self {
        packages.sort();
        packages.dedup();
        Self { schema: Self::SCHEMA, packages }
    }

    /// Reads a lock; `None` where there is none.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged or of another schema.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LockError::Io { operation: "read", path: path.to_owned(), source }),
            Ok(bytes) => bytes,
        };
        let damaged = |message: String| LockError::Damaged { path: path.to_owned(), message };
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(found) if found == u64::from(Self::SCHEMA) => {}
            Some(found) => return Err(LockError::Schema { path: path.to_owned(), found }),
            None => return Err(damaged("it has no schema".to_owned())),
        }
        let lock: Self = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        // A file of the cache, and not of any other directory.
        match lock.packages.iter().find(|package| package.file.contains('/') || package.file.starts_with('.'))
        {
            Some(package) => Err(damaged(format!("`{}` is no file of the cache", package.file))),
            None => Ok(Some(lock)),
        }
    }

    /// Writes the lock whole, unless the file says the same already.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let failed = |source| LockError::Io { operation: "write", path: path.to_owned(), source };
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        if fs::read(path).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        replace_file(path, &[&bytes]).map_err(failed)
    }

    /// Returns where each content counts as coming from.
    pub fn origins(&self) -> BTreeMap<&ContentDigest, PackageOrigin> {
        self.packages.iter().map(|package| (&package.sha256, package.origin)).collect()
    }

    /// Returns what is to be fetched to have the lock's packages again: from where they were found, with the
    /// certificates and keys of the repository of that name, where one is configured still.
    pub fn wanted(&self, definitions: &[RepositoryDefinition]) -> Vec<WantedPackage> {
        let wanted = |package: &LockedRpm| {
            let LockedOrigin { id, url, location } = &package.repository;
            let known = definitions.iter().find(|definition| definition.id == *id);
            let mut addresses: Vec<String> = match known.map(|definition| &definition.places) {
                Some(crate::definition::Places::Addresses(addresses)) => addresses.clone(),
                _ => Vec::new(),
            };
            if !addresses.contains(url) {
                addresses.push(url.clone());
            }
            let fallback = RepositoryDefinition::at(id, url);
            WantedPackage {
                nevra: package.nevra.clone(),
                sha256: package.sha256.clone(),
                size: package.size,
                origin: package.origin,
                places: PackagePlace::all(known.unwrap_or(&fallback), &addresses, location),
            }
        };
        self.packages.iter().map(wanted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(nevra: &str) -> LockedRpm {
        let nevra: Nevra = nevra.parse().unwrap();
        LockedRpm {
            file: nevra.file_name(),
            sha256: ContentDigest::of_bytes(nevra.to_string().as_bytes()),
            nevra,
            size: 7,
            origin: PackageOrigin::Live,
            repository: LockedOrigin { id: "x".into(), url: "https://a".into(), location: "p/a.rpm".into() },
        }
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("cache/lock.json");
        assert_eq!(PackageLock::read(&path).unwrap(), None);
        let lock = PackageLock::new(vec![locked("b-1-1.x"), locked("a-2:1-1.x"), locked("b-1-1.x")]);
        assert_eq!(lock.packages.len(), 2);
        lock.write(&path).unwrap();
        assert_eq!(PackageLock::read(&path).unwrap(), Some(lock));
        for (text, part) in [
            ("", "no lock of packages"),
            ("{}", "it has no schema"),
            ("{\"schema\":99}", "has schema 99, this version reads 1"),
            ("{\"schema\":1}", "no lock of packages"),
        ] {
            fs::write(&path, text).unwrap();
            let error = PackageLock::read(&path).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("lock.json"), "{error}");
        }
        PackageLock::new(vec![LockedRpm { file: "../a.rpm".into(), ..locked("a-1-1.x") }])
            .write(&path)
            .unwrap();
        assert!(
            PackageLock::read(&path).unwrap_err().to_string().contains("`../a.rpm` is no file of the cache")
        );
    }

    #[test]
    fn what_is_locked_is_asked_for_where_the_repository_is_now_and_where_it_was() {
        let lock = PackageLock::new(vec![locked("a-1-1.x")]);
        let bases = |definitions: &[RepositoryDefinition]| -> Vec<String> {
            lock.wanted(definitions)[0].places.iter().map(|place| place.base.clone()).collect()
        };
        assert_eq!(bases(&[]), ["https://a"]);
        assert_eq!(bases(&[RepositoryDefinition::at("other", "https://c")]), ["https://a"]);
        assert_eq!(bases(&[RepositoryDefinition::at("x", "https://b")]), ["https://b", "https://a"]);
    }
}
