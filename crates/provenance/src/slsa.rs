//! The build as an in-toto statement with SLSA v1 provenance.
//!
//! Shapes: in-toto Statement v1 (`_type`, `subject`, `predicateType`, `predicate`) and SLSA Provenance v1
//! (`buildDefinition`, `runDetails`). External parameters are what whoever asked for the build chose;
//! internal ones are Millwright's. The statement is not signed; it is the payload of a signature envelope.

use rpm_model::{ContentDigest, Nevra, PackageOrigin};
use serde_json::{Value, json};

use crate::build_info::BuildInfo;

/// The type of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The type of the predicate.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";

/// What the parameters of a build mean: one source package, one build root of RPMs, rpmbuild.
pub const BUILD_TYPE: &str = "urn:millwright:build-type:rpmbuild:1";

/// Who vouches for the build: acceptance, which has verified what the worker left.
pub const BUILDER_ID: &str = "urn:millwright:builder:local";

/// Returns the statement on the packages of a build; `build_info` is the content of its `buildinfo.json`.
pub fn statement(info: &BuildInfo, build_info: &ContentDigest) -> Value {
    let subject: Vec<Value> = info
        .outputs
        .iter()
        .map(|output| json!({ "name": output.nevra.file_name(), "digest": sha256(&output.sha256) }))
        .collect();
    json!({
        "_type": STATEMENT_TYPE,
        "subject": subject,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": external_parameters(info),
                "internalParameters": internal_parameters(info),
                "resolvedDependencies": resolved_dependencies(info),
            },
            "runDetails": {
                "builder": {
                    "id": BUILDER_ID,
                    "version": { "millwright": info.host.millwright, "worker-semantics": info.settings.worker_semantics.to_string() },
                },
                "metadata": {
                    "invocationId": format!("urn:sha256:{build_info}"),
                    "finishedOn": timestamp(info.finished_at),
                },
                "byproducts": [
                    { "name": crate::file_names::BUILD_INFO, "digest": sha256(build_info), "mediaType": "application/json" },
                ],
            },
        },
    })
}

fn external_parameters(info: &BuildInfo) -> Value {
    let mut parameters = json!({
        "source": { "uri": package_url(&info.source.nevra), "digest": sha256(&info.source.sha256) },
        "arch": info.settings.arch,
        "defines": info.settings.defines,
        "runCheck": info.settings.run_check,
    });
    if let Some(counter) = info.settings.dist_counter {
        parameters["distCounter"] = counter.get().into();
    }
    parameters
}

fn internal_parameters(info: &BuildInfo) -> Value {
    json!({
        "buildRoot": sha256(&info.build_root),
        "workerGeneration": sha256(&info.generation),
        "arguments": info.invocation.arguments,
        "environment": info.invocation.environment,
        "processors": info.settings.processors,
        "timeoutSeconds": info.settings.timeout_seconds,
        "diskLimitBytes": info.settings.disk_limit_bytes,
        "limitsEnforcedBy": info.enforcement.enforced_by,
        "ccache": info.settings.ccache,
        "tuned": info.settings.tuned,
        "kernel": info.host.kernel,
    })
}

/// Returns everything that was fetched for the build: source package, macro file, packages of the root.
fn resolved_dependencies(info: &BuildInfo) -> Vec<Value> {
    let mut dependencies = vec![json!({
        "uri": package_url(&info.source.nevra),
        "name": info.source.file,
        "digest": sha256(&info.source.sha256),
    })];
    dependencies.extend(info.source.files.iter().filter_map(|file| {
        let digest = file.sha256.as_ref()?;
        // A fragment of the source package: that is where the build took it from.
        let uri = format!("{}#{}", package_url(&info.source.nevra), encode(&file.name));
        Some(json!({ "uri": uri, "name": file.name, "digest": sha256(digest) }))
    }));
    dependencies.extend(info.macros_file.iter().map(|file| {
        json!({ "uri": format!("urn:sha256:{}", file.sha256), "name": file.name, "digest": sha256(&file.sha256) })
    }));
    dependencies.extend(info.root_packages.iter().map(|package| {
        json!({
            "uri": package_url(&package.nevra),
            "name": package.nevra.file_name(),
            "digest": sha256(&package.sha256),
            "annotations": { "origin": origin(package.origin) },
        })
    }));
    dependencies
}

