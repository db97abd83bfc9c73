//! Graph and plan.

use std::collections::{BTreeMap, BTreeSet};

use grapher::{
    BuildOrder, DependencyGraph, ExternalPackage, GoalRequest, GraphInput, NodeState, NodeStates,
    RecordedSpec,
};
use pkgworker::WORKER_SEMANTICS;
use rebuild::InputFacts;
use report::{Failure, Stage};
use repository::PackageDirectory;
use rpm_model::{BuildRecord, ContentDigest, PackageOrigin};
use scheduler::{PackageTask, PlaceInGraph, PlanDocument, PlanInput, RecordStore, Universe};
use specreader::write_document;

use super::{Base, Packed, Pipeline, Specs, environment, usage};

/// The graph of the tree and what is published, before anything is packed.
pub(crate) struct Graphed {
    pub(crate) graph: DependencyGraph,
    pub(crate) records: BTreeMap<String, BuildRecord>,
    pub(crate) universe: Universe,
}

/// A plan and all that carries it out.
pub(crate) struct Planned {
    pub(crate) plan: PlanDocument,
    pub(crate) tasks: BTreeMap<String, PackageTask>,
    pub(crate) records: BTreeMap<String, BuildRecord>,
    pub(crate) universe: Universe,
}

/// What the user asked for, by name.
pub(crate) struct Wanted {
    /// Specs or packages; empty means all.
    pub(crate) goals: Vec<String>,
    /// Specs to build again.
    pub(crate) rebuild: BTreeSet<String>,
    /// Specs not to build.
    pub(crate) ignore: BTreeSet<String>,
}

