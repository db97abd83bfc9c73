//! From plain data to a plan.

use std::collections::{BTreeMap, BTreeSet};

use grapher::{Cause, OwnCause, Place, RootCause, TreeReport, UnresolvedReason, root_causes};
use rebuild::soname::Soname;
use rebuild::{PresentFacts, PublishedState, build_reasons, first_build_reasons, layer};
use rpm_model::{
    BuildReason, BuildRecord, BuildrootLock, ContentDigest, Dependency, InputParts, LibraryPath, Nevra,
    RecordedPackage, Requirement, SeenPackage,
};

use super::impact::impact;
use super::time::{Timed, times};
use super::{Estimates, LocalCause, PlanCause, PlanDocument, PlannedAction, PlannedPackage, SourcesState};
use crate::releases::PlannedRelease;
use crate::task::PackageTask;

/// One spec in its place in the graph.
#[derive(Clone, Debug)]
pub struct PlaceInGraph {
    /// The spec's name.
    pub package: String,
    /// See [`PlannedPackage::level`].
    pub level: usize,
    /// What stands in the way of building it, but for what stands in the way of its prerequisites.
    pub own: Vec<OwnCause<Cause>>,
    /// Specs whose packages enter its build root.
    pub needs: BTreeSet<String>,
    /// See [`PlannedPackage::dependants`].
    pub dependants: usize,
}

/// What a plan is made of.
pub struct PlanInput<'a> {
    /// The specs asked for.
    pub goals: &'a BTreeSet<String>,
    /// The goals and all they need, in any order.
    pub places: &'a [PlaceInGraph],
    /// What the graph knows of requirements and cycles.
    pub report: &'a TreeReport,
    /// What is known of each spec that is packed.
    pub tasks: &'a BTreeMap<String, PackageTask>,
    /// Why a spec could not be packed, for example because its sources are missing.
    pub unpacked: &'a BTreeMap<String, String>,
    /// Records of the last builds.
    pub records: &'a BTreeMap<String, BuildRecord>,
    /// Specs whose records cannot be read.
    pub unreadable: &'a BTreeSet<String>,
    /// What is published.
    pub state: &'a dyn PublishedState,
    /// The worker generation.
    pub worker: &'a ContentDigest,
    /// Specs that the user wants built again, each with the reason that is told.
    pub requested: &'a BTreeMap<String, BuildReason>,
    /// Specs that the user wants left alone.
    pub ignored: &'a BTreeSet<String>,
    /// What failed in earlier rounds of the run, with its one sentence.
    pub failed: &'a BTreeMap<String, String>,
    /// Requirements that earlier rounds of the run waited for.
    pub awaited: &'a BTreeSet<Requirement>,
    /// How many specs of the tree, never built, are no part of the plan.
    pub never_built_outside: usize,
    /// How many packages are built at the same time.
    pub workers: usize,
    /// The parts of a spec's inputs; asked for only where they changed.
    pub input_parts: &'a dyn Fn(&PackageTask) -> Option<InputParts>,
    /// What becomes of a spec's release when it is built for these reasons.
    pub release: &'a dyn Fn(&PackageTask, &[BuildReason]) -> Option<PlannedRelease>,
    /// The build root that a spec would get now; asked for only where its policy looks at it.
    pub root: &'a dyn Fn(&PackageTask) -> Option<BuildrootLock>,
    /// How many layers of dependants a rebuild brings along; `None` is all.
    pub max_layers: Option<u32>,
}

/// What hinders a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hindrance {
    /// Something has to be mended.
    hard: bool,
    /// Something is open until a build shows it.
    open: bool,
}

