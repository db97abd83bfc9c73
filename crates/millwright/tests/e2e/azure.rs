//! `pkgworker` by the flags of the Azure toolkit, as its own scheduler would call it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::run::Ended;
use crate::spec::Spec;
use crate::tree::{Tree, files_below};

/// The flags without which it does not start, each with a value; paths are relative to the tree.
const REQUIRED: [(&str, &str); 13] = [
    ("--srpm-file", "build/INTERMEDIATE_SRPMS/x86_64/hello-1.0-1.mw1.src.rpm"),
    ("--work-dir", "worker"),
    ("--worker-tar", "build/worker/worker.json"),
    ("--repo-file", "local.repo"),
    ("--rpm-dir", "rpms"),
    ("--srpm-dir", "srpms"),
    ("--toolchain-rpms-dir", "build/toolchain_rpms"),
    ("--cache-dir", "cache"),
    ("--base-package-name", "hello"),
    ("--dist-tag", ".mw1"),
    ("--distro-release-version", "3.0"),
    ("--distro-build-number", "42"),
    ("--timeout", "5m"),
];

/// Prints what the flags decide; `cc` is what compiles through ccache when that is used.
const SHOW: &str = "echo jobs:%{?_smp_mflags} mine:%{?mine} version:%{distro_release_version} number:%{distro_build_number}\n\
                    ls /usr/share\n\
                    echo 'int main(void) { return 0; }' > main.c\n\
                    cc -c main.c\n\
                    if test -n \"$CCACHE_DIR\"; then ccache --print-stats; fi";

/// A tree with the SRPM of `hello`, packed but not built.
fn packed_tree(test: &str, spec: &Spec) -> Option<Tree> {
    let tree = Tree::new(test)?;
    tree.spec(spec);
    // What the Azure toolkit writes: its chroot's own places, which the directory flags stand for.
    tree.file("local.repo", "[local]\nname=local\nbaseurl=file:///localrpms\nenabled=1\n");
    tree.millwright(&["pack"]).exits(0);
    Some(tree)
}

fn hello() -> Spec {
    Spec::data("hello").needs("gcc").build(SHOW).check("echo checking")
}

/// Returns `pkgworker` with all required flags but `without`; unpacked packages are shared with other tests.
fn pkgworker(tree: &Tree, without: &str) -> Command {
    let mut command = tree.command("pkgworker", &["--layers", "build/cache/layers"]);
    for (flag, value) in REQUIRED.iter().filter(|(flag, _)| *flag != without) {
        command.args([flag, value]);
    }
    command
}

/// Runs `pkgworker` with further flags.
fn run(tree: &Tree, more: &[&str]) -> Ended {
    let overridden = more.first().copied().unwrap_or_default();
    let ended = tree.run(pkgworker(tree, overridden).args(more));
    tree.assert_nothing_runs();
    ended
}

/// Returns the directories of jobs that are left in the work directory.
fn job_directories(tree: &Tree) -> Vec<PathBuf> {
    let entries = fs::read_dir(tree.path("worker")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.join("build").is_dir()).collect();
    found.sort();
    found
}

#[test]
fn standard_output_is_one_line_of_file_names() {
    let Some(tree) = packed_tree("azure-contract", &Spec::library("hello", "1", 7)) else { return };
    let ended = run(&tree, &[]);
    ended.exits(0);
    let names =
        "hello-1.0-1.mw1.x86_64.rpm,hello-debuginfo-1.0-1.mw1.x86_64.rpm,hello-devel-1.0-1.mw1.x86_64.rpm";
    assert_eq!(ended.stdout, format!("{names}\n"), "{}", ended.text());
    for name in names.split(',') {
        let path = tree.path("rpms/x86_64").join(name);
        repository::read_package(&path, rpm_model::PackageOrigin::Tree).unwrap();
    }
    assert_eq!(files_below(&tree.path("rpms")).len(), 3);
    assert_eq!(files_below(&tree.path("srpms")), [tree.path("srpms/hello-1.0-1.mw1.src.rpm")]);
    assert!(tree.read("worker/hello-1.0-1.mw1.src.rpm.log").contains("Wrote:"));
    assert!(job_directories(&tree).is_empty());
}

