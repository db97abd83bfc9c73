//! The build root of every spec, with rpm as the judge.

use std::collections::BTreeMap;
use std::path::Path;

use buildroot::{LayerRequest, LayerStore, RootOptions, SetuidPolicy};
use testkit::{differences, install_with_rpm, list_directory, list_overlay};

use crate::workspace::{Scratch, distribution, records};

/// Every build root that a record names is, as layers, what `rpm --root -i` makes of the same packages in an
/// empty directory: paths, types, modes, owners, targets and contents. Several specs may have
/// the same root.
#[test]
fn every_build_root_is_what_rpm_installs() {
    let test = "every_build_root_is_what_rpm_installs";
    let Some(root) = distribution(test, &["rpm", "unshare"]) else { return };
    let scratch = Scratch::new(test);
    // Set-id bits as in the packages: rpm keeps them too.
    let store = LayerStore::open(&scratch.path().join("store"), SetuidPolicy::Keep).unwrap();
    let roots: BTreeMap<_, _> =
        records(root).into_iter().map(|(spec, record)| (record.lock.digest(), (spec, record.lock))).collect();
    assert!(!roots.is_empty());
    for (spec, lock) in roots.values() {
        let requests: Vec<LayerRequest> = lock.packages().iter().map(LayerRequest::from).collect();
        let plan = store.root_plan(&requests, &RootOptions::default()).unwrap();
        assert!(plan.scriptlets.is_empty(), "{spec}: {:?}", plan.scriptlets);
        let installed = scratch.path().join("installed");
        install_with_rpm(&installed, &[], lock.packages().iter().map(|package| Path::new(&package.path)));
        let theirs = list_directory(&installed);
        std::fs::remove_dir_all(&installed).unwrap();
        let differing = differences(&list_overlay(&plan.lowers), &theirs);
        assert!(differing.is_empty(), "{spec}: {differing:?}");
        assert!(theirs.len() > 2_000, "{spec}: {} facts compared", theirs.len());
    }
    eprintln!("{} different build roots compared", roots.len());
}
