//! How far a run is: what its events add up to, as plain data.
//!
//! What it is: the state that the live view, the heartbeat of the plain view and nobody else draw from. It is told
//! the time and asks no clock, so everything that is drawn can be tested. What it is not: a history; what the
//! report of a run needs is kept elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use rpm_model::BuildReason;

use crate::event::{Event, PackageEnd, Stage};
use crate::planned::PlannedBuild;
use crate::text::duration;

/// A stage that runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunningStage {
    pub(crate) stage: Stage,
    pub(crate) since: f64,
    pub(crate) done: usize,
    pub(crate) total: Option<usize>,
    pub(crate) detail: String,
}

/// A package that is being built.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunningBuild {
    pub(crate) package: String,
    pub(crate) phase: String,
    pub(crate) since: f64,
    pub(crate) reasons: Vec<BuildReason>,
}

/// How long a build is expected to take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Expected {
    pub(crate) seconds: f64,
    pub(crate) guessed: bool,
}

/// How many packages ended in each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) built: usize,
    pub(crate) identical: usize,
    /// Neither built nor compared by a build: taken from a store of results.
    pub(crate) reused: usize,
    pub(crate) failed: usize,
    pub(crate) blocked: usize,
    pub(crate) postponed: usize,
}

/// How far a mass rebuild is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetCounts {
    pub(crate) done: usize,
    pub(crate) failed: usize,
    pub(crate) total: usize,
}

impl SetCounts {
    /// Returns the counts in words.
    pub(crate) fn words(self) -> String {
        let Self { done, failed, total } = self;
        let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        format!("{done} of {total} done{failures}, {} to go", total.saturating_sub(done + failed))
    }
}

/// How far a run is; see the module text. Times are seconds on the caller's clock.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) stages: Vec<RunningStage>,
    /// One place for each build that runs: a build keeps its place, a free one is taken by the next.
    places: Vec<Option<RunningBuild>>,
    /// What is planned and has not ended.
    open: BTreeMap<String, PlannedBuild>,
    workers: usize,
    pub(crate) counts: Counts,
    /// What runs and takes its result from a store.
    reused: BTreeSet<String>,
    /// Whether what ended last did.
    pub(crate) ended_reused: bool,
    pub(crate) done: usize,
    pub(crate) total: usize,
    /// How far the mass rebuild is that the run belongs to.
    pub(crate) mass_rebuild: Option<SetCounts>,
    /// Whether builds have been started and their round has not ended.
    pub(crate) building: bool,
}

impl Progress {
    /// Takes what happened at this time.
    pub(crate) fn take(&mut self, event: &Event, now: f64) {
        match event {
            Event::StageStarted { stage, total } => {
                self.building = false;
                // While a stage runs no build does: what has not ended was interrupted, and is no longer shown.
                self.places.clear();
                let (stage, total) = (*stage, *total);
                self.stages.push(RunningStage { stage, since: now, done: 0, total, detail: String::new() });
            }
            Event::StageProgress { stage, done, total, detail } => {
                if let Some(running) = self.stages.iter_mut().find(|running| running.stage == *stage) {
                    running.done = *done;
                    running.total = Some(*total);
                    running.detail.clone_from(detail);
                }
            }
            Event::StageFinished { stage, .. } => self.stages.retain(|running| running.stage != *stage),
            Event::Planned(plan) => {
                self.open = plan.builds.iter().map(|build| (build.package.clone(), build.clone())).collect();
                self.workers = plan.workers;
                (self.done, self.total) = (0, plan.builds.len());
            }
            Event::PackageStarted { package, reasons, .. } => self.start(package, reasons, now),
            Event::PackagePhase { package, phase } => {
                let running = self.places.iter_mut().flatten().find(|running| running.package == *package);
                if let Some(running) = running {
                    running.phase.clone_from(phase);
                }
            }
            Event::PackageReused { package, .. } => {
                self.reused.insert(package.clone());
            }
            Event::PackageFinished { package, end, done, total, .. } => {
                for place in &mut self.places {
                    if place.as_ref().is_some_and(|running| running.package == *package) {
                        *place = None;
                    }
                }
                self.open.remove(package);
                (self.done, self.total) = (*done, *total);
                let counts = &mut self.counts;
                self.ended_reused = self.reused.remove(package);
                *match end {
                    PackageEnd::Built | PackageEnd::Identical if self.ended_reused => &mut counts.reused,
                    PackageEnd::Built => &mut counts.built,
                    PackageEnd::Identical => &mut counts.identical,
                    PackageEnd::Failed { .. } => &mut counts.failed,
                    PackageEnd::Blocked { .. } => &mut counts.blocked,
                    PackageEnd::Postponed { .. } => &mut counts.postponed,
                } += 1;
            }
            Event::RunFinished { .. } => self.building = false,
            Event::MassRebuildProgress { done, failed, total, .. } => {
                self.mass_rebuild = Some(SetCounts { done: *done, failed: *failed, total: *total });
            }
            Event::RunStarted { .. }
            | Event::RoundStarted { .. }
            | Event::PackageUsage { .. }
            | Event::PackageUnused { .. }
            | Event::PackageCompared { .. }
            | Event::Warning { .. }
            | Event::Note { .. } => {}
        }
    }

