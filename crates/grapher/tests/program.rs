//! The program: what it writes, what it says, how it exits.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says when it was skipped"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

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
                "has_check": false,
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

    /// Asks the graph of the tree alone.
    fn ask(&self, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grapher"));
        command.current_dir(self.directory.path()).args(["--input", "packages.json", "-q"]).args(more);
        command.output().unwrap()
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
    fs::write(place.path("packages.json"), "{\"specs\": []}").unwrap();
    check(&place.run(&[]), 2, "", &["packages.json", "help: give the packages.json that specreader writes"]);
    fs::write(place.path("packages.json"), "{\"Repo\": [{}]}").unwrap();
    check(&place.run(&[]), 2, "", &["packages.json", "missing field", "help: give the packages.json"]);
    let place = Place::new(&[("app", &[])]);
    fs::remove_dir(place.path("toolchain")).unwrap();
    check(&place.run(&[]), 2, "", &["toolchain is not a directory"]);
}

/// `app` is built with `lib`, `lib` with `make`, which needs itself; `lost` with what does not exist.
fn busy() -> Place {
    Place::new(&[
        ("app", &["lib", "make"]),
        ("lib", &["make >= 1"]),
        ("lost", &["nothing"]),
        ("make", &["make"]),
    ])
}

#[test]
fn questions_are_answered_in_words() {
    let place = busy();
    let cases: [(&[&str], i32, &str); 11] = [
        (
            &["--depends-on", "app"],
            0,
            "app depends on 2 specs\n  lib   BuildRequires: lib\n  make  BuildRequires: make\n",
        ),
        (
            &["--needed-by", "make", "--depth", "0"],
            0,
            "make is needed by 2 specs\n  app  BuildRequires: make\n  lib  BuildRequires: make >= 1\n",
        ),
        (
            &["lost"],
            0,
            "lost depends on no spec\n  nothing for `nothing`  BuildRequires: nothing\n\nlost is needed by no spec\n",
        ),
        (
            &["--path", "app", "make"],
            0,
            "the build of app needs make\n  app (build)\n    BuildRequires: make\n  make-1-1.x86_64\n",
        ),
        (
            &["--path", "make", "app"],
            1,
            "make does not need app; it is the other way round\n  app (build)\n    BuildRequires: make\n  make-1-1.x86_64\n",
        ),
        (&["--path", "app", "lost"], 1, "neither does app need lost, nor the other way round\n"),
        (
            &["--impact", "lib"],
            0,
            "a change of lib rebuilds at most 1 spec besides, of 4, in 1 layer\n\nlayer 1 (1 spec)\n  app\n",
        ),
        (
            &["--cycles"],
            1,
            "1 build cycle that nothing older breaks\n\n  make → make\n    not broken: nothing older serves\n      make requires `make` (make-1-1.x86_64)\n",
        ),
        (
            &["--provider", "lib >= 1"],
            0,
            "lib >= 1\n  lib-1-1.x86_64 (tree, its spec declares it) provides `lib = 1-1`; chosen: nothing else that fits provides it\nasked for by\n  app requires `lib`: lib-1-1.x86_64; nothing else that fits provides it\n",
        ),
        (
            &["--provider", "lost = 2"],
            1,
            "lost = 2\n  lost-1-1.x86_64 (tree, its spec declares it) provides `lost = 1-1`; refused: the version does not fit\n",
        ),
        (
            &["--unresolvable"],
            1,
            "1 requirement that nothing provides\n\n  nothing\n    nothing provides `nothing`\n    BuildRequires of: lost\n",
        ),
    ];
    for (question, code, text) in cases {
        let output = place.ask(question);
        assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{question:?}");
        check(&output, code, text, &[]);
    }
    let far = place.ask(&["--needed-by", "make", "--depth", "1", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&far.stdout).unwrap();
    assert_eq!(json["answer"], "relations");
    assert_eq!(json["levels"][0][1]["reasons"][0]["requirement"], "make >= 1");
    assert!(!place.path("out").exists(), "a question writes no graph");
}

#[test]
fn unknown_names_are_told_with_similar_ones_and_one_thing_is_asked_at_a_time() {
    let place = busy();
    let unknown = "no spec or package is called `apq`; did you mean app?";
    for question in [&["--depends-on", "apq"][..], &["apq"], &["--path", "apq", "lib"], &["--impact", "apq"]]
    {
        check(&place.ask(question), 2, "", &[unknown]);
    }
    let both =
        ["no spec or package is called `apq`", "no spec or package is called `libb`; did you mean lib?"];
    check(&place.ask(&["--path", "apq", "libb"]), 2, "", &both);
    check(&place.ask(&["app", "--cycles"]), 2, "", &["help: ask one thing at a time"]);
    check(&place.ask(&["--provider", "lib >="]), 2, "", &["expected `name` or `name operator version`"]);
    check(&place.ask(&["--cycles", "--unresolvable"]), 2, "", &["cannot be used with"]);
    check(&place.ask(&["--impact", "lib", "--format", "svg"]), 2, "", &["help: `--format text` or"]);
}

#[test]
fn the_ending_of_the_output_file_decides_the_form() {
    let place = busy();
    for (file, start) in [
        ("app.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\""),
        ("app.dot", "strict digraph dependency_graph {"),
        ("deep/app.json", "{\n  \"answer\": \"neighbourhood\""),
        ("app.txt", "app depends on 2 specs\n"),
    ] {
        check(&place.ask(&["app", "--output", file]), 0, "", &[]);
        let text = fs::read_to_string(place.path(file)).unwrap();
        assert!(text.starts_with(start), "{file}: {text}");
    }
    let dot = place.ask(&["--format", "dot"]);
    assert!(String::from_utf8_lossy(&dot.stdout).contains("TYPE=Run"), "the whole graph has packages");
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let place = busy();
    let mut child = Command::new(env!("CARGO_BIN_EXE_grapher"))
        .current_dir(place.directory.path())
        .args(["--input", "packages.json", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    check(&output, 0, "", &[]);
}

#[test]
fn the_whole_graph_is_drawn_by_graphviz_or_there_is_advice() {
    let place = busy();
    let without = Command::new(env!("CARGO_BIN_EXE_grapher"))
        .current_dir(place.directory.path())
        .env("PATH", place.directory.path())
        .args(["--input", "packages.json", "--format", "svg"])
        .output()
        .unwrap();
    check(&without, 3, "", &["no program `dot`", "help: install it (Debian: `apt-get install graphviz`)"]);
    if !PathBuf::from("/usr/bin/dot").exists() {
        assert!(std::env::var_os("CI").is_none(), "Graphviz is missing");
        eprintln!("SKIPPED the rest: Graphviz is missing");
        return;
    }
    let svg = place.ask(&["--format", "svg"]);
    let text = String::from_utf8_lossy(&svg.stdout);
    assert_eq!(svg.status.code(), Some(0));
    assert!(text.contains("<svg") && text.contains("lib&#45;1&#45;1&#45;BUILD"), "{text}");
}

#[test]
fn flags_of_the_azure_toolkit_are_honoured_or_explained() {
    let place = busy();
    let output = place.run(&[
        "--output-dir",
        "cache",
        "--rpm-dir",
        "toolchain",
        "--tmp-dir",
        "tmp",
        "--tdnf-worker",
        "worker.tar.gz",
        "--repo-file",
        "a.repo",
        "--repo-file",
        "b.repo",
        "--strict-goals",
        "--resolve-cycles-from-upstream",
        "--ignore-version-to-resolve-selfdep",
        "--goals",
        "lib",
    ]);
    // `make`, which `lib` needs, needs itself.
    check(
        &output,
        1,
        "0 make (cannot be built):\n1 lib (cannot be built): make\n",
        &[
            "--output-dir: nothing is downloaded",
            "--tmp-dir: no temporary files",
            "--tdnf-worker: no tdnf",
            "--repo-file: repositories are not asked here",
            "--strict-goals: a goal that does not exist is always an error",
            "--resolve-cycles-from-upstream: packages of",
            "--ignore-version-to-resolve-selfdep: the version",
        ],
    );
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.matches("--repo-file:").count(), 1, "{text}");
    assert!(place.path("out/graph.dot").is_file());
}

#[test]
fn the_report_names_root_causes() {
    let place = Place::new(&[("jq", &["oniguruma"]), ("oniguruma", &["nowhere"])]);
    let text = "0 of 2 specs can be built, 2 blocked by 1 cause

blocked, by what blocks most:
    2  nothing provides `nowhere`
       stated by oniguruma
       blocks jq, oniguruma

unresolvable: 1 requirement, hindering builds: 1
  nothing provides it (1):
    `nowhere` for building oniguruma
";
    check(&place.run(&["--report"]), 1, text, &["not everything can be built"]);
}
