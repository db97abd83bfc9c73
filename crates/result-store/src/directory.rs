//! A store in a directory of this host, or of a file system that several hosts share.
//!
//! What is on disk, besides the objects:
//! * `temporary/`: objects on their way; leftovers of a killed process are harmless and collected.
//! * `lock`: held shared by whoever puts a result there, exclusively by the collection, so that the files of a
//!   result whose document is still to come are not taken for rubbish.
//!
//! An object appears by rename when its bytes are complete and synced, and is never opened for writing
//! afterwards. Where the file system allows, a package is linked, not copied: its bytes are on the disk once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::NamedTempFile;

use crate::document::StoredFile;
use crate::hashing::copy_hashing;
use crate::place::{AccessError, Place};

/// A directory as a place for objects.
pub(crate) struct DirectoryPlace {
    root: PathBuf,
}

/// Held while a directory must not be collected, or while it is.
pub(crate) struct DirectoryLock {
    // Released when the file is closed.
    _file: File,
}

impl DirectoryPlace {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Keeps the collection away while a result is put there file by file.
    pub(crate) fn hold(&self) -> Result<DirectoryLock, AccessError> {
        lock_directory(&self.root, false)
    }

    /// Makes the way for an object, lets `make` make a complete file there, and gives it its name.
    fn publish(&self, name: &str, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), AccessError> {
        let (target, temporary) = (self.root.join(name), self.root.join("temporary"));
        let parent = target.parent().unwrap_or(&self.root);
        for directory in [parent, &temporary] {
            fs::create_dir_all(directory).map_err(|error| AccessError::local("create", directory, &error))?;
        }
        let work = || -> io::Result<()> {
            // The temporary name is ours alone; what is made there replaces it.
            let place = NamedTempFile::new_in(&temporary)?.into_temp_path();
            make(&place)?;
            fs::rename(&place, &target)?;
            // The name is gone by the rename.
            let _ = place.keep();
            Ok(())
        };
        work().map_err(|error| AccessError::local("write", &target, &error))
    }
}

/// Locks a directory: shared, or exclusively for its collection.
pub(crate) fn lock_directory(root: &Path, exclusive: bool) -> Result<DirectoryLock, AccessError> {
    let path = root.join("lock");
    let open = || -> io::Result<File> {
        fs::create_dir_all(root)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        if exclusive {
            file.lock()?
        } else {
            file.lock_shared()?
        }
        Ok(file)
    };
    open()
        .map(|file| DirectoryLock { _file: file })
        .map_err(|error| AccessError::local("lock", &path, &error))
}

impl Place for DirectoryPlace {
    fn read(&self, name: &str, most: u64) -> Result<Vec<u8>, AccessError> {
        let mut bytes = Vec::new();
        self.fetch(name, most, &mut bytes)?;
        // When it was last used decides what is collected first. Whoever may only read tells nobody.
        let _ = File::open(self.root.join(name)).and_then(|file| file.set_modified(SystemTime::now()));
        Ok(bytes)
    }

    fn fetch(&self, name: &str, most: u64, to: &mut dyn Write) -> Result<(), AccessError> {
        let path = self.root.join(name);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(AccessError::Absent),
            file => file.map_err(|error| AccessError::local("open", &path, &error))?,
        };
        let copied = io::copy(&mut Read::by_ref(&mut file).take(most.saturating_add(1)), to)
            .map_err(|error| AccessError::local("copy", &path, &error))?;
        if copied > most { Err(AccessError::TooLong { most }) } else { Ok(()) }
    }

    fn size(&self, name: &str) -> Result<Option<u64>, AccessError> {
        let path = self.root.join(name);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(AccessError::local("examine", &path, &error)),
        }
    }

    fn put_file(&self, name: &str, from: &Path, file: &StoredFile) -> Result<(), AccessError> {
        let mut is_changed = false;
        self.publish(name, |place| {
            fs::remove_file(place)?;
            if fs::hard_link(from, place).is_ok() {
                return Ok(());
            }
            let mut copy = OpenOptions::new().create_new(true).write(true).open(place)?;
            let copied = copy_hashing(&mut File::open(from)?, &mut copy)?;
            if copied != *file {
                is_changed = true;
                return Err(io::ErrorKind::InvalidData.into());
            }
            copy.set_permissions(fs::Permissions::from_mode(0o444))?;
            copy.sync_all()
        })
        .map_err(|error| if is_changed { AccessError::changed(from) } else { error })
    }

    fn put_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), AccessError> {
        self.publish(name, |place| {
            let mut file = OpenOptions::new().write(true).open(place)?;
            file.write_all(bytes)?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.sync_all()
        })
    }
}
