//! `kills`: workers killed at random moments, and what they leave.
//!
//! A package whose every section takes a moment is built again and again, and its worker killed at a random
//! moment of one stage after another. After each kill the host is looked at, the package is built again, and
//! what lies on disk is looked at. What it is not: a measurement of time. One leftover, or one worker that does
//! not succeed after a killed one, is a failure.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use report::{ExitStatus, Reporter};
use testkit::{KillReport, KillTrial, STAGES, Stage};

use crate::error::BenchError;
use crate::figures::{Figures, Metric};
use crate::machine::Machine;
use crate::tree::{Tree, With, prepare};
use crate::{Conclusion, Place, note};

/// The package that is built: every section starts a process and waits for it.
const SPEC: &str = "\
Name: bench-kills
Version: 1
Release: 1
Summary: Victim of a benchmark
License: MIT
BuildArch: noarch
%description
Victim of a benchmark.
%prep
sleep 0.2
%build
sleep 0.2 & wait
%install
mkdir -p %{buildroot}/usr/share/bench-kills
head -c 1M /dev/urandom > %{buildroot}/usr/share/bench-kills/noise
sleep 0.2
%check
sleep 0.2
%files
/usr/share/bench-kills
%changelog
* Fri Nov 20 2026 Millwright Benchmarks <bench@millwright.invalid> - 1-1
- First package
";

/// What became of the kills in one stage.
#[derive(Default)]
struct Tally {
    kills: u32,
    /// The worker had ended before.
    too_late: u32,
    leftovers: usize,
    next_failed: u32,
}

/// Runs the benchmark.
pub(crate) fn run(place: &Place, runs: u32, reporter: &dyn Reporter) -> Result<Conclusion, BenchError> {
    prepare(place, With::Toolchain)?;
    let specs = place.scratch.join("specs");
    let directory = specs.join("bench-kills");
    fs::create_dir_all(&directory).map_err(BenchError::io("create", &directory))?;
    let spec = directory.join("bench-kills.spec");
    fs::write(&spec, SPEC).map_err(BenchError::io("write", &spec))?;
    let tree = Tree::new(place, place.scratch.join("tree"), &specs, With::Toolchain)?;
    tree.millwright("build", &["build", "--offline", "--run-check=true"])?;
    let job = tree.path("build/work/jobs/bench-kills/job.json");
    let trial = KillTrial::new(&tree.program("pkgworker"), &job, &tree.path("trial"));
    let mut tallies: BTreeMap<Stage, Tally> = BTreeMap::new();
    let mut complaints = Vec::new();
    for (number, stage) in (1..=runs).zip(STAGES.into_iter().cycle()) {
        note(
            reporter,
            format!("kill {number} of {runs}: {}, {} complaints so far", stage.name(), complaints.len()),
        );
        let KillReport { was_running, leftovers, next_failure } = trial.kill(stage);
        let tally = tallies.entry(stage).or_default();
        tally.kills += 1;
        tally.too_late += u32::from(!was_running);
        tally.leftovers += leftovers.len();
        tally.next_failed += u32::from(next_failure.is_some());
        complaints.extend(
            leftovers.into_iter().chain(next_failure).map(|text| format!("{}: {text}", stage.name())),
        );
    }
    conclude(place, runs, &tallies, &complaints)
}

fn conclude(
    place: &Place,
    runs: u32,
    tallies: &BTreeMap<Stage, Tally>,
    complaints: &[String],
) -> Result<Conclusion, BenchError> {
    let mut text = format!(
        "{:<10} {:>6} {:>14} {:>10} {:>12}\n",
        "killed in", "kills", "ended before", "leftovers", "next failed"
    );
    for (stage, Tally { kills, too_late, leftovers, next_failed }) in tallies {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<10} {kills:>6} {too_late:>14} {leftovers:>10} {next_failed:>12}",
            stage.name()
        );
    }
    for complaint in complaints {
        text.push_str(complaint);
        text.push('\n');
    }
    let failures: f64 = tallies.values().map(|tally| f64::from(tally.next_failed)).sum();
    #[expect(clippy::cast_precision_loss, reason = "some dozens")]
    let leftovers: f64 = tallies.values().map(|tally| tally.leftovers as f64).sum();
    let metrics = [
        ("kills", Metric::of("kills", &[f64::from(runs)])),
        ("leftovers", Metric::of("leftovers", &[leftovers]).map(|metric| metric.at_most(0.0))),
        ("next_failed", Metric::of("workers", &[failures]).map(|metric| metric.at_most(0.0))),
    ];
    let metrics = metrics.into_iter().filter_map(|(name, metric)| Some((name.to_owned(), metric?))).collect();
    Figures { metrics, runs, machine: Machine::here() }.write(&place.figures)?;
    let status = if complaints.is_empty() { ExitStatus::Done } else { ExitStatus::GoalsFailed };
    Ok(Conclusion { status, text })
}
