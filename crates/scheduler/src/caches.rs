//! Which compiler cache a spec's build may write: one directory for each group of specs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rpm_model::{CcacheMount, Dependency, Requirement, SpecData};
use serde::Deserialize;

/// What makes a build one of Rust code, for which sccache is there.
const RUST: [&str; 5] = ["cargo", "cargo-rpm-macros", "rust", "rust-packaging", "rustc"];

/// The compiler caches of a run.
#[derive(Clone, Debug, Default)]
pub struct CompilerCaches {
    /// ccache's directory, when it is used.
    pub ccache: Option<PathBuf>,
    /// sccache's directory, when it is used.
    pub sccache: Option<PathBuf>,
    /// Specs that share a cache, or have none.
    pub groups: CacheGroups,
}

/// Groups of specs, as the Azure toolkit's `ccache-configuration.json` states them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheGroups {
    /// The group of each spec that one names; `None` where it is not enabled.
    groups: BTreeMap<String, Option<String>>,
}

/// Why the groups cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheGroupsError {
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("`{path}` is no configuration of cache groups")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A group's name would be another directory.
    #[error("`{path}`: the group's name `{name}` is no name of a directory")]
    Name {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A spec is in two groups.
    #[error("`{path}`: `{package}` is in two groups")]
    Twice {
        /// The file.
        path: PathBuf,
        /// The spec.
        package: String,
    },
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    package_names: Vec<String>,
}

impl CacheGroups {
    /// Reads a file. Its remote store is not ours: caches are directories.
    pub fn read(path: &Path) -> Result<Self, CacheGroupsError> {
        let bytes =
            std::fs::read(path).map_err(|source| CacheGroupsError::Read { path: path.to_owned(), source })?;
        let document: Document = serde_json::from_slice(&bytes)
            .map_err(|source| CacheGroupsError::Parse { path: path.to_owned(), source })?;
        let mut groups = BTreeMap::new();
        for Group { name, enabled, package_names } in document.groups {
            if name.is_empty() || name.starts_with('.') || name.contains('/') {
                return Err(CacheGroupsError::Name { path: path.to_owned(), name });
            }
            for package in package_names {
                if groups.insert(package.clone(), enabled.then(|| name.clone())).is_some() {
                    return Err(CacheGroupsError::Twice { path: path.to_owned(), package });
                }
            }
        }
        Ok(Self { groups })
    }

    /// Returns the group of a spec: itself, unless a file names it; `None` when it is to have no cache.
    fn of<'a>(&'a self, spec: &'a str) -> Option<&'a str> {
        self.groups.get(spec).map_or(Some(spec), |group| group.as_deref())
    }
}

impl CompilerCaches {
    /// Returns the ccache of a spec's group, if it has one; the worker makes the directory.
    pub fn ccache(&self, spec: &SpecData, arch: &str) -> Option<CcacheMount> {
        self.mount(self.ccache.as_deref()?, spec, arch)
    }

    /// Returns the sccache of a spec's group, if it has one and needs Rust.
    pub fn sccache(&self, spec: &SpecData, arch: &str) -> Option<CcacheMount> {
        let compiles_rust = |requirement: &Requirement| {
            requirement.leaves().iter().any(|leaf| RUST.contains(&leaf.name.as_str()))
        };
        let is_rust = spec.build_requires.iter().any(compiles_rust);
        self.mount(self.sccache.as_deref().filter(|_| is_rust)?, spec, arch)
    }

    /// Returns what a build root must hold for these caches.
    pub fn requirements(&self, spec: &SpecData, arch: &str) -> Vec<Requirement> {
        let ccache = self.ccache(spec, arch).map(|_| "ccache");
        let sccache = self.sccache(spec, arch).map(|_| "sccache");
        ccache.into_iter().chain(sccache).map(|name| Dependency::any(name).into()).collect()
    }

    fn mount(&self, root: &Path, spec: &SpecData, arch: &str) -> Option<CcacheMount> {
        let directory = root.join("work").join(arch).join(self.groups.of(&spec.name)?);
        Some(CcacheMount { directory: directory.to_string_lossy().into_owned(), config: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(text: &str) -> Result<CacheGroups, CacheGroupsError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        CacheGroups::read(file.path())
    }

    fn spec(name: &str, requires: &[&str]) -> SpecData {
        let mut spec = SpecData::new(name, "a.spec", format!("{name}-1-1.src").parse().unwrap());
        spec.build_requires = requires.iter().map(|text| text.parse().unwrap()).collect();
        spec
    }

    #[test]
    fn specs_of_a_group_share_a_directory() {
        let text = r#"{"remoteStore": {"type": "azure-blob-storage"}, "groups": [
            {"name": "kernel", "comment": "", "enabled": true, "packageNames": ["kernel", "kernel-rt"]},
            {"name": "libdb", "enabled": false, "packageNames": ["libdb"]}]}"#;
        let caches = CompilerCaches {
            ccache: Some("/cc".into()),
            sccache: Some("/sc".into()),
            groups: groups(text).unwrap(),
        };
        let of = |name: &str| caches.ccache(&spec(name, &[]), "x86_64").map(|mount| mount.directory);
        assert_eq!(of("kernel-rt").as_deref(), Some("/cc/work/x86_64/kernel"));
        assert_eq!(of("zlib").as_deref(), Some("/cc/work/x86_64/zlib"));
        assert_eq!(of("libdb"), None);
        assert!(caches.requirements(&spec("libdb", &["cargo"]), "x86_64").is_empty());
        assert_eq!(caches.sccache(&spec("zlib", &["gcc"]), "x86_64"), None);
        let rust = spec("ripgrep", &["cargo >= 1.80"]);
        assert_eq!(caches.sccache(&rust, "x86_64").unwrap().directory, "/sc/work/x86_64/ripgrep");
        let names: Vec<String> =
            caches.requirements(&rust, "x86_64").iter().map(ToString::to_string).collect();
        assert_eq!(names, ["ccache", "sccache"]);
        assert_eq!(CompilerCaches::default().ccache(&rust, "x86_64"), None);
    }

    #[test]
    fn groups_that_mean_nothing_are_refused() {
        assert!(matches!(groups("no"), Err(CacheGroupsError::Parse { .. })));
        let text = r#"{"groups": [{"name": "../x", "enabled": true, "packageNames": []}]}"#;
        assert!(matches!(groups(text), Err(CacheGroupsError::Name { .. })));
        let text = r#"{"groups": [{"name": "a", "enabled": true, "packageNames": ["p"]},
            {"name": "b", "enabled": true, "packageNames": ["p"]}]}"#;
        assert!(matches!(groups(text), Err(CacheGroupsError::Twice { .. })));
        assert_eq!(groups("{}").unwrap(), CacheGroups::default());
    }
}
