//! Stands for `brp-compress`: manual and info pages are compressed with gzip, links to them follow.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::call::{Call, code_of};
use crate::oddity::Oddity;
use crate::tree::{Entry, below, is_plain, plain, with_ending};

/// What a compressed page's name ends with.
const ENDING: &str = ".gz";

/// What names of pages end with that are compressed already.
const COMPRESSED: [&str; 7] = [".gz", ".Z", ".bz2", ".xz", ".lzma", ".zst", ".zstd"];

/// Where pages are: below the prefix, with `*` for any name.
const DIRECTORIES: [&str; 12] = [
    "man/man*",
    "man/*/man*",
    "info",
    "share/man/man*",
    "share/man/*/man*",
    "share/info",
    "kerberos/man",
    "X11R6/man/man*",
    "lib/perl5/man/man*",
    "share/doc/*/man/man*",
    "lib/*/man/man*",
    "share/fish/man/man*",
];

/// At most so many pages are given to one `gzip`: the kernel limits the length of arguments.
const AT_ONCE: usize = 256;

/// Pages to compress and links to replace.
pub(crate) struct Plan {
    pages: Vec<PathBuf>,
    links: Vec<Link>,
    script: PathBuf,
    arguments: Vec<OsString>,
}

/// A symbolic link, and what takes its place.
struct Link {
    path: PathBuf,
    new_path: PathBuf,
    new_target: PathBuf,
}

