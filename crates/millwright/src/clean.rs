//! Removing what can be made again.

use std::path::{Path, PathBuf};

use config::Directories;

use report::{ExitStatus, Failure};

use crate::arguments::CleanPart;

/// Returns what a part consists of.
fn paths(part: CleanPart, directories: &Directories) -> Vec<PathBuf> {
    let build = |names: &[&str]| names.iter().map(|name| directories.build.join(name)).collect::<Vec<_>>();
    let artifacts =
        |names: &[&str]| names.iter().map(|name| directories.artifacts.join(name)).collect::<Vec<_>>();
    match part {
        CleanPart::All => vec![directories.build.clone(), directories.output.clone()],
        CleanPart::BuildPackages => {
            let mut all = vec![directories.rpms.clone(), directories.srpms.clone(), directories.work.clone()];
            all.extend(build(&["records", "cache/index"]));
            all.extend(artifacts(&["build_state.csv"]));
            all.push(directories.output.join("PROVENANCE"));
            all
        }
        CleanPart::BuildPackagesWorkers => vec![directories.work.clone()],
        CleanPart::Cache => {
            let mut all = build(&["cache"]);
            all.push(directories.cache.clone());
            all
        }
        CleanPart::Ccache => vec![directories.ccache.clone(), directories.sccache.clone()],
        CleanPart::ChrootTools => build(&["worker"]),
        CleanPart::CompressRpms => vec![directories.output.join("rpms.tar.gz")],
        CleanPart::CompressSrpms => vec![directories.output.join("srpms.tar.gz")],
        CleanPart::ExpandSpecs => vec![directories.intermediate_specs.clone()],
        CleanPart::InputSrpms => {
            let mut all = build(&["cache/srpms"]);
            all.push(directories.intermediate_srpms.clone());
            all
        }
        CleanPart::SpecParse => {
            let mut all = build(&["cache/specs"]);
            all.extend(artifacts(&["specs.json", "packages.json"]));
            all
        }
        CleanPart::Toolchain => {
            let mut all = build(&["apt", "toolchain.json", "toolchain.lock", "worker"]);
            all.push(directories.toolchain.clone());
            all
        }
        CleanPart::ToolchainRpms => {
            let mut all = build(&["toolchain.json"]);
            all.push(directories.toolchain.clone());
            all
        }
        CleanPart::Workplan => artifacts(&["graph.dot", "graph.json", "plan.json"]),
    }
}

/// Removes a part; returns what was there and is gone. The caller holds the build directory's lock.
///
/// Nothing at all is removed when the tree or its specs would go too, because a directory of what can be made
/// again was set to one that holds more.
pub(crate) fn clean(part: CleanPart, directories: &Directories) -> Result<Vec<PathBuf>, Failure> {
    let paths = paths(part, directories);
    for path in &paths {
        if let Some(held) = held_below(path, directories) {
            let text = format!("`{}` is not removed: it holds `{}`", path.display(), held.display());
            return Err(Failure::new(ExitStatus::Usage, text)
                .hint("give the build and output directories places of their own"));
        }
    }
    let mut removed = Vec::new();
    for path in paths {
        let there = buildroot::remove_tree(&path).map_err(|error| {
            Failure::new(ExitStatus::Environment, error)
                .hint(format!("`{}` could not be removed", path.display()))
        })?;
        if there {
            removed.push(path);
        }
    }
    Ok(removed)
}

/// Returns what must stay and lies in this directory, or is it.
fn held_below<'a>(path: &Path, directories: &'a Directories) -> Option<&'a PathBuf> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let path = real(path);
    std::iter::once(&directories.root).chain(&directories.specs).find(|kept| real(kept).starts_with(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::RawConfig;

    #[test]
    fn only_the_named_part_goes() {
        let root = tempfile::tempdir().unwrap();
        let config = RawConfig::default().resolve(root.path(), 1).unwrap();
        for path in ["build/INTERMEDIATE_SRPMS/a", "build/records/zlib.json", "out/RPMS/x", "SPECS/zlib.spec"]
        {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let there = |path: &str| root.path().join(path).exists();
        clean(CleanPart::InputSrpms, &config.directories).unwrap();
        assert!(!there("build/INTERMEDIATE_SRPMS") && there("build/records/zlib.json"));
        clean(CleanPart::BuildPackages, &config.directories).unwrap();
        assert!(!there("out/RPMS") && !there("build/records"));
        clean(CleanPart::All, &config.directories).unwrap();
        assert!(!there("build") && !there("out") && there("SPECS/zlib.spec"));
        assert!(clean(CleanPart::All, &config.directories).unwrap().is_empty());
    }

    #[test]
    fn the_tree_and_its_specs_never_go() {
        let root = tempfile::tempdir().unwrap();
        let specs = root.path().join("SPECS/zlib");
        std::fs::create_dir_all(&specs).unwrap();
        for output in [".", "..", "SPECS", "SPECS/zlib/../..", "/"] {
            let mut raw = RawConfig::default();
            raw.directories.output = Some(output.into());
            let config = raw.resolve(root.path(), 1).unwrap();
            let refused = clean(CleanPart::All, &config.directories).unwrap_err();
            assert_eq!(refused.status(), ExitStatus::Usage, "{output}: {}", refused.render());
            assert!(specs.is_dir());
        }
    }
}
