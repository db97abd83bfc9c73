//! The result of a job of which nothing was run: what every field says then.

use crate::check::{CheckReport, CheckVerdict};
use crate::document::{Outcome, ResultDocument};
use crate::limits::LimitReport;
use crate::tuning::TuningReport;
use crate::usage::ResourceUsage;

impl ResultDocument {
    /// Returns what is to be said of a job of which nothing was run.
    pub fn without_a_run(package: &str, outcome: Outcome, log: &str) -> Self {
        Self {
            schema: Self::SCHEMA,
            package: package.to_owned(),
            outcome,
            rpms: Vec::new(),
            srpm: None,
            check: CheckReport::of(CheckVerdict::NotRun),
            junit: None,
            log: log.to_owned(),
            log_omitted_bytes: 0,
            decisive_lines: Vec::new(),
            usage: ResourceUsage::default(),
            phases: Vec::new(),
            usage_source: None,
            caches: Vec::new(),
            overhead_seconds: 0.0,
            layers_made: 0,
            skipped_scriptlets: Vec::new(),
            root_notes: Vec::new(),
            kept_root: None,
            limits: LimitReport::default(),
            tuning: TuningReport::default(),
            reused: None,
        }
    }
}
