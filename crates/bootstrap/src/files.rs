//! Writing files and directories so that others see the old or the new one, never a half.

use crate::error::BootstrapError;
use rpm_model::ContentDigest;
use serde::Serialize;
use std::fs::{File, Permissions, TryLockError};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes a file of mode 0644 by way of a temporary one beside it, flushed to disk.
pub(crate) fn write_atomically(path: &Path, text: &str) -> Result<(), BootstrapError> {
    let write = || -> std::io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.as_file().sync_data()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(BootstrapError::file("write", path))
}

/// A lock on a file, given back when dropped.
///
/// Closing the file would not do: a child that another thread is just starting holds a copy of the descriptor
/// until it executes its program, and the lock with it.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Takes the lock of a file, which is made when missing; returns nothing when another process holds it.
    fn try_take(path: &Path) -> Result<Option<Self>, BootstrapError> {
        let file = File::create(path).map_err(BootstrapError::file("create", path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(BootstrapError::file("lock", path)(error)),
        }
    }

    /// Takes the lock of a file, which is made when missing, as soon as nobody else holds it.
    pub(crate) fn take(path: &Path) -> Result<Self, BootstrapError> {
        let file = File::create(path).map_err(BootstrapError::file("create", path))?;
        file.lock().map_err(BootstrapError::file("lock", path))?;
        Ok(Self(file))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Fails only for a file that is no longer locked, which is what is wanted.
        let _ = self.0.unlock();
    }
}

/// Takes the lock of a build directory, and removes what bootstraps that were killed left in it: only their
/// owner, who held the lock, could still use it.
///
/// # Errors
/// [`BootstrapError::Busy`] when another process holds it.
pub(crate) fn lock_build_directory(directory: &Path) -> Result<FileLock, BootstrapError> {
    let Some(lock) = FileLock::try_take(&directory.join("bootstrap.lock"))? else {
        return Err(BootstrapError::Busy { directory: directory.to_owned() });
    };
    remove_staging(directory)?;
    remove_staging(&directory.join("worker"))?;
    Ok(lock)
}

/// How the names of directories with half-done work begin.
const STAGING: &str = ".bootstrap-";

/// Returns a new directory for half-done work in `directory`, readable by all, as it is to be published.
pub(crate) fn staging_directory(directory: &Path) -> Result<tempfile::TempDir, BootstrapError> {
    tempfile::Builder::new()
        .prefix(STAGING)
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(directory)
        .map_err(BootstrapError::file("create a directory in", directory))
}

/// Removes all directories with half-done work.
pub(crate) fn remove_staging(directory: &Path) -> Result<(), BootstrapError> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(BootstrapError::file("read", directory))?;
        if entry.file_name().to_string_lossy().starts_with(STAGING) {
            let path = entry.path();
            std::fs::remove_dir_all(&path).map_err(BootstrapError::file("remove", &path))?;
        }
    }
    Ok(())
}

/// Returns the SHA-256 of a file.
pub(crate) fn hash(path: &Path) -> Result<ContentDigest, BootstrapError> {
    sources::hash_file(path).map_err(BootstrapError::file("read", path))
}

/// Returns indented JSON with a final newline.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    let mut text =
        serde_json::to_string_pretty(value).expect("plain structs with string keys always serialise");
    text.push('\n');
    text
}

/// Makes the directory `staged` the one at `place`. What was there is then at `staged`, for the caller's
/// temporary directory to remove.
pub(crate) fn exchange_directory(staged: &Path, place: &Path) -> Result<(), BootstrapError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let fail = BootstrapError::file("publish", place);
    if !place.exists() {
        return std::fs::rename(staged, place).map_err(fail);
    }
    renameat_with(CWD, staged, CWD, place, RenameFlags::EXCHANGE).map_err(|error| fail(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_lock_given_back_is_free_while_other_threads_start_programs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::process::Command::new("true").status().unwrap();
                }
            });
            let refused = (0..20_000).filter(|_| FileLock::try_take(&path).unwrap().is_none()).count();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(refused, 0);
        });
        let held = FileLock::take(&path).unwrap();
        assert!(FileLock::try_take(&path).unwrap().is_none());
        drop(held);
        assert!(FileLock::try_take(&path).unwrap().is_some());
    }
}