    fn start(&mut self, package: &str, reasons: &[BuildReason], now: f64) {
        self.building = true;
        let running = RunningBuild {
            package: package.to_owned(),
            phase: "preparing".to_owned(),
            since: now,
            reasons: reasons.to_vec(),
        };
        match self.places.iter_mut().find(|place| place.is_none()) {
            Some(free) => *free = Some(running),
            None => self.places.push(Some(running)),
        }
    }

    /// Returns what is being built, each at its place.
    pub(crate) fn running(&self) -> impl Iterator<Item = &RunningBuild> {
        self.places.iter().flatten()
    }

    /// Returns how many builds are planned and not started.
    pub(crate) fn queued(&self) -> usize {
        self.total.saturating_sub(self.done + self.running().count())
    }

    /// Returns how long a build is expected to take, where the plan says so.
    pub(crate) fn expected(&self, package: &str) -> Option<Expected> {
        let build = self.open.get(package)?;
        Some(Expected { seconds: build.estimate_seconds, guessed: build.estimate_guessed })
    }

    /// Returns how long the rest will take at least, in words; nothing where no plan says anything.
    pub(crate) fn left_words(&self, now: f64) -> Option<String> {
        let Expected { seconds, guessed } = self.remaining(now)?;
        if seconds <= 0.0 {
            // All that is left takes longer than expected, and nobody knows how much longer.
            return Some("overdue".to_owned());
        }
        // What was never built is guessed.
        let about = if guessed { "~" } else { "" };
        Some(format!("{about}{} left", duration(seconds.max(1.0))))
    }

    /// Returns how long the rest will take at least: the longest chain that is left, or what is left of the work
    /// divided among the workers, whichever is longer. `None` where no plan says anything.
    fn remaining(&self, now: f64) -> Option<Expected> {
        let mut longest = 0.0_f64;
        let mut work = 0.0;
        let mut guessed = false;
        for build in self.open.values() {
            let running = self.running().find(|running| running.package == build.package);
            // A build that takes longer than expected may end at any moment.
            let spent =
                running.map_or(0.0, |running| (now - running.since).clamp(0.0, build.estimate_seconds));
            longest = longest.max(build.way_seconds - spent);
            work += build.estimate_seconds - spent;
            guessed |= build.estimate_guessed;
        }
        let seconds = longest.max(work / self.workers.max(1) as f64);
        (!self.open.is_empty()).then_some(Expected { seconds, guessed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mass_rebuild_is_counted_over_its_set() {
        let mut progress = Progress::default();
        for (done, failed, words) in [
            (0, 0, "0 of 3 done, 3 to go"),
            (1, 1, "1 of 3 done, 1 failed, 1 to go"),
            (3, 0, "3 of 3 done, 0 to go"),
        ] {
            progress.take(&Event::MassRebuildProgress { name: "m".into(), done, failed, total: 3 }, 0.0);
            assert_eq!(progress.mass_rebuild.map(SetCounts::words).as_deref(), Some(words));
        }
    }
}
