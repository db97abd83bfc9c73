//! What packages are made of is written down, and builds are done again from it.

use std::fs;

use rpm_model::ContentDigest;
use serde_json::Value;

use crate::spec::Spec;
use crate::tree::{Tree, files_below};

/// Reads one of the documents of a package.
#[track_caller]
fn document(tree: &Tree, package: &str, name: &str) -> Value {
    serde_json::from_str(&tree.read(&format!("out/PROVENANCE/{package}-1.0-1.mw1/{name}"))).unwrap()
}

fn texts<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap()).collect()
}

#[test]
fn every_input_and_output_is_written_down() {
    let Some(tree) = Tree::new("provenance") else { return };
    tree.spec(&Spec::library("greet", "1", 7));
    tree.spec(&Spec::program("hello", "greet").tag("Source0: extra.txt"));
    tree.file("SPECS/hello/extra.txt", "extra\n");
    let hash = ContentDigest::of_bytes(b"extra\n");
    tree.file(
        "SPECS/hello/hello.signatures.json",
        &format!("{{\"Signatures\": {{\"extra.txt\": \"{hash}\"}}}}"),
    );
    tree.millwright(&["build"]).exits(0).says(&["2 built"]);
    let record = &tree.records()["hello"];
    let published = tree.published();

    let info = document(&tree, "hello", "buildinfo.json");
    assert_eq!(info["source"]["sha256"], record.srpm.sha256.as_str());
    let sources = &info["source"]["files"];
    assert_eq!(texts(sources, "name"), ["extra.txt", "hello.spec"]);
    assert_eq!(sources[0]["sha256"], hash.as_str());
    let spec = ContentDigest::of_bytes(tree.read("SPECS/hello/hello.spec").as_bytes());
    assert_eq!(sources[1]["sha256"], spec.as_str());
    let root: Vec<(&str, &str)> = texts(&info["root_packages"], "nevra")
        .into_iter()
        .zip(texts(&info["root_packages"], "sha256"))
        .collect();
    let greet: Vec<_> = root.iter().filter(|(nevra, _)| nevra.starts_with("greet")).collect();
    assert_eq!(greet.len(), 2, "{greet:?}");
    for (nevra, sha256) in greet {
        let (_, content) =
            published.iter().find(|(path, _)| path.contains(&format!("/{nevra}.rpm"))).unwrap();
        assert_eq!(content.as_str(), *sha256);
    }
    assert_eq!(root.len(), record.lock.packages().len());
    assert!(info["tools"]["gcc"].is_string() && info["tools"]["rpm"].is_string());
    assert_eq!(info["outcome"]["outcome"], "succeeded");
    assert_eq!(info["settings"]["defines"]["dist"], ".mw1");
    assert_eq!(info["invocation"]["environment"]["TZ"], "UTC");
    assert_eq!(info["invocation"]["arguments"][0], "/usr/bin/rpmbuild");
    assert_ne!(info["enforcement"]["enforced_by"], "");
    let outputs: Vec<(&str, &str)> =
        texts(&info["outputs"], "nevra").into_iter().zip(texts(&info["outputs"], "sha256")).collect();
    for rpm in &record.rpms {
        let artifact = &rpm.artifact;
        assert!(outputs.contains(&(artifact.nevra.to_string().as_str(), artifact.sha256.as_str())));
    }

    let statement = document(&tree, "hello", "slsa-provenance.json");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(statement["subject"].as_array().unwrap().len(), record.rpms.len());
    let own = tree.read("out/PROVENANCE/hello-1.0-1.mw1/buildinfo.json");
    let byproduct = &statement["predicate"]["runDetails"]["byproducts"][0];
    assert_eq!(byproduct["digest"]["sha256"], ContentDigest::of_bytes(own.as_bytes()).as_str());
    let resolved = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
    // The source package, its two files, and the root.
    assert_eq!(resolved.as_array().unwrap().len(), 3 + root.len());

    let bill = document(&tree, "hello", "sbom.spdx.json");
    assert_eq!(bill["spdxVersion"], "SPDX-2.3");
    let kinds = texts(&bill["relationships"], "relationshipType");
    let count = |wanted: &str| kinds.iter().filter(|kind| **kind == wanted).count();
    assert_eq!(count("GENERATED_FROM"), record.rpms.len());
    assert_eq!(count("CONTAINS"), 2);
    assert_eq!(count("BUILD_DEPENDENCY_OF"), root.len());
    assert_eq!(bill["packages"][0]["licenseDeclared"], "MIT");
    // Its time is that of the changelog.
    assert_eq!(bill["creationInfo"]["created"], "2026-11-20T00:00:00Z");

    // A new version: the old one's documents go with its packages. Nothing changed: nothing is written.
    let before = tree.read("out/PROVENANCE/greet-1.0-1.mw1/buildinfo.json");
    tree.spec(&Spec::program("hello", "greet").version("1.1"));
    tree.millwright(&["build"]).exits(0).says(&["1 built"]);
    assert!(!tree.path("out/PROVENANCE/hello-1.0-1.mw1").exists());
    assert!(tree.path("out/PROVENANCE/hello-1.1-1.mw1/sbom.spdx.json").is_file());
    assert_eq!(tree.read("out/PROVENANCE/greet-1.0-1.mw1/buildinfo.json"), before);
}

