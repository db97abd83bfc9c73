//! Which exact packages a build root or a worker holds.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::hash::{ContentDigest, ContentHasher};
use crate::nevra::Nevra;

/// Where a package comes from; earlier variants are preferred for what a spec asks for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageOrigin {
    /// Built from the tree in this or an earlier run (`out/RPMS`).
    Tree,
    /// The staging repository of the distribution: accepted, not yet promoted.
    Staging,
    /// The live repository of the distribution.
    Live,
    /// A repository of the base distribution, through the RPM cache.
    Base,
    /// The toolchain repository.
    Toolchain,
}

/// One package of a build root, pinned by content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockedPackage {
    /// Its identity.
    pub nevra: Nevra,
    /// SHA-256 of the RPM file.
    pub sha256: ContentDigest,
    /// Size of the RPM file in bytes.
    pub size: u64,
    /// Where the file can be read on this host; not part of any identity.
    pub path: String,
    /// Where it comes from.
    pub origin: PackageOrigin,
}

/// The exact content of a build root, sorted by NEVRA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildrootLock {
    packages: Vec<LockedPackage>,
}

impl BuildrootLock {
    /// Returns the lock of these packages; sorts them and drops repetitions.
    pub fn new(mut packages: Vec<LockedPackage>) -> Self {
        packages.sort();
        packages.dedup_by(|a, b| a.nevra == b.nevra && a.sha256 == b.sha256);
        Self { packages }
    }

    /// Returns the packages, sorted by NEVRA.
    pub fn packages(&self) -> &[LockedPackage] {
        &self.packages
    }

    /// Returns the identity of the content: NEVRAs and hashes, not the paths.
    pub fn digest(&self) -> ContentDigest {
        let mut hasher = ContentHasher::new("buildroot-lock", 1);
        hasher.list("packages", self.packages.iter().map(|p| format!("{} {}", p.nevra, p.sha256)));
        hasher.finish()
    }
}

/// `build/worker/worker.json`: a worker generation, the packages that every build root starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerManifest {
    /// This code reads and writes [`WorkerManifest::SCHEMA`].
    pub schema: u32,
    /// The architecture it builds for and runs on.
    pub arch: String,
    /// The core packages: the frozen closure of the core list.
    pub core: BuildrootLock,
    /// The directory that holds `/var/lib/rpm` of the core set, made by rpm itself (`--justdb`).
    pub rpmdb: String,
}

impl WorkerManifest {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;

    /// Returns the content of the core packages, which most build roots have in common.
    pub fn core_contents(&self) -> BTreeSet<ContentDigest> {
        self.core.packages().iter().map(|package| package.sha256.clone()).collect()
    }

    /// Returns the generation's identity: its core lock's digest.
    pub fn generation(&self) -> ContentDigest {
        self.core.digest()
    }
}
