//! Rules of the house that no compiler checks, as tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace_root;

/// No file may be longer: what does not fit is two ideas.
const MAXIMUM_LINES: usize = 600;

/// The crates from bottom to top; a crate may use only crates that stand before it.
const ORDER: [&str; 26] = [
    "rpm-model",
    "provenance",
    "spec-wire",
    "spec-engine",
    "rpmbuild-helpers",
    "rpm-writer",
    "file-index",
    "rebuild",
    "config",
    "report",
    "testkit",
    "buildroot",
    "linkage",
    "sources",
    "repository",
    "result-store",
    "package-fetcher",
    "grapher",
    "specreader",
    "bootstrap",
    "srpmpacker",
    "pkgworker",
    "scheduler",
    "millwright",
    "bench",
    "xtask",
];

/// Crates whose decisions must stay functions of plain data: they may not even name a process or a mount.
const PURE: [&str; 4] = ["rpm-model", "provenance", "rebuild", "grapher"];

fn rust_files(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                rust_files(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    rust_files(&workspace_root().join("crates"), &mut files);
    rust_files(&workspace_root().join("xtask"), &mut files);
    files.sort();
    assert!(files.len() > 20, "the walk found only {} files", files.len());
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_file_says_what_it_is_and_is_short() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//!") && !text.starts_with("// SPDX") {
            complaints.push(format!("{}: does not open with `//!`", path.display()));
        }
        let lines = text.lines().count();
        if lines > MAXIMUM_LINES {
            complaints.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here so that this file does not accuse itself.
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let found: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| words.iter().any(|word| text.contains(word.as_str())))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn only_two_crates_may_be_unsafe() {
    for (path, text) in sources() {
        let allowed = path
            .components()
            .any(|part| part.as_os_str() == "buildroot" || part.as_os_str() == "spec-engine");
        let word = ["uns", "afe "].concat();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        assert!(allowed || !code.into_iter().any(|line| line.contains(&word)), "{}", path.display());
    }
}

/// Returns the names in a manifest's `[dependencies]` section.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn arrows_between_crates_point_down() {
    let place: BTreeMap<&str, usize> = ORDER.iter().enumerate().map(|(index, name)| (*name, index)).collect();
    for entry in fs::read_dir(workspace_root().join("crates")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let own = place.get(name.as_str()).unwrap_or_else(|| panic!("`{name}` has no place in ORDER"));
        let used = dependencies(&fs::read_to_string(path.join("Cargo.toml")).unwrap());
        for other in used.iter().filter_map(|other| place.get(other.as_str()).map(|index| (other, index))) {
            assert!(other.1 < own, "`{name}` may not use `{}`: it stands above", other.0);
        }
        if PURE.contains(&name.as_str()) {
            for rim in ["nix", "rustix", "tokio", "reqwest", "rayon"] {
                assert!(!used.contains(rim), "`{name}` is pure and may not use `{rim}`");
            }
        }
    }
}
