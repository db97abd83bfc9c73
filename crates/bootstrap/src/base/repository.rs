//! Any repository of RPMs as a base: read by its metadata, chosen from by our solver, fetched by SHA-256.
//!
//! The chain of trust: a signature covers `repomd.xml` or each package's header; `repomd.xml` covers the
//! metadata by SHA-256; the metadata covers each package by SHA-256; a header covers its payload.

use super::{BaseNote, BaseSource, Selection};
use crate::apt::Indexes;
use crate::configuration::Configuration;
use crate::error::BootstrapError;
use crate::progress::{Event, Reporter};
use ::repository::{
    DirectoryFetch, Fetch, FetchError, IndexedPackage, RepositoryError, SolveRequest, Solver,
    read_repository, verify_package,
};
use package_fetcher::{Keyring, SignaturePolicy, check_detached, check_package};
use rayon::prelude::*;
use rpm_model::{
    ContentDigest, ContentHasher, Dependency, LockedPackage, PackageArtifact, PackageOrigin, Requirement,
};
use std::path::{Path, PathBuf};

/// Largest package that is fetched.
const LARGEST_PACKAGE: u64 = 2 << 30;
/// Largest `repomd.xml.asc`.
const LARGEST_SIGNATURE: u64 = 1 << 20;

/// A repository of RPMs.
pub struct RepositoryBase<'a> {
    configuration: &'a Configuration,
    fetch: Box<dyn Fetch + 'a>,
    arch: String,
    signatures: SignaturePolicy,
    /// Packages that were fetched, by SHA-256.
    cache: PathBuf,
    inputs: ContentDigest,
}

impl<'a> RepositoryBase<'a> {
    /// Returns the base behind `fetch`, of which packages for `arch` and `noarch` ones are used; what is
    /// fetched is kept in `cache`.
    ///
    /// # Errors
    /// [`BootstrapError::File`] when the key file cannot be read.
    pub fn new(
        configuration: &'a Configuration,
        fetch: Box<dyn Fetch + 'a>,
        arch: &str,
        signatures: SignaturePolicy,
        cache: &Path,
    ) -> Result<Self, BootstrapError> {
        let mut hasher = ContentHasher::new("repository-inputs", 1);
        hasher.field("location", &fetch.location());
        hasher.field("arch", arch);
        let kind = match (signatures.metadata, signatures.packages) {
            (false, false) => "none",
            (true, false) => "metadata",
            (false, true) => "packages",
            (true, true) => "both",
        };
        hasher.field("signatures", kind);
        for key in &signatures.keys {
            let bytes = std::fs::read(key).map_err(BootstrapError::file("read", key))?;
            hasher.field("key", ContentDigest::of_bytes(&bytes).as_str());
        }
        configuration.hash_into(&mut hasher);
        let (arch, cache, inputs) = (arch.to_owned(), cache.to_owned(), hasher.finish());
        Ok(Self { configuration, fetch, arch, signatures, cache, inputs })
    }

