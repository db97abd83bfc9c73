//! Which specs a mass rebuild is about: those whose last builds have something in common.
//!
//! What it is not: it builds nothing and orders nothing. A spec that was never built has nothing in common with
//! others yet, and is built anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use rpm_model::BuildRecord;

use crate::soname::Soname;

/// What builds have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selection {
    /// `soname:libz.so.1`: a package is linked to this library, in whichever symbol version.
    Soname(String),
    /// `requires:python3`: a package requires this name, or a library of the package of this name.
    Requires(String),
    /// `builds-with:gcc`: the build root held a package of this name.
    BuildsWith(String),
}

/// A text that says nothing about builds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` selects nothing: soname:LIBRARY, requires:NAME or builds-with:PACKAGE, for example `soname:libz.so.1`"
)]
pub struct SelectionError(String);

impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        let fail = || SelectionError(text.to_owned());
        let (kind, name) = text.split_once(':').ok_or_else(fail)?;
        let name = name.trim();
        if name.is_empty() {
            return Err(fail());
        }
        match kind.trim() {
            // `libz.so.1()(64bit)`, as rpm writes it, means the library too.
            "soname" => {
                Soname::parse(name).map(|library| Self::Soname(library.soname.to_owned())).ok_or_else(fail)
            }
            "requires" => Ok(Self::Requires(name.to_owned())),
            "builds-with" => Ok(Self::BuildsWith(name.to_owned())),
            _ => Err(fail()),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Soname(name) => write!(f, "soname:{name}"),
            Self::Requires(name) => write!(f, "requires:{name}"),
            Self::BuildsWith(name) => write!(f, "builds-with:{name}"),
        }
    }
}

impl Selection {
    /// Returns the specs that are meant, sorted.
    pub fn select<'a>(&self, records: &'a BTreeMap<String, BuildRecord>) -> BTreeSet<&'a str> {
        records.iter().filter(|(_, record)| self.means(record)).map(|(spec, _)| spec.as_str()).collect()
    }

    /// Returns whether a spec's last build is meant. What its packages need of each other does not count.
    fn means(&self, record: &BuildRecord) -> bool {
        let own: BTreeSet<&str> =
            record.rpms.iter().flat_map(|rpm| &rpm.provides).map(|provide| provide.name.as_str()).collect();
        let leaves =
            record.rpms.iter().flat_map(|rpm| &rpm.requires).flat_map(|requirement| requirement.leaves());
        let mut required = leaves.map(|leaf| leaf.name.as_str()).filter(|name| !own.contains(name));
        match self {
            Self::Soname(soname) => {
                required.any(|name| Soname::parse(name).is_some_and(|library| library.soname == soname))
            }
            Self::Requires(name) => {
                required.any(|required| required == name)
                    || record.triggers.sonames.values().any(|provider| provider.nevra.name == *name)
            }
            Self::BuildsWith(name) => {
                record.lock.packages().iter().any(|package| package.nevra.name == *name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_read_as_they_are_written() {
        for text in ["soname:libz.so.1", "requires:python3", "builds-with:gcc", "requires:perl(Foo::Bar)"] {
            assert_eq!(text.parse::<Selection>().unwrap().to_string(), text);
        }
        let long = "soname: libz.so.1(ZLIB_1.2)(64bit)".parse::<Selection>().unwrap();
        assert_eq!(long.to_string(), "soname:libz.so.1");
        for text in ["libz.so.1", "soname:zlib", "requires:", "needs:x", ""] {
            assert!(
                text.parse::<Selection>().unwrap_err().to_string().contains("builds-with:PACKAGE"),
                "{text}"
            );
        }
    }
}
