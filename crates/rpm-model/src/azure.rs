//! `specs.json` and lists of packages in the shape of the Azure Linux toolkit, so that tools written for it
//! read ours.
//!
//! In `specs.json` there is one entry per *provide* of each binary package, names and conditions as texts, at most two bounds per
//! name. It says less than [`crate::PackagesDocument`]; nothing in Millwright decides with it.

use serde::{Deserialize, Deserializer, Serialize};

use crate::nevra::Nevra;

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

/// A list of packages: `graph_external_deps.json`, `rpms_snapshot.json`, `PACKAGE_CACHE_SUMMARY`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AzureSummary {
    /// The packages.
    #[serde(rename = "Repo", deserialize_with = "null_is_empty")]
    pub repo: Vec<AzureSummaryPackage>,
}

/// One package of a list. Together the values are its file's name,
/// `<Name>-<Version>.<Distribution>.<Architecture>.rpm`; there is no epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AzureSummaryPackage {
    /// The name.
    pub name: String,
    /// Version and release without the distribution's mark, for example `1.2.13-2`.
    pub version: String,
    /// The architecture.
    pub architecture: String,
    /// The end of the release, for example `azl3`; empty where the release has no such end.
    pub distribution: String,
}

impl AzureSummary {
    /// Returns the list of these packages, sorted, each once.
    pub fn of<'a>(packages: impl IntoIterator<Item = &'a Nevra>) -> Self {
        let mut repo: Vec<AzureSummaryPackage> = packages.into_iter().map(AzureSummaryPackage::of).collect();
        repo.sort();
        repo.dedup();
        Self { repo }
    }
}

impl AzureSummaryPackage {
    /// Returns the entry of a package.
    ///
    /// As in the toolkit the distribution is the last part of the release, if it is letters with digits
    /// behind them; the toolkit leaves out packages without one, here it is empty.
    pub fn of(nevra: &Nevra) -> Self {
        let evr = nevra.evr.without_epoch().to_string();
        let is_mark = |part: &str| {
            let digits = part.trim_start_matches(|character: char| character.is_ascii_alphabetic());
            digits.len() < part.len()
                && !digits.is_empty()
                && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        let release_at = evr.rfind('-').unwrap_or(0);
        let (version, distribution) = match evr.rsplit_once('.') {
            Some((version, mark)) if version.len() > release_at && is_mark(mark) => (version, mark),
            _ => (evr.as_str(), ""),
        };
        Self {
            name: nevra.name.clone(),
            version: version.to_owned(),
            architecture: nevra.arch.clone(),
            distribution: distribution.to_owned(),
        }
    }

    /// Returns `name-version-release.arch`, as [`Nevra::nvra`] does.
    pub fn nvra(&self) -> String {
        let dot = if self.distribution.is_empty() { "" } else { "." };
        format!("{}-{}{dot}{}.{}", self.name, self.version, self.distribution, self.architecture)
    }
}

impl std::fmt::Display for AzureSummaryPackage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.nvra())
    }
}

/// Go writes an empty list as `null`.
fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AzureSummaryPackage>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_the_files_name_in_parts() {
        for (nevra, version, distribution) in [
            ("zlib-1.2.13-2.azl3.x86_64", "1.2.13-2", "azl3"),
            ("zlib-1:1.2.13-2.azl3.x86_64", "1.2.13-2", "azl3"),
            ("a-b-1.0~rc1-0.3.git5.mw1.noarch", "1.0~rc1-0.3.git5", "mw1"),
            ("a-1.0-4.noarch", "1.0-4", ""),
            ("a-1.fc40-4.noarch", "1.fc40-4", ""),
            ("a-1-4.azl.noarch", "1-4.azl", ""),
            ("a-1-4.5.noarch", "1-4.5", ""),
        ] {
            let nevra: Nevra = nevra.parse().unwrap();
            let entry = AzureSummaryPackage::of(&nevra);
            assert_eq!((entry.version.as_str(), entry.distribution.as_str()), (version, distribution));
            assert_eq!(entry.nvra(), nevra.nvra());
        }
    }

    #[test]
    fn a_list_is_read_and_written_as_go_does() {
        let text = "{\"Repo\":[{\"Name\":\"zlib\",\"Version\":\"1.2.13-2\",\"Architecture\":\"x86_64\",\"Distribution\":\"azl3\"}]}";
        let summary: AzureSummary = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&summary).unwrap(), text);
        assert_eq!(AzureSummary::of([&"zlib-1.2.13-2.azl3.x86_64".parse().unwrap()]), summary);
        assert_eq!(serde_json::from_str::<AzureSummary>("{\"Repo\":null}").unwrap().repo, []);
        assert!(serde_json::from_str::<AzureSummary>("{}").is_err());
    }
}
