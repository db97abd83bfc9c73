//! A question and its answer, as one value of each: what programs read and what `text` puts into words.

use std::collections::BTreeMap;

use rpm_model::{Dependency, Requirement};
use serde::{Deserialize, Serialize};

use crate::cycle::report::{CycleReport, CycleRule};
use crate::model::{Scope, Unresolvable, UnresolvedReason};
use crate::neighbourhood::SubGraph;
use crate::provider::ProviderExplanation;
use crate::query::{Direction, Explorer, Impact, Path, Relations};
use crate::{DependencyGraph, GoalErrors};

/// What is asked of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What a spec or package needs.
    DependsOn(String),
    /// Who needs a spec or package.
    NeededBy(String),
    /// How the first comes to need the second.
    Path(String, String),
    /// What is around specs or packages.
    Neighbourhood(Vec<String>),
    /// What a change of a spec would at most set off.
    Impact(String),
    /// Who could provide something, who does, and by which rule.
    Provider(Dependency),
    /// Which builds need themselves, and what is done about it.
    Cycles,
    /// What nothing provides.
    Unresolvable,
}

/// The answer to a [`Question`], as `--format json` writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Question::DependsOn`] and [`Question::NeededBy`].
    Relations(Relations),
    /// To [`Question::Path`].
    Path(Path),
    /// To [`Question::Neighbourhood`].
    Neighbourhood {
        /// What the subjects need, in their order.
        depends_on: Vec<Relations>,
        /// Who needs them, in their order.
        needed_by: Vec<Relations>,
        /// Both as one graph.
        graph: SubGraph,
    },
    /// To [`Question::Impact`].
    Impact(Impact),
    /// To [`Question::Provider`].
    Provider(ProviderExplanation),
    /// To [`Question::Cycles`].
    Cycles(CycleReport),
    /// To [`Question::Unresolvable`].
    Unresolvable {
        /// What nothing provides.
        unresolvable: Vec<Want>,
        /// What a package that was never built might turn out to provide.
        open: Vec<Want>,
    },
}

/// A requirement that nothing serves, with everybody who states it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Want {
    /// The requirement as written.
    pub requirement: Requirement,
    /// Why nothing serves it.
    pub reason: UnresolvedReason,
    /// Names that look similar.
    pub near: Vec<String>,
    /// Who states it, sorted.
    pub wanted_by: Vec<WantedBy>,
}

/// Who states a requirement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WantedBy {
    /// The spec.
    pub spec: String,
    /// For its build, or for a package of it.
    pub scope: Scope,
    /// The spec's name or the package's NEVRA.
    pub stated_by: String,
}

impl Answer {
    /// Returns whether the answer is the good one: a path exists, something provides it, no cycle remains, everything
    /// is provided.
    /// Questions that only ask what is so always have a good answer.
    pub fn is_good(&self) -> bool {
        match self {
            Self::Relations(_) | Self::Neighbourhood { .. } | Self::Impact(_) => true,
            Self::Path(path) => path.steps.is_some(),
            Self::Provider(explanation) => explanation.chosen().is_some(),
            Self::Cycles(report) => report.cycles.iter().all(|found| found.rule != CycleRule::Unbroken),
            Self::Unresolvable { unresolvable, .. } => unresolvable.is_empty(),
        }
    }
}

impl Explorer<'_> {
    /// Answers a question, to a distance where it has one; `None` is as far as it goes.
    ///
    /// # Errors
    ///
    /// Returns every name that means nothing.
    pub fn answer(&self, question: &Question, depth: Option<usize>) -> Result<Answer, GoalErrors> {
        Ok(match question {
            Question::DependsOn(name) => Answer::Relations(self.depends_on(name, depth)?),
            Question::NeededBy(name) => Answer::Relations(self.needed_by(name, depth)?),
            Question::Path(from, to) => Answer::Path(self.path(from, to)?),
            Question::Neighbourhood(names) => {
                let graph = self.neighbourhood(names, depth)?;
                let subjects = || graph.subjects.iter();
                let relations = |direction| {
                    subjects().map(|subject| self.relations(subject.clone(), direction, depth)).collect()
                };
                Answer::Neighbourhood {
                    depends_on: relations(Direction::DependsOn),
                    needed_by: relations(Direction::NeededBy),
                    graph,
                }
            }
            Question::Impact(name) => Answer::Impact(self.impact(name)?),
            Question::Provider(dependency) => Answer::Provider(self.graph.explain_provider(dependency)),
            Question::Cycles => Answer::Cycles(self.graph.cycle_report().clone()),
            Question::Unresolvable => unresolvable(self.graph),
        })
    }

    /// Returns the part of the graph that a question is about; `None` where it is about none.
    ///
    /// # Errors
    ///
    /// Returns every name that means nothing.
    pub fn part(&self, question: &Question, depth: Option<usize>) -> Result<Option<SubGraph>, GoalErrors> {
        let one = std::slice::from_ref;
        Ok(Some(match question {
            Question::DependsOn(name) => self.around(one(name), &[Direction::DependsOn], depth)?,
            Question::NeededBy(name) => self.around(one(name), &[Direction::NeededBy], depth)?,
            Question::Path(from, to) => self.path_graph(&self.path(from, to)?),
            Question::Neighbourhood(names) => self.neighbourhood(names, depth)?,
            Question::Cycles => {
                self.cycle_graph(self.graph.cycle_report().cycles.iter().map(|found| found.cycle.as_ref()))
            }
            Question::Impact(_) | Question::Provider(_) | Question::Unresolvable => return Ok(None),
        }))
    }
}

/// Groups what nothing provides by what is required.
fn unresolvable(graph: &DependencyGraph) -> Answer {
    let grouped = |findings: &[Unresolvable]| {
        let mut wants: BTreeMap<(&Requirement, &UnresolvedReason, &[String]), Vec<WantedBy>> =
            BTreeMap::new();
        for Unresolvable { spec, scope, required_by, requirement, reason, near, .. } in findings {
            wants.entry((requirement, reason, near)).or_default().push(WantedBy {
                spec: spec.clone(),
                scope: *scope,
                stated_by: required_by.clone(),
            });
        }
        let want = |((requirement, reason, near), mut wanted_by): (_, Vec<WantedBy>)| {
            let (requirement, reason, near): (&Requirement, &UnresolvedReason, &[String]) =
                (requirement, reason, near);
            wanted_by.sort();
            wanted_by.dedup();
            let (requirement, reason) = (requirement.clone(), reason.clone());
            Want { requirement, reason, near: near.to_vec(), wanted_by }
        };
        wants.into_iter().map(want).collect()
    };
    Answer::Unresolvable { unresolvable: grouped(graph.unresolvable()), open: grouped(graph.open()) }
}
