//! From the specs to a scheduler session: graph, order, plan, build, publish, each with its stage.

use std::collections::BTreeMap;
use std::path::Path;

use config::PackageLimits;
use file_index::Directory;
use grapher::GraphHints;
use pkgworker::memory_for_builds;
use report::{Failure, Stage, counted};
use repository::{IndexedPackage, PackageDirectory};
use rpm_model::{BuildRecord, PackageOrigin};
use scheduler::{
    CacheGroups, Capacity, CompilerCaches, Finished, Graphed, Learned, LocalDirectories, PackedTree, Planned,
    RecordStore, Rounds, RunSettings, RunSummary, Session, SessionSettings, Universe, Wanted,
    build_in_rounds, failure,
};

use super::{Base, Pipeline, Specs, environment, usage};

/// Looks at a tree in which another run accepts a package each time; what the last one saw is taken.
const MOST_LOOKS: usize = 5;

impl Pipeline<'_> {
    /// Returns the scheduler's session over these specs.
    pub(crate) fn session<'b>(
        &'b self,
        base: &'b Base,
        specs: &'b Specs,
        limits: &'b dyn Fn(&str) -> PackageLimits,
    ) -> Result<Session<'b>, Failure> {
        let directories = &self.config.directories;
        let groups = self.config.ccache_config.as_deref().map(CacheGroups::read).transpose();
        let caches = CompilerCaches {
            ccache: self.config.ccache.then(|| directories.ccache.clone()),
            sccache: self.config.sccache.then(|| directories.sccache.clone()),
            groups: groups.map_err(usage)?.unwrap_or_default(),
        };
        let settings = SessionSettings {
            rpms: directories.rpms.clone(),
            srpms: directories.srpms.clone(),
            records: directories.build.join("records"),
            journal: directories.build.join("journal.ndjson"),
            provenance: directories.output.join("PROVENANCE"),
            repodata_cache: directories.build.join("cache/index/repodata"),
            artifacts: directories.artifacts.clone(),
            state_csv: directories.artifacts.join("build_state.csv"),
            workers: LocalDirectories {
                work: directories.build.join("work"),
                layers: directories.build.join("cache/layers"),
                logs: directories.logs.join("pkggen/rpmbuilding"),
                kept: directories.work.clone(),
            },
            program: self.programs.join("pkgworker"),
            defines: self.config.defines.clone(),
            macros_file: self.config.macros_file.clone(),
            tuning: self.config.tuning,
            caches,
            clean: self.config.clean,
            rules: self.config.rules.clone(),
            run_check: self.config.limits("").run_check,
            run: RunSettings {
                workers: self.config.workers,
                cpus: self.config.cpus,
                memory_bytes: self.config.memory_bytes.or_else(memory_for_builds).unwrap_or(u64::MAX),
                retries: self.config.retries,
                memory_retry: self.config.memory_retry,
                stop_on_failure: self.config.stop_on_failure,
                verbose: false,
                find_unused: false,
            },
            max_layers: self.config.cascade_layers.most(),
        };
        Ok(Session {
            settings,
            worker: &base.worker,
            document: &specs.document,
            limits,
            learned: Learned::default(),
            programs: Box::new(self.programs(base)),
            results: crate::results::open(&self.config)?,
            reporter: self.reporter,
        })
    }

    /// Returns what holds for a spec.
    pub(crate) fn limits(&self, spec: &str) -> PackageLimits {
        self.config.limits(spec)
    }

    /// Returns this machine, and the number of workers that were asked for. More of them than there are processors do
    /// not make it larger.
    pub(crate) fn machine_to_play(&self) -> (Capacity, usize) {
        let (workers, processors) = (self.config.workers, self.config.processors.max(1));
        let own = u32::try_from(processors).unwrap_or(u32::MAX);
        let cpus = if workers > processors { self.config.cpus.min(own) } else { self.config.cpus };
        let memory_bytes = self.config.memory_bytes.or_else(memory_for_builds).unwrap_or(u64::MAX);
        (Capacity { slots: processors, cpus, memory_bytes }, workers)
    }

    /// Draws the graph and writes its files.
    pub(crate) fn graph(
        &self,
        base: &Base,
        session: &Session<'_>,
        hints: &GraphHints,
    ) -> Result<Graphed, Failure> {
        self.stage(Stage::Graph, None, || {
            let mut external = base.packages.clone();
            external.extend(self.external_packages(base)?);
            let outside = external.len();
            let graphed = self.between_acceptances(&session.settings.records, external, |external| {
                let (records, scanned) = self.records_and_published(session)?;
                Ok(session.graph(external, records, scanned, hints))
            })?;
            session.write_graph(&graphed).map_err(failure)?;
            let summary = format!(
                "{}, {} outside the tree, {} broken, {}",
                counted(graphed.graph.specs().count(), "spec"),
                counted(outside, "package"),
                counted(graphed.graph.breaks().len(), "cycle"),
                counted(graphed.graph.unresolvable().len(), "unresolvable requirement")
            );
            Ok((graphed, summary))
        })
    }

    /// Looks at packages and their records, and beside another run once more where that accepted one meanwhile.
    fn between_acceptances<T>(
        &self,
        records: &Path,
        external: Vec<IndexedPackage>,
        look: impl Fn(Vec<IndexedPackage>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if self.beside.is_none() {
            return look(external);
        }
        let stamps = || {
            let listed = Directory::list(records);
            listed.files().iter().map(|file| (file.name.clone(), file.stamp)).collect::<Vec<_>>()
        };
        let mut before = stamps();
        for _ in 1..MOST_LOOKS {
            let seen = look(external.clone())?;
            let after = stamps();
            if before == after {
                return Ok(seen);
            }
            before = after;
        }
        look(external)
    }

    /// Draws the graph, packs what has to be packed, and decides what is built and why. A plan that is not
    /// carried out (`only_plan`) has no use for the sources of what was never built: nobody looks at them.
    pub(crate) fn plan(
        &self,
        session: &Session<'_>,
        base: &Base,
        specs: &Specs,
        wanted: &Wanted,
        rounds: &Rounds,
        only_plan: bool,
    ) -> Result<Planned, Failure> {
        let graphed = self.graph(base, session, &GraphHints::default())?;
        let chosen = session.choose(&graphed, wanted).map_err(failure)?;
        let names = session.to_pack(&graphed, &chosen, wanted, only_plan);
        let packed = if names.is_empty() { PackedTree::default() } else { self.pack(base, specs, &names)? };
        self.stage(Stage::Plan, None, || {
            let planned = session.plan(graphed, &chosen, &packed, wanted, rounds).map_err(failure)?;
            let (building, all) = (planned.plan.to_build().count(), planned.plan.packages.len());
            Ok((planned, format!("{building} of {all} packages to build")))
        })
    }

    /// Decides as for a build of everything that is wanted, writes nothing, and returns the specs that names of specs
    /// or packages mean.
    pub(crate) fn decide(
        &self,
        session: &Session<'_>,
        base: &Base,
        specs: &Specs,
        wanted: &Wanted,
        names: &[String],
    ) -> Result<(Planned, Vec<(String, String)>), Failure> {
        let graphed = self.graph(base, session, &GraphHints::default())?;
        let named = session.named(&graphed, names).map_err(failure)?;
        let chosen = session.choose(&graphed, wanted).map_err(failure)?;
        let packed = session.to_pack(&graphed, &chosen, wanted, true);
        let packed = if packed.is_empty() { PackedTree::default() } else { self.pack(base, specs, &packed)? };
        let rounds = Rounds::default();
        let planned = session.decide(graphed, &chosen, &packed, wanted, &rounds).map_err(failure)?;
        Ok((planned, named))
    }

    /// Carries a plan out, round after round, and puts the caches in order; `plan` makes the plan of a round.
    pub(crate) fn carry_out(
        &self,
        session: &Session<'_>,
        first: Planned,
        plan: impl FnMut(&Rounds) -> Result<Planned, Failure>,
    ) -> Result<Finished, Failure> {
        let finished = build_in_rounds(
            first,
            |planned| &planned.plan,
            plan,
            |planned| self.build(session, planned),
            |summary| self.is_stopped(summary),
            self.reporter,
        )?;
        self.collect_layers();
        self.collect_results();
        session.write_state(&finished.plan, &finished.summary).map_err(failure)?;
        Ok(finished)
    }

    /// Builds what the plan says, then publishes; returns what happened.
    fn build(&self, session: &Session<'_>, planned: Planned) -> Result<RunSummary, Failure> {
        let (summary, universe) = session.build(planned, &self.stop).map_err(failure)?;
        self.publish(session, &universe)?;
        Ok(summary)
    }

    /// Returns whether a run ends after this round: the user stopped it, or a failure does.
    fn is_stopped(&self, summary: &RunSummary) -> bool {
        self.stop.is_asked() || (self.config.stop_on_failure && !summary.failed.is_empty())
    }

    /// Writes the repository's metadata, as far as it does not describe these packages already.
    pub(crate) fn publish(&self, session: &Session<'_>, universe: &Universe) -> Result<(), Failure> {
        self.stage(Stage::Publish, None, || {
            let count = session.publish(universe).map_err(failure)?;
            Ok((
                (),
                format!("{} in `{}`", report::counted(count, "package"), session.settings.rpms.display()),
            ))
        })
    }

    /// Reads what was built: the records, and side by side the packages of the repository.
    pub(super) fn records_and_published(
        &self,
        session: &Session<'_>,
    ) -> Result<(BTreeMap<String, BuildRecord>, Vec<IndexedPackage>), Failure> {
        let store = RecordStore::new(&session.settings.records);
        let (scanned, records) = rayon::join(
            || self.scan(&self.config.directories.rpms, PackageOrigin::Tree, "tree"),
            || store.read_all(),
        );
        let scanned = scanned?;
        Ok((records.map_err(|error| failure(error.into()))?, scanned))
    }

    /// Reads a directory of packages through its index; damaged files are told and left out.
    pub(super) fn scan(
        &self,
        directory: &std::path::Path,
        origin: PackageOrigin,
        index: &str,
    ) -> Result<Vec<IndexedPackage>, Failure> {
        let index = self.config.directories.build.join("cache/index").join(index);
        let scan = PackageDirectory::new(directory, origin).with_cache(index).scan().map_err(environment)?;
        for failure in &scan.failures {
            self.warn(failure.to_string());
        }
        Ok(scan.packages)
    }
}
