//! `names.toml`: what RPM distributions call Debian's packages, and the corrections some of them need.

use crate::error::BootstrapError;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The table as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNames {
    /// Debian packages that are not bridged; what they are for is done by `filesystem` or by nobody.
    #[serde(default)]
    omit: BTreeSet<String>,
    /// Debian packages that are bridged, but on which no package depends.
    #[serde(default)]
    ignore: BTreeSet<String>,
    /// Debian packages on which dependencies become `Recommends`.
    #[serde(default)]
    weak: BTreeSet<String>,
    /// Paths that stay out of every package, a final `*` matching the rest.
    #[serde(default)]
    skip: Vec<String>,
    /// Debian name to RPM name.
    #[serde(default)]
    names: BTreeMap<String, String>,
    /// Corrections by Debian name.
    #[serde(default)]
    package: BTreeMap<String, Correction>,
}

/// What a package gets besides what is found in it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Correction {
    /// Further `Provides`.
    #[serde(default)]
    pub(crate) provides: Vec<String>,
    /// Further `Requires`.
    #[serde(default)]
    pub(crate) requires: Vec<String>,
    /// Debian packages on which this one shall not depend.
    #[serde(default)]
    pub(crate) without: BTreeSet<String>,
    /// Symbolic links: path to target.
    #[serde(default)]
    pub(crate) links: BTreeMap<String, String>,
}

/// The table in use.
#[derive(Debug, Clone)]
pub struct NameTable {
    raw: RawNames,
    nothing: Correction,
}

impl NameTable {
    /// Returns the table of a TOML text; `file` is its name for messages.
    ///
    /// # Errors
    /// [`BootstrapError::Configuration`] for a syntax error, an unknown key, or two packages of one name.
    pub fn parse(file: &str, text: &str) -> Result<Self, BootstrapError> {
        let fail = |problem: String| BootstrapError::Configuration { file: file.to_owned(), problem };
        let raw: RawNames = toml::from_str(text).map_err(|error| fail(error.to_string()))?;
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for (deb, rpm) in &raw.names {
            if let Some(other) = taken.insert(rpm, deb) {
                return Err(fail(format!("`{other}` and `{deb}` both become `{rpm}`")));
            }
        }
        Ok(Self { raw, nothing: Correction::default() })
    }

    /// Returns the RPM name of a Debian package.
    pub fn rpm_name<'a>(&'a self, deb: &'a str) -> &'a str {
        self.raw.names.get(deb).map_or(deb, String::as_str)
    }

    /// Returns the Debian name of an RPM: the reverse, where a name that is not in the table is its own.
    pub fn deb_name<'a>(&'a self, rpm: &'a str) -> &'a str {
        self.raw.names.iter().find(|(_, name)| *name == rpm).map_or(rpm, |(deb, _)| deb)
    }

    pub(crate) fn is_omitted(&self, deb: &str) -> bool {
        self.raw.omit.contains(deb)
    }

    pub(crate) fn is_ignored(&self, deb: &str) -> bool {
        self.raw.ignore.contains(deb) || self.is_omitted(deb)
    }

    pub(crate) fn is_weak(&self, deb: &str) -> bool {
        self.raw.weak.contains(deb)
    }

    pub(crate) fn skipped_paths(&self) -> &[String] {
        &self.raw.skip
    }

    pub(crate) fn correction(&self, deb: &str) -> &Correction {
        self.raw.package.get(deb).unwrap_or(&self.nothing)
    }
}

/// Returns the names of a list file: one or more a line, `#` starts a comment.
pub(crate) fn parse_list(text: &str) -> Vec<String> {
    let names = text.lines().flat_map(|line| line.split('#').next().unwrap_or("").split_whitespace());
    names.map(str::to_owned).collect::<BTreeSet<String>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_both_ways() {
        let table = NameTable::parse("n", "omit = ['dpkg']\n[names]\n'libc6' = 'glibc'\n").unwrap();
        assert_eq!(table.rpm_name("libc6"), "glibc");
        assert_eq!(table.deb_name("glibc"), "libc6");
        assert_eq!(table.rpm_name("bash"), "bash");
        assert!(table.is_omitted("dpkg") && table.is_ignored("dpkg"));
    }

    #[test]
    fn refuses_a_name_given_twice_and_unknown_keys() {
        for (text, expected) in [
            ("[names]\na = 'x'\nb = 'x'\n", "`a` and `b` both become `x`"),
            ("[nmaes]\na = 'x'\n", "unknown field `nmaes`"),
        ] {
            let error = NameTable::parse("names.toml", text).expect_err(text).to_string();
            assert!(error.contains(expected) && error.contains("names.toml"), "{error}");
        }
    }

    #[test]
    fn reads_lists() {
        assert_eq!(parse_list("b a # c\n\n# d\na e\n"), ["a", "b", "e"]);
    }

    #[test]
    fn the_shipped_table_is_valid() {
        NameTable::parse("names.toml", crate::configuration::NAMES).unwrap();
    }
}
