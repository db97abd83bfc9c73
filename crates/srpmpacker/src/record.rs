//! What an SRPM was made of: `<build>/cache/srpms/<arch>/<spec>.json`.
//!
//! A record holds every input by name and content, so that the question "must it be packed again, and why"
//! is answered without a process. It also holds the SRPM's own hash, with the stamp of the file that had it: as in
//! git's index it only saves hashing a file that did not change.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use file_index::{Stamp, replace_file};
use rpm_model::{ContentDigest, ContentHasher};
use serde::{Deserialize, Serialize};
use sources::hash_file;

/// Raised when the way SRPMs are made changes, so that all are made again.
const PACKER: u32 = 3;

/// Everything that decides the bytes of an SRPM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackInputs {
    /// The spec's text.
    pub spec: ContentDigest,
    /// The text, what its macros may read, and the macros themselves: specreader's key.
    pub reading: ContentDigest,
    /// Whether the SRPM carries the build requirements of `%check`.
    pub run_check: bool,
    /// Sources and patches: base name → hash.
    pub sources: BTreeMap<String, ContentDigest>,
}

impl PackInputs {
    /// Returns the identity of these inputs for this version of the packer.
    pub fn key(&self) -> ContentDigest {
        let mut hasher = ContentHasher::new("srpm", PACKER);
        hasher.field("spec", self.spec.as_str()).field("reading", self.reading.as_str());
        hasher.field("run-check", &self.run_check.to_string());
        hasher
            .list("sources", self.sources.iter().flat_map(|(file, digest)| [file.as_str(), digest.as_str()]));
        hasher.finish()
    }

    /// Returns the names of inputs that differ: `spec`, `macros`, `run-check`, then files, sorted.
    ///
    /// Files beside the spec may be read by its macros as well; `macros` is only named when neither the spec
    /// nor a file of it explains the difference.
    pub fn changed_since(&self, before: &PackInputs) -> Vec<String> {
        let mut changed: Vec<String> = self
            .sources
            .iter()
            .filter(|(file, digest)| before.sources.get(*file) != Some(digest))
            .map(|(file, _)| file.clone())
            .chain(before.sources.keys().filter(|file| !self.sources.contains_key(*file)).cloned())
            .collect();
        changed.sort();
        if self.run_check != before.run_check {
            changed.insert(0, "run-check".to_owned());
        }
        if self.spec != before.spec {
            changed.insert(0, "spec".to_owned());
        } else if self.reading != before.reading && changed.is_empty() {
            changed.push("macros".to_owned());
        }
        changed
    }
}

/// The record of one spec's SRPM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SrpmRecord {
    /// [`PackInputs::key`], with the packer's version in it.
    pub key: ContentDigest,
    /// What it was made of.
    pub inputs: PackInputs,
    /// The SRPM's file name.
    pub srpm: String,
    /// The SRPM's hash.
    pub sha256: ContentDigest,
    stamp: Stamp,
}

/// Whether the SRPM of a record is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrpmState {
    /// It is, with the recorded bytes.
    Intact,
    /// It is gone.
    Missing,
    /// It has other bytes.
    Altered,
}

impl SrpmRecord {
    /// Returns the record of an SRPM that was just made.
    ///
    /// # Errors
    /// When the SRPM cannot be read.
    pub fn of(inputs: PackInputs, srpm: &Path) -> io::Result<Self> {
        // The stamp first: a change in between makes it stale, never falsely right.
        let metadata = fs::metadata(srpm)?;
        Ok(Self::known(inputs, srpm, &metadata, hash_file(srpm)?))
    }

    /// Returns the record of an SRPM whose hash is known, of the time when it was as `metadata` says.
    pub(crate) fn known(
        inputs: PackInputs,
        srpm: &Path,
        metadata: &fs::Metadata,
        sha256: ContentDigest,
    ) -> Self {
        let name = srpm.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { key: inputs.key(), inputs, srpm: name, sha256, stamp: Stamp::of(metadata) }
    }

    /// Looks at the SRPM in a directory; hashes it only when its stamp differs, and then takes the new stamp
    /// over.
    pub fn check(&mut self, directory: &Path) -> SrpmState {
        let path = directory.join(&self.srpm);
        let Ok(stamp) = fs::metadata(&path).map(|metadata| Stamp::of(&metadata)) else {
            return SrpmState::Missing;
        };
        if stamp == self.stamp {
            return SrpmState::Intact;
        }
        match hash_file(&path) {
            Ok(sha256) if sha256 == self.sha256 => {
                self.stamp = stamp;
                SrpmState::Intact
            }
            Ok(_) => SrpmState::Altered,
            Err(_) => SrpmState::Missing,
        }
    }
}

