//! The report of a run that builds: recorded from its first moment on, written when it ends.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use config::Config;
use report::{
    Event, ExitStatus, Extras, Failure, Recorder, ReportStore, Reporter, RunOutcome, RunReport, Written,
    read_events, run_name,
};
use scheduler::RecordStore;

/// What is recorded of a run that goes on, below the build directory. It is gone when the run has ended.
const EVENTS: &str = "run/events.ndjson";

/// Returns the file into which a run that goes on is recorded.
pub(crate) fn events_file(build: &Path) -> PathBuf {
    build.join(EVENTS)
}

/// Returns the directory that says what the last build of a spec was made of; `None` where there is no record that can
/// be read.
pub(crate) fn provenance_of(records: &RecordStore, provenance: &Path, spec: &str) -> Option<PathBuf> {
    let record = records.read(spec).ok().flatten()?;
    let srpm = record.srpm.path.as_str();
    Some(provenance.join(srpm.strip_suffix(".src.rpm").unwrap_or(srpm)))
}

/// Records a run and writes its report.
pub(crate) struct Reporting {
    events: PathBuf,
    store: ReportStore,
    records: PathBuf,
    provenance: PathBuf,
    state_csv: PathBuf,
    /// Set where the user stopped the run.
    pub(crate) stopped: Cell<bool>,
}

impl Reporting {
    /// Returns the reporting of a tree.
    pub(crate) fn new(config: &Config) -> Self {
        let directories = &config.directories;
        Self {
            events: events_file(&directories.build),
            store: ReportStore::new(&directories.output.join("reports"), config.reports_kept),
            records: directories.build.join("records"),
            provenance: directories.output.join("PROVENANCE"),
            state_csv: directories.artifacts.join("build_state.csv"),
            stopped: Cell::new(false),
        }
    }

    /// Returns a reporter that also records. What a run that was killed has left becomes its report first; the
    /// caller holds the build directory's lock.
    pub(crate) fn recorder(&self, next: Box<dyn Reporter>) -> Result<Box<dyn Reporter>, Failure> {
        if self.events.is_file()
            && let Some(path) = self.write(next.as_ref(), Extras { state_csv: None, spdx: &|_| None })
        {
            let message = format!("the run before was ended from outside; its report: {}", path.display());
            next.event(&Event::Note { message });
        }
        let failed = |error: io::Error| {
            let text = format!("cannot write `{}`: {error}", self.events.display());
            Failure::new(ExitStatus::Environment, text)
        };
        Ok(Box::new(Recorder::create(&self.events, next).map_err(failed)?))
    }

    /// Says that a run begins.
    pub(crate) fn begin(&self, reporter: &dyn Reporter, goals: &[String], command: &str) {
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (run, command) = (run_name(started_at, goals), command.to_owned());
        reporter.event(&Event::RunStarted { run, command, started_at });
    }

    /// Says how a run ended and writes its report; returns its page. `None` where the run did nothing, or where the
    /// report could not be written, which is told.
    pub(crate) fn finish(
        &self,
        reporter: &dyn Reporter,
        result: &Result<ExitStatus, Failure>,
        seconds: f64,
    ) -> Option<PathBuf> {
        let (outcome, message) = match result {
            Err(failure) => (RunOutcome::Aborted, Some(failure.render())),
            Ok(_) if self.stopped.get() => (RunOutcome::Stopped, None),
            Ok(ExitStatus::Done) => (RunOutcome::Done, None),
            Ok(_) => (RunOutcome::GoalsFailed, None),
        };
        // What was recorded so far; where that cannot be read, writing the report will say so.
        let events = read_events(&self.events).unwrap_or_default();
        let counts = RunReport::from_events(events).counts;
        reporter.event(&Event::RunFinished { outcome, message, seconds, counts });
        let records = RecordStore::new(&self.records);
        let document = |package: &str| {
            let directory = provenance_of(&records, &self.provenance, package)?;
            Some(directory.join(provenance::file_names::SPDX))
        };
        let state_csv = Some(self.state_csv.as_path()).filter(|_| result.is_ok());
        self.write(reporter, Extras { state_csv, spdx: &document })
    }

    fn write(&self, reporter: &dyn Reporter, extras: Extras<'_>) -> Option<PathBuf> {
        let written = self.store.write(&self.events, extras);
        // What was recorded is in the report, or of no use.
        let _ = std::fs::remove_file(&self.events);
        match written {
            Ok(Some(Written { directory, removed })) => {
                if !removed.is_empty() {
                    let number = removed.len();
                    let reports = if number == 1 { "report" } else { "reports" };
                    let message = format!("removed the oldest {number} {reports} (reports.keep)");
                    reporter.event(&Event::Note { message });
                }
                Some(directory.join("index.html"))
            }
            Ok(None) => None,
            Err(error) => {
                let message = format!("the run's report could not be written: {error}");
                reporter.event(&Event::Warning { message });
                None
            }
        }
    }
}
