//! The lists that `find-debuginfo` leaves in the build directory, of which debug packages are made.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::arguments::Options;
use crate::tree::below;

/// Sources named by debug information, each ended by a NUL.
pub(crate) const SOURCES: &str = "debugsources.list";
/// Symbolic links between debug files.
pub(crate) const LINKS: &str = "debuglinks.list";
/// Files that were stripped.
pub(crate) const PROGRAMS: &str = "elfbins.list";
/// Files and directories of the debug package.
const FILES: &str = "debugfiles.list";

/// All lists, in the order in which they are made.
pub(crate) const OWN: [&str; 4] = [SOURCES, FILES, LINKS, PROGRAMS];

/// Returns the lists of sources of `count` files, which are named by number, one after the other.
pub(crate) fn join(scratch: &Path, count: usize) -> io::Result<Vec<u8>> {
    let mut joined = Vec::new();
    for number in 0..count {
        match fs::read(scratch.join(number.to_string())) {
            Ok(bytes) => joined.extend_from_slice(&bytes),
            // A worker ended before it came to this file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(joined)
}

/// Returns a line for each path, with `./` before it.
pub(crate) fn lines(paths: &[PathBuf], before: &str) -> Vec<u8> {
    let mut text = Vec::new();
    for path in paths {
        text.extend_from_slice(before.as_bytes());
        text.push(b'/');
        text.extend_from_slice(path.as_os_str().as_bytes());
        text.push(b'\n');
    }
    text
}

/// Writes the lists of what is in the build root's `usr/lib/debug` and `usr/src/debug`.
pub(crate) fn write(root: &Path, options: &Options) -> io::Result<()> {
    let user = root.join("usr");
    let mut files = Vec::new();
    if user.join("lib/debug").is_dir() {
        let debug = user.join("lib/debug");
        let entries = below(&debug).map_err(io::Error::other)?;
        line(&mut files, "%dir ", root, &debug);
        for entry in entries.iter().filter(|entry| entry.kind.is_dir()) {
            line(&mut files, "%dir ", root, &entry.path);
        }
        for entry in entries.iter().filter(|entry| !entry.kind.is_dir()) {
            line(&mut files, "", root, &entry.path);
        }
    }
    let mut sources = Vec::new();
    if let Ok(entries) = fs::read_dir(user.join("src/debug")) {
        for entry in entries {
            line(&mut sources, "", root, &entry?.path());
        }
    }
    match &options.source_list {
        Some(list) => fs::write(options.list(list), sources)?,
        None => files.extend_from_slice(&sources),
    }
    fs::write(options.list(FILES), files)
}

fn line(text: &mut Vec<u8>, before: &str, root: &Path, path: &Path) {
    let inside: &OsStr = crate::tree::inside(root, path);
    text.extend_from_slice(before.as_bytes());
    text.extend_from_slice(inside.as_bytes());
    text.push(b'\n');
}

/// Writes a line to standard output.
pub(crate) fn tell(line: &str) {
    // Nobody can be told that the log cannot be written.
    let _ = writeln!(io::stdout(), "{line}");
}
