//! Build records on disk: one `<package>.json` per spec, replaced whole; and an index of them all, which decides
//! nothing (`index.rs`).

mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use file_index::Directory;
use rpm_model::BuildRecord;

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file operation failed.
    #[error("cannot {operation} the build record `{path}`")]
    Io {
        /// `read` or `write`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The directory of records.
#[derive(Clone, Debug)]
pub struct RecordStore {
    directory: PathBuf,
    /// A file that may be lost at any time.
    index: PathBuf,
}

impl RecordStore {
    /// Returns the store in a directory of a build directory, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self { index: directory.with_file_name("cache").join("index/records"), directory }
    }

    /// Returns all records by package. A record that this code cannot read, from another version or cut
    /// short, counts as absent: the package is then built again, which costs time and harms nothing.
    pub fn read_all(&self) -> Result<BTreeMap<String, BuildRecord>, RecordError> {
        let listed = Directory::list(&self.directory);
        if let Some(fault) = listed.own_fault() {
            let source = io::Error::new(fault.source.kind(), fault.source.to_string());
            return match source.kind() {
                io::ErrorKind::NotFound if fault.path == self.directory => Ok(BTreeMap::new()),
                _ => Err(fail("read", &fault.path, source)),
            };
        }
        let records = index::read_all(&listed, &self.index)?;
        Ok(records.into_iter().map(|record| (record.package.clone(), record)).collect())
    }

    /// Returns a package's record, as [`Self::read_all`] would.
    pub fn read(&self, package: &str) -> Result<Option<BuildRecord>, RecordError> {
        let path = self.path(package);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(parsed(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(fail("read", &path, source)),
        }
    }

    /// Returns the packages that have a record which [`RecordStore::read_all`], whose answer this is, left out.
    pub fn unreadable(&self, read: &BTreeMap<String, BuildRecord>) -> Result<BTreeSet<String>, RecordError> {
        let named = self.files()?.into_iter().filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
        Ok(named.filter(|name| !read.contains_key(name)).collect())
    }

    /// Returns the path of a package's record.
    pub fn path(&self, package: &str) -> PathBuf {
        self.directory.join(format!("{package}.json"))
    }

    /// Returns the files of records; none where there is no directory.
    fn files(&self) -> Result<Vec<PathBuf>, RecordError> {
        let fail = |source| fail("read", &self.directory, source);
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(fail)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                files.push(path);
            }
        }
        Ok(files)
    }

    /// Replaces a package's record; after a crash either the old or the new one is there, whole.
    pub fn write(&self, record: &BuildRecord) -> Result<(), RecordError> {
        let path = self.path(&record.package);
        let fail = |source| fail("write", &path, source);
        std::fs::create_dir_all(&self.directory).map_err(fail)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory).map_err(fail)?;
        serde_json::to_writer(&mut file, record).map_err(|error| fail(error.into()))?;
        file.write_all(b"\n").map_err(fail)?;
        // Temporary files are private; what was built and why is for everybody to ask.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(mode).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
        file.persist(&path).map_err(|error| fail(error.error))?;
        Ok(())
    }
}

/// Returns a record, unless this code cannot read it.
fn parsed(bytes: &[u8]) -> Option<BuildRecord> {
    let record = serde_json::from_slice::<BuildRecord>(bytes).ok()?;
    (record.schema == BuildRecord::SCHEMA).then_some(record)
}

fn fail(operation: &'static str, path: &Path, source: io::Error) -> RecordError {
    RecordError::Io { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpm_model::{BuildrootLock, ContentDigest, PackageArtifact, ResourceUsage};

    pub(super) fn record(package: &str) -> BuildRecord {
        let digest = ContentDigest::of_bytes(package.as_bytes());
        let nevra: rpm_model::Nevra = format!("{package}-1-1.src").parse().unwrap();
        BuildRecord {
            schema: BuildRecord::SCHEMA,
            package: package.into(),
            source: nevra.clone(),
            dist_counter: None,
            inputs: digest.clone(),
            identity: digest.clone(),
            worker: digest.clone(),
            lock: BuildrootLock::new(Vec::new()),
            checked: true,
            reasons: Vec::new(),
            rpms: Vec::new(),
            unmet: Vec::new(),
            srpm: PackageArtifact { nevra, path: "a".into(), sha256: digest, size: 1 },
            usage: ResourceUsage::default(),
            cpus: None,
            phases: Vec::new(),
            usage_source: None,
            check: None,
            generated: Vec::new(),
            caches: Vec::new(),
            triggers: Default::default(),
            input_parts: None,
            cascade: None,
            reused: None,
            changes: Vec::new(),
        }
    }

    #[test]
    fn records_are_kept_and_a_torn_one_counts_as_absent() {
        let directory = tempfile::tempdir().unwrap();
        let store = RecordStore::new(directory.path().join("records"));
        assert!(store.read_all().unwrap().is_empty());
        store.write(&record("zlib")).unwrap();
        store.write(&record("jq")).unwrap();
        std::fs::write(directory.path().join("records/torn.json"), "{\"schema\":1,").unwrap();
        let records = store.read_all().unwrap();
        assert_eq!(records.keys().collect::<Vec<_>>(), ["jq", "zlib"]);
        assert_eq!(records["jq"], record("jq"));
        assert_eq!(store.unreadable(&records).unwrap(), BTreeSet::from(["torn".to_owned()]));
        assert_eq!(store.read("jq").unwrap(), Some(record("jq")));
        assert_eq!((store.read("torn").unwrap(), store.read("absent").unwrap()), (None, None));
    }

    #[test]
    fn records_of_older_versions_are_read() {
        let mut value = serde_json::to_value(record("zlib")).unwrap();
        for new in ["phases", "usage_source", "check", "generated", "caches"] {
            assert!(value.as_object_mut().unwrap().remove(new).is_some());
        }
        assert_eq!(serde_json::from_value::<BuildRecord>(value).unwrap(), record("zlib"));
    }
}
