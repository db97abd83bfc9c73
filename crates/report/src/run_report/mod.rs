//! The report of a run: a pure function of its events, and what it is in each format.
//!
//! What it is: [`RunReport`], made by [`RunReport::from_events`] from what was recorded while the run went on, and
//! the texts of `index.html`, `junit.xml` and `trace.json`. `summary.json` is the report itself. What it is not: it
//! reads no clock and no file; directories, links and what is kept are in [`crate::ReportStore`].

mod html;
mod junit;
mod timeline;
mod trace;

pub use junit::junit_text;

use std::collections::{BTreeMap, BTreeSet};

use rpm_model::{BuildReason, ChangedPackage, CheckReport, FailureClass, PhaseUsage, UnusedRequirement};
use serde::Serialize;

use crate::event::{Event, PackageEnd, RunOutcome, Stage};
use crate::planned::{Hindrance, PlannedBuild, RunPlan};
use crate::render::TimedEvent;

/// What became of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageState {
    /// Its build failed.
    Failed,
    /// Its build ran when the run was ended from outside.
    Interrupted,
    /// Not tried, because of what failed.
    Blocked,
    /// Not built because of what it turned out to need, and its turn did not come again.
    Postponed,
    /// Planned, and not started before the run ended.
    NotStarted,
    /// Built; its packages differ from what was published.
    Built,
    /// Built; its packages are what was published, so nothing that needs it was built again.
    Identical,
}

impl PackageState {
    /// Returns the state as reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Blocked => "blocked",
            Self::Postponed => "postponed",
            Self::NotStarted => "not started",
            Self::Built => "built",
            Self::Identical => "identical",
        }
    }
}

/// How a package counts whose result was taken from a store.
const REUSED: &str = "reused";
/// How packages count that were right as they are published.
const UP_TO_DATE: &str = "up to date";

/// Why a build failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureReport {
    /// Whose fault it is.
    pub class: FailureClass,
    /// What to do about it.
    pub advice: &'static str,
    /// One sentence.
    pub message: String,
    /// The lines of the log that tell why.
    pub decisive_lines: Vec<String>,
    /// The log file; empty where there is none.
    pub log: String,
}

/// A section of a build in time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseSpan {
    /// The section.
    pub phase: String,
    /// When it began, in seconds since the reporting began.
    pub start_seconds: f64,
    /// How long it took.
    pub seconds: f64,
}

/// What a build that was watched opened nothing of. A hint for a packager, not a proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnusedRequirements {
    /// How many build requirements it has.
    pub requirements: usize,
    /// How many files of its root it opened.
    pub opened_files: usize,
    /// Those that nothing was opened of, sorted.
    pub unused: Vec<UnusedRequirement>,
}

/// A build in time: the last one, where a package was built twice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BuildSpan {
    /// When it began, in seconds since the reporting began.
    pub start_seconds: f64,
    /// How long it took.
    pub seconds: f64,
    /// Which of the builds that ran at the same time it was: the lowest number that was free, from 0.
    pub lane: usize,
    /// Its sections, in order.
    pub phases: Vec<PhaseSpan>,
}

/// One package of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PackageReport {
    /// The spec's name.
    pub package: String,
    /// What became of it.
    pub state: PackageState,
    /// Why it was to be built.
    pub reasons: Vec<BuildReason>,
    /// When it was built; `None` where it was not started.
    pub span: Option<BuildSpan>,
    /// Why it failed.
    pub failure: Option<FailureReport>,
    /// The packages whose failure prevents it.
    pub blocked_by: Vec<String>,
    /// What it turned out to need.
    pub postponed_for: Option<String>,
    /// The store that its result was taken from; `None` where it was built.
    pub reused_from: Option<String>,
    /// In what its packages differ from the published ones.
    pub changes: Vec<ChangedPackage>,
    /// How many packages that need it were not looked at again, for it came out as published.
    pub spared: usize,
    /// How many specs of the tree need it, directly or not.
    pub dependants: usize,
    /// Specs of the tree whose packages entered its build root, as planned.
    pub needs: Vec<String>,
    /// How long it was expected to take; `None` where it joined by a cascade.
    pub estimate_seconds: Option<f64>,
    /// It had never been built: the expectation is a guess.
    pub estimate_guessed: bool,
    /// What each section used.
    pub usage: Vec<PhaseUsage>,
    /// The greatest memory of any section, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Processor time of all sections.
    pub cpu_seconds: Option<f64>,
    /// What `%check` found, without its cases.
    pub check: Option<CheckReport>,
    /// What it opened nothing of; `None` where nobody watched (`--find-unused`).
    pub unused: Option<UnusedRequirements>,
    /// With its cases.
    #[serde(skip)]
    check_with_cases: Option<CheckReport>,
}

