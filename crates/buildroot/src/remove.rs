//! Removing what a build has left, whatever its permissions.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::file_work::remove_in_namespace;

/// Removes a file, or a directory and all below it; returns whether there was something.
///
/// A build, and the kernel's overlay, leave directories that not even their owner may enter. Where that stops the
/// caller, who is not root then, the directories are opened up first. Where files belong to ids of the caller's
/// subordinate range, because a package transaction gave them away, they are removed in a user namespace with that
/// range, by the helper program. Symbolic links are removed, not followed.
pub fn remove_tree(path: &Path) -> io::Result<bool> {
    match remove_as_is(path) {
        Err(error)
            if error.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root() =>
        {
            // Why it could not be removed here says more than why there is no other way.
            remove_in_namespace(path).map_or(Err(error), |()| Ok(true))
        }
        removed => removed,
    }
}

/// The same without any namespace.
pub(crate) fn remove_as_is(path: &Path) -> io::Result<bool> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    if !metadata.is_dir() {
        fs::remove_file(path)?;
        return Ok(true);
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)?;
        }
        removed => removed?,
    }
    Ok(true)
}

/// Lets the owner into every directory of a tree.
fn open_up(top: &Path) -> io::Result<()> {
    let mut pending: Vec<PathBuf> = vec![top.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let mode = fs::symlink_metadata(&directory)?.permissions().mode();
        if mode & 0o700 != 0o700 {
            fs::set_permissions(&directory, Permissions::from_mode(mode & 0o7777 | 0o700))?;
        }
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_directories_are_opened_and_links_are_not_followed() {
        let directory = tempfile::tempdir().expect("directory");
        let (tree, kept) = (directory.path().join("tree"), directory.path().join("kept"));
        fs::create_dir_all(tree.join("closed/deep")).expect("directory");
        fs::create_dir(&kept).expect("directory");
        fs::write(tree.join("closed/deep/file"), "x").expect("file");
        std::os::unix::fs::symlink(&kept, tree.join("closed/link")).expect("link");
        fs::set_permissions(tree.join("closed/deep"), Permissions::from_mode(0o000)).expect("mode");
        fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o000)).expect("mode");
        // Root would be let in; this is what an ordinary user needs.
        open_up(&tree).expect("open up");
        let mode = |path: &str| fs::metadata(tree.join(path)).expect("metadata").permissions().mode() & 0o777;
        assert_eq!((mode("closed"), mode("closed/deep")), (0o700, 0o700));
        assert!(remove_tree(&tree).expect("remove"));
        assert!(!remove_tree(&tree).expect("nothing is there"));
        assert!(kept.is_dir() && !tree.exists());
    }
}
