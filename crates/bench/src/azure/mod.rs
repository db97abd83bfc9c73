//! The Azure Linux tree as a yardstick: its specs, and a worker that reads them as that distribution's own
//! worker does.
//!
//! What it is: where the specs are ([`AzureTree`]), the macros they are written for ([`macros`]), a worker
//! generation with those macros ([`worker`]), and the release macros that the toolkit generates ([`release`]).
//!
//! What it is not: nothing of that tree is part of Millwright. It comes from a checkout that the caller names
//! and is copied into the benchmark's own directory, where it may be edited.

pub(crate) mod macros;
pub(crate) mod packages;
pub(crate) mod release;
pub(crate) mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use specreader::{ReadOptions, ReleaseMacros, SpecInput};

use crate::error::BenchError;

/// The directories of specs, each with a directory per spec.
const SPEC_DIRECTORIES: [&str; 3] = ["SPECS", "SPECS-EXTENDED", "SPECS-SIGNED"];

/// The distribution tag that the toolkit builds with.
pub(crate) const DIST_TAG: &str = ".azl3";

/// The architecture that is read for.
pub(crate) const ARCH: &str = "x86_64";

/// A tree of specs laid out as Azure Linux 3.0 lays them out.
#[derive(Clone, Debug)]
pub(crate) struct AzureTree {
    root: PathBuf,
}

impl AzureTree {
    /// Returns the tree in a directory that the user named.
    pub(crate) fn open(root: Option<&Path>) -> Result<Self, BenchError> {
        let root = root.ok_or(BenchError::NoAzureTree)?;
        let root = root.canonicalize().map_err(BenchError::io("find", root))?;
        let missing = SPEC_DIRECTORIES.iter().find(|name| !root.join(name).is_dir());
        match missing {
            Some(name) => Err(BenchError::NotAzureTree { path: root, missing: (*name).to_owned() }),
            None => Ok(Self { root }),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of a file of the tree.
    pub(crate) fn file(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Returns every spec, sorted by path; most are `<directory>/<name>/<name>.spec`, some directories hold several.
    ///
    /// Two names stand in two of the directories; the inputs differ in their paths.
    pub(crate) fn specs(&self) -> Result<Vec<SpecInput>, BenchError> {
        let mut specs = Vec::new();
        for directory in SPEC_DIRECTORIES.map(|name| self.root.join(name)) {
            for source_dir in listed(&directory)?.into_iter().filter(|path| path.is_dir()) {
                let is_spec = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "spec");
                specs.extend(listed(&source_dir)?.into_iter().filter(is_spec).map(|path| SpecInput {
                    name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
                    path,
                    source_dir: source_dir.clone(),
                }));
            }
        }
        specs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(specs)
    }

    /// Copies the directories of some of the tree's specs to `target` and returns the tree there.
    pub(crate) fn copy(&self, specs: &[SpecInput], target: &Path) -> Result<Self, BenchError> {
        for directory in SPEC_DIRECTORIES.map(|name| target.join(name)) {
            fs::create_dir_all(&directory).map_err(BenchError::io("create", &directory))?;
        }
        let directories: BTreeSet<&PathBuf> = specs.iter().map(|spec| &spec.source_dir).collect();
        for directory in directories {
            let below = directory.strip_prefix(&self.root).unwrap_or(directory);
            crate::tree::copy(directory, &target.join(below))?;
        }
        Ok(Self { root: target.to_owned() })
    }
}

/// Lists what is in a directory, sorted.
fn listed(directory: &Path) -> Result<Vec<PathBuf>, BenchError> {
    let fail = |error| BenchError::io("list", directory)(error);
    let entries = fs::read_dir(directory).map_err(fail)?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(fail)?;
    paths.sort();
    Ok(paths)
}

/// Returns `number` of the specs, spread evenly over the list; all where there are not so many.
pub(crate) fn sample(specs: Vec<SpecInput>, number: Option<usize>) -> Vec<SpecInput> {
    match number {
        Some(number) if number < specs.len() => {
            let all = specs.len();
            let chosen = |index: &usize| (index * number) / all != ((index + 1) * number) / all;
            specs.into_iter().enumerate().filter(|(index, _)| chosen(index)).map(|(_, spec)| spec).collect()
        }
        _ => specs,
    }
}

/// Returns under what the toolkit reads specs; `with_check` is not among the definitions.
pub(crate) fn options(release_macros: ReleaseMacros) -> ReadOptions {
    let define = |(name, body): (&str, &str)| (name.to_owned(), body.to_owned());
    ReadOptions {
        arch: ARCH.to_owned(),
        defines: BTreeMap::from([("dist", DIST_TAG), ("azl", "3")].map(define)),
        macro_files: Vec::new(),
        release_macros,
        source_headers: false,
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Makes a tree with these specs, `directory/name`, and their texts.
    pub(crate) fn tree(root: &Path, specs: &[(&str, &str)]) -> AzureTree {
        for directory in SPEC_DIRECTORIES {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for (place, text) in specs {
            let name = place.rsplit('/').next().unwrap();
            fs::create_dir_all(root.join(place)).unwrap();
            fs::write(root.join(place).join(format!("{name}.spec")), text).unwrap();
        }
        AzureTree::open(Some(root)).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::tree;
    use super::*;

    #[test]
    fn specs_are_found_and_copied() {
        let directory = tempfile::tempdir().unwrap();
        let from =
            tree(&directory.path().join("a"), &[("SPECS/b", "1"), ("SPECS/a", "2"), ("SPECS-SIGNED/c", "3")]);
        fs::create_dir(from.file("SPECS/no-spec")).unwrap();
        fs::write(from.file("SPECS/a/a.patch"), "patch").unwrap();
        fs::write(from.file("SPECS/a/a-2.spec"), "4").unwrap();
        let names =
            |tree: &AzureTree| tree.specs().unwrap().into_iter().map(|spec| spec.name).collect::<Vec<_>>();
        assert_eq!(names(&from), ["a-2", "a", "b", "c"]);
        let specs: Vec<SpecInput> =
            from.specs().unwrap().into_iter().filter(|spec| spec.name != "b").collect();
        let to = from.copy(&specs, &directory.path().join("b")).unwrap();
        assert_eq!(names(&to), ["a-2", "a", "c"]);
        assert_eq!(fs::read_to_string(to.file("SPECS/a/a.patch")).unwrap(), "patch");
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(AzureTree::open(None), Err(BenchError::NoAzureTree)));
        fs::create_dir(directory.path().join("SPECS")).unwrap();
        let error = AzureTree::open(Some(directory.path())).unwrap_err();
        assert!(matches!(error, BenchError::NotAzureTree { missing, .. } if missing == "SPECS-EXTENDED"));
    }

    #[test]
    fn samples_are_spread_evenly() {
        let spec = |index: usize| SpecInput {
            name: index.to_string(),
            path: PathBuf::from(index.to_string()),
            source_dir: PathBuf::new(),
        };
        let chosen = |all: usize, number| {
            sample((0..all).map(spec).collect(), number).into_iter().map(|spec| spec.name).collect::<Vec<_>>()
        };
        assert_eq!(chosen(10, Some(3)), ["3", "6", "9"]);
        assert_eq!(chosen(3, Some(3)).len(), 3);
        assert_eq!(chosen(3, None).len(), 3);
        assert_eq!(chosen(3087, Some(309)).len(), 309);
    }
}
