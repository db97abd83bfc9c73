//! Dependencies: a name with an optional version range, and whether two of them overlap.
//!
//! The overlap rules are rpm's (`rpmverOverlap`; checked in rpm's own `rpmdepmatch` cases): a side without
//! a version matches every version, and a missing release is only compared where both sides have one.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::evr::{Evr, EvrError};
use crate::rich::{RichDependency, RichParser};
use crate::text::FromText;

/// How a version is compared with the one that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Comparison {
    /// `<`
    #[serde(rename = "<")]
    Less,
    /// `<=`
    #[serde(rename = "<=")]
    LessOrEqual,
    /// `=`
    #[serde(rename = "=")]
    Equal,
    /// `>=`
    #[serde(rename = ">=")]
    GreaterOrEqual,
    /// `>`
    #[serde(rename = ">")]
    Greater,
    /// `<>`: less or greater. No spec can say it; the flags of a package's dependency can.
    #[serde(rename = "<>")]
    Unequal,
}

impl Comparison {
    /// Returns the operator as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
            Self::Unequal => "<>",
        }
    }

    /// Returns the operator with this text; `==` is accepted for `=`, as rpm does.
    pub fn from_operator(text: &str) -> Option<Self> {
        Some(match text {
            "<" => Self::Less,
            "<=" | "=<" => Self::LessOrEqual,
            "=" | "==" => Self::Equal,
            ">=" | "=>" => Self::GreaterOrEqual,
            ">" => Self::Greater,
            "<>" => Self::Unequal,
            _ => return None,
        })
    }

    fn less(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Unequal)
    }

    fn equal(self) -> bool {
        matches!(self, Self::LessOrEqual | Self::Equal | Self::GreaterOrEqual)
    }

    fn greater(self) -> bool {
        matches!(self, Self::Greater | Self::GreaterOrEqual | Self::Unequal)
    }
}

/// A version range: an operator and the version it compares with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    /// The operator.
    pub comparison: Comparison,
    /// The version; its release may be missing.
    pub evr: Evr,
}

/// A name with an optional version range: one side of a requirement, provide, conflict or obsolete.
///
/// Text form: `name` or `name op evr`, for example `pkgconfig(zlib) >= 1.2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Dependency {
    /// A package name, capability or absolute path; qualifiers such as `(x86-64)` belong to the name.
    pub name: String,
    /// `None` matches every version.
    pub constraint: Option<Constraint>,
}

/// Why a text is not a dependency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DependencyError {
    /// Nothing is written.
    #[error("the dependency is empty")]
    Empty,
    /// What follows the name is not an operator and a version.
    #[error("`{text}`: expected `name` or `name operator version` with one of < <= = >= > <>")]
    Form {
        /// The whole text.
        text: String,
    },
    /// The version is malformed.
    #[error("`{text}`: {source}")]
    Version {
        /// The whole text.
        text: String,
        /// What is wrong with the version.
        source: EvrError,
    },
    /// A boolean expression is malformed.
    #[error("`{text}`, column {column}: {expected}")]
    Rich {
        /// The whole text.
        text: String,
        /// Where, counted in characters from 1.
        column: usize,
        /// What should stand there.
        expected: &'static str,
    },
}

impl Dependency {
    /// Returns a dependency on any version of a name.
    pub fn any(name: impl Into<String>) -> Self {
        Self { name: name.into(), constraint: None }
    }

    /// Returns a dependency on a version range of a name.
    pub fn versioned(name: impl Into<String>, comparison: Comparison, evr: Evr) -> Self {
        Self { name: name.into(), constraint: Some(Constraint { comparison, evr }) }
    }

    /// Returns whether one version lies within the dependency's range.
    pub fn admits(&self, evr: &Evr) -> bool {
        self.constraint.as_ref().is_none_or(|constraint| {
            constraint.overlaps(&Constraint { comparison: Comparison::Equal, evr: evr.clone() })
        })
    }

    /// Returns whether the two have the same name and their version ranges share a version.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.name == other.name
            && match (&self.constraint, &other.constraint) {
                (Some(a), Some(b)) => a.overlaps(b),
                _ => true,
            }
    }
}

impl Constraint {
    /// Returns whether two version ranges share a version, as rpm decides it.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.comparison, other.comparison);
        match self.evr.compare(&other.evr) {
            Ordering::Less => a.greater() || b.less(),
            Ordering::Greater => a.less() || b.greater(),
            Ordering::Equal => {
                // `= 1.0` names every release of 1.0, so the side that has a release lies within it.
                let release_within = match (&self.evr.release, &other.evr.release) {
                    (Some(_), None) => b.equal(),
                    (None, Some(_)) => a.equal(),
                    _ => false,
                };
                release_within
                    || (a.equal() && b.equal())
                    || (a.less() && b.less())
                    || (a.greater() && b.greater())
            }
        }
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.constraint {
            Some(constraint) => write!(f, " {} {}", constraint.comparison.as_str(), constraint.evr),
            None => Ok(()),
        }
    }
}