impl PlanDocument {
    /// Returns the plan.
    pub fn new(input: &PlanInput<'_>) -> Self {
        let mut places: Vec<&PlaceInGraph> = input.places.iter().collect();
        places.sort_by(|a, b| (a.level, &a.package).cmp(&(b.level, &b.package)));
        let numbers: BTreeMap<&str, usize> =
            places.iter().enumerate().map(|(number, place)| (place.package.as_str(), number)).collect();
        let needs: Vec<Vec<usize>> = places
            .iter()
            .map(|place| place.needs.iter().filter_map(|need| numbers.get(need.as_str()).copied()).collect())
            .collect();
        let mut own: Vec<Vec<OwnCause<PlanCause>>> =
            places.iter().map(|place| input.own_causes(place)).collect();
        let mut hindrances = hindrances(&own, &needs);
        // What others block is not packed, and that is no cause beside theirs.
        for (number, place) in places.iter().enumerate() {
            if hindrances[number] == Hindrance::default() && !input.can_be_compared(&place.package) {
                let message = "its sources were not looked at".to_owned();
                let spec = place.package.clone();
                own[number].push(own_cause(&place.package, LocalCause::NotPacked { spec, message }));
            }
        }
        hindrances = self::hindrances(&own, &needs);
        let learns = places.iter().zip(&hindrances).any(|(place, hindrance)| {
            *hindrance == Hindrance::default() && input.is_first_build(&place.package)
        });
        if !learns {
            input.nothing_will_show(&places, &mut own);
            hindrances = self::hindrances(&own, &needs);
        }
        let causes = input.root_causes(&places, own);
        let mut causes_of: Vec<Vec<usize>> = vec![Vec::new(); places.len()];
        for (number, root) in causes.iter().enumerate() {
            for place in root.blocks.iter().filter_map(|name| numbers.get(name.as_str())) {
                causes_of[*place].push(number);
            }
        }
        let mut returning = Returning { state: input.state, records: Vec::new() };
        let mut actions = Vec::new();
        for ((place, hindrance), causes) in places.iter().zip(hindrances).zip(causes_of) {
            let name = &place.package;
            let action = match hindrance {
                _ if input.ignored.contains(name) => PlannedAction::Ignored,
                Hindrance { hard: true, .. } => PlannedAction::Blocked { causes },
                Hindrance { open: true, .. } => PlannedAction::Waiting { causes },
                Hindrance { .. } => input.action(name, &returning),
            };
            if matches!(action, PlannedAction::Build { .. }) {
                returning.records.extend(input.records.get(name));
            }
            actions.push(action);
        }
        let estimates = Estimates::new(input.records);
        let impact = impact(input, &places, &actions, &needs, &estimates);
        let timed: Vec<Timed<'_>> = places
            .iter()
            .zip(&actions)
            .zip(needs)
            .map(|((place, action), needs)| Timed {
                package: &place.package,
                built: matches!(action, PlannedAction::Build { .. }),
                needs,
            })
            .collect();
        let (ways, time) = times(&timed, &estimates, input.workers);
        let mut packages: Vec<(f64, PlannedPackage)> = places
            .iter()
            .zip(actions)
            .zip(ways)
            .map(|((place, action), way)| {
                let package = PlannedPackage {
                    package: place.package.clone(),
                    level: place.level,
                    release: input.release(&place.package, &action),
                    action,
                    needs: place.needs.iter().cloned().collect(),
                    dependants: place.dependants,
                    estimate: estimates.of(&place.package),
                };
                (way, package)
            })
            .collect();
        packages.sort_by(|(way_a, a), (way_b, b)| {
            a.level.cmp(&b.level).then_with(|| way_b.total_cmp(way_a)).then_with(|| a.package.cmp(&b.package))
        });
        Self {
            schema: Self::SCHEMA,
            goals: input.goals.iter().cloned().collect(),
            packages: packages.into_iter().map(|(_, package)| package).collect(),
            causes,
            unresolvable: input.report.unresolvable.clone(),
            breaks: input.report.breaks.clone(),
            time,
            impact: Some(impact),
        }
    }
}

/// Finds what hinders each place: its own causes, and those of what it needs.
fn hindrances(own: &[Vec<OwnCause<PlanCause>>], needs: &[Vec<usize>]) -> Vec<Hindrance> {
    let mut found: Vec<Hindrance> = Vec::with_capacity(own.len());
    for (causes, needs) in own.iter().zip(needs) {
        let mut hindrance = Hindrance {
            hard: causes.iter().any(|own| !own.cause.is_open()),
            open: causes.iter().any(|own| own.cause.is_open()),
        };
        // Prerequisites come first.
        for needed in needs.iter().filter_map(|need| found.get(*need)) {
            hindrance.hard |= needed.hard;
            hindrance.open |= needed.open;
        }
        found.push(hindrance);
    }
    found
}

/// Returns a cause that a spec has by itself, and not through a requirement.
fn own_cause(spec: &str, cause: LocalCause) -> OwnCause<PlanCause> {
    OwnCause { cause: PlanCause::Run(cause), stated_by: spec.to_owned(), written: None, chain: Vec::new() }
}

