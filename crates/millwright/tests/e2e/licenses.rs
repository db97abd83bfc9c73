//! `millwright license-check`: over packages that were built, and over those of the toolchain.

use std::process::Command;

use serde_json::json;

use crate::spec::Spec;
use crate::tree::Tree;

/// Returns a package with a file of each kind that is told, and some that are not.
fn careless() -> Spec {
    Spec::data("careless")
        .build("echo terms | tee COPYING LICENSE.txt NOTICE NEWS > README.licence")
        .install("install -D -m 644 NEWS %{buildroot}/usr/share/licenses/careless/index.html")
        .file("%license COPYING")
        .file("%doc COPYING LICENSE.txt NOTICE NEWS README.licence")
        .file("/usr/share/licenses/careless/index.html")
}

#[test]
fn licences_that_are_marked_as_something_else_are_told() {
    let Some(tree) = Tree::new("licenses") else { return };
    tree.spec(&careless());
    tree.spec(&Spec::data("careful").build("echo terms > COPYING").file("%license COPYING"));
    tree.millwright(&["license-check"]).exits(2).says(&["no package is published", "millwright build"]);
    tree.millwright(&["build"]).exits(0).says(&["2 built"]);

    let ended = tree.millwright(&["license-check"]);
    ended.exits(1).says(&[
        "out/RPMS/noarch/careless-1.0-1.mw1.noarch.rpm\n",
        "  error    /usr/share/doc/careless/LICENSE.txt looks like a licence and is %doc, not %license\n",
        "  error    /usr/share/doc/careless/NOTICE looks like",
        "  error    /usr/share/licenses/careless/index.html lies among the licences and is not %license\n",
        "  warning  /usr/share/doc/careless/COPYING is %doc beside the %license of that name\n",
        "licences of 2 packages checked: 1 with errors, 1 with warnings",
    ]);
    ended.never_says(&["careful-1.0", "NEWS", "README"]);
    tree.millwright(&["license-check", "careful"]).exits(0).says(&["1 package checked: 0 with errors"]);
    let quiet = tree.millwright(&["license-check", "--mode=warn", "--quiet"]);
    assert_eq!((quiet.exits(0).stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    tree.millwright(&["license-check", "--mode=none"]).exits(0).says(&["not checked"]);

    // What rpm says is which.
    let rpm = tree.path("out/RPMS/noarch/careless-1.0-1.mw1.noarch.rpm");
    let listed = tree.run(Command::new("rpm").args(["-qp", "--docfiles"]).arg(&rpm));
    listed.exits(0).says(&["/usr/share/doc/careless/LICENSE.txt"]);
    let listed = tree.run(Command::new("rpm").args(["-qp", "--licensefiles"]).arg(&rpm));
    assert_eq!(listed.exits(0).stdout, "/usr/share/licenses/careless/COPYING\n");

    let exceptions = json!({
        "_comment": "as the toolkit writes it",
        "PkgExceptions": [
            {"PackageName": "careless", "IgnoredFilesRegexList": ["^/usr/share/doc/careless/(LICENSE\\.txt|NOTICE)$"]},
            {"PackageName": "careful", "IgnoredFilesRegexList": [".*"]}
        ],
        "GlobalExceptionsRegexList": ["\\.html$"]
    });
    tree.file("configs/license-exceptions.json", &exceptions.to_string());
    tree.millwright(&["license-check"]).exits(0).says(&["0 with errors, 1 with warnings"]);
    let arguments = ["license-check", "out/RPMS", "--mode=pedantic", "--json", "--results-file=found.json"];
    let document: serde_json::Value =
        serde_json::from_str(&tree.millwright(&arguments).exits(1).stdout).unwrap();
    let copying = "/usr/share/doc/careless/COPYING";
    let path = "out/RPMS/noarch/careless-1.0-1.mw1.noarch.rpm";
    assert_eq!(
        document,
        json!({"schema": 1, "mode": "pedantic", "checked": 2, "with_errors": 1, "with_warnings": 0, "packages": [{
            "package": "careless", "path": path,
            "findings": [{"severity": "error", "problem": "marked-twice", "file": copying}]
        }]})
    );
    let found: serde_json::Value = serde_json::from_str(&tree.read("found.json")).unwrap();
    assert_eq!(found, json!([{"RpmPath": path, "PackageName": "careless", "DuplicatedDocs": [copying]}]));

    // Other names, other findings.
    tree.file("names.json", r#"{"FuzzyLicenseNamesRegexList": ["NEWS"]}"#);
    let other = tree.millwright(&["license-check", "careless", "--name-file=names.json"]);
    other.exits(1).says(&["careless/NEWS looks like"]).never_says(&["COPYING"]);

    tree.file("wrong.json", r#"{"GlobalExceptionsRegexList": ["("]}"#);
    let wrong = tree.millwright(&["license-check", "--exception-file=wrong.json"]);
    wrong.exits(2).says(&["`wrong.json`: `(` is no regular expression"]);
    tree.file("wrong.json", "{\n\"PkgExceptions\": [{}]}");
    let wrong = tree.millwright(&["license-check", "--exception-file=wrong.json"]);
    wrong.exits(2).says(&["`wrong.json`: missing field `PackageName` at line 2"]);
    tree.millwright(&["license-check", "carefull"]).exits(2).says(&["did you mean careful"]);
    tree.file("broken.rpm", "no package");
    tree.millwright(&["license-check", "broken.rpm"]).exits(3).says(&["broken.rpm"]);
}

#[test]
fn licences_of_the_toolchain_are_marked() {
    let Some(tree) = Tree::new("licenses-toolchain") else { return };
    let ended = tree.millwright(&["license-check", "build/toolchain_rpms", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(document["checked"].as_u64().unwrap() > 100, "{document}");
    assert_eq!(document["packages"], json!([]));
    ended.exits(0);
}
