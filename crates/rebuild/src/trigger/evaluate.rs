//! Triggers and both sides of each to verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rpm_model::{
    BuildReason, BuildRecord, BuildrootLock, ContentDigest, Evr, SeenAnswer, SeenPackage, SeenTriggers,
};

use super::files::FilePattern;
use super::parse::{Operand, Operator, Trigger};
use super::program::{ProgramAnswer, ProgramFault, command_text};
use crate::PublishedState;
use crate::soname::SonamePolicy;

/// The triggers of one spec, and what they stand for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerFacts {
    packages: Vec<Trigger>,
    files: BTreeMap<String, BTreeMap<String, ContentDigest>>,
    /// What the names stood for when these facts were gathered, before anything was built.
    before: BTreeMap<String, Option<SeenPackage>>,
    /// What the programs that give versions answered, by the name whose version they give.
    answers: BTreeMap<String, (Vec<String>, ProgramAnswer)>,
    /// What a change of shared libraries does.
    pub(crate) sonames: SonamePolicy,
}

/// What a trigger says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// A rebuild is necessary, and why.
    Fires(Box<BuildReason>),
    /// Nothing changed that it watches.
    Quiet,
    /// It cannot be told.
    Unknown(UnknownReason),
}

/// Why a trigger cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnknownReason {
    /// No package that exists now has the name or provides it.
    NothingOfTheName {
        /// The name.
        name: String,
    },
    /// The record of the last build does not say what the name stood for.
    NotRecorded,
    /// The name stands for a package that the spec builds itself.
    OwnPackage {
        /// The package.
        name: String,
    },
    /// No file matches, and none did at the last build.
    NoSuchFile,
    /// The program that gives the version of the name gave none.
    NoAnswer {
        /// The command.
        command: String,
        /// Why.
        fault: ProgramFault,
    },
}

/// A trigger and what it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evaluated {
    /// The trigger as it is written; a pattern of files as it is written.
    pub trigger: String,
    /// What it says.
    pub verdict: Verdict,
}

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingOfTheName { name } => write!(f, "no package has the name `{name}` or provides it"),
            Self::OwnPackage { name } => write!(f, "the spec builds `{name}` itself"),
            Self::NotRecorded => f.write_str("the record of the last build does not say what it saw"),
            Self::NoAnswer { command, fault } => write!(f, "`{command}` gave no version: {fault}"),
            Self::NoSuchFile => f.write_str("no file of the spec's directory matches"),
        }
    }
}

impl TriggerFacts {
    /// Returns the facts of a spec with these triggers. `files` are all files below the spec's directory that may
    /// matter, by path relative to it; `state` is what is published before anything is built.
    pub fn new(
        packages: Vec<Trigger>,
        patterns: &[FilePattern],
        files: &BTreeMap<String, ContentDigest>,
        state: &dyn PublishedState,
    ) -> Self {
        let before =
            packages.iter().map(|trigger| (trigger.name.clone(), state.trigger_target(&trigger.name)));
        let before = before.collect();
        let matching = |pattern: &FilePattern| {
            let files = files.iter().filter(|(path, _)| pattern.matches(path));
            (
                pattern.as_str().to_owned(),
                files.map(|(path, content)| (path.clone(), content.clone())).collect(),
            )
        };
        let files = patterns.iter().map(matching).collect();
        Self { packages, files, before, ..Self::default() }
    }

    /// Returns the facts with another soname policy.
    #[must_use]
    pub fn with_sonames(self, sonames: SonamePolicy) -> Self {
        Self { sonames, ..self }
    }

    /// Returns the facts with what programs answered, by the name whose version they give, with their commands. No
    /// package is looked for under these names.
    #[must_use]
    pub fn with_answers(mut self, answers: BTreeMap<String, (Vec<String>, ProgramAnswer)>) -> Self {
        self.before.retain(|name, _| !answers.contains_key(name));
        Self { answers, ..self }
    }

    /// Returns the answers that are no versions: the name, the command and the fault of each, sorted.
    pub fn unanswered(&self) -> impl Iterator<Item = (&str, String, &ProgramFault)> {
        self.answers.iter().filter_map(|(name, (command, answer))| {
            Some((name.as_str(), command_text(command), answer.as_ref().err()?))
        })
    }

