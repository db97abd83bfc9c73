//! A change set in words: before it is carried out, and at its end.

use std::collections::BTreeMap;
use std::path::Path;

use grapher::{Style, counted, list_of_names};
use rebuild::change_set::{ChangeSet, ChangedSpec, SpecState};
use report::duration;
use rpm_model::ReleaseBump;

use super::store::Progress;

/// More specs than this are cut.
const SPECS: usize = 40;
/// More evidence than this in one line helps nobody.
const EVIDENCE: usize = 2;
/// More names in one sentence help nobody.
const NAMES: usize = 12;

/// Where a change set is.
pub(super) struct Files<'a> {
    pub(super) document: &'a Path,
    pub(super) patch: &'a Path,
}

/// Returns a change set in words, with what of it is done.
pub(super) fn set_text(
    set: &ChangeSet,
    states: &BTreeMap<&str, SpecState>,
    files: &Files<'_>,
    style: &Style,
) -> String {
    let about = if set.time.guessed > 0 { "about ~" } else { "about " };
    let head = format!(
        "mass rebuild {}: {} to build for {}, in {}, {about}{} with {}",
        set.name,
        set.count,
        set.request.cause(),
        counted(set.layers(), "layer"),
        duration(set.time.at_least_seconds),
        counted(set.time.workers, "worker"),
    );
    let mut lines = style.lines("", &head);
    lines.extend(spec_lines(set, states, style));
    lines.extend(left_out_lines(set, style));
    if !set.never_built.is_empty() {
        let names = list_of_names(&set.never_built, NAMES);
        let text = format!(
            "never built, so nobody knows whether they belong to it ({}): {names}",
            set.never_built.len()
        );
        lines.push(String::new());
        lines.extend(style.lines("", &text));
    }
    let edited = set.specs.iter().filter(|spec| spec.edit.is_some()).count();
    lines.push(String::new());
    lines.push(format!("change set:  {}", files.document.display()));
    if edited > 0 {
        let edits = counted(edited, "edit");
        lines.push(format!(
            "{edits}:{:1$}{2}",
            "",
            11_usize.saturating_sub(edits.len()).max(1) + 1,
            files.patch.display()
        ));
    }
    lines.push(format!("next:        millwright rebuild --change-set {}", files.document.display()));
    lines.join("\n")
}

fn spec_lines(set: &ChangeSet, states: &BTreeMap<&str, SpecState>, style: &Style) -> Vec<String> {
    if set.specs.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), "to build, by layer:".to_owned()];
    let shown = &set.specs[..style.shown_of(set.specs.len(), SPECS)];
    let width = shown.iter().map(|spec| spec.spec.len()).max().unwrap_or_default();
    let mut layer = 0;
    for spec in shown {
        let number = if layer == spec.layer { String::new() } else { spec.layer.to_string() };
        layer = spec.layer;
        let took = duration(spec.estimate_seconds).replace(' ', "\u{a0}");
        let lead = format!("  {number:>3}  {:width$}  {took:>7}  ", spec.spec);
        let done = match states.get(spec.spec.as_str()) {
            Some(SpecState::Rebuilt | SpecState::Identical) => "done; ",
            Some(SpecState::Open) | None => "",
        };
        lines.extend(style.lines(&lead, &format!("{done}{}; {}", release_text(set, spec), because(spec))));
    }
    lines.extend(
        style
            .left_out_of(set.specs.len(), SPECS, "specs")
            .map(|line| line.replace("--all", "the change set")),
    );
    lines
}

/// Says what becomes of a release.
fn release_text(set: &ChangeSet, spec: &ChangedSpec) -> String {
    let is_counted = set.request.bump == ReleaseBump::Dist.as_str() && spec.edit.is_none();
    match &spec.from {
        Some(from) if *from == spec.to && is_counted => {
            format!("{} again, counted behind %dist if it comes out different", spec.to)
        }
        Some(from) if *from == spec.to => format!("{} again", spec.to),
        Some(from) => format!("{from} -> {}", spec.to),
        None => format!("{}, the first build", spec.to),
    }
}

fn because(spec: &ChangedSpec) -> String {
    let shown: Vec<String> = spec.because.iter().take(EVIDENCE).map(ToString::to_string).collect();
    let more = spec.because.len().saturating_sub(EVIDENCE);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn left_out_lines(set: &ChangeSet, style: &Style) -> Vec<String> {
    if set.left_out.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), format!("left out ({}):", set.left_out.len())];
    for left in &set.left_out {
        lines.extend(style.lines(&format!("  {}: ", left.spec), &left.reason.to_string()));
    }
    lines
}

/// Returns what became of a change set.
pub(super) fn end_text(
    set: &ChangeSet,
    states: &BTreeMap<&str, SpecState>,
    progress: &Progress,
    file: &Path,
    style: &Style,
) -> String {
    let having = |wanted: SpecState| {
        states.iter().filter(|(_, state)| **state == wanted).map(|(spec, _)| *spec).collect::<Vec<_>>()
    };
    let (rebuilt, identical) = (having(SpecState::Rebuilt), having(SpecState::Identical));
    let open = having(SpecState::Open);
    let blocked: Vec<&str> =
        open.iter().filter(|spec| progress.blocked.contains_key(**spec)).copied().collect();
    let waiting: Vec<&str> = open
        .iter()
        .filter(|spec| !progress.failed.contains_key(**spec) && !progress.blocked.contains_key(**spec))
        .copied()
        .collect();
    let mut parts = vec![format!("{} rebuilt", rebuilt.len())];
    let mut part = |count: usize, word: &str| {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    };
    part(identical.len(), "identical and kept");
    part(progress.failed.len(), "failed");
    part(blocked.len(), "never reached");
    part(waiting.len(), "not started");
    part(set.left_out.len(), "left out");
    let head = format!(
        "mass rebuild {} for {}: {} of {} done: {}",
        set.name,
        set.request.cause(),
        rebuilt.len() + identical.len(),
        set.count,
        parts.join(", ")
    );
    let mut lines = style.lines("", &head);
    for (spec, failed) in &progress.failed {
        let message = failed.message.lines().next().unwrap_or_default();
        let log = if failed.log.is_empty() { String::new() } else { format!("; log: {}", failed.log) };
        let text = format!("[{}] {message}{log}", failed.class.as_str());
        lines.extend(style.lines(&format!("  failed: {spec}: "), &text));
    }
    for spec in blocked {
        let by = progress.blocked.get(spec).map(|by| by.join(", ")).unwrap_or_default();
        lines.extend(style.lines(&format!("  never reached: {spec}: "), &format!("blocked by {by}")));
    }
    if !waiting.is_empty() {
        lines.extend(style.lines("  not started: ", &list_of_names(&waiting, NAMES)));
    }
    for left in &set.left_out {
        lines.extend(style.lines(&format!("  left out: {}: ", left.spec), &left.reason.to_string()));
    }
    if !open.is_empty() {
        let only = if progress.failed.is_empty() { "" } else { " (--only-failed: no more than what failed)" };
        lines.push(format!("  next: millwright rebuild --change-set {}{only}", file.display()));
    }
    lines.join("\n")
}
