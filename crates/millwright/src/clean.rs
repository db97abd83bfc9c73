//! Removing what can be made again.

use std::io;
use std::path::{Path, PathBuf};

use config::Directories;

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
            all
        }
        CleanPart::BuildPackagesWorkers => vec![directories.work.clone()],
        CleanPart::Cache => {
            let mut all = build(&["cache"]);
            all.push(directories.cache.clone());
            all
        }
        CleanPart::Ccache => vec![directories.ccache.clone()],
        CleanPart::ChrootTools => build(&["worker"]),
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
pub(crate) fn clean(
    part: CleanPart,
    directories: &Directories,
) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut removed = Vec::new();
    for path in paths(part, directories) {
        if remove(&path).map_err(|error| (path.clone(), error))? {
            removed.push(path);
        }
    }
    Ok(removed)
}

fn remove(path: &Path) -> io::Result<bool> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if metadata.is_dir() {
        std::fs::remove_dir_all(path)?
    } else {
        std::fs::remove_file(path)?
    }
    Ok(true)
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
}
