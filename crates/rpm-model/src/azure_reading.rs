//! `specs.json` read back into a [`PackagesDocument`], be it ours or one that Azure's own reader wrote.
//!
//! What it is: as much of the tree as that file tells, enough for a graph. What it is not: the whole of it.
//! Unknown are, and left empty: sources, files, conflicts, obsoletes, weak requirements, what a requirement is
//! declared for, boolean expressions (only their plain operands are there), a third bound on one name, specs for
//! other architectures, specs without packages, whether build requirements are generated; and, where the file was
//! made without tests, what `%check` requires.

use std::collections::BTreeMap;
use std::path::Path;

use crate::azure::{AzureBadSpec, AzurePackage, AzurePackageVersion, AzureSpecs};
use crate::dependency::{Comparison, Dependency, Requirement};
use crate::evr::Evr;
use crate::hash::ContentDigest;
use crate::nevra::Nevra;
use crate::package::{BadSpec, PackagesDocument, SpecData, SpecPackage};

/// A `specs.json` as far as it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureReading {
    /// The tree.
    pub document: PackagesDocument,
    /// Whether the file tells what tests require.
    pub knows_tests: bool,
    /// Bounds that are no versions, and so are left out: `name: condition version`, sorted.
    pub unread_bounds: Vec<String>,
}

/// Why a `specs.json` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AzureReadingError {
    /// A path does not end in the conventional name of a package's file.
    #[error("`{path}`, for `{provide}`: expected a file called name-version-release.architecture.rpm")]
    PackagePath {
        /// The path.
        path: String,
        /// The provide whose entry it is.
        provide: String,
    },
    /// A spec's path has no file name.
    #[error("`{path}`, for `{provide}`: expected the path of a spec")]
    SpecPath {
        /// The path.
        path: String,
        /// The provide whose entry it is.
        provide: String,
    },
}

impl AzureReading {
    /// Returns what whoever works with the document should know.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "read as Azure's specs.json, which does not say: files, sources, conflicts, obsoletes, weak requirements, \
             boolean expressions (their operands are all taken as required), specs for other architectures"
                .to_owned(),
        ];
        if !self.knows_tests {
            notes.push("made without tests, so what only %check requires is unknown".to_owned());
        }
        if let Some(first) = self.unread_bounds.first() {
            let count = self.unread_bounds.len();
            notes.push(format!("{count} bounds are no versions and are left out, the first: {first}"));
        }
        notes
    }
}

impl AzureSpecs {
    /// Returns what the file says of the tree.
    ///
    /// # Errors
    ///
    /// Fails where a path does not tell which package or spec an entry is about.
    pub fn to_packages(&self) -> Result<AzureReading, AzureReadingError> {
        let mut specs: BTreeMap<&str, Vec<&AzurePackage>> = BTreeMap::new();
        for entry in &self.repo {
            specs.entry(&entry.spec_path).or_default().push(entry);
        }
        let mut bounds = Bounds::default();
        let mut read: Vec<SpecData> =
            specs.into_values().map(|entries| spec(&entries, &mut bounds)).collect::<Result<_, _>>()?;
        read.sort_by(|a, b| (&a.name, &a.spec_path).cmp(&(&b.name, &b.spec_path)));
        let mut bad: Vec<BadSpec> = self.bad.iter().map(bad_spec).collect();
        bad.sort_by(|a, b| (&a.name, &a.spec_path).cmp(&(&b.name, &b.spec_path)));
        bounds.unread.sort();
        bounds.unread.dedup();
        let document = PackagesDocument {
            schema: PackagesDocument::SCHEMA,
            arch: self.arch(),
            // Under which macros the specs were read is not told.
            macros: ContentDigest::of_bytes(b""),
            specs: read,
            bad,
        };
        let knows_tests = self.repo.iter().any(|entry| entry.run_tests);
        Ok(AzureReading { document, knows_tests, unread_bounds: bounds.unread })
    }

    /// Returns the architecture that most packages with one have.
    fn arch(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in self.repo.iter().filter(|entry| entry.architecture != "noarch") {
            *counts.entry(&entry.architecture).or_default() += 1;
        }
        let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
        most.map_or("noarch", |(arch, _)| arch).to_owned()
    }
}

