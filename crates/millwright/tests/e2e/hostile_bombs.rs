//! Packages that want everything: processes, memory, disk, files, time. Small limits end them soon, with a word
//! on which one, beside a package that is built as if nothing were.

use std::path::Path;

use crate::run::Ended;
use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};

/// Builds one package, with these exceptions in the configuration, beside a good one; the bad one must fail with
/// these words, and nothing may be left of it.
fn check_ended(test: &str, exceptions: &str, bad: &Spec, words: &[&str]) -> Option<(Tree, Ended)> {
    let tree = Tree::new(test)?;
    tree.configure(&format!("{OFFLINE}[packages.bad]\n{exceptions}\n"));
    tree.spec(bad);
    tree.spec(&Spec::data("good"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(words).says(&["1 built, 1 failed"]);
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["good"]);
    Some((tree, ended))
}

/// Whether memory and processes can be limited here as a whole.
fn has_cgroups(test: &str) -> bool {
    let limited = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/cgroup.controllers"];
    let found = limited.iter().any(|path| Path::new(path).exists());
    if !found {
        eprintln!("SKIPPED {test}: no cgroups");
    }
    found
}

#[test]
fn a_fork_bomb_is_ended() {
    if !has_cgroups("a_fork_bomb_is_ended") {
        return;
    }
    let bad = Spec::data("bad").build("bomb() { bomb | bomb & }\nbomb\nsleep 1000");
    let words = ["[package-failure]", "more than its 200 processes in %build", "process-limit"];
    check_ended("bomb-fork", "process-limit = 200", &bad, &words);
}

#[test]
fn a_memory_bomb_is_ended_whatever_it_makes_of_it() {
    if !has_cgroups("a_memory_bomb_is_ended_whatever_it_makes_of_it") {
        return;
    }
    // It would go on as if nothing had been.
    let bad = Spec::data("bad").build("tail /dev/zero || true");
    let words = ["[out-of-memory]", "more than its 128 MiB of memory", "memory-limit-mib"];
    check_ended("bomb-memory", "memory-limit-mib = 128", &bad, &words);
}

#[test]
fn what_runs_out_of_memory_is_tried_once_more_with_more_where_that_is_configured() {
    if !has_cgroups("memory-retry") {
        return;
    }
    let Some(tree) = Tree::new("memory-retry") else { return };
    let limits = "[packages.big]\nmemory-limit-mib = 128\n[packages.bigger]\nmemory-limit-mib = 128\n";
    tree.configure(&format!("{OFFLINE}[build]\nmemory-retry = 3\n{limits}"));
    let holds = |mebibytes: u32| format!("head -c {mebibytes}M /dev/zero | tail -c {mebibytes}M > /dev/null");
    tree.spec(&Spec::data("big").build(&holds(200)));
    tree.spec(&Spec::data("bigger").build(&holds(1000)));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&["1 built, 1 failed", "more than its 384 MiB of memory"]);
    ended.says_once("warning: big: it used more than its 128 MiB of memory in %build; trying once more");
    ended.says_once("warning: bigger: it used more than its 128 MiB of memory in %build; trying once more");
}

#[test]
fn what_lies_in_memory_file_systems_counts() {
    if !has_cgroups("what_lies_in_memory_file_systems_counts") {
        return;
    }
    let bad = Spec::data("bad").build("for i in $(seq 400); do head -c 1M /dev/zero >> /dev/shm/big; done");
    check_ended("bomb-shm", "memory-limit-mib = 128", &bad, &["[out-of-memory]", "128 MiB of memory"]);
}

#[test]
fn temporary_directories_are_within_the_disk_limit() {
    // The four of them share what each may hold.
    let bad = Spec::data("bad").build("head -c 128M /dev/zero > /var/tmp/big");
    let words = ["[no-space]", "%build failed", "No space left on device", "disk-limit-mib"];
    check_ended("bomb-tmp", "disk-limit-mib = 16", &bad, &words);
}

