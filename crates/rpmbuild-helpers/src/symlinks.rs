//! Links between debug files: where a link leads to a file that has one, so does a link of its name.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::lists::tell;
use crate::tree::{below, inside, with_ending};

/// More links in a row than this lead in circles.
const MOST_LINKS: usize = 64;

/// Makes, for each symbolic link of the build root outside `debug`, a link to the debug file of what it leads to,
/// where there is one. Returns the list of them.
pub(crate) fn link_debug_files(root: &Path, debug: &Path) -> io::Result<Vec<u8>> {
    let mut list = Vec::new();
    if !debug.is_dir() {
        return Ok(list);
    }
    for entry in below(root).map_err(io::Error::other)? {
        if !entry.kind.is_symlink() || entry.path.starts_with(debug) {
            continue;
        }
        let Some(target) = resolve(&entry.path) else { continue };
        let target = with_ending(Path::new(inside(root, &target)), ".debug");
        if !with_ending(debug, target.as_os_str()).is_file() {
            continue;
        }
        let target = with_ending(Path::new("/usr/lib/debug"), target.as_os_str());
        let link =
            with_ending(&with_ending(Path::new("/usr/lib/debug"), inside(root, &entry.path)), ".debug");
        tell(&format!("symlinked {} to {}", target.display(), link.display()));
        for part in [link.as_os_str(), OsStr::new(" "), target.as_os_str(), OsStr::new("\n")] {
            list.extend_from_slice(part.as_bytes());
        }
        let place = with_ending(root, link.as_os_str());
        if let Some(directory) = place.parent() {
            fs::create_dir_all(directory)?;
        }
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::os::unix::fs::symlink(relative(&link, &target), &place)?,
        }
    }
    Ok(list)
}

/// Returns where a path leads when all links in it are followed; what is not there is taken as written. `None` when
/// it leads in circles.
fn resolve(path: &Path) -> Option<PathBuf> {
    let mut rest: VecDeque<OsString> = parts(path);
    let (mut resolved, mut followed) = (PathBuf::from("/"), 0);
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            resolved.pop();
            continue;
        }
        let next = resolved.join(&part);
        match fs::read_link(&next) {
            Ok(target) => {
                followed += 1;
                if followed > MOST_LINKS {
                    return None;
                }
                if target.is_absolute() {
                    resolved = PathBuf::from("/");
                }
                for part in parts(&target).into_iter().rev() {
                    rest.push_front(part);
                }
            }
            Err(_) => resolved = next,
        }
    }
    Some(resolved)
}

/// Returns the names and `..` of a path.
fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

/// Returns the target of a link at `link` that leads to `target`, both absolute.
fn relative(link: &Path, target: &Path) -> PathBuf {
    let (link, target) = (parts(link), parts(target));
    let common = link.iter().zip(&target).take_while(|(one, other)| one == other).count();
    let up = (common + 1..link.len()).map(|_| OsString::from(".."));
    up.chain(target.iter().skip(common).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_to_their_ends() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "").unwrap();
        symlink("b/file", root.join("a/link")).unwrap();
        symlink("../link", root.join("a/b/again")).unwrap();
        symlink("absent/x", root.join("dangling")).unwrap();
        symlink("/absent/y", root.join("absolute")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        assert_eq!(resolve(&root.join("a/link")), Some(root.join("a/b/file")));
        assert_eq!(resolve(&root.join("a/b/again")), Some(root.join("a/b/file")));
        assert_eq!(resolve(&root.join("dangling")), Some(root.join("absent/x")));
        assert_eq!(resolve(&root.join("absolute")), Some("/absent/y".into()));
        assert_eq!(resolve(&root.join("circle")), None);
    }

    #[test]
    fn links_are_relative() {
        for (link, target, text) in [
            ("/usr/lib/debug/a/b.debug", "/usr/lib/debug/a/c.debug", "c.debug"),
            ("/usr/lib/debug/a/b.debug", "/usr/lib/debug/x/c.debug", "../x/c.debug"),
            ("/usr/lib/debug/b.debug", "/usr/lib/debug/x/y/c.debug", "x/y/c.debug"),
        ] {
            assert_eq!(relative(Path::new(link), Path::new(target)), Path::new(text));
        }
    }
}
