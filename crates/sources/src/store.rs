//! The content-addressed store of source files: `sha256/ab/cdef…` below one directory.
//!
//! What is on disk:
//! * `sha256/ab/cdef…`: an object, mode 0444. It appears by rename when its bytes are complete, hashed and
//!   synced, and is never opened for writing afterwards. Its name is its SHA-256.
//! * `temporary/`: files on their way to an object; leftovers of a killed process are harmless.
//! * `partial/<key>.part`, `.json`, `.lock`: a download that goes on where it stopped ([`PartialFile`]).
//!
//! Locks: an object needs none, because two processes that make the same object rename equal bytes to the
//! same name. A partial file is written by the holder of its lock alone; others wait for it, then usually
//! find the object.
//!
//! Known weakness: an object that goes bad on disk is found when it is used ([`SourceStore::find_verified`]
//! hashes again), not before.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use file_index::hash_file;
use rpm_model::ContentDigest;
use tempfile::NamedTempFile;

use crate::digest::copy_hashing;

/// Why the store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A system call failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried, for example `create`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The bytes are not the expected ones; nothing was stored.
    #[error("{} has sha256 {got}, expected {expected}", path.display())]
    WrongHash {
        /// The file that was offered.
        path: PathBuf,
        /// The hash that was asked for.
        expected: ContentDigest,
        /// The hash of the bytes.
        got: ContentDigest,
    },
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { operation, path: path.to_owned(), source }
}

/// What looking for an object found.
#[derive(Debug, PartialEq, Eq)]
pub enum StoreLookup {
    /// The object, its bytes hashed just now.
    Found(PathBuf),
    /// There is none.
    Absent,
    /// There was one, but its bytes had changed on disk; it has been removed.
    Corrupt {
        /// The hash that its bytes had.
        got: ContentDigest,
    },
}

/// A store in one directory; see the module text for the layout.
#[derive(Clone, Debug)]
pub struct SourceStore {
    root: PathBuf,
}

impl SourceStore {
    /// Opens the store in a directory, which is made when it does not exist.
    ///
    /// # Errors
    /// When the directories cannot be made.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for name in ["sha256", "temporary", "partial"] {
            let directory = root.join(name);
            fs::create_dir_all(&directory).map_err(failed("create", &directory))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Returns the store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns where the object with this hash is or would be.
    pub fn path_of(&self, digest: &ContentDigest) -> PathBuf {
        let (shard, rest) = digest.as_str().split_at(2);
        self.root.join("sha256").join(shard).join(rest)
    }

    /// Returns the object with this hash without looking at its bytes.
    pub fn find(&self, digest: &ContentDigest) -> Option<PathBuf> {
        let path = self.path_of(digest);
        path.is_file().then_some(path)
    }

    /// Looks for an object and hashes its bytes; an object that went bad is removed.
    ///
    /// # Errors
    /// When it exists but cannot be read or removed.
    pub fn find_verified(&self, digest: &ContentDigest) -> Result<StoreLookup, StoreError> {
        let path = self.path_of(digest);
        let got = match hash_file(&path) {
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(StoreLookup::Absent),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        if got == *digest {
            return Ok(StoreLookup::Found(path));
        }
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        Ok(StoreLookup::Corrupt { got })
    }

    /// Copies a file into the store, hashing it on the way.
    ///
    /// Returns the hash and the object's path.
    ///
    /// # Errors
    /// When reading or writing fails (a full disk, for example), or the bytes are not the expected ones.
    pub fn add_file(
        &self,
        source: &Path,
        expected: Option<&ContentDigest>,
    ) -> Result<(ContentDigest, PathBuf), StoreError> {
        let mut input = File::open(source).map_err(failed("open", source))?;
        let directory = self.root.join("temporary");
        let mut temporary =
            NamedTempFile::new_in(&directory).map_err(failed("create a file in", &directory))?;
        let got = copy_hashing(&mut input, temporary.as_file_mut()).map_err(failed("copy", source))?;
        if let Some(expected) = expected.filter(|expected| **expected != got) {
            let (path, expected) = (source.to_owned(), expected.clone());
            return Err(StoreError::WrongHash { path, expected, got });
        }
        temporary.as_file().sync_data().map_err(failed("sync", temporary.path()))?;
        let path = self.publish(temporary.path(), &got)?;
        // The name is gone by the rename, so there is nothing left to delete.
        let _ = temporary.into_temp_path().keep();
        Ok((got, path))
    }

    /// Returns the partial file for a key, waiting while another process or thread holds it.
    ///
    /// The key is the expected hash, or the hash of the URL when no hash is known.
    ///
    /// # Errors
    /// When the lock file cannot be made or locked.
    pub fn partial(&self, key: &ContentDigest) -> Result<PartialFile, StoreError> {
        let base = self.root.join("partial");
        let lock_path = base.join(format!("{key}.lock"));
        loop {
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&lock_path)
                .map_err(failed("create", &lock_path))?;
            lock.lock().map_err(failed("lock", &lock_path))?;
            // The last holder deletes the name; a lock on a nameless file protects nothing.
            let held = lock.metadata().map_err(failed("look at", &lock_path))?;
            match fs::metadata(&lock_path) {
                Ok(named) if named.ino() == held.ino() && named.dev() == held.dev() => {
                    return Ok(PartialFile {
                        part: base.join(format!("{key}.part")),
                        note: base.join(format!("{key}.json")),
                        lock_path,
                        _lock: lock,
                    });
                }
                _ => {}
            }
        }
    }

