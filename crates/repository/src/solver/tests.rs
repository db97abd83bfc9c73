//! Requests over small made-up repositories.

mod properties;

use rpm_model::PackageOrigin;

use super::*;
use crate::testing::TinyPackage;

/// Reads a repository: one package a line, `origin name evr; requires a, b; provides c; files /d`.
fn repository(text: &str) -> Vec<IndexedPackage> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(package).collect()
}

fn package(line: &str) -> IndexedPackage {
    let mut parts = line.split(';').map(str::trim);
    let words: Vec<&str> = parts.next().unwrap().split_whitespace().collect();
    let origin = match words[0] {
        "tree" => PackageOrigin::Tree,
        "live" => PackageOrigin::Live,
        "base" => PackageOrigin::Base,
        "tool" => PackageOrigin::Toolchain,
        other => panic!("no origin {other}"),
    };
    let arch = words.get(3).copied().unwrap_or("x86_64");
    let mut package = TinyPackage::new(words[1], words[2], arch).origin(origin);
    for part in parts {
        let (list, entries) = part.split_once(' ').unwrap();
        for entry in entries.split(',').map(str::trim) {
            package = match list {
                "requires" => package.requires(entry),
                "provides" => package.provides(entry),
                "conflicts" => package.conflicts(entry),
                "obsoletes" => package.obsoletes(entry),
                "files" => package.file(entry),
                other => panic!("no list {other}"),
            };
        }
    }
    package.indexed()
}

/// The frozen core of the tests: these packages of the toolchain.
fn core(packages: &[IndexedPackage], names: &str) -> Vec<LockedPackage> {
    packages
        .iter()
        .filter(|package| {
            package.origin == PackageOrigin::Toolchain
                && names.split_whitespace().any(|name| name == package.header.nevra.name)
        })
        .map(IndexedPackage::locked)
        .collect()
}

fn requirements(text: &str) -> Vec<Requirement> {
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
}

fn names(set: &ResolvedSet) -> String {
    let name = |package: &ResolvedPackage| {
        format!("{}-{}", package.locked.nevra.name, package.locked.nevra.evr.version)
    };
    set.packages().iter().map(name).collect::<Vec<_>>().join(" ")
}

fn solve(
    packages: &[IndexedPackage],
    core_names: &str,
    wanted: &str,
) -> Result<ResolvedSet, Box<Explanation>> {
    let solver = Solver::new(packages);
    let (core, wanted) = (core(packages, core_names), requirements(wanted));
    solver.solve(&SolveRequest { core: &core, ..SolveRequest::new("x86_64", &wanted) })
}

#[track_caller]
fn check(packages: &[IndexedPackage], core_names: &str, wanted: &str, expected: &str) -> ResolvedSet {
    let set = solve(packages, core_names, wanted).unwrap_or_else(|why| panic!("{wanted}: {why}"));
    assert_eq!(names(&set), expected, "for {wanted}");
    set
}

/// A toolchain whose gcc needs zlib, and a tree that builds zlib and things on top of it.
const CHAIN: &str = "
    tool zlib 0~deb.1.2-1; provides libz.so.1, zlib = 1.2
    tool zlib-devel 0~deb.1.2-1; provides zlib-devel = 1.2, pkgconfig(zlib) = 1.2; requires zlib
    tool binutils 0~deb.2.40-1; requires libz.so.1
    tool gcc 0~deb.12-1; requires binutils
    tool cmake 0~deb.3-1; requires libcurl.so.4
    tool libcurl 0~deb.7-1; provides libcurl.so.4; requires libz.so.1
    tree zlib 1.3-1; provides libz.so.1
    tree zlib-devel 1.3-1; provides pkgconfig(zlib) = 1.3; requires zlib = 1.3-1
    tree curl 8-1; provides libcurl.so.4; requires libz.so.1
    tree curl-devel 8-1; requires curl = 8-1
";