impl Pipeline<'_> {
    /// Draws the graph over the specs, the external packages and the records.
    pub(crate) fn graph(&self, base: &Base, specs: &Specs) -> Result<Graphed, Failure> {
        self.stage(Stage::Graph, None, || {
            let records = self.records().read_all().map_err(environment)?;
            let universe = self.universe(base, &records)?;
            let core: BTreeSet<_> =
                base.worker.core.packages().iter().map(|package| &package.nevra).collect();
            let external: Vec<ExternalPackage<'_>> = universe
                .packages()
                .iter()
                .filter(|package| package.origin != PackageOrigin::Tree)
                .map(|package| {
                    let in_core = core.contains(&package.header.nevra);
                    ExternalPackage::of(&package.header, package.origin, in_core)
                })
                .collect();
            let recorded: Vec<RecordedSpec<'_>> = records.values().map(RecordedSpec::of).collect();
            let run_check = self.config.limits("").run_check;
            let input =
                GraphInput { document: &specs.document, external: &external, recorded: &recorded, run_check };
            let graph = DependencyGraph::new(&input);
            let summary = format!(
                "{} specs, {} packages outside the tree, {} cycles broken, {} unresolvable requirements",
                graph.specs().count(),
                external.len(),
                graph.breaks().len(),
                graph.unresolvable().len()
            );
            Ok((Graphed { graph, records, universe }, summary))
        })
    }

    /// Writes `graph.dot` and `graph.json`; packages that were never accepted count as to be built.
    pub(crate) fn write_graph(&self, graphed: &Graphed) -> Result<(), Failure> {
        let built = graphed.records.keys().map(|name| (name.clone(), NodeState::UpToDate));
        let states: NodeStates = built.collect();
        let document = graphed.graph.to_json(&states);
        let directory = &self.config.directories.artifacts;
        let dot = document.to_dot();
        super::specs::write_text(&directory.join("graph.dot"), &dot).map_err(environment)?;
        write_document(&directory.join("graph.json"), &document).map_err(environment)?;
        Ok(())
    }

    /// Returns the goals and all they need.
    pub(crate) fn order(
        &self,
        graphed: &Graphed,
        wanted: &Wanted,
    ) -> Result<(BTreeSet<String>, BuildOrder), Failure> {
        let mut names = wanted.goals.clone();
        if !names.is_empty() {
            names.extend(wanted.rebuild.iter().cloned());
        }
        let goals = graphed
            .graph
            .select(&GoalRequest { names, extra_layers: 0 })
            .map_err(|errors| usage(errors).hint("`millwright plan` without names lists all specs"))?;
        let known: BTreeSet<String> = graphed.graph.specs().map(str::to_owned).collect();
        for list in [&wanted.rebuild, &wanted.ignore] {
            if let Some(name) = list.iter().find(|name| !known.contains(*name)) {
                return Err(usage(format!(
                    "`{name}` is in the rebuild or ignore list, but no spec is called so"
                )));
            }
        }
        if let Some(name) = wanted.rebuild.intersection(&wanted.ignore).next() {
            return Err(usage(format!("`{name}` is in the rebuild list and in the ignore list")));
        }
        let order = graphed.graph.order(&goals);
        Ok((goals, order))
    }

    /// Decides what is built and why, and writes `plan.json`.
    pub(crate) fn plan(
        &self,
        base: &Base,
        specs: &Specs,
        graphed: Graphed,
        packed: &Packed,
        goals: &BTreeSet<String>,
        order: &BuildOrder,
        wanted: &Wanted,
    ) -> Result<Planned, Failure> {
        self.stage(Stage::Plan, None, || {
            let Graphed { records, universe, .. } = graphed;
            let tasks = self.tasks(base, specs, packed, order)?;
            let places: Vec<PlaceInGraph> = order
                .steps
                .iter()
                .map(|step| PlaceInGraph {
                    package: step.spec.clone(),
                    level: step.level,
                    obstacles: step.obstacles.iter().map(ToString::to_string).collect(),
                    needs: order.closure(&step.spec),
                })
                .collect();
            let plan = PlanDocument::new(&PlanInput {
                goals,
                places: &places,
                tasks: &tasks,
                unpacked: &packed.failures,
                records: &records,
                state: &universe.state(),
                worker: &base.generation,
                requested: &wanted.rebuild,
                ignored: &wanted.ignore,
            });
            write_document(&self.config.directories.artifacts.join("plan.json"), &plan)
                .map_err(environment)?;
            let summary = format!("{} of {} packages to build", plan.to_build().count(), plan.packages.len());
            Ok((Planned { plan, tasks, records, universe }, summary))
        })
    }

    pub(super) fn records(&self) -> RecordStore {
        RecordStore::new(self.config.directories.build.join("records"))
    }

    /// Reads the packages that exist: toolchain, cache, and what records vouch for in the repository.
    fn universe(&self, base: &Base, records: &BTreeMap<String, BuildRecord>) -> Result<Universe, Failure> {
        let directories = &self.config.directories;
        let mut external = base.packages.clone();
        external.extend(self.scan(&directories.cache, PackageOrigin::Base, "cache")?);
        let scanned = self.scan(&directories.rpms, PackageOrigin::Tree, "tree")?;
        Ok(Universe::new(external, &directories.rpms, scanned, records))
    }

    /// Reads a directory of packages through its index; damaged files are told and left out.
    pub(super) fn scan(
        &self,
        directory: &std::path::Path,
        origin: PackageOrigin,
        index: &str,
    ) -> Result<Vec<repository::IndexedPackage>, Failure> {
        let index = self.config.directories.build.join("cache/index").join(index);
        let scan = PackageDirectory::new(directory, origin).with_cache(index).scan().map_err(environment)?;
        for failure in &scan.failures {
            self.warn(failure.to_string());
        }
        Ok(scan.packages)
    }

    /// Returns what the scheduler must know of each packed spec.
    fn tasks(
        &self,
        base: &Base,
        specs: &Specs,
        packed: &Packed,
        order: &BuildOrder,
    ) -> Result<BTreeMap<String, PackageTask>, Failure> {
        let macros_file = match &self.config.macros_file {
            Some(path) => Some(ContentDigest::of_bytes(&std::fs::read(path).map_err(environment)?)),
            None => None,
        };
        let mut tasks = BTreeMap::new();
        for spec in &specs.document.specs {
            let Some(srpm) = packed.srpms.get(&spec.name) else { continue };
            let limits = self.config.limits(&spec.name);
            let inputs = InputFacts {
                srpm: &srpm.sha256,
                defines: &self.config.defines,
                macros_file: macros_file.as_ref(),
                arch: &base.worker.arch,
                worker_semantics: WORKER_SEMANTICS,
            };
            let task = PackageTask {
                spec: spec.clone(),
                srpm: srpm.path.clone(),
                srpm_sha256: srpm.sha256.clone(),
                inputs: inputs.digest(),
                root_specs: order.closure(&spec.name),
                run_check: limits.run_check && spec.has_check,
                timeout: limits.timeout,
                disk_limit_bytes: limits.disk_limit_bytes,
                max_cpu: limits.max_cpu,
                policy: limits.rebuild,
            };
            tasks.insert(spec.name.clone(), task);
        }
        Ok(tasks)
    }
}
