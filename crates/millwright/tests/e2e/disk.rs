//! Disks that are full: a package's own limit, the place where builds work, the repository.

use std::process::Command;

use crate::run::Ended;
use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree, program_path};

/// Runs `millwright build` with a tiny file system on a directory, in a mount namespace of its own, so that
/// nothing has to be unmounted; `published` then lists the files below `out`.
fn build_with_tiny(tree: &Tree, directory: &str, size: &str) -> Ended {
    let place = tree.path(directory);
    std::fs::create_dir_all(&place).unwrap();
    let script = "mount -t tmpfs -o size=$2 none \"$1\"; shift 2; \"$@\"; code=$?; find out -type f > published; exit $code";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&place).arg(size);
    command.arg(program_path("millwright")).args(["build", "-j", "1"]).current_dir(tree.path(""));
    tree.run(&mut command)
}

#[test]
fn a_build_beyond_its_own_disk_limit_is_ended() {
    let Some(tree) = Tree::new("disk-limit") else { return };
    // One in memory, and one that has too little memory for that.
    let limits =
        "[packages.bad]\ndisk-limit-mib = 8\n[packages.worse]\ndisk-limit-mib = 9\nmemory-limit-mib = 512\n";
    tree.configure(&format!("{OFFLINE}{limits}"));
    // At most 200 MiB, should nobody stop it.
    for name in ["bad", "worse"] {
        let fill = "for i in $(seq 200); do head -c 1M /dev/zero >> big; sleep 0.1; done";
        tree.spec(&Spec::data(name).build(fill));
    }
    tree.spec(&Spec::data("good").build("head -c 1M /dev/zero > small"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&[
        "[no-space]",
        "more than its 8 MiB of disk in %build",
        "more than its 9 MiB of disk in %build",
        "disk limit",
        "1 built, 2 failed",
    ]);
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["good"]);
}

#[test]
fn a_full_disk_under_the_builds_is_named() {
    let Some(tree) = Tree::new("full-work") else { return };
    // With less memory than a build in memory needs, they are on that disk.
    let on_disk = |name: &str| format!("[packages.{name}]\nmemory-limit-mib = 512\n");
    tree.configure(&format!("{OFFLINE}{}", ["bad-1", "bad-2", "bad-3"].map(on_disk).concat()));
    tree.spec(&Spec::data("a-good"));
    for bad in ["bad-1", "bad-2", "bad-3"] {
        tree.spec(&Spec::data(bad).build("head -c 16M /dev/zero > big"));
    }
    tree.spec(&Spec::data("late"));
    let ended = build_with_tiny(&tree, "build/worker/chroot", "2m");
    // The third in a row says that it is the host: nothing more is tried on it.
    ended.exits(3).says(&[
        "[no-space]",
        "%build failed",
        "No space left on device",
        "free space",
        "stopped because this host fails whatever it is given: bad-1, bad-2, bad-3",
        "1 built, 2 failed, 2 not started",
    ]);
    tree.assert_clean();
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["a-good"]);
}

#[test]
fn a_full_disk_under_the_layer_store_is_named() {
    let Some(tree) = Tree::new("full-store") else { return };
    tree.spec(&Spec::data("bad"));
    // The worker is made of layers too, and its programs are small beside a compiler's.
    tree.millwright(&["plan"]).exits(0);
    std::fs::remove_file(tree.path("build/cache/layers")).unwrap();
    let ended = build_with_tiny(&tree, "build/cache/layers", "20m");
    ended.says(&[
        "[no-space]",
        "the disk of the layer store is full (`millwright cache gc --budget SIZE` frees some of it): cannot unpack `",
        "No space left on device",
    ]);
    assert_ne!(ended.status.code(), Some(0));
    tree.assert_clean();
    // Once there is room it is built.
    tree.millwright(&["build"]).exits(0).says(&["1 built"]);
}

#[test]
fn a_small_build_is_in_memory_and_starts_again_on_disk_when_it_grows() {
    if let Err(error) = buildroot::MemoryTree::new(1 << 20, 10) {
        eprintln!("SKIPPED in-memory: {error}");
        return;
    }
    let Some(tree) = Tree::new("in-memory") else { return };
    let place = "pwd; stat -f -c 'it is on %T' .";
    tree.spec(&Spec::data("small").build(place));
    // Too much for memory, until it is seen there; and fine on a disk.
    tree.spec(&Spec::data("large").build(&format!(
        "{place}; head -c 300M /dev/zero > big; while [ $(stat -f -c %T .) = tmpfs ]; do sleep 0.1; done"
    )));
    tree.millwright(&["build"]).exits(0).says(&["2 built"]);
    let log = |name: &str| tree.read(&format!("build/logs/pkggen/rpmbuilding/{name}-1.0-1.mw1.src.rpm.log"));
    let (small, large) = (log("small"), log("large"));
    assert!(small.contains("\nit is on tmpfs\n") && !small.contains("[millwright: "), "{small}");
    assert!(large.starts_with("[millwright: started again, on disk: its files outgrew memory]\n"), "{large}");
    assert!(!large.contains("\nit is on tmpfs\n"), "{large}");
    tree.assert_clean();
}

#[test]
fn a_full_disk_under_the_repository_publishes_nothing_by_halves() {
    let Some(tree) = Tree::new("full-output") else { return };
    // Cannot be compressed, and is larger than the repository's file system.
    tree.spec(&Spec::data("bad").install("head -c 600K /dev/urandom > %{buildroot}/usr/share/bad/noise"));
    tree.spec(&Spec::data("good"));
    let ended = build_with_tiny(&tree, "out", "512k");
    ended.exits(1).says(&[
        "[no-space]",
        "out/RPMS/noarch/bad-1.0-1.mw1.noarch.rpm",
        "No space left on device",
        "1 built, 1 failed",
    ]);
    tree.assert_nothing_runs();
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["good"]);
    let published = tree.read("published");
    let rpms: Vec<&str> = published
        .lines()
        .filter(|path| path.starts_with("out/RPMS/") && !path.contains("/repodata/"))
        .collect();
    assert_eq!(rpms, ["out/RPMS/noarch/good-1.0-1.mw1.noarch.rpm"], "{published}");
    assert!(published.contains("out/RPMS/repodata/repomd.xml"), "{published}");
}
