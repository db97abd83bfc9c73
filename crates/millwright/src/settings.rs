//! What the configuration says once flags, environment, file and defaults are laid together; `millwright config`.

use std::path::{Path, PathBuf};

use config::{Config, RawConfig};
use grapher::{did_you_mean, near_names};
use report::{ExitStatus, Failure};
use serde_json::Value;

use crate::arguments::Common;

/// The configuration file's place below the tree's root.
const CONFIGURATION: &str = "configs/millwright.toml";

/// Reads the configuration: flags over the file over defaults. Returns what is stated, and what holds.
pub(crate) fn configuration(common: &Common) -> Result<(RawConfig, Config), Failure> {
    let usage = |error: config::ConfigError| Failure::new(ExitStatus::Usage, error);
    let root = root_directory(common)?;
    let file = common.config.clone().unwrap_or_else(|| root.join(CONFIGURATION));
    let mut raw = if file.exists() || common.config.is_some() {
        RawConfig::read(&file).map_err(usage)?
    } else {
        RawConfig::default()
    };
    let overlay = common.overlay().map_err(|error| Failure::new(ExitStatus::Environment, error))?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if common.disable_default_repos == Some(true) {
        raw.repositories.clear();
    }
    let mut raw = raw.overlaid_with(overlay);
    common.policy.lay_over(&mut raw);
    if common.disable_upstream_repos == Some(true) {
        raw.repositories.clear();
    }
    let config = raw.clone().resolve(&root, processors).map_err(usage)?;
    Ok((raw, config))
}

/// Returns the tree's root: as given, or the nearest directory upwards that holds a configuration.
fn root_directory(common: &Common) -> Result<PathBuf, Failure> {
    let environment = |error: std::io::Error| Failure::new(ExitStatus::Environment, error);
    if let Some(root) = common.root() {
        return std::path::absolute(root).map_err(environment);
    }
    let current = std::env::current_dir().map_err(environment)?;
    let found = current.ancestors().find(|directory| directory.join(CONFIGURATION).is_file());
    Ok(found.map_or_else(|| current.clone(), Path::to_owned))
}

/// Prints the configuration that holds, or the values of some keys, one a line.
pub(crate) fn show(
    stated: RawConfig,
    config: &Config,
    keys: &[String],
    json: bool,
) -> Result<ExitStatus, Failure> {
    let holds = stated.with_values_of(config);
    let text = if keys.is_empty() && !json {
        holds.to_toml().map_err(|error| Failure::new(ExitStatus::Internal, error))?
    } else {
        let all = serde_json::to_value(&holds).map_err(|error| Failure::new(ExitStatus::Internal, error))?;
        let values = keys.iter().map(|key| value(&all, key).ok_or_else(|| unknown(&all, key)));
        let values: Vec<&Value> = values.collect::<Result<_, _>>()?;
        match (json, keys.is_empty()) {
            (true, true) => all.to_string(),
            (true, false) => {
                let named = keys.iter().cloned().zip(values.into_iter().cloned());
                Value::Object(named.collect()).to_string()
            }
            (false, _) => values.into_iter().map(line).collect::<Vec<_>>().join("\n"),
        }
    };
    report::print(&text)?;
    Ok(ExitStatus::Done)
}

fn unknown(all: &Value, key: &str) -> Failure {
    let near = did_you_mean(&near_names(keys(all).iter().map(String::as_str), key));
    Failure::new(ExitStatus::Usage, format!("there is no key `{key}`{near}"))
        .hint("`millwright config` shows all that have a value, docs/configuration.md explains them")
}

/// Returns the keys of all values that are no tables.
fn keys(table: &Value) -> Vec<String> {
    let Some(table) = table.as_object() else { return Vec::new() };
    let below = |(name, value): (&String, &Value)| match keys(value) {
        below if below.is_empty() => vec![name.clone()],
        below => below.iter().map(|key| format!("{name}.{key}")).collect(),
    };
    table.iter().flat_map(below).collect()
}

/// Returns the value of a key; names of tables may hold dots, as packages' do.
fn value<'a>(table: &'a Value, key: &str) -> Option<&'a Value> {
    let table = table.as_object()?;
    if let Some(value) = table.get(key) {
        return Some(value);
    }
    table.iter().find_map(|(name, below)| value(below, key.strip_prefix(name.as_str())?.strip_prefix('.')?))
}

/// Returns a value as one line; one that is not set is an empty line.
fn line(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace('\n', " "),
        Value::Array(values) if values.iter().all(Value::is_string) => {
            values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_whatever_dots_names_have() {
        let all = serde_json::json!({
            "build": { "workers": 4, "ca": null },
            "packages": { "python3.12": { "timeout": "2h" }, "python3": { "timeout": "1h" } },
            "sources": { "urls": ["a", "b"] },
        });
        let shown = |key: &str| value(&all, key).map(line);
        assert!(unknown(&all, "build.wrokers").render().contains("; did you mean build.workers?"));
        assert_eq!(shown("build.workers").unwrap(), "4");
        assert_eq!(shown("build.ca").unwrap(), "");
        assert_eq!(shown("packages.python3.12.timeout").unwrap(), "2h");
        assert_eq!(shown("packages.python3.timeout").unwrap(), "1h");
        assert_eq!(shown("sources.urls").unwrap(), "a b");
        assert_eq!(shown("build").unwrap(), "{\"workers\":4,\"ca\":null}");
        for key in ["", ".", "build.", "build.worker", "packages.python3.12", "workers"] {
            assert_eq!(shown(key).is_some(), key == "packages.python3.12", "{key}");
        }
    }
}
