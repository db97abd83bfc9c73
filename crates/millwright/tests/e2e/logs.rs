//! Builds that write more than anybody reads.

use std::fs;

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};

const LOG: &str = "build/logs/pkggen/rpmbuilding";

#[test]
fn of_a_long_log_head_and_tail_are_kept() {
    let Some(tree) = Tree::new("log-limit") else { return };
    tree.configure(&format!("{OFFLINE}[build]\nlog-limit-mib = 1\n[packages.line]\nlog-limit-mib = 2\n"));
    tree.spec(&Spec::data("lines").build(
        "set +x\necho first line\nyes output | head -n 3000000\necho 'main.c:1: error: boom'\nexit 1",
    ));
    tree.spec(&Spec::data("line").build("set +x\nhead -c 20M /dev/zero | tr '\\0' x"));
    tree.spec(&Spec::data("small").build("echo one line"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&["%build failed", "main.c:1: error: boom", "2 built, 1 failed"]);
    let text = tree.read(&format!("{LOG}/lines-1.0-1.mw1.src.rpm.log"));
    assert!(text.len() <= (1 << 20) + 500, "{}", text.len());
    for part in ["first line\n", "bytes of output are missing here", "main.c:1: error: boom\n"] {
        assert!(text.contains(part), "`{part}` is missing");
    }
    let line = fs::metadata(tree.path(&format!("{LOG}/line-1.0-1.mw1.src.rpm.log"))).unwrap().len();
    assert!((1 << 20..(2 << 20) + 500).contains(&line), "{line}");
    assert!(!tree.read(&format!("{LOG}/small-1.0-1.mw1.src.rpm.log")).contains("missing here"));
    let files = fs::read_dir(tree.path(LOG)).unwrap().count();
    assert_eq!(files, 3, "nothing else is left beside the logs");
}

#[test]
fn a_flood_is_ended() {
    let Some(tree) = Tree::new("log-flood") else { return };
    tree.configure(&format!("{OFFLINE}[build]\nlog-limit-mib = 1\n"));
    tree.spec(&Spec::data("flood").build("set +x\nyes flood"));
    tree.spec(&Spec::data("good"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&[
        "it was ended because it wrote more than 104857600 bytes of output",
        "in %build",
        "[package-failure]",
        "1 built, 1 failed",
    ]);
    let log = fs::metadata(tree.path(&format!("{LOG}/flood-1.0-1.mw1.src.rpm.log"))).unwrap().len();
    assert!(log <= (1 << 20) + 500, "{log}");
}
