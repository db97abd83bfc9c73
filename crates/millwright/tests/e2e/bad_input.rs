//! What bad input gets: one clear message that names the file, what was expected and what to do; the right
//! exit code; and everything that does not depend on it is built all the same.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use rpm_model::ContentDigest;
use testkit::SourceServer;

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree, files_below};

/// The SHA-256 of no file of these tests.
const OTHER_HASH: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// Returns a signature file with one entry.
fn signatures(file: &str, hash: &str) -> String {
    format!("{{\n  \"Signatures\": {{\n    \"{file}\": \"{hash}\"\n  }}\n}}\n")
}

/// Asserts which specs have been built and published.
#[track_caller]
fn assert_built(tree: &Tree, specs: &[&str]) {
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), specs);
}

#[test]
fn a_wrong_source_hash_is_refused_with_both_hashes() {
    let Some(tree) = Tree::new("wrong-hash") else { return };
    tree.spec(&Spec::data("bad").tag("Source0: bad-1.0.txt"));
    tree.file("SPECS/bad/bad-1.0.txt", "not what was signed\n");
    tree.file("SPECS/bad/bad.signatures.json", &signatures("bad-1.0.txt", OTHER_HASH));
    tree.spec(&Spec::data("good"));
    let found = ContentDigest::of_bytes(b"not what was signed\n");
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&[
        "SPECS/bad/bad-1.0.txt",
        OTHER_HASH,
        found.as_str(),
        "--signature-handling update",
        "1 built, 1 blocked",
    ]);
    ended.says_once(found.as_str());
    assert_built(&tree, &["good"]);
}

