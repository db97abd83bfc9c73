//! Counts the steps of a stage and tells them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use report::{Event, Reporter, Stage};

/// A stage under way; steps may come from any thread.
pub(crate) struct Steps<'a> {
    reporter: &'a dyn Reporter,
    stage: Stage,
    total: usize,
    done: AtomicUsize,
    start: Instant,
}

impl<'a> Steps<'a> {
    pub(crate) fn start(reporter: &'a dyn Reporter, stage: Stage, total: usize) -> Self {
        reporter.event(&Event::StageStarted { stage, total: Some(total) });
        Self { reporter, stage, total, done: AtomicUsize::new(0), start: Instant::now() }
    }

    pub(crate) fn step(&self, detail: &str) {
        self.event(self.done.fetch_add(1, Ordering::Relaxed) + 1, detail);
    }

    /// Tells something within a step.
    pub(crate) fn tell(&self, detail: &str) {
        self.event(self.done.load(Ordering::Relaxed), detail);
    }

    fn event(&self, done: usize, detail: &str) {
        let (stage, total, detail) = (self.stage, self.total, detail.to_owned());
        self.reporter.event(&Event::StageProgress { stage, done, total, detail });
    }

    pub(crate) fn finish(self, summary: String) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.reporter.event(&Event::StageFinished { stage: self.stage, summary, seconds });
    }
}
