//! What a build left, as this process looks at it: no link of a build leads it anywhere, and nothing makes it wait.
//!
//! A path below a build's directory is the build's choice. Where it put a link, the worker, who may be root, would look
//! at a file or directory of the host; where it put a pipe, the worker would wait for ever. The build's directory itself
//! is the worker's own.

use std::fs::{self, File, ReadDir};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a file that a build left, if it is a regular one.
pub(crate) fn open_left(path: &Path) -> Option<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path).ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}

/// Lists a directory that a build left; nothing where there is none. Anything else, a link above all, is
/// [`io::ErrorKind::NotADirectory`]. The build must have ended.
pub(crate) fn list_left(path: &Path) -> io::Result<Option<ReadDir>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(metadata) if !metadata.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        Ok(_) => fs::read_dir(path).map(Some),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_followed_and_pipes_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("directory")).unwrap();
        fs::write(at("file"), "x").unwrap();
        std::os::unix::fs::symlink(at("directory"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("file"), at("file-link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open_left(&at("file")).is_some());
        for other in ["file-link", "pipe", "directory", "link", "absent"] {
            assert!(open_left(&at(other)).is_none(), "{other}");
        }
        assert_eq!(list_left(&at("directory")).unwrap().unwrap().count(), 0);
        assert!(list_left(&at("absent")).unwrap().is_none());
        for other in ["link", "file", "pipe"] {
            let error = list_left(&at(other)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{other}");
        }
    }
}