/// Plans what `brp-compress [PREFIX]` does.
pub(crate) fn plan(call: &Call) -> Result<Plan, Oddity> {
    for name in ["COMPRESS", "COMPRESS_EXT"] {
        if env::var_os(name).is_some_and(|value| !value.is_empty()) {
            return Err(Oddity::Environment(name));
        }
    }
    let prefix = match call.arguments.as_slice() {
        [] => OsString::from("/usr"),
        [prefix] if prefix.is_empty() => OsString::from("/usr"),
        [prefix] if is_plain(prefix) && prefix.as_bytes().starts_with(b"/") => prefix.clone(),
        _ => return Err(Oddity::Arguments),
    };
    let root = call.build_root()?;
    if !root.is_absolute() || !root.is_dir() {
        // The script goes on where it is.
        return Err(Oddity::RootName);
    }
    let base = with_ending(root, &prefix);
    let (mut pages, mut links, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for pattern in DIRECTORIES {
        for directory in matching(&base, pattern)? {
            if !is_plain(directory.strip_prefix(root).unwrap_or(&directory).as_os_str()) {
                return Err(Oddity::Name(directory));
            }
            for entry in below(&directory)? {
                collect(root, entry, &mut pages, &mut links)?;
            }
        }
    }
    // Two things that would get the same name get it by turns, and the last one wins: not known here.
    for new in pages
        .iter()
        .map(|page| with_ending(page, ENDING))
        .chain(links.iter().map(|link| link.new_path.clone()))
    {
        if !names.insert(new.clone()) {
            return Err(Oddity::Taken(new));
        }
    }
    Ok(Plan { pages, links, script: call.script.original(), arguments: call.arguments.clone() })
}

/// Returns the directories that a pattern matches; a name that begins with a dot matches no `*`.
fn matching(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, Oddity> {
    let mut found = vec![base.to_owned()];
    for part in pattern.split('/') {
        let mut next = Vec::new();
        for directory in found {
            match part.strip_suffix('*') {
                None => next.push(directory.join(part)),
                Some(start) => {
                    let Ok(entries) = fs::read_dir(&directory) else { continue };
                    for entry in entries {
                        let name = entry.map_err(Oddity::io("read", &directory))?.file_name();
                        if name.as_bytes().starts_with(start.as_bytes()) && !name.as_bytes().starts_with(b".")
                        {
                            next.push(directory.join(name));
                        }
                    }
                }
            }
        }
        found = next;
    }
    found.retain(|path| path.is_dir());
    match found.iter().find(|path| path.is_symlink()) {
        // `find` does not follow it, but finds the link itself.
        Some(link) => Err(Oddity::LinkedDirectory(link.clone())),
        None => Ok(found),
    }
}

fn collect(root: &Path, entry: Entry, pages: &mut Vec<PathBuf>, links: &mut Vec<Link>) -> Result<(), Oddity> {
    let name = entry.path.file_name().unwrap_or_default();
    let below_root = entry.path.strip_prefix(root).unwrap_or(&entry.path);
    if entry.kind.is_file() && name != "dir" {
        plain(below_root)?;
        if COMPRESSED.iter().any(|ending| name.as_bytes().ends_with(ending.as_bytes())) {
            return Err(Oddity::Compressed(entry.path));
        }
        if entry.links > 1 || entry.is_special() {
            return Err(Oddity::Linked(entry.path));
        }
        let new = with_ending(&entry.path, ENDING);
        if new.symlink_metadata().is_ok() {
            return Err(Oddity::Taken(new));
        }
        pages.push(entry.path);
    } else if entry.kind.is_symlink() {
        plain(below_root)?;
        let target = fs::read_link(&entry.path).map_err(Oddity::io("read", &entry.path))?;
        if !is_plain(target.as_os_str()) {
            return Err(Oddity::Name(entry.path));
        }
        let new_path = with_ending(&without_ending(&entry.path), ENDING);
        if new_path != entry.path && new_path.symlink_metadata().is_ok() {
            return Err(Oddity::Taken(new_path));
        }
        links.push(Link {
            new_path,
            new_target: with_ending(&without_ending(&target), ENDING),
            path: entry.path,
        });
    }
    Ok(())
}

/// Returns a path without the ending of compressed files, if it has one.
fn without_ending(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let rest = COMPRESSED.iter().find_map(|ending| bytes.strip_suffix(ending.as_bytes())).unwrap_or(bytes);
    PathBuf::from(OsString::from_vec(rest.to_vec()))
}

impl Plan {
    pub(crate) fn carry_out(self) -> io::Result<u8> {
        for pages in self.pages.chunks(AT_ONCE) {
            let mut gzip = Command::new("gzip");
            gzip.args(["-9", "-n", "--"]).args(pages).stdin(Stdio::null()).stderr(Stdio::null());
            if code_of(gzip.status()?) != 0 {
                // The script has ways to go on. It finds compressed pages, and compresses them anew to the same.
                let script = Command::new(&self.script).args(&self.arguments).status()?;
                return Ok(code_of(script));
            }
        }
        for link in &self.links {
            fs::remove_file(&link.path)?;
            std::os::unix::fs::symlink(&link.new_target, &link.new_path)?;
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_of_compressed_files() {
        for (path, rest) in [
            ("man1/a.1", "man1/a.1"),
            ("man1/a.1.gz", "man1/a.1"),
            ("a.1.zstd", "a.1"),
            ("a.1.bz2.xz", "a.1.bz2"),
            (".gz", ""),
        ] {
            assert_eq!(without_ending(Path::new(path)), Path::new(rest));
        }
    }

    #[test]
    fn patterns_match_directories_only() {
        let base = tempfile::tempdir().unwrap();
        for directory in ["share/man/man1", "share/man/de/man3", "share/man/.x/man3", "share/man/cat1"] {
            fs::create_dir_all(base.path().join(directory)).unwrap();
        }
        fs::write(base.path().join("share/man/man.txt"), "").unwrap();
        let names = |pattern: &str| {
            let found = matching(base.path(), pattern).unwrap();
            found.iter().map(|path| path.strip_prefix(base.path()).unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("share/man/man*"), [Path::new("share/man/man1")]);
        assert_eq!(names("share/man/*/man*"), [Path::new("share/man/de/man3")]);
        assert!(names("share/info").is_empty());
        std::os::unix::fs::symlink("man1", base.path().join("share/man/man9")).unwrap();
        assert!(matches!(matching(base.path(), "share/man/man*"), Err(Oddity::LinkedDirectory(_))));
    }
}
