//! One run over a tree that has been read and packed: graph, order, plan, build, publish.
//!
//! What it is: the steps that `millwright` and the `scheduler` program share, each a call into the pure core
//! with the facts read from disk beside it. What it is not: it reads no spec, packs nothing and prints
//! nothing.

mod settings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use config::PackageLimits;
use grapher::{
    BuildOrder, DependencyGraph, ExternalPackage, GoalRequest, GraphHints, GraphInput, NodeState, NodeStates,
    RecordedSpec, WantedNames, near_names,
};
use report::{Event, Reporter};
use repository::{IndexedPackage, RepodataWriter};
use rpm_model::{BuildReason, BuildRecord, ContentDigest, JobDocument, PackagesDocument, WorkerManifest};
use serde::Serialize;

use crate::accept::RepositoryAcceptor;
use crate::demand::Capacity;
use crate::execute::Journal;
use crate::following::Following;
use crate::generated::Learned;
use crate::local::LocalBuilder;
use crate::plan::{Estimates, PlaceInGraph, PlanDocument, PlanInput};
use crate::programs::VersionPrograms;
use crate::provenance::ProvenanceWriter;
use crate::queue::Queue;
use crate::records::RecordStore;
use crate::releases::Releases;
use crate::reuse::ResultReuse;
use crate::rounds::Rounds;
use crate::run::{Preparation, RunContext, RunError, RunSummary, run};
use crate::simulate::SimulationDocument;
use crate::state_csv::state_csv;
use crate::stop::Stop;
use crate::task::PackageTask;
use crate::trial::Rises;
use crate::triggers::{refreshed_records, unknown_triggers};
use crate::universe::{Outside, RelevantPackage, Universe};
use crate::weights::Weights;
use crate::workers::Workers;

pub use self::settings::{PackedSrpm, PackedTree, SessionError, SessionSettings, Wanted, failure};

/// Bytes of a file that are compared at once.
const PIECE: usize = 256 * 1024;

/// The graph of a tree, and what is published.
pub struct Graphed {
    /// Who needs whom.
    pub graph: DependencyGraph,
    /// The records of the last builds.
    pub records: BTreeMap<String, BuildRecord>,
    /// The packages that exist.
    pub universe: Universe,
}

impl Graphed {
    /// Returns how far each spec's build is: those with a record are built.
    pub fn states(&self) -> NodeStates {
        self.records.keys().map(|name| (name.clone(), NodeState::UpToDate)).collect()
    }
}

/// The goals, and what they need in a valid order.
pub struct Chosen {
    /// The specs asked for.
    pub goals: BTreeSet<String>,
    /// The goals and all they need.
    pub order: Arc<BuildOrder>,
}

/// A plan and all that carries it out.
pub struct Planned {
    /// The plan.
    pub plan: PlanDocument,
    /// What is known of each spec.
    pub tasks: BTreeMap<String, PackageTask>,
    /// The records of the last builds.
    pub records: BTreeMap<String, BuildRecord>,
    /// The packages that exist.
    pub universe: Universe,
}

/// One run; see the module text.
pub struct Session<'a> {
    /// Where it reads and writes, and how it builds.
    pub settings: SessionSettings,
    /// The worker that build roots start from.
    pub worker: &'a WorkerManifest,
    /// The tree's specs.
    pub document: &'a PackagesDocument,
    /// What holds for each spec.
    pub limits: &'a dyn Fn(&str) -> PackageLimits,
    /// What builds of this run turned out to need.
    pub learned: Learned,
    /// Runs the commands of specs that give versions.
    pub programs: Box<dyn VersionPrograms + 'a>,
    /// Results of other builds, and stores that take those of this run.
    pub results: ResultReuse,
    /// Told of what happens.
    pub reporter: &'a dyn Reporter,
}

