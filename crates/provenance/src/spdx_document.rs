//! The packages of a source package as an SPDX 2.3 document.
//!
//! Nothing in it depends on when or where the build ran: no random identifiers, and its creation time is that
//! of the packages, which rpmbuild takes from the changelog. Two hosts that build the same bytes write the
//! same document.
//!
//! Files inside the binary packages are not listed: SPDX 2.3 asks for a SHA-1 of each file, RPM headers state
//! SHA-256, and reading every payload again would cost more than all else that acceptance does. The packages'
//! own SHA-256 covers them.

use std::collections::BTreeMap;

use rpm_model::{ContentDigest, Nevra};
use serde_json::{Value, json};

use crate::build_info::BuildInfo;
use crate::slsa::{package_url, timestamp};

/// What a package's header says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedPackage {
    /// Its identity.
    pub nevra: Nevra,
    /// SHA-256 of the file.
    pub sha256: ContentDigest,
    /// `License`, as the spec has it.
    pub license: String,
    /// `Summary`.
    pub summary: String,
    /// `URL`, or empty.
    pub url: String,
    /// `Vendor`, or empty.
    pub vendor: String,
    /// `BuildTime` in seconds since 1970 UTC.
    pub build_time: u64,
}

/// Says that nothing is claimed about a value.
const NO_ASSERTION: &str = "NOASSERTION";

/// Identifier of the source package in every document.
const SOURCE: &str = "SPDXRef-Source";

/// Returns the document on a source package and the packages that were built from it.
pub fn bill_of_materials(
    info: &BuildInfo,
    source: &DescribedPackage,
    binaries: &[DescribedPackage],
) -> Value {
    let mut licenses = Licenses::default();
    let mut packages = vec![described(SOURCE, source, "SOURCE", &mut licenses)];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", SOURCE)];
    for (number, file) in info.source.files.iter().enumerate() {
        let id = format!("SPDXRef-SourceFile-{number}-{}", identifier(&file.name));
        packages.push(source_file(&id, file));
        relationships.push(relationship(SOURCE, "CONTAINS", &id));
    }
    let mut sorted: Vec<&DescribedPackage> = binaries.iter().collect();
    sorted.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    for binary in sorted {
        let id = format!("SPDXRef-Binary-{}", identifier(&binary.nevra.nvra()));
        packages.push(described(&id, binary, "INSTALL", &mut licenses));
        relationships.push(relationship("SPDXRef-DOCUMENT", "DESCRIBES", &id));
        relationships.push(relationship(&id, "GENERATED_FROM", SOURCE));
    }
    for package in &info.root_packages {
        let id = format!("SPDXRef-BuildRoot-{}", identifier(&package.nevra.nvra()));
        packages.push(package_value(&id, &package.nevra, &package.sha256, NO_ASSERTION));
        relationships.push(relationship(&id, "BUILD_DEPENDENCY_OF", SOURCE));
    }
    let created = binaries.iter().map(|binary| binary.build_time).max().unwrap_or(source.build_time);
    let name = source.nevra.nvra();
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("https://spdx.org/spdxdocs/{}-{}", identifier(&name), identity(info)),
        "creationInfo": {
            "created": timestamp(created),
            "creators": [format!("Tool: millwright-{}", info.host.millwright)],
        },
        "packages": packages,
        "relationships": relationships,
    });
    let extracted = licenses.extracted();
    if !extracted.is_empty() {
        document["hasExtractedLicensingInfos"] = extracted.into();
    }
    document
}

/// Returns what makes this document another than those of other builds: inputs and outputs.
fn identity(info: &BuildInfo) -> ContentDigest {
    let mut hasher = rpm_model::ContentHasher::new("spdx-document", 1);
    hasher.field("source", info.source.sha256.as_str()).field("root", info.build_root.as_str());
    hasher.list("outputs", info.outputs.iter().map(|output| output.sha256.as_str()));
    hasher.finish()
}

fn described(id: &str, package: &DescribedPackage, purpose: &str, licenses: &mut Licenses) -> Value {
    let mut value =
        package_value(id, &package.nevra, &package.sha256, &licenses.expression(&package.license));
    value["primaryPackagePurpose"] = purpose.into();
    if !package.summary.is_empty() {
        value["summary"] = package.summary.as_str().into();
    }
    if package.url.contains("://") {
        value["homepage"] = package.url.as_str().into();
    }
    if !package.vendor.is_empty() {
        value["supplier"] = format!("Organization: {}", package.vendor).into();
    }
    value
}