    /// Moves a complete, synced file whose hash is known into its place.
    fn publish(&self, complete: &Path, digest: &ContentDigest) -> Result<PathBuf, StoreError> {
        let path = self.path_of(digest);
        if let Some(shard) = path.parent() {
            fs::create_dir_all(shard).map_err(failed("create", shard))?;
        }
        fs::set_permissions(complete, fs::Permissions::from_mode(0o444))
            .map_err(failed("change the mode of", complete))?;
        fs::rename(complete, &path).map_err(failed("rename to", &path))?;
        Ok(path)
    }
}

/// A download that is under way or was cut, held by this process alone until dropped.
#[derive(Debug)]
pub struct PartialFile {
    part: PathBuf,
    note: PathBuf,
    lock_path: PathBuf,
    // Released after the name is deleted, see `drop`.
    _lock: File,
}

impl PartialFile {
    /// Returns the file that takes the bytes.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Returns the file that says where the bytes came from.
    pub fn note(&self) -> &Path {
        &self.note
    }

    /// Forgets the bytes, so that the next download starts anew.
    pub fn discard(&self) {
        // What cannot be deleted is truncated or refused by the next writer.
        let _ = fs::remove_file(&self.part);
        let _ = fs::remove_file(&self.note);
    }

    /// Makes the complete part an object; the caller has hashed and synced it.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn publish(&self, store: &SourceStore, digest: &ContentDigest) -> Result<PathBuf, StoreError> {
        let path = store.publish(&self.part, digest)?;
        self.discard();
        Ok(path)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // A lock file that stays behind is reused by the next holder.
        let _ = fs::remove_file(&self.lock_path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn store() -> (tempfile::TempDir, SourceStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = SourceStore::open(&directory.path().join("sources")).unwrap();
        (directory, store)
    }

    fn write(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn names_in(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn object_is_read_only_and_named_by_its_hash() {
        let (directory, store) = store();
        let input = write(directory.path(), "a", b"zlib");
        let digest = ContentDigest::of_bytes(b"zlib");
        let (got, path) = store.add_file(&input, Some(&digest)).unwrap();
        assert_eq!(got, digest);
        assert_eq!(path, store.root().join("sha256").join(&digest.as_str()[..2]).join(&digest.as_str()[2..]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
        assert_eq!(store.find_verified(&digest).unwrap(), StoreLookup::Found(path));
        assert!(names_in(&store.root().join("temporary")).is_empty());
    }

    #[test]
    fn wrong_bytes_leave_nothing_behind() {
        let (directory, store) = store();
        let input = write(directory.path(), "a", b"evil");
        let expected = ContentDigest::of_bytes(b"zlib");
        let error = store.add_file(&input, Some(&expected)).unwrap_err();
        assert!(
            matches!(error, StoreError::WrongHash { got, .. } if got == ContentDigest::of_bytes(b"evil"))
        );
        assert_eq!(store.find(&expected), None);
        assert_eq!(store.find(&ContentDigest::of_bytes(b"evil")), None);
        assert!(names_in(&store.root().join("temporary")).is_empty());
    }

    #[test]
    fn object_that_went_bad_is_removed_when_used() {
        let (directory, store) = store();
        let input = write(directory.path(), "a", b"zlib");
        let (digest, path) = store.add_file(&input, None).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"rotten").unwrap();
        let got = ContentDigest::of_bytes(b"rotten");
        assert_eq!(store.find_verified(&digest).unwrap(), StoreLookup::Corrupt { got });
        assert_eq!(store.find_verified(&digest).unwrap(), StoreLookup::Absent);
    }

    #[test]
    fn many_writers_of_the_same_and_other_objects_agree() {
        let (directory, store) = store();
        let inputs: Vec<PathBuf> = (0..4u8)
            .map(|number| write(directory.path(), &format!("in{number}"), &[number % 2; 300_000]))
            .collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                for input in &inputs {
                    let store = &store;
                    scope.spawn(move || store.add_file(input, None).unwrap());
                }
            }
        });
        for number in 0..2u8 {
            let digest = ContentDigest::of_bytes(&[number; 300_000]);
            assert!(matches!(store.find_verified(&digest).unwrap(), StoreLookup::Found(_)));
        }
        assert!(names_in(&store.root().join("temporary")).is_empty());
    }

    #[test]
    fn partial_file_has_one_holder_at_a_time() {
        let (_directory, store) = store();
        let key = ContentDigest::of_bytes(b"key");
        let holders = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let partial = store.partial(&key).unwrap();
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        fs::write(partial.part(), b"half").unwrap();
                        assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1);
                    }
                });
            }
        });
        assert_eq!(names_in(&store.root().join("partial")), [format!("{key}.part")]);
    }
}