#[test]
fn each_required_flag_is_required() {
    let Some(tree) = Tree::new("azure-required") else { return };
    for (flag, _) in REQUIRED {
        let ended = tree.run(&mut pkgworker(&tree, flag));
        ended.exits(2).says(&[flag]);
        assert_eq!(ended.stdout, "", "{flag}");
    }
    let ended = run(&tree, &["--timeout", "soon"]);
    ended.exits(2).says(&["--timeout", "soon"]);
}

#[test]
fn a_package_that_fails_prints_no_name_and_leaves_no_file() {
    let Some(tree) = packed_tree("azure-failing", &hello().build("echo 'main.c:1: error: boom'\nexit 1"))
    else {
        return;
    };
    let ended = run(&tree, &[]);
    ended.exits(1).says(&[
        "%build failed",
        "main.c:1: error: boom",
        "worker/hello-1.0-1.mw1.src.rpm.log",
        "help: ",
    ]);
    assert_eq!(ended.stdout, "");
    assert!(files_below(&tree.path("rpms")).is_empty() && files_below(&tree.path("srpms")).is_empty());
    let ended = run(&tree, &["--timeout", "1ms"]);
    ended.exits(1).says(&["time limit"]);
    assert!(job_directories(&tree).is_empty());
}

#[test]
fn optional_flags_do_what_they_say() {
    let Some(tree) = packed_tree("azure-optional", &hello()) else { return };
    tree.file("macros", "%mine from-the-file\n");
    let log = || tree.read("worker/hello-1.0-1.mw1.src.rpm.log");

    run(&tree, &[]).exits(0);
    assert!(
        log().contains("jobs:-j1 mine: version:3.0 number:42") && !log().contains("checking"),
        "{}",
        log()
    );

    run(&tree, &["--run-check", "--max-cpu=3", "--rpmmacros-file=macros", "--log-level=warn"]).exits(0);
    assert!(log().contains("jobs:-j3 mine:from-the-file") && log().contains("checking"), "{}", log());

    run(&tree, &["--log-file=logs/other.log"]).exits(0);
    assert!(tree.read("logs/other.log").contains("jobs:-j1"));

    run(&tree, &["--no-cleanup"]).exits(0);
    assert_eq!(job_directories(&tree), [tree.path("worker/hello-1.0-1.mw1")]);
    assert!(tree.path("worker/hello-1.0-1.mw1/build/BUILD/hello-1.0/main.o").is_file());

    run(&tree, &["--run-check", "--max-cpu=0"]).exits(2).says(&["--max-cpu"]);
    run(&tree, &["--use-ccache"]).exits(2).says(&["--ccache-root-dir"]);
}

#[test]
fn packages_come_from_all_the_places_that_are_named() {
    let spec = hello().needs("from-cache").needs("from-repository");
    let Some(tree) = packed_tree("azure-places", &spec) else { return };
    run(&tree, &[]).exits(1).says(&["from-cache"]);
    // Three packages, each to be found in another place.
    for name in ["from-cache", "from-repository", "asked-for"] {
        tree.spec(&Spec::data(name));
    }
    tree.millwright(&["build", "from-cache", "from-repository", "asked-for"]).exits(0);
    let file = |name: &str| format!("{name}-1.0-1.mw1.noarch.rpm");
    for (name, place) in [("from-cache", "cache"), ("from-repository", "more")] {
        fs::create_dir_all(tree.path(place)).unwrap();
        fs::rename(tree.path("out/RPMS/noarch").join(file(name)), tree.path(place).join(file(name))).unwrap();
    }
    tree.file("more.repo", &format!("[more]\nname=more\nbaseurl=file://{}\n", tree.path("more").display()));
    let asked_for = format!("out/RPMS/noarch/{}", file("asked-for"));
    run(&tree, &["--repo-file=more.repo"]).exits(0);
    let log = || tree.read("worker/hello-1.0-1.mw1.src.rpm.log");
    let has = |name: &str| log().lines().any(|line| line == name);
    assert!(has("from-cache") && has("from-repository") && !has("asked-for"), "{}", log());
    run(&tree, &["--repo-file=more.repo", "--install-package", &asked_for]).exits(0);
    assert!(has("asked-for"), "{}", log());
    tree.file("remote.repo", "[remote]\nbaseurl=https://packages.invalid/x\n");
    run(&tree, &["--repo-file=remote.repo"]).exits(2).says(&["remote.repo", "https://packages.invalid/x"]);
}

