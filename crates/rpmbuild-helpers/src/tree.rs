//! What a build root holds, and which names are safe in a shell's hands.

use std::ffi::OsStr;
use std::fs::{self, FileType, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::oddity::Oddity;

/// Bits of which each lets somebody execute a file.
const EXECUTABLE: u32 = 0o111;

/// Bits of set-user-id, set-group-id and sticky.
const SPECIAL: u32 = 0o7000;

/// A file, directory or link below a directory.
pub(crate) struct Entry {
    /// Its path, which begins with the directory's.
    pub(crate) path: PathBuf,
    pub(crate) kind: FileType,
    pub(crate) mode: u32,
    pub(crate) links: u64,
    /// What two names of one file have in common: device and inode number.
    pub(crate) identity: (u64, u64),
}

impl Entry {
    pub(crate) fn new(path: PathBuf, metadata: &Metadata) -> Self {
        Self {
            path,
            kind: metadata.file_type(),
            mode: metadata.mode(),
            links: metadata.nlink(),
            identity: (metadata.dev(), metadata.ino()),
        }
    }

    /// Returns whether anybody may execute it.
    pub(crate) fn is_executable(&self) -> bool {
        self.mode & EXECUTABLE != 0
    }

    /// Returns whether it is set-user-id, set-group-id or sticky.
    pub(crate) fn is_special(&self) -> bool {
        self.mode & SPECIAL != 0
    }
}

/// Returns what is below a directory, each directory before what is in it, in the order of the file system.
pub(crate) fn below(directory: &Path) -> Result<Vec<Entry>, Oddity> {
    let mut found = Vec::new();
    walk(directory, &mut found)?;
    Ok(found)
}

fn walk(directory: &Path, found: &mut Vec<Entry>) -> Result<(), Oddity> {
    for entry in fs::read_dir(directory).map_err(Oddity::io("read", directory))? {
        let path = entry.map_err(Oddity::io("read", directory))?.path();
        let metadata = fs::symlink_metadata(&path).map_err(Oddity::io("examine", &path))?;
        let entry = Entry::new(path.clone(), &metadata);
        let inside = entry.kind.is_dir();
        found.push(entry);
        if inside {
            walk(&path, found)?;
        }
    }
    Ok(())
}

/// Returns whether a shell, `sed`, `xargs` and `grep` take each byte of a name for itself.
pub(crate) fn is_plain(name: &OsStr) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._+-:@%,=~".contains(byte);
    name.as_bytes().iter().all(plain)
}

/// Returns the path when it is plain.
pub(crate) fn plain(path: &Path) -> Result<&Path, Oddity> {
    if is_plain(path.as_os_str()) { Ok(path) } else { Err(Oddity::Name(path.to_owned())) }
}

/// Returns whether patterns of all kinds (shell, `grep`, `find -regex`) take the path for itself.
///
/// A dot matches any character, itself among them.
pub(crate) fn is_its_own_pattern(path: &Path) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    path.as_os_str().as_bytes().iter().all(plain)
}

/// Returns what follows the build root in a path below it, beginning with `/`.
pub(crate) fn inside<'a>(root: &Path, path: &'a Path) -> &'a OsStr {
    let bytes = path.as_os_str().as_bytes();
    OsStr::from_bytes(bytes.strip_prefix(root.as_os_str().as_bytes()).unwrap_or(bytes))
}

/// Returns a path with something appended to its last component.
pub(crate) fn with_ending(path: &Path, ending: impl AsRef<OsStr>) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(ending);
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns() {
        for (name, plain, pattern) in [
            ("/b/zlib-1.3-1.mw1.x86_64", true, true),
            ("/b/libstdc++-12", true, false),
            ("/b/a b", false, false),
            ("/b/a\nb", false, false),
            ("/b/Foo::Bar.3pm", true, false),
            ("/b/[", false, false),
            ("/b/\u{e4}", false, false),
        ] {
            assert_eq!(is_plain(OsStr::new(name)), plain, "{name}");
            assert_eq!(is_its_own_pattern(Path::new(name)), pattern, "{name}");
        }
    }

    #[test]
    fn a_tree_is_listed_whole_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink("/", root.join("a/link")).unwrap();
        let mut names: Vec<_> =
            below(root).unwrap().iter().map(|entry| inside(root, &entry.path).to_owned()).collect();
        names.sort();
        assert_eq!(names, ["/a", "/a/b", "/a/b/file", "/a/link"]);
        assert!(below(&root.join("absent")).is_err());
    }
}