#[test]
fn ten_million_files_are_not_waited_for() {
    let bad = Spec::data("bad")
        .build("set +x\nmkdir many\ncd many\ni=0\nwhile [ $i -lt 10000000 ]; do : > $i; i=$((i+1)); done");
    let words = ["[no-space]", "more than its 5000 files in %build", "file-limit"];
    check_ended("bomb-files", "file-limit = 5000", &bad, &words);
}

#[test]
fn what_lies_deeper_than_any_path_is_long_counts_and_is_removed() {
    let Some(tree) = Tree::new("bomb-deep") else { return };
    tree.configure(&format!("{OFFLINE}[packages.bad]\ndisk-limit-mib = 16\n"));
    // Directories are put around the one in which a shell waits, and fills it when no path leads there any more.
    tree.spec(&Spec::data("bad").build(
        "mkdir top\n(cd top; until [ -e /build/hidden ]; do sleep 0.1; done; head -c 64M /dev/zero > big; sleep 1000) &\n\
         name=$(printf 'd%%.0s' $(seq 200))\n\
         for i in $(seq 30); do mkdir up; mv top up/$name; mv up top; done\ntouch /build/hidden\nwait",
    ));
    // On disk, where it is measured by looking.
    let ended = tree.start_millwright(&["build", "--clean=on-success"]).wait();
    ended.exits(1).says(&["[no-space]", "more than its 16 MiB of disk in %build"]);
    assert!(tree.path("build/worker/chroot/bad-1.0-1.mw1/kept.json").is_file());
    tree.millwright(&["clean", "build-packages-workers"]).exits(0);
    assert!(!tree.path("build/worker/chroot").exists());
}

#[test]
fn processor_time_is_used_up_before_the_wall_time() {
    let bad = Spec::data("bad").build("set +x\nwhile :; do :; done & while :; do :; done");
    let words = ["[timeout]", "used up its 2 s of processor time in %build", "cpu-limit"];
    check_ended("bomb-cpu", "cpu-limit = \"2s\"", &bad, &words);
}

#[test]
fn a_flood_of_output_fills_no_disk() {
    // A line of a kibibyte, without end. However it is ended, the log stays within what the package may have.
    let bad = Spec::data("bad").build("set +x\nline=$(printf '%%01000d' 0)\nwhile :; do echo $line; done");
    let Some((tree, _)) = check_ended("bomb-log", "disk-limit-mib = 16\ntimeout = \"20s\"", &bad, &["bad"])
    else {
        return;
    };
    let log =
        std::fs::metadata(tree.path("build/logs/pkggen/rpmbuilding/bad-1.0-1.mw1.src.rpm.log")).unwrap();
    // What is written between two looks comes on top.
    assert!(log.len() < 2 << 30, "{}", log.len());
}

#[test]
fn what_outlives_its_build_is_ended_with_it() {
    let Some(tree) = Tree::new("outliving") else { return };
    // A name that the same test has not that runs in another checkout on this host.
    let name = format!("outlives-its-build-{}.", std::process::id());
    tree.spec(&Spec::data("bad").needs("util-linux").build(&format!(
        "for i in 1 2 3; do (setsid bash -c 'trap \"\" TERM INT HUP PIPE; (exec -a {name} sleep 1000) & \
         exec -a {name} sleep 1000' > /dev/null 2>&1 < /dev/null &) ; done\n\
         until [ $(grep -la '^outlives-its-buil[d]' /proc/[0-9]*/cmdline | wc -l) -ge 6 ]; do sleep 0.1; done\n\
         echo all six are there",
    )));
    // The build is done when rpmbuild is, and then its processes are.
    tree.millwright(&["build"]).exits(0).says(&["1 built"]);
    let log = tree.read("build/logs/pkggen/rpmbuilding/bad-1.0-1.mw1.src.rpm.log");
    assert!(log.contains("all six are there"), "{log}");
    let left = std::fs::read_dir("/proc").unwrap().flatten().filter(|process| {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        command.starts_with(name.as_bytes())
    });
    assert_eq!(left.count(), 0);
}
