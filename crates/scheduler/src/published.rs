//! What was built, held against what is published: the same, the same but for a signature, or changed.
//!
//! A package that is the same in header and payload is not published again: the published file stays, byte for
//! byte, also when somebody has signed it since, and nothing that needs it is built again. Of a package that is
//! not the same, the first differences are told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use repository::{
    IndexedPackage, differences_apart_from_release, header_differences, read_package,
    same_apart_from_signature,
};
use rpm_model::{
    BuildRecord, ChangedPackage, ContentDigest, PackageDifference, PackageOrigin, RecordedPackage,
};

/// Compares the packages of one spec, one after the other.
pub(crate) struct PublishedComparison<'a> {
    rpms: &'a Path,
    recorded: &'a [RecordedPackage],
    /// Paths of files that stay although they are other bytes than the built ones.
    kept: BTreeSet<String>,
    changes: Vec<ChangedPackage>,
}

/// What becomes of a package that was built.
pub(crate) enum Place {
    /// The published file stays, as it is.
    Keep(Box<IndexedPackage>),
    /// The new file is moved to where its name says.
    Move,
}

impl<'a> PublishedComparison<'a> {
    /// Starts a comparison with what the record says is published below `rpms`.
    pub(crate) fn new(rpms: &'a Path, record: Option<&'a BuildRecord>) -> Self {
        let recorded = record.map_or(&[][..], |record| &record.rpms);
        Self { rpms, recorded, kept: BTreeSet::new(), changes: Vec::new() }
    }

    /// Compares one package that was built and belongs at `relative`.
    pub(crate) fn place(&mut self, built: &IndexedPackage, relative: &str) -> Place {
        let nevra = &built.header.nevra;
        let of_that_name = |rpm: &&RecordedPackage| {
            (&rpm.artifact.nevra.name, &rpm.artifact.nevra.arch) == (&nevra.name, &nevra.arch)
        };
        let Some(old) = self.recorded.iter().find(of_that_name) else { return Place::Move };
        if old.artifact.path == relative {
            let published = self.rpms.join(relative);
            // A file that cannot be compared is replaced.
            if same_apart_from_signature(&published, &built.path).unwrap_or(false)
                && let Ok(kept) = read_package(&published, PackageOrigin::Tree)
            {
                self.kept.insert(relative.to_owned());
                return Place::Keep(Box::new(kept));
            }
            if old.artifact.sha256 == built.sha256 {
                // What is published is damaged.
                return Place::Move;
            }
        }
        let published: PathBuf = self.rpms.join(&old.artifact.path);
        // That a release has risen is plain, and shows in many places.
        let same_version = old.artifact.nevra.evr.version == nevra.evr.version;
        let compare = if same_version { differences_apart_from_release } else { header_differences };
        if let Ok(differences) = compare(&published, &built.path)
            && !matches!(differences[..], [] | [PackageDifference::SignatureHeader])
        {
            self.changes.push(ChangedPackage::new(old.artifact.nevra.clone(), differences));
        }
        Place::Move
    }

    /// Returns whether what is published changes, and how; `after` are the packages by path as they are then.
    pub(crate) fn finish(mut self, after: &BTreeMap<String, ContentDigest>) -> (bool, Vec<ChangedPackage>) {
        let before: BTreeMap<&String, &ContentDigest> =
            self.recorded.iter().map(|rpm| (&rpm.artifact.path, &rpm.artifact.sha256)).collect();
        let is_same = |path: &String, content: &ContentDigest| {
            before.get(path) == Some(&content) || (before.contains_key(path) && self.kept.contains(path))
        };
        let changed =
            before.len() != after.len() || after.iter().any(|(path, content)| !is_same(path, content));
        let names: BTreeSet<(&str, &str)> = after.keys().filter_map(|path| name_of(path)).collect();
        for old in self.recorded {
            if name_of(&old.artifact.path).is_some_and(|name| !names.contains(&name)) {
                self.changes.push(ChangedPackage::new(old.artifact.nevra.clone(), Vec::new()));
            }
        }
        self.changes.sort_by(|a, b| a.published.cmp(&b.published));
        (changed, self.changes)
    }
}

/// Returns architecture and name of the package of a path `<arch>/<name>-<version>-<release>.<arch>.rpm`.
fn name_of(path: &str) -> Option<(&str, &str)> {
    let (arch, file) = path.split_once('/')?;
    let mut parts = file.rsplitn(3, '-');
    let _ = (parts.next()?, parts.next()?);
    Some((arch, parts.next()?))
}
