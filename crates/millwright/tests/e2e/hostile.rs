//! Packages that mean no good: what they leave among their results, and processes that will not end.

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};

/// Builds one package beside a good one and asserts that it is refused with these words.
fn check_refused(test: &str, install: &str, words: &[&str]) {
    let Some(tree) = Tree::new(test) else { return };
    tree.spec(&Spec::data("bad").install(install));
    tree.spec(&Spec::data("good"));
    let ended = tree.millwright(&["build", "-j", "1"]);
    ended.exits(1).says(words).says(&["[package-failure]", "1 built, 1 failed"]);
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["good"]);
}

#[test]
fn a_link_among_the_results_is_refused() {
    check_refused(
        "planted-link",
        "mkdir -p /build/RPMS/noarch\nln -s /etc/shadow /build/RPMS/noarch/bad-extra-1.0-1.mw1.noarch.rpm",
        &["bad-extra-1.0-1.mw1.noarch.rpm", "no regular file"],
    );
}

#[test]
fn a_package_that_the_spec_does_not_announce_is_refused() {
    // A build can make any RPM and leave it among the results.
    check_refused(
        "planted-package",
        "mkdir -p /build/other\n\
         sed 's/@/%%/' > /build/other/glibc.spec <<'SPEC'\nName: glibc\nVersion: 9\nRelease: 9\nSummary: x\nLicense: x\n\
         BuildArch: noarch\n@description\nx\n@files\nSPEC\n\
         env -u RPM_BUILD_ROOT rpmbuild -bb --nodeps --define '_topdir /build/other' --define '_rpmdir /build/RPMS' --buildroot /build/other/root /build/other/glibc.spec",
        &["glibc-9-9.noarch", "does not name it"],
    );
}

#[test]
fn a_build_that_hangs_with_200_children_is_ended_with_all_of_them() {
    let Some(tree) = Tree::new("fork") else { return };
    tree.configure(&format!("{OFFLINE}[packages.bad]\ntimeout = \"3s\"\n"));
    tree.spec(&Spec::data("bad").needs("util-linux").build(
        "for i in $(seq 200); do setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1000; done' & done\n\
         echo all are there\nwait",
    ));
    tree.spec(&Spec::data("good"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&["bad", "[timeout]", "time limit", "%build", "--timeout", "1 built, 1 failed"]);
    assert!(tree.read("build/logs/pkggen/rpmbuilding/bad-1.0-1.mw1.src.rpm.log").contains("all are there"));
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["good"]);
}
