//! `index.html`: the report for people, in one file that asks nobody for anything.
//!
//! Everything that comes from a run (names, log lines, commands) is text to the template, which escapes it; the page's
//! own policy forbids it to fetch anything besides. The one script sorts tables; without it they are as they are.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use rpm_model::CheckReport;

use super::timeline::{SECTIONS, timeline};
use super::{PackageReport, PackageState, REUSED, RunReport, UP_TO_DATE, UnusedRequirements, key};
use crate::event::RunOutcome;
use crate::lines::reasons_text;
use crate::text::duration;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// What the page may do: show its own style, run its own script.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
/// A list of the slowest is no list of all.
const SLOWEST: usize = 15;

/// Returns the page.
pub(super) fn page(report: &RunReport, files: &[(String, String)]) -> String {
    let title = format!("{}: {}", outcome_words(report), report.command);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(report))
                (failures(report))
                (hindrances(report))
                (picture(report))
                (paths(report))
                (packages(report))
                (most(report))
                (unused(report))
                (untouched(report))
                (stages(report))
                (other_files(files))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn outcome_words(report: &RunReport) -> &'static str {
    match report.outcome {
        RunOutcome::Done => "done",
        RunOutcome::GoalsFailed => "some goals failed",
        RunOutcome::Stopped => "stopped by the user",
        RunOutcome::Aborted => "could not go on",
        RunOutcome::Killed => "ended from outside",
    }
}

fn head(report: &RunReport) -> Markup {
    let class = if report.outcome == RunOutcome::Done { "good" } else { "bad" };
    let counted = [
        (PackageState::Failed.as_str(), "bad"),
        (PackageState::Interrupted.as_str(), "bad"),
        (PackageState::Blocked.as_str(), "notable"),
        (PackageState::Postponed.as_str(), "notable"),
        (PackageState::NotStarted.as_str(), "notable"),
        (PackageState::Built.as_str(), "good"),
        (PackageState::Identical.as_str(), "good"),
        (REUSED, "good"),
        (UP_TO_DATE, ""),
    ];
    html! {
        h1 { span class=(class) { (outcome_words(report)) } }
        p class="command" { code { (report.command) } }
        p { (utc(report.started_at)) ", " (duration(report.seconds)) " with " (report.workers)
            @if report.workers == 1 { " worker" } @else { " workers" } }
        @if let Some(message) = &report.message { pre class="bad" { (message) } }
        ul class="counts" {
            @for (words, class) in counted {
                @if let Some(count) = report.counts.get(&key(words)) { li class=(class) { b { (count) } " " (words) } }
            }
        }
    }
}

fn state_class(state: PackageState) -> &'static str {
    match state {
        PackageState::Failed | PackageState::Interrupted => "bad",
        PackageState::Blocked | PackageState::Postponed | PackageState::NotStarted => "notable",
        PackageState::Built | PackageState::Identical => "good",
    }
}

fn failures(report: &RunReport) -> Markup {
    let failed: Vec<&PackageReport> = report.in_state(PackageState::Failed).collect();
    html! {
        @if !failed.is_empty() { h2 { "Failed" } }
        @for package in failed {
            section class="failure" {
                h3 { (package.package) }
                @if let Some(failure) = &package.failure {
                    p { (failure.message) " " span class="faint" { "[" (failure.class.as_str()) "]" } }
                    @if !failure.decisive_lines.is_empty() { pre { (failure.decisive_lines.join("\n")) } }
                    dl {
                        @if !failure.log.is_empty() { dt { "log" } dd { code { (failure.log) } } }
                        dt { "next" } dd { (failure.advice)
                            @if !failure.log.is_empty() { "; " code { "millwright shell " (package.package) } " enters the build root" } }
                        @let blocked = blocked_by(report, &package.package);
                        @if !blocked.is_empty() {
                            dt { "blocks" } dd { (blocked.len()) ": " (blocked.join(", ")) }
                        }
                    }
                }
            }
        }
    }
}

fn blocked_by<'a>(report: &'a RunReport, cause: &str) -> Vec<&'a str> {
    report
        .in_state(PackageState::Blocked)
        .filter(|package| package.blocked_by.iter().any(|by| by == cause))
        .map(|package| package.package.as_str())
        .collect()
}

fn hindrances(report: &RunReport) -> Markup {
    html! {
        @if !report.hindrances.is_empty() {
            h2 { "Blocked, by root cause" }
            ul {
                @for hindrance in &report.hindrances {
                    li {
                        (hindrance.cause)
                        @if hindrance.open { " (builds may still show it)" }
                        br;
                        span class="faint" { "blocks " (hindrance.packages.len()) ": " (hindrance.packages.join(", ")) }
                    }
                }
            }
        }
    }
}

