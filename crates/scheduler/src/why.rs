//! Why a package was built, will be built, or will not: one answer from its record, the plan and present facts.
//!
//! It decides nothing of its own. What it says of now is what the plan says; besides it tells what was compared, what
//! changed without counting, and from package to package who caused what.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use grapher::{GoalError, GoalErrors, GoalRequest, RootCause};
use rebuild::bump::published_evr;
use rebuild::{PresentFacts, build_reasons};
use rpm_model::{BuildReason, BuildRecord, BuildrootLock, Evr, Nevra, RebuildPolicy};
use serde::{Deserialize, Serialize};

use crate::plan::{PlanCause, PlannedAction, PossibleRebuild};
use crate::records::RecordStore;
use crate::releases::PlannedRelease;
use crate::session::{Graphed, Planned, Session, SessionError};
use crate::task::PackageTask;

/// The answers of `millwright why`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyDocument {
    /// This code reads and writes [`WhyDocument::SCHEMA`].
    pub schema: u32,
    /// One for each name asked for, in the order asked.
    pub packages: Vec<WhyPackage>,
}

impl WhyDocument {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;
}

/// The answer for one package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyPackage {
    /// What was asked for: a spec or one of its packages.
    pub asked: String,
    /// The spec.
    pub package: String,
    /// Its last accepted build, if there was one.
    pub last: Option<LastBuild>,
    /// The file that should tell of its last build and cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable_record: Option<PathBuf>,
    /// What is done about it now.
    pub now: Verdict,
    /// What was compared; `None` where there is no record or no source package to compare.
    pub compared: Option<Compared>,
}

/// The last accepted build of a package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastBuild {
    /// Its source package.
    pub source: Nevra,
    /// Epoch, version and release that its packages were published with, where the source package has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Evr>,
    /// Why it was built then.
    pub reasons: Vec<BuildReason>,
    /// Who caused these, the nearest first.
    pub chain: Vec<CausedBy>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// A spec whose change caused a build of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CausedBy {
    /// The spec.
    pub package: String,
    /// The spec that it caused to be built.
    pub caused: String,
    /// Why it was, or will be, built itself.
    pub reasons: Vec<BuildReason>,
}

/// What is done about a package now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It will be built.
    Build {
        /// Why.
        reasons: Vec<BuildReason>,
        /// What becomes of its release, where that does not stay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<PlannedRelease>,
        /// Who caused these, the nearest first.
        chain: Vec<CausedBy>,
    },
    /// It is right as it is.
    UpToDate {
        /// How it could follow what the plan builds, if that does not come out identical.
        could_follow: Option<PossibleRebuild>,
    },
    /// It is due and beyond the limit of cascading rebuilds.
    Deferred {
        /// Why it is due.
        reasons: Vec<BuildReason>,
        /// How many packages lie between the change that began it and this one.
        layer: u32,
        /// Who caused the reasons, the nearest first.
        chain: Vec<CausedBy>,
    },
    /// The user said not to build it.
    Ignored,
    /// Whether it can be built is known once others are built.
    Waiting {
        /// For what.
        causes: Vec<RootCause<PlanCause>>,
    },
    /// It cannot be built.
    Blocked {
        /// Why not.
        causes: Vec<RootCause<PlanCause>>,
    },
    /// It is not for this architecture, or not among the specs that were looked at.
    NotPlanned,
}

/// What was compared with the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Which changes of others count.
    pub policy: RebuildPolicy,
    /// Files of the source package, spec included; `None` where the record does not name them.
    pub files: Option<usize>,
    /// Macro definitions.
    pub defines: usize,
    /// Published packages whose content was compared.
    pub outputs: usize,
    /// Run-time requirements whose providers were looked for.
    pub requirements: usize,
    /// Packages of the build root.
    pub root_packages: usize,
    /// What differs in the build root that it would get now and is no reason under its policy; `None` where no root can
    /// be made at present.
    pub uncounted: Option<Vec<BuildReason>>,
    /// What would make it due under stricter policies, for each the reasons that come on top.
    pub stricter: Vec<Stricter>,
}

/// What would be a reason under a stricter policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stricter {
    /// The policy.
    pub policy: RebuildPolicy,
    /// The reasons; none where it would be up to date even so.
    pub reasons: Vec<BuildReason>,
}

