//! Keeps `docs/configuration.md` true: its example states every key there is, and no other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use config::RawConfig;
use serde_json::Value;

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("```toml\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Collects the paths of keys that have no value.
fn unset(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Null => found.push(path.to_owned()),
        // Alternatives are stated by different entries of a list.
        Value::Array(list) if list.iter().any(Value::is_object) => {
            let mut all = serde_json::Map::new();
            for (key, value) in list.iter().filter_map(Value::as_object).flatten() {
                if !value.is_null() || !all.contains_key(key) {
                    all.insert(key.clone(), value.clone());
                }
            }
            unset(&Value::Object(all), path, found);
        }
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| unset(value, &format!("{path}.{key}"), found))
        }
        _ => {}
    }
}

#[test]
fn the_example_states_every_key() {
    let config: RawConfig = toml::from_str(&example()).unwrap();
    assert!(!config.repositories.is_empty());
    let mut missing = Vec::new();
    unset(&serde_json::to_value(&config).unwrap(), "", &mut missing);
    assert!(missing.is_empty(), "docs/configuration.md does not name {missing:?}");
    config.resolve(Path::new("/tree"), 1).unwrap();
}
