//! Renderers of the event stream: plain lines, JSON lines, nothing but failures; and the choice between them
//! and the live view.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use serde::{Deserialize, Serialize};

use crate::Reporter;
use crate::event::{Event, PackageEnd};
use crate::frame::Palette;
use crate::lines::{heartbeat_line, lines_of, painted_lines_of};
use crate::live::TerminalReporter;
use crate::progress::Progress;
use crate::ticker::Ticker;

/// How a program shows what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appearance {
    /// Events as JSON lines on standard output.
    pub json: bool,
    /// Warnings and failures alone.
    pub quiet: bool,
    /// Also what each build used.
    pub usage: bool,
}

/// Whether output is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Sets whether the whole process's output is coloured. A binary calls it once, before anything is said.
pub fn set_color(color: Color) {
    match color {
        Color::Auto => ColorChoice::Auto,
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    }
    .write_global();
}

/// Returns the renderer that fits: JSON when asked for, a live view on a terminal, plain lines elsewhere.
pub fn choose(json: bool, quiet: bool) -> Box<dyn Reporter> {
    Appearance { json, quiet, usage: true }.reporter()
}

impl Appearance {
    /// Returns the renderer that fits. A terminal that cannot move its cursor (`TERM=dumb`) gets plain lines.
    pub fn reporter(self) -> Box<dyn Reporter> {
        if self.json {
            return Box::new(JsonReporter::new(io::stdout()));
        }
        if self.quiet {
            return Box::new(QuietReporter);
        }
        let palette = Palette(AutoStream::choice(&io::stderr()) != ColorChoice::Never);
        let terminal = console::Term::stderr();
        if io::stderr().is_terminal() && !console::is_dumb() {
            Box::new(TerminalReporter::new(terminal, palette, self.usage))
        } else {
            Box::new(PlainReporter::new(io::stderr()).with_palette(palette).with_usage(self.usage))
        }
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

/// An event and when it happened: a line of `--json` and of `events.ndjson`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimedEvent {
    /// Seconds since the reporting began, on a clock that does not jump.
    pub at_seconds: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Writes each event as one line of JSON.
pub struct JsonReporter<W: Write + Send> {
    output: Mutex<W>,
    start: Instant,
}

impl<W: Write + Send> JsonReporter<W> {
    /// Returns a renderer that writes there.
    pub fn new(output: W) -> Self {
        Self { output: Mutex::new(output), start: Instant::now() }
    }
}

impl<W: Write + Send> Reporter for JsonReporter<W> {
    fn event(&self, event: &Event) {
        let at_seconds = self.start.elapsed().as_secs_f64();
        if let Ok(mut line) = serde_json::to_vec(&TimedEvent { at_seconds, event: event.clone() }) {
            line.push(b'\n');
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            // A reader that went away ends the reporting, not the build.
            let _ = output.write_all(&line).and_then(|()| output.flush());
        }
    }
}

/// After this long without a line a plain log says what runs.
const SILENCE: Duration = Duration::from_secs(60);

/// Writes lines that stay readable in a log file: no carriage returns, no repeated progress; and where nothing
/// happens for long, what runs.
pub struct PlainReporter<W: Write + Send + 'static> {
    state: Arc<Mutex<PlainState<W>>>,
    start: Instant,
    palette: Palette,
    usage: bool,
    /// Ends with the reporter.
    _ticker: Ticker,
}

struct PlainState<W> {
    output: W,
    progress: Progress,
    last_line: Instant,
}

impl<W: Write + Send + 'static> PlainReporter<W> {
    /// Returns a renderer that writes there.
    pub fn new(output: W) -> Self {
        Self::with_silence(output, SILENCE)
    }

    /// Returns a renderer that says what runs after this long a silence.
    fn with_silence(output: W, silence: Duration) -> Self {
        let start = Instant::now();
        let state =
            Arc::new(Mutex::new(PlainState { output, progress: Progress::default(), last_line: start }));
        let watched = Arc::clone(&state);
        let ticker = Ticker::start(silence / 20, move || {
            let mut state = watched.lock().unwrap_or_else(PoisonError::into_inner);
            if state.last_line.elapsed() < silence {
                return;
            }
            if let Some(line) = heartbeat_line(&state.progress, start.elapsed().as_secs_f64()) {
                state.write(&[line]);
            }
        });
        Self { state, start, palette: Palette(false), usage: true, _ticker: ticker }
    }

    /// Returns the same with colours, or without.
    fn with_palette(self, palette: Palette) -> Self {
        Self { palette, ..self }
    }

    /// Returns the same, telling what builds used, or not.
    fn with_usage(self, usage: bool) -> Self {
        Self { usage, ..self }
    }
}

impl<W: Write> PlainState<W> {
    fn write(&mut self, lines: &[String]) {
        for line in lines {
            // See JsonReporter.
            let _ = writeln!(self.output, "{line}");
        }
        self.last_line = Instant::now();
    }
}

impl<W: Write + Send + 'static> Reporter for PlainReporter<W> {
    fn event(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.progress.take(event, self.start.elapsed().as_secs_f64());
        if !self.usage && matches!(event, Event::PackageUsage { .. }) {
            return;
        }
        let lines = painted_lines_of(event, self.palette, state.progress.ended_reused);
        if !lines.is_empty() {
            state.write(&lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stage;
    use rpm_model::{BuildReason, FailureClass};

    fn plain(events: &[Event]) -> String {
        let reporter = PlainReporter::new(Vec::new());
        for event in events {
            reporter.event(event);
        }
        let state = reporter.state.lock().unwrap();
        String::from_utf8(state.output.clone()).unwrap()
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

    #[test]
    fn colour_is_only_colour() {
        let reporter = PlainReporter::new(Vec::new()).with_palette(Palette(true)).with_usage(false);
        reporter.event(&Event::Warning { message: "all is lost".into() });
        reporter.event(&Event::StageFinished {
            stage: Stage::Pack,
            summary: "3 SRPMs".into(),
            seconds: 1.25,
        });
        let state = reporter.state.lock().unwrap();
        let text = String::from_utf8(state.output.clone()).unwrap();
        assert_eq!(console::strip_ansi_codes(&text), "warning: all is lost\n       pack  3 SRPMs (1.2 s)\n");
        assert!(text.contains("\u{1b}[33mwarning:\u{1b}[0m all"), "{text:?}");
    }

    #[test]
    fn a_silent_log_says_what_runs() {
        let reporter = PlainReporter::with_silence(Vec::new(), Duration::from_millis(20));
        for package in ["a", "b", "c", "d", "e", "f"] {
            let reasons = vec![BuildReason::NeverBuilt];
            reporter.event(&Event::PackageStarted { package: package.into(), reasons, waiting: 0 });
        }
        reporter.event(&Event::PackagePhase { package: "a".into(), phase: "%build".into() });
        loop {
            let text = String::from_utf8(reporter.state.lock().unwrap().output.clone()).unwrap();
            if let Some(line) = text.lines().find(|line| line.contains("running") && line.contains("%build"))
            {
                assert!(line.starts_with("    running  a for ") && line.contains(" s (%build)"), "{line}");
                assert!(line.contains(", d for ") && line.contains(" s (preparing)"), "{line}");
                assert!(line.ends_with(", and 2 more"), "{line}");
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
