//! The documents that tools read: our `packages.json` and Azure's `specs.json`.
//!
//! `specs.json` can say less than a spec does; what is lost, and how:
//! - One entry per provide of each binary package; conflicts, obsoletes and weak requirements have no place.
//! - A name has at most two bounds. Bounds of several requirements on one name are merged in the order of
//!   their text; a third different one is left out, which makes the requirement weaker, never wrong.
//! - Boolean requirements become plain ones as Azure's own reader makes them: every operand of `and`, `or`
//!   and `with`; the first operand of `if`, `unless` and `without`. Unlike there, operands keep their
//!   parentheses (`pkgconfig(x)`), and nested expressions are taken apart instead of refused.
//! - Specs that are not for the architecture are left out, as there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rpm_model::{
    AzurePackage, AzurePackageVersion, AzureSpecs, BadSpec, ContentDigest, Dependency, PackagesDocument,
    Requirement, RichDependency, SpecData, SpecPackage,
};
use serde::Serialize;

use crate::failure::SpecFailure;
use crate::write;

/// Where the packages of `specs.json` lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureLayout {
    /// Directory of the SRPMs.
    pub srpm_dir: PathBuf,
    /// Directory of the RPMs, with a subdirectory per architecture.
    pub rpm_dir: PathBuf,
    /// Directory of the toolchain's RPMs, with a subdirectory per architecture.
    pub toolchain_rpms_dir: PathBuf,
    /// File names of RPMs that belong to the toolchain.
    pub toolchain_manifest: BTreeSet<String>,
    /// Whether tests will run.
    pub run_check: bool,
}

/// Returns `packages.json` of what was read; order of the input does not matter.
pub fn packages_document(
    arch: &str,
    macros: ContentDigest,
    results: Vec<Result<SpecData, SpecFailure>>,
) -> PackagesDocument {
    let mut specs = Vec::new();
    let mut bad: Vec<BadSpec> = Vec::new();
    for result in results {
        match result {
            Ok(data) => specs.push(data),
            Err(failure) => bad.push(failure.into()),
        }
    }
    specs.sort_by(|a, b| (&a.name, &a.spec_path).cmp(&(&b.name, &b.spec_path)));
    bad.sort_by(|a, b| (&a.name, &a.spec_path).cmp(&(&b.name, &b.spec_path)));
    PackagesDocument { schema: PackagesDocument::SCHEMA, arch: arch.to_owned(), macros, specs, bad }
}

/// Returns `specs.json` of a `packages.json`.
pub fn azure_specs(document: &PackagesDocument, layout: &AzureLayout) -> AzureSpecs {
    let built = document.specs.iter().filter(|spec| spec.builds_on(&document.arch));
    let mut repo: Vec<AzurePackage> = built
        .flat_map(|spec| spec.packages.iter().map(move |package| (spec, package)))
        .flat_map(|(spec, package)| entries(spec, package, layout))
        .collect();
    repo.sort_by(|a, b| (&a.provides, &a.rpm_path).cmp(&(&b.provides, &b.rpm_path)));
    AzureSpecs { repo }
}

/// Writes a document as indented JSON unless the file has this content already; returns whether it wrote.
///
/// # Errors
///
/// Returns the system's error.
pub fn write_document(path: &Path, document: &impl Serialize) -> io::Result<bool> {
    let mut bytes = serde_json::to_vec_pretty(document)?;
    bytes.push(b'\n');
    write::if_changed(path, &bytes)
}

fn entries(spec: &SpecData, package: &SpecPackage, layout: &AzureLayout) -> Vec<AzurePackage> {
    let text = |path: PathBuf| path.display().to_string();
    let spec_dir = Path::new(&spec.spec_path).parent().unwrap_or(Path::new(""));
    let file = package.nevra.file_name();
    let in_toolchain = layout.toolchain_manifest.contains(&file);
    let rpm_dir = if in_toolchain { &layout.toolchain_rpms_dir } else { &layout.rpm_dir };
    let run_tests = layout.run_check && spec.has_check;
    let tests = if run_tests { spec.check_requires.as_slice() } else { &[] };
    let entry = |provide: &Dependency| AzurePackage {
        provides: bounds(std::iter::once(provide)).remove(0),
        srpm_path: text(layout.srpm_dir.join(spec.source.file_name())),
        rpm_path: text(rpm_dir.join(&package.nevra.arch).join(&file)),
        source_dir: text(spec_dir.to_owned()),
        spec_path: spec.spec_path.clone(),
        architecture: package.nevra.arch.clone(),
        requires: flattened(&package.requires),
        build_requires: flattened(&spec.build_requires),
        test_requires: flattened(tests),
        is_toolchain: false,
        run_tests,
    };
    package.provides.iter().map(entry).collect()
}

fn flattened(requirements: &[Requirement]) -> Option<Vec<AzurePackageVersion>> {
    let mut leaves = Vec::new();
    requirements.iter().for_each(|requirement| collect(requirement, &mut leaves));
    let list = bounds(leaves);
    (!list.is_empty()).then_some(list)
}

