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
//!
//! The specs that could not be read stand apart, under `bad` and `Bad`. Both documents are JSON with one entry a
//! line: those of a distribution, indented, would be half as large again, and nobody reads them without a tool.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rpm_model::{
    AzureBadSpec, AzurePackage, AzurePackageVersion, BadSpec, ContentDigest, ContentHasher, Dependency,
    PackagesDocument, Requirement, RichDependency, SpecData, SpecPackage,
};

use crate::failure::SpecFailure;

/// Entries that one thread writes out at a time.
const CHUNK: usize = 256;

/// Chunks that are in memory at a time.
const CHUNKS: usize = 16;

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

impl AzureLayout {
    /// Adds everything here to a hash.
    pub(crate) fn hash(&self, hasher: &mut ContentHasher) {
        for directory in [&self.srpm_dir, &self.rpm_dir, &self.toolchain_rpms_dir] {
            hasher.field("directory", &directory.display().to_string());
        }
        hasher.list("toolchain", &self.toolchain_manifest);
        hasher.field("run-check", &self.run_check.to_string());
    }
}

/// Takes parts of a document in their order.
pub(crate) type Sink<'s> = dyn FnMut(&[u8]) -> io::Result<()> + 's;

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

/// Writes `packages.json` out, one spec a line.
pub(crate) fn write_packages(document: &PackagesDocument, sink: &mut Sink<'_>) -> io::Result<()> {
    // Everything but the specs, with a place where they go.
    let frame = PackagesDocument {
        schema: document.schema,
        arch: document.arch.clone(),
        macros: document.macros.clone(),
        specs: Vec::new(),
        bad: document.bad.clone(),
    };
    let frame = serde_json::to_string(&frame)?;
    let (before, after) = frame
        .split_once(r#""specs":[]"#)
        .ok_or_else(|| io::Error::other("packages.json has no place for specs"))?;
    sink(format!(r#"{before}"specs":["#).as_bytes())?;
    write_lines(&document.specs, sink, |spec, line| Ok(serde_json::to_writer(line, spec)?))?;
    sink(format!("]{after}\n").as_bytes())
}

/// Writes `specs.json` of a `packages.json` out, one entry a line.
pub(crate) fn write_azure_specs(
    document: &PackagesDocument,
    layout: &AzureLayout,
    sink: &mut Sink<'_>,
) -> io::Result<()> {
    let packages: Vec<(&SpecData, &SpecPackage)> = document
        .specs
        .iter()
        .filter(|spec| spec.builds_on(&document.arch))
        .flat_map(|spec| spec.packages.iter().map(move |package| (spec, package)))
        .collect();
    let packages: Vec<PackageLines> = packages
        .into_par_iter()
        .map(|(spec, package)| PackageLines::of(spec, package, layout))
        .collect::<Result<_, serde_json::Error>>()?;
    let mut lines: Vec<(&AzurePackageVersion, &PackageLines)> = packages
        .iter()
        .flat_map(|package| package.provides.iter().map(move |provide| (provide, package)))
        .collect();
    lines.par_sort_unstable_by(|a, b| (a.0, &a.1.rpm_path).cmp(&(b.0, &b.1.rpm_path)));
    sink(br#"{"Repo":["#)?;
    write_lines(&lines, sink, |(provides, package), line| {
        line.extend_from_slice(PROVIDES.as_bytes());
        serde_json::to_writer(&mut *line, provides)?;
        line.extend_from_slice(package.rest.as_bytes());
        Ok(())
    })?;
    sink(br#"],"Bad":["#)?;
    write_lines(&document.bad, sink, |bad, line| {
        let BadSpec { name: _, spec_path, line: number, message } = bad.clone();
        Ok(serde_json::to_writer(line, &AzureBadSpec { spec_path, line: number, message })?)
    })?;
    sink(b"]}\n")
}

/// Writes values of an array, one a line; several threads make the lines.
fn write_lines<T: Sync>(
    values: &[T],
    sink: &mut Sink<'_>,
    write: impl Fn(&T, &mut Vec<u8>) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let make = |chunks: &[T]| {
        let lines = chunks.par_chunks(CHUNK).map(|chunk| {
            let mut lines = Vec::new();
            for value in chunk {
                lines.extend_from_slice(b",\n");
                write(value, &mut lines)?;
            }
            Ok(lines)
        });
        lines.collect::<io::Result<Vec<Vec<u8>>>>()
    };
    // The first line has no comma before it.
    let mut without = 1;
    for chunks in values.chunks(CHUNK * CHUNKS) {
        for lines in make(chunks)? {
            sink(&lines[without..])?;
            without = 0;
        }
    }
    if values.is_empty() { Ok(()) } else { sink(b"\n") }
}

/// How an entry of `specs.json` begins.
const PROVIDES: &str = r#"{"Provides":"#;

/// The entries of one package, which differ in what is provided only.
struct PackageLines {
    provides: Vec<AzurePackageVersion>,
    rpm_path: String,
    /// An entry's JSON behind its `Provides`.
    rest: String,
}

impl PackageLines {
    fn of(spec: &SpecData, package: &SpecPackage, layout: &AzureLayout) -> Result<Self, serde_json::Error> {
        let entry = entry(spec, package, layout);
        let nothing = serde_json::to_string(&entry.provides)?;
        let rest = serde_json::to_string(&entry)?.split_off(PROVIDES.len() + nothing.len());
        let provides = package.provides.iter().flat_map(|provide| bounds(std::iter::once(provide)));
        Ok(Self { provides: provides.collect(), rpm_path: entry.rpm_path, rest })
    }
}

/// Returns a package's entry, without anything provided.
fn entry(spec: &SpecData, package: &SpecPackage, layout: &AzureLayout) -> AzurePackage {
    let text = |path: PathBuf| path.display().to_string();
    let spec_dir = Path::new(&spec.spec_path).parent().unwrap_or(Path::new(""));
    let file = package.nevra.file_name();
    let in_toolchain = layout.toolchain_manifest.contains(&file);
    let rpm_dir = if in_toolchain { &layout.toolchain_rpms_dir } else { &layout.rpm_dir };
    let run_tests = layout.run_check && spec.has_check;
    let tests = if run_tests { spec.check_requires.as_slice() } else { &[] };
    AzurePackage {
        provides: AzurePackageVersion::default(),
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
    }
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
    use rpm_model::AzureSpecs;

    use super::*;
    use crate::failure::FailureKind;

    fn written(write: impl FnOnce(&mut Sink<'_>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })
        .unwrap();
        String::from_utf8(bytes).unwrap()
    }

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
        check(&["((a or b) with c)", "(d if e else f)", "(g without h)"], &["a", "b", "c", "d", "g"]);
    }

    fn spec(name: &str, exclusive_arch: &str) -> SpecData {
        let text = format!(
            r#"{{"name": "{name}", "spec_path": "specs/{name}/{name}.spec", "source": "{name}-1-2.src",
            "build_requires": ["make"], "check_requires": ["dejagnu", "make"], "exclusive_arch": [{exclusive_arch}],
            "sources": [], "has_check": true,
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
        let text = written(|sink| write_azure_specs(&document, &layout, sink));
        assert_eq!(text.lines().count(), 2 + 4);
        let specs: AzureSpecs = serde_json::from_str(&text).unwrap();
        let entries: Vec<String> =
            specs.repo.iter().map(|entry| format!("{} {}", entry.provides.name, entry.rpm_path)).collect();
        assert_eq!(
            entries,
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

    #[test]
    fn documents_of_any_size_are_read_back_as_they_are() {
        let layout = AzureLayout {
            srpm_dir: "srpms".into(),
            rpm_dir: "rpms".into(),
            toolchain_rpms_dir: "toolchain".into(),
            toolchain_manifest: BTreeSet::new(),
            run_check: false,
        };
        for (good, bad) in [(0, 0), (0, 1), (1, 2), (CHUNK, 0), (CHUNK * CHUNKS + 1, 3)] {
            let failure = |number: usize| SpecFailure {
                name: format!("bad{number}"),
                spec_path: PathBuf::from("specs/bad.spec"),
                kind: FailureKind::BadName,
                diagnostics: Vec::new(),
            };
            let specs = (0..good).map(|number| Ok(spec(&format!("spec{number}"), "")));
            let results = specs.chain((0..bad).map(|number| Err(failure(number)))).collect();
            let document = packages_document("x86_64", ContentDigest::of_bytes(b""), results);
            let text = written(|sink| write_packages(&document, sink));
            assert_eq!(serde_json::from_str::<PackagesDocument>(&text).unwrap(), document);
            let text = written(|sink| write_azure_specs(&document, &layout, sink));
            let specs: AzureSpecs = serde_json::from_str(&text).unwrap();
            assert_eq!((specs.repo.len(), specs.bad.len()), (2 * good, bad));
            assert!(specs.repo.is_sorted_by(|a, b| (&a.provides, &a.rpm_path) <= (&b.provides, &b.rpm_path)));
            assert!(specs.bad.iter().all(|bad| bad.spec_path == "specs/bad.spec"));
        }
    }
}
