//! Directories with all that is below them, listed in parallel with one look at each file.
//!
//! Links are followed. A link to a directory that it lies in, and whatever cannot be listed, is a fault of the
//! directory where it is found; the rest is listed all the same, and the caller decides what needs the whole.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rayon::prelude::*;
use rpm_model::ContentDigest;
use sha2::{Digest, Sha256};

use crate::stamp::Stamp;

/// A directory and everything below it at one moment.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    looked: SystemTime,
    files: Vec<FileEntry>,
    directories: Vec<Directory>,
    is_link: bool,
    fault: Option<ListingError>,
}

/// A file in a [`Directory`].
#[derive(Clone, Debug)]
pub struct FileEntry {
    /// Its name in the directory.
    pub name: OsString,
    /// Its stamp; of a link, that of the file that it leads to.
    pub stamp: Stamp,
    /// Whether it is a link.
    pub is_link: bool,
}

/// Why a directory, or something in it, could not be listed.
#[derive(Clone, Debug)]
pub struct ListingError {
    /// What could not be.
    pub path: PathBuf,
    /// The system's answer.
    pub source: Arc<io::Error>,
}

/// The directories that a listing is in, as device and inode, from the innermost.
struct Within<'a> {
    identity: (u64, u64),
    outer: Option<&'a Within<'a>>,
}

impl Directory {
    /// Lists a directory; what goes wrong is told by [`fault`](Self::fault).
    pub fn list(path: &Path) -> Self {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match fs::metadata(path) {
            Ok(metadata) => list(path.to_owned(), (metadata.dev(), metadata.ino()), None),
            Err(error) => Self::empty(path.to_owned(), Some(error)),
        }
    }

    /// Returns the path, as the caller of [`list`](Self::list) gave it and from there on.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory's own name.
    pub fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or(self.path.as_os_str())
    }

    /// Returns the moment before the directory was looked at.
    pub fn looked(&self) -> SystemTime {
        self.looked
    }

    /// Returns the files in it, sorted by name; sockets, devices and pipes are left out.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Returns the directories in it, sorted by name.
    pub fn directories(&self) -> &[Directory] {
        &self.directories
    }

    /// Returns whether a link led here from the directory above.
    pub fn is_link(&self) -> bool {
        self.is_link
    }

    /// Returns what could not be listed here, if anything; what is below is not looked at.
    pub fn own_fault(&self) -> Option<&ListingError> {
        self.fault.as_ref()
    }

    /// Returns what could not be listed here or below, if anything.
    pub fn fault(&self) -> Option<&ListingError> {
        self.fault.as_ref().or_else(|| self.directories.iter().find_map(Self::fault))
    }

    /// Returns the directory with this path, here or below.
    pub fn find(&self, path: &Path) -> Option<&Directory> {
        let mut found = self;
        for component in path.strip_prefix(&self.path).ok()?.components() {
            let name = component.as_os_str();
            let place = found.directories.binary_search_by(|directory| directory.name().cmp(name)).ok()?;
            found = &found.directories[place];
        }
        Some(found)
    }

    /// Returns a hash of all names and stamps here and below, and of what is not there: equal hashes, same bytes.
    ///
    /// `None` where that does not hold: something cannot be listed, or changed just now
    /// ([`Stamp::is_settled`]).
    pub fn fingerprint(&self) -> Option<ContentDigest> {
        let mut hash = Sha256::new();
        self.enter(&mut hash).then(|| ContentDigest::from_hash(&hash.finalize()))
    }

    /// Enters what is here and below; returns whether all of it was seen and is settled.
    fn enter(&self, hash: &mut Sha256) -> bool {
        let text = |hash: &mut Sha256, text: &OsStr| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        text(hash, self.path.as_os_str());
        if let Some(fault) = &self.fault {
            if fault.source.kind() != io::ErrorKind::NotFound {
                return false;
            }
            text(hash, fault.path.as_os_str());
        }
        hash.update((self.files.len() as u64).to_le_bytes());
        for file in &self.files {
            if !file.stamp.is_settled(self.looked) {
                return false;
            }
            text(hash, &file.name);
            hash.update([u8::from(file.is_link)]);
            hash.update(file.stamp.to_bytes());
        }
        hash.update((self.directories.len() as u64).to_le_bytes());
        self.directories.iter().all(|directory| directory.enter(hash))
    }

    fn empty(path: PathBuf, error: Option<io::Error>) -> Self {
        let fault = error.map(|error| ListingError { path: path.clone(), source: Arc::new(error) });
        let looked = SystemTime::now();
        Self { path, looked, files: Vec::new(), directories: Vec::new(), is_link: false, fault }
    }
}

fn list(path: PathBuf, identity: (u64, u64), outer: Option<&Within<'_>>) -> Directory {
    let within = Within { identity, outer };
    let mut listed = Directory::empty(path, None);
    if std::iter::successors(outer, |within| within.outer).any(|outer| outer.identity == identity) {
        let loops = io::Error::other("the link leads to where it lies in");
        return Directory::empty(listed.path, Some(loops));
    }
    let entries = match fs::read_dir(&listed.path) {
        Ok(entries) => entries,
        Err(error) => return Directory::empty(listed.path, Some(error)),
    };
    let mut below = Vec::new();
    for entry in entries {
        let fault = match entry.and_then(|entry| look(&entry)) {
            Ok(Found::File(file)) => {
                listed.files.push(file);
                continue;
            }
            Ok(Found::Directory(directory)) => {
                below.push(directory);
                continue;
            }
            Ok(Found::Other) => continue,
            Ok(Found::Fault(path, source)) => ListingError { path, source: Arc::new(source) },
            Err(error) => ListingError { path: listed.path.clone(), source: Arc::new(error) },
        };
        listed.fault.get_or_insert(fault);
    }
    listed.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    below.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let list_below = |below: Below| Directory {
        is_link: below.is_link,
        ..list(below.path, below.identity, Some(&within))
    };
    listed.directories = below.into_par_iter().map(list_below).collect();
    listed
}

