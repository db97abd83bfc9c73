//! The report of small runs that are written down here.

use super::*;
use crate::{Extras, Recorder, ReportStore, Reporter, run_name};
use rpm_model::{CheckVerdict, TestCase, TestStatus};
use std::fs;
use std::path::Path;

const HOSTILE: &str = "a.c:1: error: <script>alert('log')</script> & \"quotes\" \u{1b}[31m";

fn planned(package: &str, needs: &[&str]) -> PlannedBuild {
    PlannedBuild {
        package: package.into(),
        reasons: vec![BuildReason::NeverBuilt],
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        dependants: 2,
        estimate_seconds: 5.0,
        estimate_guessed: true,
        way_seconds: 10.0,
    }
}

fn started(package: &str) -> Event {
    Event::PackageStarted { package: package.into(), reasons: vec![BuildReason::Requested], waiting: 0 }
}

fn finished(package: &str, end: PackageEnd, seconds: f64) -> Event {
    Event::PackageFinished { package: package.into(), end, seconds, done: 1, total: 4 }
}

/// zlib and then jq were built, `bad<b>` failed and blocks another, over two workers.
fn events() -> Vec<TimedEvent> {
    let builds = vec![
        planned("bad<b>", &[]),
        planned("blocked", &["bad<b>"]),
        planned("jq", &["zlib"]),
        planned("zlib", &[]),
    ];
    let plan = RunPlan {
        workers: 2,
        builds,
        up_to_date: vec!["xz".into()],
        critical_path: vec!["bad<b>".into(), "blocked".into()],
        hindrances: vec![Hindrance {
            cause: "nothing provides `<x>`".into(),
            open: false,
            packages: vec!["y".into()],
        }],
        ..RunPlan::default()
    };
    let mut check = CheckReport::of(CheckVerdict::Failed);
    check.failed = 1;
    check.cases = vec![TestCase { name: "t<1>".into(), status: TestStatus::Failed, runner: "TAP".into() }];
    let usage = |package: &str, check: CheckReport| Event::PackageUsage {
        package: package.into(),
        phases: vec![PhaseUsage {
            phase: "%build".into(),
            wall_seconds: 2.0,
            cpu_seconds: Some(1.5),
            peak_memory_bytes: Some(7 << 20),
            written_bytes: None,
        }],
        source: None,
        check,
        caches: Vec::new(),
    };
    let failed = PackageEnd::Failed {
        class: FailureClass::PackageFailure,
        message: "%build failed".into(),
        decisive_lines: vec![HOSTILE.into()],
        log: "build/logs/bad.log".into(),
    };
    let phase =
        |package: &str, phase: &str| Event::PackagePhase { package: package.into(), phase: phase.into() };
    let unused = Event::PackageUnused {
        package: "zlib".into(),
        requirements: 3,
        opened_files: 40,
        unused: vec![UnusedRequirement {
            requirement: "chrpath <x>".into(),
            packages: vec!["chrpath-1-1.x86_64".into()],
        }],
    };
    [
        (
            0.0,
            Event::RunStarted {
                run: run_name(1_000_000_000, &[]),
                command: "millwright build".into(),
                started_at: 1_000_000_000,
            },
        ),
        (0.1, Event::StageStarted { stage: Stage::Plan, total: None }),
        (0.2, Event::StageFinished { stage: Stage::Plan, summary: "4 of 5".into(), seconds: 0.1 }),
        (1.0, Event::Planned(plan)),
        (1.0, started("zlib")),
        (1.0, started("bad<b>")),
        (1.5, phase("zlib", "%build")),
        (3.0, usage("bad<b>", check)),
        (3.0, finished("bad<b>", failed, 2.0)),
        (3.0, finished("blocked", PackageEnd::Blocked { by: vec!["bad<b>".into()] }, 0.0)),
        (4.0, Event::PackageCompared { package: "zlib".into(), changes: Vec::new(), spared: 2 }),
        (4.0, finished("zlib", PackageEnd::Identical, 3.0)),
        (4.0, started("jq")),
        (5.0, Event::PackageReused { package: "jq".into(), store: "shared".into() }),
        (4.0, unused),
        (6.0, finished("jq", PackageEnd::Built, 2.0)),
        (6.0, Event::Warning { message: "mind <this>".into() }),
        (
            6.5,
            Event::RunFinished {
                outcome: RunOutcome::GoalsFailed,
                message: None,
                seconds: 6.5,
                counts: BTreeMap::new(),
            },
        ),
    ]
    .map(|(at_seconds, event)| TimedEvent { at_seconds, event })
    .to_vec()
}