impl Session<'_> {
    /// Draws the graph over the specs, the packages outside the tree and the records.
    ///
    /// `records` are those of the last builds. `scanned` is what lies in the repository; only what records vouch for
    /// counts. `hints` is what the graph must know to answer more than who needs whom.
    pub fn graph(
        &self,
        outside: impl Into<Outside>,
        records: BTreeMap<String, BuildRecord>,
        scanned: Vec<IndexedPackage>,
        hints: &GraphHints,
    ) -> Graphed {
        let universe = Universe::new(outside, &self.settings.rpms, scanned, &records)
            .with_rules(self.settings.rules.clone());
        let core: BTreeSet<_> = self.worker.core.packages().iter().map(|package| &package.nevra).collect();
        let recorded = recorded(&records, &universe);
        let extended = self.learned.extended(self.document, &records);
        let document = extended.as_ref().unwrap_or(self.document);
        let names = universe
            .has_repositories()
            .then(|| WantedNames::of(document, &recorded).with(hints.explained.iter().map(String::as_str)));
        let relevant = universe.external(names.iter().flat_map(WantedNames::iter));
        let external: Vec<ExternalPackage<'_>> = relevant
            .iter()
            .map(|RelevantPackage { package, files }| {
                let in_core = core.contains(&package.header.nevra);
                ExternalPackage { files, ..ExternalPackage::of(&package.header, package.origin, in_core) }
            })
            .collect();
        let input = GraphInput {
            document,
            external: &external,
            recorded: &recorded,
            run_check: self.settings.run_check,
        };
        let mut hints = hints.clone();
        hints.package_names.extend(universe.repository_names());
        let graph = DependencyGraph::with_hints(&input, &hints);
        for duplicate in graph.duplicates() {
            self.reporter.event(&Event::Warning { message: duplicate.to_string() });
        }
        Graphed { graph, records, universe }
    }

    /// Writes `graph.dot` and `graph.json`; specs without a record count as to be built.
    pub fn write_graph(&self, graphed: &Graphed) -> Result<(), SessionError> {
        let document = graphed.graph.to_json(&graphed.states());
        let artifacts = &self.settings.artifacts;
        let (dot, json) = rayon::join(
            || write_text(&artifacts.join("graph.dot"), document.to_dot().as_bytes()),
            || write_json(&artifacts.join("graph.json"), &document),
        );
        dot.and(json)
    }

    /// Returns the goals and all they need.
    pub fn choose(&self, graphed: &Graphed, wanted: &Wanted) -> Result<Chosen, SessionError> {
        let mut names = wanted.goals.clone();
        if !names.is_empty() {
            names.extend(wanted.rebuild.iter().cloned());
        }
        let goals = graphed.graph.select(&GoalRequest { names, extra_layers: wanted.extra_layers })?;
        let known: BTreeSet<&str> = graphed.graph.specs().collect();
        for (list, entries) in [("rebuild", &wanted.rebuild), ("ignore", &wanted.ignore)] {
            if let Some(name) = entries.iter().find(|name| !known.contains(name.as_str())) {
                let near = near_names(known.iter().copied(), name);
                return Err(SessionError::Unknown { name: name.clone(), list, near });
            }
        }
        if let Some(name) = wanted.rebuild.intersection(&wanted.ignore).next() {
            return Err(SessionError::Contradiction(name.clone()));
        }
        let order = Arc::new(graphed.graph.order(&goals));
        Ok(Chosen { goals, order })
    }

    /// Returns the specs that must be packed before a plan can be made: those that nothing hinders, as far as
    /// the graph knows, and that are not left alone. With `only_built_before` those alone that have a record,
    /// for a plan that is not carried out: what was never built is built whatever its sources are.
    pub fn to_pack(
        &self,
        graphed: &Graphed,
        chosen: &Chosen,
        wanted: &Wanted,
        only_built_before: bool,
    ) -> BTreeSet<String> {
        let steps = chosen.order.steps.iter().filter(|step| !step.is_hindered());
        steps
            .map(|step| &step.spec)
            .filter(|spec| !wanted.ignore.contains(*spec))
            .filter(|spec| !only_built_before || graphed.records.contains_key(*spec))
            .cloned()
            .collect()
    }

    /// Decides what is built and why, and writes `plan.json`. `rounds` is what earlier rounds of the run did.
    pub fn plan(
        &self,
        graphed: Graphed,
        chosen: &Chosen,
        packed: &PackedTree,
        wanted: &Wanted,
        rounds: &Rounds,
    ) -> Result<Planned, SessionError> {
        let planned = self.decide(graphed, chosen, packed, wanted, rounds)?;
        write_json(&self.settings.artifacts.join("plan.json"), &planned.plan)?;
        self.reporter.event(&Event::Planned(planned.plan.told()));
        Ok(planned)
    }

    /// Decides what is built and why. `rounds` is what earlier rounds of the run did.
    pub fn decide(
        &self,
        graphed: Graphed,
        chosen: &Chosen,
        packed: &PackedTree,
        wanted: &Wanted,
        rounds: &Rounds,
    ) -> Result<Planned, SessionError> {
        let Graphed { graph, records, universe } = graphed;
        let inputs = self.inputs()?;
        let roots = self.roots();
        let tasks = self.tasks(packed, &chosen.order, &records, &inputs, &universe)?;
        for message in unknown_triggers(&tasks, &records, &universe.state()) {
            self.reporter.event(&Event::Note { message });
        }
        // What an earlier round of the run has built again is built again.
        let built = |name: &&String| !rounds.summary.has_built(name);
        let reason = |name: &String| wanted.causes.get(name).cloned().unwrap_or(BuildReason::Requested);
        let requested: BTreeMap<String, BuildReason> =
            wanted.rebuild.iter().filter(built).map(|name| (name.clone(), reason(name))).collect();
        let mut goals = chosen.goals.clone();
        if wanted.goals.is_empty() {
            // Who asks for all asks for those too that could not be read; the graph's order does not have them.
            goals.extend(self.document.bad.iter().map(|bad| bad.name.clone()));
        }
        let planned: BTreeSet<&str> = chosen.order.steps.iter().map(|step| step.spec.as_str()).collect();
        let dependants = graph.dependants(&planned);
        let steps = chosen.order.steps.iter().map(|step| PlaceInGraph {
            package: step.spec.clone(),
            level: step.level,
            own: step
                .own_obstacles()
                .iter()
                .filter_map(|obstacle| graph.own_cause(&step.spec, obstacle))
                .collect(),
            needs: step.needs().map(str::to_owned).collect(),
            dependants: dependants.get(&step.spec).copied().unwrap_or_default(),
        });
        let unreadable = goals.iter().filter_map(|goal| {
            let own = vec![graph.unreadable(goal)?];
            Some(PlaceInGraph { package: goal.clone(), level: 0, own, needs: BTreeSet::new(), dependants: 0 })
        });
        let places: Vec<PlaceInGraph> = steps.chain(unreadable).collect();
        let outside = graph.specs().filter(|spec| !planned.contains(spec) && !records.contains_key(*spec));
        let plan = PlanDocument::new(&PlanInput {
            goals: &goals,
            places: &places,
            report: &graph.report_over(&chosen.order, &goals),
            tasks: &tasks,
            unpacked: &packed.failures,
            records: &records,
            unreadable: &RecordStore::new(&self.settings.records).unreadable(&records)?,
            state: &universe.state(),
            worker: &self.worker.generation(),
            requested: &requested,
            ignored: &wanted.ignore,
            failed: &rounds.summary.failed,
            awaited: &rounds.awaited,
            never_built_outside: outside.count(),
            workers: self.settings.run.workers,
            input_parts: &|task| inputs.parts(task),
            release: &|task, reasons| Releases::new(task, &universe, &self.settings.defines).planned(reasons),
            root: &|task| roots.present(&universe, task),
            max_layers: self.settings.max_layers,
        });
        Ok(Planned { plan, tasks, records, universe })
    }

    /// Writes `build_state.csv`: the last plan of a run, and what all its rounds did.
    pub fn write_state(&self, plan: &PlanDocument, summary: &RunSummary) -> Result<(), SessionError> {
        write_text(&self.settings.state_csv, state_csv(plan, summary).as_bytes())
    }

    /// Builds what the plan says, and returns what happened and the packages that exist then.
    pub fn build(&self, planned: Planned, stop: &Stop) -> Result<(RunSummary, Universe), SessionError> {
        let Planned { plan, tasks, records, universe } = planned;
        let settings = &self.settings;
        let universe = RwLock::new(universe);
        let builder = self.builder(&tasks, &universe);
        let store = RecordStore::new(&settings.records);
        let in_scope = plan.cascading();
        let (inputs, roots) = (self.inputs()?, self.roots());
        let estimates = Estimates::new(&records);
        let queue = self.queue(&plan, &records);
        let mut acceptor = RepositoryAcceptor {
            rpms: settings.rpms.clone(),
            srpms: settings.srpms.clone(),
            store: &store,
            records,
            tasks: &tasks,
            in_scope: &in_scope,
            worker: self.worker.generation(),
            universe: &universe,
            estimate: &|package| estimates.of(package).seconds,
            provenance: ProvenanceWriter::new(settings.provenance.clone()),
            following: Following {
                input_parts: &|task| inputs.parts(task),
                requirements: &|task, generated| roots.requirements(task, generated),
                root: &|universe, task| roots.present(universe, task),
                max_layers: settings.max_layers,
                deferred: BTreeMap::new(),
            },
            results: &self.results,
            reporter: self.reporter,
        };
        let context = RunContext {
            reasons: plan.reasons(),
            settings: &settings.run,
            reporter: self.reporter,
            stop,
            journal: &settings.journal,
        };
        let mut summary = run(queue, context, &builder, &mut acceptor)?;
        if !summary.interrupted.is_empty() {
            // Their workers were ended before they could, and it may be long until another starts.
            pkgworker::remove_leftovers(&settings.workers.kept);
        }
        summary.reused = self.results.finish(self.reporter);
        self.tell_deferred(&plan, &summary, &acceptor.following);
        Ok((summary, universe.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Returns the queue that carries a plan out, with what its builds need of the machine.
    fn queue(&self, plan: &PlanDocument, records: &BTreeMap<String, BuildRecord>) -> Queue {
        let packages = plan.packages.iter().map(|package| package.package.as_str());
        plan.queue().with_weights(Weights::measured(packages, records, self.limits))
    }

    /// Plays a plan with these workers, with half and with twice as many, and writes `simulation.json`. `machine` is
    /// the one that is there, as [`SimulationDocument::new`] takes it.
    pub fn simulate(
        &self,
        planned: &Planned,
        machine: &Capacity,
        workers: usize,
    ) -> Result<SimulationDocument, SessionError> {
        let queue = self.queue(&planned.plan, &planned.records);
        let document = SimulationDocument::new(&planned.plan, &queue, machine, workers);
        write_json(&self.settings.artifacts.join("simulation.json"), &document)?;
        Ok(document)
    }

    /// Rewrites what the records of specs say of their triggers and libraries from what is true now, without
    /// building; returns the new records, and what could not be known.
    pub fn refresh_records(
        &self,
        planned: &Planned,
        specs: &BTreeSet<String>,
    ) -> Result<(Vec<BuildRecord>, Vec<String>), SessionError> {
        let refreshed = refreshed_records(&planned.tasks, &planned.records, specs, &planned.universe.state());
        let store = RecordStore::new(&self.settings.records);
        for record in &refreshed.0 {
            store.write(record)?;
        }
        Ok(refreshed)
    }

    /// Ends what an interrupted run has left, where a plan has nothing to build.
    pub fn forget_interrupted(&self) -> Result<(), SessionError> {
        Ok(Journal::forget(&self.settings.journal).map_err(RunError::from)?)
    }

    /// Returns what a worker would be asked to do for a package of the plan, or why nothing can be asked.
    pub fn job(&self, planned: Planned, package: &str) -> Result<JobDocument, SessionError> {
        let universe = RwLock::new(planned.universe);
        self.builder(&planned.tasks, &universe).job(package).map_err(|instead| SessionError::NoJob {
            package: package.to_owned(),
            reason: match instead {
                Preparation::Unresolvable(text)
                | Preparation::Postponed(text)
                | Preparation::Infrastructure(text) => text,
                Preparation::Ready(_) => "there is one".to_owned(),
            },
        })
    }

    fn builder<'b>(
        &'b self,
        tasks: &'b BTreeMap<String, PackageTask>,
        universe: &'b RwLock<Universe>,
    ) -> LocalBuilder<'b> {
        let settings = &self.settings;
        LocalBuilder {
            program: settings.program.clone(),
            directories: settings.workers.clone(),
            defines: settings.defines.clone(),
            macros_file: settings.macros_file.clone(),
            tuning: settings.tuning,
            worker: self.worker,
            tasks,
            universe,
            caches: &settings.caches,
            memory_retry: settings.run.memory_retry,
            results: &self.results,
            rises: Rises::default(),
            workers: Workers::default(),
            learned: &self.learned,
            clean: settings.clean,
            find_unused: settings.run.find_unused,
            reporter: self.reporter,
        }
    }

    /// Writes the repository's metadata, as far as it does not describe these packages already; returns how
    /// many packages it describes.
    pub fn publish(&self, universe: &Universe) -> Result<usize, SessionError> {
        let packages: Vec<IndexedPackage> = universe.published().into_iter().cloned().collect();
        let directory = &self.settings.rpms;
        let fail = |source| SessionError::Io { operation: "write", path: directory.clone(), source };
        std::fs::create_dir_all(directory).map_err(fail)?;
        RepodataWriter::new(directory).with_cache(&self.settings.repodata_cache).publish(&packages)?;
        Ok(packages.len())
    }
}