fn picture(report: &RunReport) -> Markup {
    html! {
        @if report.packages.iter().any(|package| package.span.is_some()) {
            h2 { "Timeline" }
            p class="legend" {
                @for (name, class) in SECTIONS { span { span class={"box " (class)} {} (name) } }
                span { span class="box s6" {} "other" }
                span { span class="box brokenbox" {} "failed or interrupted" }
            }
            div class="wide" { (timeline(report)) }
            p class="faint" { "A row for each build that ran at the same time; minutes and seconds since the first build began." }
        }
    }
}

fn paths(report: &RunReport) -> Markup {
    let of = |name: &String| {
        let package = report.packages.iter().find(|package| package.package == *name);
        package
            .filter(|package| package.span.is_some())
            .map_or(String::new(), |package| duration(package.seconds()))
    };
    html! {
        @if !report.longest_path.is_empty() {
            h2 { "Critical path" }
            p { "The longest chain of builds took " (duration(report.longest_path_seconds)) ":" }
            p { @for (number, name) in report.longest_path.iter().enumerate() {
                @if number > 0 { " → " } b { (name) } " " (of(name)) } }
            @if report.planned_path != report.longest_path && !report.planned_path.is_empty() {
                p class="faint" { "Planned, with an expected " (duration(report.planned_path_seconds)) ": "
                    (report.planned_path.join(" → ")) }
            }
        }
    }
}

fn packages(report: &RunReport) -> Markup {
    let mut sorted: Vec<&PackageReport> = report.packages.iter().collect();
    sorted.sort_by(|a, b| (a.state, &a.package).cmp(&(b.state, &b.package)));
    html! {
        @if !sorted.is_empty() {
            h2 { "Packages" }
            div class="wide" { table class="sortable" {
                thead { tr {
                    th { "Package" } th { "State" } th { "Why" } th class="number" { "Took" } th class="number" { "Expected" }
                    th class="number" { "CPU" } th class="number" { "Peak memory" } th { "Check" }
                } }
                tbody { @for package in sorted {
                    tr {
                        td { b { (package.package) } }
                        td class=(state_class(package.state)) { (package.counts_as()) }
                        td { (why(package)) }
                        (seconds_cell("took", package.span.as_ref().map(|span| span.seconds), false))
                        (seconds_cell("expected", package.estimate_seconds, package.estimate_guessed))
                        (seconds_cell("CPU", package.cpu_seconds.filter(|_| package.reused_from.is_none()), false))
                        (memory_cell("peak", peak_memory(package)))
                        (check_cell(package.check.as_ref()))
                    }
                } }
            } }
        }
    }
}

/// Returns why a package was built, and what else there is to say about its end.
fn why(package: &PackageReport) -> String {
    let mut text = reasons_text(&package.reasons);
    let mut add = |more: &str| {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(more);
    };
    if let Some(store) = &package.reused_from {
        add(&format!("the result was taken from the store {store}"));
    }
    for change in &package.changes {
        add(&format!("differs from what was published: {change}"));
    }
    match package.state {
        PackageState::Blocked => add(&format!("needs {}", package.blocked_by.join(", "))),
        PackageState::Identical => match package.spared {
            0 => {}
            1 => add("came out as published, so 1 package that needs it is spared"),
            more => add(&format!("came out as published, so {more} packages that need it are spared")),
        },
        PackageState::Postponed => add(package.postponed_for.as_deref().unwrap_or_default()),
        _ => {}
    }
    // A browser may break a line within the arrow that terminals are given.
    text.replace(" -> ", " \u{2192} ")
}

/// Returns a cell; `label` says what it is where the page is too narrow for the table's head.
fn seconds_cell(label: &str, seconds: Option<f64>, guessed: bool) -> Markup {
    html! { @match seconds {
        Some(seconds) => { td class="number" data-label=(label) data-value=(format!("{seconds:.3}")) { @if guessed { "~" } (duration(seconds)) } }
        None => { td {} }
    } }
}

fn memory_cell(label: &str, bytes: Option<u64>) -> Markup {
    html! { @match bytes {
        Some(bytes) => { td class="number" data-label=(label) data-value=(bytes) { (mebibytes(bytes)) } }
        None => { td {} }
    } }
}

/// Returns the verdict, and how many tests did what; what none did is not worth the room.
fn check_cell(check: Option<&CheckReport>) -> Markup {
    let Some(check) = check else { return html! { td {} } };
    let numbers: Vec<String> =
        [(check.passed, "passed"), (check.failed, "failed"), (check.skipped, "skipped")]
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, word)| format!("{number} {word}"))
            .collect();
    html! { td data-label="check" title=(check) { (check.verdict) @if !numbers.is_empty() { " (" (numbers.join(", ")) ")" } } }
}