impl PackageReport {
    fn new(package: &str) -> Self {
        Self {
            package: package.to_owned(),
            state: PackageState::NotStarted,
            reasons: Vec::new(),
            span: None,
            failure: None,
            blocked_by: Vec::new(),
            postponed_for: None,
            reused_from: None,
            changes: Vec::new(),
            spared: 0,
            dependants: 0,
            needs: Vec::new(),
            estimate_seconds: None,
            estimate_guessed: false,
            usage: Vec::new(),
            peak_memory_bytes: None,
            cpu_seconds: None,
            check: None,
            unused: None,
            check_with_cases: None,
        }
    }

    fn planned(&mut self, build: &PlannedBuild) {
        self.reasons.clone_from(&build.reasons);
        self.needs.clone_from(&build.needs);
        self.dependants = build.dependants;
        self.estimate_seconds = Some(build.estimate_seconds);
        self.estimate_guessed = build.estimate_guessed;
    }

    /// Returns how it counts: what was taken from a store of results was not built by this run.
    pub fn counts_as(&self) -> &'static str {
        match self.state {
            PackageState::Built | PackageState::Identical if self.reused_from.is_some() => REUSED,
            state => state.as_str(),
        }
    }

    /// Returns how long it was built.
    fn seconds(&self) -> f64 {
        self.span.as_ref().map_or(0.0, |span| span.seconds)
    }
}

/// A stage of a run in time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageReport {
    /// Which.
    pub stage: Stage,
    /// When it began, in seconds since the reporting began.
    pub start_seconds: f64,
    /// How long it took; `None` where it did not end well.
    pub seconds: Option<f64>,
    /// What came out.
    pub summary: String,
}

/// The report of a run: `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunReport {
    /// This code writes [`RunReport::SCHEMA`].
    pub schema: u32,
    /// The run's name.
    pub run: String,
    /// What was typed.
    pub command: String,
    /// When it began, in seconds since 1970.
    pub started_at: u64,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why it could not go on, where it could not.
    pub message: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// Packages built at the same time.
    pub workers: usize,
    /// The specs asked for.
    pub goals: Vec<String>,
    /// How many packages ended in each way, each package counted once; what none ended in is not there. The keys are
    /// the states of packages as this document writes them, and besides `reused`, which are neither `built` nor
    /// `identical`, and `up-to-date`. `blocked` are those too that no plan of the run could start.
    pub counts: BTreeMap<String, usize>,
    /// What was to be built, sorted by name.
    pub packages: Vec<PackageReport>,
    /// What was right as it is published.
    pub up_to_date: Vec<String>,
    /// What the user said not to build.
    pub ignored: Vec<String>,
    /// Why packages could not be built, by the last plan.
    pub hindrances: Vec<Hindrance>,
    /// The longest chain of builds as planned.
    pub planned_path: Vec<String>,
    /// How long that was expected to take.
    pub planned_path_seconds: f64,
    /// The longest chain of builds as it was: each needs the one before.
    pub longest_path: Vec<String>,
    /// How long its builds took.
    pub longest_path_seconds: f64,
    /// The stages.
    pub stages: Vec<StageReport>,
    /// What the user should know, in the order in which it was told.
    pub warnings: Vec<String>,
}

impl RunReport {
    /// The schema that this code writes.
    pub const SCHEMA: u32 = 1;

    /// Makes the report of what was recorded. A record without an end is that of a run that was ended from outside.
    pub fn from_events(events: impl IntoIterator<Item = TimedEvent>) -> Self {
        let mut maker = Maker::default();
        for TimedEvent { at_seconds, event } in events {
            maker.last = maker.last.max(at_seconds);
            maker.take(event, at_seconds);
        }
        maker.finish()
    }

    /// Returns whether anything was built, tried or found to be impossible.
    pub fn did_something(&self) -> bool {
        self.packages.iter().any(|package| package.span.is_some() || package.failure.is_some())
            || self.hindrances.iter().any(|hindrance| !hindrance.open)
    }

    /// Returns the packages in a state, by name.
    pub fn in_state(&self, state: PackageState) -> impl Iterator<Item = &PackageReport> {
        self.packages.iter().filter(move |package| package.state == state)
    }

    /// Returns `index.html`; `files` are the other files of the report, by name and what they are.
    pub fn html(&self, files: &[(String, String)]) -> String {
        html::page(self, files)
    }

    /// Returns `junit.xml`.
    ///
    /// # Errors
    /// When it cannot be serialised.
    pub fn junit(&self) -> Result<String, quick_junit::SerializeError> {
        junit::junit(self)
    }

