//! Files that packages of different specs both have, with different content: rpm refuses to install both.
//!
//! It is told and is no refusal. Distributions have packages that are alternatives of each other, and which of
//! two packages is at fault is not for a build to say: the second one may be right, and refusing it would make
//! the result depend on which was built first. Who declares the conflict has said it already.
//!
//! Names are compared first, from what is known of each package; only where two packages have a path in common
//! the headers of their files are read.

use std::fmt;

use repository::{IndexedPackage, PackagedFile, RepositoryError, read_contents};
use rpm_model::{Nevra, PackageHeader};

/// One path that two packages have, with different content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOverlap {
    /// The path.
    pub path: String,
    /// How many more paths these two packages have so.
    pub more: usize,
    /// The package that was built.
    pub built: Nevra,
    /// The package that was there.
    pub other: Nevra,
    /// Its spec.
    pub other_spec: String,
}

impl fmt::Display for FileOverlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, more, built, other, other_spec } = self;
        write!(f, "`{path}` of {built} is in {other} of `{other_spec}` too, with other content")?;
        if *more > 0 {
            write!(f, ", and {more} more")?;
        }
        f.write_str("; they cannot be installed together, which neither declares (`Conflicts`)")
    }
}

/// Returns the overlaps of packages that were built with others, each pair of packages once, in the order of
/// the others.
pub(crate) fn overlaps<'a>(
    made: &[IndexedPackage],
    others: impl Iterator<Item = (&'a str, &'a IndexedPackage)>,
) -> Result<Vec<FileOverlap>, RepositoryError> {
    let mut found = Vec::new();
    for (other_spec, other) in others {
        for built in made {
            let shared = shared(&built.header.files, &other.header.files);
            if shared.is_empty()
                || excludes(&built.header, &other.header)
                || excludes(&other.header, &built.header)
            {
                continue;
            }
            let (ours, theirs) = (read_contents(&built.path)?.files, read_contents(&other.path)?.files);
            let differs = |path: &&&str| match (file_at(&ours, path), file_at(&theirs, path)) {
                (Some(ours), Some(theirs)) => !ours.installs_like(theirs),
                (ours, theirs) => ours != theirs,
            };
            let differing: Vec<&&str> = shared.iter().filter(differs).collect();
            if let Some(path) = differing.first() {
                found.push(FileOverlap {
                    path: (**path).to_owned(),
                    more: differing.len() - 1,
                    built: built.header.nevra.clone(),
                    other: other.header.nevra.clone(),
                    other_spec: other_spec.to_owned(),
                });
            }
        }
    }
    Ok(found)
}

/// Returns the file of a path among files that are sorted by path.
fn file_at<'a>(files: &'a [PackagedFile], path: &str) -> Option<&'a PackagedFile> {
    files.binary_search_by(|file| file.path.as_str().cmp(path)).ok().map(|index| &files[index])
}

/// Returns what two sorted lists have in common. Mostly that is nothing, and one of them is short: then each of
/// its paths is looked for.
fn shared<'a>(one: &'a [String], other: &[String]) -> Vec<&'a str> {
    let found = one.iter().filter(|path| other.binary_search(path).is_ok());
    found.map(String::as_str).collect()
}

/// Returns whether a package declares that another one cannot be beside it. Versions are not compared: who
/// conflicts with some versions of a package knows of the overlap.
fn excludes(package: &PackageHeader, other: &PackageHeader) -> bool {
    let is_other = |name: &str| other.provides.iter().any(|provided| provided.name == name);
    let matching = |dependency: &rpm_model::Dependency| {
        is_other(&dependency.name).then(|| other.nevra.clone()).into_iter().collect()
    };
    package.conflicts.iter().any(|conflict| conflict.holds(&matching))
        || package.obsoletes.iter().any(|old| is_other(&old.name))
}

#[cfg(test)]
mod tests {
    use rpm_model::PackageOrigin;

    use super::*;
    use crate::testing::indexed;

    #[test]
    fn common_paths_are_found() {
        let list = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect::<Vec<_>>();
        assert_eq!(shared(&list(&["/a", "/c", "/d"]), &list(&["/b", "/c", "/d", "/e"])), ["/c", "/d"]);
        assert!(shared(&list(&[]), &list(&["/b"])).is_empty());
    }

    #[test]
    fn a_declared_conflict_is_no_overlap() {
        let package =
            |name: &str| indexed(name, "1-1", PackageOrigin::Tree, &[&format!("{name}-alternative")]);
        let (mut one, other) = (package("one"), package("other"));
        assert!(!excludes(&one.header, &other.header));
        one.header.conflicts = vec!["other-alternative".parse().unwrap()];
        assert!(excludes(&one.header, &other.header) && !excludes(&other.header, &one.header));
        one.header.conflicts.clear();
        one.header.obsoletes = vec!["other < 2".parse().unwrap()];
        assert!(excludes(&one.header, &other.header));
    }

    #[test]
    fn packages_without_common_paths_are_not_read() {
        // Their files do not exist.
        let (mut one, mut other) = (
            indexed("one", "1-1", PackageOrigin::Tree, &[]),
            indexed("other", "1-1", PackageOrigin::Tree, &[]),
        );
        one.header.files = vec!["/one".to_owned()];
        other.header.files = vec!["/other".to_owned()];
        assert_eq!(overlaps(std::slice::from_ref(&one), [("other", &other)].into_iter()).unwrap(), []);
        other.header.files = one.header.files.clone();
        assert!(overlaps(&[one], [("other", &other)].into_iter()).is_err());
    }
}