/// Collects the plain requirements that stand for one in `specs.json`.
fn collect<'a>(requirement: &'a Requirement, leaves: &mut Vec<&'a Dependency>) {
    match requirement {
        Requirement::Simple(dependency) => leaves.push(dependency),
        Requirement::Rich(rich) => match rich.as_ref() {
            RichDependency::And(list) | RichDependency::Or(list) | RichDependency::With(list) => {
                list.iter().for_each(|operand| collect(operand, leaves));
            }
            RichDependency::If(first, ..)
            | RichDependency::Unless(first, ..)
            | RichDependency::Without(first, _) => collect(first, leaves),
        },
    }
}

/// Merges dependencies into one entry per name, sorted by name.
fn bounds<'a>(dependencies: impl IntoIterator<Item = &'a Dependency>) -> Vec<AzurePackageVersion> {
    let mut by_name: BTreeMap<&str, BTreeSet<(String, &str)>> = BTreeMap::new();
    for dependency in dependencies {
        let bounds = by_name.entry(&dependency.name).or_default();
        if let Some(constraint) = &dependency.constraint {
            bounds.insert((constraint.evr.to_string(), constraint.comparison.as_str()));
        }
    }
    let entry = |(name, bounds): (&str, BTreeSet<(String, &str)>)| {
        let mut bounds = bounds.into_iter();
        let (version, condition) = bounds.next().unwrap_or_default();
        let (second_version, second_condition) = bounds.next().unwrap_or_default();
        AzurePackageVersion {
            name: name.to_owned(),
            version,
            condition: condition.to_owned(),
            second_version,
            second_condition: second_condition.to_owned(),
        }
    };
    by_name.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(requirements: &[&str], expected: &[&str]) {
        let requirements: Vec<Requirement> = requirements.iter().map(|text| text.parse().unwrap()).collect();
        let written: Vec<String> = flattened(&requirements)
            .unwrap_or_default()
            .iter()
            .map(|entry| {
                let first = format!("{} {} {}", entry.name, entry.condition, entry.version);
                format!("{first} {} {}", entry.second_condition, entry.second_version).trim_end().to_owned()
            })
            .collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn requirements_are_said_as_well_as_the_shape_allows() {
        check(&[], &[]);
        check(&["b", "a >= 1", "a < 2"], &["a >= 1 < 2", "b"]);
        check(&["a >= 1", "a < 2", "a >= 1", "a < 3"], &["a >= 1 < 2"]);
        check(&["(pkgconfig(x) >= 1 or y)"], &["pkgconfig(x) >= 1", "y"]);
        check(&["((a and b) with c)", "(d if e else f)", "(g without h)"], &["a", "b", "c", "d", "g"]);
    }

    fn spec(name: &str, exclusive_arch: &str) -> SpecData {
        let text = format!(
            r#"{{"name": "{name}", "spec_path": "specs/{name}/{name}.spec", "source": "{name}-1-2.src",
            "build_requires": ["make"], "check_requires": ["dejagnu", "make"], "exclusive_arch": [{exclusive_arch}],
            "sources": [], "has_check": true, "generates_build_requires": false,
            "packages": [{{"nevra": "{name}-1:1-2.x86_64", "provides": ["{name} = 1:1-2", "virtual"], "requires": []}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn one_entry_per_provide_in_azures_shape() {
        let macros = ContentDigest::of_bytes(b"");
        let results = vec![Ok(spec("zlib", "")), Ok(spec("arm", "\"aarch64\"")), Ok(spec("abc", ""))];
        let document = packages_document("x86_64", macros, results);
        let layout = AzureLayout {
            srpm_dir: "srpms".into(),
            rpm_dir: "rpms".into(),
            toolchain_rpms_dir: "toolchain".into(),
            toolchain_manifest: BTreeSet::from(["abc-1-2.x86_64.rpm".to_owned()]),
            run_check: true,
        };
        let specs = azure_specs(&document, &layout);
        let written: Vec<String> =
            specs.repo.iter().map(|entry| format!("{} {}", entry.provides.name, entry.rpm_path)).collect();
        assert_eq!(
            written,
            [
                "abc toolchain/x86_64/abc-1-2.x86_64.rpm",
                "virtual rpms/x86_64/zlib-1-2.x86_64.rpm",
                "virtual toolchain/x86_64/abc-1-2.x86_64.rpm",
                "zlib rpms/x86_64/zlib-1-2.x86_64.rpm",
            ]
        );
        let json = serde_json::to_value(&specs.repo[3]).unwrap();
        let expected = serde_json::json!({
            "Provides": {"Name": "zlib", "Version": "1:1-2", "Condition": "=", "SVersion": "", "SCondition": ""},
            "SrpmPath": "srpms/zlib-1-2.src.rpm",
            "RpmPath": "rpms/x86_64/zlib-1-2.x86_64.rpm",
            "SourceDir": "specs/zlib",
            "SpecPath": "specs/zlib/zlib.spec",
            "Architecture": "x86_64",
            "Requires": null,
            "BuildRequires": [{"Name": "make", "Version": "", "Condition": "", "SVersion": "", "SCondition": ""}],
            "TestRequires": [
                {"Name": "dejagnu", "Version": "", "Condition": "", "SVersion": "", "SCondition": ""},
                {"Name": "make", "Version": "", "Condition": "", "SVersion": "", "SCondition": ""},
            ],
            "IsToolchain": false,
            "RunTests": true,
        });
        assert_eq!(json, expected);
    }
}