    /// Returns whether the spec has no trigger.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.files.is_empty()
    }

    /// Returns what a build with this build root has seen, for its record. `state` is what is published after it.
    ///
    /// Where the build root holds what the name stood for before, that is what the build has seen, even if the
    /// package was replaced in the meantime; where the name stands for a package that is not in the root, nothing
    /// of it can be in the result, and what is published after the build is as good.
    pub fn seen(&self, lock: &BuildrootLock, state: &dyn PublishedState) -> SeenTriggers {
        let contents: BTreeSet<&ContentDigest> = lock.iter().map(|package| &package.sha256).collect();
        let seen = |(name, before): (&String, &Option<SeenPackage>)| {
            let in_root = before.clone().filter(|before| contents.contains(&before.sha256));
            (name.clone(), in_root.or_else(|| state.trigger_target(name)))
        };
        let answered = |(name, (command, answer)): (&String, &(Vec<String>, ProgramAnswer))| {
            let version = answer.as_ref().ok().cloned();
            (name.clone(), version.map(|version| SeenAnswer { command: command.clone(), version }))
        };
        SeenTriggers {
            packages: self.before.iter().map(seen).collect(),
            files: self.files.clone(),
            programs: self.answers.iter().map(answered).collect(),
            sonames: BTreeMap::new(),
        }
    }
}

/// Evaluates every trigger by itself: one that is unknown hides none that fires. The result is sorted, whatever
/// the order in the spec.
pub fn evaluate(record: &BuildRecord, facts: &TriggerFacts, state: &dyn PublishedState) -> Vec<Evaluated> {
    let packages = facts.packages.iter().map(|trigger| Evaluated {
        trigger: trigger.to_string(),
        verdict: match facts.answers.get(&trigger.name) {
            Some((command, answer)) => answer_verdict(trigger, record, command, answer),
            None => package_verdict(trigger, record, state),
        },
    });
    let files = facts.files.iter().flat_map(|(pattern, present)| {
        let verdicts = file_verdicts(pattern, record.triggers.files.get(pattern), present);
        verdicts.into_iter().map(|verdict| Evaluated { trigger: pattern.clone(), verdict })
    });
    let all: BTreeSet<Evaluated> = packages.chain(files).collect();
    all.into_iter().collect()
}

/// Returns the reasons of those triggers that fire, sorted.
pub(crate) fn trigger_reasons(
    record: &BuildRecord,
    facts: &TriggerFacts,
    state: &dyn PublishedState,
) -> impl Iterator<Item = BuildReason> {
    evaluate(record, facts, state).into_iter().filter_map(|evaluated| match evaluated.verdict {
        Verdict::Fires(reason) => Some(*reason),
        Verdict::Quiet | Verdict::Unknown(_) => None,
    })
}

/// Returns what the last build saw under a name: `Some(None)` where it saw that there was nothing. Records of
/// older versions do not say, but their build root may hold a package of the name.
fn recorded_target(record: &BuildRecord, name: &str) -> Option<Option<SeenPackage>> {
    record.triggers.packages.get(name).cloned().or_else(|| {
        let in_root = record.lock.iter().find(|package| package.nevra.name == name)?;
        let (nevra, sha256) = (in_root.nevra.clone(), in_root.sha256.clone());
        Some(Some(SeenPackage { nevra, sha256, provided: None }))
    })
}

fn package_verdict(trigger: &Trigger, record: &BuildRecord, state: &dyn PublishedState) -> Verdict {
    let Some(present) = state.trigger_target(&trigger.name) else {
        return Verdict::Unknown(UnknownReason::NothingOfTheName { name: trigger.name.clone() });
    };
    if record.rpms.iter().any(|rpm| rpm.artifact.nevra == present.nevra) {
        return Verdict::Unknown(UnknownReason::OwnPackage { name: present.nevra.name });
    }
    let Some(recorded) = recorded_target(record, &trigger.name) else {
        return Verdict::Unknown(UnknownReason::NotRecorded);
    };
    let identity = |seen: &SeenPackage| (seen.nevra.clone(), seen.sha256.clone());
    let changed = recorded.as_ref().map(identity) != Some(identity(&present));
    let (fires, compared) =
        trigger.judge(recorded.as_ref().map(SeenPackage::version), present.version(), changed);
    if !fires {
        return Verdict::Quiet;
    }
    Verdict::Fires(Box::new(BuildReason::TriggerFired {
        trigger: trigger.to_string(),
        recorded: recorded.map(|seen| seen.nevra),
        by: state.spec_of(&present.nevra.name).map(str::to_owned),
        present: present.nevra,
        compared,
    }))
}

