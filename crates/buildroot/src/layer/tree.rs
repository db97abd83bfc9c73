//! Makes files beneath one directory and nowhere else.
//!
//! Every path is absolute and plain (`/usr/bin/x`) and is resolved by the kernel beneath the root
//! directory, through directories that this writer has made, without following a single symbolic
//! link (`openat2`, `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`). So no archive, whatever it
//! contains and in whatever order, writes outside.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown, fstat,
    futimens, linkat, mkdirat, openat, openat2, symlinkat, utimensat,
};
use rustix::io::Errno;

/// Owner, mode and time of something in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Permission, set-id and sticky bits; not used for symbolic links.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970.
    pub(crate) mtime: u32,
}

/// Why something could not be made in a tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeFault {
    /// A symbolic link or file of the same archive is where a directory must be.
    #[error("a link or file stands where a directory must be")]
    NotADirectory,
    /// The same path was made before.
    #[error("the path exists already")]
    Exists,
    /// Anything else.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl From<Errno> for TreeFault {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => Self::NotADirectory,
            Errno::EXIST => Self::Exists,
            other => Self::System(other.into()),
        }
    }
}

/// How a directory came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// On the way to something; dated when that is known.
    OnTheWay { mtime: u32 },
    /// Listed, with these attributes.
    Listed(Attributes),
}

/// Writes one tree.
pub(crate) struct TreeWriter {
    root: OwnedFd,
    /// Attributes of directories that were made only because something lies in them.
    implicit: Attributes,
    /// Real owners can be set; otherwise everything belongs to the own user.
    own_files: bool,
    /// Every directory made.
    directories: BTreeMap<String, Made>,
    /// The directory that was written to last: most entries follow one of the same directory.
    last: Option<(String, OwnedFd)>,
}

