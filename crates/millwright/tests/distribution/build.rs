//! All of it is built, from one another, and then there is nothing to do.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Instant;

use rpm_model::PackageOrigin;

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
    assert_eq!(programs.lines().count(), 1, "more than `millwright` itself was started:\n{programs}");
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
