//! The live view: lines of what has happened, and below them one steady line for each stage and build that runs.
//!
//! The view is drawn anew a few times a second and after each event that adds a line: the cursor goes up over the
//! last view, everything below is erased, new lines and the new view are written, all in one write. The terminal's
//! size is asked for each time, so a resized window is right with the next view. What a view shows is
//! [`frame`]'s business.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use console::Term;

use crate::Reporter;
use crate::event::Event;
use crate::frame::{Palette, Size, frame};
use crate::lines::fitted_lines_of;
use crate::progress::Progress;
use crate::ticker::Ticker;

/// How often the view is drawn anew though nothing happens: clocks go on.
const INTERVAL: Duration = Duration::from_millis(250);

/// Events that only change the view do not draw it more often than this.
const SOONEST: Duration = Duration::from_millis(80);

/// Shows a live view on a terminal.
pub struct TerminalReporter {
    view: Arc<Mutex<View>>,
    usage: bool,
    /// Ends with the reporter.
    ticker: Option<Ticker>,
}

struct View {
    terminal: Term,
    palette: Palette,
    progress: Progress,
    start: Instant,
    /// The widths of the lines that are on the screen.
    drawn: Vec<usize>,
    drawn_at: Option<Instant>,
}

impl TerminalReporter {
    /// Returns a view on this terminal.
    pub(crate) fn new(terminal: Term, palette: Palette, usage: bool) -> Self {
        let view = Arc::new(Mutex::new(View {
            terminal,
            palette,
            progress: Progress::default(),
            start: Instant::now(),
            drawn: Vec::new(),
            drawn_at: None,
        }));
        let watched = Arc::clone(&view);
        let ticker = Ticker::start(INTERVAL, move || {
            watched.lock().unwrap_or_else(PoisonError::into_inner).draw(&[]);
        });
        Self { view, usage, ticker: Some(ticker) }
    }
}

impl Reporter for TerminalReporter {
    fn event(&self, event: &Event) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let now = view.start.elapsed().as_secs_f64();
        view.progress.take(event, now);
        let adds_lines = match event {
            // Its line in the view says that it has started.
            Event::PackageStarted { .. } => false,
            Event::PackageUsage { .. } => self.usage,
            _ => true,
        };
        let columns = usize::from(view.terminal.size().1).saturating_sub(1);
        let lines = if adds_lines {
            fitted_lines_of(event, view.palette, view.progress.ended_reused, columns)
        } else {
            Vec::new()
        };
        let ends_something = matches!(event, Event::StageFinished { .. } | Event::RunFinished { .. });
        let is_due = view.drawn_at.is_none_or(|drawn| drawn.elapsed() >= SOONEST);
        if !lines.is_empty() || ends_something || is_due {
            view.draw(&lines);
        }
    }
}

impl Drop for TerminalReporter {
    fn drop(&mut self) {
        // No view is drawn after this one.
        self.ticker = None;
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.progress = Progress::default();
        view.draw(&[]);
    }
}

impl View {
    /// Writes lines above a new view.
    fn draw(&mut self, lines: &[String]) {
        let (rows, columns) = self.terminal.size();
        let size = Size { columns: usize::from(columns).max(1), rows: usize::from(rows).max(1) };
        let view = frame(&self.progress, self.start.elapsed().as_secs_f64(), size, self.palette);
        let text = redrawn(&self.drawn, lines, &view, size);
        self.drawn = view.iter().map(|line| console::measure_text_width(line)).collect();
        self.drawn_at = Some(Instant::now());
        if !text.is_empty() {
            // Nobody is left to tell when the terminal is gone.
            let _ = self.terminal.write_str(&text).and_then(|()| self.terminal.flush());
        }
    }
}

/// Returns what turns a screen that ends with a view of lines of these widths into one that has new lines there and
/// the next view below them; nothing where there is nothing to show or erase.
fn redrawn(drawn: &[usize], lines: &[String], view: &[String], size: Size) -> String {
    // A terminal that has become narrower shows a line of the last view on several rows.
    let rows: usize = drawn.iter().map(|width| width.div_ceil(size.columns).max(1)).sum();
    let mut text = String::new();
    if rows > 0 {
        // What has scrolled out of the screen cannot be reached.
        text.push_str(&format!("\u{1b}[{}A\r\u{1b}[J", rows.min(size.rows.saturating_sub(1)).max(1)));
    }
    for line in lines.iter().chain(view) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A screen that knows what a view needs: line ends, cursor up, erase below.
    fn screen(text: &str) -> Vec<String> {
        let (mut rows, mut row): (Vec<String>, usize) = (vec![String::new()], 0);
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\u{1b}' => {
                    assert_eq!(characters.next(), Some('['));
                    let mut number = String::new();
                    while let Some(digit) = characters.next_if(char::is_ascii_digit) {
                        number.push(digit);
                    }
                    match characters.next().unwrap() {
                        'A' => row = row.saturating_sub(number.parse().unwrap()),
                        'J' => {
                            rows.truncate(row);
                            rows.push(String::new());
                        }
                        other => panic!("{other}"),
                    }
                }
                '\n' => {
                    row += 1;
                    if row == rows.len() {
                        rows.push(String::new());
                    }
                }
                '\r' => {}
                other => rows[row].push(other),
            }
        }
        rows
    }

    #[test]
    fn lines_stay_above_the_view_which_is_replaced() {
        let size = Size { columns: 80, rows: 24 };
        let (first, second) = (["zlib 0:01".to_owned(), "build".to_owned()], ["jq 0:00".to_owned()]);
        let mut text = redrawn(&[], &["one".to_owned()], &first, size);
        text.push_str(&redrawn(&[9, 5], &["two".to_owned()], &second, size));
        assert_eq!(screen(&text), ["one", "two", "jq 0:00", ""]);
        text.push_str(&redrawn(&[7], &[], &[], size));
        assert_eq!(screen(&text), ["one", "two", ""]);
    }

    #[test]
    fn a_narrower_window_shows_a_line_on_more_rows() {
        let view = ["x".repeat(79)];
        let text = redrawn(&[79, 10], &[], &view, Size { columns: 40, rows: 24 });
        assert!(text.starts_with("\u{1b}[3A"), "{text:?}");
        let small = redrawn(&[79; 30], &[], &view, Size { columns: 80, rows: 10 });
        assert!(small.starts_with("\u{1b}[9A"), "{small:?}");
    }

    #[test]
    fn nothing_is_written_where_nothing_changes() {
        assert_eq!(redrawn(&[], &[], &[], Size { columns: 80, rows: 24 }), "");
    }
}
