//! Renderers of the event stream: terminal, plain lines, JSON lines, nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use rpm_model::{BuildReason, FailureClass};

use crate::Reporter;
use crate::event::{Event, PackageEnd, Stage};
use crate::text::printable;
use crate::usage::usage_lines;

/// Returns the renderer that fits: JSON when asked for, a live view on a terminal, plain lines elsewhere.
pub fn choose(json: bool, quiet: bool) -> Box<dyn Reporter> {
    if json {
        Box::new(JsonReporter::new(io::stdout()))
    } else if quiet {
        Box::new(QuietReporter)
    } else if io::stderr().is_terminal() {
        Box::new(TerminalReporter::new())
    } else {
        Box::new(PlainReporter::new(io::stderr()))
    }
}

/// Says nothing but warnings and failures, on standard error.
pub struct QuietReporter;

impl Reporter for QuietReporter {
    fn event(&self, event: &Event) {
        let loud = matches!(event, Event::Warning { .. })
            || matches!(
                event,
                Event::PackageFinished { end: PackageEnd::Failed { .. } | PackageEnd::Blocked { .. }, .. }
            );
        if loud {
            for line in lines_of(event) {
                // Nobody is left to tell when standard error is closed.
                let _ = writeln!(anstream::stderr(), "{line}");
            }
        }
    }
}

/// Writes each event as one line of JSON.
pub struct JsonReporter<W: Write + Send> {
    output: Mutex<W>,
}

impl<W: Write + Send> JsonReporter<W> {
    /// Returns a renderer that writes there.
    pub fn new(output: W) -> Self {
        Self { output: Mutex::new(output) }
    }
}

impl<W: Write + Send> Reporter for JsonReporter<W> {
    fn event(&self, event: &Event) {
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            // A reader that went away ends the reporting, not the build.
            let _ = output.write_all(&line).and_then(|()| output.flush());
        }
    }
}

/// Writes lines that stay readable in a log file: no colour, no carriage returns, no repeated progress.
pub struct PlainReporter<W: Write + Send> {
    output: Mutex<W>,
}

impl<W: Write + Send> PlainReporter<W> {
    /// Returns a renderer that writes there.
    pub fn new(output: W) -> Self {
        Self { output: Mutex::new(output) }
    }
}

impl<W: Write + Send> Reporter for PlainReporter<W> {
    fn event(&self, event: &Event) {
        let lines = lines_of(event);
        if !lines.is_empty() {
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            for line in lines {
                // See JsonReporter.
                let _ = writeln!(output, "{line}");
            }
        }
    }
}

