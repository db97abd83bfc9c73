//! Directories in memory that are mounted nowhere but in sandboxes.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use buildroot::{BUILDER_ID, BindMount, End, MemoryTree, SandboxSpec};

use crate::support::{HostRoot, can_sandbox, capture};

/// Returns a tree of so many MiB; says so when this kernel has none.
fn tree(test: &str, mebibytes: u64) -> Option<MemoryTree> {
    if !can_sandbox(test) {
        return None;
    }
    let tree = MemoryTree::new(mebibytes << 20, 100);
    if let Err(error) = &tree {
        eprintln!("SKIPPED {test}: {error}");
    }
    tree.ok()
}

fn with_work(root: &HostRoot, tree: &MemoryTree, script: &str) -> SandboxSpec {
    let mut spec = root.script(script);
    let source = tree.path().join("work");
    spec.binds.push(BindMount { source, target: "/work".into(), read_only: false });
    spec
}

#[test]
fn what_a_sandbox_leaves_in_memory_its_holder_sees_and_nobody_else() {
    let Some(tree) = tree("what_a_sandbox_leaves_in_memory_its_holder_sees_and_nobody_else", 8) else {
        return;
    };
    let root = HostRoot::new();
    let work = tree.path().join("work");
    fs::create_dir(&work).expect("directory");
    chown(&work, Some(BUILDER_ID), Some(BUILDER_ID)).expect("owner");
    let empty = tree.held().expect("held");
    // No way up from a bind to the rest of the file system.
    let script = "set -e; echo made > /work/file; head -c 1M /dev/zero > /work/large; test -e /work/../usr; ls -A /work/..";
    let (outcome, stdout, stderr) = capture(&with_work(&root, &tree, script));
    assert_eq!(outcome.end, End::Exited { code: 0 }, "{stderr}");
    assert!(stdout.contains("work\n") && stdout.contains("etc\n"), "{stdout}");
    assert_eq!(fs::read_to_string(work.join("file")).expect("file"), "made\n");
    let held = tree.held().expect("held");
    assert!((1 << 20..2 << 20).contains(&(held.bytes - empty.bytes)), "{held:?}");
    assert_eq!(held.files - empty.files, 2);
    // A second sandbox, one after the other, works in the same directory.
    let (outcome, stdout, _) = capture(&with_work(&root, &tree, "cat /work/file; rm /work/large"));
    assert_eq!((outcome.end, stdout.as_str()), (End::Exited { code: 0 }, "made\n"));
    assert!(tree.held().expect("held").bytes < held.bytes);
    // It is in no other process's namespace, and no ordinary user's to reach through this one's.
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let is_ours = |option: &str| option == "nr_inodes=100";
    assert!(!mounts.split([',', ' ', '\n']).any(is_ours), "{mounts}");
    let listed = Command::new("ls").arg(&work).uid(BUILDER_ID).gid(BUILDER_ID).output().expect("ls");
    assert!(!listed.status.success(), "{listed:?}");
}

#[test]
fn a_tree_in_memory_has_limits_and_runs_nothing_with_anothers_rights() {
    let Some(tree) = tree("a_tree_in_memory_has_limits_and_runs_nothing_with_anothers_rights", 4) else {
        return;
    };
    let root = HostRoot::new();
    let work = tree.path().join("work");
    fs::create_dir(&work).expect("directory");
    chown(&work, Some(BUILDER_ID), Some(BUILDER_ID)).expect("owner");
    let script = "head -c 6M /dev/zero > /work/large 2>/dev/null || echo full; rm /work/large; i=0; \
                  while [ $i -lt 200 ] && true > /work/$i; do i=$((i+1)); done 2>/dev/null; \
                  [ $i -lt 200 ] && echo many; grep ' /work ' /proc/self/mountinfo | cut -d' ' -f6";
    let (outcome, stdout, stderr) = capture(&with_work(&root, &tree, script));
    assert_eq!(outcome.end, End::Exited { code: 0 }, "{stderr}");
    assert_eq!(stdout, "full\nmany\nrw,nosuid,nodev,relatime\n", "{stderr}");
}