#[test]
fn the_tree_enters_only_where_something_of_ours_leads_to_it() {
    let packages = repository(CHAIN);
    let core = "zlib binutils gcc";
    let plain = check(&packages, core, "", "binutils-0~deb.2.40 gcc-0~deb.12 zlib-0~deb.1.2");
    assert!(plain.packages().iter().all(|package| package.reason == EntryReason::Core));
    // A requirement of the toolchain's cmake does not bring in the tree's curl or zlib.
    let with_cmake = "binutils-0~deb.2.40 cmake-0~deb.3 gcc-0~deb.12 libcurl-0~deb.7 zlib-0~deb.1.2";
    check(&packages, core, "cmake", with_cmake);
    // Asked for by name, the tree's zlib replaces the core's.
    let set =
        check(&packages, core, "zlib-devel", "binutils-0~deb.2.40 gcc-0~deb.12 zlib-1.3 zlib-devel-1.3");
    let zlib = &set.packages()[2];
    assert_eq!(
        zlib.replaces.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["zlib-0~deb.1.2-1.x86_64"]
    );
    assert!(matches!(&zlib.reason, EntryReason::RequiredBy { package, .. } if package.name == "zlib-devel"));
    check(
        &packages,
        core,
        "pkgconfig(zlib) >= 1.1",
        "binutils-0~deb.2.40 gcc-0~deb.12 zlib-1.3 zlib-devel-1.3",
    );
    // A requirement of the tree's curl brings in the tree's zlib too.
    check(&packages, core, "curl-devel", "binutils-0~deb.2.40 curl-8 curl-devel-8 gcc-0~deb.12 zlib-1.3");
    // And then cmake uses what is there.
    check(
        &packages,
        core,
        "curl-devel, cmake",
        "binutils-0~deb.2.40 cmake-0~deb.3 curl-8 curl-devel-8 gcc-0~deb.12 zlib-1.3",
    );
}

#[test]
fn origins_go_tree_live_core_base_toolchain() {
    let packages = repository(
        "
        tree a 1-1; provides cap
        live a 2-1; provides cap
        live b 2-1; provides cap
        base b 3-1; provides cap
        base c 1-1; provides cap
        tool c 2-1; provides cap
        base d 2-1
        tool d 1-1
        ",
    );
    check(&packages, "", "a", "a-1");
    check(&packages, "", "a > 1-1", "a-2");
    check(&packages, "", "b", "b-2");
    check(&packages, "", "c", "c-1");
    check(&packages, "", "cap", "a-1");
    // The core is there already; base has it newer, but nothing asks for newer.
    check(&packages, "d", "d", "d-1");
    check(&packages, "d", "d >= 2", "d-2");
}

#[test]
fn among_equals_the_name_then_the_version_decides() {
    let packages = repository(
        "
        tool awk 1-1
        tool gawk 5-1; provides awk = 9
        tool p1 1-1; provides cap
        tool p2 2-1; provides cap
        tool p3 2-1; provides cap
        ",
    );
    check(&packages, "", "awk", "awk-1");
    check(&packages, "", "cap", "p2-2");
    // What is asked for anyway is used for the capability too.
    check(&packages, "", "cap, p3", "p3-2");
    let ours = repository("tree p1 1-1; provides cap\n tree p2 2-1; provides cap");
    check(&ours, "", "cap, p1", "p1-1");
}

#[test]
fn one_version_conflicts_and_obsoletes_hold() {
    let packages = repository(
        "
        tool a 1-1; requires lib = 1
        tool b 1-1; requires lib = 2
        tool lib 1-1
        tool lib 2-1
        tool c 1-1; conflicts d
        tool d 1-1
        tool e 1-1; requires (d or f)
        tool f 1-1
        tree new 2-1; obsoletes old < 2; provides old = 2
        tool old 1-1
        tool user 1-1; requires old
        ",
    );
    check(&packages, "", "a", "a-1 lib-1");
    check(&packages, "", "b", "b-1 lib-2");
    assert!(solve(&packages, "", "a, b").is_err());
    assert!(solve(&packages, "", "c, d").is_err());
    check(&packages, "", "e", "d-1 e-1");
    check(&packages, "", "e, c", "c-1 e-1 f-1");
    // `old` is provided by the tree's `new`, which obsoletes the core's `old`.
    check(&packages, "old user", "old", "new-2 user-1");
    check(&packages, "old user", "", "old-1 user-1");
    assert!(solve(&packages, "", "new, old < 2").is_err());
}

