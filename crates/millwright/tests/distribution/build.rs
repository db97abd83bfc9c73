//! All of it is built, from one another, and then there is nothing to do.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rpm_model::{BuildRecord, PackageOrigin};

use crate::copy::{Built, Copy};
use crate::workspace::{
    MILLWRIGHT, Scratch, distribution, in_tree, millwright, published, records, run, specs,
};

#[test]
fn all_of_it_is_built() {
    let Some(root) = distribution("all_of_it_is_built", &[]) else { return };
    let records = records(root);
    assert_eq!(records.keys().cloned().collect::<Vec<_>>(), specs(root));
    // Exactly what the records vouch for is published, binaries and sources.
    let mut vouched = BTreeMap::new();
    for record in records.values() {
        assert!(!record.rpms.is_empty(), "{}", record.package);
        for rpm in &record.rpms {
            vouched.insert(format!("RPMS/{}", rpm.artifact.path), rpm.artifact.sha256.clone());
        }
        vouched.insert(format!("SRPMS/{}", record.srpm.path), record.srpm.sha256.clone());
    }
    assert_eq!(published(root), vouched);
}

#[test]
fn a_second_run_does_nothing_and_starts_nothing() {
    let test = "a_second_run_does_nothing_and_starts_nothing";
    let Some(root) = distribution(test, &["strace"]) else { return };
    let words = format!("nothing to do: {} packages are up to date", specs(root).len());
    let start = Instant::now();
    run(&mut millwright(root, &["build"])).exits(0).says(&words);
    eprintln!("nothing to do in {:.2} s", start.elapsed().as_secs_f64());

    let scratch = Scratch::new(test);
    let trace = scratch.path().join("trace");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", "trace=execve,execveat", "-e", "signal=none", "-o"]).arg(&trace);
    traced.arg(MILLWRIGHT).arg("build");
    in_tree(&mut traced, root);
    run(&mut traced).exits(0).says(&words);
    let programs = fs::read_to_string(&trace).unwrap();
    // A thread that its process ends is a line too.
    let started = programs.lines().filter(|line| line.contains("exec")).count();
    assert_eq!(started, 1, "more than `millwright` itself was started:\n{programs}");
}

#[test]
fn jq_is_built_with_oniguruma_of_the_tree() {
    let Some(root) = distribution("jq_is_built_with_oniguruma_of_the_tree", &[]) else { return };
    let records = records(root);
    for name in ["oniguruma", "oniguruma-devel"] {
        let made = records["oniguruma"].rpms.iter().find(|rpm| rpm.artifact.nevra.name == name).unwrap();
        let used: Vec<_> = records["jq"]
            .lock
            .packages()
            .iter()
            .filter(|package| package.nevra.name == name)
            .map(|package| (&package.nevra, &package.sha256, package.origin))
            .collect();
        assert_eq!(used, [(&made.artifact.nevra, &made.artifact.sha256, PackageOrigin::Tree)]);
    }
}

#[test]
fn stand_ins_leave_what_scripts_leave_in_every_package() {
    let test = "stand_ins_leave_what_scripts_leave_in_every_package";
    let Some(root) = distribution(test, &[]) else { return };
    let log = |root: &Path, record: &BuildRecord| {
        let srpm = record.source.file_name();
        fs::read_to_string(root.join(format!("build/logs/pkggen/rpmbuilding/{srpm}.log"))).unwrap_or_default()
    };
    let mut logs: BTreeMap<String, String> =
        records(root).into_iter().map(|(name, record)| (name, log(root, &record))).collect();
    // Packages that a person's own run has built without comparing are built again elsewhere.
    let compared = |log: &str| log.contains("\ncheck-files: as the script\n");
    let others: Vec<String> =
        logs.iter().filter(|(_, log)| !compared(log)).map(|(name, _)| name.clone()).collect();
    if !others.is_empty() {
        let copy = Copy::new(root, test, Built::Yes);
        let mut rebuild = millwright(copy.root(), &["rebuild", "--offline", "--tuning=compare"]);
        run(rebuild.args(&others).stderr(Stdio::inherit())).exits(0);
        let built = records(copy.root());
        logs.extend(others.into_iter().map(|name| {
            let log = log(copy.root(), &built[&name]);
            (name, log)
        }));
    }
    assert_eq!(logs.keys().cloned().collect::<Vec<_>>(), specs(root));
    let mut left = 0;
    for (name, log) in &logs {
        for script in [
            "brp-compress",
            "brp-elfperms",
            "brp-remove-la-files",
            "brp-strip",
            "brp-strip-comment-note",
            "brp-strip-static-archive",
            "check-files",
        ] {
            let says = |words: &str| log.contains(&format!("\n{script}: {words}"));
            left += usize::from(says("the script itself runs"));
            let known = says("as the script\n") || says("the script itself runs");
            assert!(known && !says("not as"), "{name}, {script}:\n{log}");
        }
        assert!(!log.contains(": not as the script"), "{name}:\n{log}");
    }
    let extracted = logs.values().filter(|log| log.contains("\nfind-debuginfo: as the script\n")).count();
    assert!(extracted > 10, "debug information was compared in {extracted} packages");
    eprintln!("{} packages, {left} times a script was left to itself", logs.len());
}
