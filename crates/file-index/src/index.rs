//! The memory of hashes: (path, device, inode, size, times) → SHA-256, one file for many directories.
//!
//! As git's index does, a file is read only when its stamp is not the one it had when it was hashed; the
//! difference to git is that a hash whose stamp was not [settled](Stamp::is_settled) is never kept.
//!
//! The file is read once and replaced by rename when something new was learned, so many processes may use one
//! at the same time: the last one's memory stays, and what only the others learned is hashed again. An entry that
//! was not asked for while the file was replaced 16 times is forgotten. A file that is damaged or from another
//! version is an empty memory.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rpm_model::ContentDigest;
use serde::{Deserialize, Serialize};

use crate::hash::hash_file;
use crate::listing::{Directory, FileEntry};
use crate::sealed::{read_sealed, write_sealed};
use crate::stamp::Stamp;

const KIND: [u8; 8] = *b"stamps 1";

/// How many times the file is replaced before an entry that nobody asks for is forgotten.
const KEPT: u32 = 16;

/// Remembered hashes of files; shared by the threads of a run.
#[derive(Debug)]
pub struct FileIndex {
    file: PathBuf,
    generation: u32,
    known: HashMap<PathBuf, Vec<Known>>,
    fresh: Mutex<HashMap<PathBuf, Vec<Known>>>,
    unsaved: AtomicBool,
}

#[derive(Debug)]
struct Known {
    name: OsString,
    stamp: Stamp,
    hash: [u8; 32],
    generation: u32,
    asked: AtomicBool,
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    generation: u32,
    #[serde(borrow)]
    directories: Vec<(&'a [u8], Vec<StoredFile<'a>>)>,
}

#[derive(Serialize, Deserialize)]
struct StoredFile<'a> {
    name: &'a [u8],
    stamp: Stamp,
    hash: [u8; 32],
    generation: u32,
}

impl FileIndex {
    /// Reads the memory that is kept in a file, which need not exist.
    pub fn open(file: PathBuf) -> Self {
        let (generation, known) = read_sealed(&file, KIND)
            .and_then(|content| postcard::from_bytes(&content).ok().map(loaded))
            .unwrap_or_default();
        Self { file, generation, known, fresh: Mutex::default(), unsaved: AtomicBool::new(false) }
    }

    /// Returns the SHA-256 of a listed file as it was when it was listed, or as it is now.
    ///
    /// # Errors
    ///
    /// Returns the system's error where the file must be read and cannot.
    pub fn listed(&self, directory: &Directory, file: &FileEntry) -> io::Result<ContentDigest> {
        self.digest(directory.path(), &file.name, file.stamp, directory.looked())
    }

    /// Returns the SHA-256 of a file.
    ///
    /// # Errors
    ///
    /// Returns the system's error where the file cannot be looked at or read, and an error where it is a
    /// directory, a pipe or another thing without content.
    pub fn of(&self, path: &Path) -> io::Result<ContentDigest> {
        let looked = SystemTime::now();
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
        }
        let stamp = Stamp::of(&metadata);
        match (path.parent(), path.file_name()) {
            (Some(directory), Some(name)) => self.digest(directory, name, stamp, looked),
            _ => hash_file(path),
        }
    }

    /// Keeps what was learned; does nothing when nothing was.
    ///
    /// # Errors
    ///
    /// Returns the system's error where the file cannot be written.
    pub fn save(&self) -> io::Result<()> {
        if !self.unsaved.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let fresh = self.fresh();
        let generation = self.generation.wrapping_add(1);
        let mut paths: Vec<&PathBuf> = self.known.keys().chain(fresh.keys()).collect();
        paths.sort_unstable();
        paths.dedup();
        let directories = paths.into_iter().filter_map(|path| {
            let fresh = fresh.get(path).map_or(&[][..], Vec::as_slice);
            let known = self.known.get(path).map_or(&[][..], Vec::as_slice);
            let known = known.iter().filter(|file| !fresh.iter().any(|newer| newer.name == file.name));
            let mut files: Vec<StoredFile<'_>> = known
                .chain(fresh)
                .map(|file| file.stored(generation))
                .filter(|file| generation.wrapping_sub(file.generation) < KEPT)
                .collect();
            files.sort_unstable_by_key(|file| file.name);
            files.dedup_by_key(|file| file.name);
            (!files.is_empty()).then(|| (path.as_os_str().as_bytes(), files))
        });
        let stored = Stored { generation, directories: directories.collect() };
        let content = postcard::to_allocvec(&stored).map_err(io::Error::other)?;
        write_sealed(&self.file, KIND, &content)
    }

    fn digest(
        &self,
        directory: &Path,
        name: &OsStr,
        stamp: Stamp,
        looked: SystemTime,
    ) -> io::Result<ContentDigest> {
        if let Some(files) = self.known.get(directory)
            && let Ok(place) = files.binary_search_by(|file| file.name.as_os_str().cmp(name))
            && files[place].stamp == stamp
        {
            files[place].asked.store(true, Ordering::Relaxed);
            return Ok(ContentDigest::from_hash(&files[place].hash));
        }
        if let Some(files) = self.fresh().get(directory)
            && let Some(file) = files.iter().find(|file| file.name == name && file.stamp == stamp)
        {
            return Ok(ContentDigest::from_hash(&file.hash));
        }
        let path = directory.join(name);
        let digest = hash_file(&path)?;
        // Only the bytes that the stamp belongs to may be remembered under it.
        if stamp.is_settled(looked) && fs::metadata(&path).is_ok_and(|now| Stamp::of(&now) == stamp) {
            self.add(directory, name, stamp, &digest);
        }
        Ok(digest)
    }

    fn fresh(&self) -> MutexGuard<'_, HashMap<PathBuf, Vec<Known>>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, directory: &Path, name: &OsStr, stamp: Stamp, digest: &ContentDigest) {
        let (name, hash) = (name.to_owned(), digest.to_hash());
        let known = Known { name, stamp, hash, generation: 0, asked: AtomicBool::new(true) };
        let mut fresh = self.fresh();
        let files = fresh.entry(directory.to_owned()).or_default();
        files.retain(|file| file.name != known.name);
        files.push(known);
        self.unsaved.store(true, Ordering::Relaxed);
    }
}

