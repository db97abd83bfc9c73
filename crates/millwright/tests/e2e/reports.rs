//! What a run leaves to look at: reports, logs, exit codes.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};

/// Returns the only report's `summary.json` and page.
fn latest(tree: &Tree) -> (Value, String) {
    let summary = tree.read("out/reports/latest/summary.json");
    (serde_json::from_str(&summary).unwrap(), tree.read("out/reports/latest/index.html"))
}

fn state(summary: &Value, package: &str) -> String {
    let packages = summary["packages"].as_array().unwrap();
    let found = packages.iter().find(|found| found["package"] == package);
    found.unwrap_or_else(|| panic!("{package} is not in {summary}"))["state"].as_str().unwrap().to_owned()
}

#[test]
fn every_exit_code_is_what_it_says() {
    let Some(tree) = Tree::new("exit-codes") else { return };
    tree.spec(&Spec::data("good"));
    tree.spec(&Spec::data("bad").build("exit 1"));
    tree.file("not-a-directory", "");
    let cases: [(&[&str], i32, &str); 9] = [
        (&["build", "good"], 0, "report: "),
        (&["build", "good"], 0, "nothing to do"),
        (&["build"], 1, "%build failed"),
        (&["build", "nobody"], 2, "nobody"),
        (&["build", "--no-such-flag"], 2, "--no-such-flag"),
        (&["plan", "--config", "nowhere.toml"], 2, "nowhere.toml"),
        (&["log", "goood"], 2, "did you mean good?"),
        (&["build", "--build-dir", "not-a-directory/build"], 3, "not-a-directory"),
        (&["defect"], 4, "a defect of Millwright: this is what a defect looks like"),
    ];
    for (arguments, code, text) in cases {
        tree.millwright(arguments).exits(code).says(&[text]);
    }
    let reports = fs::read_dir(tree.path("out/reports")).unwrap().count();
    assert_eq!(reports, 3, "two runs did something; and `latest`");
}

#[test]
fn a_report_tells_of_failures_first_and_logs_are_shown() {
    let Some(tree) = Tree::new("report") else { return };
    tree.spec(&Spec::data("good"));
    tree.spec(&Spec::data("bad").build("set +x\necho \"a.c:1: error: <script>alert(1)</script>\"\nexit 1"));
    tree.spec(&Spec::data("needy").needs("bad"));
    tree.configure(&format!("{OFFLINE}[reports]\nkeep = 1\n"));
    tree.millwright(&["build", "good"]).exits(0);
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&["bad: %build failed", "removed the oldest 1 report", "/index.html"]);
    let (summary, page) = latest(&tree);
    assert_eq!(summary["outcome"], "goals-failed");
    assert_eq!(state(&summary, "bad"), "failed");
    assert_eq!(state(&summary, "needy"), "blocked");
    assert_eq!(summary["up_to_date"][0], "good");
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert(1)"), "{page}");
    for file in ["junit.xml", "build_state.csv", "trace.json", "events.ndjson"] {
        assert!(tree.read(&format!("out/reports/latest/{file}")).contains("bad"), "{file}");
    }
    assert!(!tree.path("build/run/events.ndjson").exists());
    let log = tree.millwright(&["log", "bad", "--at", "%build"]);
    log.exits(0).says(&["Executing(%build)", "a.c:1: error: <script>"]).never_says(&["Executing(%prep)"]);
    tree.millwright(&["log", "bad", "--lines", "1"]).exits(0).never_says(&["Executing(%build)"]);
    tree.millwright(&["log", "needy"]).exits(2).says(&["was not built here yet", "millwright build needy"]);

    tree.millwright(&["rebuild", "good", "--stop-on-failure"]).exits(0);
    let (summary, _) = latest(&tree);
    assert_eq!(state(&summary, "good"), "identical");
    let spdx: Value = serde_json::from_str(&tree.read("out/reports/latest/spdx.json")).unwrap();
    let document = spdx["documents"][0]["document"].as_str().unwrap();
    assert!(tree.read(&format!("out/reports/latest/{document}")).contains("SPDX-2.3"));
}

#[test]
fn a_followed_log_ends_with_its_build_and_a_killed_run_has_a_report() {
    let Some(tree) = Tree::new("report-killed") else { return };
    let gate = "set +x\necho the-first-line\nwhile ! test -e /build/never; do sleep 0.1; done";
    tree.spec(&Spec::data("slow").build(gate));
    let mut run = tree.start_millwright(&["build"]);
    let log = tree.path("build/logs/pkggen/rpmbuilding/slow-1.0-1.mw1.src.rpm.log");
    run.wait_until("the build writes its log", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("the-first-line"))
    });
    let mut follower = tree.start_millwright(&["log", "slow", "-f"]);
    follower.wait_for_output("the-first-line");
    run.signal(Signal::SIGKILL);
    run.wait();
    follower.wait().exits(1).says(&["the run has ended"]);
    tree.assert_nothing_runs();

    tree.spec(&Spec::data("slow").build("echo now it is quick"));
    let ended = tree.millwright(&["build"]);
    ended.exits(0).says(&["the run before was ended from outside; its report: "]);
    let mut reports: Vec<_> = fs::read_dir(tree.path("out/reports")).unwrap().flatten().collect();
    reports.retain(|entry| entry.file_type().unwrap().is_dir());
    assert_eq!(reports.len(), 2);
    let killed = reports
        .iter()
        .map(|entry| fs::read_to_string(entry.path().join("summary.json")).unwrap())
        .map(|text| serde_json::from_str::<Value>(&text).unwrap())
        .find(|summary| summary["outcome"] == "killed")
        .unwrap();
    assert_eq!(state(&killed, "slow"), "interrupted");
}
