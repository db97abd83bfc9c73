//! What a live view shows at one moment, as lines: a pure function of progress, time and the terminal's size.

use console::Style;

use crate::lines::{join_pieces, reasons_text};
use crate::progress::{Progress, RunningBuild, RunningStage};
use crate::text::{clock, cut, printable};

/// Whether text is coloured. All that colour says is said in words too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Palette(pub(crate) bool);

impl Palette {
    pub(crate) fn good(self, text: &str) -> String {
        self.paint(Style::new().green(), text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.paint(Style::new().red().bold(), text)
    }

    pub(crate) fn notable(self, text: &str) -> String {
        self.paint(Style::new().yellow(), text)
    }

    pub(crate) fn key(self, text: &str) -> String {
        self.paint(Style::new().cyan(), text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.paint(Style::new().dim(), text)
    }

    fn paint(self, style: Style, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        style.force_styling(self.0).apply_to(text).to_string()
    }
}

/// How large the terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// The key column of every line has this many columns.
pub(crate) const KEY: usize = 11;

/// Returns the lines of the view, none wider than the terminal less one column, and no more than two thirds of its
/// rows: what has happened stays in sight above.
pub(crate) fn frame(progress: &Progress, now: f64, size: Size, palette: Palette) -> Vec<String> {
    // A line that fills the last column makes some terminals begin another.
    let width = size.columns.saturating_sub(1).max(1);
    let mut lines: Vec<String> =
        progress.stages.iter().map(|stage| stage_line(stage, now, width, palette)).collect();
    let running: Vec<&RunningBuild> = progress.running().collect();
    if !progress.building && running.is_empty() {
        return lines;
    }
    let totals = totals(progress, now, width, palette);
    let most = (size.rows * 2 / 3).max(3);
    let room = most.saturating_sub(lines.len() + totals.len());
    // A line that says how many more there are takes the place of one of them.
    let shown = if running.len() <= room { running.len() } else { room.saturating_sub(1) };
    let longest = running.iter().map(|build| build.package.chars().count()).max().unwrap_or(0);
    let columns = Columns::of(width, longest);
    lines.extend(running[..shown].iter().map(|build| columns.line(build, progress, now, palette)));
    if shown < running.len() && room > 0 {
        let more = format!("{:>KEY$}  and {} more", "", running.len() - shown);
        lines.push(palette.faint(&cut(&more, width)));
    }
    lines.extend(totals);
    lines.truncate(most);
    // Windows too narrow for any of this are not worth a layout of their own.
    lines.iter().map(|line| console::truncate_str(line, width, "..").into_owned()).collect()
}

fn stage_line(stage: &RunningStage, now: f64, width: usize, palette: Palette) -> String {
    let key = format!("{:>KEY$}", stage.stage.as_str());
    let time = clock(now - stage.since);
    let rest = match stage.total.filter(|total| *total > 0) {
        Some(total) => {
            let bar = bar(stage.done as f64 / total as f64, 20);
            format!("  {bar} {}/{total}  {time}  {}", stage.done, printable(&stage.detail))
        }
        None => format!("  {time}  {}", printable(&stage.detail)),
    };
    format!("{}{}", palette.key(&key), cut(&rest, width.saturating_sub(KEY)).trim_end())
}

/// Returns a bar of this many columns between brackets.
fn bar(part: f64, columns: usize) -> String {
    let filled = ((part.clamp(0.0, 1.0) * columns as f64).round() as usize).min(columns);
    format!("[{}{}]", "#".repeat(filled), "-".repeat(columns - filled))
}

/// Returns the totals, on as many lines as they need.
fn totals(progress: &Progress, now: f64, width: usize, palette: Palette) -> Vec<String> {
    let counts = progress.counts;
    let plain = |text: &str| text.to_owned();
    let mut pieces = vec![(format!("{} of {} done", progress.done, progress.total), String::new())];
    let mut piece = |count: usize, word: &str, paint: &dyn Fn(&str) -> String| {
        if count > 0 {
            let text = format!("{count} {word}");
            let painted = paint(&text);
            pieces.push((text, painted));
        }
    };
    piece(counts.failed, "FAILED", &|text| palette.bad(text));
    piece(counts.blocked, "blocked", &|text| palette.notable(text));
    piece(counts.built, "built", &|text| palette.good(text));
    piece(counts.identical, "identical", &|text| palette.good(text));
    piece(counts.reused, "reused", &|text| palette.good(text));
    piece(counts.postponed, "postponed", &|text| palette.notable(text));
    piece(progress.running().count(), "running", &plain);
    piece(progress.queued(), "queued", &plain);
    if let Some(counts) = progress.mass_rebuild {
        pieces.push((format!("mass rebuild: {}", counts.words()), String::new()));
    }
    pieces.extend(progress.left_words(now).map(|left| (left, String::new())));
    let lines = join_pieces(&pieces, width.saturating_sub(KEY + 2));
    lines
        .into_iter()
        .enumerate()
        .map(|(number, line)| {
            let key = format!("{:>KEY$}  ", if number == 0 { "build" } else { "" });
            format!("{}{line}", palette.key(&key))
        })
        .collect()
}

/// How wide the parts of a build's line are.
struct Columns {
    name: usize,
    phase: usize,
    /// What is left for the bar and the reasons.
    rest: usize,
}

/// The widest time: `1:23:45`.
const CLOCK: usize = 7;
/// The widest expectation: ` of ~1:23:45`.
const EXPECTED: usize = 12;
const BAR: usize = 22;

impl Columns {
    fn of(width: usize, longest: usize) -> Self {
        let phase = if width < 100 { 14 } else { 23 };
        let fixed = KEY + 2 + 2 + phase + 2 + CLOCK + EXPECTED;
        let name = longest.clamp(8, width.saturating_sub(fixed).max(8));
        Self { name, phase, rest: width.saturating_sub(fixed + name) }
    }

    fn line(&self, build: &RunningBuild, progress: &Progress, now: f64, palette: Palette) -> String {
        let (name, phase) =
            (cut(&printable(&build.package), self.name), cut(&printable(&build.phase), self.phase));
        let spent = (now - build.since).max(0.0);
        let expected = progress.expected(&build.package);
        let of = expected.map_or(String::new(), |expected| {
            let about = if expected.guessed { "~" } else { "" };
            format!(" of {about}{}", clock(expected.seconds))
        });
        let mut line = format!("{:>KEY$}  {name:<1$}  ", "", self.name);
        line.push_str(&palette.key(&format!("{phase:<0$}", self.phase)));
        line.push_str(&format!("  {:>CLOCK$}", clock(spent)));
        line.push_str(&palette.faint(&format!("{of:<EXPECTED$}")));
        let mut rest = self.rest;
        if rest >= BAR + 2 {
            let bar = expected.map_or(String::new(), |expected| {
                // What nobody measured has no measure.
                if expected.guessed { String::new() } else { bar(spent / expected.seconds.max(0.1), BAR - 2) }
            });
            line.push_str(&format!("  {bar:<BAR$}"));
            rest -= BAR + 2;
        }
        let reasons = printable(&reasons_text(&build.reasons));
        if rest >= 20 {
            line.push_str(&palette.faint(&format!("  {}", cut(&reasons, rest - 2))));
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, PackageEnd};
    use crate::planned::{PlannedBuild, RunPlan};
    use rpm_model::{BuildReason, FailureClass};

    fn planned(package: &str, estimate_seconds: f64, estimate_guessed: bool) -> PlannedBuild {
        PlannedBuild {
            package: package.into(),
            reasons: vec![BuildReason::NeverBuilt],
            needs: Vec::new(),
            dependants: 0,
            estimate_seconds,
            estimate_guessed,
            way_seconds: estimate_seconds,
        }
    }

    /// A run over this many packages of 100 s each, all of them started, the first 10 s before the second and so on.
    fn started(count: usize) -> Progress {
        let mut progress = Progress::default();
        let name = |number: usize| format!("package-{number:03}");
        let builds = (0..count).map(|number| planned(&name(number), 100.0, number % 2 == 1)).collect();
        progress.take(&Event::Planned(RunPlan { workers: count, builds, ..RunPlan::default() }), 0.0);
        for number in 0..count {
            let reasons = vec![BuildReason::NeverBuilt];
            let package = name(number);
            progress.take(&Event::PackageStarted { package, reasons, waiting: 0 }, 10.0 * number as f64);
        }
        progress
    }

    fn ended(progress: &mut Progress, package: &str, end: PackageEnd, done: usize) {
        let event = Event::PackageFinished {
            package: package.into(),
            end,
            seconds: 1.0,
            done,
            total: progress.total,
        };
        progress.take(&event, 50.0);
    }

    fn shown(progress: &Progress, columns: usize, rows: usize) -> String {
        let lines = frame(progress, 61.0, Size { columns, rows }, Palette(false));
        assert!(lines.iter().all(|line| console::measure_text_width(line) < columns), "{lines:#?}");
        assert!(lines.len() <= (rows * 2 / 3).max(3), "{lines:#?}");
        lines.join("\n")
    }

    /// What is printed below a view is erased with the next one: when a run is summed up there must be none.
    #[test]
    fn builds_that_were_interrupted_are_gone_when_the_run_publishes() {
        let mut progress = started(2);
        ended(&mut progress, "package-000", PackageEnd::Built, 1);
        let (stage, summary) = (crate::Stage::Publish, String::new());
        progress.take(&Event::StageStarted { stage, total: None }, 60.0);
        assert_eq!(shown(&progress, 80, 24), "    publish  0:01");
        progress.take(&Event::StageFinished { stage, summary, seconds: 1.0 }, 61.0);
        assert_eq!(shown(&progress, 80, 24), "");
    }

    #[test]
    fn each_build_has_a_line_and_keeps_its_place() {
        let mut progress = started(3);
        progress.take(&Event::PackagePhase { package: "package-000".into(), phase: "%build".into() }, 20.0);
        assert_eq!(
            shown(&progress, 80, 24),
            "             package-000  %build             1:01 of 1:40
             package-001  preparing          0:51 of ~1:40
             package-002  preparing          0:41 of 1:40
      build  0 of 3 done  3 running  ~59 s left"
        );
        ended(&mut progress, "package-000", PackageEnd::Built, 1);
        let reasons = vec![BuildReason::Requested];
        progress.take(&Event::PackageStarted { package: "next".into(), reasons, waiting: 0 }, 60.0);
        assert_eq!(
            shown(&progress, 200, 50),
            "             next         preparing                   0:01                                      its rebuild was asked for
             package-001  preparing                   0:51 of ~1:40                             never built
             package-002  preparing                   0:41 of 1:40      [########------------]  never built
      build  1 of 3 done  1 built  3 running  ~59 s left"
        );
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let text = shown(&started(64), 80, 24);
        assert_eq!(text.lines().count(), 16, "{text}");
        assert!(text.contains("\n             and 50 more\n      build  0 of 64 done"), "{text}");
        assert_eq!(shown(&started(5), 80, 6).lines().count(), 4);
        // Even where there is room for nothing.
        shown(&started(5), 20, 1);
        shown(&started(5), 30, 3);
    }

    #[test]
    fn totals_take_the_lines_that_they_need() {
        let mut progress = started(9);
        let failed = PackageEnd::Failed {
            class: FailureClass::PackageFailure,
            message: String::new(),
            decisive_lines: Vec::new(),
            log: String::new(),
        };
        progress.take(&Event::PackageReused { package: "package-005".into(), store: "shared".into() }, 40.0);
        for (number, end) in [
            PackageEnd::Built,
            PackageEnd::Identical,
            failed,
            PackageEnd::Blocked { by: Vec::new() },
            PackageEnd::Postponed { why: String::new() },
            PackageEnd::Built,
        ]
        .into_iter()
        .enumerate()
        {
            ended(&mut progress, &format!("package-{number:03}"), end, number + 1);
        }
        let text = shown(&progress, 80, 24);
        let totals = text.split_once("      build").unwrap().1;
        assert_eq!(
            totals,
            "  6 of 9 done  1 FAILED  1 blocked  1 built  1 identical  1 reused
             1 postponed  3 running  ~1:40 min left"
        );
        let lines = frame(&progress, 61.0, Size { columns: 80, rows: 24 }, Palette(true));
        let plain: Vec<String> =
            lines.iter().map(|line| console::strip_ansi_codes(line).trim_end().to_owned()).collect();
        assert_eq!(plain.join("\n"), text, "colour changes no column");
        assert!(lines.join("").contains("\u{1b}[31m"));
    }

    #[test]
    fn what_runs_longer_than_expected_leaves_the_rest() {
        let progress = started(1);
        let late = frame(&progress, 500.0, Size { columns: 80, rows: 24 }, Palette(false));
        assert_eq!(late[0], "             package-000  preparing          8:20 of 1:40");
        assert_eq!(late[1], "      build  0 of 1 done  1 running  overdue");
    }

    #[test]
    fn nothing_moves_the_cursor_of_a_view() {
        let mut progress = Progress::default();
        let package = "\u{1b}[2Jevil\n".to_owned();
        progress.take(&Event::PackageStarted { package, reasons: Vec::new(), waiting: 0 }, 0.0);
        let text = shown(&progress, 80, 24);
        assert!(!text.contains('\u{1b}') && text.lines().count() == 2, "{text:?}");
    }

    #[test]
    fn stages_have_bars_where_their_steps_are_known() {
        let mut progress = Progress::default();
        let stage = crate::Stage::Pack;
        progress.take(&Event::StageStarted { stage, total: None }, 60.0);
        assert_eq!(shown(&progress, 80, 24), "       pack  0:01");
        let detail = "zlib".to_owned();
        progress.take(&Event::StageProgress { stage, done: 5, total: 10, detail }, 60.5);
        assert_eq!(shown(&progress, 80, 24), "       pack  [##########----------] 5/10  0:01  zlib");
    }
}
