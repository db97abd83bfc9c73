//! Packages that mean no good: what they leave among their results, and processes that will not end.

use std::fs;

use crate::debugging::run;
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
fn whatever_is_planted_among_the_results_is_refused() {
    let Some(tree) = Tree::new("planted") else { return };
    let plants = [
        ("link-arch", "ln -s /etc /build/RPMS/aarch64", "`aarch64` among the packages"),
        ("file-arch", "touch /build/RPMS/aarch64", "`aarch64` among the packages"),
        ("fifo", "mkfifo /build/RPMS/noarch/x-1-1.noarch.rpm", "`noarch/x-1-1.noarch.rpm` among"),
        ("directory", "mkdir /build/RPMS/noarch/x-1-1.noarch.rpm", "`noarch/x-1-1.noarch.rpm` among"),
        ("dangling", "ln -s /nowhere /build/RPMS/noarch/x-1-1.noarch.rpm", "`noarch/x-1-1.noarch.rpm` among"),
        ("hard", "echo x > /build/x; ln /build/x /build/RPMS/noarch/x-1-1.noarch.rpm", "several names"),
        (
            "newline",
            "touch \"/build/RPMS/noarch/$(printf 'a\\nb\\033[2J').rpm\"",
            "noarch/a\\nb\\u{1b}[2J.rpm",
        ),
        ("not-a-package", "echo x > /build/RPMS/noarch/x-1-1.noarch.rpm", "not a readable package"),
    ];
    for (name, plant, _) in plants {
        let script = format!("mkdir -p /build/RPMS/noarch\n{}", plant.replace('%', "%%"));
        tree.spec(&Spec::data(name).install(&script));
    }
    tree.spec(&Spec::data("good"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&["[package-failure]", "1 built, 8 failed"]);
    for (name, _, words) in plants {
        assert!(ended.text().contains(words), "{name}: `{words}`\n{}", ended.text());
    }
    assert!(!ended.text().contains('\u{1b}'), "a file's name reached the terminal as it is");
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["good"]);
}

/// A directory of the host that a build knows of and that is at the same place in its own root.
struct Trap(std::path::PathBuf);

impl Trap {
    fn new(test: &str) -> Self {
        let place = std::path::Path::new("/var/tmp").join(format!("trap-{test}-{}", std::process::id()));
        fs::create_dir_all(place.join("noarch")).unwrap();
        Self(place)
    }

    /// Shell text that makes the directory of packages a link to it, or to what is at its place inside.
    fn script(&self) -> String {
        let place = self.0.display();
        format!("mkdir -p {place}/noarch\nrm -rf /build/RPMS\nln -s {place} /build/RPMS")
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_link_in_place_of_the_directory_of_packages_leads_nowhere() {
    let Some(tree) = Tree::new("planted-directory") else { return };
    let trap = Trap::new("planted-directory");
    tree.spec(&Spec::data("bad"));
    tree.millwright(&["build"]).exits(0);
    // The host has the very package that the spec announces, at the place where the link leads.
    let file = "noarch/bad-1.0-1.mw1.noarch.rpm";
    fs::copy(tree.path("out/RPMS").join(file), trap.0.join(file)).unwrap();
    for (clean, memory) in [("always", ""), ("always", "memory-limit-mib = 512\n"), ("on-success", "")] {
        tree.configure(&format!("{OFFLINE}[build]\nclean = \"{clean}\"\n[packages.bad]\n{memory}"));
        tree.spec(&Spec::data("bad").install(&trap.script()));
        let ended = run(&tree, &["rebuild", "bad"]);
        ended.exits(1).says(&["`RPMS`, where its packages are to be, is no directory", "[package-failure]"]);
        assert!(trap.0.join(file).is_file(), "the host's file was taken: {clean} {memory}");
    }
    // Nor does a build that goes on in a kept root remove what an earlier one could have made.
    fs::write(trap.0.join("noarch/precious.rpm"), "").unwrap();
    tree.spec(&Spec::data("bad").build(&format!("{}\nexit 1", trap.script())));
    run(&tree, &["build"]).exits(1).says(&["%build failed"]);
    run(&tree, &["rerun", "bad"]).exits(3).says(&["build/RPMS", "not a directory"]);
    assert!(trap.0.join("noarch/precious.rpm").is_file(), "a rerun removed a file of the host");
}

#[test]
fn a_link_in_place_of_generated_requirements_is_the_packages_fault() {
    let Some(tree) = Tree::new("planted-requirements") else { return };
    let trap = Trap::new("planted-requirements");
    let plant = format!("{}\nrm -rf /build/SRPMS\nln -s /nowhere /build/SRPMS\necho bash", trap.script());
    tree.spec(&Spec::data("bad").generate(&plant));
    tree.spec(&Spec::data("good"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&["1 built, 1 failed", "[package-failure]"]).never_says(&["trying again"]);
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
    tree.spec(&Spec::data("bad").needs("util-linux").build(
        "for i in $(seq 200); do setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1000; done' & done\n\
         echo all are there\nwait",
    ));
    tree.spec(&Spec::data("good"));
    // How long they take to start is the host's affair: the first limit that lets them counts.
    let ended_with_all = ["3s", "15s", "75s"].into_iter().any(|limit| {
        tree.configure(&format!("{OFFLINE}[packages.bad]\ntimeout = \"{limit}\"\n"));
        let ended = tree.millwright(&["build"]);
        ended.exits(1).says(&["bad", "[timeout]", "time limit", "--timeout", "1 failed"]);
        assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["good"]);
        let log = tree.read("build/logs/pkggen/rpmbuilding/bad-1.0-1.mw1.src.rpm.log");
        let all_were_there = log.contains("all are there");
        if all_were_there {
            ended.says(&["the time limit ended it in %build"]);
        }
        all_were_there
    });
    assert!(ended_with_all);
}

#[test]
fn a_file_of_another_package_with_other_content_is_told() {
    let Some(tree) = Tree::new("overlapping") else { return };
    let shares = |name: &str, text: &str, link: &str| {
        Spec::data(name)
            .install(&format!(
                "mkdir -p %{buildroot}/usr/share/common\necho same > %{buildroot}/usr/share/common/same\n\
                 echo {text} > %{buildroot}/usr/share/common/text\nln -s {link} %{buildroot}/usr/share/common/link",
                buildroot = "{buildroot}"
            ))
            .file("/usr/share/common")
    };
    tree.spec(&shares("victim", "mine", "text"));
    tree.millwright(&["build"]).exits(0).never_says(&["/usr/share/common"]);
    tree.spec(&shares("bad", "stolen", "/etc/passwd"));
    let ended = tree.millwright(&["build"]);
    ended.exits(0).says(&[
        "bad: `/usr/share/common/link` of bad-1.0-1.mw1.noarch is in victim-1.0-1.mw1.noarch of `victim` too",
        "and 1 more",
        "Conflicts",
    ]);
    // Who says so himself is not told again; nor is who has the same content.
    tree.spec(&shares("bad", "stolen", "/etc/passwd").tag("Conflicts: victim"));
    tree.spec(&shares("twin", "mine", "text").tag("Conflicts: bad"));
    tree.millwright(&["build"]).exits(0).says(&["2 built"]).never_says(&["/usr/share/common"]);
}
