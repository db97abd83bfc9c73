//! The program: what it writes, what it says, how it exits.

#![allow(clippy::unwrap_used, reason = "a failing test is the right place to panic")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use grapher::GraphDocument;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// A place whose tree has these specs: name and build requirements.
    fn new(specs: &[(&str, &[&str])]) -> Self {
        let spec = |(name, requires): &(&str, &[&str])| {
            serde_json::json!({
                "name": name, "spec_path": format!("{name}.spec"), "source": format!("{name}-1-1.src"),
                "build_requires": requires, "check_requires": requires, "sources": [],
                "has_check": false, "generates_build_requires": false,
                "packages": [{
                    "nevra": format!("{name}-1-1.x86_64"), "provides": [format!("{name} = 1-1")], "requires": [],
                }],
            })
        };
        let specs: Vec<serde_json::Value> = specs.iter().map(spec).collect();
        let document = serde_json::json!({
            "schema": rpm_model::PackagesDocument::SCHEMA, "arch": "x86_64", "macros": "0".repeat(64), "specs": specs, "bad": [],
        });
        let place = Self { directory: tempfile::tempdir().unwrap() };
        fs::write(place.path("packages.json"), document.to_string()).unwrap();
        fs::create_dir(place.path("toolchain")).unwrap();
        place
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn run(&self, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_grapher"))
            .current_dir(self.directory.path())
            .args([
                "--input",
                "packages.json",
                "--output",
                "out/graph.dot",
                "--toolchain-rpms-dir",
                "toolchain",
            ])
            .args(more)
            .output()
            .unwrap()
    }
}

fn check(output: &Output, code: i32, stdout: &str, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

#[test]
fn the_order_is_printed_and_the_graph_written() {
    let place = Place::new(&[("app", &["lib"]), ("lib", &[]), ("other", &[])]);
    check(&place.run(&[]), 0, "0 lib:\n0 other:\n1 app: lib\n", &[]);
    let document: GraphDocument =
        serde_json::from_slice(&fs::read(place.path("out/graph.json")).unwrap()).unwrap();
    assert_eq!(document.nodes.len(), 7);
    assert_eq!(fs::read_to_string(place.path("out/graph.dot")).unwrap(), document.to_dot());
    check(&place.run(&["--goals", "app"]), 0, "0 lib:\n1 app: lib\n", &[]);
    check(&place.run(&["--goals", "lib", "--extra-layers", "1", "--quiet"]), 0, "", &[]);
}

#[test]
fn what_stands_in_the_way_is_told_once_with_who_is_blocked() {
    let place = Place::new(&[("app", &["lib"]), ("lib", &["nothing"]), ("tool", &["app"]), ("free", &[])]);
    let words = ["lib requires `nothing`: nothing provides `nothing`", "blocked by these: app tool"];
    check(&place.run(&["-q"]), 1, "", &words);
    check(&place.run(&["-q", "--goals", "free"]), 0, "", &[]);
    check(&place.run(&["-q", "--goals", "free", "--strict-unresolved"]), 1, "", &words[..1]);
}

#[test]
fn wrong_input_is_a_usage_error_with_advice() {
    let place = Place::new(&[("app", &[])]);
    check(&place.run(&["--goals", "ap"]), 2, "", &["no spec or package is called `ap`; did you mean app?"]);
    fs::write(place.path("packages.json"), "{\"Repo\": []}").unwrap();
    check(&place.run(&[]), 2, "", &["packages.json", "help: give the packages.json that specreader writes"]);
    let place = Place::new(&[("app", &[])]);
    fs::remove_dir(place.path("toolchain")).unwrap();
    check(&place.run(&[]), 2, "", &["toolchain is not a directory"]);
}
