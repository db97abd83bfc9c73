//! The root causes that the graph knows, and how obstacles become causes.

use std::fmt;

use rpm_model::{BadSpec, Dependency, Requirement};
use serde::{Deserialize, Serialize};

use super::OwnCause;
use crate::DependencyGraph;
use crate::model::{BuildCycle, Unresolvable, UnresolvedReason};
use crate::order::Obstacle;

/// Something that has to be mended before specs can be built.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum Cause {
    /// A spec cannot be read; what needs its packages waits for it.
    UnreadableSpec {
        /// The spec's name.
        spec: String,
        /// The spec file.
        file: String,
        /// Line in it, where rpm names one.
        line: Option<u32>,
        /// rpm's own words.
        message: String,
    },
    /// A spec that yields what is required is not for the architecture.
    OtherArchitecture {
        /// The spec's name.
        spec: String,
        /// The architecture that it is not for.
        arch: String,
    },
    /// Nothing serves a requirement.
    Unresolvable {
        /// The requirement; without its version where nothing has the name at all.
        requirement: Requirement,
        /// Why nothing serves it.
        #[serde(flatten)]
        reason: UnresolvedReason,
        /// Names that look similar.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        near: Vec<String>,
    },
    /// Nothing is known to serve a requirement, but a package that was never built may turn out to.
    OpenUntilBuilt {
        /// The requirement, without its version.
        requirement: Requirement,
    },
    /// A cycle of builds that no older package breaks.
    UnbrokenCycle {
        /// The cycle.
        cycle: BuildCycle,
    },
}

impl Cause {
    /// Returns whether builds may remove it: nothing has to be mended yet.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::OpenUntilBuilt { .. })
    }
}

impl From<&BadSpec> for Cause {
    fn from(bad: &BadSpec) -> Self {
        Self::UnreadableSpec {
            spec: bad.name.clone(),
            file: bad.spec_path.clone(),
            line: bad.line,
            message: bad.message.clone(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnreadableSpec { spec, file, line, message } => {
                let line = line.map(|line| format!(":{line}")).unwrap_or_default();
                write!(f, "the spec of `{spec}` cannot be read: {file}{line}: {message}")
            }
            Self::OtherArchitecture { spec, arch } => write!(f, "`{spec}` is not for {arch}"),
            Self::Unresolvable { requirement, reason, near } => {
                match reason {
                    // The reason names what the requirement names.
                    UnresolvedReason::NothingProvides { name } if requirement.to_string() == *name => {
                        write!(f, "{reason}")?;
                    }
                    _ => write!(f, "`{requirement}`: {reason}")?,
                }
                if near.is_empty() { Ok(()) } else { write!(f, "; similar: {}", near.join(", ")) }
            }
            Self::OpenUntilBuilt { requirement } => write!(
                f,
                "nothing is known to provide `{requirement}`; a package that was never built may turn out to"
            ),
            Self::UnbrokenCycle { cycle } => write!(f, "build cycle that no older package breaks: {cycle}"),
        }
    }
}

impl DependencyGraph {
    /// Returns the cause behind an obstacle of a spec; `None` for an obstacle that is another spec's.
    pub fn own_cause(&self, spec: &str, obstacle: &Obstacle) -> Option<OwnCause<Cause>> {
        let finding = |finding: &Unresolvable, open| OwnCause {
            cause: self.cause_of(finding, open),
            stated_by: finding.required_by.clone(),
            written: Some(finding.requirement.clone()),
            chain: finding.chain.clone(),
        };
        match obstacle {
            Obstacle::Unresolvable(found) => Some(finding(found, false)),
            Obstacle::Open(found) => Some(finding(found, true)),
            Obstacle::Cycle(cycle) => Some(OwnCause {
                cause: Cause::UnbrokenCycle { cycle: cycle.clone() },
                stated_by: spec.to_owned(),
                written: None,
                chain: Vec::new(),
            }),
            Obstacle::Blocked { .. } => None,
        }
    }

    /// Returns the cause that hinders a spec that cannot be read; `None` for any other.
    pub fn unreadable(&self, spec: &str) -> Option<OwnCause<Cause>> {
        let bad = self.bad.get(spec)?;
        Some(OwnCause { cause: bad.into(), stated_by: spec.to_owned(), written: None, chain: Vec::new() })
    }

    /// Returns what has to be mended for a finding.
    pub(super) fn cause_of(&self, finding: &Unresolvable, open: bool) -> Cause {
        let Unresolvable { requirement, reason, near, .. } = finding;
        let requirement = match (requirement, reason) {
            // Whoever asks for any version of it, and whoever asks for some, lack the same.
            (Requirement::Simple(_), UnresolvedReason::NothingProvides { name }) => {
                Dependency::any(name.clone()).into()
            }
            _ => requirement.clone(),
        };
        match reason {
            _ if open => Cause::OpenUntilBuilt { requirement },
            UnresolvedReason::SpecIsBad { spec } if let Some(bad) = self.bad.get(spec) => bad.into(),
            UnresolvedReason::SpecIsForOtherArchitectures { spec } => {
                Cause::OtherArchitecture { spec: spec.clone(), arch: self.arch.clone() }
            }
            _ => Cause::Unresolvable { requirement, reason: reason.clone(), near: near.clone() },
        }
    }
}
