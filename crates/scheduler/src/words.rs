//! What a person reads about a plan and a run.

use crate::plan::{PlanDocument, PlannedAction, PlannedPackage};
use crate::run::RunSummary;
use report::ExitStatus;

/// Returns the plan in words: what is built and why, what is blocked and by what, what it will cost.
pub fn plan_text(plan: &PlanDocument, workers: usize) -> String {
    let mut lines = Vec::new();
    let width = plan.packages.iter().map(|package| package.package.len()).max().unwrap_or(0);
    for package in plan.to_build() {
        if let PlannedAction::Build { reasons } = &package.action {
            let reasons = reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            lines.push(format!("build    {:width$}  {reasons}", package.package));
        }
    }
    for (package, obstacles) in plan.blocked() {
        for obstacle in obstacles {
            lines.push(format!("blocked  {package:width$}  {obstacle}"));
        }
    }
    let (building, blocked) = (plan.to_build().count(), plan.blocked().count());
    let up_to_date = plan.up_to_date();
    let mut total = format!("{building} to build, {up_to_date} up to date");
    if blocked > 0 {
        total.push_str(&format!(", {blocked} blocked"));
    }
    if building > 0 {
        let expected = (plan.work_seconds / workers as f64).max(plan.critical_path_seconds);
        total.push_str(&format!(
            "; about {} ({} of work, longest chain {})",
            duration(expected),
            duration(plan.work_seconds),
            duration(plan.critical_path_seconds)
        ));
    }
    lines.push(total);
    lines.join("\n")
}

/// Returns what a run did, the root causes first, each once.
///
/// Packages that the plan could not build count as blocked.
pub fn summary_text(plan: &PlanDocument, summary: &RunSummary, seconds: f64) -> String {
    let mut lines = Vec::new();
    if !summary.failed.is_empty() {
        lines.push(format!("{} failed:", summary.failed.len()));
        for (package, message) in &summary.failed {
            let waiting = summary.blocked.iter().filter(|(_, by)| by.contains(package)).count();
            let consequence =
                if waiting == 0 { String::new() } else { format!("; {waiting} more wait for it") };
            lines.push(format!("  {package}: {}{consequence}", message.lines().next().unwrap_or_default()));
        }
    }
    if !summary.not_started.is_empty() {
        lines.push(format!(
            "stopped before {} of them; run the same command to go on",
            summary.not_started.len()
        ));
    }
    let mut parts = vec![format!("{} built", summary.built.len())];
    let mut part = |count: usize, word: &str| {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    };
    part(summary.identical.len(), "identical");
    part(untouched(plan, summary), "up to date");
    part(summary.failed.len(), "failed");
    part(summary.blocked.len() + plan.blocked().count(), "blocked");
    part(summary.not_started.len(), "not started");
    lines.push(format!("{} in {}", parts.join(", "), duration(seconds)));
    lines.join("\n")
}

/// Returns how many packages were up to date and stayed so: a cascade may have reached some.
fn untouched(plan: &PlanDocument, summary: &RunSummary) -> usize {
    let touched = |name: &String| {
        summary.built.contains(name)
            || summary.identical.contains(name)
            || summary.failed.contains_key(name)
            || summary.blocked.contains_key(name)
            || summary.not_started.contains(name)
    };
    let up_to_date = |package: &&PlannedPackage| package.action == PlannedAction::UpToDate;
    plan.packages.iter().filter(up_to_date).filter(|package| !touched(&package.package)).count()
}

/// Returns the exit status of a run over a plan.
pub fn run_status(plan: &PlanDocument, summary: &RunSummary) -> ExitStatus {
    if summary.is_complete() && plan.blocked().next().is_none() {
        ExitStatus::Done
    } else {
        ExitStatus::GoalsFailed
    }
}

/// Returns seconds as people say them.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min", whole.div_ceil(60)),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn planned(name: &str, action: PlannedAction) -> PlannedPackage {
        let package = name.to_owned();
        PlannedPackage { package, level: 0, action, needs: Vec::new(), estimate_seconds: 0.0 }
    }

    #[test]
    fn the_summary_names_root_causes_once() {
        let mut summary =
            RunSummary { built: vec!["zlib".into()], identical: vec!["lz4".into()], ..RunSummary::default() };
        summary.failed.insert("onig".into(), "%build failed\nmore".into());
        for name in ["jq", "php"] {
            summary.blocked.insert(name.into(), BTreeSet::from(["onig".to_owned()]));
        }
        let blocked = || PlannedAction::Blocked { obstacles: vec!["nothing provides `x`".into()] };
        let packages = vec![
            planned("zlib", PlannedAction::UpToDate),
            planned("xz", PlannedAction::UpToDate),
            planned("bad", blocked()),
        ];
        let plan = PlanDocument {
            schema: PlanDocument::SCHEMA,
            goals: Vec::new(),
            packages,
            critical_path_seconds: 0.0,
            work_seconds: 0.0,
        };
        assert_eq!(
            summary_text(&plan, &summary, 61.0),
            "1 failed:\n  onig: %build failed; 2 more wait for it\n1 built, 1 identical, 1 up to date, 1 failed, 3 blocked in 61 s"
        );
    }

    #[test]
    fn durations_are_short() {
        assert_eq!([0.25, 12.4, 125.0, 9000.0].map(duration), ["0.2 s", "12 s", "3 min", "2.5 h"]);
    }
}
