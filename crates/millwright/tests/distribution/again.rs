//! Building again: elsewhere, and after an edit.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rpm_model::{BuildReason, ContentDigest, InputChange};
use testkit::{Account, SOMEBODY, SubordinateIds, copy_program};

use crate::copy::{Built, Copy};
use crate::workspace::{
    Ended, MILLWRIGHT, different, distribution, files_below, in_tree, millwright, published, records, run,
    specs,
};

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
    command.args(["lz4", "oniguruma", "millwright-release"]);
    command.envs([("TZ", "Pacific/Kiritimati"), ("LC_ALL", "tr_TR.UTF-8"), ("SOURCE_DATE_EPOCH", "1")]);
    in_tree(&mut command, copy.root());
    run(&mut command).exits(0);
    assert!(records(copy.root()).len() >= 5, "jq and millwright-rpm-macros are needed by the others");
    let different = different(&published(workspace), copy.root());
    assert!(different.is_empty(), "these differ: {different:#?}");
    assert!(published(copy.root()).len() > 10);
}

#[test]
fn an_ordinary_user_builds_bit_identical_packages() {
    let test = "an_ordinary_user_builds_bit_identical_packages";
    let Some(workspace) = distribution(test, &["newuidmap"]) else { return };
    let copy = Copy::of_somebody(workspace, test);
    let place = copy.root().parent().unwrap();
    let account = match Account::new(place, SubordinateIds::Range) {
        Ok(account) => account,
        Err(missing) => {
            // What a host forbids its ordinary users is no defect.
            eprintln!("SKIPPED {test}: {missing}");
            return;
        }
    };
    let programs = copy_programs(place);
    let run_as_somebody = |arguments: &[&str]| {
        let mut command = account.command(programs.join("millwright"));
        command.args(arguments);
        in_tree(&mut command, copy.root());
        run(&mut command)
    };
    run_as_somebody(&["doctor"]).exits(0).says("builds without root, with subordinate ids");
    run_as_somebody(&["build", "--offline", "bzip2", "tree", "which", "zlib"]).exits(0);
    let different = different(&published(workspace), copy.root());
    assert!(different.is_empty(), "these differ: {different:#?}");
    assert!(published(copy.root()).len() > 12);
    // All of it is the user's own, who can remove it without help.
    let foreign: Vec<PathBuf> = files_below(copy.root())
        .into_iter()
        .filter(|path| path.symlink_metadata().unwrap().uid() != SOMEBODY)
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    run_as_somebody(&["clean", "all"]).exits(0);
    assert!(!copy.root().join("build").exists());
}

/// Copies Millwright's programs to where every user can reach them.
fn copy_programs(place: &Path) -> PathBuf {
    let from = Path::new(MILLWRIGHT).parent().unwrap();
    let to = place.join("bin");
    fs::create_dir(&to).unwrap();
    for program in ["buildroot-init", "millwright", "pkgworker", "spec-engine"] {
        copy_program(&from.join(program), &to.join(program));
    }
    to
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
    let ended = build();
    ended.exits(0).says(&format!("0 built, 1 identical, {others} up to date"));
    assert_eq!(started(&ended), ["zlib"], "one rebuild, whatever depends on it");
    let record = &records(copy.root())["zlib"];
    let [BuildReason::InputsChanged { changed, .. }] = &record.reasons[..] else { panic!("{record:?}") };
    let is_spec =
        |change: &InputChange| matches!(change, InputChange::File { name, .. } if name == "zlib.spec");
    assert!(changed.len() == 1 && changed.iter().all(is_spec), "{changed:?}");
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

/// Who is linked to a library follows its soname, and can say why; nobody else does.
#[test]
fn a_new_soname_of_oniguruma_brings_jq_along_and_nobody_else() {
    let test = "a_new_soname_of_oniguruma_brings_jq_along_and_nobody_else";
    let Some(workspace) = distribution(test, &[]) else { return };
    let copy = Copy::new(workspace, test, Built::Yes);
    let spec = "SPECS/oniguruma/oniguruma.spec";
    let renamed = "sed -i 's/^LTVERSION=.*/LTVERSION=\"9:0:3\"/' configure.ac\nautoreconf -fi\n";
    copy.edit(spec, "autoreconf -fi\n", renamed);
    copy.edit(spec, "%{_libdir}/libonig.so.5*\n", "%{_libdir}/libonig.so.6*\n");
    // Their checks know the soname.
    let build = ["build", "--offline", "--run-check=false"];
    let ended = run(&mut millwright(copy.root(), &build));
    ended.exits(0).says("2 built");
    assert_eq!(started(&ended), ["oniguruma", "jq"]);
    let why = run(&mut millwright(copy.root(), &["why", "jq"]));
    let why = why.exits(0).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "jq requires `libonig.so.5()(64bit)`, which nothing provides any more since `oniguruma` was built \
         (oniguruma-6.9.8-1.mw1.x86_64 provided it and provides `libonig.so.6()(64bit)` now)",
        "oniguruma caused jq; it was built itself: oniguruma.spec changed (",
    ] {
        assert!(why.contains(words), "`{words}` is not in: {why}");
    }
    run(&mut millwright(copy.root(), &build)).exits(0).says("nothing to do");
}

/// Returns the packages that a run started to build.
fn started(ended: &Ended) -> Vec<&str> {
    let lines = ended.stderr.lines().filter_map(|line| line.trim_start().strip_prefix("start  "));
    lines.filter_map(|rest| rest.split(':').next()).collect()
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
