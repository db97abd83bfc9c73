//! Why packages of a plan are blocked or wait: what the graph knows, and what only a run knows.

use std::fmt;

use grapher::{Cause, list_of_names};
use report::counted;
use rpm_model::Requirement;
use serde::{Deserialize, Serialize};

/// A cause that the graph knows, or one that only a run knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PlanCause {
    /// What the graph knows.
    Graph(Cause),
    /// What only a run knows.
    Run(LocalCause),
}

/// A cause that only a run over the tree knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum LocalCause {
    /// A spec could not be packed, for example because its sources are missing.
    NotPacked {
        /// The spec.
        spec: String,
        /// What the packer says.
        message: String,
    },
    /// A build failed in an earlier round of the run; one run tries once.
    FailedBefore {
        /// The spec.
        spec: String,
        /// Its one sentence.
        message: String,
    },
    /// A requirement was open; now all that might have provided it is built.
    NothingProvidedIt {
        /// The requirement.
        requirement: Requirement,
    },
    /// A requirement is open, and no build of this plan will show who provides it.
    NothingWillShow {
        /// The requirement.
        requirement: Requirement,
        /// Never-built specs of the plan that might, but cannot be built, sorted.
        unbuildable: Vec<String>,
        /// How many never-built specs besides are no part of the plan.
        outside: usize,
    },
}

impl PlanCause {
    /// Returns whether builds of the plan may remove it.
    pub fn is_open(&self) -> bool {
        self.awaited().is_some()
    }

    /// Returns the requirement that is waited for.
    pub fn awaited(&self) -> Option<&Requirement> {
        match self {
            Self::Graph(Cause::OpenUntilBuilt { requirement }) => Some(requirement),
            _ => None,
        }
    }
}

impl fmt::Display for PlanCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Graph(cause) => cause.fmt(f),
            Self::Run(cause) => cause.fmt(f),
        }
    }
}

/// More names in one sentence help nobody.
const NAMES: usize = 6;

impl fmt::Display for LocalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPacked { spec, message } => write!(f, "`{spec}` is not packed: {message}"),
            Self::FailedBefore { spec, message } => {
                write!(f, "`{spec}` failed: {}", message.lines().next().unwrap_or_default())
            }
            Self::NothingProvidedIt { requirement } => {
                write!(f, "`{requirement}`: built everything that might provide it; nothing does")
            }
            Self::NothingWillShow { requirement, unbuildable, outside } => {
                write!(f, "nothing is known to provide `{requirement}`")?;
                if !unbuildable.is_empty() {
                    let names = list_of_names(unbuildable, NAMES);
                    write!(f, "; what might, but was never built and cannot be: {names}")?;
                }
                if *outside > 0 {
                    let specs = counted(*outside, "spec");
                    write!(
                        f,
                        "; {specs} outside the goals, never built, might provide it: make them goals too"
                    )?;
                }
                Ok(())
            }
        }
    }
}