impl TreeWriter {
    /// Starts a tree in an existing, empty directory. `mtime` dates directories that no entry dates.
    pub(crate) fn new(root: &Path, mtime: u32) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: openat(CWD, root, flags, Mode::empty())?,
            implicit: Attributes { mode: 0o755, uid: 0, gid: 0, mtime },
            own_files: !rustix::process::geteuid().is_root(),
            directories: BTreeMap::from([("/".to_owned(), Made::OnTheWay { mtime })]),
            last: None,
        })
    }

    /// Makes a directory, or gives one that was made on the way its attributes.
    pub(crate) fn directory(&mut self, path: &str, attributes: Attributes) -> Result<(), TreeFault> {
        if !self.directories.contains_key(path) {
            self.make_directory(path)?;
        }
        match self.directories.insert(path.to_owned(), Made::Listed(attributes)) {
            Some(Made::Listed(_)) => Err(TreeFault::Exists),
            _ => Ok(()),
        }
    }

    /// Makes a directory that is only on the way to something, and dates it.
    pub(crate) fn way(&mut self, path: &str, attributes: Attributes) -> Result<(), TreeFault> {
        if !self.directories.contains_key(path) {
            self.make_directory(path)?;
        }
        if let Some(Made::OnTheWay { mtime }) = self.directories.get_mut(path) {
            *mtime = attributes.mtime;
        }
        Ok(())
    }

    /// Makes a regular file and opens it for writing; [`Self::finish_file`] must follow, with the same attributes.
    pub(crate) fn file(&mut self, path: &str, attributes: Attributes) -> Result<File, TreeFault> {
        let (directory, name) = self.parent(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Set-id bits wait for the content and the owner.
        Ok(File::from(openat(directory, name, flags, Mode::from_raw_mode(attributes.mode & 0o777))?))
    }

    /// Gives a written file, or a directory, its attributes.
    pub(crate) fn finish_file(&self, file: &File, attributes: Attributes) -> Result<(), TreeFault> {
        // Most are made with the owner and mode that they are to have, and looking costs less than changing. What the
        // umask, an inherited group or an inherited access list has made different is seen.
        let made = fstat(file)?;
        let Attributes { mode, uid, gid, mtime } = attributes;
        if !self.own_files && (made.st_uid, made.st_gid) != (uid, gid) {
            // Before the mode: changing the owner takes set-id bits away.
            fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        if made.st_mode & 0o7777 != mode {
            fchmod(file, Mode::from_raw_mode(mode))?;
        }
        Ok(futimens(file, &timestamps(mtime))?)
    }

    /// Makes a symbolic link.
    pub(crate) fn symlink(
        &mut self,
        path: &str,
        target: &[u8],
        attributes: Attributes,
    ) -> Result<(), TreeFault> {
        let own_files = self.own_files;
        let (directory, name) = self.parent(path)?;
        symlinkat(target, directory, name)?;
        if !own_files {
            let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
            chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(utimensat(directory, name, &timestamps(attributes.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Makes a further name of a file that was made before.
    pub(crate) fn hard_link(&mut self, existing: &str, path: &str) -> Result<(), TreeFault> {
        let (directory, name) = self.parent(existing)?;
        let (directory, name) = (directory.try_clone_to_owned()?, name.to_owned());
        let (new_directory, new_name) = self.parent(path)?;
        Ok(linkat(directory, name, new_directory, new_name, AtFlags::empty())?)
    }

    /// Makes `path` a further name of the file or symbolic link `source`, which is outside the tree,
    /// or a copy where the file system allows no further name.
    pub(crate) fn adopt(
        &mut self,
        source: &Path,
        path: &str,
        attributes: Attributes,
    ) -> Result<(), TreeFault> {
        let (directory, name) = self.parent(path)?;
        match linkat(CWD, source, directory, name, AtFlags::empty()) {
            Err(Errno::MLINK | Errno::XDEV | Errno::PERM) => {}
            linked => return Ok(linked?),
        }
        let metadata = source.symlink_metadata()?;
        let attributes = Attributes { mtime: u32::try_from(metadata.mtime()).unwrap_or(0), ..attributes };
        if metadata.is_symlink() {
            let target = std::fs::read_link(source)?;
            return self.symlink(path, target.as_os_str().as_encoded_bytes(), attributes);
        }
        let mut file = self.file(path, attributes)?;
        io::copy(&mut File::open(source)?, &mut file)?;
        self.finish_file(&file, attributes)
    }

    /// Gives all directories their attributes, innermost first, and returns them: path, attributes,
    /// and whether the archive listed them.
    pub(crate) fn finish(mut self) -> Result<Vec<(String, Attributes, bool)>, TreeFault> {
        self.last = None;
        let mut finished = Vec::with_capacity(self.directories.len());
        for (path, made) in self.directories.iter().rev() {
            let (attributes, is_listed) = match *made {
                Made::OnTheWay { mtime } => (Attributes { mtime, ..self.implicit }, false),
                Made::Listed(attributes) => (attributes, true),
            };
            let directory = open_beneath(self.root.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            self.finish_file(&File::from(directory), attributes)?;
            finished.push((path.clone(), attributes, is_listed));
        }
        finished.reverse();
        Ok(finished)
    }

    /// Returns the open directory that `path` lies in, made when missing, and the name in it.
    fn parent<'p>(&mut self, path: &'p str) -> Result<(BorrowedFd<'_>, &'p str), TreeFault> {
        let (parent, name) = split(path);
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            if !self.directories.contains_key(parent) {
                self.make_directory(parent)?;
            }
            let opened = open_beneath(self.root.as_fd(), parent, OFlags::PATH | OFlags::DIRECTORY)?;
            self.last = Some((parent.to_owned(), opened));
        }
        match &self.last {
            Some((_, directory)) => Ok((directory.as_fd(), name)),
            None => Err(TreeFault::NotADirectory),
        }
    }

    /// Makes a directory and the missing ones above it, and keeps it open as the one that was written to last.
    fn make_directory(&mut self, path: &str) -> Result<(), TreeFault> {
        // What is missing, innermost first.
        let mut missing = vec![path];
        let mut above = split(path).0;
        while !self.directories.contains_key(above) {
            missing.push(above);
            above = split(above).0;
        }
        let mut opened = match self.last.take() {
            Some((last, opened)) if last == above => opened,
            _ => open_beneath(self.root.as_fd(), above, OFlags::PATH | OFlags::DIRECTORY)?,
        };
        for path in missing.into_iter().rev() {
            let name = split(path).1;
            match mkdirat(&opened, name, Mode::from_raw_mode(self.implicit.mode)) {
                // Not one of ours, or it would be known.
                Err(Errno::EXIST) => return Err(TreeFault::NotADirectory),
                made => made?,
            }
            self.directories.insert(path.to_owned(), Made::OnTheWay { mtime: self.implicit.mtime });
            opened = open_beneath(opened.as_fd(), name, OFlags::PATH | OFlags::DIRECTORY)?;
        }
        self.last = Some((path.to_owned(), opened));
        Ok(())
    }
}

/// Opens a directory beneath another, without following any symbolic link.
fn open_beneath(top: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, TreeFault> {
    let relative = match path.trim_start_matches('/') {
        "" => ".",
        relative => relative,
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(top, relative, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Splits an absolute path into its directory and its name; the root is its own directory.
fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((directory, name)) => (directory, name),
        None => ("/", path),
    }
}

fn timestamps(mtime: u32) -> Timestamps {
    let time = Timespec { tv_sec: i64::from(mtime), tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    const PLAIN: Attributes = Attributes { mode: 0o644, uid: 0, gid: 0, mtime: 5 };

    fn write(tree: &mut TreeWriter, path: &str, content: &str) -> Result<(), TreeFault> {
        let mut file = tree.file(path, PLAIN)?;
        file.write_all(content.as_bytes()).expect("write");
        tree.finish_file(&file, PLAIN)
    }

    #[test]
    fn directories_appear_as_needed_and_get_their_attributes_last() {
        let dir = tempfile::tempdir().expect("directory");
        let mut tree = TreeWriter::new(dir.path(), 9).expect("tree");
        write(&mut tree, "/a/b/c/file", "x").expect("file");
        tree.directory("/a/b", Attributes { mode: 0o555, mtime: 7, ..PLAIN }).expect("directory");
        write(&mut tree, "/a/b/later", "y").expect("file in a directory that is to be read-only");
        tree.symlink("/a/link", b"b/later", PLAIN).expect("link");
        tree.hard_link("/a/b/later", "/again").expect("hard link");
        let listed: Vec<_> =
            tree.finish().expect("finish").into_iter().map(|(path, _, listed)| (path, listed)).collect();
        let expected = [("/", false), ("/a", false), ("/a/b", true), ("/a/b/c", false)];
        assert_eq!(listed, expected.map(|(path, listed)| (path.to_owned(), listed)));

        let facts = |path: &str| {
            let metadata = fs::symlink_metadata(dir.path().join(path)).expect("metadata");
            (metadata.mode() & 0o7777, metadata.mtime())
        };
        assert_eq!(facts("a"), (0o755, 9));
        assert_eq!(facts("a/b"), (0o555, 7));
        assert_eq!(facts("a/b/later"), (0o644, 5));
        assert_eq!(facts("a/link").1, 5);
        assert_eq!(fs::read_to_string(dir.path().join("a/link")).expect("through the link"), "y");
        assert_eq!(fs::metadata(dir.path().join("again")).expect("again").nlink(), 2);
    }

    #[test]
    fn what_a_directory_would_hand_down_is_not_taken() {
        let dir = tempfile::tempdir().expect("directory");
        // Whatever is made here has the directory's group, and directories its set-group-id bit.
        if rustix::process::geteuid().is_root() {
            rustix::fs::chown(dir.path(), None, Some(Gid::from_raw(7))).expect("group");
        }
        rustix::fs::chmod(dir.path(), Mode::from_raw_mode(0o2755)).expect("mode");
        let mut tree = TreeWriter::new(dir.path(), 9).expect("tree");
        // The umask takes some of these, and changing the owner others.
        let modes = [0o644, 0o666, 0o777, 0o444, 0o000, 0o4755, 0o2755, 0o1777];
        for (number, mode) in modes.into_iter().enumerate() {
            let attributes = Attributes { mode, uid: 3 * (number as u32 % 2), ..PLAIN };
            let file = tree.file(&format!("/a/{mode:o}"), attributes).expect("file");
            tree.finish_file(&file, attributes).expect("finish");
            tree.directory(&format!("/d/{mode:o}"), attributes).expect("directory");
        }
        tree.finish().expect("finish");
        for (number, mode) in modes.into_iter().enumerate() {
            for directory in ["a", "d"] {
                let path = dir.path().join(format!("{directory}/{mode:o}"));
                let metadata = fs::symlink_metadata(&path).expect("metadata");
                assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (mode, 5), "{}", path.display());
                if rustix::process::geteuid().is_root() {
                    let owner = 3 * (number as u32 % 2);
                    assert_eq!((metadata.uid(), metadata.gid()), (owner, 0), "{}", path.display());
                }
            }
        }
        assert_eq!(fs::metadata(dir.path().join("d")).expect("metadata").mode() & 0o7777, 0o755);
    }

    #[test]
    fn nothing_is_written_through_links_or_over_what_is_there() {
        let outside = tempfile::tempdir().expect("outside");
        let dir = tempfile::tempdir().expect("directory");
        let mut tree = TreeWriter::new(dir.path(), 0).expect("tree");
        tree.symlink("/out", outside.path().as_os_str().as_encoded_bytes(), PLAIN).expect("link");
        tree.symlink("/usr", b"..", PLAIN).expect("link");
        write(&mut tree, "/file", "x").expect("file");
        for path in ["/out/x", "/out/deep/x", "/usr/x", "/usr/y/x", "/file/x"] {
            let fault = write(&mut tree, path, "bad").expect_err(path);
            assert!(matches!(fault, TreeFault::NotADirectory), "{path}: {fault}");
            assert!(tree.directory(path, PLAIN).is_err(), "{path}");
            assert!(tree.symlink(path, b"x", PLAIN).is_err(), "{path}");
            assert!(tree.hard_link("/file", path).is_err(), "{path}");
        }
        for path in ["/out", "/file"] {
            assert!(write(&mut tree, path, "bad").is_err(), "{path}");
            assert!(tree.directory(path, PLAIN).is_err(), "{path}");
        }
        assert!(tree.hard_link("/out", "/stolen").is_ok(), "a link to the link itself");
        assert!(fs::symlink_metadata(dir.path().join("stolen")).expect("link").is_symlink());
        assert_eq!(fs::read_dir(outside.path()).expect("outside").count(), 0);
    }
}
