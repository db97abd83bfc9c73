//! What builds see of a place on earth, and what a verification has them see instead. No host is asked here.

use serde::{Deserialize, Serialize};

/// What a build sees of a place on earth. Nothing of it should show in a package.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Surroundings {
    /// What every build sees.
    #[default]
    Usual,
    /// Another time zone and another locale, such as every build root has.
    Others,
}

impl Surroundings {
    /// Whether they are what every build sees.
    pub fn is_usual(&self) -> bool {
        *self == Self::Usual
    }

    /// Returns `TZ`; the other one, 14 hours east of Greenwich, needs no file of the root.
    pub fn time_zone(self) -> &'static str {
        match self {
            Self::Usual => "UTC",
            Self::Others => "MWT-14",
        }
    }

    /// Returns `LC_ALL`. Both are in every C library; in the other one text is ASCII.
    pub fn locale(self) -> &'static str {
        match self {
            Self::Usual => "C.UTF-8",
            Self::Others => "C",
        }
    }
}
