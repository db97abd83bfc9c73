//! `[[repositories]]`: where packages from outside the tree and the toolchain come from.
//!
//! What is checked here is what a table says; what a `.repo` file says is checked by who reads it.

use std::path::{Path, PathBuf};

use rpm_model::{PackageOrigin, PackagePattern};
use serde::{Deserialize, Serialize};

use crate::resolved::{ConfigError, value};

/// One table of `[[repositories]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawRepository {
    /// Its name, unless `file` says it.
    pub id: Option<String>,
    /// Addresses or directories that hold `repodata/`, asked in order.
    pub urls: Option<Vec<String>>,
    /// The address of a text with such addresses.
    pub mirrorlist: Option<String>,
    /// The address of a metalink document.
    pub metalink: Option<String>,
    /// A `.repo` file with any number of repositories.
    pub file: Option<PathBuf>,
    /// `staging`, `live` or `base` (default): where its packages count as coming from.
    pub origin: Option<String>,
    /// Among repositories of one origin the lower number hides packages of the same name (default 99).
    pub priority: Option<u32>,
    /// Whether it is used (default true).
    pub enabled: Option<bool>,
    /// What `$releasever` stands for (default the distribution's release version).
    pub release: Option<String>,
    /// Files with public keys; for `file` they take the place of its own.
    pub gpg_keys: Option<Vec<PathBuf>>,
    /// Whether packages must be signed by one of the keys (default false).
    pub gpgcheck: Option<bool>,
    /// Whether `repomd.xml` must be (default false).
    pub repo_gpgcheck: Option<bool>,
    /// Only packages that match one of these count (default all).
    pub include: Option<Vec<PackagePattern>>,
    /// Packages that match one of these do not count.
    pub exclude: Option<Vec<PackagePattern>>,
    /// A certificate authority to trust besides the system's, PEM.
    pub ca_cert: Option<PathBuf>,
    /// The client certificate, PEM.
    pub tls_cert: Option<PathBuf>,
    /// The client certificate's key, PEM.
    pub tls_key: Option<PathBuf>,
    /// Whether a run goes on without it when it cannot be had (default false).
    pub skip_if_unavailable: Option<bool>,
    /// Whether its metadata may name packages at other addresses (default false).
    pub foreign_locations: Option<bool>,
}

/// A repository, or the repositories of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Where it is, and its name.
    pub place: RepositoryPlace,
    /// Where its packages count as coming from.
    pub origin: PackageOrigin,
    /// See [`RawRepository::priority`]; `None` where nothing is said.
    pub priority: Option<u32>,
    /// What `$releasever` stands for.
    pub release: String,
    /// Files with public keys.
    pub gpg_keys: Vec<PathBuf>,
    /// Whether packages must be signed; `None` where nothing is said.
    pub gpgcheck: Option<bool>,
    /// Whether the metadata must be; `None` where nothing is said.
    pub repo_gpgcheck: Option<bool>,
    /// Patterns of packages that count; empty means all.
    pub include: Vec<PackagePattern>,
    /// Patterns of packages that do not count.
    pub exclude: Vec<PackagePattern>,
    /// Extra certificate authority.
    pub ca_cert: Option<PathBuf>,
    /// Client certificate and key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Whether a run goes on without it; `None` where nothing is said.
    pub skip_if_unavailable: Option<bool>,
    /// Whether packages may be at other addresses.
    pub foreign_locations: bool,
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryPlace {
    /// At one of these addresses or directories.
    Urls {
        /// Its name.
        id: String,
        /// The addresses; directories are absolute.
        urls: Vec<String>,
    },
    /// At an address in the text at this address.
    MirrorList {
        /// Its name.
        id: String,
        /// The text.
        address: String,
    },
    /// At an address in the metalink document at this address.
    MetaLink {
        /// Its name.
        id: String,
        /// The document.
        address: String,
    },
    /// As this `.repo` file says.
    File(PathBuf),
}

impl RawRepository {
    /// Returns the repositories of a `.repo` file, as base repositories.
    pub fn of_file(file: PathBuf) -> Self {
        Self { file: Some(file), ..Self::default() }
    }
}

/// Returns the repositories that are enabled.
pub(crate) fn resolve(
    tables: Vec<RawRepository>,
    root: &Path,
    release_version: &str,
) -> Result<Vec<Repository>, ConfigError> {
    let enabled = tables.into_iter().enumerate().filter(|(_, table)| table.enabled.unwrap_or(true));
    let resolved: Vec<Repository> = enabled
        .map(|(number, table)| resolve_one(number, table, root, release_version))
        .collect::<Result<_, _>>()?;
    let mut ids: Vec<&str> = resolved.iter().filter_map(|repository| repository.place.id()).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(value("repositories.id", pair[0], "a name that no other repository has")),
        None => Ok(resolved),
    }
}

impl RepositoryPlace {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Urls { id, .. } | Self::MirrorList { id, .. } | Self::MetaLink { id, .. } => Some(id),
            Self::File(_) => None,
        }
    }
}