/// Reads a spec from the entries of its packages' provides; there is at least one.
fn spec(entries: &[&AzurePackage], bounds: &mut Bounds) -> Result<SpecData, AzureReadingError> {
    let mut packages: BTreeMap<&str, Vec<&AzurePackage>> = BTreeMap::new();
    for entry in entries {
        packages.entry(&entry.rpm_path).or_default().push(entry);
    }
    let mut read: Vec<SpecPackage> =
        packages.into_values().map(|entries| package(&entries, bounds)).collect::<Result<_, _>>()?;
    read.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    let first = entries[0];
    let name = spec_name(&first.spec_path).ok_or_else(|| AzureReadingError::SpecPath {
        path: first.spec_path.clone(),
        provide: first.provides.name.clone(),
    })?;
    let mut source = nevra(&first.srpm_path, first)?;
    // File names have no epoch; that of a package with the same version is the spec's.
    let same = |package: &&SpecPackage| package.nevra.evr.without_epoch() == source.evr.without_epoch();
    if let Some(package) = read.iter().find(same) {
        source.evr.epoch = package.nevra.evr.epoch;
    }
    let mut data = SpecData::new(name, first.spec_path.clone(), source);
    data.build_requires = bounds.requirements(first.build_requires.as_ref());
    data.check_requires = if first.run_tests {
        bounds.requirements(first.test_requires.as_ref())
    } else {
        data.build_requires.clone()
    };
    data.has_check = first.run_tests;
    data.packages = read;
    Ok(data)
}

/// Reads a package from the entries of its provides; there is at least one.
fn package(entries: &[&AzurePackage], bounds: &mut Bounds) -> Result<SpecPackage, AzureReadingError> {
    let first = entries[0];
    let mut nevra = nevra(&first.rpm_path, first)?;
    let provides: Vec<Dependency> =
        entries.iter().flat_map(|entry| bounds.dependencies(&entry.provides)).collect();
    // File names have no epoch, but every package provides itself, with it.
    let own = provides.iter().filter(|provide| provide.name == nevra.name);
    let mut evrs = own.filter_map(|provide| provide.constraint.as_ref()).map(|constraint| &constraint.evr);
    if let Some(evr) = evrs.find(|evr| evr.without_epoch() == nevra.evr.without_epoch()) {
        nevra.evr.epoch = evr.epoch;
    }
    let requires = bounds.requirements(first.requires.as_ref());
    Ok(SpecPackage { provides, requires, ..SpecPackage::new(nevra) })
}

fn spec_name(path: &str) -> Option<&str> {
    Path::new(path).file_name()?.to_str()?.strip_suffix(".spec").filter(|name| !name.is_empty())
}

fn nevra(path: &str, entry: &AzurePackage) -> Result<Nevra, AzureReadingError> {
    let file = Path::new(path).file_name().and_then(|file| file.to_str());
    file.and_then(|file| file.strip_suffix(".rpm")?.parse().ok()).ok_or_else(|| {
        AzureReadingError::PackagePath { path: path.to_owned(), provide: entry.provides.name.clone() }
    })
}

fn bad_spec(bad: &AzureBadSpec) -> BadSpec {
    BadSpec {
        name: spec_name(&bad.spec_path).unwrap_or(&bad.spec_path).to_owned(),
        spec_path: bad.spec_path.clone(),
        line: bad.line,
        message: bad.message.clone(),
    }
}

/// Reads names with bounds, and remembers what is no version.
#[derive(Default)]
struct Bounds {
    unread: Vec<String>,
}

impl Bounds {
    fn requirements(&mut self, list: Option<&Vec<AzurePackageVersion>>) -> Vec<Requirement> {
        let all = list.into_iter().flatten().flat_map(|entry| self.dependencies(entry));
        all.map(Requirement::Simple).collect()
    }

