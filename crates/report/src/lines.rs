//! What events are in words: the lines that they add to a log, whoever shows it.

use rpm_model::{BuildReason, ChangedPackage, FailureClass};

use crate::event::{Event, PackageEnd, Stage};
use crate::frame::{KEY, Palette};
use crate::progress::{Progress, SetCounts};
use crate::text::{duration, printable};
use crate::usage::usage_lines;

/// Returns the lines that an event adds to a log; progress adds none.
pub(crate) fn lines_of(event: &Event) -> Vec<String> {
    lines_with(event, false)
}

fn lines_with(event: &Event, reused: bool) -> Vec<String> {
    words_of(event, reused).iter().map(|line| printable(line)).collect()
}

/// Returns the same lines, their first words coloured. `reused` says of a package that ended that its result was taken
/// from a store.
pub(crate) fn painted_lines_of(event: &Event, palette: Palette, reused: bool) -> Vec<String> {
    painted(event, lines_with(event, reused), palette)
}

/// Returns the same for a terminal of so many columns, on which they are broken between words.
pub(crate) fn fitted_lines_of(event: &Event, palette: Palette, reused: bool, columns: usize) -> Vec<String> {
    let lines = lines_with(event, reused).iter().flat_map(|line| broken(line, columns)).collect();
    painted(event, lines, palette)
}

/// Breaks a line between words, what follows below its text. A log's lines stay as they are, and so does what has no
/// place to break at: somebody may copy them.
fn broken(line: &str, columns: usize) -> Vec<String> {
    let width = |text: &str| console::measure_text_width(text);
    let indent = if line.starts_with(' ') { KEY + 2 } else { 4 };
    if width(line) <= columns || line.trim_start().starts_with("| ") {
        return vec![line.to_owned()];
    }
    let start = line.len() - line.trim_start().len();
    let (mut lines, mut current) = (Vec::new(), line[..start].to_owned());
    for (number, word) in line[start..].split(' ').enumerate() {
        let blank = usize::from(number > 0);
        if width(&current) + blank + width(word) > columns && indent + width(word) <= columns {
            lines.push(std::mem::replace(&mut current, " ".repeat(indent)));
        } else if number > 0 {
            current.push(' ');
        }
        current.push_str(word);
    }
    lines.push(current);
    lines
}

fn painted(event: &Event, mut lines: Vec<String>, palette: Palette) -> Vec<String> {
    let Some(first) = lines.first_mut() else { return lines };
    let split = if first.starts_with(' ') { KEY } else { first.find(':').map_or(0, |colon| colon + 1) };
    if let Some((word, rest)) = first.split_at_checked(split) {
        let painted = match event {
            Event::PackageFinished { end: PackageEnd::Failed { .. }, .. } => palette.bad(word),
            Event::PackageFinished { end: PackageEnd::Built | PackageEnd::Identical, .. } => {
                palette.good(word)
            }
            Event::PackageFinished { .. } | Event::Warning { .. } => palette.notable(word),
            _ => palette.key(word),
        };
        *first = format!("{painted}{rest}");
    }
    lines
}

/// Returns one line on what runs, for a log in which nothing else has happened for long; `None` where nothing
/// is known to run.
pub(crate) fn heartbeat_line(progress: &Progress, now: f64) -> Option<String> {
    let stages = progress.stages.iter().map(|running| {
        let total = running.total.map_or(String::new(), |total| format!(" {}/{total}", running.done));
        format!("{}{total} for {}", running.stage.as_str(), duration(now - running.since))
    });
    // The time is that of the whole build, as in the live view, not of its section.
    let builds = progress
        .running()
        .map(|build| format!("{} for {} ({})", build.package, duration(now - build.since), build.phase));
    let mut all: Vec<String> = stages.chain(builds).collect();
    if all.is_empty() {
        return None;
    }
    let more = all.len().saturating_sub(MOST_IN_HEARTBEAT);
    all.truncate(MOST_IN_HEARTBEAT);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    let mut line = format!("{:>KEY$}  {}", "running", all.join(", "));
    if progress.total > 0 {
        line.push_str(&format!("; {} of {} done", progress.done, progress.total));
    }
    if let Some(counts) = progress.mass_rebuild {
        line.push_str(&format!("; mass rebuild: {}", counts.words()));
    }
    if let Some(left) = progress.left_words(now) {
        line.push_str(&format!(", {left}"));
    }
    Some(printable(&line))
}

/// More builds in one line help nobody.
const MOST_IN_HEARTBEAT: usize = 4;

/// Returns lines of pieces with two blanks between them, none wider than this where that can be. A piece is a text and
/// what stands for it on the screen, where that differs.
pub(crate) fn join_pieces(pieces: &[(String, String)], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut used) = (String::new(), 0);
    for (text, painted) in pieces {
        let columns = console::measure_text_width(text);
        if used > 0 && used + 2 + columns > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push_str("  ");
            used += 2;
        }
        line.push_str(if painted.is_empty() { text } else { painted });
        used += columns;
    }
    lines.push(line);
    lines
}

