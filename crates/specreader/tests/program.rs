//! The program: what it writes, what it says, how it exits. Uses the rpm of this host.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failing test may panic, a skipped one says so"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rpm_model::{AzureSpecs, PackagesDocument};

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        if Command::new("rpmspec").arg("--version").output().is_err() {
            eprintln!("SKIPPED: no rpm on this host");
            return None;
        }
        Some(Self { directory: tempfile::tempdir().unwrap() })
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
        fs::write(self.path(file), text).unwrap();
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_specreader"));
        command
            .current_dir(self.directory.path())
            .args([
                "--dir",
                "specs",
                "--output",
                "out/specs.json",
                "--srpm-dir",
                "srpms",
                "--rpm-dir",
                "rpms",
            ])
            .args(["--toolchain-rpms-dir", "toolchain", "--dist-tag", ".t1", "--target-arch", "x86_64"])
            .args(more);
        command
    }
}

fn spec(name: &str) -> String {
    format!(
        "Name: {name}\nVersion: 1\nRelease: 1%{{?dist}}\nSummary: x\nLicense: MIT\n%description\nx\n%files\n"
    )
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn check(output: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

#[test]
fn both_documents_are_written_and_left_alone_when_nothing_changed() {
    let Some(place) = Place::new() else { return };
    place.write("specs/a/a.spec", &spec("a"));
    check(&place.run(&[]), 0, &["1 spec (1 read, 0 bad)", "without a sandbox"]);
    let packages: PackagesDocument = read(&place.path("out/packages.json"));
    assert_eq!(packages.specs[0].source.to_string(), "a-1-1.t1.src");
    let azure: AzureSpecs = read(&place.path("out/specs.json"));
    assert_eq!(azure.repo[0].srpm_path, "srpms/a-1-1.t1.src.rpm");
    let stamp = |file| fs::metadata(place.path(file)).unwrap().modified().unwrap();
    let before = (stamp("out/packages.json"), stamp("out/specs.json"));
    check(&place.run(&[]), 0, &["1 spec (0 read, 0 bad)"]);
    assert_eq!((stamp("out/packages.json"), stamp("out/specs.json")), before);
}

#[test]
fn bad_specs_are_told_and_the_good_ones_written() {
    let Some(place) = Place::new() else { return };
    place.write("specs/a/a.spec", &spec("a"));
    place.write("specs/b/b.spec", "Name: b\nNonsense\n");
    check(&place.run(&["--quiet"]), 1, &["1 spec cannot be read", "specs/b/b.spec:2: Unknown tag"]);
    let packages: PackagesDocument = read(&place.path("out/packages.json"));
    assert_eq!((packages.specs.len(), packages.bad.len()), (1, 1));
    let azure: AzureSpecs = read(&place.path("out/specs.json"));
    assert_eq!((azure.bad[0].spec_path.as_str(), azure.bad[0].line), ("specs/b/b.spec", Some(2)));
    // Nothing is read, and the bad one is told all the same.
    check(&place.run(&["--quiet"]), 1, &["1 spec cannot be read", "specs/b/b.spec:2: Unknown tag"]);
}

#[test]
fn names_must_mean_exactly_one_spec() {
    let Some(place) = Place::new() else { return };
    place.write("specs/a/a.spec", &spec("a"));
    place.write("specs/b/b.spec", &spec("b"));
    check(&place.run(&["--spec-list", "a c d"]), 2, &["no spec below specs is called c or d"]);
    check(&place.run(&["--spec-list", "b"]), 0, &["1 spec"]);
    place.write("specs/old/a.spec", &spec("a"));
    check(&place.run(&[]), 2, &["two specs are called a: specs/a/a.spec and specs/old/a.spec"]);
    fs::remove_dir_all(place.path("specs/old")).unwrap();
    check(
        &place.run(&["--worker-tar", "specs/b/b.spec"]),
        2,
        &["is no worker manifest", "help: give the worker.json"],
    );
    fs::remove_dir_all(place.path("specs")).unwrap();
    check(&place.run(&[]), 2, &["specs", "No such file"]);
}

#[test]
fn a_program_that_is_killed_leaves_a_cache_that_can_be_used() {
    let Some(place) = Place::new() else { return };
    for number in 0..8 {
        place.write(&format!("specs/s{number}/s{number}.spec"), &spec(&format!("s{number}")));
    }
    for round in 0..8u64 {
        place.write("specs/s0/s0.spec", &spec(&format!("round{round}")));
        let mut running = place.command(&[]).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(round * 60));
        running.kill().unwrap();
        running.wait().unwrap();
        check(&place.run(&[]), 0, &["8 specs"]);
        let packages: PackagesDocument = read(&place.path("out/packages.json"));
        let names: Vec<&str> = packages.specs.iter().map(|spec| spec.source.name.as_str()).collect();
        assert_eq!(names[0], format!("round{round}"));
        assert_eq!(names[1..], ["s1", "s2", "s3", "s4", "s5", "s6", "s7"]);
    }
    check(&place.run(&[]), 0, &["8 specs (0 read, 0 bad)"]);
}
