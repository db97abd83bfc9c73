//! Carrying out a plan, and publishing what came of it.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};

use config::CleanPolicy;
use report::{Failure, Stage};
use repository::{IndexedPackage, RepodataWriter};
use scheduler::{
    KeepRoots, LocalBuilder, LocalDirectories, RepositoryAcceptor, RunSettings, RunSummary, Universe,
    estimate, run,
};

use super::{Base, Pipeline, Planned, environment};
use crate::state_csv::state_csv;

/// Set when the user interrupts.
pub(crate) type Interruption = Arc<AtomicBool>;

/// What a run did.
pub(crate) struct BuildOutcome {
    pub(crate) summary: RunSummary,
    pub(crate) seconds: f64,
}

impl Pipeline<'_> {
    /// Builds what the plan says, then publishes the repository's metadata.
    pub(crate) fn build(
        &self,
        base: &Base,
        planned: Planned,
        interruption: &Interruption,
    ) -> Result<BuildOutcome, Failure> {
        let start = std::time::Instant::now();
        let Planned { plan, tasks, records, universe } = planned;
        let directories = &self.config.directories;
        let universe = RwLock::new(universe);
        let builder = LocalBuilder {
            program: self.programs.join("pkgworker"),
            directories: LocalDirectories {
                work: directories.build.join("work"),
                layers: directories.build.join("cache/layers"),
                logs: directories.logs.join("pkggen/rpmbuilding"),
                kept: directories.work.clone(),
            },
            defines: self.config.defines.clone(),
            macros_file: self.config.macros_file.clone(),
            worker: &base.worker,
            tasks: &tasks,
            universe: &universe,
            ccache: self.config.ccache.then(|| directories.ccache.clone()),
            keep: match self.config.clean {
                CleanPolicy::Always => KeepRoots::Never,
                CleanPolicy::OnSuccess => KeepRoots::Failed,
                CleanPolicy::Never => KeepRoots::Always,
            },
            reporter: self.reporter,
        };
        let store = self.records();
        let in_scope: BTreeSet<String> =
            plan.packages.iter().map(|package| package.package.clone()).collect();
        let history = records.clone();
        let mut acceptor = RepositoryAcceptor {
            rpms: directories.rpms.clone(),
            srpms: directories.srpms.clone(),
            store: &store,
            records,
            tasks: &tasks,
            in_scope: &in_scope,
            worker: base.generation.clone(),
            universe: &universe,
            estimate: &|package| estimate(&history, package),
        };
        let settings = RunSettings {
            workers: self.config.workers,
            retries: self.config.retries,
            stop_on_failure: self.config.stop_on_failure,
        };
        let summary = run(
            plan.queue(),
            plan.reasons(),
            &settings,
            &builder,
            &mut acceptor,
            self.reporter,
            interruption,
        )
        .map_err(|error| Failure::new(report::ExitStatus::Internal, error))?;
        let csv = state_csv(&plan, &summary);
        super::specs::write_text(&directories.artifacts.join("build_state.csv"), &csv)
            .map_err(environment)?;
        self.publish(&universe.into_inner().unwrap_or_else(PoisonError::into_inner))?;
        Ok(BuildOutcome { summary, seconds: start.elapsed().as_secs_f64() })
    }

    /// Writes the repository's metadata, as far as it does not describe these packages already.
    pub(crate) fn publish(&self, universe: &Universe) -> Result<(), Failure> {
        let packages: Vec<IndexedPackage> = universe.published().into_iter().cloned().collect();
        let directory = &self.config.directories.rpms;
        self.stage(Stage::Publish, None, || {
            std::fs::create_dir_all(directory).map_err(environment)?;
            RepodataWriter::new(directory)
                .with_cache(self.config.directories.build.join("cache/index/repodata"))
                .publish(&packages)
                .map_err(environment)?;
            Ok(((), format!("{} packages in `{}`", packages.len(), directory.display())))
        })
    }
}
