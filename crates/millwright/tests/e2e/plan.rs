//! What `millwright plan` does, and what it leaves alone.

use rpm_model::ContentDigest;
use testkit::{Reply, SourceServer};

use crate::spec::Spec;
use crate::tree::{Tree, files_below};

/// A tree whose one source is on a server that the test watches.
fn tree_with_remote_source(test: &str, server: &SourceServer) -> Option<Tree> {
    let tree = Tree::new(test)?;
    let content = "from afar\n";
    server.route("/far-1.0.txt", [Reply::file(content)]);
    tree.configure(&format!("[sources]\nurls = [\"{}\"]\nupstream = false\n", server.url()));
    tree.spec(&Spec::data("far").tag("Source0: far-1.0.txt"));
    let hash = ContentDigest::of_bytes(content.as_bytes());
    tree.file(
        "SPECS/far/far.signatures.json",
        &format!("{{\"Signatures\": {{\"far-1.0.txt\": \"{hash}\"}}}}"),
    );
    tree.spec(&Spec::data("near").needs("far"));
    Some(tree)
}

#[test]
fn a_plan_over_what_was_never_built_fetches_and_packs_nothing() {
    let server = SourceServer::start();
    let Some(tree) = tree_with_remote_source("plan-fetches-nothing", &server) else { return };
    for (arguments, number) in
        [(&["plan"][..], 2), (&["build", "--dry-run"], 2), (&["rebuild", "far", "--dry-run"], 1)]
    {
        tree.millwright(arguments).exits(0).says(&[
            &format!(
                "{number} to build, 0 up to date, about {} with",
                report::duration(30.0 * f64::from(number))
            ),
            &format!("the sources of {number} never-built package"),
        ]);
    }
    assert!(server.requests().is_empty(), "{:?}", server.requests());
    assert_eq!(files_below(&tree.path("build/INTERMEDIATE_SRPMS")), [] as [std::path::PathBuf; 0]);
    assert_eq!(files_below(&tree.path("build/sources")), [] as [std::path::PathBuf; 0]);
    tree.millwright(&["build"]).exits(0).says(&["2 built"]);
    let asked = server.requests().len();
    assert!(asked > 0);
    // With records, sources are compared; nothing changed, so nothing is asked for again.
    tree.millwright(&["plan"]).exits(0).says(&["0 to build, 2 up to date"]).never_says(&["not looked at"]);
    assert_eq!(server.requests().len(), asked);
}

#[test]
fn a_plan_as_json_is_one_document_on_standard_output() {
    let Some(tree) = Tree::new("plan-json") else { return };
    tree.spec(&Spec::data("one"));
    tree.spec(&Spec::data("two").needs("one"));
    tree.spec(&Spec::data("bad").needs("nowhere"));
    let ended = tree.millwright(&["plan", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&ended.exits(1).stdout).unwrap();
    assert_eq!(plan["schema"], 2);
    assert_eq!(plan["goals"], serde_json::json!(["bad", "one", "two"]));
    assert_eq!(plan["causes"][0]["requirement"], "nowhere");
    assert_eq!(plan["time"]["critical_path"][1]["package"], "two");
    let file: serde_json::Value = serde_json::from_str(&tree.read("build/pkg_artifacts/plan.json")).unwrap();
    assert_eq!(plan, file);
    let named = tree.millwright(&["plan", "one"]);
    named
        .exits(0)
        .says(&["1 to build, 0 up to date", "goals on which others depend, directly or not:\n  one 1\n"]);
}

#[test]
fn a_plan_is_played_with_any_number_of_workers() {
    let Some(tree) = Tree::new("plan-played") else { return };
    tree.spec(&Spec::data("one"));
    tree.spec(&Spec::data("two").needs("one"));
    tree.spec(&Spec::data("other"));
    let ended = tree.millwright(&["plan", "--simulate", "--workers", "64", "--json"]);
    let played: serde_json::Value = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    // Nothing was built yet, so each build takes what is assumed.
    assert_eq!((&played["guessed"], &played["schedule"]["workers"]), (&3.into(), &64.into()));
    assert_eq!(played["schedule"]["makespan_seconds"], 60.0);
    let names = |list: &str| {
        let items = played[list].as_array().unwrap().iter();
        items.map(|item| item["package"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((names("builds"), names("chain")), (words(&["one", "other", "two"]), words(&["one", "two"])));
    let workers = |other: &serde_json::Value| other["workers"].as_u64().unwrap();
    assert_eq!(played["others"].as_array().unwrap().iter().map(workers).collect::<Vec<_>>(), [32, 128]);
    let file: serde_json::Value =
        serde_json::from_str(&tree.read("build/pkg_artifacts/simulation.json")).unwrap();
    assert_eq!(played, file);
    tree.millwright(&["plan", "--simulate", "--workers", "1"]).exits(0).says(&[
        "3 builds played with 1 worker: 1:30 min, workers busy 100 % of the time",
        "had no room before",
    ]);
    assert!(!tree.path("out/RPMS").exists(), "a plan builds nothing");
}

fn words(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
