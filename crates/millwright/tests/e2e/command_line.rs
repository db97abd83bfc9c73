//! What commands say when they are used as they are not meant to be, or when nobody reads on.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::run::Ended;
use crate::spec::Spec;
use crate::tree::{Tree, files_below, program_path};

/// Returns a tree with a package `zlib`, which is built.
fn built(test: &str) -> Option<Tree> {
    let tree = Tree::new(test)?;
    tree.spec(&Spec::data("zlib"));
    tree.millwright(&["build"]).exits(0);
    Some(tree)
}

fn ended(tree: &Tree, words: &str) -> Ended {
    tree.millwright(&words.split(' ').collect::<Vec<_>>())
}

#[test]
fn a_name_that_means_nothing_is_told_with_similar_ones() {
    let Some(tree) = built("unknown-names") else { return };
    for words in [
        "build zlb",
        "rebuild zlb",
        "why zlb",
        "graph zlb",
        "graph --needed-by zlb",
        "unused zlb",
        "shell zlb",
        "log zlb",
        "diff zlb",
        "rerun zlb",
        "plan --rebuild-list zlb",
        "plan --ignore-list zlb",
        "build --test-run-list zlb",
        "build --test-ignore-list zlb",
        "license-check zlb",
    ] {
        ended(&tree, words).exits(2).says(&["error: ", "`zlb`", "did you mean zlib?"]);
    }
    ended(&tree, "diff zlib").exits(2).says(&["no build root of `zlib` was kept"]);
    // No spec at all is rather a wrong directory than a wish.
    std::fs::create_dir(tree.path("empty")).unwrap();
    ended(&tree, "plan --specs-dir empty").exits(0).says(&["/empty` is called *.spec", "0 to build"]);
}

#[test]
fn verify_takes_a_spec_and_says_what_it_takes() {
    let Some(tree) = built("verify-by-name") else { return };
    // Interrupted, it has left what it was doing.
    let left = "build/verify/another-directory-whose-path-is-not-that-of-the-first-build-x/layers";
    tree.file(left, "");
    ended(&tree, "verify zlib").exits(0).says(&["identical: 1 package of zlib-1.0-1.mw1"]);
    assert_eq!(files_below(&tree.path("build/verify")), Vec::<PathBuf>::new());
    let advice = "takes the name of a spec that is built, or a buildinfo.json";
    ended(&tree, "verify nowhere").exits(2).says(&["/nowhere`: No such file", advice]);
    let config = "configs/millwright.toml";
    ended(&tree, &format!("verify {config}")).exits(2).says(&[config, "is no buildinfo document", advice]);
}

#[test]
fn a_link_to_nothing_among_the_specs_is_named_with_where_it_leads() {
    let Some(tree) = built("dangling-link") else { return };
    symlink("/nowhere/else.spec", tree.path("SPECS/zlib/else.spec")).unwrap();
    ended(&tree, "plan")
        .exits(2)
        .says(&["SPECS/zlib/else.spec, a link to /nowhere/else.spec", "mend or remove it"]);
}

#[test]
fn a_quiet_command_answers_what_it_was_asked_and_says_nothing_else() {
    let Some(tree) = built("quiet") else { return };
    for (words, answer) in [
        ("plan --quiet", "0 to build, 1 up to date"),
        ("plan --quiet --simulate", "nothing to build"),
        ("rebuild zlib --dry-run --quiet", "1 to build"),
        ("why zlib --quiet", "up to date, will not be built"),
        ("graph zlib --quiet", "zlib is needed by no spec"),
    ] {
        let ended = ended(&tree, words);
        ended.exits(0).says(&[answer]);
        assert_eq!(ended.stderr, "", "{words}");
    }
    let built = ended(&tree, "rebuild zlib --quiet");
    assert_eq!((built.exits(0).stdout.as_str(), built.stderr.as_str()), ("", ""));
}

/// A reader that has read enough is no failure, and one that cannot take what is said is named.
#[test]
fn answers_end_well_when_nobody_reads_on_and_not_when_they_are_lost() {
    let Some(tree) = built("readers") else { return };
    for words in [
        "plan",
        "plan --json",
        "why zlib",
        "why zlib --json",
        "graph zlib --json",
        "log zlib",
        "config",
        "doctor",
        "cache stat",
        "--help",
    ] {
        let command = |output: Stdio| -> Command {
            let mut command = tree.command("millwright", &words.split(' ').collect::<Vec<_>>());
            command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
            command
        };
        let mut unread = command(Stdio::piped()).spawn().unwrap();
        drop(unread.stdout.take());
        let unread = unread.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&unread.stderr);
        assert_eq!(unread.status.code(), Some(0), "{words}: {said}");
        assert!(!said.contains("panic") && !said.contains("error"), "{words}: {said}");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let lost = command(full.into()).output().unwrap();
        // The parser of the command line prints its help itself.
        if words != "--help" {
            let said = String::from_utf8_lossy(&lost.stderr);
            assert_eq!(lost.status.code(), Some(3), "{words}: {said}");
            assert!(
                said.contains("error: cannot write to standard output: No space left"),
                "{words}: {said}"
            );
        }
    }
    // Events go on being made for nobody, and the packages are there in the end.
    let mut unread = Command::new(program_path("millwright"));
    unread.args(["rebuild", "zlib", "--json"]).current_dir(tree.path("")).stdout(Stdio::piped());
    let mut unread = unread.stderr(Stdio::null()).spawn().unwrap();
    drop(unread.stdout.take());
    assert_eq!(unread.wait().unwrap().code(), Some(0));
    tree.assert_clean();
}

#[test]
fn files_that_are_not_what_was_meant_are_the_users_fault_and_named() {
    let Some(tree) = Tree::new("wrong-files") else { return };
    tree.spec(&Spec::data("zlib"));
    tree.file("notes.tar", &"not an archive\nat all\n".repeat(100));
    for (words, said) in [
        ("plan --macros-file nowhere", &["no file of macros", "/nowhere`", "--macros-file"][..]),
        ("sodiff nowhere SPECS", &["neither an RPM file nor a directory `nowhere`"]),
        ("sodiff SPECS SPECS", &["there is no RPM in `SPECS`"]),
        ("archive restore rpms notes.tar", &["notes.tar` is no complete archive", "`archive save`"]),
        ("worker --export worker.zip", &["worker.zip`: the name must end in .tar.zst"]),
        ("config build.wrokers", &["no key `build.wrokers`; did you mean build.workers?"]),
        ("--config nowhere plan", &["cannot read the configuration `nowhere`"]),
    ] {
        let ended = ended(&tree, words);
        ended.exits(2).says(said).never_says(&["at all", "configs/bootstrap"]);
        assert!(!ended.stderr.ends_with("\n\n"), "{words}: {:?}", ended.stderr);
    }
}
