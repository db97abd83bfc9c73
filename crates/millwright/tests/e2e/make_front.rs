//! `toolkit/Makefile`: each variable becomes its flag, each documented target a command that exists.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run::{Ended, start};
use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree, program_path, workspace};

/// Runs make on the toolkit with `program` in the place of millwright.
fn make(scratch: &Path, program: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new("make");
    command
        .arg("--silent")
        .arg("--directory")
        .arg(workspace().join("toolkit"))
        .arg(format!("MILLWRIGHT={program}"));
    // What a make around this test would pass on.
    command.args(arguments).env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    start(&mut command, &scratch.join("make")).wait()
}

/// Returns the words with which make calls millwright.
fn call(scratch: &Path, arguments: &[&str]) -> Vec<String> {
    let ended = make(scratch, "printf '%s\\n'", arguments);
    ended.exits(0);
    ended.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn variables_become_flags_that_millwright_knows() {
    let scratch = tempfile::tempdir().unwrap();
    let table: [(&str, &str); 40] = [
        ("SPECS_DIR=/s", "--specs-dir=/s"),
        ("BUILD_DIR=/b", "--build-dir=/b"),
        ("OUT_DIR=/o", "--out-dir=/o"),
        ("RPMS_DIR=/r", "--rpms-dir=/r"),
        ("SRPMS_DIR=/r", "--srpms-dir=/r"),
        ("BUILD_SRPMS_DIR=/r", "--build-srpms-dir=/r"),
        ("BUILD_SPECS_DIR=/r", "--build-specs-dir=/r"),
        ("PKGBUILD_DIR=/r", "--artifacts-dir=/r"),
        ("LOGS_DIR=/r", "--logs-dir=/r"),
        ("CHROOT_DIR=/r", "--work-dir=/r"),
        ("TOOLCHAIN_RPMS_DIR=/r", "--toolchain-rpms-dir=/r"),
        ("CACHED_RPMS_DIR=/r", "--cached-rpms-dir=/r"),
        ("CCACHE_DIR=/r", "--ccache-dir=/r"),
        ("CONFIG=/c.toml", "--config=/c.toml"),
        ("PACKAGE_BUILD_LIST=zlib jq", "--build-list=zlib jq"),
        ("PACKAGE_REBUILD_LIST= zlib ", "--rebuild-list=zlib"),
        ("PACKAGE_IGNORE_LIST=zlib", "--ignore-list=zlib"),
        ("SRPM_PACK_LIST=zlib jq", "--pack-list=zlib jq"),
        ("SRPM_FILE_SIGNATURE_HANDLING=update", "--signature-handling=update"),
        (
            "SOURCE_URL=https://a.invalid https://b.invalid",
            "--source-url=https://a.invalid https://b.invalid",
        ),
        ("CA_CERT=/ca.pem", "--ca-cert=/ca.pem"),
        ("RUN_CHECK=y", "--run-check=true"),
        ("RUN_CHECK=n", "--run-check=false"),
        ("TEST_RUN_LIST=zlib jq", "--test-run-list=zlib jq"),
        ("TEST_RERUN_LIST=zlib", "--test-rerun-list=zlib"),
        ("TEST_IGNORE_LIST=zlib", "--test-ignore-list=zlib"),
        ("CONCURRENT_PACKAGE_BUILDS=4", "--workers=4"),
        ("MAX_CPU=2", "--max-cpu=2"),
        ("PACKAGE_BUILD_RETRIES=3", "--retries=3"),
        ("PACKAGE_BUILD_TIMEOUT=2h", "--timeout=2h"),
        ("CLEANUP_PACKAGE_BUILDS=n", "--clean=never"),
        ("CLEANUP_PACKAGE_BUILDS=y", "--clean=always"),
        ("STOP_ON_PKG_FAIL=y", "--stop-on-failure=true"),
        ("USE_CCACHE=y", "--use-ccache=true"),
        ("CCACHE_CONFIG=/c.json", "--ccache-config=/c.json"),
        ("DIST_TAG=.azl3", "--dist-tag=.azl3"),
        ("RELEASE_VERSION=3.0", "--release-version=3.0"),
        ("REPO_LIST=/a.repo", "--repo-file=/a.repo"),
        ("DISABLE_UPSTREAM_REPOS=y", "--disable-upstream-repos=true"),
        ("DISABLE_DEFAULT_REPOS=y", "--disable-default-repos=true"),
    ];
    assert_eq!(call(scratch.path(), &["build-packages"]), ["build"]);
    let millwright = program_path("millwright");
    for (variable, flag) in table {
        assert_eq!(call(scratch.path(), &["build-packages", variable]), ["build", flag], "{variable}");
        // With `--help` behind it a command line is parsed and nothing is done.
        let parsed =
            start(Command::new(&millwright).args(["build", flag, "--help"]), &scratch.path().join("help"));
        parsed.wait().exits(0);
    }
    let fetching = [
        (&["PACKAGE_CACHE_SUMMARY=/s.json"][..], &["--summary=/s.json"][..]),
        (&["REPO_SNAPSHOT_TIME=17"], &["--snapshot-time=17"]),
        (&["PRECACHE=n", "PRECACHER_SNAPSHOT=/p.json"], &[]),
        (&["PRECACHE=y", "PRECACHER_SNAPSHOT=/p.json"], &["--precache=/p.json"]),
        (&["PRECACHE=y", "OUT_DIR=/o"], &["--out-dir=/o", "--precache=/o/rpms_snapshot.json"]),
        (&["REPO_LIST=/a.repo /b.repo"], &["--repo-file=/a.repo", "--repo-file=/b.repo"]),
    ];
    for (variables, flags) in fetching {
        let called = call(scratch.path(), &[&["graph-cache"], variables].concat());
        assert_eq!(called, [&["fetch"], flags].concat(), "{variables:?}");
        let mut command = Command::new(&millwright);
        start(command.args(&called).arg("--help"), &scratch.path().join("help")).wait().exits(0);
    }
    let fetching = fetching.iter().flat_map(|(variables, _)| variables.iter());
    let table = table.iter().map(|(variable, _)| variable).chain(fetching);
    let known: Vec<&str> = table.filter_map(|variable| variable.split('=').next()).collect();
    for variable in documented(scratch.path(), "Variables").iter().flat_map(|line| line.split(", ")) {
        let tested = known.contains(&variable) || ["TLS_CERT", "TLS_KEY", "BUILD_NUMBER"].contains(&variable);
        assert!(tested, "{variable} is documented but not in the table");
    }
}

/// Returns the first column of one part of `make help`.
fn documented(scratch: &Path, heading: &str) -> Vec<String> {
    let help = make(scratch, "false", &["help"]);
    help.exits(0);
    let lines = help.stdout.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    let column = |line: &str| line.trim().split("  ").next().unwrap_or_default().to_owned();
    lines.take_while(|line| line.starts_with("  ")).map(column).collect()
}

#[test]
fn targets_are_commands_that_millwright_knows() {
    let scratch = tempfile::tempdir().unwrap();
    let table = [
        ("build-packages", "build"),
        ("plan", "plan"),
        ("toolchain", "toolchain"),
        ("chroot-tools", "worker --export=worker_chroot.tar.gz"),
        ("input-srpms", "pack"),
        ("expand-specs", "expand"),
        ("parse-specs", "read"),
        ("graph", "graph"),
        ("workplan", "graph"),
        ("graph-cache", "fetch"),
        ("clean", "clean all"),
        ("clean-build-packages", "clean build-packages"),
        ("clean-build-packages-workers", "clean build-packages-workers"),
        ("clean-cache", "clean cache"),
        ("clean-ccache", "clean ccache"),
        ("clean-chroot-tools", "clean chroot-tools"),
        ("clean-expand-specs", "clean expand-specs"),
        ("clean-input-srpms", "clean input-srpms"),
        ("clean-spec-parse", "clean spec-parse"),
        ("clean-toolchain", "clean toolchain"),
        ("clean-toolchain-rpms", "clean toolchain-rpms"),
        ("clean-workplan", "clean workplan"),
    ];
    for (target, words) in table {
        let called = call(scratch.path(), &[target]);
        assert_eq!(called.join(" "), words, "{target}");
        let mut command = Command::new(program_path("millwright"));
        start(command.args(&called).arg("--help"), &scratch.path().join("help")).wait().exits(0);
    }
    let called = call(scratch.path(), &["pre-cache", "PRECACHE=y", "PRECACHER_SNAPSHOT=/p.json"]);
    assert_eq!(called, ["fetch", "--precache=/p.json"]);
    for target in documented(scratch.path(), "Targets") {
        assert!(
            ["help", "pre-cache"].contains(&target.as_str())
                || table.iter().any(|(known, _)| *known == target),
            "{target}"
        );
    }
    make(scratch.path(), "false", &["build-pakages"]).exits(2).says(&["build-pakages"]);
    // make passes a failure on.
    make(scratch.path(), "false", &["build-packages"]).exits(2);
}

#[test]
fn make_builds_packages() {
    let Some(tree) = Tree::new("make") else { return };
    tree.configure(&format!("{OFFLINE}[distribution]\nrelease-version = \"3.0\"\n"));
    tree.spec(&Spec::data("good").install(
        "echo %{distro_release_version} %{distro_build_number} > %{buildroot}/usr/share/good/version",
    ));
    tree.spec(&Spec::data("other"));
    let variable = |name: &str, path: &str| format!("{name}={}", tree.path(path).display());
    let variables = [
        variable("CONFIG", "configs/millwright.toml"),
        variable("SPECS_DIR", "SPECS"),
        variable("BUILD_DIR", "build"),
        variable("OUT_DIR", "out"),
        "PACKAGE_BUILD_LIST=good".to_owned(),
        "DIST_TAG=.azl3".to_owned(),
        "BUILD_NUMBER=42".to_owned(),
    ];
    let program = program_path("millwright").to_string_lossy().into_owned();
    let mut arguments = vec!["build-packages"];
    arguments.extend(variables.iter().map(String::as_str));
    make(&tree.path(""), &program, &arguments).exits(0).says(&["1 built"]);
    tree.assert_clean();
    assert_eq!(tree.published().keys().collect::<Vec<_>>(), ["noarch/good-1.0-1.azl3.noarch.rpm"]);
    make(&tree.path(""), &program, &arguments).exits(0).says(&["nothing to do"]);
    let state = fs::read_to_string(tree.path("build/pkg_artifacts/build_state.csv")).unwrap();
    assert_eq!(state, "Package,State,Blocker,IsTest\ngood,Built,,0\n");
    // A clean target removes its part of this build directory and nothing else.
    arguments[0] = "clean-input-srpms";
    arguments.retain(|argument| !argument.starts_with("PACKAGE_BUILD_LIST"));
    make(&tree.path(""), &program, &arguments).exits(0);
    assert!(!tree.path("build/INTERMEDIATE_SRPMS").exists() && tree.path("build/records").exists());
}