    /// Returns `trace.json`, in the trace event format that Perfetto and Chromium read.
    pub fn trace(&self) -> serde_json::Value {
        trace::trace(self)
    }
}

/// What the events so far add up to.
#[derive(Default)]
struct Maker {
    run: String,
    command: String,
    started_at: u64,
    ended: Option<(RunOutcome, Option<String>, f64)>,
    plans: Vec<RunPlan>,
    packages: BTreeMap<String, PackageReport>,
    lanes: Vec<Option<String>>,
    stages: Vec<StageReport>,
    warnings: Vec<String>,
    last: f64,
}

impl Maker {
    fn package(&mut self, package: &str) -> &mut PackageReport {
        self.packages.entry(package.to_owned()).or_insert_with(|| PackageReport::new(package))
    }

    fn take(&mut self, event: Event, at: f64) {
        match event {
            Event::RunStarted { run, command, started_at } => {
                (self.run, self.command, self.started_at) = (run, command, started_at);
            }
            Event::RunFinished { outcome, message, seconds, .. } => {
                self.ended = Some((outcome, message, seconds));
            }
            Event::Planned(plan) => {
                for build in &plan.builds {
                    self.package(&build.package).planned(build);
                }
                self.plans.push(plan);
            }
            Event::StageStarted { stage, .. } => {
                self.stages.push(StageReport {
                    stage,
                    start_seconds: at,
                    seconds: None,
                    summary: String::new(),
                });
            }
            Event::StageFinished { stage, summary, seconds } => {
                if let Some(open) = self.stages.iter_mut().rev().find(|open| open.stage == stage) {
                    (open.seconds, open.summary) = (Some(seconds), summary);
                }
            }
            Event::PackageStarted { package, reasons, .. } => self.start(&package, reasons, at),
            Event::PackagePhase { package, phase } => {
                if let Some(span) = &mut self.package(&package).span {
                    end_phase(span, at);
                    span.phases.push(PhaseSpan { phase, start_seconds: at, seconds: 0.0 });
                }
            }
            Event::PackageUsage { package, phases, check, .. } => {
                let report = self.package(&package);
                report.peak_memory_bytes = phases.iter().filter_map(|phase| phase.peak_memory_bytes).max();
                let cpu: Vec<f64> = phases.iter().filter_map(|phase| phase.cpu_seconds).collect();
                report.cpu_seconds = (!cpu.is_empty()).then(|| cpu.iter().sum());
                report.usage = phases;
                report.check = Some(check.summary());
                report.check_with_cases = Some(check);
            }
            Event::PackageUnused { package, requirements, opened_files, unused } => {
                self.package(&package).unused =
                    Some(UnusedRequirements { requirements, opened_files, unused });
            }
            Event::PackageReused { package, store } => self.package(&package).reused_from = Some(store),
            Event::PackageCompared { package, changes, spared } => {
                let report = self.package(&package);
                (report.changes, report.spared) = (changes, spared);
            }
            Event::PackageFinished { package, end, seconds, .. } => self.end(&package, end, seconds, at),
            Event::Warning { message } => self.warnings.push(message),
            Event::StageProgress { .. }
            | Event::RoundStarted { .. }
            | Event::MassRebuildProgress { .. }
            | Event::Note { .. } => {}
        }
    }

    fn start(&mut self, package: &str, reasons: Vec<BuildReason>, at: f64) {
        let free = self.lanes.iter().position(Option::is_none);
        let lane = free.unwrap_or(self.lanes.len());
        if free.is_none() {
            self.lanes.push(None);
        }
        self.lanes[lane] = Some(package.to_owned());
        let report = self.package(package);
        if !reasons.is_empty() {
            report.reasons = reasons;
        }
        report.state = PackageState::Interrupted;
        report.reused_from = None;
        let phases = vec![PhaseSpan { phase: "preparation".into(), start_seconds: at, seconds: 0.0 }];
        report.span = Some(BuildSpan { start_seconds: at, seconds: 0.0, lane, phases });
    }