#[test]
fn events_add_up_to_a_report() {
    let report = RunReport::from_events(events());
    assert!(report.did_something());
    let states: Vec<(&str, PackageState)> =
        report.packages.iter().map(|package| (package.package.as_str(), package.state)).collect();
    assert_eq!(
        states,
        [
            ("bad<b>", PackageState::Failed),
            ("blocked", PackageState::Blocked),
            ("jq", PackageState::Built),
            ("zlib", PackageState::Identical)
        ]
    );
    assert_eq!(
        (report.longest_path.clone(), report.longest_path_seconds),
        (vec!["zlib".into(), "jq".into()], 5.0)
    );
    let zlib = report.packages[3].span.as_ref().unwrap();
    let phases: Vec<(&str, f64)> =
        zlib.phases.iter().map(|phase| (phase.phase.as_str(), phase.seconds)).collect();
    assert_eq!(phases, [("preparation", 0.5), ("%build", 2.5)]);
    let lane = |place: usize| report.packages[place].span.as_ref().unwrap().lane;
    assert_eq!((lane(3), lane(0), lane(2)), (0, 1, 0), "a free lane is taken by the next build");
    assert_eq!(report.up_to_date, ["xz"]);
    assert_eq!(report.packages[0].peak_memory_bytes, Some(7 << 20));
    assert_eq!(report.packages[2].reused_from.as_deref(), Some("shared"));
    let counts: Vec<(&str, usize)> =
        report.counts.iter().map(|(end, number)| (end.as_str(), *number)).collect();
    // One is blocked by what failed, the other by what is not there; what nobody built here does not count as built.
    assert_eq!(counts, [("blocked", 2), ("failed", 1), ("identical", 1), ("reused", 1), ("up-to-date", 1)]);
    let page = report.html(&[]);
    assert!(page.contains("the result was taken from the store shared"), "{page}");
    assert!(page.contains("<b>1</b> reused") && !page.contains("</b> built"), "{page}");
    assert!(page.contains("<b>2</b> blocked"), "{page}");
    assert!(page.contains("1 of 3") && page.contains("chrpath &lt;x&gt;"), "{page}");
    let summary = serde_json::to_value(&report).unwrap();
    assert_eq!(summary["packages"][3]["unused"]["unused"][0]["packages"][0], "chrpath-1-1.x86_64");
    assert_eq!(summary["packages"][2]["unused"], serde_json::Value::Null);
    assert!(page.contains("came out as published, so 2 packages that need it are spared"), "{page}");
}

#[test]
fn what_is_built_after_its_result_was_taken_from_a_store_counts_as_built() {
    let mut events = events();
    let more = [(6.1, started("jq")), (6.2, finished("jq", PackageEnd::Built, 0.1))];
    events.extend(more.map(|(at_seconds, event)| TimedEvent { at_seconds, event }));
    let report = RunReport::from_events(events);
    assert_eq!((report.counts.get("built"), report.counts.get("reused")), (Some(&1), None));
    assert_eq!(report.packages[2].reused_from, None);
}

#[test]
fn a_run_that_was_killed_has_a_report_too() {
    let report = RunReport::from_events(events().into_iter().take(8));
    assert_eq!((report.outcome, report.seconds), (RunOutcome::Killed, 3.0));
    assert_eq!(report.in_state(PackageState::Interrupted).count(), 2);
    assert_eq!(report.in_state(PackageState::NotStarted).count(), 2);
    assert_eq!(report.packages[3].span.as_ref().unwrap().seconds, 2.0);
    let nothing = RunReport::from_events(events().into_iter().take(3));
    assert!(!nothing.did_something());
}