/// Judges a trigger whose version a program gives; no repository is asked.
fn answer_verdict(
    trigger: &Trigger,
    record: &BuildRecord,
    command: &[String],
    answer: &ProgramAnswer,
) -> Verdict {
    let command = command_text(command);
    let present = match answer {
        Ok(version) => version,
        Err(fault) => {
            return Verdict::Unknown(UnknownReason::NoAnswer { command, fault: fault.clone() });
        }
    };
    let Some(recorded) = record.triggers.programs.get(&trigger.name) else {
        return Verdict::Unknown(UnknownReason::NotRecorded);
    };
    let recorded = recorded.as_ref().map(|seen| &seen.version);
    if !trigger.judge(recorded, present, recorded != Some(present)).0 {
        return Verdict::Quiet;
    }
    Verdict::Fires(Box::new(BuildReason::TriggerAnswerChanged {
        trigger: trigger.to_string(),
        command,
        recorded: recorded.cloned(),
        present: present.clone(),
    }))
}

impl Trigger {
    /// Returns whether it fires between the version at the last build (`None`: there was nothing) and that of now, and
    /// the two as far as it looks at them. `changed` says whether what has the version is another one.
    fn judge(
        &self,
        recorded: Option<&Evr>,
        present: &Evr,
        changed: bool,
    ) -> (bool, Option<(String, String)>) {
        let versions = (recorded, present);
        match &self.condition {
            None => (changed, None),
            Some((operator, Operand::Level(level))) => match versions {
                // What was not there and is there now has risen above every level.
                (None, _) => {
                    let rises = [Operator::Greater, Operator::GreaterOrEqual, Operator::Unequal];
                    (rises.contains(operator), None)
                }
                (Some(then), now) => {
                    let (then, now) = (level.part(then), level.part(now));
                    let holds = operator.holds(now.compare(&then));
                    // An operator that equality satisfies would fire for ever without a change.
                    let fires = holds && (changed || !operator.holds(std::cmp::Ordering::Equal));
                    (fires, Some((level.describe(&then), level.describe(&now))))
                }
            },
            Some((operator, Operand::Literal(literal))) => {
                let holds = |version: &Evr| operator.holds(version.compare(literal));
                let held = versions.0.is_some_and(holds);
                let texts = versions.0.map(|then| (then.to_string(), versions.1.to_string()));
                (!held && holds(versions.1), texts)
            }
        }
    }
}

fn file_verdicts(
    pattern: &str,
    recorded: Option<&BTreeMap<String, ContentDigest>>,
    present: &BTreeMap<String, ContentDigest>,
) -> Vec<Verdict> {
    let Some(recorded) = recorded else {
        let none = present.is_empty();
        return vec![Verdict::Unknown(if none {
            UnknownReason::NoSuchFile
        } else {
            UnknownReason::NotRecorded
        })];
    };
    if recorded.is_empty() && present.is_empty() {
        return vec![Verdict::Unknown(UnknownReason::NoSuchFile)];
    }
    let paths: BTreeSet<&String> = recorded.keys().chain(present.keys()).collect();
    let changed = paths.into_iter().filter(|path| recorded.get(*path) != present.get(*path));
    let fires: Vec<Verdict> = changed
        .map(|path| {
            Verdict::Fires(Box::new(BuildReason::TriggerFileChanged {
                pattern: pattern.to_owned(),
                file: path.clone(),
                recorded: recorded.get(path).cloned(),
                present: present.get(path).cloned(),
            }))
        })
        .collect();
    if fires.is_empty() { vec![Verdict::Quiet] } else { fires }
}
