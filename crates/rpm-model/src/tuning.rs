//! Whether native programs stand for rpmbuild's helper scripts in a build, and why not where they do not.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is to stand for rpmbuild's helper scripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TuningMode {
    /// Nothing: the scripts run.
    Off,
    /// Native programs that leave the same files, byte for byte.
    #[default]
    On,
    /// Both run, and a difference ends the build.
    Compare,
}

/// What stood for rpmbuild's helper scripts in a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TuningReport {
    /// What was asked for.
    pub mode: TuningMode,
    /// The scripts that were stood for, as absolute paths, sorted. Where a build holds something unusual, the
    /// stand-in itself runs the script, and says so in the build's log.
    pub stand_ins: Vec<String>,
    /// The scripts that ran themselves, sorted by path.
    pub scripts: Vec<UntunedScript>,
}

/// A script that ran itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntunedScript {
    /// Its absolute path.
    pub path: String,
    /// Why.
    pub reason: UntunedReason,
}

/// Why nothing stood for a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum UntunedReason {
    /// It was not asked for.
    TurnedOff,
    /// The stand-in is not installed beside the worker.
    NotInstalled,
    /// The build root has no such script.
    NoScript,
    /// The build root's script is not one that the stand-in is known to equal.
    UnknownScript {
        /// SHA-256 of its content.
        sha256: String,
    },
    /// The build root's C library is not one that the stand-in runs with.
    CLibrary {
        /// The version that the stand-in needs.
        needed: String,
    },
    /// The build is for another architecture than the worker's own.
    ForeignArchitecture,
}

impl fmt::Display for UntunedReason {
    /// Writes the reason in a few words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TurnedOff => f.write_str("tuning is turned off"),
            Self::NotInstalled => f.write_str("`rpmbuild-helpers` is not installed beside the worker"),
            Self::NoScript => f.write_str("the build root has no such script"),
            Self::UnknownScript { sha256 } => {
                write!(f, "the script's content is not known (sha256 {sha256})")
            }
            Self::CLibrary { needed } => write!(f, "the build root's C library lacks {needed}"),
            Self::ForeignArchitecture => f.write_str("the build is for another architecture"),
        }
    }
}
