//! The whole toolchain as one root, with rpm as the judge.

use std::fs;
use std::path::{Path, PathBuf};

use buildroot::{LayerRequest, LayerStore, RootNote, RootOptions, SetuidPolicy};
use rpm_model::ContentDigest;
use testkit::{differences, install_with_rpm, list_directory, list_overlay};

use crate::roots::has_rpm;
use crate::support::can_sandbox;

/// Returns the toolchain's packages, sorted; none where there is no toolchain.
fn toolchain() -> Vec<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("workspace");
    let directories = ["noarch", "x86_64"].map(|arch| workspace.join("build/toolchain_rpms").join(arch));
    let entries = directories.iter().flat_map(|directory| fs::read_dir(directory).into_iter().flatten());
    let mut packages: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    packages.retain(|path| path.extension().is_some_and(|extension| extension == "rpm"));
    packages.sort();
    packages
}

/// All packages of the toolchain go into one root: rpm finds no conflict among them. They have no
/// scriptlets; those of other packages are the subject of `transactions`.
#[test]
fn the_whole_toolchain_is_what_rpm_installs() {
    let test = "the_whole_toolchain_is_what_rpm_installs";
    if !can_sandbox(test) || !has_rpm(test) {
        return;
    }
    let packages = toolchain();
    if packages.is_empty() {
        eprintln!("SKIPPED {test}: no toolchain in `build/toolchain_rpms`, which `cargo xtask test` makes");
        return;
    }
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
    let requests: Vec<LayerRequest> = packages
        .iter()
        .map(|path| LayerRequest {
            path: path.clone(),
            sha256: ContentDigest::of_bytes(&fs::read(path).expect("package")),
            size: None,
        })
        .collect();
    // Set-id bits as in the packages: rpm keeps them too.
    let store = LayerStore::open(&dir.path().join("store"), SetuidPolicy::Keep).expect("store");
    let options = RootOptions { max_lowers: 499, ..RootOptions::default() };
    let plan = store.root_plan(&requests, &options).expect("plan");
    assert!(plan.scriptlets.is_empty(), "{:?}", plan.scriptlets);
    assert!(plan.lowers.len() >= packages.len(), "one layer for each package");
    let conflicts: Vec<&RootNote> =
        plan.notes.iter().filter(|note| matches!(note, RootNote::FileConflict { .. })).collect();
    assert!(conflicts.is_empty(), "{conflicts:?}");
    let root = dir.path().join("installed");
    install_with_rpm(&root, &[], packages.iter().map(PathBuf::as_path));
    let theirs = list_directory(&root);
    assert_eq!(differences(&list_overlay(&plan.lowers), &theirs), [""; 0]);
    assert!(theirs.len() > 10_000, "{} facts compared", theirs.len());

    // And so are the layers merged as for a root with few lowers.
    let options = RootOptions { max_lowers: 20, ..RootOptions::default() };
    let merged = store.root_plan(&requests, &options).expect("plan");
    assert!(merged.lowers.len() <= 20);
    assert_eq!(differences(&list_overlay(&merged.lowers), &theirs), [""; 0]);
}