#[test]
fn rich_requirements_are_evaluated() {
    let packages = repository(
        "
        tool a 1-1
        tool b 1-1
        tool c 1-1
        tool both 1-1; provides x, y
        tool x 1-1
        tool y 1-1
        tool wants-if 1-1; requires (a if b)
        tool wants-else 1-1; requires (a if b else c)
        tool self 1-1; requires (self-helper or selfish); provides selfish
        tool self-helper 1-1
        tool anti 1-1; conflicts (a and b)
        ",
    );
    check(&packages, "", "(a and b)", "a-1 b-1");
    check(&packages, "", "(a if b)", "");
    check(&packages, "", "(a if b), b", "a-1 b-1");
    check(&packages, "", "wants-if", "wants-if-1");
    check(&packages, "", "wants-if, b", "a-1 b-1 wants-if-1");
    check(&packages, "b", "wants-if", "a-1 b-1 wants-if-1");
    check(&packages, "", "wants-else", "c-1 wants-else-1");
    check(&packages, "", "wants-else, b", "a-1 b-1 wants-else-1");
    check(&packages, "", "(x with y)", "both-1");
    check(&packages, "", "(x without y)", "x-1");
    check(&packages, "", "((a and b) or nowhere)", "a-1 b-1");
    check(&packages, "", "(nowhere or (c unless a))", "c-1");
    check(&packages, "", "self", "self-1");
    check(&packages, "", "anti, a", "a-1 anti-1");
    assert!(solve(&packages, "", "anti, a, b").is_err());
}

#[test]
fn files_architectures_exclusions_and_build_conflicts_count() {
    let packages = repository(
        "
        tool bash 5-1; provides /bin/sh; files /usr/bin/bash
        tool script 1-1 noarch; requires /bin/sh, /usr/bin/bash
        tool lib 1-1 i686; provides cap
        tree lib 2-1
        tool other 1-1; provides cap
        ",
    );
    check(&packages, "", "script", "bash-5 script-1");
    check(&packages, "", "cap", "other-1");
    let solver = Solver::new(&packages);
    let wanted = requirements("lib");
    let exclude = ["lib-2-1.x86_64".parse().unwrap()];
    let request = SolveRequest { exclude: &exclude, ..SolveRequest::new("x86_64", &wanted) };
    let words = solver.solve(&request).unwrap_err().to_string();
    assert!(words.contains("lib-2-1.x86_64 (tree) is excluded"), "{words}");
    assert!(words.contains("lib-1-1.i686 (toolchain) is for another architecture"), "{words}");
    let (wanted, conflicts) = (requirements("script"), requirements("bash >= 5"));
    let request = SolveRequest { conflicts: &conflicts, ..SolveRequest::new("x86_64", &wanted) };
    let words = solver.solve(&request).unwrap_err().to_string();
    assert!(words.contains("ruled out by the conflict `bash >= 5`"), "{words}");
}

/// Rule 8 of worker-bootstrap.md: every solver silently keeps the toolchain's package; ours says so.
#[test]
fn a_tree_package_that_cannot_enter_is_reported() {
    let packages = repository(
        "
        tool bash 0~deb.5-1; requires libtinfo.so.6(NCURSES6_5.0)
        tool ncurses 0~deb.6-1; provides libtinfo.so.6, libtinfo.so.6(NCURSES6_5.0)
        tool ncurses-devel 0~deb.6-1; requires ncurses
        tree ncurses 6.4-1; provides libtinfo.so.6
        tree ncurses-devel 6.4-1; requires ncurses = 6.4-1
        tree readline 8-1; provides libreadline.so.8; requires libtinfo.so.6
        tree readline-devel 8-1; requires readline = 8-1
        tool readline 0~deb.8-1; provides libreadline.so.8; requires libtinfo.so.6
        ",
    );
    let core = "bash ncurses";
    let set = check(&packages, core, "ncurses-devel", "bash-0~deb.5 ncurses-0~deb.6 ncurses-devel-0~deb.6");
    let words: Vec<String> = set.notes().iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        ["`ncurses-devel` is satisfied by ncurses-devel-0~deb.6-1.x86_64, although the tree builds \
          ncurses-devel-6.4-1.x86_64: `libtinfo.so.6(NCURSES6_5.0)` cannot be satisfied\n  \
          needed by bash-0~deb.5-1.x86_64 (toolchain), there for the core package bash-0~deb.5-1.x86_64\n  \
          ncurses-0~deb.6-1.x86_64 (toolchain) cannot be beside ncurses-6.4-1.x86_64 (a set holds one version of a name)\n    \
          which is there for `ncurses = 6.4-1`\n    \
          needed by ncurses-devel-6.4-1.x86_64, there for `ncurses-devel`"]
    );
    // The tree's readline still enters; only its ncurses cannot.
    let set =
        check(&packages, core, "readline-devel", "bash-0~deb.5 ncurses-0~deb.6 readline-8 readline-devel-8");
    let [ResolvedNote::ToolchainUsedAlthoughTreeBuilds { required_by, tree_package, .. }] = set.notes()
    else {
        panic!("{:?}", set.notes());
    };
    assert_eq!(required_by.as_ref().unwrap().name, "readline");
    assert_eq!(tree_package.name, "ncurses");
}