    /// Returns one dependency for each bound; at least one.
    fn dependencies(&mut self, entry: &AzurePackageVersion) -> Vec<Dependency> {
        let AzurePackageVersion { name, version, condition, second_version, second_condition } = entry;
        let bounds = [(condition, version), (second_condition, second_version)];
        let mut found = Vec::new();
        for (condition, version) in bounds.into_iter().filter(|(_, version)| !version.is_empty()) {
            // A version without condition is what a provide has.
            let comparison = match condition.as_str() {
                "" => Some(Comparison::Equal),
                text => Comparison::from_operator(text),
            };
            match (comparison, version.parse::<Evr>()) {
                (Some(comparison), Ok(evr)) => found.push(Dependency::versioned(name, comparison, evr)),
                _ => self.unread.push(format!("{name}: {condition} {version}")),
            }
        }
        if found.is_empty() {
            found.push(Dependency::any(name));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Azure's own reader writes it: no `Bad`, one entry per provide, the lists repeated.
    const AZURE: &str = r#"{"Repo": [
      {"Provides": {"Name": "zlib", "Version": "1:1.3-2.azl3", "Condition": "=", "SVersion": "", "SCondition": ""},
       "SrpmPath": "/srpms/zlib-1.3-2.azl3.src.rpm", "RpmPath": "/rpms/x86_64/zlib-1.3-2.azl3.x86_64.rpm",
       "SourceDir": "/specs/zlib", "SpecPath": "/specs/zlib-1.3-2.azl3/zlib.spec", "Architecture": "x86_64",
       "Requires": null,
       "BuildRequires": [{"Name": "gcc", "Version": "10", "Condition": ">=", "SVersion": "15", "SCondition": "<"},
                         {"Name": "odd", "Version": "not:a:version", "Condition": "=", "SVersion": "", "SCondition": ""}],
       "TestRequires": null, "IsToolchain": false, "RunTests": false},
      {"Provides": {"Name": "zlib-devel", "Version": "1:1.3-2.azl3", "Condition": "=", "SVersion": "", "SCondition": ""},
       "SrpmPath": "/srpms/zlib-1.3-2.azl3.src.rpm", "RpmPath": "/rpms/x86_64/zlib-devel-1.3-2.azl3.x86_64.rpm",
       "SourceDir": "/specs/zlib", "SpecPath": "/specs/zlib-1.3-2.azl3/zlib.spec", "Architecture": "x86_64",
       "Requires": [{"Name": "zlib", "Version": "1:1.3-2.azl3", "Condition": "=", "SVersion": "", "SCondition": ""}],
       "BuildRequires": null, "TestRequires": null, "IsToolchain": false, "RunTests": false}]}"#;

    fn read(text: &str) -> Result<AzureReading, AzureReadingError> {
        serde_json::from_str::<AzureSpecs>(text).unwrap().to_packages()
    }

    #[test]
    fn one_spec_comes_of_the_entries_of_its_provides() {
        let reading = read(AZURE).unwrap();
        let [spec] = reading.document.specs.as_slice() else { panic!("{:?}", reading.document) };
        assert_eq!((spec.name.as_str(), spec.source.to_string().as_str()), ("zlib", "zlib-1:1.3-2.azl3.src"));
        let requires: Vec<String> = spec.build_requires.iter().map(ToString::to_string).collect();
        assert_eq!(requires, ["gcc >= 10", "gcc < 15", "odd"]);
        let packages: Vec<String> = spec.packages.iter().map(|package| package.nevra.to_string()).collect();
        assert_eq!(packages, ["zlib-1:1.3-2.azl3.x86_64", "zlib-devel-1:1.3-2.azl3.x86_64"]);
        assert_eq!(spec.packages[1].requires[0].to_string(), "zlib = 1:1.3-2.azl3");
        assert_eq!(reading.document.arch, "x86_64");
        assert_eq!(reading.unread_bounds, ["odd: = not:a:version"]);
        assert_eq!(reading.notes().len(), 3);
    }

    #[test]
    fn an_entry_that_names_no_package_is_refused() {
        let error = read(&AZURE.replace("/rpms/x86_64/zlib-1.3-2.azl3.x86_64.rpm", "<NO_RPM_PATH>"));
        assert_eq!(
            error.unwrap_err().to_string(),
            "`<NO_RPM_PATH>`, for `zlib`: expected a file called name-version-release.architecture.rpm"
        );
        let error = read(&AZURE.replace("zlib.spec", "zlib")).unwrap_err();
        assert!(matches!(error, AzureReadingError::SpecPath { .. }));
    }

    #[test]
    fn an_empty_tree_is_a_tree() {
        let reading = read("{\"Repo\": []}").unwrap();
        assert_eq!((reading.document.arch.as_str(), reading.document.specs.len()), ("noarch", 0));
    }
}
