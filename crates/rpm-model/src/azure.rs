//! `specs.json` in the shape of the Azure Linux toolkit, so that tools written for it read ours.
//!
//! One entry per *provide* of each binary package, names and conditions as texts, at most two bounds per
//! name. It says less than [`crate::PackagesDocument`]; nothing in Millwright decides with it.

use serde::{Deserialize, Serialize};

/// `specs.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AzureSpecs {
    /// All entries, sorted by provided name, then version.
    #[serde(rename = "Repo")]
    pub repo: Vec<AzurePackage>,
    /// The specs that could not be read, which Azure's tools do not know and pass over.
    #[serde(rename = "Bad", default)]
    pub bad: Vec<AzureBadSpec>,
}

/// A spec that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AzureBadSpec {
    /// The spec.
    pub spec_path: String,
    /// Line in the spec, where rpm names one.
    pub line: Option<u32>,
    /// rpm's own words.
    pub message: String,
}

/// A comparison as Azure writes it: empty, `=`, `<`, `<=`, `>` or `>=`.
pub type AzureCondition = String;

/// A name with up to two version bounds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AzurePackageVersion {
    /// The name.
    pub name: String,
    /// The first bound's version, or empty.
    pub version: String,
    /// The first bound's comparison.
    pub condition: AzureCondition,
    /// The second bound's version, or empty.
    #[serde(rename = "SVersion")]
    pub second_version: String,
    /// The second bound's comparison.
    #[serde(rename = "SCondition")]
    pub second_condition: AzureCondition,
}

/// One provide of one binary package of one spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AzurePackage {
    /// What is provided.
    pub provides: AzurePackageVersion,
    /// Where the SRPM is or will be.
    pub srpm_path: String,
    /// Where the RPM is or will be.
    pub rpm_path: String,
    /// The spec's directory.
    pub source_dir: String,
    /// The spec.
    pub spec_path: String,
    /// The package's architecture.
    pub architecture: String,
    /// Run-time requirements; `null` where there are none, as Go writes it.
    pub requires: Option<Vec<AzurePackageVersion>>,
    /// Build requirements.
    pub build_requires: Option<Vec<AzurePackageVersion>>,
    /// Requirements of a build with `%check`.
    pub test_requires: Option<Vec<AzurePackageVersion>>,
    /// Never set by Azure's own reader.
    pub is_toolchain: bool,
    /// Whether tests were asked for and there is a `%check`.
    pub run_tests: bool,
}
