//! `[[result-stores]]`: where results of builds are taken from and put to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::resolved::{ConfigError, duration, value};

/// One table of `[[result-stores]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawResultStore {
    /// How reports call it (default its address).
    pub name: Option<String>,
    /// A directory, or an address: `http`, `https`, `s3`, `az`.
    pub url: Option<String>,
    /// `read-only` (default) or `read-write`.
    pub access: Option<ResultAccess>,
    /// Whose results are believed: ed25519 public keys, base64 (default: whoever can write there).
    pub trusted_keys: Option<Vec<String>>,
    /// The private key that signs what is put there, PEM (default: not signed).
    pub signing_key: Option<PathBuf>,
    /// How long an answer may take, for example `20s` (the default).
    pub timeout: Option<String>,
    /// Options of the kind of store, for example `aws_region`.
    pub options: Option<BTreeMap<String, String>>,
}

/// What may be done with a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultAccess {
    /// Results are taken from it.
    #[default]
    ReadOnly,
    /// Results are taken from it and put there.
    ReadWrite,
}

/// A store of results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultStore {
    /// How reports call it.
    pub name: String,
    /// Where it is.
    pub place: ResultPlace,
    /// What may be done with it.
    pub access: ResultAccess,
    /// Public keys, as stated.
    pub trusted_keys: Vec<String>,
    /// File with the private key.
    pub signing_key: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Options of the kind of store.
    pub options: BTreeMap<String, String>,
}

/// Where a store of results is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultPlace {
    /// An absolute directory.
    Directory(PathBuf),
    /// An address with a scheme.
    Url(String),
}

/// Returns the stores as needed; directories are relative to the tree's root.
pub(crate) fn resolve(tables: Vec<RawResultStore>, root: &Path) -> Result<Vec<ResultStore>, ConfigError> {
    let stores = tables.into_iter().enumerate().map(|(number, table)| {
        let key = format!("result-stores[{number}]");
        let url =
            table.url.ok_or_else(|| value(&format!("{key}.url"), "absent", "a directory or an address"))?;
        let place = if url.contains("://") {
            ResultPlace::Url(url.clone())
        } else {
            ResultPlace::Directory(root.join(&url))
        };
        Ok(ResultStore {
            name: table.name.unwrap_or(url),
            place,
            access: table.access.unwrap_or_default(),
            trusted_keys: table.trusted_keys.unwrap_or_default(),
            signing_key: table.signing_key.map(|path| root.join(path)),
            timeout: duration(&format!("{key}.timeout"), table.timeout.as_deref().unwrap_or("20s"))?,
            options: table.options.unwrap_or_default(),
        })
    });
    let stores = stores.collect::<Result<Vec<ResultStore>, ConfigError>>()?;
    let mut names: Vec<&str> = stores.iter().map(|store| store.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(value("result-stores.name", pair[0], "a name that no other store has")),
        None => Ok(stores),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stores(text: &str) -> Result<Vec<ResultStore>, String> {
        let raw: crate::RawConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        resolve(raw.result_stores, Path::new("/tree")).map_err(|error| error.to_string())
    }

    #[test]
    fn directories_are_of_the_tree_and_addresses_stay() {
        let stores = stores(
            "[[result-stores]]\nurl = 'shared'\naccess = 'read-write'\nsigning-key = 'k.pem'\n\
             [[result-stores]]\nname = 'team'\nurl = 's3://bucket/x'\noptions = { aws_region = 'eu-1' }\n",
        )
        .unwrap();
        assert_eq!(stores[0].place, ResultPlace::Directory("/tree/shared".into()));
        assert_eq!((stores[0].name.as_str(), stores[0].access), ("shared", ResultAccess::ReadWrite));
        assert_eq!(stores[0].signing_key.as_deref(), Some(Path::new("/tree/k.pem")));
        assert_eq!(stores[1].place, ResultPlace::Url("s3://bucket/x".into()));
        assert_eq!((stores[1].access, stores[1].timeout), (ResultAccess::ReadOnly, Duration::from_secs(20)));
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, part: &str| {
            let message = stores(text).unwrap_err();
            assert!(message.contains(part), "{message}");
        };
        check("[[result-stores]]\nname = 'a'\n", "result-stores[0].url");
        check("[[result-stores]]\nurl = 'a'\naccess = 'write'\n", "read-only");
        check("[[result-stores]]\nurl = 'a'\ntimeout = 'soon'\n", "result-stores[0].timeout");
        check("[[result-stores]]\nurl = 'a'\n[[result-stores]]\nurl = 'a'\n", "no other store");
    }
}