/// All policies, each counting what the ones before it count.
const POLICIES: [RebuildPolicy; 4] =
    [RebuildPolicy::Local, RebuildPolicy::Relevant, RebuildPolicy::Direct, RebuildPolicy::Exact];

impl Session<'_> {
    /// Returns the spec that each name means: a spec, readable or not, or one of its packages.
    pub fn named(&self, graphed: &Graphed, names: &[String]) -> Result<Vec<(String, String)>, SessionError> {
        let mut named = Vec::new();
        let mut errors = Vec::new();
        for name in names {
            let request = GoalRequest { names: vec![name.clone()], extra_layers: 0 };
            match graphed.graph.select(&request) {
                Ok(specs) => named.extend(specs.into_iter().map(|spec| (name.clone(), spec))),
                // The plan knows what is wrong with it.
                Err(GoalErrors(found)) if matches!(found[..], [GoalError::BadSpec { .. }]) => {
                    named.push((name.clone(), name.clone()));
                }
                Err(GoalErrors(found)) => errors.extend(found),
            }
        }
        if errors.is_empty() { Ok(named) } else { Err(GoalErrors(errors).into()) }
    }

    /// Answers for these names, each with its spec.
    ///
    /// # Errors
    /// Returns that the file of macros or the directory of records cannot be read.
    pub fn why(&self, planned: &Planned, names: &[(String, String)]) -> Result<WhyDocument, SessionError> {
        let store = RecordStore::new(&self.settings.records);
        let unreadable = store.unreadable(&planned.records)?;
        let packages = names
            .iter()
            .map(|(asked, spec)| {
                let record = planned.records.get(spec);
                let compared = match (record, planned.tasks.get(spec)) {
                    (Some(record), Some(task)) => Some(self.compared(planned, record, task)?),
                    _ => None,
                };
                Ok(WhyPackage {
                    asked: asked.clone(),
                    package: spec.clone(),
                    last: record.map(|record| last_build(planned, record)),
                    unreadable_record: unreadable.contains(spec).then(|| store.path(spec)),
                    now: verdict(planned, spec),
                    compared,
                })
            })
            .collect::<Result<_, SessionError>>()?;
        Ok(WhyDocument { schema: WhyDocument::SCHEMA, packages })
    }

    fn compared(
        &self,
        planned: &Planned,
        record: &BuildRecord,
        task: &PackageTask,
    ) -> Result<Compared, SessionError> {
        let inputs = self.inputs()?;
        let worker = self.worker.generation();
        let made: OnceCell<Option<BuildrootLock>> = OnceCell::new();
        let root = || made.get_or_init(|| self.roots().present(&planned.universe, task)).clone();
        let state = planned.universe.state();
        let reasons_under = |policy| {
            let present = PresentFacts {
                inputs: &task.inputs,
                input_parts: &|| inputs.parts(task),
                run_check: task.run_check,
                worker: &worker,
                requested: None,
                policy,
                build_requires: task.spec.requirements(task.run_check),
                triggers: &task.triggers,
                root: &root,
            };
            build_reasons(Some(record), &present, &state)
        };
        let counted = reasons_under(task.policy);
        let on_top = |policy| {
            let reasons: Vec<BuildReason> =
                reasons_under(policy).into_iter().filter(|reason| !counted.contains(reason)).collect();
            Stricter { policy, reasons }
        };
        let of_root = |reason: &BuildReason| matches!(reason, BuildReason::BuildRequirementChanged { .. });
        let uncounted = on_top(RebuildPolicy::Exact).reasons.into_iter().filter(of_root).collect();
        let requirements: BTreeSet<_> = record.rpms.iter().flat_map(|package| &package.requires).collect();
        Ok(Compared {
            policy: task.policy,
            files: record.input_parts.as_ref().map(|parts| parts.files.len()),
            defines: self.settings.defines.len(),
            outputs: record.rpms.len(),
            requirements: requirements.len(),
            root_packages: record.lock.iter().count(),
            uncounted: root().map(|_| uncounted),
            stricter: POLICIES.into_iter().filter(|policy| *policy > task.policy).map(on_top).collect(),
        })
    }
}