impl FromStr for Dependency {
    type Err = DependencyError;

    fn from_str(text: &str) -> Result<Self, DependencyError> {
        let mut words = text.split_whitespace();
        let name = words.next().ok_or(DependencyError::Empty)?;
        let Some(operator) = words.next() else { return Ok(Self::any(name)) };
        let form = || DependencyError::Form { text: text.to_owned() };
        let comparison = Comparison::from_operator(operator).ok_or_else(form)?;
        let evr = words.next().ok_or_else(form)?;
        if words.next().is_some() {
            return Err(form());
        }
        let evr = evr.parse().map_err(|source| DependencyError::Version { text: text.to_owned(), source })?;
        Ok(Self::versioned(name, comparison, evr))
    }
}

impl From<Dependency> for String {
    fn from(dependency: Dependency) -> Self {
        dependency.to_string()
    }
}

impl<'de> Deserialize<'de> for Dependency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText::new("a dependency"))
    }
}

/// What a package asks for: one dependency, or a boolean ("rich") expression over several.
///
/// JSON: a text for the first, a tree such as `{"or": ["a", "b >= 2"]}` for the second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Requirement {
    /// One name with an optional version range.
    Simple(Dependency),
    /// A boolean expression.
    Rich(Box<RichDependency>),
}

impl Requirement {
    /// Returns every simple dependency that the expression names, in the order written.
    pub fn leaves(&self) -> Vec<&Dependency> {
        match self {
            Self::Simple(dependency) => vec![dependency],
            Self::Rich(rich) => rich.operands().into_iter().flat_map(Self::leaves).collect(),
        }
    }
}

/// Tells texts and trees apart by themselves: serde's own way would copy every value before it looks at it, and a
/// distribution has hundreds of thousands.
impl<'de> Deserialize<'de> for Requirement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTree;
        impl<'de> Visitor<'de> for TextOrTree {
            type Value = Requirement;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a dependency or a boolean expression")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Requirement, E> {
                text.parse().map(Requirement::Simple).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Requirement, A::Error> {
                let rich = RichDependency::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Requirement::Rich(Box::new(rich)))
            }
        }
        deserializer.deserialize_any(TextOrTree)
    }
}

impl From<Dependency> for Requirement {
    fn from(dependency: Dependency) -> Self {
        Self::Simple(dependency)
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(dependency) => dependency.fmt(f),
            Self::Rich(rich) => rich.fmt(f),
        }
    }
}

impl FromStr for Requirement {
    type Err = DependencyError;

    fn from_str(text: &str) -> Result<Self, DependencyError> {
        let text = text.trim();
        if text.starts_with('(') { RichParser::parse(text) } else { Ok(Self::Simple(text.parse()?)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(provide: &str, require: &str, expected: bool) {
        let (a, b): (Dependency, Dependency) = (provide.parse().unwrap(), require.parse().unwrap());
        assert_eq!(a.overlaps(&b), expected, "{provide} / {require}");
        assert_eq!(b.overlaps(&a), expected, "{require} / {provide} (turned round)");
    }

    #[test]
    fn ranges_overlap_as_in_rpm() {
        check("f = 1.0-3", "f", true);
        check("f", "f > 9", true);
        check("f = 1.0-3", "g", false);
        check("f = 1.0-3", "f = 1.0", true);
        check("f = 1.0-3", "f >= 1.0", true);
        check("f = 1.0-3", "f <= 1.0", true);
        check("f = 1.0-3", "f > 1.0", false);
        check("f = 1.0-3", "f < 1.0", false);
        check("f = 1.0-3", "f > 1.0-2", true);
        check("f = 1.0-3", "f < 1.0-3", false);
        check("f = 1.0-3", "f = 1.0-4", false);
        check("f = 1:1.0-3", "f > 9.0", true);
        check("f = 1.0~rc1-1", "f >= 1.0", false);
        check("f >= 2", "f < 3", true);
        check("f >= 3", "f < 3", false);
        check("f > 3", "f > 1", true);
        check("f <= 3", "f >= 3", true);
        check("f < 3", "f <= 2", true);
    }

    #[test]
    fn text_and_json_round_trip() {
        for text in ["zlib", "pkgconfig(zlib) >= 1.2", "/bin/sh", "libz.so.1(ZLIB_1.2.9)(64bit)", "a = 1:2-3"]
        {
            let requirement: Requirement = text.parse().unwrap();
            assert_eq!(requirement.to_string(), text);
            let json = serde_json::to_string(&requirement).unwrap();
            assert_eq!(serde_json::from_str::<Requirement>(&json).unwrap(), requirement);
        }
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in ["", "a >", "a > 1 2", "a ~ 1", "a = x:1"] {
            assert!(text.parse::<Dependency>().is_err(), "{text}");
        }
    }
}