#[test]
fn a_version_that_the_tree_lacks_is_reported() {
    let packages = repository("tree z 1-1\n tool z 2-1");
    let set = check(&packages, "", "z >= 2", "z-2");
    let words = set.notes()[0].to_string();
    assert!(words.contains("although the tree builds z-1-1.x86_64: that one provides `z = 1-1`"), "{words}");
}

#[test]
fn a_library_that_is_there_twice_is_reported() {
    let packages = repository(
        "
        tree ncurses-libs 6.4-1; provides libncursesw.so.6()(64bit)
        tool libncursesw6 0~deb.6-1; provides libncursesw.so.6()(64bit), libncursesw.so.6(NCURSESW6_5.1)(64bit)
        tool nano 7-1; requires libncursesw.so.6(NCURSESW6_5.1)(64bit)
        tree polite 1-1; provides libncursesw.so.6()(64bit); obsoletes libncursesw6
        ",
    );
    let set = check(&packages, "", "ncurses-libs, nano", "libncursesw6-0~deb.6 nano-7 ncurses-libs-6.4");
    let words: Vec<String> = set.notes().iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        ["`libncursesw.so.6()(64bit)` is there twice, from ncurses-libs-6.4-1.x86_64 and from \
          libncursesw6-0~deb.6-1.x86_64"]
    );
    assert!(check(&packages, "", "ncurses-libs", "ncurses-libs-6.4").notes().is_empty());
    assert!(solve(&packages, "", "polite, nano").is_err());
}

#[track_caller]
fn check_words(packages: &[IndexedPackage], core_names: &str, wanted: &str, expected: &str) {
    let words = solve(packages, core_names, wanted).unwrap_err().to_string();
    assert_eq!(words, expected, "for {wanted}");
}

#[test]
fn explanations_say_what_a_packager_can_act_on() {
    let packages = repository(
        "
        tree zlib-devel 1.3-1; requires zlib = 1.3-1
        tree zlib 1.3-1; requires libmissing.so.2
        tool oniguruma-devel 6-1; provides pkgconfig(oniguruma), pkgconfig(zlib)
        tool jq 1-1; requires oniguruma-devel
        tool clash 1-1; conflicts jq
        ",
    );
    check_words(
        &packages,
        "",
        "onigurma-devel",
        "nothing provides `onigurma-devel`\n  \
         oniguruma-devel-6-1.x86_64 (toolchain) provides the similar name `oniguruma-devel`",
    );
    check_words(&packages, "", "pkgconfig(bzip2)", "nothing provides `pkgconfig(bzip2)`");
    check_words(
        &packages,
        "",
        "pkgconfig(zlibb)",
        "nothing provides `pkgconfig(zlibb)`\n  \
         oniguruma-devel-6-1.x86_64 (toolchain) provides the similar name `pkgconfig(zlib)`",
    );
    check_words(
        &packages,
        "",
        "oniguruma-devel >= 7",
        "nothing provides `oniguruma-devel >= 7`\n  \
         oniguruma-devel-6-1.x86_64 (toolchain) provides `oniguruma-devel = 6-1`",
    );
    check_words(
        &packages,
        "",
        "zlib-devel",
        "`zlib-devel` cannot be satisfied\n  zlib-devel-1.3-1.x86_64 (tree) is refused:\n    \
         `zlib = 1.3-1` cannot be satisfied\n      zlib-1.3-1.x86_64 (tree) is refused:\n        \
         nothing provides `libmissing.so.2`",
    );
    check_words(
        &packages,
        "",
        "jq, clash",
        "`jq` cannot be satisfied\n  \
         jq-1-1.x86_64 (toolchain) cannot be beside clash-1-1.x86_64 (they conflict)\n    \
         which is there for `clash`",
    );
    let gone = IndexedPackage { sha256: rpm_model::ContentDigest::of_bytes(b"other"), ..packages[4].clone() };
    let request = SolveRequest { core: &[gone.locked()], ..SolveRequest::new("x86_64", &[]) };
    let words = Solver::new(&packages).solve(&request).unwrap_err().to_string();
    assert_eq!(words, "the core package clash-1-1.x86_64 is in none of the repositories");
}

