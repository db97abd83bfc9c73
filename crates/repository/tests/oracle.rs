//! The solver held against dnf (libsolv) over the real toolchain repository.
//!
//! Needs `build/toolchain_rpms` (made by `cargo xtask build-all`) and dnf; skips loudly without them. The
//! repository is hard-linked into a scratch directory and given metadata by our own writer, so that dnf
//! also reads what we publish for a few hundred real packages.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests panic, and say what they skip"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use repository::{IndexedPackage, PackageDirectory, RepodataWriter, SolveRequest, Solver};
use rpm_model::{Comparison, Dependency, Nevra, PackageOrigin, Requirement};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The toolchain's packages in a directory of our own, with metadata, and the directory.
fn toolchain() -> Option<(tempfile::TempDir, Vec<IndexedPackage>)> {
    let source = workspace().join("build/toolchain_rpms");
    let scan = PackageDirectory::new(&source, PackageOrigin::Toolchain).scan().unwrap();
    if scan.packages.is_empty() {
        eprintln!("SKIPPED: there is no toolchain repository in {}", source.display());
        return None;
    }
    if !Command::new("dnf").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: dnf is not installed");
        return None;
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = scratch.path().join("rpms");
    for package in &scan.packages {
        let target = root.join(package.path.strip_prefix(&source).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::hard_link(&package.path, &target)
            .or_else(|_| std::fs::copy(&package.path, &target).map(|_| ()))
            .unwrap();
    }
    let packages = PackageDirectory::new(&root, PackageOrigin::Toolchain).scan().unwrap().packages;
    RepodataWriter::new(&root).publish(&packages).unwrap();
    Some((scratch, packages))
}

/// What dnf would install into an empty root, or `None` when it says that there is no answer.
fn dnf(directory: &Path, wanted: &[Requirement]) -> Option<BTreeSet<String>> {
    let debug = directory.join("debugdata");
    let _ = std::fs::remove_dir_all(&debug);
    let output = Command::new("dnf")
        .current_dir(directory)
        .args(["-y", "--assumeno", "--debugsolver", "--nogpgcheck", "--forcearch=x86_64", "--releasever=1"])
        .args(["--setopt=reposdir=/nonexistent", "--setopt=plugins=0", "--setopt=install_weak_deps=0"])
        .arg("--setopt=module_platform_id=platform:x")
        .arg(format!("--setopt=cachedir={}", directory.join("cache").display()))
        .arg(format!("--installroot={}", directory.join("root").display()))
        .arg(format!("--repofrompath=ours,file://{}", directory.join("rpms").display()))
        .args(["--repo=ours", "install"])
        .args(wanted.iter().map(ToString::to_string))
        .output()
        .unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if text.contains("Unable to find a match") || text.contains("Problem:") {
        return None;
    }
    let result = std::fs::read_to_string(debug.join("rpms/solver.result"))
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    let install = |line: &str| {
        let package = line.strip_prefix("install ")?;
        Some(package.split('@').next().unwrap_or(package).to_owned())
    };
    Some(result.lines().filter_map(install).collect())
}

fn ours(solver: &Solver<'_>, wanted: &[Requirement]) -> Option<BTreeSet<String>> {
    let set = solver.solve(&SolveRequest::new("x86_64", wanted)).ok()?;
    Some(set.packages().iter().map(|package| package.locked.nevra.to_string()).collect())
}

fn requirements(text: &str) -> Vec<Requirement> {
    text.split(',').map(|text| text.trim().parse().unwrap()).collect()
}

fn core_list() -> String {
    let text = std::fs::read_to_string(workspace().join("configs/bootstrap/core.list")).unwrap_or_default();
    let names =
        text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    names.collect::<Vec<_>>().join(", ")
}

#[test]
fn finds_the_sets_that_dnf_finds() {
    let Some((scratch, packages)) = toolchain() else { return };
    let solver = Solver::new(&packages);
    let mut cases: Vec<String> = [
        "zlib-devel",
        "gcc-c++",
        "cmake, ninja-build, gcc-c++",
        "python3, perl",
        "autoconf, automake, libtool, flex, bison, gettext",
        "git",
        "pkgconfig(zlib) >= 1.2, pkgconfig(libzstd)",
        "/usr/bin/perl, /bin/sh",
        "zlib-devel > 99",
        "texinfo, meson, sqlite-devel",
        "readline-devel, ncurses-devel, openssl-devel",
    ]
    .map(str::to_owned)
    .into();
    cases.extend(Some(core_list()).filter(|list| !list.is_empty()));
    // A spread over the whole repository: every seventeenth package by itself, and three at a time.
    let names: Vec<&str> = packages.iter().map(|package| package.header.nevra.name.as_str()).collect();
    cases.extend(names.iter().step_by(17).map(|name| (*name).to_owned()));
    cases.extend(
        names
            .chunks(names.len() / 5)
            .filter(|chunk| chunk.len() > 60)
            .map(|chunk| [chunk[0], chunk[30], chunk[60]].join(", ").clone()),
    );
    let mut differing = Vec::new();
    for case in &cases {
        let wanted = requirements(case);
        let (ours, theirs) = (ours(&solver, &wanted), dnf(scratch.path(), &wanted));
        match (&ours, &theirs) {
            _ if ours == theirs => {}
            (Some(set), Some(_)) => {
                // Where an `or` leaves a choice the two may choose differently; then dnf must find our set
                // complete and free of conflicts.
                let exact: Vec<Requirement> = set.iter().map(|nevra| exactly(nevra)).collect();
                assert_eq!(dnf(scratch.path(), &exact).as_ref(), Some(set), "{case}");
                differing.push(case);
            }
            _ => panic!("{case}: ours {ours:?}, dnf's {theirs:?}"),
        }
    }
    assert!(differing.len() * 10 <= cases.len(), "of {} cases differ: {differing:#?}", cases.len());
}

fn exactly(nevra: &str) -> Requirement {
    let nevra: Nevra = nevra.parse().unwrap();
    Dependency::versioned(nevra.name, Comparison::Equal, nevra.evr).into()
}
