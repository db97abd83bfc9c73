//! Removes trees, those whose owner took the right to change them from himself included.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes a directory and all that is in it; one that is not there is no error.
///
/// A user who is not root needs the right to write a directory to empty it, and packages have
/// directories without; it is given back to those that are removed.
pub(crate) fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error)
            if error.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root() =>
        {
            make_removable(directory)?;
            fs::remove_dir_all(directory)
        }
        removed => removed,
    }
}

/// Gives the owner every right to a directory and those in it.
fn make_removable(directory: &Path) -> io::Result<()> {
    let attributes = fs::symlink_metadata(directory)?;
    if !attributes.is_dir() {
        return Ok(());
    }
    let mode = attributes.permissions().mode();
    if mode & 0o700 != 0o700 {
        fs::set_permissions(directory, fs::Permissions::from_mode(mode | 0o700))?;
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_removable(&entry.path())?;
        }
    }
    Ok(())
}
