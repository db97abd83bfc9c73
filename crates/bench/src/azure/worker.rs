//! A worker generation that reads specs as an Azure worker does.
//!
//! It is our own worker's packages without our macros, those packages of Azure's worker that our toolchain has
//! under the same name (macros call python3, perl, make and more while a spec is parsed), and one package with
//! Azure's macro directory, made here. An ordinary [`WorkerManifest`]: nothing that reads with it knows of Azure.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use buildroot::{LayerRequest, LayerStore, RootOptions, SetuidPolicy};
use repository::{PackageDirectory, SolveRequest, Solver, read_package};
use rpm_model::{BuildrootLock, Dependency, LockedPackage, PackageOrigin, Requirement, WorkerManifest};

use super::{ARCH, AzureTree, macros};
use crate::Place;
use crate::error::BenchError;

/// Azure's list of the packages of its worker, one RPM file name a line.
const CORE_LIST: &str = "toolkit/resources/manifests/package/pkggen_core_x86_64.txt";

/// The package with our own macros, which an Azure worker does not have.
const OUR_MACROS: &str = "toolchain-macros";

/// The package that rpm's own macros are in.
const RPM_MACROS: (&str, &str) = ("rpm-common", "usr/lib/rpm/macros");

/// A worker made for a benchmark.
pub(crate) struct AzureWorker {
    pub(crate) manifest: WorkerManifest,
    /// The manifest as a file.
    pub(crate) path: PathBuf,
    /// The directory of the layer store that its packages are unpacked in.
    pub(crate) layers: PathBuf,
    /// The directories that form its root, topmost first.
    pub(crate) lowers: Vec<PathBuf>,
}

impl AzureWorker {
    /// Makes the worker in `directory`.
    pub(crate) fn make(place: &Place, tree: &AzureTree, directory: &Path) -> Result<Self, BenchError> {
        fs::create_dir_all(directory).map_err(BenchError::io("create", directory))?;
        let own = own_worker(&place.from.join("worker/worker.json"))?;
        let layers = directory.join("layers");
        let store = LayerStore::open(&layers, SetuidPolicy::Strip)?;
        let mut packages: Vec<LockedPackage> =
            own.core.packages().iter().filter(|package| package.nevra.name != OUR_MACROS).cloned().collect();
        packages.extend(further(&place.from.join("toolchain_rpms"), &own, &wanted(tree)?)?);
        let rpm = macros::package(tree, &rpm_macros(&store, &packages)?)?;
        let path = directory.join(format!("{}.rpm", macros::PACKAGE));
        fs::write(&path, rpm).map_err(BenchError::io("write", &path))?;
        packages.push(read_package(&path, PackageOrigin::Toolchain)?.locked());
        let manifest = WorkerManifest { core: BuildrootLock::new(packages), ..own };
        let requests: Vec<LayerRequest> = manifest.core.packages().iter().map(LayerRequest::from).collect();
        let lowers = store.root_plan(&requests, &RootOptions::default())?.lowers;
        let path = directory.join("worker.json");
        let text =
            serde_json::to_vec(&manifest).map_err(|error| BenchError::io("write", &path)(error.into()))?;
        fs::write(&path, text).map_err(BenchError::io("write", &path))?;
        Ok(Self { manifest, path, layers, lowers })
    }
}

fn own_worker(path: &Path) -> Result<WorkerManifest, BenchError> {
    let text = fs::read(path).map_err(BenchError::io("read", path))?;
    serde_json::from_slice(&text).map_err(|source| BenchError::Document {
        what: "worker manifest",
        path: path.to_owned(),
        source,
    })
}

/// Returns the names of the packages of Azure's worker.
fn wanted(tree: &AzureTree) -> Result<BTreeSet<String>, BenchError> {
    let path = tree.file(CORE_LIST);
    let text = fs::read_to_string(&path).map_err(BenchError::io("read", &path))?;
    Ok(text.lines().filter_map(package_name).map(str::to_owned).collect())
}

/// Returns `name` of `name-version-release.arch.rpm`.
fn package_name(file: &str) -> Option<&str> {
    let (rest, _release) = file.trim().rsplit_once('-')?;
    Some(rest.rsplit_once('-')?.0)
}

/// Returns the packages that our worker lacks of the closure of those wanted ones that the toolchain has.
fn further(
    toolchain: &Path,
    own: &WorkerManifest,
    wanted: &BTreeSet<String>,
) -> Result<Vec<LockedPackage>, BenchError> {
    let scan = PackageDirectory::new(toolchain, PackageOrigin::Toolchain).scan()?;
    let requirements: Vec<Requirement> = scan
        .packages
        .iter()
        .map(|package| &package.header.nevra.name)
        .filter(|name| wanted.contains(*name))
        .map(|name| Requirement::Simple(Dependency::any(name.clone())))
        .collect();
    let request = SolveRequest { core: own.core.packages(), ..SolveRequest::new(ARCH, &requirements) };
    let resolved = Solver::new(&scan.packages)
        .solve(&request)
        .map_err(|explanation| BenchError::Unresolved { explanation: explanation.to_string() })?;
    let known = own.core_contents();
    Ok(resolved
        .to_lock()
        .packages()
        .iter()
        .filter(|package| !known.contains(&package.sha256))
        .cloned()
        .collect())
}

fn rpm_macros(store: &LayerStore, packages: &[LockedPackage]) -> Result<String, BenchError> {
    let (name, file) = RPM_MACROS;
    let package =
        packages.iter().find(|package| package.nevra.name == name).ok_or(BenchError::UnknownRpmMacros)?;
    let path = store.ensure(&LayerRequest::from(package))?.dir().join(file);
    fs::read_to_string(&path).map_err(BenchError::io("read", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_from_file_names() {
        assert_eq!(
            package_name("perl-Text-Tabs+Wrap-2021.0814-509.azl3.noarch.rpm"),
            Some("perl-Text-Tabs+Wrap")
        );
        assert_eq!(package_name("make-4.4.1-2.azl3.x86_64.rpm\n"), Some("make"));
        assert_eq!(package_name("nonsense"), None);
    }
}