impl PlanInput<'_> {
    fn is_first_build(&self, package: &str) -> bool {
        !self.records.contains_key(package) && !self.ignored.contains(package)
    }

    /// Returns what hinders a spec itself; nothing hinders one that is left alone.
    fn own_causes(&self, place: &PlaceInGraph) -> Vec<OwnCause<PlanCause>> {
        let spec = &place.package;
        if self.ignored.contains(spec) {
            return Vec::new();
        }
        if let Some(message) = self.failed.get(spec) {
            return vec![own_cause(
                spec,
                LocalCause::FailedBefore { spec: spec.clone(), message: message.clone() },
            )];
        }
        let in_this_run = |OwnCause { cause, stated_by, written, chain }: &OwnCause<Cause>| OwnCause {
            cause: self.in_this_run(cause),
            stated_by: stated_by.clone(),
            written: written.clone(),
            chain: chain.clone(),
        };
        let mut causes: Vec<OwnCause<PlanCause>> = place.own.iter().map(in_this_run).collect();
        let message = self.unpacked.get(spec).cloned();
        // What cannot be built for another reason needs no SRPM.
        if let Some(message) = message.filter(|_| causes.is_empty()) {
            causes.push(own_cause(spec, LocalCause::NotPacked { spec: spec.clone(), message }));
        }
        causes
    }

    /// Whoever asks for a plan packs what has a record and is not hindered: without that it cannot be compared.
    fn can_be_compared(&self, spec: &str) -> bool {
        self.ignored.contains(spec) || self.tasks.contains_key(spec) || !self.records.contains_key(spec)
    }

    /// Tells a requirement that nothing provides from one for which builds were awaited in vain.
    fn in_this_run(&self, cause: &Cause) -> PlanCause {
        match cause {
            Cause::Unresolvable { requirement, reason: UnresolvedReason::NothingProvides { .. }, .. }
                if self.awaited.contains(requirement) =>
            {
                PlanCause::Run(LocalCause::NothingProvidedIt { requirement: requirement.clone() })
            }
            _ => PlanCause::Graph(cause.clone()),
        }
    }

    /// Returns every cause once, with all that it blocks; what is left alone hinders nobody.
    fn root_causes(
        &self,
        places: &[&PlaceInGraph],
        own: Vec<Vec<OwnCause<PlanCause>>>,
    ) -> Vec<RootCause<PlanCause>> {
        let hindering = |need: &&String| !self.ignored.contains(*need);
        let places = places.iter().zip(own).map(|(place, own)| Place {
            spec: &place.package,
            needs: place.needs.iter().filter(hindering).map(String::as_str).collect(),
            own,
        });
        root_causes(places, PlanCause::is_open)
    }

    /// Turns what is open into what cannot be had, for no build of this plan shows anything new.
    fn nothing_will_show(&self, places: &[&PlaceInGraph], own: &mut [Vec<OwnCause<PlanCause>>]) {
        let never_built: Vec<&String> =
            places.iter().map(|place| &place.package).filter(|name| self.is_first_build(name)).collect();
        let mut verdicts: BTreeMap<Requirement, PlanCause> = BTreeMap::new();
        for root in self.root_causes(places, own.to_vec()) {
            let Some(requirement) = root.cause.awaited() else { continue };
            // What needs it cannot be what provides it.
            let needs_it = |name: &&&String| root.blocks.binary_search(*name).is_ok();
            let unbuildable: Vec<String> =
                never_built.iter().filter(|name| !needs_it(name)).map(|name| (*name).clone()).collect();
            let requirement = requirement.clone();
            let verdict = if unbuildable.is_empty() && self.never_built_outside == 0 {
                let name = requirement.to_string();
                let reason = UnresolvedReason::NothingProvides { name };
                self.in_this_run(&Cause::Unresolvable {
                    requirement: requirement.clone(),
                    reason,
                    near: Vec::new(),
                })
            } else {
                let outside = self.never_built_outside;
                PlanCause::Run(LocalCause::NothingWillShow {
                    requirement: requirement.clone(),
                    unbuildable,
                    outside,
                })
            };
            verdicts.insert(requirement, verdict);
        }
        for found in own.iter_mut().flatten() {
            let verdict = found.cause.awaited().and_then(|requirement| verdicts.get(requirement));
            if let Some(verdict) = verdict.cloned() {
                found.cause = verdict;
            }
        }
    }

    /// Returns what becomes of a spec's release.
    fn release(&self, name: &str, action: &PlannedAction) -> Option<PlannedRelease> {
        match (action, self.tasks.get(name)) {
            (PlannedAction::Build { reasons, .. }, Some(task)) => (self.release)(task, reasons),
            _ => None,
        }
    }

    /// Returns what is done about a spec that nothing hinders.
    fn action(&self, name: &str, state: &dyn PublishedState) -> PlannedAction {
        let requested = self.requested.get(name);
        let task = self.tasks.get(name);
        let sources = if task.is_some() { SourcesState::Packed } else { SourcesState::NotLookedAt };
        let (Some(record), Some(task)) = (self.records.get(name), task) else {
            let mut reasons = first_build_reasons(requested);
            if self.unreadable.contains(name) {
                reasons.pop();
                reasons.push(BuildReason::RecordUnreadable);
            }
            return PlannedAction::Build { reasons, sources };
        };
        let present = PresentFacts {
            inputs: &task.inputs,
            input_parts: &|| (self.input_parts)(task),
            run_check: task.run_check,
            worker: self.worker,
            requested,
            policy: task.policy,
            build_requires: task.spec.requirements(task.run_check),
            triggers: &task.triggers,
            root: &|| (self.root)(task),
        };
        let reasons: Vec<BuildReason> = build_reasons(Some(record), &present, state);
        let layer = layer(&reasons, &|spec| layer_of(self.records, spec));
        if reasons.is_empty() {
            PlannedAction::UpToDate
        } else if self.max_layers.is_some_and(|most| layer > most) {
            PlannedAction::Deferred { reasons, layer }
        } else {
            PlannedAction::Build { reasons, sources }
        }
    }
}