    fn end(&mut self, package: &str, end: PackageEnd, seconds: f64, at: f64) {
        for lane in &mut self.lanes {
            if lane.as_deref() == Some(package) {
                *lane = None;
            }
        }
        let report = self.package(package);
        if let (Some(span), true) = (&mut report.span, report.state == PackageState::Interrupted) {
            end_phase(span, at);
            span.seconds = seconds;
        }
        match end {
            PackageEnd::Built => report.state = PackageState::Built,
            PackageEnd::Identical => report.state = PackageState::Identical,
            PackageEnd::Failed { class, message, decisive_lines, log } => {
                report.state = PackageState::Failed;
                let advice = class.advice();
                report.failure = Some(FailureReport { class, advice, message, decisive_lines, log });
            }
            PackageEnd::Postponed { why } => {
                report.state = PackageState::Postponed;
                report.postponed_for = Some(why);
            }
            PackageEnd::Blocked { by } => {
                report.state = PackageState::Blocked;
                for cause in by {
                    if !report.blocked_by.contains(&cause) {
                        report.blocked_by.push(cause);
                    }
                }
            }
        }
    }

    fn finish(mut self) -> RunReport {
        let last = self.last;
        for report in self.packages.values_mut() {
            if let (Some(span), PackageState::Interrupted) = (&mut report.span, report.state) {
                end_phase(span, last);
                span.seconds = last - span.start_seconds;
            }
        }
        let (outcome, message, seconds) = self.ended.unwrap_or((RunOutcome::Killed, None, last));
        let first = self.plans.iter().find(|plan| !plan.builds.is_empty());
        let (planned_path, planned_path_seconds) =
            first.map_or((Vec::new(), 0.0), |plan| (plan.critical_path.clone(), plan.critical_path_seconds));
        let (workers, goals) =
            self.plans.first().map_or((0, Vec::new()), |plan| (plan.workers, plan.goals.clone()));
        let last_plan = self.plans.pop().unwrap_or_default();
        let touched: BTreeSet<&String> = self.packages.keys().collect();
        let up_to_date: Vec<String> =
            last_plan.up_to_date.iter().filter(|name| !touched.contains(name)).cloned().collect();
        let (longest_path, longest_path_seconds) = longest_path(&self.packages);
        let hard = last_plan.hindrances.iter().filter(|hindrance| !hindrance.open);
        let untried: BTreeSet<&String> =
            hard.flat_map(|hindrance| &hindrance.packages).filter(|name| !touched.contains(name)).collect();
        let ends = self.packages.values().map(|report| (report.counts_as(), 1));
        let others = [(PackageState::Blocked.as_str(), untried.len()), (UP_TO_DATE, up_to_date.len())];
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (end, number) in ends.chain(others).filter(|(_, number)| *number > 0) {
            *counts.entry(key(end)).or_default() += number;
        }
        RunReport {
            schema: RunReport::SCHEMA,
            run: self.run,
            command: self.command,
            started_at: self.started_at,
            outcome,
            message,
            seconds,
            workers,
            goals,
            counts,
            packages: self.packages.into_values().collect(),
            up_to_date,
            ignored: last_plan.ignored,
            hindrances: last_plan.hindrances,
            planned_path,
            planned_path_seconds,
            longest_path,
            longest_path_seconds,
            stages: self.stages,
            warnings: self.warnings,
        }
    }
}

/// Returns words as keys of data are written.
fn key(words: &str) -> String {
    words.replace(' ', "-")
}

fn end_phase(span: &mut BuildSpan, at: f64) {
    if let Some(phase) = span.phases.last_mut() {
        phase.seconds = (at - phase.start_seconds).max(0.0);
    }
}

/// Returns the chain of builds, each needing the one before, that took longest, and how long.
fn longest_path(packages: &BTreeMap<String, PackageReport>) -> (Vec<String>, f64) {
    let mut built: Vec<(&PackageReport, &BuildSpan)> =
        packages.values().filter_map(|package| Some((package, package.span.as_ref()?))).collect();
    // What a build needs has ended before it starts.
    built.sort_by(|(_, a), (_, b)| a.start_seconds.total_cmp(&b.start_seconds));
    let mut ways: BTreeMap<&str, (f64, Option<&str>)> = BTreeMap::new();
    for (package, span) in &built {
        let before =
            package.needs.iter().filter_map(|need| Some((need.as_str(), ways.get(need.as_str())?.0)));
        let longest = before.max_by(|(_, a), (_, b)| a.total_cmp(b));
        let way = span.seconds + longest.map_or(0.0, |(_, seconds)| seconds);
        ways.insert(&package.package, (way, longest.map(|(need, _)| need)));
    }
    let last = ways.iter().max_by(|(_, a), (_, b)| a.0.total_cmp(&b.0));
    let seconds = last.map_or(0.0, |(_, (seconds, _))| *seconds);
    let mut path = Vec::new();
    let mut next = last.map(|(name, _)| *name);
    while let Some(name) = next {
        path.push(name.to_owned());
        next = ways.get(name).and_then(|(_, before)| *before);
    }
    path.reverse();
    (path, seconds)
}

#[cfg(test)]
mod tests;
