//! `millwright config`: what the configuration says once flags, environment, file and defaults are laid together.

use config::{Config, RawConfig};
use report::{ExitStatus, Failure};
use serde_json::Value;

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
        let values = keys.iter().map(|key| value(&all, key).ok_or_else(|| unknown(key)));
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

fn unknown(key: &str) -> Failure {
    Failure::new(ExitStatus::Usage, format!("there is no key `{key}`"))
        .hint("`millwright config` shows all that have a value, docs/configuration.md explains them")
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
