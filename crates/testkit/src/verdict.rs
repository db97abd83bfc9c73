//! How a solver's answer to a set of requirements stands to dnf's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::json;

use crate::draw::RequirementSet;
use crate::oracle::{DnfAnswer, Oracle, OracleError};

/// How two answers to one set stand to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both find the same packages.
    Same,
    /// Both find that there is no way.
    NeitherFinds,
    /// Both find a way, and there is more than one; dnf takes ours too, as it is and with nothing added.
    OtherChoice {
        /// Packages of ours alone.
        ours: BTreeSet<String>,
        /// Packages of dnf's alone.
        theirs: BTreeSet<String>,
    },
    /// We find a way where dnf finds none for a reason that is its own.
    DnfCannot(DnfLimit),
    /// We find a way where dnf finds none, and dnf does not take ours either.
    OnlyOurs {
        /// dnf's words.
        problem: String,
    },
    /// dnf does not find a way by itself, but takes ours.
    MissedByDnf {
        /// dnf's words.
        problem: String,
    },
    /// dnf finds a way where we find none.
    OnlyTheirs {
        /// Our words.
        explanation: String,
    },
    /// dnf does not take our packages as they are.
    NotClosed {
        /// dnf's words, or what it would add.
        problem: String,
    },
}

/// What dnf (libsolv) cannot do although rpm can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnfLimit {
    /// It finds no owner of a path right below `/`, such as `/sbin`.
    PathBelowRoot,
}

impl DnfLimit {
    /// Finds the limit in dnf's own words.
    fn of(problem: &str) -> Option<Self> {
        let words: Vec<&str> = problem.split_whitespace().collect();
        let path =
            words.windows(3).find(|three| three[..2] == ["nothing", "provides"]).map(|three| three[2])?;
        (path.starts_with('/') && path.matches('/').count() == 1).then_some(Self::PathBelowRoot)
    }
}

/// The names of all verdicts, for a table that has its zeros too.
const KINDS: [&str; 10] = [
    "same packages",
    "neither finds a way",
    "another choice, taken by dnf: of two or more ways",
    "another choice, taken by dnf: dnf's packages and more",
    "another choice, taken by dnf: fewer than dnf's",
    "found by us alone, taken by dnf",
    "found by us alone: dnf knows no owners of paths right below /",
    "DEFECT: found by us alone",
    "DEFECT: found by dnf alone",
    "DEFECT: dnf does not take ours",
];

impl Verdict {
    /// Returns whether one of the two must be wrong.
    pub fn is_defect(&self) -> bool {
        self.kind().starts_with("DEFECT")
    }

    fn kind(&self) -> &'static str {
        KINDS[match self {
            Self::Same => 0,
            Self::NeitherFinds => 1,
            Self::OtherChoice { theirs, .. } if theirs.is_empty() => 3,
            Self::OtherChoice { ours, .. } if ours.is_empty() => 4,
            Self::OtherChoice { .. } => 2,
            Self::MissedByDnf { .. } => 5,
            Self::DnfCannot(DnfLimit::PathBelowRoot) => 6,
            Self::OnlyOurs { .. } => 7,
            Self::OnlyTheirs { .. } => 8,
            Self::NotClosed { .. } => 9,
        }]
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        f.write_str(self.kind())?;
        match self {
            Self::Same | Self::NeitherFinds | Self::DnfCannot(_) => Ok(()),
            Self::OtherChoice { ours, theirs } => {
                write!(f, "\n  ours: {}\n  dnf's: {}", list(ours), list(theirs))
            }
            Self::OnlyOurs { problem } | Self::MissedByDnf { problem } | Self::NotClosed { problem } => {
                write!(f, "\n  {problem}")
            }
            Self::OnlyTheirs { explanation } => write!(f, "\n  {explanation}"),
        }
    }
}

/// Asks dnf for the same set, and whether it takes our packages where it chose others.
///
/// `ours` is our answer: NEVRAs without the asking package, or our words why there is none. Returns dnf's own answer
/// too.
///
/// # Errors
/// When the oracle gives no answer.
pub fn judge(
    set: &RequirementSet,
    ours: &Result<BTreeSet<String>, String>,
    dnf: &mut Oracle,
) -> Result<(Verdict, DnfAnswer), OracleError> {
    let asking = set.nevra().to_string();
    let mut answer: DnfAnswer = dnf.ask(&json!({ "install": [set.package_name()] }))?;
    if let Some(packages) = &mut answer.packages {
        packages.remove(&asking);
    }
    let verdict = match (ours, &answer.packages) {
        (Err(_), None) => Verdict::NeitherFinds,
        (Err(explanation), Some(_)) => Verdict::OnlyTheirs { explanation: explanation.clone() },
        (Ok(ours), Some(theirs)) if ours == theirs => Verdict::Same,
        (Ok(ours), theirs) => {
            let mut exactly = ours.clone();
            exactly.insert(asking);
            let taken: DnfAnswer = dnf.ask(&json!({ "exactly": exactly }))?;
            let own_problem = answer.problem.clone().unwrap_or_default();
            match (taken.packages, theirs) {
                (Some(taken), Some(theirs)) if taken == exactly => Verdict::OtherChoice {
                    ours: ours.difference(theirs).cloned().collect(),
                    theirs: theirs.difference(ours).cloned().collect(),
                },
                (Some(taken), None) if taken == exactly => Verdict::MissedByDnf { problem: own_problem },
                (None, None) => match DnfLimit::of(&own_problem) {
                    Some(limit) => Verdict::DnfCannot(limit),
                    None => Verdict::OnlyOurs { problem: own_problem },
                },
                (Some(taken), _) => Verdict::NotClosed { problem: difference(&taken, &exactly) },
                (None, Some(_)) => Verdict::NotClosed { problem: taken.problem.unwrap_or_default() },
            }
        }
    };
    Ok((verdict, answer))
}

fn difference(taken: &BTreeSet<String>, asked: &BTreeSet<String>) -> String {
    let list =
        |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>().join(" ");
    format!("adds [{}], leaves out [{}]", list(taken, asked), list(asked, taken))
}

/// Counts verdicts, one line for each kind.
pub fn table<'v>(verdicts: impl IntoIterator<Item = &'v Verdict>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for verdict in verdicts {
        *counts.entry(verdict.kind()).or_default() += 1;
    }
    let line = |kind: &&str| format!("{:>6}  {kind}", counts.get(kind).copied().unwrap_or_default());
    KINDS.iter().map(line).collect::<Vec<_>>().join("\n")
}
