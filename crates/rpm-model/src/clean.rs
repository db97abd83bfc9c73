//! When the build root of a finished build is removed: one policy for every program and every front.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// When the build root of a finished build is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CleanPolicy {
    /// Kept always.
    Never,
    /// Kept when the build failed.
    OnSuccess,
    /// Removed always.
    #[default]
    Always,
}

/// A text that names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `never`, `on-success` or `always`")]
pub struct CleanPolicyError(String);

impl CleanPolicy {
    /// Returns the policy as users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OnSuccess => "on-success",
            Self::Always => "always",
        }
    }

    /// Returns whether the root of a build that ended so is kept.
    pub fn keeps(self, failed: bool) -> bool {
        match self {
            Self::Never => true,
            Self::OnSuccess => failed,
            Self::Always => false,
        }
    }

    /// Returns whether a root may be kept, before it is known how the build ends.
    pub fn may_keep(self) -> bool {
        self.keeps(true)
    }
}

impl fmt::Display for CleanPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CleanPolicy {
    type Err = CleanPolicyError;

    fn from_str(text: &str) -> Result<Self, CleanPolicyError> {
        [Self::Never, Self::OnSuccess, Self::Always]
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| CleanPolicyError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_written_and_decide_what_is_kept() {
        for (policy, after_success, after_failure) in [
            (CleanPolicy::Never, true, true),
            (CleanPolicy::OnSuccess, false, true),
            (CleanPolicy::Always, false, false),
        ] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
            assert_eq!((policy.keeps(false), policy.keeps(true)), (after_success, after_failure));
        }
        assert!("maybe".parse::<CleanPolicy>().is_err());
    }
}
