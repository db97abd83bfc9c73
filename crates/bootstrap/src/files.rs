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

/// Takes the lock of a build directory, and removes what bootstraps that were killed left in it: only their
/// owner, who held the lock, could still use it.
///
/// # Errors
/// [`BootstrapError::Busy`] when another process holds it.
pub(crate) fn lock_build_directory(directory: &Path) -> Result<File, BootstrapError> {
    let path = directory.join("bootstrap.lock");
    let file = File::create(&path).map_err(BootstrapError::file("create", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(BootstrapError::Busy { directory: directory.to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(BootstrapError::file("lock", &path)(error)),
    }
    remove_staging(directory)?;
    remove_staging(&directory.join("worker"))?;
    Ok(file)
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
