//! Which specs a mass rebuild is about: those whose last builds have something in common, and what that is in each.
//!
//! What it is not: it builds nothing and orders nothing. A spec that was never built has nothing in common with
//! others yet, and is built anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use rpm_model::{BuildRecord, Nevra};
use serde::{Deserialize, Serialize};

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

/// Why a spec belongs to a mass rebuild.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Evidence {
    /// One of its packages requires something.
    Requires {
        /// The package's name.
        package: String,
        /// What it requires, as rpm writes it.
        requirement: String,
    },
    /// One of its packages is linked to a library of a package.
    LinkedTo {
        /// The library as rpm writes it.
        soname: String,
        /// Who provided it when it was built.
        provider: Nevra,
    },
    /// A package was in its build root.
    BuiltWith {
        /// The package.
        package: Nevra,
    },
    /// A list has its name.
    Listed {
        /// The file.
        file: String,
    },
    /// It was named where the mass rebuild was asked for.
    Named,
    /// Another mass rebuild did not come to it, or failed at it.
    LeftBy {
        /// The other's name.
        name: String,
    },
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requires { package, requirement } => write!(f, "{package} requires `{requirement}`"),
            Self::LinkedTo { soname, provider } => write!(f, "linked to `{soname}` of {provider}"),
            Self::BuiltWith { package } => write!(f, "built with {package}"),
            Self::Listed { file } => write!(f, "named in `{file}`"),
            Self::Named => f.write_str("named"),
            Self::LeftBy { name } => write!(f, "left by mass rebuild {name}"),
        }
    }
}

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
    /// Returns what it asks for.
    pub fn name(&self) -> &str {
        match self {
            Self::Soname(name) | Self::Requires(name) | Self::BuildsWith(name) => name,
        }
    }

    /// Returns the specs that are meant, each with why, sorted.
    pub fn select(&self, records: &BTreeMap<String, BuildRecord>) -> BTreeMap<String, Vec<Evidence>> {
        records
            .iter()
            .map(|(spec, record)| (spec.clone(), self.evidence(record)))
            .filter(|(_, evidence)| !evidence.is_empty())
            .collect()
    }

    /// Returns why a spec's last build is meant, sorted; nothing where it is not. What its packages need of each
    /// other does not count.
    fn evidence(&self, record: &BuildRecord) -> Vec<Evidence> {
        let mut found = BTreeSet::new();
        if let Self::BuildsWith(name) = self {
            let packages = record.lock.iter().filter(|package| package.nevra.name == *name);
            found.extend(packages.map(|package| Evidence::BuiltWith { package: package.nevra.clone() }));
            return found.into_iter().collect();
        }
        let own: BTreeSet<&str> =
            record.rpms.iter().flat_map(|rpm| &rpm.provides).map(|provide| provide.name.as_str()).collect();
        for rpm in &record.rpms {
            let leaves = rpm.requires.iter().flat_map(|requirement| requirement.leaves());
            for leaf in leaves.filter(|leaf| !own.contains(leaf.name.as_str()) && self.asks_for(&leaf.name)) {
                let (package, requirement) = (rpm.artifact.nevra.name.clone(), leaf.to_string());
                found.insert(Evidence::Requires { package, requirement });
            }
        }
        if let Self::Requires(name) = self {
            let sonames = record.triggers.sonames.iter().filter(|(_, seen)| seen.nevra.name == *name);
            found.extend(sonames.map(|(soname, seen)| Evidence::LinkedTo {
                soname: soname.clone(),
                provider: seen.nevra.clone(),
            }));
        }
        found.into_iter().collect()
    }

    /// Returns whether a requirement of this name is what is asked for.
    fn asks_for(&self, required: &str) -> bool {
        match self {
            Self::Soname(soname) => {
                Soname::parse(required).is_some_and(|library| library.soname == soname.as_str())
            }
            Self::Requires(name) => required == name,
            Self::BuildsWith(_) => false,
        }
    }

    /// Returns the names that could be asked for in this way, as far as last builds tell.
    pub fn known_names<'a>(&self, records: &'a BTreeMap<String, BuildRecord>) -> BTreeSet<&'a str> {
        let rpms = || records.values().flat_map(|record| &record.rpms);
        let own = rpms().map(|rpm| rpm.artifact.nevra.name.as_str());
        let roots = records.values().flat_map(|record| record.lock.iter());
        let packages = own.chain(roots.map(|package| package.nevra.name.as_str()));
        let provided = rpms().flat_map(|rpm| &rpm.provides).map(|provide| provide.name.as_str());
        let leaves = rpms().flat_map(|rpm| &rpm.requires).flat_map(|requirement| requirement.leaves());
        let named = provided.chain(leaves.map(|leaf| leaf.name.as_str()));
        match self {
            Self::Soname(_) => named.filter_map(Soname::parse).map(|library| library.soname).collect(),
            Self::Requires(_) => packages.chain(named).collect(),
            Self::BuildsWith(_) => packages.collect(),
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
