//! Building again: elsewhere, and after an edit.

use std::collections::BTreeMap;
use std::process::Command;

use rpm_model::ContentDigest;

use crate::copy::{Built, Copy};
use crate::workspace::{MILLWRIGHT, distribution, in_tree, millwright, published, records, run, specs};

#[test]
fn packages_built_again_elsewhere_are_bit_identical() {
    let test = "packages_built_again_elsewhere_are_bit_identical";
    let Some(workspace) = distribution(test, &[]) else { return };
    let copy = Copy::new(workspace, test, Built::No);
    // What must not matter: the place, the time zone, the language, the umask, the number of processors, and whether
    // rpmbuild's own scripts run.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "umask 077; exec \"$@\"",
        "sh",
        MILLWRIGHT,
        "build",
        "--offline",
        "--max-cpu=1",
        "--tuning=off",
    ]);
    command.args(["bzip2", "lz4", "oniguruma", "tree", "which", "zlib", "millwright-release"]);
    command.envs([("TZ", "Pacific/Kiritimati"), ("LC_ALL", "tr_TR.UTF-8"), ("SOURCE_DATE_EPOCH", "1")]);
    in_tree(&mut command, copy.root());
    run(&mut command).exits(0);
    let (first, again) = (published(workspace), published(copy.root()));
    assert!(records(copy.root()).len() >= 9, "jq and millwright-rpm-macros are needed by the others");
    let different: Vec<&String> = again
        .iter()
        .filter(|(path, content)| first.get(*path) != Some(content))
        .map(|(path, _)| path)
        .collect();
    assert!(different.is_empty(), "of {} packages differ: {different:#?}", again.len());
    assert!(again.len() > 20, "{:?}", again.keys());
}

#[test]
fn after_an_edit_only_what_must_be_built_is_built() {
    let test = "after_an_edit_only_what_must_be_built_is_built";
    let Some(workspace) = distribution(test, &[]) else { return };
    let copy = Copy::new(workspace, test, Built::Yes);
    let all = specs(workspace).len();
    let build = || run(&mut millwright(copy.root(), &["build", "--offline"]));
    // Content decides, not the place.
    build().exits(0).says(&format!("nothing to do: {all} packages are up to date"));
    let before = published(copy.root());

    // A line that changes no output: zlib is built, comes out identical, and that is all.
    copy.edit("SPECS/zlib/zlib.spec", "%prep\n", "# A remark.\n%prep\n");
    let others = all - 1;
    build().exits(0).says(&format!("0 built, 1 identical, {others} up to date"));
    assert_eq!(changes(&before, &published(copy.root())), ["changed SRPMS/zlib-1.2.13-1.mw1.src.rpm"]);

    // A line that changes the output, but no soname and nothing that is compiled in: still zlib alone.
    let summary = "Summary:        Compression library of the DEFLATE format";
    copy.edit("SPECS/zlib/zlib.spec", summary, "Summary:        Compression library");
    build().exits(0).says(&format!("1 built, {others} up to date"));
    let changed = changes(&before, &published(copy.root()));
    assert!(changed.contains(&"changed RPMS/x86_64/zlib-1.2.13-1.mw1.x86_64.rpm".to_owned()), "{changed:?}");
    assert!(changed.iter().all(|line| line.contains("/zlib-")), "{changed:?}");
    build().exits(0).says("nothing to do");
}

/// Returns what differs between two states of the repository.
fn changes(before: &BTreeMap<String, ContentDigest>, after: &BTreeMap<String, ContentDigest>) -> Vec<String> {
    let mut lines: Vec<String> = after
        .iter()
        .filter_map(|(path, content)| match before.get(path) {
            None => Some(format!("new {path}")),
            Some(old) if old != content => Some(format!("changed {path}")),
            Some(_) => None,
        })
        .collect();
    lines.extend(before.keys().filter(|path| !after.contains_key(*path)).map(|path| format!("gone {path}")));
    lines
}
