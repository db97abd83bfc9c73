//! How many layers of dependants a rebuild brings along.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of layers, or all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum CascadeLayers {
    /// All that a change makes due.
    #[default]
    All,
    /// So many: 0 none, 1 direct dependants alone.
    AtMost(u32),
}

/// A limit as a configuration writes it: a number or `"all"`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u32),
    Word(String),
}

/// A text that is no number of layers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of layers: expected 0, 1, 2, ... or `all`")]
pub struct CascadeLayersError(String);

impl CascadeLayers {
    /// Returns the number, `None` for all.
    pub fn most(self) -> Option<u32> {
        match self {
            Self::All => None,
            Self::AtMost(number) => Some(number),
        }
    }
}

impl FromStr for CascadeLayers {
    type Err = CascadeLayersError;

    /// Reads a number or `all`; nothing at all means all, as in the Azure Linux toolkit.
    fn from_str(text: &str) -> Result<Self, CascadeLayersError> {
        match text.trim() {
            "" | "all" => Ok(Self::All),
            number => number.parse().map(Self::AtMost).map_err(|_| CascadeLayersError(text.to_owned())),
        }
    }
}

impl From<CascadeLayers> for Written {
    fn from(layers: CascadeLayers) -> Self {
        layers.most().map_or_else(|| Self::Word("all".to_owned()), Self::Number)
    }
}

impl TryFrom<Written> for CascadeLayers {
    type Error = CascadeLayersError;

    fn try_from(written: Written) -> Result<Self, CascadeLayersError> {
        match written {
            Written::Number(number) => Ok(Self::AtMost(number)),
            Written::Word(text) => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_all() {
        let check = |text: &str, expected: Option<Option<u32>>| {
            assert_eq!(text.parse::<CascadeLayers>().ok().map(CascadeLayers::most), expected, "{text}");
        };
        check("0", Some(Some(0)));
        check("12", Some(Some(12)));
        check("all", Some(None));
        check("", Some(None));
        check("-1", None);
        check("many", None);
        for layers in [CascadeLayers::All, CascadeLayers::AtMost(2)] {
            let text = serde_json::to_string(&layers).unwrap();
            assert_eq!(serde_json::from_str::<CascadeLayers>(&text).unwrap(), layers, "{text}");
        }
    }
}