fn origin(origin: PackageOrigin) -> Value {
    serde_json::to_value(origin).unwrap_or_default()
}

fn sha256(digest: &ContentDigest) -> Value {
    json!({ "sha256": digest })
}

/// Returns a package's URL: `pkg:rpm/<name>@<version>-<release>?arch=<arch>[&epoch=<epoch>]`.
pub(crate) fn package_url(nevra: &Nevra) -> String {
    let version = encode(&nevra.evr.without_epoch());
    let mut url = format!("pkg:rpm/{}@{version}?arch={}", encode(&nevra.name), encode(&nevra.arch));
    let text = nevra.evr.to_string();
    if let Some((epoch, _)) = text.split_once(':').filter(|(epoch, _)| *epoch != "0") {
        url.push_str("&epoch=");
        url.push_str(epoch);
    }
    url
}

/// Percent-encodes what may not stand in a part of a URL.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Returns a time as RFC 3339 writes it in UTC, for example `2026-11-26T00:00:00Z`.
pub(crate) fn timestamp(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    // Beyond the year 9999 there is no such notation.
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build_info::tests::example;

    fn is_sha256(value: &Value) -> bool {
        value["sha256"].as_str().is_some_and(|text| text.len() == 64)
    }

    /// What the two specifications require, by hand: in-toto Statement v1 and SLSA provenance v1.
    #[test]
    fn everything_that_the_specifications_require_is_there() {
        let info = example();
        let statement = statement(&info, &ContentDigest::of_bytes(b"info"));
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
        let subject = statement["subject"].as_array().unwrap();
        assert_eq!(subject.len(), 2);
        assert!(subject.iter().all(|one| one["name"].is_string() && is_sha256(&one["digest"])));
        let definition = &statement["predicate"]["buildDefinition"];
        assert!(definition["buildType"].as_str().unwrap().contains(':'));
        assert!(definition["externalParameters"].is_object());
        assert!(definition["internalParameters"].is_object());
        let details = &statement["predicate"]["runDetails"];
        assert!(details["builder"]["id"].as_str().unwrap().contains(':'));
        assert!(details["builder"]["version"].as_object().unwrap().values().all(Value::is_string));
        assert!(details["metadata"]["finishedOn"].as_str().unwrap().ends_with('Z'));
        assert!(is_sha256(&details["byproducts"][0]["digest"]));
    }

    #[test]
    fn every_input_is_a_resolved_dependency() {
        let info = example();
        let statement = statement(&info, &ContentDigest::of_bytes(b"info"));
        let resolved = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
        assert!(resolved.iter().all(|one| one["uri"].is_string() && is_sha256(&one["digest"])));
        let digests: Vec<&str> =
            resolved.iter().map(|one| one["digest"]["sha256"].as_str().unwrap()).collect();
        for file in info.input_files() {
            assert!(digests.contains(&file.sha256.as_str()), "{}", file.name);
        }
        for file in &info.source.files {
            assert!(digests.contains(&file.sha256.as_ref().unwrap().as_str()), "{}", file.name);
        }
        let perl = resolved.iter().find(|one| one["name"] == "perl-5.36-1.x86_64.rpm").unwrap();
        assert_eq!(perl["uri"], "pkg:rpm/perl@5.36-1?arch=x86_64&epoch=4");
        assert_eq!(perl["annotations"]["origin"], "toolchain");
    }

    #[test]
    fn times_are_written_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(seconds), text);
        }
    }
}