enum Found {
    File(FileEntry),
    Directory(Below),
    Other,
    Fault(PathBuf, io::Error),
}

/// A directory that is to be listed.
struct Below {
    path: PathBuf,
    identity: (u64, u64),
    is_link: bool,
}

fn look(entry: &fs::DirEntry) -> io::Result<Found> {
    let is_link = entry.file_type()?.is_symlink();
    // Relative to the open directory, so the system need not walk down the path again.
    let metadata = if is_link { fs::metadata(entry.path()) } else { entry.metadata() };
    Ok(match metadata {
        Ok(metadata) if metadata.is_file() => {
            Found::File(FileEntry { name: entry.file_name(), stamp: Stamp::of(&metadata), is_link })
        }
        Ok(metadata) if metadata.is_dir() => Found::Directory(Below {
            path: entry.path(),
            identity: (metadata.dev(), metadata.ino()),
            is_link,
        }),
        Ok(_) => Found::Other,
        Err(error) => Found::Fault(entry.path(), error),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Directory) -> Vec<String> {
        let files = directory.files().iter().map(|file| directory.path().join(&file.name));
        let own = files.map(|path| path.display().to_string());
        own.chain(directory.directories().iter().flat_map(names)).collect()
    }

    #[test]
    fn everything_is_listed_sorted_and_links_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for file in ["b/2", "b/1", "a/deep/x", "top", ".hidden/x"] {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), file).unwrap();
        }
        symlink("top", root.join("link")).unwrap();
        symlink("../b", root.join("a/link")).unwrap();
        let listed = Directory::list(root);
        let expected = ["link", "top", ".hidden/x", "a/deep/x", "a/link/1", "a/link/2", "b/1", "b/2"];
        let expected = expected.map(|name| root.join(name).display().to_string());
        assert_eq!(names(&listed), expected);
        assert!(listed.fault().is_none());
        assert!(listed.files()[0].is_link && !listed.files()[1].is_link);
        let a = listed.find(&root.join("a")).unwrap();
        assert_eq!(a.directories().iter().map(Directory::is_link).collect::<Vec<_>>(), [false, true]);
        assert_eq!(listed.files()[0].stamp, listed.files()[1].stamp);
        assert_eq!(listed.find(root).unwrap().path(), root);
        assert_eq!(listed.find(&root.join("a/deep")).unwrap().files()[0].name, "x");
        assert!(listed.find(&root.join("c")).is_none());
        assert!(listed.find(Path::new("/")).is_none());
    }

    #[test]
    fn faults_are_told_and_hide_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("a")).unwrap();
        fs::write(root.join("a/file"), "").unwrap();
        symlink("..", root.join("a/up")).unwrap();
        let listed = Directory::list(root);
        assert_eq!(listed.fault().unwrap().path, root.join("a/up"));
        assert_eq!(names(&listed), [root.join("a/file").display().to_string()]);
        fs::remove_file(root.join("a/up")).unwrap();
        symlink("nowhere", root.join("a/broken")).unwrap();
        assert_eq!(Directory::list(root).fault().unwrap().path, root.join("a/broken"));
        assert!(Directory::list(&root.join("absent")).fault().is_some());
    }
    #[test]
    fn a_fingerprint_tells_every_change() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let print = || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            Directory::list(&root).fingerprint().unwrap()
        };
        let changes: [&dyn Fn(); 10] = [
            &|| {},
            &|| fs::create_dir(&root).unwrap(),
            &|| fs::write(root.join("a"), "1").unwrap(),
            &|| fs::write(root.join("a"), "2").unwrap(),
            &|| fs::rename(root.join("a"), root.join("b")).unwrap(),
            &|| fs::create_dir_all(root.join("below/deep")).unwrap(),
            &|| fs::rename(root.join("b"), root.join("below/b")).unwrap(),
            &|| fs::rename(root.join("below/b"), root.join("below/deep/b")).unwrap(),
            &|| symlink("nowhere", root.join("link")).unwrap(),
            &|| fs::remove_dir_all(root.join("below")).unwrap(),
        ];
        let mut seen = Vec::new();
        for (number, change) in changes.iter().enumerate() {
            change();
            let now = print();
            assert_eq!(now, print());
            assert!(!seen.contains(&now), "change {number}");
            seen.push(now);
        }
        symlink("../root", root.join("loop")).unwrap();
        assert!(Directory::list(&root).fingerprint().is_none(), "what cannot be listed is not known");
        fs::remove_file(root.join("loop")).unwrap();
        let future = SystemTime::now() + std::time::Duration::from_secs(3600);
        fs::write(root.join("a"), "1").unwrap();
        fs::File::options().append(true).open(root.join("a")).unwrap().set_modified(future).unwrap();
        assert!(Directory::list(&root).fingerprint().is_none(), "a time to come never settles");
    }
}
