//! Finding specs in the tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use specreader::SpecInput;
use walkdir::WalkDir;

/// Why the tree cannot be walked.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A directory of specs is not there.
    #[error("the specs directory `{0}` does not exist")]
    Missing(PathBuf),
    /// A directory cannot be read.
    #[error("cannot read the specs directory")]
    Walk(#[from] walkdir::Error),
    /// A name was asked for that no spec has.
    #[error("no spec is called {}{}", quoted(.unknown), near(.near))]
    Unknown {
        /// The names.
        unknown: Vec<String>,
        /// Specs with similar names.
        near: Vec<String>,
    },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn near(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; did you mean {}?", quoted(names)) }
}

/// Returns every spec below the directories, by name; a name found twice is taken from the earlier
/// directory. `only` limits the result to these names; empty means all.
pub fn find_specs(directories: &[PathBuf], only: &[String]) -> Result<Vec<SpecInput>, TreeError> {
    let mut specs: BTreeMap<String, SpecInput> = BTreeMap::new();
    for directory in directories {
        if !directory.is_dir() {
            return Err(TreeError::Missing(directory.clone()));
        }
        for entry in WalkDir::new(directory).sort_by_file_name() {
            let path = entry?.into_path();
            if path.extension().is_some_and(|extension| extension == "spec") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let source_dir = path.parent().unwrap_or(Path::new("/")).to_owned();
                specs.entry(name.clone()).or_insert(SpecInput { name, path, source_dir });
            }
        }
    }
    if only.is_empty() {
        return Ok(specs.into_values().collect());
    }
    let unknown: Vec<String> = only.iter().filter(|name| !specs.contains_key(*name)).cloned().collect();
    if !unknown.is_empty() {
        let similar = |name: &&String| unknown.iter().any(|asked| name.contains(asked.as_str()) || asked.contains(name.as_str()));
        let near = specs.keys().filter(similar).take(5).cloned().collect();
        return Err(TreeError::Unknown { unknown, near });
    }
    Ok(specs.into_values().filter(|spec| only.contains(&spec.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        directory
    }

    #[test]
    fn earlier_directories_are_preferred_and_depth_does_not_matter() {
        let (ours, base) = (tree(&["zlib/zlib.spec", "zlib/zlib.patch"]), tree(&["zlib/zlib.spec", "deep/er/jq.spec"]));
        let specs = find_specs(&[ours.path().to_owned(), base.path().to_owned()], &[]).unwrap();
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["jq", "zlib"]);
        assert!(specs[1].path.starts_with(ours.path()));
    }

    #[test]
    fn unknown_names_are_told_with_similar_ones() {
        let ours = tree(&["zlib/zlib.spec"]);
        let error = find_specs(&[ours.path().to_owned()], &["zlib-devel".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "no spec is called `zlib-devel`; did you mean `zlib`?");
        let error = find_specs(&[ours.path().join("absent")], &[]).unwrap_err();
        assert!(matches!(error, TreeError::Missing(_)));
    }
}