fn package_value(id: &str, nevra: &Nevra, sha256: &ContentDigest, license: &str) -> Value {
    json!({
        "SPDXID": id,
        "name": nevra.name,
        "versionInfo": nevra.evr.to_string(),
        "packageFileName": nevra.file_name(),
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "checksums": [{ "algorithm": "SHA256", "checksumValue": sha256 }],
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": license,
        "copyrightText": NO_ASSERTION,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": package_url(nevra),
        }],
    })
}

fn source_file(id: &str, file: &crate::build_info::SourceFile) -> Value {
    let mut value = json!({
        "SPDXID": id,
        "name": file.name,
        "packageFileName": file.name,
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
        "primaryPackagePurpose": "SOURCE",
    });
    if let Some(digest) = &file.sha256 {
        value["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": digest }]);
    }
    value
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// Turns text into what may stand in an SPDX identifier: letters, digits, `.` and `-`.
///
/// Every other character becomes its code, so that different texts stay different (`c+` and `c-`).
fn identifier(text: &str) -> String {
    let mut identifier = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || character == '.' || character == '-' {
            identifier.push(character);
        } else {
            identifier.push_str(&format!("-{:x}-", u32::from(character)));
        }
    }
    identifier
}

/// Licences as specs write them, and those of them that are no SPDX expressions.
#[derive(Default)]
struct Licenses {
    /// Reference to text.
    extracted: BTreeMap<String, String>,
}

impl Licenses {
    /// Returns a `License` tag as an SPDX expression: itself when it is one, else a reference to its text.
    fn expression(&mut self, tag: &str) -> String {
        let tag = tag.trim();
        if tag.is_empty() {
            return NO_ASSERTION.to_owned();
        }
        if let Some(references) = spdx::Expression::parse(tag).ok().and_then(|known| references(&known)) {
            for reference in references {
                // Its name is all that the spec says of it; a document must define what it refers to.
                let text = reference.strip_prefix("LicenseRef-").unwrap_or(&reference).to_owned();
                self.extracted.insert(reference, text);
            }
            return tag.to_owned();
        }
        let digest = ContentDigest::of_bytes(tag.as_bytes());
        let reference = format!("LicenseRef-{}", &digest.as_str()[..16]);
        self.extracted.insert(reference.clone(), tag.to_owned());
        reference
    }

    fn extracted(&self) -> Vec<Value> {
        let entry = |(reference, text): (&String, &String)| {
            json!({
                "licenseId": reference,
                "name": text,
                "extractedText": text,
                "comment": "As the License tag of the spec has it; SPDX has no identifier for it.",
            })
        };
        self.extracted.iter().map(entry).collect()
    }
}

