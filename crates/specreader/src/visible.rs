//! What of a spec's surroundings its macros can see while it is parsed.
//!
//! Conservative, and the same for the cache's key and for what is handed to rpm, so that nothing unhashed
//! can influence a result: every file of at most 1 MiB in the directories of the spec and its sources, except
//! other specs and signature files; and where the spec's text shows a way to read files (`%(...)`, Lua,
//! `%include`, `%{load:...}`), every file there without exception.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Neighbours larger than this are tarballs; only a text that can read files may depend on them.
pub(crate) const LARGE: u64 = 1 << 20;

/// One file that macros can see.
pub(crate) struct VisibleFile {
    /// Its path relative to the directory.
    pub(crate) name: PathBuf,
    /// Its path.
    pub(crate) path: PathBuf,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// Returns whether a spec's own text shows a way to read other files while it is parsed.
pub(crate) fn can_read_files(text: &[u8]) -> bool {
    let ways: [&[u8]; 5] = [b"%(", b"lua:", b"%include", b"load:", b"uncompress"];
    ways.iter().any(|way| memchr::memmem::find(text, way).is_some())
}

/// Returns whether a file in a spec's surroundings is visible; `name` is its base name.
pub(crate) fn is_visible(name: &[u8], size: u64, reads_files: bool) -> bool {
    let unread = name.ends_with(b".spec") || name.ends_with(b".signatures.json");
    reads_files || !(unread || size > LARGE)
}

/// Lists the visible files of a directory, sorted by name.
pub(crate) fn files(directory: &Path, reads_files: bool) -> io::Result<Vec<VisibleFile>> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let mut list = Vec::new();
    for entry in walkdir::WalkDir::new(directory).follow_links(true).sort_by_file_name() {
        let entry = entry?;
        if !entry.file_type().is_file() {
            continue;
        }
        let path = entry.path();
        let name = path.strip_prefix(directory).unwrap_or(path).to_owned();
        let size = entry.metadata()?.len();
        if is_visible(entry.file_name().as_bytes(), size, reads_files) {
            list.push(VisibleFile { name, path: path.to_owned(), size });
        }
    }
    Ok(list)
}

/// Copies visible files below `target` and returns the large ones, for which there is an empty file to mount
/// the original on.
pub(crate) fn copy(files: Vec<VisibleFile>, target: &Path) -> io::Result<Vec<VisibleFile>> {
    let mut large = Vec::new();
    for file in files {
        let copy = target.join(&file.name);
        if let Some(parent) = copy.parent() {
            fs::create_dir_all(parent)?;
        }
        if file.size > LARGE {
            fs::File::create(&copy)?;
            large.push(file);
        } else {
            fs::copy(&file.path, &copy)?;
        }
    }
    Ok(large)
}

/// Lets everyone read a tree of ours: rpm runs as a user who owns nothing, whatever the umask was.
pub(crate) fn open_up(tree: &Path) -> io::Result<()> {
    for entry in walkdir::WalkDir::new(tree) {
        let entry = entry?;
        let mode = if entry.file_type().is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
