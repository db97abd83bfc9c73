//! The stores of results that a configuration names, opened for a run.
//!
//! Credentials of object stores are not in the configuration: they are taken from the environment, here and
//! nowhere else, under the names that each kind of store documents (`AWS_…`, `AZURE_…`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use config::{Config, Directories, ResultAccess, ResultPlace, ResultStore};
use report::{ExitStatus, Failure};
use result_store::{Access, KeyError, Location, PublicKey, SigningKey, StoreSettings};
use scheduler::ResultReuse;

/// How reports call the store of the build directory.
const LOCAL: &str = "local";

/// Returns where the build directory's own results are.
pub(crate) fn local_directory(directories: &Directories) -> PathBuf {
    directories.build.join("cache/results")
}

/// Opens the stores of a run: the build directory's own, then those of the configuration.
pub(crate) fn open(config: &Config) -> Result<ResultReuse, Failure> {
    let mut stores = Vec::new();
    if config.result_cache {
        stores.push(StoreSettings {
            name: LOCAL.to_owned(),
            location: Location::Directory(local_directory(&config.directories)),
            access: Access::ReadWrite,
            trusted_keys: Vec::new(),
            signing_key: None,
            timeout: Duration::MAX,
        });
        for store in &config.result_stores {
            // Offline, directories are all there is.
            if !config.offline || matches!(store.place, ResultPlace::Directory(_)) {
                stores.push(settings(store)?);
            }
        }
    }
    let waiting = config.directories.build.join("cache/results-to-publish");
    ResultReuse::new(stores, waiting).map_err(|error| Failure::new(ExitStatus::Usage, error))
}

fn settings(store: &ResultStore) -> Result<StoreSettings, Failure> {
    let usage = |message: String| {
        Failure::new(ExitStatus::Usage, message).hint("docs/results.md tells what a store of results needs")
    };
    let key = |error: KeyError| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        usage(format!("result store `{}`: {error}{cause}", store.name))
    };
    let location = match &store.place {
        ResultPlace::Directory(path) => Location::Directory(path.clone()),
        ResultPlace::Url(text) => Location::Url {
            url: text.parse().map_err(|error| {
                usage(format!("result store `{}`: `{text}` is no address: {error}", store.name))
            })?,
            options: store.options.clone(),
            environment: environment(),
        },
    };
    Ok(StoreSettings {
        name: store.name.clone(),
        location,
        access: match store.access {
            ResultAccess::ReadOnly => Access::ReadOnly,
            ResultAccess::ReadWrite => Access::ReadWrite,
        },
        trusted_keys: store
            .trusted_keys
            .iter()
            .map(|text| text.parse::<PublicKey>())
            .collect::<Result<_, _>>()
            .map_err(key)?,
        signing_key: store.signing_key.as_deref().map(SigningKey::read).transpose().map_err(key)?,
        timeout: store.timeout,
    })
}

/// Returns what the environment says of object stores.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("AWS_") || name.starts_with("AZURE_"))
        .collect()
}
