//! What a run did, in words.

use std::collections::BTreeSet;

use grapher::list_of_names;
use report::ExitStatus;
use rpm_model::BuildReason;

use super::duration;
use crate::plan::{PlanDocument, PlannedAction, PlannedPackage};
use crate::run::{Halt, RunSummary};

/// Names of interrupted builds that are told; there are no more of them than workers.
const MOST_NAMES: usize = 20;

/// Returns what a run did, the root causes first, each once.
///
/// Packages that the plan could not build count as blocked.
pub fn summary_text(plan: &PlanDocument, summary: &RunSummary, seconds: f64) -> String {
    let mut lines = Vec::new();
    if !summary.failed.is_empty() {
        lines.push(format!("{} failed:", summary.failed.len()));
        for RootFailure { package, message, blocks } in root_failures(summary) {
            let consequence = if blocks.is_empty() {
                String::new()
            } else {
                format!("; {} more wait for it", blocks.len())
            };
            lines.push(format!("  {package}: {}{consequence}", message.lines().next().unwrap_or_default()));
        }
    }
    if let Some(Halt { packages, message, .. }) = &summary.halt {
        let names: Vec<&str> = packages.iter().map(String::as_str).collect();
        lines.push(format!(
            "stopped because this host fails whatever it is given: {}, one after the other; the last with: {message}",
            names.join(", ")
        ));
        lines.push(
            "  help: `millwright doctor` says what the host lacks; then run the same command again"
                .to_owned(),
        );
    }
    lines.extend(stopped_line(plan, summary));
    let reused = |list: &[String]| list.iter().filter(|name| summary.reused.contains(*name)).count();
    let (taken, alike) = (reused(&summary.built), reused(&summary.identical));
    let mut parts = vec![format!("{} built", summary.built.len() - taken)];
    let mut part = |count: usize, word: &str| {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    };
    part(summary.identical.len() - alike, "identical");
    part(taken + alike, "reused");
    part(untouched(plan, summary), "up to date");
    part(summary.failed.len(), "failed");
    // What failed in one round blocks itself in the plan of the next.
    let blocked: BTreeSet<&str> = summary.blocked.keys().map(String::as_str).chain(plan.blocked()).collect();
    part(blocked.iter().filter(|name| !summary.failed.contains_key(**name)).count(), "blocked");
    part(summary.interrupted.len(), "interrupted");
    part(summary.not_started.len(), "not started");
    lines.push(format!("{} in {}", parts.join(", "), duration(seconds)));
    lines.join("\n")
}

/// Returns what the user's stopping of the run left undone, and how to go on.
fn stopped_line(plan: &PlanDocument, summary: &RunSummary) -> Option<String> {
    let ended: Vec<&String> = summary.interrupted.iter().collect();
    let not_started = summary.not_started.len();
    let what = match (ended.is_empty(), not_started) {
        (true, 0) => return None,
        (true, _) => format!("stopped before {not_started} of them"),
        (false, 0) => format!("interrupted while it built {}", list_of_names(&ended, MOST_NAMES)),
        (false, _) => format!(
            "interrupted while it built {}, and before {not_started} more",
            list_of_names(&ended, MOST_NAMES)
        ),
    };
    let how = "run the same command to go on";
    // What is asked for is built by every run that asks for it, also what this one has built already.
    let done = !(summary.built.is_empty() && summary.identical.is_empty());
    let asked = plan.packages.iter().any(|planned| {
        let left =
            summary.interrupted.contains(&planned.package) || summary.not_started.contains(&planned.package);
        left && matches!(&planned.action, PlannedAction::Build { reasons, .. } if reasons.contains(&BuildReason::Requested))
    });
    if !(done && asked) {
        return Some(format!("{what}; {how}"));
    }
    let left: BTreeSet<&String> = summary.interrupted.iter().chain(&summary.not_started).collect();
    let left: Vec<&String> = left.into_iter().collect();
    Some(format!(
        "{what}; {how}, naming only what is left, for it builds again all that it names: {}",
        list_of_names(&left, MOST_NAMES)
    ))
}

/// A package that failed, with all that could not be tried because of it.
struct RootFailure<'a> {
    package: &'a str,
    message: &'a str,
    blocks: Vec<&'a str>,
}

/// Returns what failed, what prevents most first; each blocked package counts once, with the first of its causes.
fn root_failures(summary: &RunSummary) -> Vec<RootFailure<'_>> {
    let count = |package: &str| summary.blocked.values().filter(|by| by.contains(package)).count();
    let mut failed: Vec<(usize, &String, &String)> =
        summary.failed.iter().map(|(package, message)| (count(package), package, message)).collect();
    failed.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let mut told: BTreeSet<&str> = BTreeSet::new();
    let mut roots = Vec::new();
    for (_, package, message) in failed {
        let blocked = summary.blocked.iter().filter(|(_, by)| by.contains(package));
        let blocks: Vec<&str> =
            blocked.map(|(name, _)| name.as_str()).filter(|name| told.insert(name)).collect();
        roots.push(RootFailure { package, message, blocks });
    }
    roots
}

/// Returns how many packages were up to date and stayed so: a cascade may have reached some.
fn untouched(plan: &PlanDocument, summary: &RunSummary) -> usize {
    let touched = |name: &String| {
        summary.has_built(name)
            || summary.failed.contains_key(name)
            || summary.blocked.contains_key(name)
            || summary.not_started.contains(name)
            || summary.interrupted.contains(name)
    };
    let up_to_date = |package: &&PlannedPackage| package.action == PlannedAction::UpToDate;
    plan.packages.iter().filter(up_to_date).filter(|package| !touched(&package.package)).count()
}

