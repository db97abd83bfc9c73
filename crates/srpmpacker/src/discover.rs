//! Which specs there are: every `*.spec` below the given directories.
//!
//! A spec's name is its file's base name. Directories are in order of preference: a name that an earlier
//! directory has is *shadowed* in a later one, so that one tree can overlay another. Two specs of one name
//! below the same directory are an error, because neither is preferred.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use file_index::Directory;
use specreader::SpecInput;

/// Why the trees of specs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// A directory, or a link in one, cannot be read.
    #[error("cannot read {}{}", path.display(), led_to(path))]
    Read {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// One tree has two specs of the same name.
    #[error("two specs are named `{name}`: {} and {}", first.display(), second.display())]
    Duplicate {
        /// The name.
        name: String,
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The pack list names specs that no directory has.
    #[error("no spec is named {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))]
    Unknown {
        /// The names, sorted.
        names: Vec<String>,
    },
}

/// What the trees have.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    /// The specs to look at, sorted by name.
    pub specs: Vec<SpecInput>,
    /// Specs that an earlier directory hides, with the spec that hides them; sorted.
    pub shadowed: Vec<(PathBuf, PathBuf)>,
    /// Whether these are all specs, rather than those of a pack list.
    pub complete: bool,
    /// What the directories held when the specs were found. A packing that follows at once need not list them
    /// again; a later one must be given none.
    pub listings: Vec<Directory>,
}

/// Finds the specs below some directories.
///
/// `pack_list` limits them to these names; empty means all. `nested` says that sources lie in `SOURCES/`
/// beside the spec rather than beside it.
///
/// # Errors
/// When a directory cannot be read, a name is twice in one tree, or the pack list names what is not there.
pub fn discover(
    directories: &[PathBuf],
    pack_list: &[String],
    nested: bool,
) -> Result<Discovery, DiscoverError> {
    discover_listed(directories.iter().map(|path| Directory::list(path)).collect(), pack_list, nested)
}

/// Finds the specs in directories that were listed a moment ago; see [`discover`].
///
/// # Errors
/// As [`discover`].
pub fn discover_listed(
    listings: Vec<Directory>,
    pack_list: &[String],
    nested: bool,
) -> Result<Discovery, DiscoverError> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut shadowed = Vec::new();
    for listing in &listings {
        let mut specs = BTreeMap::new();
        collect_specs(listing, &mut specs)?;
        for (name, path) in specs {
            match found.get(&name) {
                Some(first) => shadowed.push((path, first.clone())),
                None => {
                    found.insert(name, path);
                }
            }
        }
    }
    shadowed.sort();
    let wanted: BTreeSet<&String> = pack_list.iter().collect();
    let names: Vec<String> =
        wanted.iter().filter(|name| !found.contains_key(**name)).map(|name| (*name).clone()).collect();
    if !names.is_empty() {
        return Err(DiscoverError::Unknown { names });
    }
    let specs = found
        .into_iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.contains(name))
        .map(|(name, path)| {
            let directory = path.parent().unwrap_or(Path::new("."));
            // A spec without sources has no directory for them either.
            let below = directory.join("SOURCES");
            let source_dir = if nested && below.is_dir() { below } else { directory.to_owned() };
            SpecInput { name, path, source_dir }
        })
        .collect();
    Ok(Discovery { specs, shadowed, complete: wanted.is_empty(), listings })
}

/// Returns where a link leads that cannot be followed; nothing for what is no link.
fn led_to(path: &Path) -> String {
    fs::read_link(path).map(|to| format!(", a link to {}", to.display())).unwrap_or_default()
}

/// Collects the specs of a listing; what is hidden is passed over.
fn collect_specs(listing: &Directory, found: &mut BTreeMap<String, PathBuf>) -> Result<(), DiscoverError> {
    let visible = |name: &OsStr| !name.as_bytes().starts_with(b".");
    if let Some(fault) = listing.own_fault() {
        let source = io::Error::new(fault.source.kind(), fault.source.to_string());
        return Err(DiscoverError::Read { path: fault.path.clone(), source });
    }
    for file in listing.files().iter().filter(|file| visible(&file.name)) {
        let path = listing.path().join(&file.name);
        if path.extension().is_none_or(|extension| extension != "spec") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(first) = found.insert(name.clone(), path.clone()) {
            return Err(DiscoverError::Duplicate { name, first, second: path });
        }
    }
    let mut below = listing.directories().iter().filter(|directory| visible(directory.name()));
    below.try_for_each(|directory| collect_specs(directory, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(specs: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for spec in specs {
            let path = directory.path().join(spec);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        directory
    }

    fn names(discovery: &Discovery) -> Vec<&str> {
        discovery.specs.iter().map(|spec| spec.name.as_str()).collect()
    }

    #[test]
    fn a_link_to_nothing_is_told_with_where_it_leads() {
        let tree = tree(&["a/a.spec"]);
        let link = tree.path().join("a/b.spec");
        std::os::unix::fs::symlink("/nowhere", &link).unwrap();
        let error = discover(&[tree.path().to_owned()], &[], false).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read {}, a link to /nowhere", link.display()));
    }

    #[test]
    fn finds_specs_at_any_depth_sorted_and_no_others() {
        let tree =
            tree(&["b/b.spec", "a/deep/a-1.2.spec", "top.spec", "b/b.patch", ".git/x.spec", "b/.b.spec"]);
        let found = discover(&[tree.path().to_owned()], &[], false).unwrap();
        assert_eq!(names(&found), ["a-1.2", "b", "top"]);
        assert!(found.complete);
        assert_eq!(found.specs[1].source_dir, tree.path().join("b"));
        fs::create_dir(tree.path().join("b/SOURCES")).unwrap();
        let nested = discover(&[tree.path().to_owned()], &["b".to_owned(), "top".to_owned()], true).unwrap();
        assert_eq!(nested.specs[0].source_dir, tree.path().join("b/SOURCES"));
        assert_eq!(nested.specs[1].source_dir, tree.path());
        assert!(!nested.complete);
    }

    #[test]
    fn earlier_directory_hides_later_ones() {
        let (first, second) = (tree(&["a/a.spec"]), tree(&["x/a.spec", "b/b.spec"]));
        let found = discover(&[first.path().to_owned(), second.path().to_owned()], &[], false).unwrap();
        assert_eq!(names(&found), ["a", "b"]);
        assert_eq!(found.specs[0].path, first.path().join("a/a.spec"));
        assert_eq!(found.shadowed, [(second.path().join("x/a.spec"), first.path().join("a/a.spec"))]);
    }

    #[test]
    fn faults_are_named() {
        let twice = tree(&["a/a.spec", "b/a.spec"]);
        let error = discover(&[twice.path().to_owned()], &[], false).unwrap_err();
        assert!(matches!(error, DiscoverError::Duplicate { name, .. } if name == "a"));
        let error = discover(&[PathBuf::from("/nonexistent")], &[], false).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent");
        let one = tree(&["a/a.spec"]);
        let list = ["z".to_owned(), "a".to_owned(), "y".to_owned()];
        let error = discover(&[one.path().to_owned()], &list, false).unwrap_err();
        assert_eq!(error.to_string(), "no spec is named `y`, `z`");
    }
}
