//! All failures of all specs as one text for people: a line with the numbers, the failures by spec, and where
//! that is long the numbers once more at the end, where the eye is when thousands of lines have passed.

use std::fmt::Write;

use sources::HydrationFailure;

use crate::outcome::{PackFailure, PackReport, SpecOutcome};

/// A text longer than this has scrolled away its first line.
const SCREEN: usize = 40;

impl PackReport {
    /// Returns the text; `None` when nothing failed.
    pub fn failure_text(&self) -> Option<String> {
        let failed = self.counts().failed;
        if failed == 0 {
            return None;
        }
        let numbers = format!("{failed} of {} specs failed", self.specs.len());
        let mut text = numbers.clone();
        for report in &self.specs {
            if let SpecOutcome::Failed { failures } = &report.outcome {
                append(&mut text, &report.spec, failures);
            }
        }
        if text.lines().count() > SCREEN {
            let _ = write!(text, "\n{numbers}: {}", kinds(self.failures()));
        }
        Some(text)
    }
}

/// Appends the failures of one spec: one beside its name, several below it.
fn append(text: &mut String, spec: &str, failures: &[PackFailure]) {
    let prefix = format!("{spec}: ");
    let words = |failure: &PackFailure| {
        let words = failure.to_string();
        words.strip_prefix(&prefix).map_or(words.clone(), str::to_owned)
    };
    // Writing to a String cannot fail.
    if let [failure] = failures {
        let _ = write!(text, "\n  {failure}");
        return;
    }
    let _ = write!(text, "\n  {spec}: {} failures", failures.len());
    for failure in failures {
        let _ = write!(text, "\n    {}", words(failure).replace('\n', "\n  "));
    }
}

/// Returns how many failures of each kind there are, the commonest first.
fn kinds<'a>(failures: impl Iterator<Item = &'a PackFailure>) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for failure in failures {
        let kind = match failure {
            PackFailure::Spec { .. } => "specs that rpm cannot read",
            PackFailure::Source { failure: HydrationFailure::Signatures { .. } } => {
                "signature files unusable"
            }
            PackFailure::Source { failure: HydrationFailure::NotListed { .. } } => {
                "sources without a signature"
            }
            PackFailure::Source { failure } if failure.found_other_bytes() => "files with a wrong hash",
            PackFailure::Source { failure: HydrationFailure::Nowhere { .. } } => "files found nowhere",
            PackFailure::Pack { .. } => "specs that rpm cannot pack",
            PackFailure::SameSrpm { .. } => "SRPMs made twice",
            PackFailure::ChangedMeanwhile { .. } => "specs changed meanwhile",
            PackFailure::Environment { .. } => "faults of this host",
        };
        match counts.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, count)) => *count += 1,
            None => counts.push((kind, 1)),
        }
    }
    counts.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
    let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::SpecReport;
    use std::path::PathBuf;

    fn report(failures: &[(&str, usize)]) -> PackReport {
        let failure = |spec: &str, number: usize| PackFailure::Source {
            failure: HydrationFailure::NotListed {
                spec: spec.to_owned(),
                file: number.to_string(),
                signature_file: PathBuf::from("s"),
            },
        };
        let spec = |(spec, number): &(&str, usize)| SpecReport {
            spec: (*spec).to_owned(),
            spec_path: PathBuf::from(spec),
            outcome: SpecOutcome::Failed {
                failures: (0..*number).map(|number| failure(spec, number)).collect(),
            },
            signatures: None,
        };
        PackReport { specs: failures.iter().map(spec).collect(), removed: Vec::new() }
    }

    #[test]
    fn failures_stand_below_their_spec() {
        assert_eq!(PackReport { specs: Vec::new(), removed: Vec::new() }.failure_text(), None);
        let text = report(&[("a", 1), ("b", 2)]).failure_text().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let expected = [
            "2 of 2 specs failed",
            "  a: `0` has no entry in s",
            "  b: 2 failures",
            "    `0` has no entry in s",
            "    `1` has no entry in s",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn long_texts_end_with_the_numbers() {
        let text = report(&[("a", 100)]).failure_text().unwrap();
        let last = text.lines().last().unwrap();
        assert_eq!(last, "1 of 1 specs failed: 100 sources without a signature");
    }
}