fn words_of(event: &Event, reused: bool) -> Vec<String> {
    match event {
        Event::RunStarted { .. }
        | Event::Planned(_)
        | Event::RunFinished { .. }
        | Event::StageStarted { .. }
        | Event::StageProgress { .. }
        | Event::PackagePhase { .. } => Vec::new(),
        Event::StageFinished { stage, summary, seconds } => vec![stage_line(*stage, summary, *seconds)],
        Event::RoundStarted { round, to_build, waiting } => {
            let waiting = match waiting {
                0 => String::new(),
                1 => ", 1 waits for what they provide".to_owned(),
                more => format!(", {more} wait for what they provide"),
            };
            vec![format!("{:>11}  {round}: {to_build} to build{waiting}", "round")]
        }
        Event::PackageStarted { package, reasons, .. } => {
            vec![format!("{:>11}  {package}: {}", "start", reasons_text(reasons))]
        }
        Event::PackageUsage { package, phases, source, check, caches } => {
            usage_lines(package, phases, *source, check, caches)
        }
        Event::PackageUnused { unused, .. } if unused.is_empty() => Vec::new(),
        Event::PackageUnused { package, requirements, unused, .. } => {
            let names: Vec<&str> = unused.iter().map(|one| one.requirement.as_str()).collect();
            let (number, names) = (names.len(), names.join(", "));
            vec![format!(
                "{:>11}  {package}: it opened nothing of {number} of its {requirements} build requirements: {names}",
                "unused"
            )]
        }
        Event::PackageReused { package, store } => {
            vec![format!("{:>11}  {package}: the result is taken from `{store}`", "reuse")]
        }
        Event::PackageCompared { package, changes, spared } => compared_lines(package, changes, *spared),
        Event::PackageFinished { package, end, seconds, done, total } => {
            end_lines(package, end, &format!("[{done}/{total}]"), *seconds, reused)
        }
        Event::MassRebuildProgress { name, done, failed, total } => {
            let counts = SetCounts { done: *done, failed: *failed, total: *total };
            vec![format!("{:>11}  {name}: {}", "mass", counts.words())]
        }
        Event::Warning { message } => vec![format!("warning: {message}")],
        Event::Note { message } => vec![format!("note: {message}")],
    }
}

fn compared_lines(package: &str, changes: &[ChangedPackage], spared: usize) -> Vec<String> {
    let spared = match spared {
        0 => None,
        1 => Some("the same as published; 1 package that needs it is spared".to_owned()),
        more => Some(format!("the same as published; {more} packages that need it are spared")),
    };
    let changes = changes.iter().map(|change| format!("differs from what was published: {change}"));
    spared.into_iter().chain(changes).map(|words| format!("{:>11}  {package}: {words}", "compare")).collect()
}

fn stage_line(stage: Stage, summary: &str, seconds: f64) -> String {
    format!("{:>11}  {summary} ({})", stage.as_str(), duration(seconds))
}

fn end_lines(package: &str, end: &PackageEnd, count: &str, seconds: f64, reused: bool) -> Vec<String> {
    let took = duration(seconds);
    match end {
        PackageEnd::Built if reused => vec![format!("{:>11}  {package} ({took}) {count}", "reused")],
        PackageEnd::Built => vec![format!("{:>11}  {package} ({took}) {count}", "built")],
        PackageEnd::Identical if reused => {
            vec![format!("{:>11}  {package} ({took}) {count}: as it is published", "reused")]
        }
        PackageEnd::Identical => {
            vec![format!(
                "{:>11}  {package} ({took}) {count}: nothing that depends on it is rebuilt",
                "identical"
            )]
        }
        PackageEnd::Postponed { why } => {
            vec![format!("{:>11}  {package} ({took}) {count}: {why}", "postponed")]
        }
        PackageEnd::Blocked { by } => {
            vec![format!("{:>11}  {package} {count}: needs {}", "blocked", by.join(", "))]
        }
        PackageEnd::Failed { class, message, decisive_lines, log } => {
            let mut message = message.lines();
            let (first, class_name) = (message.next().unwrap_or_default(), class.as_str());
            let told = format!("{:>11}  {package} ({took}) {count}: {first} [{class_name}]", "FAILED");
            let quoted = message.chain(decisive_lines.iter().map(String::as_str));
            let mut lines = vec![told];
            lines.extend(quoted.map(|line| format!("{:>11}  | {line}", "")));
            if !log.is_empty() {
                lines.push(format!("{:>11}  log: {log}", ""));
            }
            // To a package whose build root cannot be made, advice about its log is none.
            if !log.is_empty() || *class != FailureClass::PackageFailure {
                lines.push(format!("{:>11}  help: {}", "", class.advice()));
            }
            // The host's failures do not show in a build root.
            if !log.is_empty() && *class != FailureClass::InfrastructureFailure {
                lines.push(format!("{:>11}  next: millwright shell {package}", ""));
            }
            lines
        }
    }
}

/// Returns the reasons in words, the weightiest first, joined by `; `.
pub(crate) fn reasons_text(reasons: &[BuildReason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_lines_broken_between_words_and_below_their_text() {
        let event = Event::PackageFinished {
            package: "jq".into(),
            end: PackageEnd::Failed {
                class: FailureClass::PackageFailure,
                message: "%build failed (exit code 1)".into(),
                decisive_lines: vec!["main.c:2:25: error: it is long, and somebody may copy it".into()],
                log: "/a/path/that/has/no/place/to/break/at/jq.log".into(),
            },
            seconds: 2.0,
            done: 1,
            total: 2,
        };
        let lines = fitted_lines_of(&event, Palette(false), false, 50);
        let expected = "
     FAILED  jq (2.0 s) [1/2]: %build failed (exit
             code 1) [package-failure]
             | main.c:2:25: error: it is long, and somebody may copy it
             log: /a/path/that/has/no/place/to/break/at/jq.log
             help: read the end of the log
             next: millwright shell jq";
        assert_eq!(format!("\n{}", lines.join("\n")), expected);
        let painted = fitted_lines_of(&event, Palette(true), false, 50);
        let plain: Vec<_> = painted.iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect();
        assert_eq!(plain, lines);
        assert_eq!(broken("warning: one two three", 16), ["warning: one two", "    three"]);
        assert_eq!(broken("          x  a  b", 5), ["          x  a  b"], "no room for anything");
    }
}
