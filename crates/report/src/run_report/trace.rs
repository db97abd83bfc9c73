//! `trace.json`: the run in the trace event format, one thread for each build that ran at the same time.

use serde_json::{Value, json};

use super::RunReport;

/// Returns the trace.
pub(super) fn trace(report: &RunReport) -> Value {
    let lanes = report.packages.iter().filter_map(|package| package.span.as_ref()).map(|span| span.lane + 1);
    let lanes = lanes.max().unwrap_or(0);
    let name = |kind: &str, thread: usize, name: String| json!({"name": kind, "ph": "M", "pid": 1, "tid": thread, "args": {"name": name}});
    let mut events =
        vec![name("process_name", 0, report.command.clone()), name("thread_name", 0, "stages".into())];
    events.extend((1..=lanes).map(|lane| name("thread_name", lane, format!("builds {lane}"))));
    for stage in &report.stages {
        let seconds = stage.seconds.unwrap_or_default();
        let arguments = json!({"summary": stage.summary});
        events.push(slice(stage.stage.as_str(), "stage", 0, stage.start_seconds, seconds, &arguments));
    }
    for package in &report.packages {
        let Some(span) = &package.span else { continue };
        let reasons: Vec<String> = package.reasons.iter().map(ToString::to_string).collect();
        let arguments = json!({"state": package.state, "reasons": reasons});
        let thread = span.lane + 1;
        events.push(slice(&package.package, "build", thread, span.start_seconds, span.seconds, &arguments));
        for phase in &span.phases {
            events.push(slice(
                &phase.phase,
                "section",
                thread,
                phase.start_seconds,
                phase.seconds,
                &json!({}),
            ));
        }
    }
    json!({"displayTimeUnit": "ms", "traceEvents": events})
}

/// Returns a slice; its times are whole microseconds.
fn slice(name: &str, kind: &str, thread: usize, start: f64, seconds: f64, arguments: &Value) -> Value {
    let microseconds = |seconds: f64| (seconds * 1e6).round() as u64;
    json!({
        "name": name, "cat": kind, "ph": "X", "pid": 1, "tid": thread,
        "ts": microseconds(start), "dur": microseconds(seconds), "args": arguments,
    })
}
