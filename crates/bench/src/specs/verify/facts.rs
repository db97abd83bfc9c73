//! Facts about one spec in a form in which two accounts of it can be compared: names of facts with sets of texts.
//!
//! [`of_data`] takes the engine's account through its documented JSON form, field by field, so a field that is
//! added later appears here by itself, and counts as a difference until the oracle knows it.

use std::collections::{BTreeMap, BTreeSet};

use rpm_model::{Requirement, SpecData};
use serde_json::Value;

/// What is said about one spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts(pub(super) BTreeMap<String, BTreeSet<String>>);

impl Facts {
    /// Notes one more value of a fact; blanks are made alike, since texts of dependencies may differ in them.
    pub(super) fn add(&mut self, name: impl Into<String>, value: &str) {
        let words: Vec<&str> = value.split_whitespace().collect();
        self.0.entry(name.into()).or_default().insert(words.join(" "));
    }

    /// Returns the facts in which two accounts differ, with what only the one and only the other has.
    pub(super) fn differences(&self, other: &Self) -> Vec<Difference> {
        let names: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let none = BTreeSet::new();
        let difference = |name: &String| {
            let (ours, theirs) = (self.0.get(name).unwrap_or(&none), other.0.get(name).unwrap_or(&none));
            let only =
                |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
            (ours != theirs).then(|| Difference {
                fact: name.clone(),
                ours: only(ours, theirs),
                theirs: only(theirs, ours),
            })
        };
        names.into_iter().filter_map(difference).collect()
    }
}

/// A fact in which two accounts differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) fact: String,
    /// What only the first account has.
    pub(super) ours: Vec<String>,
    /// What only the second account has.
    pub(super) theirs: Vec<String>,
}

/// Returns the engine's account.
pub(super) fn of_data(data: &SpecData) -> Facts {
    let mut facts = Facts::default();
    let value = serde_json::to_value(data).unwrap_or_default();
    for (key, value) in value.as_object().into_iter().flatten() {
        match key.as_str() {
            // What the caller gave.
            "name" | "spec_path" => {}
            "sources" => items(value).for_each(|source| add_source(&mut facts, source)),
            "packages" => items(value).for_each(|package| add_package(&mut facts, package)),
            _ => add_value(&mut facts, key, value),
        }
    }
    facts
}

fn add_source(facts: &mut Facts, source: &Value) {
    let mut parts = Vec::new();
    let text = |key: &str| source.get(key).and_then(Value::as_str).unwrap_or_default();
    parts.push(format!("{} {} {}", text("kind"), &source["number"], text("file")));
    for (key, value) in source.as_object().into_iter().flatten() {
        match key.as_str() {
            "kind" | "number" | "file" => {}
            "url" => parts.push(text("url").to_owned()),
            "used" => parts.push(format!("used={}", text("used"))),
            _ if value == &Value::Bool(true) => parts.push(key.clone()),
            _ => parts.push(format!("{key}={value}")),
        }
    }
    facts.add("sources", &parts.join(" "));
}

fn add_package(facts: &mut Facts, package: &Value) {
    let nevra = package.get("nevra").and_then(Value::as_str).unwrap_or_default();
    facts.add("packages", nevra);
    for (key, value) in package.as_object().into_iter().flatten() {
        let name = format!("{nevra}/{key}");
        match (key.as_str(), value) {
            ("nevra", _) => {}
            (_, Value::Object(by_kind)) => {
                for (kind, list) in by_kind {
                    add_value(facts, &format!("{name}/{kind}"), list);
                }
            }
            _ => add_value(facts, &name, value),
        }
    }
}

fn add_value(facts: &mut Facts, name: &str, value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| facts.add(name, &text(item))),
        value => facts.add(name, &text(value)),
    }
}

/// Boolean expressions are trees in JSON; they are compared as rpm writes them.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) => serde_json::from_value::<Requirement>(value.clone())
            .map_or_else(|_| value.to_string(), |requirement| requirement.to_string()),
        value => value.to_string(),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(list: &[(&str, &str)]) -> Facts {
        let mut facts = Facts::default();
        list.iter().for_each(|(name, value)| facts.add(*name, value));
        facts
    }

    #[test]
    fn every_field_of_the_data_is_a_fact() {
        let data: SpecData = serde_json::from_value(serde_json::json!({
            "name": "z", "spec_path": "z.spec", "source": "z-1-2.src",
            "build_requires": ["make", {"or": ["a", "b >= 2"]}], "check_requires": [],
            "sources": [{"kind": "patch", "number": 3, "file": "p", "url": "http://h/p"}],
            "packages": [{"nevra": "z-1-2.noarch", "provides": ["z = 1-2"], "requires": []}],
            "has_check": true,
        }))
        .unwrap();
        let expected = facts(&[
            ("source", "z-1-2.src"),
            ("build_requires", "make"),
            ("build_requires", "(a or b >= 2)"),
            ("sources", "patch 3 p http://h/p"),
            ("packages", "z-1-2.noarch"),
            ("z-1-2.noarch/provides", "z = 1-2"),
            ("has_check", "true"),
        ]);
        assert_eq!(of_data(&data), expected);
    }

    #[test]
    fn differences_have_both_sides() {
        let (ours, theirs) =
            (facts(&[("a", "1"), ("a", "2"), ("b", "x  y")]), facts(&[("a", "2"), ("b", "x y"), ("c", "3")]));
        let found = ours.differences(&theirs);
        let shown: Vec<(&str, usize, usize)> =
            found.iter().map(|found| (found.fact.as_str(), found.ours.len(), found.theirs.len())).collect();
        assert_eq!(shown, [("a", 1, 0), ("c", 0, 1)]);
    }
}