/// Returns what the tree's packages were when last built, with their files: those only the package tells.
fn recorded<'a>(records: &'a BTreeMap<String, BuildRecord>, universe: &'a Universe) -> Vec<RecordedSpec<'a>> {
    let files: HashMap<&ContentDigest, &[String]> = universe
        .packages_of_all()
        .map(|package| (&package.sha256, package.header.files.as_slice()))
        .collect();
    let with_files = |record: &'a BuildRecord| {
        let mut spec = RecordedSpec::of(record);
        for (output, package) in spec.packages.iter_mut().zip(&record.rpms) {
            output.files = files.get(&package.artifact.sha256).copied().unwrap_or_default();
        }
        spec
    };
    records.values().map(with_files).collect()
}

fn write_json(path: &Path, document: &impl Serialize) -> Result<(), SessionError> {
    let fail = |error: serde_json::Error| SessionError::Io {
        operation: "write",
        path: path.to_owned(),
        source: error.into(),
    };
    let mut bytes = serde_json::to_vec_pretty(document).map_err(fail)?;
    bytes.push(b'\n');
    write_text(path, &bytes)
}

/// Replaces a file whole, unless it has this content already.
fn write_text(path: &Path, bytes: &[u8]) -> Result<(), SessionError> {
    if has_content(path, bytes).unwrap_or(false) {
        return Ok(());
    }
    let write = || -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|source| SessionError::Io { operation: "write", path: path.to_owned(), source })
}

/// Returns whether a file has this content; read piece by piece, for the graph of a distribution is long.
fn has_content(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != bytes.len() as u64 {
        return Ok(false);
    }
    let mut piece = vec![0; PIECE];
    for expected in bytes.chunks(PIECE) {
        let read = &mut piece[..expected.len()];
        file.read_exact(read)?;
        if read != expected {
            return Ok(false);
        }
    }
    Ok(true)
}