/// Returns the licences of an expression that SPDX has no identifier for; nothing when it refers to another document,
/// or to an addition of its own, which SPDX 2.3 has no place to define in.
fn references(expression: &spdx::Expression) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for requirement in expression.requirements() {
        if matches!(requirement.req.addition, Some(spdx::AdditionItem::Other(_))) {
            return None;
        }
        if let spdx::LicenseItem::Other(other) = &requirement.req.license {
            if other.doc_ref.is_some() {
                return None;
            }
            found.push(format!("LicenseRef-{}", other.lic_ref));
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build_info::tests::example;
    use std::collections::BTreeSet;

    fn package(nevra: &str, license: &str) -> DescribedPackage {
        DescribedPackage {
            nevra: nevra.parse().unwrap(),
            sha256: ContentDigest::of_bytes(nevra.as_bytes()),
            license: license.into(),
            summary: "A test".into(),
            url: "https://example.invalid/".into(),
            vendor: String::new(),
            build_time: 1_700_000_000,
        }
    }

    fn document() -> Value {
        let source = package("hello-1.0-1.src", "MIT AND GPL-2.0-or-later");
        let binaries = [
            package("hello-devel-1.0-1.x86_64", "GPLv2+ and Public Domain"),
            package("hello-1.0-1.x86_64", "MIT"),
        ];
        bill_of_materials(&example(), &source, &binaries)
    }

    /// What SPDX 2.3 requires, by hand: fields, forms of identifiers, and that every reference leads somewhere.
    #[test]
    fn everything_that_the_specification_requires_is_there() {
        let document = document();
        assert_eq!(document["spdxVersion"], "SPDX-2.3");
        assert_eq!(document["dataLicense"], "CC0-1.0");
        assert!(!document["documentNamespace"].as_str().unwrap().contains('#'));
        assert_eq!(document["creationInfo"]["created"], "2023-11-14T22:13:20Z");
        assert!(document["creationInfo"]["creators"][0].as_str().unwrap().starts_with("Tool: "));
        let mut ids = BTreeSet::from(["SPDXRef-DOCUMENT"]);
        for package in document["packages"].as_array().unwrap() {
            let id = package["SPDXID"].as_str().unwrap();
            let rest = id.strip_prefix("SPDXRef-").unwrap();
            assert!(rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'), "{id}");
            assert!(ids.insert(id), "{id} twice");
            for field in ["name", "downloadLocation", "licenseConcluded", "licenseDeclared", "copyrightText"]
            {
                assert!(package[field].is_string(), "{id}: {field}");
            }
            assert_eq!(package["filesAnalyzed"], false);
        }
        for relationship in document["relationships"].as_array().unwrap() {
            for end in ["spdxElementId", "relatedSpdxElement"] {
                assert!(ids.contains(relationship[end].as_str().unwrap()), "{relationship}");
            }
        }
    }

    #[test]
    fn relations_are_those_of_a_build() {
        let document = document();
        let count = |kind: &str| {
            let all = document["relationships"].as_array().unwrap();
            all.iter().filter(|relationship| relationship["relationshipType"] == kind).count()
        };
        assert_eq!(count("GENERATED_FROM"), 2);
        assert_eq!(count("CONTAINS"), 2);
        assert_eq!(count("BUILD_DEPENDENCY_OF"), 3);
        assert_eq!(count("DESCRIBES"), 3);
    }

    #[test]
    fn licences_that_are_no_expressions_are_quoted() {
        let document = document();
        let declared: Vec<&str> = document["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| package["licenseDeclared"].as_str().unwrap())
            .collect();
        assert_eq!(declared[0], "MIT AND GPL-2.0-or-later");
        let extracted = document["hasExtractedLicensingInfos"].as_array().unwrap();
        assert_eq!(extracted.len(), 1);
        assert_eq!(extracted[0]["extractedText"], "GPLv2+ and Public Domain");
        assert!(declared.contains(&extracted[0]["licenseId"].as_str().unwrap()));
    }

    #[test]
    fn what_an_expression_refers_to_is_defined() {
        let check = |tag: &str, expression: Option<&str>, defined: &[&str]| {
            let mut licenses = Licenses::default();
            let found = licenses.expression(tag);
            let names: Vec<&str> = licenses.extracted.values().map(String::as_str).collect();
            assert_eq!(names, defined, "{tag}");
            assert!(expression.is_none_or(|expected| found == expected), "{tag}: {found}");
            // Every reference leads somewhere.
            let parts = found.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.');
            for reference in parts.filter(|part| part.starts_with("LicenseRef-")) {
                assert!(licenses.extracted.contains_key(reference), "{tag}: {reference}");
            }
        };
        let known = "GPL-2.0-or-later WITH Classpath-exception-2.0";
        check(known, Some(known), &[]);
        let partly = "(GPL-2.0-or-later AND LicenseRef-Public-Domain) OR LicenseRef-Own.1";
        check(partly, Some(partly), &["Own.1", "Public-Domain"]);
        // No such document is at hand, and an addition cannot be defined.
        for tag in ["DocumentRef-x:LicenseRef-y", "MIT WITH AdditionRef-z", "GPLv2+", "MIT/X11"] {
            check(tag, None, &[tag]);
        }
    }

    #[test]
    fn different_names_have_different_identifiers() {
        let ids: BTreeSet<String> =
            ["libstdc++", "libstdc--", "libstdc", "a_b", "a-b"].map(identifier).into_iter().collect();
        assert_eq!(ids.len(), 5);
    }
}