/// Shows one steady line per running package and stage below the lines of what has ended.
pub struct TerminalReporter {
    progress: MultiProgress,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl TerminalReporter {
    /// Returns a renderer on standard error.
    pub fn new() -> Self {
        Self { progress: MultiProgress::new(), bars: Mutex::new(BTreeMap::new()) }
    }

    fn start(&self, key: &str, total: Option<usize>, message: String) {
        let bar = match total {
            Some(total) => ProgressBar::new(total as u64)
                .with_style(style("{prefix:>11} {bar:20} {pos}/{len} {rate} {wide_msg}")),
            None => {
                ProgressBar::new_spinner().with_style(style("{prefix:>11} {spinner} {elapsed:>4} {wide_msg}"))
            }
        };
        let bar = self.progress.add(bar.with_prefix(key.to_owned()).with_message(message));
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bars().insert(key.to_owned(), bar);
    }

    fn finish(&self, key: &str) {
        if let Some(bar) = self.bars().remove(key) {
            bar.finish_and_clear();
            self.progress.remove(&bar);
        }
    }

    fn bars(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, ProgressBar>> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for TerminalReporter {
    fn default() -> Self {
        Self::new()
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
        let rate = state.per_sec();
        // Fractions matter only where one takes a second.
        let digits = usize::from(rate < 10.0);
        // A failed write is a line that is drawn a moment later.
        let _ = write!(out, "{rate:.digits$}/s");
    })
}

impl Reporter for TerminalReporter {
    fn event(&self, event: &Event) {
        match event {
            Event::StageStarted { stage, total } => return self.start(stage.as_str(), *total, String::new()),
            Event::StageProgress { stage, done, total, detail } => {
                if let Some(bar) = self.bars().get(stage.as_str()) {
                    bar.set_length(*total as u64);
                    bar.set_position(*done as u64);
                    bar.set_message(detail.clone());
                }
                return;
            }
            Event::PackagePhase { package, phase } => {
                if let Some(bar) = self.bars().get(package) {
                    bar.set_message(phase.clone());
                }
                return;
            }
            Event::PackageStarted { package, .. } => {
                return self.start(package, None, "preparing".to_owned());
            }
            Event::StageFinished { stage, .. } => self.finish(stage.as_str()),
            Event::PackageFinished { package, .. } => self.finish(package),
            Event::RoundStarted { .. }
            | Event::PackageUsage { .. }
            | Event::Warning { .. }
            | Event::Note { .. } => {}
        }
        for line in lines_of(event) {
            // See QuietReporter.
            let _ = self.progress.println(line);
        }
    }
}

/// Returns the lines that an event adds to a log; progress adds none.
fn lines_of(event: &Event) -> Vec<String> {
    words_of(event).iter().map(|line| printable(line)).collect()
}

fn words_of(event: &Event) -> Vec<String> {
    match event {
        Event::StageStarted { .. } | Event::StageProgress { .. } | Event::PackagePhase { .. } => Vec::new(),
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
        Event::PackageFinished { package, end, seconds, done, total } => {
            end_lines(package, end, &format!("[{done}/{total}]"), *seconds)
        }
        Event::Warning { message } => vec![format!("warning: {message}")],
        Event::Note { message } => vec![format!("note: {message}")],
    }
}

fn stage_line(stage: Stage, summary: &str, seconds: f64) -> String {
    format!("{:>11}  {summary} ({seconds:.1} s)", stage.as_str())
}

fn end_lines(package: &str, end: &PackageEnd, count: &str, seconds: f64) -> Vec<String> {
    match end {
        PackageEnd::Built => vec![format!("{:>11}  {package} ({seconds:.1} s) {count}", "built")],
        PackageEnd::Identical => {
            vec![format!(
                "{:>11}  {package} ({seconds:.1} s) {count}: nothing that depends on it is rebuilt",
                "identical"
            )]
        }
        PackageEnd::Postponed { why } => {
            vec![format!("{:>11}  {package} ({seconds:.1} s) {count}: {why}", "postponed")]
        }
        PackageEnd::Blocked { by } => {
            vec![format!("{:>11}  {package} {count}: needs {}", "blocked", by.join(", "))]
        }
        PackageEnd::Failed { class, message, decisive_lines, log } => {
            let mut message = message.lines();
            let (first, class_name) = (message.next().unwrap_or_default(), class.as_str());
            let told =
                format!("{:>11}  {package} ({seconds:.1} s) {count}: {first} [{class_name}]", "FAILED");
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

    fn plain(events: &[Event]) -> String {
        let reporter = PlainReporter::new(Vec::new());
        for event in events {
            reporter.event(event);
        }
        String::from_utf8(reporter.output.into_inner().unwrap()).unwrap()
    }

    #[test]
    fn plain_lines_are_aligned_and_failures_carry_log_and_advice() {
        let text = plain(&[
            Event::StageStarted { stage: Stage::Pack, total: Some(3) },
            Event::StageFinished { stage: Stage::Pack, summary: "3 SRPMs".into(), seconds: 1.25 },
            Event::PackageStarted {
                package: "zlib".into(),
                reasons: vec![BuildReason::NeverBuilt],
                waiting: 0,
            },
            Event::PackageFinished {
                package: "zlib".into(),
                end: PackageEnd::Built,
                seconds: 2.0,
                done: 1,
                total: 2,
            },
            Event::PackageFinished {
                package: "jq".into(),
                end: PackageEnd::Failed {
                    class: FailureClass::PackageFailure,
                    message: "`%build` failed".into(),
                    decisive_lines: vec!["main.c:1: error: boom".into()],
                    log: "build/logs/jq.log".into(),
                },
                seconds: 3.0,
                done: 2,
                total: 2,
            },
        ]);
        let expected = "       pack  3 SRPMs (1.2 s)
      start  zlib: never built
      built  zlib (2.0 s) [1/2]
     FAILED  jq (3.0 s) [2/2]: `%build` failed [package-failure]
             | main.c:1: error: boom
             log: build/logs/jq.log
             help: read the end of the log
             next: millwright shell jq
";
        assert_eq!(text, expected);
    }

    #[test]
    fn rounds_are_told() {
        let round = |round, waiting| Event::RoundStarted { round, to_build: 3, waiting };
        assert_eq!(
            plain(&[round(1, 2), round(2, 1), round(3, 0)]),
            "      round  1: 3 to build, 2 wait for what they provide
      round  2: 3 to build, 1 waits for what they provide
      round  3: 3 to build
"
        );
    }

    #[test]
    fn what_never_ran_has_no_log() {
        let end = PackageEnd::Failed {
            class: FailureClass::PackageFailure,
            message: "`x` cannot be satisfied\n  it conflicts \u{1b}[1mloudly".into(),
            decisive_lines: Vec::new(),
            log: String::new(),
        };
        let event = Event::PackageFinished { package: "jq".into(), end, seconds: 0.0, done: 1, total: 1 };
        let expected = "     FAILED  jq (0.0 s) [1/1]: `x` cannot be satisfied [package-failure]
             |   it conflicts \u{fffd}[1mloudly
";
        assert_eq!(plain(&[event]), expected);
    }

    #[test]
    fn json_lines_can_be_read_back() {
        let event = Event::PackageFinished {
            package: "zlib".into(),
            end: PackageEnd::Blocked { by: vec!["a".into()] },
            seconds: 0.0,
            done: 1,
            total: 1,
        };
        let reporter = JsonReporter::new(Vec::new());
        reporter.event(&event);
        let bytes = reporter.output.into_inner().unwrap();
        assert_eq!(serde_json::from_slice::<Event>(&bytes).unwrap(), event);
    }
}
