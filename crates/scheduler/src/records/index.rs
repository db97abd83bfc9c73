//! All records in one file, so that thousands of them are read at once: `build/cache/index/records`.
//!
//! A memory of the files of records, by their stamps: what is not in it as it is now is read from its own file. Build
//! roots, which are most of a record and have most of their packages in common, are places in one table of packages.
//! The rest of a record is kept as it is written. The file is made again when it is missing, damaged or from another
//! version, and when so many records are not in it that reading those shows.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use file_index::{Directory, FileEntry, Sealed, Stamp, read_sealed, write_sealed};
use rayon::prelude::*;
use rpm_model::{BuildRecord, BuildrootLock, LockedPackage};
use serde::{Deserialize, Serialize};

use super::{RecordError, fail, parsed};

/// Raised when [`Stored`], or the form of records, changes.
const KIND: [u8; 8] = *b"records1";

/// So many records are read from their own files without making the index again.
const APART: usize = 16;

/// And more where this is a smaller part of all.
const PART: usize = 64;

#[derive(Default, Serialize, Deserialize)]
struct Stored<'a> {
    /// JSON of all packages of all build roots.
    table: &'a [u8],
    #[serde(borrow)]
    records: Vec<StoredRecord<'a>>,
}

/// One record.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredRecord<'a> {
    /// The name of its file.
    name: &'a [u8],
    stamp: Stamp,
    /// Its build root, as places in the table.
    lock: Vec<u32>,
    /// Its JSON without the build root.
    rest: &'a [u8],
}

/// A record that was read, and whether the index has it.
struct Read {
    record: BuildRecord,
    indexed: bool,
    /// Whether its stamp says that it is as it was read.
    settled: bool,
}

/// Returns all records of a directory that this code can read.
pub(super) fn read_all(directory: &Directory, index: &Path) -> Result<Vec<BuildRecord>, RecordError> {
    let content = read_sealed(index, KIND);
    let known = Known::of(content.as_ref());
    let files: Vec<&FileEntry> = directory.files().iter().filter(|file| is_record(&file.name)).collect();
    let read = |file: &&FileEntry| -> Result<Option<Read>, RecordError> {
        if let Some(record) = known.record(file) {
            return Ok(Some(Read { record, indexed: true, settled: true }));
        }
        let path = directory.path().join(&file.name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail("read", &path, error)),
        };
        // Only the bytes that the stamp belongs to may be remembered under it.
        let same = fs::metadata(&path).is_ok_and(|now| Stamp::of(&now) == file.stamp);
        let settled = same && file.stamp.is_settled(directory.looked());
        Ok(parsed(&bytes).map(|record| Read { record, indexed: false, settled }))
    };
    let read: Vec<Option<Read>> = files.par_iter().map(read).collect::<Result<_, _>>()?;
    let apart = read.iter().flatten().filter(|read| read.settled && !read.indexed).count();
    let gone = known.number().saturating_sub(read.iter().flatten().filter(|read| read.indexed).count());
    let most = (files.len() / PART).max(APART);
    let mut read: Vec<(&FileEntry, Read)> =
        files.into_iter().zip(read).filter_map(|(file, read)| Some((file, read?))).collect();
    if apart.max(gone) > most {
        // The next run makes it where this one cannot.
        let _ = write(index, &mut read);
    }
    Ok(read.into_iter().map(|(_, read)| read.record).collect())
}

/// Returns whether a file is called like a record.
fn is_record(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}

/// What the index says.
struct Known<'a> {
    table: Arc<[LockedPackage]>,
    records: HashMap<&'a [u8], StoredRecord<'a>>,
}

impl<'a> Known<'a> {
    fn of(content: Option<&'a Sealed>) -> Self {
        let stored: Stored<'a> =
            content.and_then(|content| postcard::from_bytes(content).ok()).unwrap_or_default();
        let table: Option<Vec<LockedPackage>> = serde_json::from_slice(stored.table).ok();
        let records = stored.records.into_iter().map(|record| (record.name, record));
        match table {
            Some(table) => Self { table: table.into(), records: records.collect() },
            None => Self { table: Arc::new([]), records: HashMap::new() },
        }
    }

    fn number(&self) -> usize {
        self.records.len()
    }

    fn record(&self, file: &FileEntry) -> Option<BuildRecord> {
        let stored = self.records.get(file.name.as_bytes()).filter(|stored| stored.stamp == file.stamp)?;
        let record = parsed(stored.rest)?;
        Some(BuildRecord { lock: BuildrootLock::of_table(&self.table, stored.lock.clone())?, ..record })
    }
}