/// What is published, as a plan looks at it: what is built anyway is expected to provide what it provided
/// before. If it does not, acceptance finds out and brings its dependants into the run.
struct Returning<'a> {
    state: &'a dyn PublishedState,
    /// Last builds of what is built.
    records: Vec<&'a BuildRecord>,
}

impl Returning<'_> {
    /// Returns whether one of the last builds provided a name, libraries for everybody where that is asked.
    fn bring(&self, leaf: &Dependency, for_everybody: bool) -> bool {
        self.records.iter().any(|record| {
            let facts = record.cascade.as_ref().and_then(|cascade| cascade.linkage.as_ref());
            let library = Soname::parse(&leaf.name).map(|library| library.without_symbols());
            let is_private = |package: &RecordedPackage| match (facts, &library) {
                (Some(facts), Some(library)) if for_everybody => {
                    !facts.private_directories(&package.artifact.nevra.name, library).is_empty()
                }
                _ => false,
            };
            let mut providing =
                record.rpms.iter().filter(|rpm| rpm.provides.iter().any(|provided| provided.overlaps(leaf)));
            providing.any(|rpm| !is_private(rpm))
        })
    }
}

impl PublishedState for Returning<'_> {
    fn content(&self, path: &str) -> Option<ContentDigest> {
        self.state.content(path)
    }

    fn satisfied(&self, requirement: &Requirement) -> bool {
        self.state.satisfied(requirement)
            || requirement.leaves().into_iter().any(|leaf| self.bring(leaf, false))
    }

    fn linkable(&self, requirement: &Requirement) -> bool {
        self.state.linkable(requirement)
            || requirement.leaves().into_iter().any(|leaf| self.bring(leaf, true))
    }

    fn libraries_of(&self, spec: &str) -> Vec<(String, Nevra)> {
        self.state.libraries_of(spec)
    }

    fn library_path(&self, library: &str) -> Option<LibraryPath> {
        self.state.library_path(library)
    }

    fn package(&self, name: &str) -> Option<(&Nevra, &ContentDigest)> {
        self.state.package(name)
    }

    fn trigger_target(&self, name: &str) -> Option<SeenPackage> {
        self.state.trigger_target(name)
    }

    fn spec_of(&self, name: &str) -> Option<&str> {
        self.state.spec_of(name)
    }

    fn withdrew(&self, requirement: &Requirement) -> Option<&str> {
        self.state.withdrew(requirement)
    }
}

/// Returns in which layer of a cascade a spec was last built.
pub(crate) fn layer_of(records: &BTreeMap<String, BuildRecord>, spec: &str) -> u32 {
    records.get(spec).and_then(|record| record.cascade.as_ref()).map_or(0, |facts| facts.layer)
}