impl Known {
    fn stored(&self, generation: u32) -> StoredFile<'_> {
        let asked = self.asked.load(Ordering::Relaxed);
        StoredFile {
            name: self.name.as_bytes(),
            stamp: self.stamp,
            hash: self.hash,
            generation: if asked { generation } else { self.generation },
        }
    }
}

fn loaded(stored: Stored<'_>) -> (u32, HashMap<PathBuf, Vec<Known>>) {
    let known = |file: StoredFile<'_>| Known {
        name: OsString::from_vec(file.name.to_owned()),
        stamp: file.stamp,
        hash: file.hash,
        generation: file.generation,
        asked: AtomicBool::new(false),
    };
    let directory = |(path, files): (&[u8], Vec<StoredFile<'_>>)| {
        (PathBuf::from(OsString::from_vec(path.to_owned())), files.into_iter().map(known).collect())
    };
    (stored.generation, stored.directories.into_iter().map(directory).collect())
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::time::Duration;

    use super::*;

    struct Fixture(tempfile::TempDir);

    impl Fixture {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join("tree").join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::create_dir_all(self.path("")).unwrap();
            fs::write(self.path(name), text).unwrap();
        }

        fn open(&self) -> FileIndex {
            FileIndex::open(self.0.path().join("cache/stamps"))
        }

        /// Asks for files, saves, and returns how many of them had to be read although they were settled.
        fn ask(&self, names: &[&str]) -> usize {
            let index = self.open();
            for name in names {
                let right = hash_file(&self.path(name)).unwrap();
                assert_eq!(index.of(&self.path(name)).unwrap(), right, "{name}");
            }
            index.save().unwrap();
            let fresh = index.fresh.lock().unwrap();
            fresh.values().map(Vec::len).sum()
        }
    }

    fn settle() {
        std::thread::sleep(Duration::from_millis(50));
    }

    #[test]
    fn a_file_is_read_again_only_when_its_stamp_differs() {
        let fixture = Fixture::new();
        fixture.write("a", "1");
        fixture.write("b", "1");
        settle();
        assert_eq!(fixture.ask(&["a", "b"]), 2);
        assert_eq!(fixture.ask(&["a", "b"]), 0);
        fixture.write("a", "22");
        settle();
        assert_eq!(fixture.ask(&["a", "b"]), 1);
        assert_eq!(fixture.ask(&["a", "b"]), 0);
        let listed = Directory::list(&fixture.path(""));
        let index = fixture.open();
        for file in listed.files() {
            let right = hash_file(&listed.path().join(&file.name)).unwrap();
            assert_eq!(index.listed(&listed, file).unwrap(), right);
        }
        assert!(index.of(&fixture.path("absent")).is_err());
        assert!(index.of(&fixture.path("")).is_err());
    }

    #[test]
    fn a_change_of_equal_length_with_its_time_put_back_is_noticed() {
        let fixture = Fixture::new();
        fixture.write("a", "1");
        settle();
        assert_eq!(fixture.ask(&["a"]), 1);
        let modified = fs::metadata(fixture.path("a")).unwrap().modified().unwrap();
        fixture.write("a", "2");
        let file = File::options().write(true).open(fixture.path("a")).unwrap();
        file.set_times(FileTimes::new().set_modified(modified)).unwrap();
        drop(file);
        assert_eq!(fs::metadata(fixture.path("a")).unwrap().modified().unwrap(), modified);
        // `ask` compares with the hash of the bytes.
        fixture.ask(&["a"]);
    }

    #[test]
    fn what_may_change_within_its_tick_is_not_remembered() {
        let fixture = Fixture::new();
        for text in ["1", "2", "3", "4"] {
            fixture.write("a", text);
            fixture.ask(&["a"]);
        }
        let future = SystemTime::now() + Duration::from_secs(3600);
        let file = File::options().write(true).open(fixture.path("a")).unwrap();
        file.set_times(FileTimes::new().set_modified(future)).unwrap();
        drop(file);
        settle();
        assert_eq!(fixture.ask(&["a"]), 0);
    }

    #[test]
    fn damage_is_an_empty_memory_and_others_entries_age() {
        let fixture = Fixture::new();
        fixture.write("a", "1");
        fixture.write("b", "1");
        settle();
        assert_eq!(fixture.ask(&["a", "b"]), 2);
        let file = fixture.0.path().join("cache/stamps");
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(fixture.ask(&["a", "b"]), 2);
        for round in 0..KEPT {
            let file = format!("other {round}");
            fixture.write(&file, "1");
            settle();
            assert_eq!(fixture.ask(&[&file, "a"]), 1);
        }
        assert_eq!(fixture.ask(&["a"]), 0);
        assert_eq!(fixture.ask(&["b"]), 1, "nobody asked for it for a long time");
    }
}