/// Two conditions that do not hold, each beside a package that is wished for: neither makes the other new.
#[test]
fn conditions_do_not_look_at_each_other_for_ever() {
    let packages = repository("tree a 1-1\ntree b 1-1\ntree c 1-1\ntree d 1-1");
    check(&packages, "", "(a and (b if z)), (c and (d if y))", "a-1 c-1");
    check(&packages, "", "(a and (b if c)), (c and (d if a))", "a-1 b-1 c-1 d-1");
}

#[test]
fn every_missing_requirement_is_named_at_once() {
    let packages = repository("tool a 1-1");
    let explanation = solve(&packages, "", "x, a, y").unwrap_err();
    assert_eq!(explanation.to_string(), "nothing provides `x`\nnothing provides `y`");
}

#[test]
fn rules_keep_packages_out_and_are_named() {
    let packages = repository(
        "
        base zlib 1.3-1; provides libz.so.1
        base zlib 1.2-1; provides libz.so.1
        base other 1-1; provides libz.so.1
        ",
    );
    let solve = |pins: &[&str], excludes: &[&str], wanted: &str| {
        let rules = PackageRules {
            pins: pins.iter().map(|text| text.parse().unwrap()).collect(),
            excludes: excludes.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let wanted = requirements(wanted);
        let mut solver = Solver::new(&packages);
        solver.set_rules(rules);
        let result = solver.solve(&SolveRequest::new("x86_64", &wanted));
        result.map_or_else(|explanation| explanation.to_string(), |set| names(&set))
    };
    assert_eq!(solve(&[], &[], "zlib"), "zlib-1.3");
    assert_eq!(solve(&["zlib = 1.2"], &[], "zlib"), "zlib-1.2");
    assert_eq!(solve(&[], &["zlib = 1.3"], "zlib"), "zlib-1.2");
    assert_eq!(solve(&[], &["zlib*"], "libz.so.1"), "other-1");
    assert_eq!(
        solve(&["zlib = 1.2"], &["*"], "zlib"),
        "nothing provides `zlib`\n  zlib-1.2-1.x86_64 (base) is kept out by the exclude `*`\n  \
         zlib-1.3-1.x86_64 (base) is kept out by the pin `zlib = 1.2`"
    );
}

#[test]
fn packages_of_owners_that_are_not_asked_for_stay_out() {
    let toolchain = repository("tool zlib 1.2-1");
    let tree = repository("tree zlib 1.3-1");
    let mut solver = Solver::new(&toolchain);
    solver.replace("zlib", vec![Arc::new(tree[0].clone())]);
    let wanted = requirements("zlib");
    let solve = |owners: Option<&[&str]>| {
        let owners: Option<BTreeSet<String>> =
            owners.map(|owners| owners.iter().map(|owner| (*owner).to_owned()).collect());
        let request = SolveRequest { owners: owners.as_ref(), ..SolveRequest::new("x86_64", &wanted) };
        names(&solver.solve(&request).unwrap())
    };
    assert_eq!(solve(None), "zlib-1.3");
    assert_eq!(solve(Some(&["zlib"])), "zlib-1.3");
    assert_eq!(solve(Some(&["other"])), "zlib-1.2");
}
