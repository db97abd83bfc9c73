//! `millwright cache` over a tree's own layer store.

use std::fs;

use serde_json::Value;

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};

#[test]
fn the_cache_tells_what_it_holds_and_keeps_to_its_budget() {
    let Some(tree) = Tree::new("cache") else { return };
    // The tests share the workspace's layers; what this one removes must be its own.
    fs::remove_file(tree.path("build/cache/layers")).unwrap();
    let none = tree.millwright(&["cache", "stat"]);
    none.exits(0);
    assert!(none.stdout.contains("0 of 0 layers in use by 0 roots"), "{}", none.stdout);
    tree.millwright(&["cache", "gc"]).exits(2).says(&["cache gc --budget 20GiB", "layer-budget"]);
    tree.millwright(&["cache", "gc", "--budget", "much"]).exits(2);

    tree.spec(&Spec::data("cached"));
    tree.millwright(&["build"]).exits(0);
    let document = |arguments: &[&str]| -> Value {
        let ended = tree.millwright(arguments);
        serde_json::from_str(&ended.exits(0).stdout).unwrap()
    };
    let layers = document(&["cache", "stat", "--json"])["layers"].clone();
    let number = |value: &Value| value.as_u64().unwrap();
    let (bytes, count) = (number(&layers["bytes"]), number(&layers["layers"]));
    assert!(bytes > 50 << 20 && count > 50, "{layers}");
    assert!(number(&layers["kinds"]["rpm"]["layers"]) > 50 && layers["kinds"]["rpm"]["oldest_use"].is_u64());
    assert_eq!(number(&layers["leases"]), 0, "nobody is left who uses one");
    let text = tree.millwright(&["cache", "stat"]);
    assert!(text.exits(0).stdout.contains("what specs say"), "{}", text.stdout);

    let half = (bytes / 2).to_string();
    let dry = document(&["cache", "gc", "--budget", &half, "--dry-run", "--json"])["collected"].clone();
    assert!(!dry["removed"].as_array().unwrap().is_empty());
    assert_eq!(number(&document(&["cache", "stat", "--json"])["layers"]["bytes"]), bytes);
    let told = tree.millwright(&["cache", "gc", "--budget", &half]);
    assert!(told.exits(0).stdout.contains("removed "), "{}", told.stdout);
    assert!(number(&document(&["cache", "stat", "--json"])["layers"]["bytes"]) <= bytes / 2);

    // What went is made again, and a build with a budget ends with a collection.
    tree.configure(&format!("{OFFLINE}[cache]\nlayer-budget = \"1KiB\"\n"));
    tree.millwright(&["rebuild", "cached"]).exits(0);
    let left = document(&["cache", "stat", "--json"]);
    assert_eq!(number(&left["layer_budget"]), 1024);
    assert!(number(&left["layers"]["bytes"]) < bytes, "{left}");
}
