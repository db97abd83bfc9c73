//! Which exact packages a build root or a worker holds.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[derive(Clone)]
pub struct BuildrootLock {
    packages: Packages,
}

/// Thousands of locks have most of their packages in common: they may share a table of them.
#[derive(Clone)]
enum Packages {
    Own(Vec<LockedPackage>),
    Shared {
        table: Arc<[LockedPackage]>,
        /// Places in the table, each in range.
        places: Box<[u32]>,
        /// Them all one after the other, once somebody asks for that.
        whole: OnceLock<Vec<LockedPackage>>,
    },
}

impl BuildrootLock {
    /// Returns the lock of these packages; sorts them and drops repetitions.
    pub fn new(mut packages: Vec<LockedPackage>) -> Self {
        packages.sort();
        packages.dedup_by(|a, b| a.nevra == b.nevra && a.sha256 == b.sha256);
        Self { packages: Packages::Own(packages) }
    }

    /// Returns the lock of packages at these places of a table, which are in a lock's order; `None` where the table
    /// has no such place.
    pub fn of_table(table: &Arc<[LockedPackage]>, places: Vec<u32>) -> Option<Self> {
        let in_range = places.iter().all(|place| (*place as usize) < table.len());
        let shared = || Packages::Shared {
            table: Arc::clone(table),
            places: places.into_boxed_slice(),
            whole: OnceLock::new(),
        };
        in_range.then(|| Self { packages: shared() })
    }

    /// Returns the packages, sorted by NEVRA. Whoever only looks through them calls [`iter`](Self::iter), which makes
    /// no list where there is none yet.
    pub fn packages(&self) -> &[LockedPackage] {
        match &self.packages {
            Packages::Own(packages) => packages,
            Packages::Shared { whole, .. } => whole.get_or_init(|| self.iter().cloned().collect()),
        }
    }

    /// Returns the packages, sorted by NEVRA.
    pub fn iter(&self) -> impl Iterator<Item = &LockedPackage> + Clone {
        let (own, shared) = match &self.packages {
            Packages::Own(packages) => (packages.as_slice(), None),
            Packages::Shared { table, places, .. } => (&[][..], Some((table, places))),
        };
        let shared = shared.into_iter();
        let shared = shared.flat_map(|(table, places)| places.iter().map(|place| &table[*place as usize]));
        own.iter().chain(shared)
    }

    /// Returns the identity of the content: NEVRAs and hashes, not the paths.
    pub fn digest(&self) -> ContentDigest {
        let mut hasher = ContentHasher::new("buildroot-lock", 1);
        hasher.list("packages", self.iter().map(|p| format!("{} {}", p.nevra, p.sha256)));
        hasher.finish()
    }
}

impl Default for BuildrootLock {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl fmt::Debug for BuildrootLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for BuildrootLock {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for BuildrootLock {}

impl Serialize for BuildrootLock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for BuildrootLock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { packages: Packages::Own(Vec::deserialize(deserializer)?) })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> LockedPackage {
        LockedPackage {
            nevra: format!("{name}-1-1.noarch").parse().unwrap(),
            sha256: ContentDigest::of_bytes(name.as_bytes()),
            size: 1,
            path: format!("/rpms/{name}.rpm"),
            origin: PackageOrigin::Tree,
        }
    }

    #[test]
    fn a_lock_is_the_same_however_it_is_held() {
        let table: Arc<[LockedPackage]> = ["c", "a", "b"].map(package).to_vec().into();
        let shared = BuildrootLock::of_table(&table, vec![1, 0]).unwrap();
        let own = BuildrootLock::new(["c", "a"].map(package).to_vec());
        assert_eq!(shared, own);
        assert_eq!(shared.packages(), own.packages());
        assert_eq!((shared.digest(), format!("{shared:?}")), (own.digest(), format!("{own:?}")));
        let text = serde_json::to_string(&shared).unwrap();
        assert_eq!(text, serde_json::to_string(own.packages()).unwrap());
        assert_eq!(serde_json::from_str::<BuildrootLock>(&text).unwrap(), shared);
        assert_ne!(BuildrootLock::of_table(&table, vec![1, 2]).unwrap(), own);
        assert!(BuildrootLock::of_table(&table, vec![1, 3]).is_none());
    }
}