#[test]
fn nothing_that_a_run_says_is_markup() {
    let page = RunReport::from_events(events()).html(&[("summary.json".into(), "data".into())]);
    assert_eq!(page.matches("<script>").count(), 1, "the page's own");
    for text in ["bad<b>", "<x>", "<this>", "alert('log')</script>", "t<1>"] {
        assert!(!page.contains(text), "{text}");
    }
    for text in [
        "&lt;script&gt;alert('log')&lt;/script&gt; &amp;",
        "bad&lt;b&gt;",
        "mind &lt;this&gt;",
        "came out as published",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    let failed = page.find("<h2>Failed").unwrap();
    assert!(failed < page.find("<h2>Timeline").unwrap() && failed < page.find("<h2>Packages").unwrap());
}

/// Each time as [`crate::duration`] has it, wherever it stands on the page.
#[test]
fn times_are_told_in_one_way() {
    let mut events = events();
    for event in &mut events {
        match &mut event.event {
            Event::PackageFinished { package, seconds, .. } if package == "zlib" => *seconds = 117.0,
            Event::PackageFinished { package, seconds, .. } if package == "jq" => *seconds = 137.0,
            Event::RunFinished { seconds, .. } => *seconds = 4000.0,
            _ => {}
        }
    }
    let page = RunReport::from_events(events).html(&[]);
    for time in ["1:57 min", "2:17 min", "1:06:40 h"] {
        assert!(page.matches(time).count() > 0, "{time} is missing");
    }
    let timeline = page.split("<h2>Timeline").nth(1).unwrap();
    assert!(timeline.contains("zlib: identical, 1:57 min"), "{timeline}");
    for other in ["117", "137", "4000"] {
        assert!(!page.contains(&format!("{other} s")), "{other} s");
    }
}

#[test]
fn a_page_asks_nobody_for_anything() {
    let page = RunReport::from_events(events()).html(&[("summary.json".into(), "data".into())]);
    assert!(page.contains("default-src 'none'"));
    for outside in ["http://", "https://", "src=", "url(", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn junit_has_a_suite_for_each_package() {
    let text = RunReport::from_events(events()).junit().unwrap();
    let report = quick_junit::Report::deserialize_from_str(&text).unwrap();
    assert_eq!((report.tests, report.failures), (6, 3), "{text}");
    let names: Vec<&str> = report.test_suites.iter().map(|suite| suite.name.as_str()).collect();
    assert_eq!(names, ["bad<b>", "blocked", "jq", "zlib"]);
    let cases: Vec<&str> = report.test_suites[0].test_cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(cases, ["build", "%check", "TAP: t<1>"]);
    let said =
        |suite: usize| report.test_suites[suite].test_cases[0].system_out.as_ref().map(|text| text.as_str());
    assert_eq!(said(2), Some("the result was taken from the store shared"));
    assert_eq!(said(3), None);
}

#[test]
fn a_trace_has_slices_within_slices() {
    let trace = RunReport::from_events(events()).trace();
    let slices: Vec<_> =
        trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X").collect();
    let slice = |name: &str, thread: u64| {
        let found = slices.iter().find(|slice| slice["name"] == name && slice["tid"] == thread).unwrap();
        (found["ts"].as_u64().unwrap(), found["dur"].as_u64().unwrap())
    };
    assert_eq!(slice("plan", 0), (100_000, 100_000));
    assert_eq!(slice("zlib", 1), (1_000_000, 3_000_000));
    assert_eq!(slice("%build", 1), (1_500_000, 2_500_000));
    assert_eq!(slice("bad<b>", 2), (1_000_000, 2_000_000));
    assert_eq!(slice("jq", 1), (4_000_000, 2_000_000));
}

struct Silent;

impl Reporter for Silent {
    fn event(&self, _event: &Event) {}
}

/// Records a run into a file and returns that.
fn recorded(directory: &Path, events: &[TimedEvent]) -> std::path::PathBuf {
    let path = directory.join("run/events.ndjson");
    let recorder = Recorder::create(&path, Box::new(Silent)).unwrap();
    for timed in events {
        recorder.event(&timed.event);
    }
    path
}

#[test]
fn reports_are_whole_linked_and_not_kept_forever() {
    let directory = tempfile::tempdir().unwrap();
    let store = ReportStore::new(&directory.path().join("reports"), 2);
    let document = directory.path().join("PROVENANCE/jq-1-1/sbom.spdx.json");
    fs::create_dir_all(document.parent().unwrap()).unwrap();
    fs::write(&document, "{}").unwrap();
    fs::create_dir_all(directory.path().join("reports/mine")).unwrap();
    let spdx = |package: &str| match package {
        "jq" => Some(document.clone()),
        "xz" => Some(directory.path().join("none")),
        _ => None,
    };
    let extras = Extras { state_csv: None, spdx: &spdx };
    let mut written = Vec::new();
    for number in 0..3 {
        let mut events = events();
        let Event::RunStarted { run, .. } = &mut events[0].event else { unreachable!() };
        *run = run_name(1_000_000_000 + number, &["zlib".to_owned()]);
        let path = recorded(directory.path(), &events);
        // A torn tail is no event.
        let mut torn = fs::read(&path).unwrap();
        torn.extend(b"{\"event\":\"warn");
        fs::write(&path, torn).unwrap();
        written.push(store.write(&path, extras).unwrap().unwrap());
    }
    let names: Vec<String> =
        written.iter().map(|one| one.directory.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert!(names[0].starts_with("20010909T014640Z-") && names[0].len() == 25, "{names:?}");
    assert!(names.is_sorted());
    assert_eq!(written[2].removed, [written[0].directory.clone()]);
    assert!(!written[0].directory.exists() && written[1].directory.exists());
    assert!(directory.path().join("reports/mine").exists(), "what is no report is left alone");
    let latest = directory.path().join("reports/latest");
    assert_eq!(fs::read_link(&latest).unwrap().to_string_lossy(), names[2]);
    let mut files: Vec<String> = fs::read_dir(&latest)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(
        files,
        ["events.ndjson", "index.html", "junit.xml", "spdx", "spdx.json", "summary.json", "trace.json"]
    );
    assert_eq!(fs::read_to_string(latest.join("spdx/jq-1-1.spdx.json")).unwrap(), "{}");
    let summary: serde_json::Value =
        serde_json::from_slice(&fs::read(latest.join("summary.json")).unwrap()).unwrap();
    assert_eq!((summary["schema"].as_u64(), summary["outcome"].as_str()), (Some(1), Some("goals-failed")));
    // Two runs of one second have two reports.
    let again = store.write(&recorded(directory.path(), &events()), extras).unwrap().unwrap();
    let twice = store.write(&recorded(directory.path(), &events()), extras).unwrap().unwrap();
    assert_eq!(twice.directory.to_string_lossy(), format!("{}-2", again.directory.display()));
}