#[test]
fn a_build_is_verified_by_doing_it_again() {
    let Some(tree) = Tree::new("verify") else { return };
    tree.spec(&Spec::library("greet", "1", 7));
    // No clock needs to go on for this to differ: time zone, and the random part.
    tree.spec(&Spec::data("dated").install("date +%s%N > %{buildroot}/usr/share/dated/built-at"));
    // Each the same as often as it is built, but not everywhere.
    let shows = "date -d @0 +%H > %{buildroot}/usr/share/placed/hour\n\
                 printf '\\u00e9\\n' > %{buildroot}/usr/share/placed/letter\n\
                 echo %{_smp_build_ncpus} > %{buildroot}/usr/share/placed/processors";
    tree.spec(&Spec::data("placed").install(shows));
    tree.millwright(&["build"]).exits(0).says(&["3 built"]);
    let document = |package: &str| format!("out/PROVENANCE/{package}-1.0-1.mw1/buildinfo.json");
    tree.millwright(&["verify", &document("greet")]).exits(0).says(&["identical: ", "greet-1.0-1.mw1"]);
    let ended = tree.millwright(&["verify", &document("dated")]);
    ended.exits(1).says(&["different: ", "/usr/share/dated/built-at: its content differs"]);
    ended.never_says(&["/usr/share/dated/text"]);
    let ended = tree.millwright(&["verify", &document("placed")]);
    ended.exits(1).says(&[
        "depends on its surroundings: ",
        "/usr/share/placed/hour: its content differs",
        "/usr/share/placed/letter: its content differs",
        "/usr/share/placed/processors: its content differs",
    ]);
    tree.millwright(&["verify", &document("placed"), "--as-recorded"]).exits(0).says(&["identical: "]);
    let ended = tree.millwright(&["verify", &document("dated"), "--as-recorded", "--json"]);
    let answer: Value = serde_json::from_str(&ended.exits(1).stdout).unwrap();
    assert_eq!(answer["verdict"], "different");
    let details = &answer["differences"][0]["details"];
    assert!(
        details.as_array().unwrap().iter().any(|one| one["path"] == "/usr/share/dated/built-at"),
        "{answer}"
    );
    let rebuilt = tree.path("build/verify/dated");
    assert_eq!(answer["rebuilt"], rebuilt.to_string_lossy().as_ref());
    assert!(rebuilt.join("noarch/dated-1.0-1.mw1.noarch.rpm").is_file());

    // Inputs that are gone are named; elsewhere they are found again.
    let elsewhere = tree.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let mut srpms = files_below(&tree.path("out/SRPMS"));
    srpms.extend(files_below(&tree.path("build/INTERMEDIATE_SRPMS")));
    srpms.retain(|path| path.ends_with("greet-1.0-1.mw1.src.rpm"));
    assert_eq!(srpms.len(), 2, "{srpms:?}");
    for srpm in srpms {
        fs::rename(srpm, elsewhere.join("greet-1.0-1.mw1.src.rpm")).unwrap();
    }
    let sha256 = tree.records()["greet"].srpm.sha256.clone();
    let ended = tree.millwright(&["verify", &document("greet")]);
    ended.exits(3).says(&[
        "inputs missing: 1",
        "greet-1.0-1.mw1.src.rpm",
        sha256.as_str(),
        "out/SRPMS",
        "--search",
    ]);
    tree.millwright(&["verify", &document("greet"), "--search", "elsewhere"]).exits(0).says(&["identical"]);

    for (text, words) in [("{}", "no buildinfo document"), ("{\"schema\": 77}", "schema is 77")] {
        tree.file("bad.json", text);
        tree.millwright(&["verify", "bad.json"]).exits(2).says(&[words]);
    }
    tree.millwright(&["verify", "nowhere.json"]).exits(2).says(&["nowhere.json"]);
}