fn resolve_one(
    number: usize,
    table: RawRepository,
    root: &Path,
    release_version: &str,
) -> Result<Repository, ConfigError> {
    let name = match &table.id {
        Some(id) => id.clone(),
        None => format!("number {}", number + 1),
    };
    let wrong =
        |key: &str, found: &str, expected| Err(value(&format!("repositories.{key}"), found, expected));
    let id = || table.id.clone().ok_or_else(|| value("repositories.id", "", "a name for each repository"));
    let place = match (&table.urls, &table.mirrorlist, &table.metalink, &table.file) {
        (Some(urls), None, None, None) if !urls.is_empty() => {
            let absolute = |url: &String| match url.contains(':') {
                true => url.clone(),
                false => root.join(url).display().to_string(),
            };
            RepositoryPlace::Urls { id: id()?, urls: urls.iter().map(absolute).collect() }
        }
        (None, Some(address), None, None) => {
            RepositoryPlace::MirrorList { id: id()?, address: address.clone() }
        }
        (None, None, Some(address), None) => {
            RepositoryPlace::MetaLink { id: id()?, address: address.clone() }
        }
        (None, None, None, Some(file)) if table.id.is_none() => RepositoryPlace::File(root.join(file)),
        (None, None, None, Some(_)) => {
            return wrong("id", &name, "none beside `file`, which has the names of its repositories");
        }
        _ => return wrong("id", &name, "exactly one of `urls`, `mirrorlist`, `metalink` and `file` with it"),
    };
    let origin = match table.origin.as_deref() {
        None | Some("base") => PackageOrigin::Base,
        Some("live") => PackageOrigin::Live,
        Some("staging") => PackageOrigin::Staging,
        Some(other) => return wrong("origin", other, "`staging`, `live` or `base`"),
    };
    let gpg_keys: Vec<PathBuf> =
        table.gpg_keys.unwrap_or_default().into_iter().map(|key| root.join(key)).collect();
    let checks = table.gpgcheck == Some(true) || table.repo_gpgcheck == Some(true);
    if checks && gpg_keys.is_empty() && !matches!(place, RepositoryPlace::File(_)) {
        return wrong("gpg-keys", &name, "key files, since signatures are to be checked");
    }
    let client_certificate = match (table.tls_cert, table.tls_key) {
        (Some(certificate), Some(key)) => Some((root.join(certificate), root.join(key))),
        (None, None) => None,
        _ => return wrong("tls-cert", &name, "`tls-cert` and `tls-key` together"),
    };
    Ok(Repository {
        place,
        origin,
        priority: table.priority,
        release: table.release.unwrap_or_else(|| release_version.to_owned()),
        gpg_keys,
        gpgcheck: table.gpgcheck,
        repo_gpgcheck: table.repo_gpgcheck,
        include: table.include.unwrap_or_default(),
        exclude: table.exclude.unwrap_or_default(),
        ca_cert: table.ca_cert.map(|file| root.join(file)),
        client_certificate,
        skip_if_unavailable: table.skip_if_unavailable,
        foreign_locations: table.foreign_locations.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RawConfig;

    fn resolved(text: &str) -> Result<Vec<Repository>, String> {
        let raw: RawConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        let config = raw.resolve(Path::new("/tree"), 1).map_err(|error| error.to_string())?;
        Ok(config.repositories)
    }

    #[test]
    fn a_table_is_a_repository() {
        let text = "[[repositories]]\nid = 'a'\nurls = ['https://h/x', 'local', '/srv']\norigin = 'live'\n\
                    ca-cert = 'ca.pem'\n[[repositories]]\nfile = 'x.repo'\nrelease = '3.0'\n\
                    [[repositories]]\nid = 'off'\nenabled = false\n";
        let found = resolved(text).unwrap();
        let urls = ["https://h/x", "/tree/local", "/srv"].map(str::to_owned).to_vec();
        assert_eq!(found[0].place, RepositoryPlace::Urls { id: "a".into(), urls });
        assert_eq!((found[0].origin, found[0].release.as_str()), (PackageOrigin::Live, "1.0"));
        assert_eq!(found[0].ca_cert, Some("/tree/ca.pem".into()));
        assert_eq!(found[1].place, RepositoryPlace::File("/tree/x.repo".into()));
        assert_eq!((found[1].release.as_str(), found.len()), ("3.0", 2));
    }

    #[test]
    fn mistakes_are_named() {
        for (table, part) in [
            ("id = 'a'", "exactly one of `urls`"),
            ("id = 'a'\nurls = []", "exactly one of `urls`"),
            ("id = 'a'\nurls = ['x']\nmetalink = 'y'", "exactly one of `urls`"),
            ("urls = ['x']", "a name for each repository"),
            ("id = 'a'\nfile = 'x.repo'", "none beside `file`"),
            ("id = 'a'\nurls = ['x']\norigin = 'tree'", "repositories.origin` is `tree`"),
            ("id = 'a'\nurls = ['x']\ngpgcheck = true", "key files"),
            ("id = 'a'\nurls = ['x']\ntls-key = 'y'", "together"),
            ("id = 'a'\nurls = ['x']\n[[repositories]]\nid = 'a'\nurls = ['y']", "no other repository has"),
            ("id = 'a'\nurl = 'x'", "unknown field `url`"),
        ] {
            let error = resolved(&format!("[[repositories]]\n{table}\n")).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
