//! How the release of a package rises that is built again for others' sake: one policy for every program.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How releases rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseBump {
    /// By a counter behind `%dist` (`3.azl3` becomes `3.azl3.2`), where the package does not come out the same.
    #[default]
    Dist,
    /// By an edit of the spec's `Release:`.
    Spec,
    /// Not at all: a package that does not come out the same replaces the published one.
    None,
}

/// A text that names no way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `dist`, `spec` or `none`")]
pub struct ReleaseBumpError(String);

impl ReleaseBump {
    /// All ways, the default first.
    pub const ALL: [Self; 3] = [Self::Dist, Self::Spec, Self::None];

    /// Returns the way as users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dist => "dist",
            Self::Spec => "spec",
            Self::None => "none",
        }
    }
}

impl fmt::Display for ReleaseBump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ReleaseBump {
    type Err = ReleaseBumpError;

    fn from_str(text: &str) -> Result<Self, ReleaseBumpError> {
        let named = Self::ALL.into_iter().find(|way| way.as_str() == text);
        named.ok_or_else(|| ReleaseBumpError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_read_as_they_are_written() {
        for way in ReleaseBump::ALL {
            assert_eq!(way.to_string().parse(), Ok(way));
            assert_eq!(serde_json::to_value(way).unwrap(), way.as_str());
        }
        assert_eq!("".parse::<ReleaseBump>().unwrap_err().to_string(), "`` is not `dist`, `spec` or `none`");
    }
}
