//! Keeps `docs/reports.md` true: its table has every event with every field, and no other event.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use report::{Event, Hindrance, PackageEnd, PlannedBuild, RunOutcome, RunPlan, Stage};
use rpm_model::{CheckReport, CheckVerdict, FailureClass, UnusedRequirement};
use serde_json::Value;

/// Returns an event of each kind. The match makes the compiler ask for a new one here.
fn one_of_each() -> Vec<Event> {
    let text = || "x".to_owned();
    let finished = |end| Event::PackageFinished { package: text(), end, seconds: 1.0, done: 1, total: 1 };
    let build = PlannedBuild {
        package: text(),
        reasons: Vec::new(),
        needs: Vec::new(),
        dependants: 0,
        estimate_seconds: 1.0,
        estimate_guessed: false,
        way_seconds: 1.0,
    };
    let hindrance = Hindrance { cause: text(), open: false, packages: Vec::new() };
    let plan = RunPlan { builds: vec![build], hindrances: vec![hindrance], ..RunPlan::default() };
    let failed = PackageEnd::Failed {
        class: FailureClass::Timeout,
        message: text(),
        decisive_lines: Vec::new(),
        log: text(),
    };
    let events = vec![
        Event::RunStarted { run: text(), command: text(), started_at: 1 },
        Event::Planned(plan),
        Event::RunFinished {
            outcome: RunOutcome::Done,
            message: None,
            seconds: 1.0,
            counts: ["built", "reused"].map(|end| (end.to_owned(), 1)).into(),
        },
        Event::StageStarted { stage: Stage::Pack, total: None },
        Event::StageProgress { stage: Stage::Pack, done: 1, total: 1, detail: text() },
        Event::StageFinished { stage: Stage::Pack, summary: text(), seconds: 1.0 },
        Event::RoundStarted { round: 1, to_build: 1, waiting: 1 },
        Event::PackageStarted { package: text(), reasons: Vec::new(), waiting: 1 },
        Event::PackagePhase { package: text(), phase: text() },
        Event::PackageUsage {
            package: text(),
            phases: Vec::new(),
            source: None,
            check: CheckReport::of(CheckVerdict::None),
            caches: Vec::new(),
        },
        Event::PackageUnused {
            package: text(),
            requirements: 1,
            opened_files: 1,
            unused: vec![UnusedRequirement { requirement: text(), packages: Vec::new() }],
        },
        Event::PackageReused { package: text(), store: text() },
        Event::PackageCompared { package: text(), changes: Vec::new(), spared: 1 },
        finished(PackageEnd::Built),
        finished(PackageEnd::Identical),
        finished(failed),
        finished(PackageEnd::Postponed { why: text() }),
        finished(PackageEnd::Blocked { by: Vec::new() }),
        Event::MassRebuildProgress { name: text(), done: 1, failed: 1, total: 2 },
        Event::Warning { message: text() },
        Event::Note { message: text() },
    ];
    for event in &events {
        match event {
            Event::RunStarted { .. }
            | Event::Planned(_)
            | Event::RunFinished { .. }
            | Event::StageStarted { .. }
            | Event::StageProgress { .. }
            | Event::StageFinished { .. }
            | Event::RoundStarted { .. }
            | Event::PackageStarted { .. }
            | Event::PackagePhase { .. }
            | Event::PackageUsage { .. }
            | Event::PackageUnused { .. }
            | Event::PackageReused { .. }
            | Event::PackageCompared { .. }
            | Event::PackageFinished { .. }
            | Event::MassRebuildProgress { .. }
            | Event::Warning { .. }
            | Event::Note { .. } => {}
        }
    }
    events
}

/// Returns the keys of a value and of all that is in it, but for what other pages describe.
fn keys(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                found.push(key.clone());
                if key != "check" {
                    keys(value, found);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn the_page_has_every_event_with_every_field() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reports.md");
    let page = std::fs::read_to_string(path).unwrap();
    let table = page.split_once("## Events").unwrap().1.split_once("## ").unwrap().0;
    let rows: BTreeMap<&str, &str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).collect();
    let mut missing = Vec::new();
    let mut names = Vec::new();
    for event in one_of_each() {
        let value = serde_json::to_value(&event).unwrap();
        let name = value["event"].as_str().unwrap().to_owned();
        let row = rows.get(name.as_str()).copied().unwrap_or_default();
        let mut fields = Vec::new();
        keys(&value, &mut fields);
        fields.extend(value["end"].as_str().map(str::to_owned));
        fields.retain(|field| field != "event" && !row.contains(&format!("`{field}`")));
        missing.extend(fields.iter().map(|field| format!("{name}: {field}")));
        names.push(name);
    }
    assert!(missing.is_empty(), "docs/reports.md does not name {missing:?}");
    let others: Vec<&&str> = rows.keys().filter(|row| !names.iter().any(|name| name == *row)).collect();
    assert!(others.is_empty(), "docs/reports.md names what is no event: {others:?}");
}
