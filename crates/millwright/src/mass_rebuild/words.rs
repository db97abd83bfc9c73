//! A change set in words: before it is carried out, and at its end.

use std::collections::BTreeMap;
use std::path::Path;

use grapher::{Style, list_of_names};
use rebuild::change_set::{ChangeSet, ChangedSpec, CountedRelease, SpecState};
use report::{counted, duration};

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
    if !set.also_due.is_empty() {
        let (number, names) = (set.also_due.len(), list_of_names(&set.also_due, NAMES));
        lines.push(String::new());
        lines.extend(
            style
                .lines("", &format!("built besides, for it needs them and they are due ({number}): {names}")),
        );
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
    let took = |spec: &ChangedSpec| duration(spec.estimate_seconds).replace(' ', "\u{a0}");
    let widest = shown.iter().map(|spec| took(spec).chars().count()).fold(7, usize::max);
    let mut layer = 0;
    for spec in shown {
        let number = if layer == spec.layer { String::new() } else { spec.layer.to_string() };
        layer = spec.layer;
        let lead = format!("  {number:>3}  {:width$}  {:>widest$}  ", spec.spec, took(spec));
        let done = match states.get(spec.spec.as_str()) {
            Some(SpecState::Rebuilt | SpecState::Identical) => "done; ",
            Some(SpecState::Open) | None => "",
        };
        lines.extend(style.lines(&lead, &format!("{done}{}; {}", release_text(spec), because(spec))));
    }
    lines.extend(
        style
            .left_out_of(set.specs.len(), SPECS, "specs")
            .map(|line| line.replace("--all", "the change set")),
    );
    lines
}

/// Says what becomes of a release.
fn release_text(spec: &ChangedSpec) -> String {
    let from = spec.from.as_ref();
    match (&spec.counted, from) {
        (Some(CountedRelease::Rises { to }), Some(from)) => {
            format!("{from} -> {to}, unless it comes out the same")
        }
        (Some(CountedRelease::Stays { because }), Some(from)) => {
            format!("{from} again, its release does not rise: {because}")
        }
        // What is counted may be above what the spec says.
        (_, Some(from)) if from.compare(&spec.to).is_ge() => format!("{from} again"),
        (_, Some(from)) => format!("{from} -> {}", spec.to),
        (_, None) => format!("{}, the first build", spec.to),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mass_rebuild::store::FailedSpec;
    use rebuild::change_set::{ExpectedTime, LeftOut, LeftOutReason, Request};
    use rebuild::select::Evidence;
    use rpm_model::{ContentDigest, FailureClass};

    const STYLE: Style = Style { width: 200, whole: false };

    fn spec(name: &str, layer: usize, from: Option<&str>, to: &str) -> ChangedSpec {
        let evidence = |number| Evidence::Requires {
            package: name.to_owned(),
            requirement: format!("libz.so.1(Z_{number})"),
        };
        ChangedSpec {
            spec: name.to_owned(),
            layer,
            because: (1..=3).map(evidence).collect(),
            path: format!("{name}.spec"),
            from: from.map(|evr| evr.parse().unwrap()),
            to: to.parse().unwrap(),
            counted: None,
            sha256: ContentDigest::of_bytes(b""),
            edit: None,
            before: None,
            estimate_seconds: 4.0,
        }
    }

    fn set() -> ChangeSet {
        let request = Request {
            all_of: vec!["soname:libz.so.1".into()],
            named: Vec::new(),
            except: Vec::new(),
            bump: "spec".into(),
            message: String::new(),
        };
        let time = ExpectedTime { work_seconds: 12.0, at_least_seconds: 8.0, workers: 2, guessed: 0 };
        let specs = vec![
            spec("top", 2, Some("1-1"), "1-2"),
            spec("base", 1, Some("1-1"), "1-1"),
            spec("more", 1, None, "1-1"),
        ];
        let left_out = vec![LeftOut { spec: "gone".into(), reason: LeftOutReason::NoSpec }];
        ChangeSet::new(request, "/".into(), time, specs, left_out, vec!["new".into()], vec!["needed".into()])
    }

    #[test]
    fn a_set_is_told_by_layer_with_why_and_what_next() {
        let set = set();
        let files = Files { document: Path::new("change-set.json"), patch: Path::new("edits.patch") };
        let states = BTreeMap::from([("base", SpecState::Rebuilt)]);
        let text = set_text(&set, &states, &files, &STYLE);
        let head = format!(
            "mass rebuild {}: 3 to build for soname:libz.so.1, in 2 layers, about 8.0 s with 2 workers",
            set.name
        );
        let because = |name: &str| {
            format!("{name} requires `libz.so.1(Z_1)`, {name} requires `libz.so.1(Z_2)` and 1 more")
        };
        let expected = [
            head,
            String::new(),
            "to build, by layer:".into(),
            format!("    1  base    4.0 s  done; 1-1 again; {}", because("base")),
            format!("       more    4.0 s  1-1, the first build; {}", because("more")),
            format!("    2  top     4.0 s  1-1 -> 1-2; {}", because("top")),
            String::new(),
            "left out (1):".into(),
            "  gone: it was built once, but the tree has no such spec any more".into(),
            String::new(),
            "never built, so nobody knows whether they belong to it (1): new".into(),
            String::new(),
            "built besides, for it needs them and they are due (1): needed".into(),
            String::new(),
            "change set:  change-set.json".into(),
            "next:        millwright rebuild --change-set change-set.json".into(),
        ];
        assert_eq!(text, expected.join("\n"));
    }

    #[test]
    fn releases_are_told_as_they_will_be() {
        let mut counted = spec("a", 1, Some("1-1.2"), "1-1");
        assert_eq!(release_text(&counted), "1-1.2 again");
        counted.counted = Some(CountedRelease::Rises { to: "1-1.3".parse().unwrap() });
        assert_eq!(release_text(&counted), "1-1.2 -> 1-1.3, unless it comes out the same");
        counted.counted = Some(CountedRelease::Stays { because: "no".into() });
        assert_eq!(release_text(&counted), "1-1.2 again, its release does not rise: no");
    }

    #[test]
    fn an_end_says_what_failed_and_what_that_blocks() {
        let set = set();
        let states = BTreeMap::from([
            ("base", SpecState::Identical),
            ("more", SpecState::Open),
            ("top", SpecState::Open),
        ]);
        let failed = FailedSpec {
            class: FailureClass::PackageFailure,
            message: "%build failed\nmore".into(),
            log: "x.log".into(),
        };
        let progress = Progress {
            failed: BTreeMap::from([("more".to_owned(), failed)]),
            blocked: BTreeMap::from([("top".to_owned(), vec!["more".to_owned()])]),
            ..Progress::default()
        };
        let text = end_text(&set, &states, &progress, Path::new("change-set.json"), &STYLE);
        let expected = [
            &format!(
                "mass rebuild {} for soname:libz.so.1: 1 of 3 done: 0 rebuilt, 1 identical and kept, 1 failed, 1 never \
                 reached, 1 left out",
                set.name
            ),
            "  failed: more: [package-failure] %build failed; log: x.log",
            "  never reached: top: blocked by more",
            "  left out: gone: it was built once, but the tree has no such spec any more",
            "  next: millwright rebuild --change-set change-set.json (--only-failed: no more than what failed)",
        ];
        assert_eq!(text, expected.join("\n"));
    }
}
