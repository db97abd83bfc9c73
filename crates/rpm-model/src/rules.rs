//! Which packages may be used, whatever asks for them: pins and excludes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dependency::{Dependency, DependencyError};
use crate::nevra::Nevra;

/// Which packages may be used at all.
///
/// They hold for every origin. A package of the frozen core is used in spite of them: it is in every root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PackageRules {
    /// Of a name that stands here only packages whose own version lies in the range, for example
    /// `openssl = 3.3.0` or `gcc < 14`.
    pub pins: Vec<Dependency>,
    /// Packages that are not used.
    pub excludes: Vec<PackagePattern>,
}

/// Some packages: `name`, `name.arch` or a NEVRA, in which `*`, `?` and `[...]` stand for others as in a shell;
/// or `name operator version` for some versions of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PackagePattern {
    text: String,
    meaning: Meaning,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    /// One name, the usual case, which needs no search.
    Name(String),
    Glob(glob::Pattern),
    Versions(Dependency),
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no packages: {problem}")]
pub struct PackagePatternError {
    /// The whole text.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The rule that keeps a package out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ban {
    /// Another version of its name is pinned.
    Pinned(Dependency),
    /// It is excluded.
    Excluded(PackagePattern),
}

impl fmt::Display for Ban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(pin) => write!(f, "the pin `{pin}`"),
            Self::Excluded(pattern) => write!(f, "the exclude `{pattern}`"),
        }
    }
}

impl PackageRules {
    /// Returns whether everything is allowed.
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty() && self.excludes.is_empty()
    }

    /// Returns the first rule that keeps a package out.
    pub fn ban(&self, nevra: &Nevra) -> Option<Ban> {
        let pin = self.pins.iter().find(|pin| pin.name == nevra.name && !pin.admits(&nevra.evr));
        let exclude = || self.excludes.iter().find(|pattern| pattern.matches(nevra));
        pin.cloned().map(Ban::Pinned).or_else(|| exclude().cloned().map(Ban::Excluded))
    }
}

impl PackagePattern {
    /// Returns whether a package is one of them.
    pub fn matches(&self, nevra: &Nevra) -> bool {
        match &self.meaning {
            Meaning::Name(name) => nevra.name == *name,
            Meaning::Versions(versions) => nevra.name == versions.name && versions.admits(&nevra.evr),
            Meaning::Glob(glob) => {
                glob.matches(&nevra.name)
                    || glob.matches(&format!("{}.{}", nevra.name, nevra.arch))
                    || glob.matches(&nevra.nvra())
                    || glob.matches(&nevra.to_string())
            }
        }
    }

    /// Returns the one name that the pattern is about, where it is about one.
    pub fn name(&self) -> Option<&str> {
        match &self.meaning {
            Meaning::Name(name) => Some(name),
            Meaning::Versions(versions) => Some(&versions.name),
            Meaning::Glob(_) => None,
        }
    }
}

impl FromStr for PackagePattern {
    type Err = PackagePatternError;

    fn from_str(text: &str) -> Result<Self, PackagePatternError> {
        let text = text.trim();
        let fail = |problem: String| PackagePatternError { text: text.to_owned(), problem };
        let meaning = if text.contains(char::is_whitespace) {
            Meaning::Versions(text.parse().map_err(|error: DependencyError| fail(error.to_string()))?)
        } else if text.is_empty() {
            return Err(fail("it is empty".to_owned()));
        } else if text.contains(['*', '?', '[', '.']) {
            // A name may hold a dot, and so may an architecture or a version stand behind one.
            Meaning::Glob(glob::Pattern::new(text).map_err(|error| fail(error.to_string()))?)
        } else {
            Meaning::Name(text.to_owned())
        };
        Ok(Self { text: text.to_owned(), meaning })
    }
}

impl fmt::Display for PackagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<PackagePattern> for String {
    fn from(pattern: PackagePattern) -> Self {
        pattern.text
    }
}

impl TryFrom<String> for PackagePattern {
    type Error = PackagePatternError;

    fn try_from(text: String) -> Result<Self, PackagePatternError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, nevra: &str, expected: bool) {
        let pattern: PackagePattern = pattern.parse().unwrap();
        assert_eq!(pattern.matches(&nevra.parse().unwrap()), expected, "{pattern} / {nevra}");
    }

    #[test]
    fn patterns_match_names_architectures_and_versions() {
        check("zlib", "zlib-1.3-1.x86_64", true);
        check("zlib", "zlib-devel-1.3-1.x86_64", false);
        check("zlib*", "zlib-devel-1.3-1.x86_64", true);
        check("*-debuginfo", "zlib-debuginfo-1.3-1.x86_64", true);
        check("zlib.i686", "zlib-1.3-1.i686", true);
        check("zlib.i686", "zlib-1.3-1.x86_64", false);
        check("zlib-1.3-*", "zlib-1:1.3-1.x86_64", true);
        check("zlib-1:1.3-1.x86_64", "zlib-1:1.3-1.x86_64", true);
        check("zlib < 1.3", "zlib-1.2-1.x86_64", true);
        check("zlib < 1.3", "zlib-1.3-1.x86_64", false);
        check("python3.12", "python3.12-3.12-1.x86_64", true);
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in ["", " ", "a >", "[", "a = 1 2"] {
            assert!(text.parse::<PackagePattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_rule_is_named() {
        let rules = PackageRules {
            pins: vec!["zlib = 1.2".parse().unwrap()],
            excludes: vec!["zlib*".parse().unwrap()],
        };
        let ban = |nevra: &str| rules.ban(&nevra.parse().unwrap()).map(|ban| ban.to_string());
        assert_eq!(ban("zlib-1.3-1.x86_64").unwrap(), "the pin `zlib = 1.2`");
        assert_eq!(ban("zlib-1.2-1.x86_64").unwrap(), "the exclude `zlib*`");
        assert_eq!(ban("bash-5-1.x86_64"), None);
    }
}