/// Writes the index of those records that are settled.
fn write(index: &Path, read: &mut [(&FileEntry, Read)]) -> io::Result<()> {
    let settled = || read.iter().filter(|(_, read)| read.settled);
    let mut places: HashMap<&LockedPackage, u32> = HashMap::new();
    let mut table: Vec<&LockedPackage> = Vec::new();
    let mut locks = Vec::new();
    for (_, read) in settled() {
        let place = |package| {
            *places.entry(package).or_insert_with(|| {
                table.push(package);
                // There are fewer packages than four thousand million.
                (table.len() - 1) as u32
            })
        };
        locks.push(read.record.lock.iter().map(place).collect::<Vec<u32>>());
    }
    let table = serde_json::to_vec(&table)?;
    drop(places);
    let rests = read.par_iter_mut().filter(|(_, read)| read.settled).map(|(_, read)| {
        let lock = std::mem::take(&mut read.record.lock);
        let rest = serde_json::to_vec(&read.record);
        read.record.lock = lock;
        rest
    });
    let rests = rests.collect::<Result<Vec<Vec<u8>>, _>>()?;
    let records = read.iter().filter(|(_, read)| read.settled).zip(locks).zip(&rests);
    let records = records.map(|(((file, _), lock), rest)| StoredRecord {
        name: file.name.as_bytes(),
        stamp: file.stamp,
        lock,
        rest,
    });
    let stored = Stored { table: &table, records: records.collect() };
    write_sealed(index, KIND, &postcard::to_allocvec(&stored).map_err(io::Error::other)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rpm_model::{ContentDigest, PackageOrigin};

    use super::super::RecordStore;
    use super::super::tests::record;
    use super::*;

    fn locked(name: &str) -> LockedPackage {
        LockedPackage {
            nevra: format!("{name}-1-1.noarch").parse().unwrap(),
            sha256: ContentDigest::of_bytes(name.as_bytes()),
            size: 1,
            path: String::new(),
            origin: PackageOrigin::Toolchain,
        }
    }

    /// A record whose build root has two packages that all have, and one of its own.
    fn record_with_lock(number: usize) -> BuildRecord {
        let own = format!("own{number}");
        BuildRecord {
            lock: BuildrootLock::new(["bash", "gcc", &own].map(locked).to_vec()),
            ..record(&format!("package{number}"))
        }
    }

    fn settle() {
        std::thread::sleep(Duration::from_millis(50));
    }

    #[test]
    fn the_index_says_what_the_files_say() {
        let directory = tempfile::tempdir().unwrap();
        let store = RecordStore::new(directory.path().join("records"));
        let index = directory.path().join("cache/index/records");
        let read = || store.read_all().unwrap().into_values().collect::<Vec<_>>();
        let mut expected: Vec<BuildRecord> = (100..130).map(record_with_lock).collect();
        expected.iter().for_each(|record| store.write(record).unwrap());
        settle();
        assert_eq!(read(), expected);
        assert!(index.is_file(), "so many are indexed");
        let whole = fs::read(&index).unwrap();
        assert_eq!(read(), expected);
        // In place, in the same length and with its time put back: the stamp tells.
        let path = directory.path().join("records/package100.json");
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"checked\":true,"));
        let text = text.replace("\"size\":1}", "\"size\":2}");
        fs::write(&path, &text).unwrap();
        fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
        expected[0] = serde_json::from_str(&text).unwrap();
        assert_eq!(read(), expected);
        // One more, one less, one that is none.
        expected.push(record_with_lock(130));
        store.write(&expected[30]).unwrap();
        fs::remove_file(directory.path().join("records/package101.json")).unwrap();
        expected.remove(1);
        fs::write(directory.path().join("records/package102.json"), "{").unwrap();
        expected.remove(1);
        settle();
        assert_eq!(read(), expected);
        assert_eq!(fs::read(&index).unwrap(), whole, "a few are read from their own files");
        for place in [0, 20, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&index, damaged).unwrap();
            assert_eq!(read(), expected, "byte {place} of the index is damaged");
        }
        expected.drain(5..).for_each(|record| {
            fs::remove_file(directory.path().join(format!("records/{}.json", record.package))).unwrap();
        });
        assert_eq!(read(), expected);
        assert!(fs::read(&index).unwrap().len() < whole.len(), "what is gone is forgotten");
    }

    #[test]
    fn what_may_change_within_its_tick_is_not_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let store = RecordStore::new(directory.path().join("records"));
        for round in 0..5u32 {
            let all: Vec<BuildRecord> =
                (0..40).map(|number| BuildRecord { cpus: Some(round), ..record_with_lock(number) }).collect();
            all.iter().for_each(|record| store.write(record).unwrap());
            let read = store.read_all().unwrap();
            assert!(read.values().all(|record| record.cpus == Some(round)), "round {round}");
        }
    }
}
