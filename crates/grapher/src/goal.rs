//! What the user asks for, turned into specs.

use std::collections::BTreeSet;
use std::fmt;

use crate::DependencyGraph;
use crate::near::Names;

/// What the user asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoalRequest {
    /// Names of specs or of their packages; none means every spec.
    pub names: Vec<String>,
    /// How many layers of dependants are wanted besides: 1 means all specs that need a goal to be built.
    pub extra_layers: usize,
}

/// Why a name is no goal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum GoalError {
    /// The tree has no such spec or package.
    #[error("no spec or package is called `{name}`{}", did_you_mean(near))]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names that look similar.
        near: Vec<String>,
    },
    /// The spec exists, but cannot be read.
    #[error("`{name}` cannot be built: its spec cannot be read")]
    BadSpec {
        /// The spec.
        name: String,
    },
    /// The spec exists, but is not for the architecture.
    #[error("`{name}` cannot be built: it is not for {arch}")]
    NotForArchitecture {
        /// The spec.
        name: String,
        /// The architecture.
        arch: String,
    },
}

/// Returns what is said behind the message that a name means nothing: similar names, if there are any.
pub fn did_you_mean(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

/// Every name that is no goal, sorted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct GoalErrors(pub Vec<GoalError>);

impl fmt::Display for GoalErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("\n"))
    }
}

impl DependencyGraph {
    /// Returns the specs that a request means.
    ///
    /// # Errors
    ///
    /// Returns every name that means nothing, with similar names.
    pub fn select(&self, request: &GoalRequest) -> Result<BTreeSet<String>, GoalErrors> {
        let mut goals = BTreeSet::new();
        let mut errors = BTreeSet::new();
        if request.names.is_empty() {
            goals.extend(self.specs().map(str::to_owned));
        }
        for name in &request.names {
            match self.goal(name) {
                Ok(spec) => {
                    goals.insert(spec);
                }
                Err(error) => {
                    errors.insert(error);
                }
            }
        }
        if !errors.is_empty() {
            return Err(GoalErrors(errors.into_iter().collect()));
        }
        let mut layer = goals.clone();
        for _ in 0..request.extra_layers {
            layer = layer.iter().flat_map(|spec| self.needed_by(spec)).map(str::to_owned).collect();
            goals.extend(layer.iter().cloned());
        }
        Ok(goals)
    }

    pub(crate) fn goal(&self, name: &str) -> Result<String, GoalError> {
        let name = name.to_owned();
        if self.needs.place(&name).is_some() {
            return Ok(name);
        }
        if self.bad.contains_key(&name) {
            return Err(GoalError::BadSpec { name });
        }
        if self.excluded.contains(&name) {
            return Err(GoalError::NotForArchitecture { name, arch: self.arch.clone() });
        }
        if let Some(spec) = self.package_specs.get(&name) {
            return Ok(spec.clone());
        }
        let others = self.package_specs.keys().chain(self.bad.keys()).chain(&self.excluded);
        let near = Names::new(self.specs().chain(others.map(String::as_str))).near(&name);
        Err(GoalError::Unknown { name, near })
    }
}