/// The directory of records.
#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
}

impl Records {
    /// Returns the records in a directory, which need not exist yet.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Returns a spec's record; one that cannot be read is as good as none.
    pub fn read(&self, name: &str) -> Option<SrpmRecord> {
        serde_json::from_slice(&fs::read(self.path(name)).ok()?).ok()
    }

    /// Writes a spec's record, atomically.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, record: &SrpmRecord) -> io::Result<()> {
        replace_file(&self.path(name), &[&serde_json::to_vec(record)?])
    }

    /// Removes a spec's record, if any.
    ///
    /// # Errors
    /// When there is one that cannot be removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the names of all recorded specs, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
            .collect();
        names.sort();
        names
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> ContentDigest {
        ContentDigest::of_bytes(text.as_bytes())
    }

    fn inputs(spec: &str, sources: &[(&str, &str)]) -> PackInputs {
        let sources = sources.iter().map(|(file, text)| ((*file).to_owned(), digest(text))).collect();
        PackInputs { spec: digest(spec), reading: digest("r"), run_check: false, sources }
    }

    #[test]
    fn every_input_decides_and_is_named_when_it_changed() {
        let before = inputs("s", &[("a", "1"), ("b", "1")]);
        let cases: [(PackInputs, &[&str]); 7] = [
            (PackInputs { reading: digest("macros"), ..before.clone() }, &["macros"]),
            (PackInputs { run_check: true, ..before.clone() }, &["run-check"]),
            (inputs("s", &[("a", "1"), ("b", "1")]), &[]),
            (inputs("t", &[("a", "1"), ("b", "1")]), &["spec"]),
            (inputs("s", &[("a", "2"), ("b", "1")]), &["a"]),
            (inputs("s", &[("a", "1")]), &["b"]),
            (inputs("t", &[("a", "1"), ("b", "1"), ("c", "1")]), &["spec", "c"]),
        ];
        for (after, changed) in cases {
            assert_eq!(after.changed_since(&before), changed);
            assert_eq!(after.key() == before.key(), changed.is_empty());
        }
        // A name that moves from one file to the other is another set of inputs.
        assert_ne!(inputs("s", &[("a", "1")]).key(), inputs("s", &[("b", "1")]).key());
    }

    #[test]
    fn srpm_is_judged_by_its_bytes_not_by_its_time() {
        let directory = tempfile::tempdir().unwrap();
        let srpm = directory.path().join("a-1-1.src.rpm");
        fs::write(&srpm, "srpm").unwrap();
        let mut record = SrpmRecord::of(inputs("s", &[]), &srpm).unwrap();
        assert_eq!(record.check(directory.path()), SrpmState::Intact);
        // The same bytes in another inode.
        fs::write(directory.path().join("copy"), "srpm").unwrap();
        fs::rename(directory.path().join("copy"), &srpm).unwrap();
        let old = record.clone();
        assert_eq!(record.check(directory.path()), SrpmState::Intact);
        assert_ne!(record.stamp, old.stamp);
        fs::write(&srpm, "other bytes").unwrap();
        assert_eq!(record.check(directory.path()), SrpmState::Altered);
        fs::remove_file(&srpm).unwrap();
        assert_eq!(record.check(directory.path()), SrpmState::Missing);
    }

    #[test]
    fn records_survive_and_damage_is_no_record() {
        let directory = tempfile::tempdir().unwrap();
        let srpm = directory.path().join("a.src.rpm");
        fs::write(&srpm, "srpm").unwrap();
        let records = Records::new(directory.path().join("records"));
        assert!(records.names().is_empty());
        let record = SrpmRecord::of(inputs("s", &[("a", "1")]), &srpm).unwrap();
        records.write("zlib", &record).unwrap();
        assert_eq!(records.read("zlib"), Some(record));
        assert_eq!(records.names(), ["zlib"]);
        fs::write(directory.path().join("records/zlib.json"), "{\"key\":").unwrap();
        assert_eq!(records.read("zlib"), None);
        records.remove("zlib").unwrap();
        records.remove("zlib").unwrap();
    }
}