/// Returns the exit status of a run over a plan.
pub fn run_status(plan: &PlanDocument, summary: &RunSummary) -> ExitStatus {
    if summary.halt.is_some() {
        ExitStatus::Environment
    } else if summary.is_complete() && plan.blocked().next().is_none() {
        ExitStatus::Done
    } else {
        ExitStatus::GoalsFailed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{Scene, plan_of};
    use crate::rounds::Rounds;

    #[test]
    fn the_summary_names_root_causes_once() {
        let mut summary =
            RunSummary { built: vec!["zlib".into()], identical: vec!["lz4".into()], ..RunSummary::default() };
        summary.failed.insert("onig".into(), "%build failed\nmore".into());
        for name in ["jq", "php"] {
            summary.blocked.insert(name.into(), BTreeSet::from(["onig".to_owned()]));
        }
        let scene = Scene::new(&["zlib:", "xz:", "bad: !x"]).took("zlib", 1.0).took("xz", 1.0);
        let plan = plan_of(&scene, &Rounds::default());
        assert_eq!(
            summary_text(&plan, &summary, 61.0),
            "1 failed:\n  onig: %build failed; 2 more wait for it\n1 built, 1 identical, 1 up to date, 1 failed, 3 blocked in 1:01 min"
        );
    }

    #[test]
    fn what_blocks_most_comes_first_and_each_blocked_package_counts_once() {
        let mut summary = RunSummary::default();
        for name in ["apr", "zlib"] {
            summary.failed.insert(name.into(), "boom".into());
        }
        let both = BTreeSet::from(["apr".to_owned(), "zlib".to_owned()]);
        summary.blocked.insert("httpd".into(), both);
        summary.blocked.insert("curl".into(), BTreeSet::from(["zlib".to_owned()]));
        let plan = plan_of(&Scene::new(&["apr:", "zlib:"]), &Rounds::default());
        let text = summary_text(&plan, &summary, 1.0);
        assert!(text.starts_with("2 failed:\n  zlib: boom; 2 more wait for it\n  apr: boom\n"), "{text}");
    }

    #[test]
    fn a_host_that_fails_is_told_with_advice_and_is_no_failure_of_packages() {
        let packages = ["a", "b", "c"].map(str::to_owned);
        let halt = Halt { host: "h".into(), packages: packages.into(), message: "no space".into() };
        let summary = RunSummary { halt: Some(halt), ..RunSummary::default() };
        let plan = plan_of(&Scene::new(&["a:"]), &Rounds::default());
        let text = summary_text(&plan, &summary, 1.0);
        assert!(text.contains("a, b, c, one after the other; the last with: no space\n  help: "), "{text}");
        assert_eq!(run_status(&plan, &summary), ExitStatus::Environment);
    }

    #[test]
    fn a_stopped_run_says_what_it_left_and_how_to_go_on() {
        let scene = Scene::new(&["a:", "b:"]);
        let plan = plan_of(&scene, &Rounds::default());
        let text = |interrupted: &[&str], not_started: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let interrupted = owned(interrupted).into_iter().collect();
            let summary =
                RunSummary { interrupted, not_started: owned(not_started), ..RunSummary::default() };
            assert_eq!(run_status(&plan, &summary), ExitStatus::GoalsFailed);
            summary_text(&plan, &summary, 1.0)
        };
        let on = "run the same command to go on";
        assert_eq!(
            text(&[], &["b"]),
            format!("stopped before 1 of them; {on}\n0 built, 1 not started in 1.0 s")
        );
        assert_eq!(
            text(&["a"], &[]),
            format!("interrupted while it built a; {on}\n0 built, 1 interrupted in 1.0 s")
        );
        assert_eq!(
            text(&["a", "c"], &["b"]),
            format!(
                "interrupted while it built a, c, and before 1 more; {on}\n0 built, 2 interrupted, 1 not started in 1.0 s"
            )
        );
    }

    #[test]
    fn a_stopped_rebuild_says_what_is_left_to_be_named() {
        let mut scene = Scene::new(&["a:", "b:", "c:"]);
        for name in ["a", "b", "c"] {
            scene.requested.insert(name.into(), BuildReason::Requested);
        }
        let plan = plan_of(&scene, &Rounds::default());
        let text = |identical: &[&str], not_started: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let (identical, not_started) = (owned(identical), owned(not_started));
            let summary = RunSummary { identical, not_started, ..RunSummary::default() };
            summary_text(&plan, &summary, 1.0).lines().next().unwrap_or_default().to_owned()
        };
        let on = "run the same command to go on";
        assert_eq!(
            text(&["a"], &["b", "c"]),
            format!(
                "stopped before 2 of them; {on}, naming only what is left, for it builds again all that it names: b, c"
            )
        );
        // Where nothing was done the command is right as it is.
        assert_eq!(text(&[], &["a", "b", "c"]), format!("stopped before 3 of them; {on}"));
    }

    #[test]
    fn what_a_later_round_blocks_because_it_failed_counts_once() {
        let scene = Scene::new(&["onig:", "jq: onig"]);
        let mut rounds = Rounds::default();
        rounds.summary.failed.insert("onig".into(), "boom".into());
        rounds.summary.blocked.insert("jq".into(), BTreeSet::from(["onig".to_owned()]));
        let plan = plan_of(&scene, &rounds);
        let text = summary_text(&plan, &rounds.summary, 1.0);
        assert!(text.ends_with("0 built, 1 failed, 1 blocked in 1.0 s"), "{text}");
        assert_eq!(run_status(&plan, &rounds.summary), ExitStatus::GoalsFailed);
    }
}