fn last_build(planned: &Planned, record: &BuildRecord) -> LastBuild {
    // What was, was for reasons in records; what the plan would do now is another matter.
    let reasons_of = |spec: &str| planned.records.get(spec).map(|record| record.reasons.clone());
    LastBuild {
        source: record.source.clone(),
        published: Some(published_evr(record)).filter(|evr| *evr != record.source.evr),
        reasons: record.reasons.clone(),
        chain: chain(&record.package, &record.reasons, &reasons_of),
        seconds: record.usage.wall_seconds,
    }
}

fn verdict(planned: &Planned, spec: &str) -> Verdict {
    let plan = &planned.plan;
    let Some(package) = plan.packages.iter().find(|package| package.package == spec) else {
        return Verdict::NotPlanned;
    };
    let actions: BTreeMap<&str, &PlannedAction> =
        plan.packages.iter().map(|package| (package.package.as_str(), &package.action)).collect();
    let reasons_of = |spec: &str| match actions.get(spec) {
        Some(PlannedAction::Build { reasons, .. }) => Some(reasons.clone()),
        _ => planned.records.get(spec).map(|record| record.reasons.clone()),
    };
    let causes_of =
        |causes: &[usize]| causes.iter().filter_map(|number| plan.causes.get(*number)).cloned().collect();
    match &package.action {
        PlannedAction::Build { reasons, .. } => Verdict::Build {
            reasons: reasons.clone(),
            release: package.release.clone(),
            chain: chain(spec, reasons, &reasons_of),
        },
        PlannedAction::UpToDate => {
            let mut possible = plan.impact.iter().flat_map(|impact| &impact.possible);
            Verdict::UpToDate { could_follow: possible.find(|possible| possible.package == spec).cloned() }
        }
        PlannedAction::Deferred { reasons, layer } => Verdict::Deferred {
            reasons: reasons.clone(),
            layer: *layer,
            chain: chain(spec, reasons, &reasons_of),
        },
        PlannedAction::Ignored => Verdict::Ignored,
        PlannedAction::Waiting { causes } => Verdict::Waiting { causes: causes_of(causes) },
        PlannedAction::Blocked { causes } => Verdict::Blocked { causes: causes_of(causes) },
    }
}

/// Follows reasons to who caused them, and theirs, each spec once; the nearest come first.
fn chain(
    spec: &str,
    reasons: &[BuildReason],
    reasons_of: &dyn Fn(&str) -> Option<Vec<BuildReason>>,
) -> Vec<CausedBy> {
    let mut links: Vec<CausedBy> = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::from([spec.to_owned()]);
    let mut layer = vec![(spec.to_owned(), reasons.to_vec())];
    while !layer.is_empty() {
        let mut next = Vec::new();
        for (caused, reasons) in layer {
            let causes: BTreeSet<&str> = reasons.iter().filter_map(BuildReason::caused_by).collect();
            for cause in causes {
                if seen.insert(cause.to_owned()) {
                    let reasons = reasons_of(cause).unwrap_or_default();
                    let (package, caused) = (cause.to_owned(), caused.clone());
                    links.push(CausedBy { package, caused, reasons: reasons.clone() });
                    next.push((cause.to_owned(), reasons));
                }
            }
        }
        layer = next;
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(by: &str) -> BuildReason {
        let (package, requirement) = ("p".to_owned(), "r".to_owned());
        BuildReason::RequirementLost { package, requirement, by: Some(by.to_owned()), library: None }
    }

    #[test]
    fn chains_are_followed_to_their_beginning_and_end_where_they_bite_their_tail() {
        let reasons_of = |spec: &str| match spec {
            "b" => Some(vec![lost("c"), lost("d")]),
            "c" => Some(vec![lost("a"), BuildReason::Requested]),
            "d" => Some(vec![BuildReason::NeverBuilt]),
            _ => None,
        };
        let links = chain("a", &[lost("b")], &reasons_of);
        let names: Vec<(&str, &str)> =
            links.iter().map(|link| (link.package.as_str(), link.caused.as_str())).collect();
        assert_eq!(names, [("b", "a"), ("c", "b"), ("d", "b")]);
    }
}