#[test]
fn packages_can_be_made_for_another_architecture() {
    // Nothing is compiled: the name of the architecture is all that differs.
    let spec = Spec::data("hello").for_one_architecture().tag("%global debug_package %{nil}");
    let Some(tree) = packed_tree("azure-arch", &spec) else { return };
    let ended = run(&tree, &["--out-arch=aarch64"]);
    ended.exits(0);
    assert_eq!(ended.stdout, "hello-1.0-1.mw1.aarch64.rpm\n");
    assert_eq!(files_below(&tree.path("rpms")), [tree.path("rpms/aarch64/hello-1.0-1.mw1.aarch64.rpm")]);
}

#[test]
fn a_second_build_with_ccache_hits() {
    let Some(tree) = packed_tree("azure-ccache", &hello()) else { return };
    tree.file("ccache.conf", "max_size = 50M\n");
    let statistics = |key: &str| {
        let log = tree.read("worker/hello-1.0-1.mw1.src.rpm.log");
        let value = log.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u32>().ok());
        value.unwrap_or_else(|| panic!("{log}"))
    };
    let flags = ["--use-ccache", "--ccache-root-dir=ccache", "--ccache-config=ccache.conf"];
    run(&tree, &flags).exits(0);
    assert_eq!((statistics("cache_miss"), statistics("direct_cache_hit")), (1, 0));
    let first = fs::read(tree.path("rpms/noarch/hello-1.0-1.mw1.noarch.rpm")).unwrap();
    run(&tree, &flags).exits(0);
    assert_eq!((statistics("cache_miss"), statistics("direct_cache_hit")), (1, 1));
    assert_eq!(fs::read(tree.path("rpms/noarch/hello-1.0-1.mw1.noarch.rpm")).unwrap(), first);
}

#[test]
fn a_worker_archive_builds_and_one_that_is_cut_short_is_refused() {
    let Some(tree) = packed_tree("azure-archive", &Spec::data("hello")) else { return };
    tree.millwright(&["worker", "--export=worker_chroot.tar.zst"]).exits(0);
    let whole = fs::read(tree.path("build/worker/worker_chroot.tar.zst")).unwrap();
    for (name, length) in
        [("empty", 0), ("begun", 1000), ("half", whole.len() / 2), ("almost", whole.len() - 100)]
    {
        let file = format!("{name}.tar.zst");
        fs::write(tree.path(&file), &whole[..length]).unwrap();
        let ended = run(&tree, &["--worker-tar", &file]);
        ended.exits(3).says(&[&file, "is no complete archive", "help: "]);
        assert_eq!(ended.stdout, "");
        assert!(files_below(&tree.path("rpms")).is_empty() && job_directories(&tree).is_empty(), "{name}");
    }
    let ended = run(&tree, &["--worker-tar", "build/worker/worker_chroot.tar.zst"]);
    ended.exits(0);
    assert_eq!(ended.stdout, "hello-1.0-1.mw1.noarch.rpm\n");
    run(&tree, &["--worker-tar", "nowhere.tar.zst"]).exits(3).says(&["nowhere.tar.zst"]);
}
