//! The published repository, judged by dnf.

use std::process::Command;

use crate::spec::Spec;
use crate::tree::{Tree, files_below};

/// Lets dnf install `hello` into an empty root from nothing but the repositories of the tree, and runs it there.
fn install_and_run(tree: &Tree, root: &str) -> String {
    let mut dnf = Command::new("dnf");
    dnf.args([
        "--assumeyes",
        "--nogpgcheck",
        "--releasever=1",
        "--setopt=reposdir=",
        "--setopt=install_weak_deps=0",
    ]);
    dnf.arg(format!("--installroot={}", tree.path(root).display()));
    for (name, directory) in [("tree", "out/RPMS"), ("toolchain", "build/toolchain_rpms")] {
        dnf.arg(format!("--repofrompath={name},{}", tree.path(directory).display()))
            .arg(format!("--repo={name}"));
    }
    tree.run(dnf.args(["install", "hello"]).current_dir(tree.path(""))).exits(0);
    let ran = tree.run(Command::new("chroot").arg(tree.path(root)).arg("/usr/bin/hello"));
    ran.exits(0);
    ran.stdout
}

#[test]
fn dnf_installs_what_was_built_and_it_runs() {
    let Some(tree) = Tree::new("dnf") else { return };
    if !std::path::Path::new("/usr/bin/dnf").exists() {
        assert!(std::env::var_os("CI").is_none(), "dnf is missing");
        eprintln!("SKIPPED dnf: needs dnf");
        return;
    }
    tree.spec(&Spec::library("greet", "1", 7));
    tree.spec(&Spec::program("hello", "greet"));
    tree.millwright(&["build"]).exits(0);
    assert_eq!(install_and_run(&tree, "first-root"), "hello 7\n");
    // A library with another soname, and the program that was built again for it, take the place of both.
    tree.spec(&Spec::library("greet", "2", 8).version("2.0"));
    tree.millwright(&["build"]).exits(0).says(&["2 built"]);
    assert_eq!(files_below(&tree.path("out/RPMS/x86_64")).len(), 5);
    assert_eq!(install_and_run(&tree, "second-root"), "hello 8\n");
}
