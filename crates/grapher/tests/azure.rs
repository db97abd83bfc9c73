//! specs.json as specreader writes it, read back: the graph is the same up to what that file cannot say.

#![allow(clippy::unwrap_used, reason = "a failing test is the right place to panic")]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use grapher::{DependencyGraph, GraphDocument, GraphInput, NodeStates};
use rpm_model::{AzureSpecs, PackagesDocument, Requirement};
use specreader::{AzureLayout, DocumentFiles};

fn document(specs: &[serde_json::Value]) -> PackagesDocument {
    let document = serde_json::json!({
        "schema": PackagesDocument::SCHEMA, "arch": "x86_64", "macros": "0".repeat(64), "specs": specs,
        "bad": [{"name": "broken", "spec_path": "specs/broken/broken.spec", "line": 3, "message": "no"}],
    });
    serde_json::from_value(document).unwrap()
}

/// `app`, whose build and packages require this; `lib` has an epoch and two packages; `data` is for all.
fn specs(build: &[&str], run: &[&str]) -> Vec<serde_json::Value> {
    let spec = |name: &str, evr: &str, build: &[&str], packages: serde_json::Value| {
        let build: Vec<Requirement> = build.iter().map(|text| text.parse().unwrap()).collect();
        serde_json::json!({
            "name": name, "spec_path": format!("specs/{name}/{name}.spec"), "source": format!("{name}-{evr}.src"),
            "build_requires": build, "check_requires": build, "sources": [], "has_check": false,
            "packages": packages,
        })
    };
    let package = |name: &str, evr: &str, arch: &str, more: &[&str], requires: &[&str]| {
        let mut provides = vec![format!("{name} = {evr}")];
        provides.extend(more.iter().map(|provide| (*provide).to_owned()));
        serde_json::json!({"nevra": format!("{name}-{evr}.{arch}"), "provides": provides, "requires": requires})
    };
    vec![
        spec("app", "1-1", build, serde_json::json!([package("app", "1-1", "x86_64", &[], run)])),
        spec(
            "data",
            "3-1",
            &[],
            serde_json::json!([package("data", "3-1", "noarch", &["virtual(data)"], &[])]),
        ),
        spec(
            "lib",
            "2:1.5-4",
            &["data"],
            serde_json::json!([
                package("lib", "2:1.5-4", "x86_64", &[], &["/bin/sh"]),
                package("lib-devel", "2:1.5-4", "x86_64", &["pkgconfig(lib) = 1.5"], &["lib = 2:1.5-4"]),
            ]),
        ),
    ]
}

/// Writes both documents as specreader does, and returns the directory.
fn written(document: &PackagesDocument, run_check: bool) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let layout = AzureLayout {
        srpm_dir: "srpms".into(),
        rpm_dir: "rpms".into(),
        toolchain_rpms_dir: "toolchain".into(),
        toolchain_manifest: BTreeSet::from(["data-3-1.noarch.rpm".to_owned()]),
        run_check,
    };
    let files = DocumentFiles {
        packages: directory.path().join("packages.json"),
        specs: directory.path().join("specs.json"),
        layout,
        cache: directory.path().join("cache"),
    };
    files.write(document, None).unwrap();
    directory
}

fn graph(document: &PackagesDocument) -> GraphDocument {
    let input = GraphInput { document, external: &[], recorded: &[], run_check: false };
    DependencyGraph::new(&input).to_json(&NodeStates::new())
}

fn read_back(document: &PackagesDocument) -> PackagesDocument {
    let directory = written(document, false);
    let text = fs::read(directory.path().join("specs.json")).unwrap();
    serde_json::from_slice::<AzureSpecs>(&text).unwrap().to_packages().unwrap().document
}

#[test]
fn plain_requirements_give_the_same_graph() {
    let build = ["lib-devel >= 2:1.5", "lib-devel < 2:2", "pkgconfig(lib) = 1.5", "gone > 1"];
    let document = document(&specs(&build, &["virtual(data)", "lib", "missing(x)(64bit)"]));
    let read = read_back(&document);
    assert_eq!(graph(&read), graph(&document));
    assert!(!graph(&read).obstacles.is_empty(), "what is missing is missing in both");
    // Nothing that the graph asks for is lost, epochs included; what is lost is listed in the module's text.
    assert_eq!(read.specs.len(), 3);
    assert_eq!((read.arch.as_str(), &read.bad), ("x86_64", &document.bad));
    for (read, written) in read.specs.iter().zip(&document.specs) {
        assert_eq!(
            (&read.name, &read.source, &read.spec_path),
            (&written.name, &written.source, &written.spec_path)
        );
    }
}

#[test]
fn what_the_file_cannot_say_is_weaker_or_stronger_but_never_lost_in_silence() {
    let edges = |document: &PackagesDocument| -> BTreeSet<String> {
        let named = |edge: &grapher::GraphEdge| {
            let requirement = edge.requirement.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{} -> {} {requirement}", edge.from, edge.to)
        };
        graph(document).edges.iter().filter(|edge| *edge.from == *"build:app").map(named).collect()
    };
    let document =
        document(&specs(&["(lib or data)", "(gone if never)", "data > 1", "data >= 2", "data < 9"], &[]));
    let ours = edges(&document);
    let theirs = edges(&read_back(&document));
    // The alternative is gone, the condition is gone, and of three bounds two are left.
    let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join("\n");
    assert_eq!(
        list(&ours),
        "build:app -> run:data-3-1.noarch data < 9\n\
         build:app -> run:data-3-1.noarch data > 1\n\
         build:app -> run:data-3-1.noarch data >= 2\n\
         build:app -> run:lib-2:1.5-4.x86_64 (lib or data)"
    );
    assert_eq!(
        list(&theirs),
        "build:app -> run:data-3-1.noarch data > 1\n\
         build:app -> run:data-3-1.noarch data >= 2\n\
         build:app -> run:lib-2:1.5-4.x86_64 lib\n\
         build:app -> unresolved:gone gone"
    );
}

#[test]
fn the_program_takes_either_document_and_says_what_is_unknown() {
    let document = document(&specs(&["lib-devel"], &[]));
    let directory = written(&document, true);
    let ask = |input: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grapher"));
        let output = command
            .current_dir(directory.path())
            .args(["--input", input, "--needed-by", "lib"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (answer, notes) = ask("packages.json");
    assert_eq!(
        (answer.as_str(), notes.as_str()),
        ("lib is needed by 1 spec\n  app  BuildRequires: lib-devel\n", "")
    );
    let (same, notes) = ask("specs.json");
    assert_eq!(same, answer);
    assert!(
        notes.contains("specs.json: read as Azure's specs.json, which does not say: files, sources"),
        "{notes}"
    );
    assert!(notes.contains("made without tests"), "{notes}");
}
