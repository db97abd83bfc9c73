//! The timeline of a run as SVG: a row for each build that ran at the same time, sections in colours.

use maud::{Markup, html};

use super::{PackageReport, PackageState, RunReport};
use crate::text::{clock, duration};

/// Columns of the picture; it is scaled to the page.
const WIDTH: f64 = 1100.0;
const LEFT: f64 = 30.0;
const ROW: f64 = 26.0;
const AXIS: f64 = 22.0;
/// A letter is about this wide.
const LETTER: f64 = 6.6;

/// The sections with a colour of their own, in their order; everything else is `other`.
pub(super) const SECTIONS: [(&str, &str); 6] = [
    ("preparation", "s0"),
    ("%prep", "s1"),
    ("%build", "s2"),
    ("%install", "s3"),
    ("%check", "s4"),
    ("packaging", "s5"),
];

fn class_of(phase: &str) -> &'static str {
    SECTIONS.iter().find(|(name, _)| *name == phase).map_or("s6", |(_, class)| class)
}

/// Returns the picture; nothing where nothing was started.
pub(super) fn timeline(report: &RunReport) -> Markup {
    let spans: Vec<_> =
        report.packages.iter().filter_map(|package| Some((package, package.span.as_ref()?))).collect();
    let Some(first) = spans.iter().map(|(_, span)| span.start_seconds).min_by(f64::total_cmp) else {
        return html! {};
    };
    let last = spans.iter().map(|(_, span)| span.start_seconds + span.seconds).fold(first, f64::max);
    let rows = spans.iter().map(|(_, span)| span.lane + 1).max().unwrap_or(1);
    let length = (last - first).max(0.001);
    let height = rows as f64 * ROW + AXIS;
    let x = |seconds: f64| LEFT + (seconds - first) / length * (WIDTH - LEFT - 4.0);
    let step = step(length);
    let ticks = (0..=(length / step) as usize).map(|number| number as f64 * step);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label="timeline of builds" {
            @for tick in ticks {
                @let place = x(first + tick);
                line class="tick" x1=(place_text(place)) x2=(place_text(place)) y1="0" y2=(rows as f64 * ROW) {}
                // The first tick's text would stand left of the rows.
                text class="axis" x=(place_text(place + 3.0)) y=(rows as f64 * ROW + 15.0) { (clock(tick)) }
            }
            @for lane in 0..rows {
                text class="axis" x="2" y=(place_text(lane as f64 * ROW + 17.0)) { (lane + 1) }
            }
            @for (package, span) in &spans {
                @let (top, left) = (span.lane as f64 * ROW + 3.0, x(span.start_seconds));
                @let wide = (x(span.start_seconds + span.seconds) - left).max(1.5);
                g {
                    title { (tooltip(package)) }
                    rect class="s6" x=(place_text(left)) y=(place_text(top)) width=(place_text(wide)) height="20" {}
                    @for phase in &span.phases {
                        @let begin = x(phase.start_seconds);
                        @let end = x(phase.start_seconds + phase.seconds).min(left + wide);
                        @if end - begin > 0.2 {
                            rect class=(class_of(&phase.phase)) x=(place_text(begin)) y=(place_text(top))
                                width=(place_text(end - begin)) height="20" {}
                        }
                    }
                    @if matches!(package.state, PackageState::Failed | PackageState::Interrupted) {
                        rect class="broken" x=(place_text(left)) y=(place_text(top)) width=(place_text(wide)) height="20" {}
                    }
                    @let room = ((wide - 8.0) / LETTER) as usize;
                    @if room >= package.package.chars().count() {
                        text class="name" x=(place_text(left + 4.0)) y=(place_text(top + 14.5)) { (package.package) }
                    }
                }
            }
        }
    }
}

fn tooltip(package: &PackageReport) -> String {
    let mut text = format!("{}: {}, {}", package.package, package.counts_as(), duration(package.seconds()));
    for phase in package.span.iter().flat_map(|span| &span.phases) {
        text.push_str(&format!("\n{} {}", phase.phase, duration(phase.seconds)));
    }
    text
}

/// A tenth of a point is finer than anybody sees.
fn place_text(place: f64) -> String {
    format!("{place:.1}")
}

/// Returns a round number of seconds of which at most ten make the length.
fn step(length: f64) -> f64 {
    let rounds = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0];
    rounds.into_iter().find(|step| length / step <= 10.0).unwrap_or((length / 36_000.0).ceil() * 3600.0)
}