#[test]
fn a_missing_source_names_every_place_that_was_asked() {
    let Some(tree) = Tree::new("missing-source") else { return };
    let server = SourceServer::start();
    let (mirror, upstream) = (format!("{}/mirror", server.url()), format!("{}/upstream", server.url()));
    tree.configure(&format!("[sources]\nurls = [\"{mirror}\"]\nupstream = true\n"));
    tree.spec(&Spec::data("bad").tag(&format!("Source0: {upstream}/bad-1.0.tar.gz")));
    tree.file("SPECS/bad/bad.signatures.json", &signatures("bad-1.0.tar.gz", OTHER_HASH));
    tree.spec(&Spec::data("good"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&[
        "bad-1.0.tar.gz",
        OTHER_HASH,
        "SPECS/bad",
        &format!("{mirror}/bad-1.0.tar.gz"),
        &format!("{upstream}/bad-1.0.tar.gz"),
        "bad-1.0.tar.gz: not found",
        "help: ",
        "1 built, 1 blocked",
    ]);
    assert_built(&tree, &["good"]);
    let asked: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(
        asked,
        ["/mirror/bad-1.0.tar.gz", "/upstream/bad-1.0.tar.gz"],
        "404 is an answer, no reason to retry"
    );
}

#[test]
fn a_spec_that_does_not_parse_hides_no_other() {
    let Some(tree) = Tree::new("unparsable") else { return };
    tree.file("SPECS/bad/bad.spec", "Name: bad\nVersion: 1\n%if 1\nRelease: 1\n");
    tree.file(
        "SPECS/worse/worse.spec",
        "Name: worse\nVersion: 1\nRelease: 1\nSumary: x\nLicense: MIT\n%description\n",
    );
    tree.spec(&Spec::data("good"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&[
        "SPECS/bad/bad.spec:3",
        "%if",
        "SPECS/worse/worse.spec:4",
        "Sumary",
        "1 built, 2 blocked",
    ]);
    assert_built(&tree, &["good"]);
    // A second run does not forget what it could not read.
    tree.millwright(&["build"]).exits(1).says(&["SPECS/bad/bad.spec:3"]);
    // Who asks for the good one alone gets it, and nothing failed; who asks for a bad one is told.
    tree.millwright(&["build", "good"]).exits(0).says(&["nothing to do"]);
    tree.millwright(&["build", "bad"]).exits(2).says(&["`bad`", "bad.spec:3"]);
}

#[test]
fn a_requirement_that_nothing_provides_is_known_before_anything_runs() {
    let Some(tree) = Tree::new("unprovided") else { return };
    tree.spec(&Spec::data("bad").needs("libnowhere-devel >= 2"));
    tree.spec(&Spec::data("above").needs("bad"));
    tree.spec(&Spec::data("good"));
    let plan = tree.millwright(&["plan"]);
    plan.exits(1).says(&["libnowhere-devel >= 2", "1 to build", "2 blocked by 1 cause", "blocks above, bad"]);
    assert_built(&tree, &[]);
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&["nothing provides `libnowhere-devel`", "blocks above, bad", "1 built, 2 blocked"]);
    assert_built(&tree, &["good"]);
}

#[test]
fn a_build_cycle_is_shown_with_the_requirement_on_each_edge() {
    let Some(tree) = Tree::new("cycle") else { return };
    tree.spec(&Spec::library("aa", "1", 1).needs("bb-devel >= 1"));
    tree.spec(&Spec::library("bb", "1", 1).needs("aa-devel"));
    tree.spec(&Spec::data("good"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&["cycle", "bb-devel >= 1", "aa-devel", "1 built"]);
    assert_built(&tree, &["good"]);
}

#[test]
fn a_failing_build_tells_its_decisive_lines_and_independent_packages_go_on() {
    let Some(tree) = Tree::new("failing-build") else { return };
    tree.spec(&Spec::data("base").build("echo to be expected\necho 'base.c:1: error: boom' >&2\nexit 3"));
    tree.spec(&Spec::data("middle").needs("base"));
    tree.spec(&Spec::data("top").needs("middle"));
    tree.spec(&Spec::data("good"));
    let ended = tree.millwright(&["build", "-j", "1"]);
    let log = tree.path("build/logs/pkggen/rpmbuilding/base-1.0-1.mw1.src.rpm.log");
    ended.exits(1).says(&[
        "| base.c:1: error: boom",
        &format!("log: {}", log.display()),
        "[package-failure]",
        "%build failed",
        "help: ",
        "middle [", // each package that waits is told once, with the root cause
        "1 built, 1 failed, 2 blocked",
        "2 more wait for it",
    ]);
    ended.says_once("base.c:1: error: boom").says_once("blocked  top").says_once("blocked  middle");
    ended.never_says(&["| to be expected", "needs middle"]);
    assert!(std::fs::read_to_string(log).unwrap().contains("to be expected"));
    assert_built(&tree, &["good"]);
}

#[test]
fn a_package_whose_check_fails_is_not_published() {
    let Some(tree) = Tree::new("failing-check") else { return };
    tree.configure(&format!("{OFFLINE}[build]\nrun-check = true\n"));
    tree.spec(&Spec::data("bad").check("echo 'FAIL: test 3'\nfalse"));
    tree.spec(&Spec::data("good").check("echo all well"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&[
        "%check failed",
        "[check-failure]",
        "| FAIL: test 3",
        "--run-check=false",
        "1 built, 1 failed",
    ]);
    assert_built(&tree, &["good"]);
    assert!(tree.records()["good"].checked);
    // What the advice says: without checks it is built.
    tree.millwright(&["build", "--run-check=false"]).exits(0).says(&["1 built"]);
    assert_built(&tree, &["bad", "good"]);
    // And when checks are asked for again, it is built again, and stays published as it was.
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&["bad: %check is asked for and was not run", "[check-failure]"]);
    assert_built(&tree, &["bad", "good"]);
}

#[test]
fn unknown_names_and_keys_are_refused_before_anything_runs() {
    let Some(tree) = Tree::new("usage") else { return };
    tree.spec(&Spec::data("good"));
    tree.millwright(&["build", "goood"]).exits(2).says(&["goood", "good"]);
    tree.millwright(&["build", "--rebuild-list=other"]).exits(2).says(&["`other`"]);
    tree.millwright(&["rebuild"]).exits(2).says(&["names of specs"]);
    tree.millwright(&["build", "--specs-dir=nowhere"]).exits(2).says(&["nowhere", "--specs-dir"]);
    tree.millwright(&["build", "--config=nowhere.toml"]).exits(2).says(&["nowhere.toml"]);
    tree.configure("[build]\nworker = 2\n");
    tree.millwright(&["build"]).exits(2).says(&[
        "configs/millwright.toml",
        "unknown field `worker`",
        "`workers`",
    ]);
    assert_built(&tree, &[]);
}

/// A worker that takes job after job does none that it was not told of in its own words, and says what is wrong.
#[test]
fn a_worker_ends_at_a_line_that_is_no_request_and_leaves_nothing() {
    let Some(tree) = Tree::new("no-request") else { return };
    let place = |name: &str| tree.path(name).to_string_lossy().into_owned();
    let request = |job: &str| {
        let [job, result, output, log] = [job, "result.json", "rpms", "log"].map(place);
        format!(r#"{{"job":"{job}","result":"{result}","output":"{output}","log":"{log}""#)
    };
    tree.file("job.json", "{\"schema\":");
    for (line, told) in [
        (b"build zlib".to_vec(), "expected value at line 1"),
        (b"{\"job\":\"/job.json\"}".to_vec(), "missing field `result`"),
        ((request("job.json") + r#","as":"root"}"#).into_bytes(), "unknown field `as`"),
        ((request("job.json") + ",").into_bytes(), "EOF while parsing"),
        (b"{\"job\":\"\xff\"}".to_vec(), "invalid unicode code point"),
    ] {
        let shown = String::from_utf8_lossy(&line);
        let mut command = tree.command("pkgworker", &["--serve", "--layers", "build/cache/layers"]);
        command.args(["--work-dir", "work", "--clean", "always"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut worker = command.spawn().unwrap();
        let mut input = worker.stdin.take().unwrap();
        let mut replies = BufReader::new(worker.stdout.take().unwrap());
        // A request is answered whatever its job is, and is no reason to end.
        for (job, told) in [("nowhere.json", "No such file"), ("job.json", "EOF while parsing")] {
            writeln!(input, "{}}}", request(job)).unwrap();
            let mut reply = String::new();
            replies.read_line(&mut reply).unwrap();
            let said = |text: &str| assert!(reply.contains(text), "`{text}` is not in {reply}");
            [r#"{"failed":"#, job, told].into_iter().for_each(said);
        }
        input.write_all(&[line.as_slice(), b"\n"].concat()).unwrap();
        let ended = worker.wait_with_output().unwrap();
        let text = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{shown}: {text}");
        assert!(text.starts_with("error: a line of standard input is no request: "), "{text}");
        assert!(text.contains(told) && text.lines().count() == 1, "{shown}: {text}");
        for name in ["work", "rpms", "result.json", "log"] {
            let left = files_below(&tree.path(name));
            assert!(left.is_empty() && !tree.path(name).is_file(), "{name}: {left:?}");
        }
        drop(input);
        tree.assert_nothing_runs();
    }
}
