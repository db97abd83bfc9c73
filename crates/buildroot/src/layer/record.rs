//! What a layer is: keys, requests and descriptions, as plain data.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rpm_model::ContentDigest;
use serde::{Deserialize, Serialize};

use super::lease::Lease;
use super::scriptlet::Scriptlet;

/// Names one layer in a store: the SHA-256 of an RPM file, or `<kind>-<SHA-256>` for anything else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LayerKey(String);

/// A text that is no layer key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no layer key: expected a SHA-256, or lower-case letters, `-` and a SHA-256")]
pub struct LayerKeyError(String);

impl LayerKey {
    /// Returns the key of the content of the RPM file with this SHA-256.
    pub fn of_rpm(sha256: &ContentDigest) -> Self {
        Self(sha256.as_str().to_owned())
    }

    /// Returns the key of a directory of some other kind (lower-case letters, for example `rpmdb`)
    /// whose whole identity `digest` covers.
    pub fn of_kind(kind: &str, digest: &ContentDigest) -> Result<Self, LayerKeyError> {
        format!("{kind}-{digest}").parse()
    }

    /// Returns what kind of layer it names: `rpm`, or what [`Self::of_kind`] was given.
    pub fn kind(&self) -> &str {
        self.0.rsplit_once('-').map_or("rpm", |(kind, _)| kind)
    }

    /// Returns the text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LayerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LayerKey {
    type Err = LayerKeyError;

    fn from_str(text: &str) -> Result<Self, LayerKeyError> {
        let (kind, digest) =
            text.rsplit_once('-').map_or((None, text), |(kind, digest)| (Some(kind), digest));
        let kind_is_legal = kind.is_none_or(|kind| {
            !kind.is_empty() && kind.len() <= 32 && kind.bytes().all(|byte| byte.is_ascii_lowercase())
        });
        match digest.parse::<ContentDigest>() {
            Ok(parsed) if kind_is_legal && parsed.as_str() == digest => Ok(Self(text.to_owned())),
            _ => Err(LayerKeyError(text.to_owned())),
        }
    }
}

impl From<LayerKey> for String {
    fn from(key: LayerKey) -> Self {
        key.0
    }
}

impl TryFrom<String> for LayerKey {
    type Error = LayerKeyError;

    fn try_from(text: String) -> Result<Self, LayerKeyError> {
        text.parse()
    }
}

/// One RPM whose content is wanted as a layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerRequest {
    /// Where the RPM file is; read only when the layer is not there yet.
    pub path: PathBuf,
    /// SHA-256 of the RPM file.
    pub sha256: ContentDigest,
    /// Size of the RPM file in bytes, when known; a wrong size is found without reading the file.
    pub size: Option<u64>,
}

impl From<&rpm_model::LockedPackage> for LayerRequest {
    fn from(package: &rpm_model::LockedPackage) -> Self {
        Self { path: PathBuf::from(&package.path), sha256: package.sha256.clone(), size: Some(package.size) }
    }
}

/// Says what happens to set-user-id and set-group-id bits of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetuidPolicy {
    /// They are removed: nothing in a build root gains privileges.
    Strip,
    /// They are kept, for a root that is to equal an installed one.
    Keep,
}

/// Tells whether a layer was there already, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerOutcome {
    /// It was there.
    Hit,
    /// It was made now.
    Made(LayerMissReason),
}

/// Why a layer had to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerMissReason {
    /// It was not in the store.
    Absent,
    /// It was made before the machine was last started, and layers are not synced to disk.
    OtherBoot,
    /// Its description could not be read.
    Damaged,
}

/// Numbers of one layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerCounts {
    /// Regular files; every name of a hard link set counts.
    pub files: u64,
    /// Directories, those that only lead to others included.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of file content; a hard link set counts once.
    pub bytes: u64,
}

/// A published layer; it is not collected while this value lives.
#[derive(Debug, Clone)]
pub struct Layer {
    pub(super) key: LayerKey,
    pub(super) dir: PathBuf,
    pub(super) record: LayerRecord,
    pub(super) outcome: LayerOutcome,
    /// Kept for what it does while it lives.
    pub(super) _lease: Arc<Lease>,
}

impl Layer {
    /// Returns its key.
    pub fn key(&self) -> &LayerKey {
        &self.key
    }

    /// Returns the directory to use as an overlay lower. Never write there.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the name of the package it was made of; `None` for other directories.
    pub fn package_name(&self) -> Option<&str> {
        self.record.package.as_ref().map(|package| package.name.as_str())
    }

    /// Returns the NEVRA of the package it was made of; `None` for other directories.
    pub fn nevra(&self) -> Option<&str> {
        self.record.package.as_ref().map(|package| package.nevra.as_str())
    }

    /// Returns how much is in it.
    pub fn counts(&self) -> LayerCounts {
        self.record.counts
    }

    /// Returns the scriptlets and triggers that installing the package would have run and that do
    /// more than refresh the linker cache. None of them was run.
    pub fn scriptlets(&self) -> &[Scriptlet] {
        &self.record.scriptlets
    }

    /// Returns what rpm warned of when it made the layer in a transaction.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.record.warnings
    }

    /// Returns whether it was made now.
    pub(crate) fn was_made(&self) -> bool {
        self.outcome != LayerOutcome::Hit
    }

    /// Returns whether it was there already.
    pub fn outcome(&self) -> LayerOutcome {
        self.outcome
    }
}

/// The description of a layer that is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// Boot id of the machine when it was made.
    pub(crate) boot: String,
    /// The package, when it was made of one.
    pub(crate) package: Option<PackageIdentity>,
    pub(crate) counts: LayerCounts,
    pub(crate) scriptlets: Vec<Scriptlet>,
    /// What rpm warned of when it made the layer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// Identity of a package, from its header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackageIdentity {
    pub(crate) name: String,
    pub(crate) nevra: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_file_names() {
        let digest = ContentDigest::of_bytes(b"x");
        assert_eq!(LayerKey::of_rpm(&digest).as_str(), digest.as_str());
        let key = LayerKey::of_kind("rpmdb", &digest).expect("legal");
        assert_eq!(key.as_str(), format!("rpmdb-{digest}"));
        for bad in ["", "rpmdb", "-", "../x", "rpm db", "RPMDB", "a/b"] {
            assert!(bad.parse::<LayerKey>().is_err(), "{bad}");
            assert!(LayerKey::of_kind(bad, &digest).is_err() || bad == "rpmdb", "{bad}");
        }
        assert!(digest.as_str().to_uppercase().parse::<LayerKey>().is_err());
    }
}
