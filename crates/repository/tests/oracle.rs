//! The solver held against dnf (libsolv) over the real toolchain repository.
//!
//! Needs `build/toolchain_rpms` (made by `cargo xtask build-all`) and dnf; skips loudly without them. The
//! repository is hard-linked into a scratch directory and given metadata by our own writer, so that dnf
//! also reads what we publish for a few hundred real packages. Each set of requirements is a package in a second
//! repository that requires it, so that dnf judges it in dependencies' own terms. Most sets are asked of dnf's own
//! library in one process; some of the real command, which must say the same.

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
use rpm_model::{PackageHeader, PackageOrigin, Requirement};
use testkit::{DnfAnswer, Oracle, RequirementSet, requirement_sets, verdict};

/// How many sets are drawn at random.
const DRAWN: usize = 1000;
/// Of how many sets the real command is asked.
const BY_COMMAND: usize = 6;

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
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = scratch.path().join("rpms");
    for package in &scan.packages {
        let target = root.join(package.path.strip_prefix(&source).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::hard_link(&package.path, &target)
            .or_else(|_| std::fs::copy(&package.path, &target).map(|_| ()))
            .unwrap();
    }
    let packages = publish(&root);
    Some((scratch, packages))
}

fn publish(root: &Path) -> Vec<IndexedPackage> {
    let packages = PackageDirectory::new(root, PackageOrigin::Toolchain).scan().unwrap().packages;
    RepodataWriter::new(root).publish(&packages).unwrap();
    packages
}

/// What the real command would install, or `None` when it says that there is no way.
fn command(directory: &Path, name: &str) -> Option<BTreeSet<String>> {
    let debug = directory.join("debugdata");
    let _ = std::fs::remove_dir_all(&debug);
    let repository = |name: &str| format!("--repofrompath={name},file://{}", directory.join(name).display());
    let output = Command::new("dnf")
        .current_dir(directory)
        .args(["-y", "--assumeno", "--debugsolver", "--nogpgcheck", "--forcearch=x86_64", "--releasever=1"])
        .args(["--setopt=reposdir=/nonexistent", "--setopt=plugins=0", "--setopt=install_weak_deps=0"])
        .args(["--setopt=module_platform_id=platform:x", "--setopt=best=0"])
        .arg(format!("--setopt=cachedir={}", directory.join("cache").display()))
        .arg(format!("--installroot={}", directory.join("root").display()))
        .args([repository("rpms"), repository("questions")])
        .args(["--repo=rpms", "--repo=questions", "install", name])
        .output()
        .unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if text.contains("Problem:") {
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

fn ours(solver: &Solver<'_>, set: &RequirementSet) -> Result<BTreeSet<String>, String> {
    let request = SolveRequest { conflicts: &set.conflicts, ..SolveRequest::new("x86_64", &set.requires) };
    let found = solver.solve(&request).map_err(|explanation| explanation.to_string())?;
    Ok(found.packages().iter().map(|package| package.locked.nevra.to_string()).collect())
}

/// Sets that a person would ask for, and every seventeenth package by itself.
fn sets_by_hand(headers: &[&PackageHeader]) -> Vec<Vec<Requirement>> {
    let mut texts: Vec<String> = [
        "zlib-devel",
        "cmake, ninja-build, gcc-c++",
        "python3, perl",
        "autoconf, automake, libtool, flex, bison, gettext",
        "pkgconfig(zlib) >= 1.2, pkgconfig(libzstd)",
        "/usr/bin/perl, /bin/sh",
        "zlib-devel > 99",
        "texinfo, meson, sqlite-devel",
        "readline-devel, ncurses-devel, openssl-devel",
    ]
    .map(str::to_owned)
    .into();
    let core = std::fs::read_to_string(workspace().join("configs/bootstrap/core.list")).unwrap();
    let names =
        core.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    texts.push(names.collect::<Vec<_>>().join(", "));
    let single = headers.iter().step_by(17).map(|header| header.nevra.name.clone());
    let requirements = |text: String| text.split(',').map(|text| text.trim().parse().unwrap()).collect();
    texts.into_iter().chain(single).map(requirements).collect()
}

#[test]
fn finds_the_sets_that_dnf_finds() {
    let Some((scratch, packages)) = toolchain() else { return };
    let headers: Vec<&PackageHeader> = packages.iter().map(|package| &package.header).collect();
    #[expect(clippy::disallowed_methods, reason = "a test is the rim; the variable repeats a failed run")]
    let seed =
        std::env::var("ORACLE_SEED").ok().map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    let mut sets = requirement_sets(&headers, seed, DRAWN);
    let by_hand = sets_by_hand(&headers);
    sets.extend((DRAWN..).zip(by_hand).map(|(number, requires)| RequirementSet {
        number,
        requires,
        conflicts: Vec::new(),
    }));
    let questions = scratch.path().join("questions");
    std::fs::create_dir(&questions).unwrap();
    for set in &sets {
        set.write_package(&questions).unwrap();
    }
    publish(&questions);
    let repositories = [("rpms", scratch.path().join("rpms")), ("questions", questions)];
    let repositories = repositories.each_ref().map(|(name, directory)| (*name, directory.as_path()));
    let Some((mut dnf, known)) = Oracle::dnf(scratch.path(), &repositories).unwrap() else {
        eprintln!("SKIPPED: dnf is not installed");
        return;
    };
    assert_eq!(known, packages.len() + sets.len(), "dnf reads all that we publish");
    let solver = Solver::new(&packages);
    let judged: Vec<_> = sets
        .iter()
        .map(|set| {
            let (verdict, answer) = verdict::judge(set, &ours(&solver, set), &mut dnf).unwrap();
            (set, verdict, answer)
        })
        .collect();
    let table = verdict::table(judged.iter().map(|(_, verdict, _)| verdict));
    eprintln!("seed {seed}, {} sets\n{table}", sets.len());
    let wrong: Vec<String> = judged
        .iter()
        .filter(|(_, verdict, _)| verdict.is_defect())
        .map(|(set, verdict, _)| format!("{}\n  {verdict}", set.words()))
        .collect();
    assert!(wrong.is_empty(), "seed {seed}\n{table}\n{}", wrong.join("\n"));
    let count = |wanted: fn(&DnfAnswer) -> bool| judged.iter().filter(|(.., answer)| wanted(answer)).count();
    let (possible, impossible) =
        (count(|answer| answer.packages.is_some()), count(|answer| answer.packages.is_none()));
    assert!(
        possible > 500 && impossible > 50,
        "seed {seed}: {possible} sets are possible, {impossible} are not"
    );

    // The library must be asked as the command asks it.
    for (set, _, answer) in judged.iter().step_by(judged.len().div_ceil(BY_COMMAND)) {
        let mut found = command(scratch.path(), &set.package_name());
        if let Some(found) = &mut found {
            assert!(found.remove(&set.nevra().to_string()), "{}", set.words());
        }
        assert_eq!(found, answer.packages, "seed {seed}: {}", set.words());
    }
}