/// Returns what a build of this run used; what was taken from a store tells of another.
fn peak_memory(package: &PackageReport) -> Option<u64> {
    package.peak_memory_bytes.filter(|_| package.reused_from.is_none())
}

fn mebibytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 10.0 { format!("{mebibytes:.1} MiB") } else { format!("{mebibytes:.0} MiB") }
}

fn most(report: &RunReport) -> Markup {
    let mut slow: Vec<&PackageReport> =
        report.packages.iter().filter(|package| package.span.is_some()).collect();
    slow.sort_by(|a, b| b.seconds().total_cmp(&a.seconds()));
    slow.truncate(SLOWEST);
    let mut large: Vec<(&PackageReport, u64)> =
        report.packages.iter().filter_map(|package| Some((package, peak_memory(package)?))).collect();
    large.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.package.cmp(&b.package)));
    large.truncate(SLOWEST);
    let longest = slow.first().map_or(0.0, |package| package.seconds());
    let largest = large.first().map_or(0, |(_, bytes)| *bytes);
    html! {
        @if slow.len() > 1 {
            div class="columns" {
                div {
                    h2 { "Slowest" }
                    table { @for package in slow { tr {
                        td { (package.package) } td class="number" { (duration(package.seconds())) }
                        (bar_cell(package.seconds() / longest.max(0.001)))
                    } } }
                }
                @if !large.is_empty() { div {
                    h2 { "Most memory" }
                    table { @for (package, bytes) in large { tr {
                        td { (package.package) } td class="number" { (mebibytes(bytes)) }
                        (bar_cell(bytes as f64 / largest.max(1) as f64))
                    } } }
                } }
            }
        }
    }
}

/// Returns what builds that were watched opened nothing of.
fn unused(report: &RunReport) -> Markup {
    let watched: Vec<(&PackageReport, &UnusedRequirements)> =
        report.packages.iter().filter_map(|package| Some((package, package.unused.as_ref()?))).collect();
    let found = watched.iter().filter(|(_, unused)| !unused.unused.is_empty());
    html! {
        @if !watched.is_empty() {
            h2 { "Unused build requirements" }
            @if found.clone().next().is_none() {
                p { (watched.len()) " watched; each build opened files of everything that its spec asks for." }
            } @else {
                p { (found.clone().count()) " of " (watched.len()) " builds that were watched opened no file of packages that the spec asks for (beside each: what it brings into the build root). "
                    span class="faint" { "A hint, not a proof: try a build without the requirement." } }
                div class="wide" { table {
                    thead { tr { th { "Package" } th class="number" { "Unused" } th { "BuildRequires" } } }
                    tbody { @for (package, unused) in found {
                        tr {
                            td { b { (package.package) } }
                            td class="number" { (unused.unused.len()) " of " (unused.requirements) }
                            td { @for one in &unused.unused { div { code { (one.requirement) } " " span class="faint" { (one.packages.join(", ")) } } } }
                        }
                    } }
                } }
            }
        }
    }
}

fn bar_cell(part: f64) -> Markup {
    html! { td class="bar" { span style=(format!("width:{:.1}%", part * 100.0)) {} } }
}

fn untouched(report: &RunReport) -> Markup {
    let folded = |title: &str, list: &[String]| {
        html! { @if !list.is_empty() { details { summary { (title) ": " (list.len()) } p { (list.join(", ")) } } } }
    };
    html! {
        @if !report.warnings.is_empty() {
            h2 { "Warnings" }
            ul { @for warning in &report.warnings { li { (warning) } } }
        }
        @if !report.up_to_date.is_empty() || !report.ignored.is_empty() {
            h2 { "Not built" }
            (folded("Up to date", &report.up_to_date))
            (folded("Left alone, as asked", &report.ignored))
        }
    }
}

fn stages(report: &RunReport) -> Markup {
    html! {
        @if !report.stages.is_empty() {
            h2 { "Stages" }
            div class="wide" { table { @for stage in &report.stages { tr {
                td { (stage.stage.as_str()) }
                td class="number" { @match stage.seconds { Some(seconds) => (duration(seconds)), None => "did not end" } }
                td { (stage.summary) }
            } } } }
        }
    }
}

fn other_files(files: &[(String, String)]) -> Markup {
    html! {
        @if !files.is_empty() {
            h2 { "For programs" }
            ul { @for (name, what) in files { li { a href=(name) { (name) } ": " (what) } } }
        }
    }
}

/// Returns a time as people read it.
fn utc(seconds: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").replace('Z', " UTC")
}