    /// Returns the base in a local directory that holds `repodata/`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn in_directory(
        configuration: &'a Configuration,
        directory: &Path,
        arch: &str,
        signatures: SignaturePolicy,
        cache: &Path,
    ) -> Result<Self, BootstrapError> {
        Self::new(configuration, Box::new(DirectoryFetch::new(directory)), arch, signatures, cache)
    }

    fn unusable(&self, problem: String) -> BootstrapError {
        BootstrapError::Repository { location: self.fetch.location(), problem }
    }

    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>, BootstrapError> {
        self.fetch.get(name, limit).map_err(|error: FetchError| self.unusable(format!("`{name}`: {error}")))
    }

    fn keyring(&self) -> Result<Keyring, BootstrapError> {
        Keyring::read(&self.signatures.keys).map_err(|source| BootstrapError::Keys { source })
    }

    fn check_metadata(&self) -> Result<(), BootstrapError> {
        let metadata = self.get("repodata/repomd.xml", LARGEST_SIGNATURE)?;
        let signature = self.get("repodata/repomd.xml.asc", LARGEST_SIGNATURE)?;
        check_detached(&self.keyring()?, &signature, &metadata)
            .map_err(|reason| self.unusable(format!("signature of `repomd.xml`: {reason}")))
    }

    /// Returns the closure of both lists, and the names of the extra list that nothing provides.
    fn resolve(
        &self,
        packages: &[IndexedPackage],
    ) -> Result<(Vec<LockedPackage>, Vec<BaseNote>), BootstrapError> {
        let solver = Solver::new(packages);
        let mut notes = Vec::new();
        let mut requirements = Vec::new();
        for name in &self.configuration.core {
            requirements.push(Requirement::Simple(Dependency::any(name)));
        }
        for name in &self.configuration.extra {
            let dependency = Dependency::any(name);
            if solver.index().providers(&dependency).is_empty() {
                notes.push(BaseNote::NotInRepository { name: name.clone() });
            } else {
                requirements.push(Requirement::Simple(dependency));
            }
        }
        let resolved = solver
            .solve(&SolveRequest::new(&self.arch, &requirements))
            .map_err(|explanation| BootstrapError::Unresolved { explanation: explanation.to_string() })?;
        Ok((resolved.to_lock().packages().to_vec(), notes))
    }

    /// Returns the package's file in the cache, fetched where it is not there, and verified.
    fn cached(&self, package: &LockedPackage, keyring: Option<&Keyring>) -> Result<PathBuf, BootstrapError> {
        let path = self.cache.join(format!("{}.rpm", package.sha256));
        let announced = PackageArtifact {
            nevra: package.nevra.clone(),
            path: package.path.clone(),
            sha256: package.sha256.clone(),
            size: package.size,
        };
        let bad = |error: RepositoryError| self.unusable(error.to_string());
        let verify = |path: &Path| -> Result<(), BootstrapError> {
            verify_package(path, &announced, PackageOrigin::Base).map_err(bad)?;
            match keyring {
                Some(keyring) => check_package(keyring, path)
                    .map_err(|reason| self.unusable(format!("signature of {}: {reason}", package.nevra))),
                None => Ok(()),
            }
        };
        if path.is_file() && verify(&path).is_ok() {
            return Ok(path);
        }
        let bytes = self.get(&package.path, package.size.clamp(1, LARGEST_PACKAGE))?;
        let mut file = tempfile::NamedTempFile::new_in(&self.cache)
            .map_err(BootstrapError::file("create a file in", &self.cache))?;
        std::io::Write::write_all(&mut file, &bytes).map_err(BootstrapError::file("write", &path))?;
        verify(file.path())?;
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(readable).map_err(BootstrapError::file("make readable", &path))?;
        file.persist(&path).map_err(|error| error.error).map_err(BootstrapError::file("write", &path))?;
        Ok(path)
    }
}

impl BaseSource for RepositoryBase<'_> {
    fn inputs(&self) -> &ContentDigest {
        &self.inputs
    }

    fn select(
        &self,
        _indexes: Indexes,
        reporter: &dyn Reporter,
    ) -> Result<Box<dyn Selection + '_>, BootstrapError> {
        reporter.report(Event::UpdatingIndexes);
        if self.signatures.metadata {
            self.check_metadata()?;
        }
        let packages = read_repository(self.fetch.as_ref(), PackageOrigin::Base)
            .map_err(|error| self.unusable(error.to_string()))?;
        let (packages, notes) = self.resolve(&packages)?;
        Ok(Box::new(RepositorySelection { base: self, packages, notes }))
    }
}

struct RepositorySelection<'a> {
    base: &'a RepositoryBase<'a>,
    /// Paths are relative to the repository.
    packages: Vec<LockedPackage>,
    notes: Vec<BaseNote>,
}

impl Selection for RepositorySelection<'_> {
    fn content(&self) -> ContentDigest {
        let mut hasher = ContentHasher::new("repository-content", 1);
        hasher.field("inputs", self.base.inputs.as_str());
        hasher.list("packages", self.packages.iter().map(|p| format!("{} {}", p.nevra, p.sha256)));
        hasher.finish()
    }

    fn write(&self, directory: &Path, reporter: &dyn Reporter) -> Result<Vec<BaseNote>, BootstrapError> {
        let cache = &self.base.cache;
        std::fs::create_dir_all(cache).map_err(BootstrapError::file("create", cache))?;
        for arch in [self.base.arch.as_str(), "noarch"] {
            let below = directory.join(arch);
            std::fs::create_dir_all(&below).map_err(BootstrapError::file("create", &below))?;
        }
        let keyring = self.base.signatures.packages.then(|| self.base.keyring()).transpose()?;
        reporter.report(Event::Downloading { packages: self.packages.len() });
        self.packages.par_iter().try_for_each(|package| {
            let cached = self.base.cached(package, keyring.as_ref())?;
            let place = directory.join(&package.nevra.arch).join(package.nevra.file_name());
            std::fs::hard_link(&cached, &place).map_err(BootstrapError::file("link", &place))
        })?;
        Ok(self.notes.clone())
    }
}
