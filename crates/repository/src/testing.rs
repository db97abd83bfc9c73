//! Tiny packages and scratch directories for this crate's own tests.

use std::path::{Path, PathBuf};

use rpm_model::{ContentDigest, Dependency, Nevra, PackageHeader, PackageOrigin, Requirement};
use rpm_writer::{FileEntry, Package, Payload};

use crate::{IndexedPackage, PackageFacts};

/// A directory that goes away with the value.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file below the directory, making directories as needed.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes a package as a real RPM file at the top of the directory.
    pub(crate) fn package(&self, package: &TinyPackage) -> PathBuf {
        self.write(&package.nevra.file_name(), &package.bytes())
    }
}

/// A package described in texts, as data or as a real RPM file.
#[derive(Clone, Debug)]
pub(crate) struct TinyPackage {
    pub(crate) nevra: Nevra,
    requires: Vec<String>,
    provides: Vec<String>,
    conflicts: Vec<String>,
    obsoletes: Vec<String>,
    files: Vec<String>,
    origin: PackageOrigin,
}

impl TinyPackage {
    pub(crate) fn new(name: &str, evr: &str, arch: &str) -> Self {
        Self {
            nevra: Nevra::new(name, evr.parse().unwrap(), arch),
            requires: Vec::new(),
            provides: vec![format!("{name} = {evr}")],
            conflicts: Vec::new(),
            obsoletes: Vec::new(),
            files: Vec::new(),
            origin: PackageOrigin::Toolchain,
        }
    }

    pub(crate) fn requires(mut self, text: &str) -> Self {
        self.requires.push(text.to_owned());
        self
    }

    pub(crate) fn provides(mut self, text: &str) -> Self {
        self.provides.push(text.to_owned());
        self
    }

    pub(crate) fn conflicts(mut self, text: &str) -> Self {
        self.conflicts.push(text.to_owned());
        self
    }

    pub(crate) fn obsoletes(mut self, text: &str) -> Self {
        self.obsoletes.push(text.to_owned());
        self
    }

    pub(crate) fn file(mut self, path: &str) -> Self {
        self.files.push(path.to_owned());
        self
    }

    pub(crate) fn origin(mut self, origin: PackageOrigin) -> Self {
        self.origin = origin;
        self
    }

    /// The package as data, without a file behind it.
    pub(crate) fn indexed(&self) -> IndexedPackage {
        let requirements = |list: &[String]| -> Vec<Requirement> {
            let mut list: Vec<Requirement> = list.iter().map(|text| text.parse().unwrap()).collect();
            list.sort();
            list
        };
        let simple =
            |list: &[String]| -> Vec<Dependency> { list.iter().map(|text| text.parse().unwrap()).collect() };
        let mut files = self.files.clone();
        files.sort();
        IndexedPackage {
            header: PackageHeader {
                nevra: self.nevra.clone(),
                source_rpm: None,
                provides: simple(&self.provides),
                requires: requirements(&self.requires),
                conflicts: requirements(&self.conflicts),
                obsoletes: simple(&self.obsoletes),
                recommends: Vec::new(),
                supplements: Vec::new(),
                files,
            },
            facts: PackageFacts::default(),
            sha256: ContentDigest::of_bytes(format!("{:?} {}", self.origin, self.nevra).as_bytes()),
            size: 1000,
            path: PathBuf::from(format!("/packages/{:?}/{}", self.origin, self.nevra.file_name())),
            origin: self.origin,
        }
    }

    /// The bytes of a real RPM file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let evr = &self.nevra.evr;
        let release = evr.release.as_deref().unwrap();
        let mut package = Package::new(&self.nevra.name, &evr.version, release, &self.nevra.arch);
        package.epoch = (evr.epoch != 0).then_some(evr.epoch);
        package.license = "MIT".into();
        package.summary = "A tiny package".into();
        let parsed = |list: &[String]| list.iter().map(|text| rpm_writer::Dependency::parse(text)).collect();
        package.requires = parsed(&self.requires);
        package.provides = parsed(&self.provides);
        package.conflicts = parsed(&self.conflicts);
        package.obsoletes = parsed(&self.obsoletes);
        let files = self.files.iter().map(|path| FileEntry::file(path, 0o644, "content\n")).collect();
        package.to_bytes(&Payload::pack(files).unwrap()).unwrap()
    }
}
