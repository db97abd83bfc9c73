//! Removing what a build has left, whatever its permissions and however deep.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, chmodat, fchmod, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::file_work::remove_in_namespace;

/// How far down removing goes. Each level is an open directory and a frame of the stack, of both of which there are
/// only so many; a build makes trees of any depth, step by step.
const DEEP: usize = 64;

/// Removes a file, or a directory and all below it; returns whether there was something.
///
/// A build, and the kernel's overlay, leave directories that not even their owner may enter. Where that stops the
/// caller, who is not root then, the directories are opened up. Where files belong to ids of the caller's
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
    let Some(top) = open_directory(CWD, path)? else { return Ok(true) };
    let mut removal = Removal { top: path, moved: Vec::new(), names: 0 };
    removal.empty(top, 0)?;
    while let Some(name) = removal.moved.pop() {
        let Some(top) = open_directory(CWD, path)? else { return Ok(true) };
        removal.remove_directory(top.as_fd(), &name, 1)?;
    }
    fs::remove_dir(path)?;
    Ok(true)
}

/// The removal of one tree.
struct Removal<'a> {
    top: &'a Path,
    /// Directories that were too deep, by the names that they got in the top one.
    moved: Vec<CString>,
    /// How many such names were tried.
    names: u64,
}

impl Removal<'_> {
    /// Removes everything in a directory, which is so far below the top.
    fn empty(&mut self, directory: OwnedFd, depth: usize) -> io::Result<()> {
        let mut entries = Dir::new(directory)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let (name, directory) = (entry.file_name(), entries.fd()?);
            if name == c"." || name == c".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let facts = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(facts.st_mode)
                }
                kind => kind,
            };
            if kind == FileType::Directory {
                self.remove_directory(directory, name, depth + 1)?;
            } else {
                unlink(directory, name, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    /// Removes a directory, or moves it up to be removed later.
    fn remove_directory(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> io::Result<()> {
        if depth > DEEP {
            return self.move_up(parent, name);
        }
        // It is gone where it was moved to the top while that was still being read.
        let Some(directory) = open_directory(parent, name)? else { return Ok(()) };
        self.empty(directory, depth)?;
        unlink(parent, name, AtFlags::REMOVEDIR)
    }

    fn move_up(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let Some(top) = open_directory(CWD, self.top)? else { return Ok(()) };
        loop {
            let to = CString::new(format!(".deep-{}", self.names))?;
            self.names += 1;
            match opening_up(parent, name, || renameat(parent, name, &top, &to)) {
                // The tree has such a name itself.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                moved => {
                    self.moved.push(to);
                    return Ok(moved?);
                }
            }
        }
    }
}

/// Opens a directory to read it; nothing when it is not there.
fn open_directory<P: Arg + Copy>(parent: BorrowedFd<'_>, name: P) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match opening_up(parent, name, || openat(parent, name, flags, Mode::empty())) {
        Err(Errno::NOENT) => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

fn unlink(parent: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> io::Result<()> {
    let unlink = || unlinkat(parent, name, flags);
    let unlinked = match unlink() {
        Err(Errno::ACCESS) => fchmod(parent, Mode::RWXU).and_then(|()| unlink()),
        unlinked => unlinked,
    };
    match unlinked {
        Err(Errno::NOENT) => Ok(()),
        unlinked => Ok(unlinked?),
    }
}

/// Does something to a directory in another one. Where the permissions of the two forbid that to their owner, it is let
/// in first.
fn opening_up<T, P: Arg + Copy>(
    parent: BorrowedFd<'_>,
    name: P,
    act: impl Fn() -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    match act() {
        Err(Errno::ACCESS) => {}
        done => return done,
    }
    // Whether that helped is seen at once.
    if parent.as_raw_fd() != CWD.as_raw_fd() {
        let _ = fchmod(parent, Mode::RWXU);
    }
    let _ = chmodat(parent, name, Mode::RWXU, AtFlags::empty());
    act()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use rustix::fs::mkdirat;

    use super::*;
    use crate::spec::BUILDER_ID;

    #[test]
    fn closed_directories_are_opened_and_links_are_not_followed() {
        let directory = tempfile::tempdir().expect("directory");
        let (tree, kept) = (directory.path().join("tree"), directory.path().join("kept"));
        let closed = |path: PathBuf| fs::set_permissions(path, Permissions::from_mode(0o000)).expect("mode");
        let make = || {
            fs::create_dir_all(tree.join("closed/deep")).expect("directory");
            fs::write(tree.join("closed/deep/file"), "x").expect("file");
            std::os::unix::fs::symlink(&kept, tree.join("closed/link")).expect("link");
            closed(tree.join("closed/deep"));
            closed(tree.join("closed"));
            closed(tree.clone());
            assert!(remove_tree(&tree).expect("remove"));
            assert!(!remove_tree(&tree).expect("nothing is there"));
        };
        fs::create_dir(&kept).expect("directory");
        make();
        if rustix::process::geteuid().is_root() {
            // Root is let in anyway. Of a thread alone, files are those of an ordinary user.
            let owner = Some(BUILDER_ID);
            std::os::unix::fs::chown(directory.path(), owner, owner).expect("owner");
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    nix::unistd::setfsuid(BUILDER_ID.into());
                    make();
                });
            });
        }
        assert!(kept.is_dir() && !tree.exists());
    }

    #[test]
    fn a_tree_deeper_than_files_can_be_open_is_removed() {
        // In memory, where so many directories are made and removed at once.
        let directory = tempfile::tempdir_in("/dev/shm").expect("directory");
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("other/inner")).expect("directory");
        // Names that are in the way, one of them of something that can be replaced.
        fs::create_dir_all(tree.join(".deep-0/x")).expect("directory");
        fs::create_dir(tree.join(".deep-1")).expect("directory");
        fs::write(tree.join(".deep-2"), "x").expect("file");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut inner = openat(CWD, &tree, flags, Mode::empty()).expect("directory");
        // Longer than any path, and many times as deep as removing goes.
        for _ in 0..3000 {
            mkdirat(&inner, "d", Mode::RWXU).expect("directory");
            mkdirat(&inner, "beside", Mode::RWXU).expect("directory");
            inner = openat(&inner, "d", flags, Mode::empty()).expect("directory");
        }
        drop(inner);
        assert!(remove_tree(&tree).expect("remove"));
        assert!(!tree.exists());
    }
}
