//! The Azure toolkit's way to name a build root: directories of RPMs instead of a lock.
//!
//! The SRPM's build requirements are resolved over the directories, in the order tree, cache, toolchain;
//! the result is the lock of an ordinary job.

use std::path::{Path, PathBuf};

use repository::{IndexedPackage, PackageDirectory, SolveRequest, Solver, SourcePackageHeader, read_package};
use rpm_model::{BuildrootLock, Comparison, Dependency, PackageOrigin, Requirement, WorkerManifest};

use crate::error::{IoContext, WorkerError};

/// Where the Azure toolkit's `local.repo` says repositories are inside its chroot, and what they are here.
const CHROOT_REPOSITORIES: [&str; 3] = ["/localrpms", "/toolchainrpms", "/upstream-cached-rpms"];

/// Directories that hold the packages a build root may be made of.
#[derive(Clone, Debug)]
pub struct PackageSources {
    /// Packages built from the tree.
    pub tree: PathBuf,
    /// Packages from other repositories.
    pub cache: PathBuf,
    /// The toolchain.
    pub toolchain: PathBuf,
    /// `.repo` files whose local directories are read too.
    pub repo_files: Vec<PathBuf>,
    /// Single RPM files that the root must hold.
    pub install: Vec<PathBuf>,
    /// Where directory indexes are cached; `None` reads every header.
    pub index_cache: Option<PathBuf>,
}

/// Reads all packages, the damaged ones left out; their complaints are returned beside.
pub fn read_packages(sources: &PackageSources) -> Result<(Vec<IndexedPackage>, Vec<String>), WorkerError> {
    let mut directories = vec![
        (sources.tree.clone(), PackageOrigin::Tree),
        (sources.cache.clone(), PackageOrigin::Base),
        (sources.toolchain.clone(), PackageOrigin::Toolchain),
    ];
    for file in &sources.repo_files {
        directories.extend(repository_directories(file)?.into_iter().map(|path| (path, PackageOrigin::Base)));
    }
    let (mut packages, mut complaints) = (Vec::new(), Vec::new());
    for (directory, origin) in directories.into_iter().filter(|(directory, _)| directory.is_dir()) {
        let mut reader = PackageDirectory::new(&directory, origin);
        if let Some(cache) = &sources.index_cache {
            reader = reader.with_cache(cache.join(format!("{}.index", cache_name(&directory))));
        }
        let scan = reader.scan()?;
        packages.extend(scan.packages);
        complaints.extend(scan.failures.iter().map(ToString::to_string));
    }
    for path in &sources.install {
        packages.push(read_package(path, PackageOrigin::Tree)?);
    }
    Ok((packages, complaints))
}

/// Returns a file name for a directory's index: its path with separators replaced.
fn cache_name(directory: &Path) -> String {
    directory.to_string_lossy().trim_start_matches('/').replace('/', "_")
}

/// Returns the lock of a build root for an SRPM: the worker's core and what the SRPM requires.
pub fn resolve(
    srpm: &SourcePackageHeader,
    packages: &[IndexedPackage],
    worker: &WorkerManifest,
    sources: &PackageSources,
    extra: &[&str],
) -> Result<BuildrootLock, WorkerError> {
    let mut requirements = srpm.build_requires.clone();
    requirements.extend(extra.iter().map(|name| Requirement::Simple(Dependency::any(*name))));
    for path in &sources.install {
        let nevra = read_package(path, PackageOrigin::Tree)?.header.nevra;
        requirements.push(Dependency::versioned(nevra.name, Comparison::Equal, nevra.evr).into());
    }
    let request = SolveRequest {
        requirements: &requirements,
        conflicts: &srpm.build_conflicts,
        core: worker.core.packages(),
        exclude: &[],
        owners: None,
        arch: &worker.arch,
    };
    let resolved = Solver::new(packages).solve(&request).map_err(|explanation| {
        WorkerError::Unresolvable { package: srpm.nevra.to_string(), explanation: explanation.to_string() }
    })?;
    Ok(resolved.to_lock())
}

/// Returns the local directories that a `.repo` file names; those that stand for the directory flags are
/// left out, remote ones are refused because a build root is made without network.
fn repository_directories(file: &Path) -> Result<Vec<PathBuf>, WorkerError> {
    let text = std::fs::read_to_string(file).context("read", file)?;
    let mut directories = Vec::new();
    for url in base_urls(&text) {
        let path = url.strip_prefix("file://").unwrap_or(url);
        if CHROOT_REPOSITORIES.contains(&path.trim_end_matches('/')) {
            continue;
        }
        if !path.starts_with('/') {
            return Err(WorkerError::RemoteRepository { path: file.to_owned(), url: url.to_owned() });
        }
        directories.push(path.into());
    }
    Ok(directories)
}

/// Returns the `baseurl` values of a `.repo` file's enabled sections.
fn base_urls(text: &str) -> Vec<&str> {
    let (mut urls, mut section, mut enabled) = (Vec::new(), Vec::new(), true);
    for line in text.lines().map(str::trim).chain(["["]) {
        if line.starts_with('[') {
            if enabled {
                urls.append(&mut section);
            }
            section.clear();
            enabled = true;
        } else if let Some((key, value)) = line.split_once('=') {
            match key.trim() {
                "baseurl" => section.extend(value.split_whitespace()),
                "enabled" => enabled = value.trim() != "0",
                _ => {}
            }
        }
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repo_files_name_directories() {
        let text = "[local]\nname=x\nbaseurl=file:///localrpms\n[more]\nbaseurl = file:///srv/more\nenabled=1\n\
                    [off]\nbaseurl=file:///srv/off\nenabled = 0\n";
        assert_eq!(base_urls(text), ["file:///localrpms", "file:///srv/more"]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        assert_eq!(repository_directories(file.path()).unwrap(), [PathBuf::from("/srv/more")]);
        std::fs::write(file.path(), "[r]\nbaseurl=https://example.invalid/x\n").unwrap();
        let error = repository_directories(file.path()).unwrap_err();
        assert!(matches!(error, WorkerError::RemoteRepository { .. }), "{error}");
    }
}
