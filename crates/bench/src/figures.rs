//! Figures: medians with their spread, as a table for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use report::ExitStatus;
use serde::Serialize;

use crate::error::BenchError;
use crate::machine::Machine;
use crate::{Conclusion, Place};

/// The middle of some values, and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The smallest value.
    pub(crate) min: f64,
    /// A quarter of the values is below.
    pub(crate) lower_quartile: f64,
    /// Half of the values is below.
    pub(crate) median: f64,
    /// Three quarters of the values are below.
    pub(crate) upper_quartile: f64,
    /// The largest value.
    pub(crate) max: f64,
}

impl Spread {
    /// Returns the spread of some values, or `None` of none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        // Linear interpolation between the two nearest ranks.
        let quantile = |part: f64| {
            let rank = part * last as f64;
            let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
            below + (above - below) * rank.fract()
        };
        Some(Self {
            min: sorted[0],
            lower_quartile: quantile(0.25),
            median: quantile(0.5),
            upper_quartile: quantile(0.75),
            max: sorted[last],
        })
    }
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Metric {
    /// The median.
    pub(crate) value: f64,
    /// What it counts.
    pub(crate) unit: &'static str,
    /// The peer's median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<f64>,
    /// At most this much is wanted, or at least where `at_least` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) goal: Option<f64>,
    /// Whether more is better.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) at_least: bool,
    /// Whether the value reaches the goal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) met: Option<bool>,
    /// How far the values spread.
    pub(crate) spread: Spread,
    /// How far the peer's values spread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_spread: Option<Spread>,
}

impl Metric {
    /// Returns a figure of some values, or `None` of none.
    pub(crate) fn of(unit: &'static str, values: &[f64]) -> Option<Self> {
        let spread = Spread::of(values)?;
        Some(Self {
            value: spread.median,
            unit,
            peer: None,
            goal: None,
            at_least: false,
            met: None,
            spread,
            peer_spread: None,
        })
    }

    /// Returns the figure with the peer's beside it.
    #[must_use]
    pub(crate) fn beside(mut self, values: &[f64]) -> Self {
        self.peer_spread = Spread::of(values);
        self.peer = self.peer_spread.map(|spread| spread.median);
        self
    }

    /// Returns the figure with the most that is wanted.
    #[must_use]
    pub(crate) fn at_most(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self.met = Some(self.value <= goal);
        self
    }

    /// Returns the figure with the least that is wanted.
    #[must_use]
    pub(crate) fn at_least(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self.at_least = true;
        self.met = Some(self.value >= goal);
        self
    }
}

/// All figures of a benchmark, by name.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) metrics: BTreeMap<String, Metric>,
    /// How often each was measured.
    pub(crate) runs: u32,
    pub(crate) machine: Machine,
}

impl Figures {
    /// Writes the figures of a benchmark that did its work, and puts them into words: the table, then what they are
    /// `of`, then how and where they were measured.
    pub(crate) fn conclude(self, place: &Place, of: &str) -> Result<Conclusion, BenchError> {
        let shown: Vec<(String, &Metric)> =
            self.metrics.iter().map(|(name, metric)| (name.replace('_', " "), metric)).collect();
        let (table, machine, file) = (table(&shown), self.machine.line(), place.figures.display());
        self.write(&place.figures)?;
        let text = format!("{table}{of}medians of {} runs; {machine}\nwritten to {file}", self.runs);
        Ok(Conclusion { status: ExitStatus::Done, text })
    }

    /// Writes them whole.
    pub(crate) fn write(&self, path: &Path) -> Result<(), BenchError> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(BenchError::io("write", path))
    }
}

/// Returns metrics as a table; each comes with what people call it.
pub(crate) fn table(rows: &[(String, &Metric)]) -> String {
    let header = ["", "ours", "min..max", "peer", "min..max", "ratio", "goal"].map(str::to_owned);
    let lines: Vec<[String; 7]> = std::iter::once(header)
        .chain(rows.iter().map(|(name, metric)| {
            let peer =
                |text: fn(&Spread) -> String| metric.peer_spread.as_ref().map(text).unwrap_or_default();
            [
                name.clone(),
                format!("{} {}", number(metric.value), metric.unit),
                range(&metric.spread),
                peer(|spread| number(spread.median)),
                peer(range),
                metric.peer.map(|peer| format!("1 : {:.1}", peer / metric.value)).unwrap_or_default(),
                metric.goal.map(|goal| verdict(metric, goal)).unwrap_or_default(),
            ]
        }))
        .collect();
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut row = format!("{:1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            // Writing to a String cannot fail.
            let _ = write!(row, "  {cell:>width$}");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn verdict(metric: &Metric, goal: f64) -> String {
    let word = if metric.met == Some(true) { "met" } else { "NOT met" };
    let sign = if metric.at_least { ">=" } else { "<=" };
    format!("{sign} {} {word}", number(goal))
}

fn range(spread: &Spread) -> String {
    format!("{}..{}", number(spread.min), number(spread.max))
}

/// Returns a number with three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quartiles() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!((spread.lower_quartile, spread.upper_quartile), (1.75, 3.25));
        assert_eq!(Spread::of(&[7.0]).unwrap().median, 7.0);
        assert!(Spread::of(&[]).is_none());
    }

    #[test]
    fn the_table_says_what_is_not_met() {
        let good = Metric::of("ms", &[50.0, 60.0, 40.0]).unwrap().beside(&[500.0]).at_most(60.0);
        let bad = Metric::of("ms", &[6.0]).unwrap().at_most(5.0);
        let times = Metric::of("times", &[13.0]).unwrap().at_least(12.0);
        let text =
            table(&[("whole".to_owned(), &good), ("outside".to_owned(), &bad), ("less".to_owned(), &times)]);
        same_words(
            &text,
            &[
                "            ours    min..max  peer  min..max   ratio          goal",
                "whole    50.0 ms  40.0..60.0   500  500..500  1 : 10.0    <= 60.0 met",
                "outside  6.00 ms  6.00..6.00                            <= 5.00 NOT met",
                "less  13.0 times  13.0..13.0                            >= 12.0 met",
            ],
        );
    }

    /// Compares but for the number of blanks.
    fn same_words(text: &str, lines: &[&str]) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(text), words(&lines.join("\n")), "{text}");
    }

    #[test]
    fn the_document_has_the_documented_shape() {
        let metric = Metric::of("ms CPU", &[1.0]).unwrap().beside(&[41.0]).at_most(2.0);
        let value = serde_json::to_value(&metric).unwrap();
        for key in ["value", "unit", "peer", "goal", "met"] {
            assert!(value.get(key).is_some(), "{key}: {value}");
        }
    }
}
