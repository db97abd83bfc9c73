//! The identity of one package: name, epoch, version, release, architecture.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::evr::{Evr, EvrError};
use crate::text::FromText;

/// A package's name, epoch, version, release and architecture; source packages have the architecture `src`.
///
/// Text form: `name-[epoch:]version-release.arch`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Nevra {
    /// The package name; may contain `-` and digits.
    pub name: String,
    /// Epoch, version and release; the release is always present.
    pub evr: Evr,
    /// For example `x86_64`, `noarch`, `src`.
    pub arch: String,
}

/// Why a text is not a NEVRA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NevraError {
    /// One of the separators is missing.
    #[error("`{text}` is not of the form name-[epoch:]version-release.arch")]
    Form {
        /// The whole text.
        text: String,
    },
    /// The part in the middle is not an EVR.
    #[error(transparent)]
    Evr(#[from] EvrError),
}

/// Returns whether a text can be a part of a package's identity, and so of a file name: there is something of it, it
/// hides no file and leads to no other directory, and it is one word.
pub fn is_identity_word(text: &str) -> bool {
    let refused = |character: char| character == '/' || character.is_control() || character.is_whitespace();
    !text.is_empty() && !text.starts_with('.') && !text.contains(refused)
}

impl Nevra {
    /// Returns the NEVRA with these parts.
    pub fn new(name: impl Into<String>, evr: Evr, arch: impl Into<String>) -> Self {
        Self { name: name.into(), evr, arch: arch.into() }
    }

    /// Returns `name-version-release.arch`, the form without epoch that file names carry.
    pub fn nvra(&self) -> String {
        format!("{}-{}.{}", self.name, self.evr.without_epoch(), self.arch)
    }

    /// Returns the package's conventional file name, `name-version-release.arch.rpm`.
    pub fn file_name(&self) -> String {
        format!("{}.rpm", self.nvra())
    }
}

impl fmt::Display for Nevra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.{}", self.name, self.evr, self.arch)
    }
}

impl FromStr for Nevra {
    type Err = NevraError;

    fn from_str(text: &str) -> Result<Self, NevraError> {
        let form = || NevraError::Form { text: text.to_owned() };
        let (rest, arch) = text.rsplit_once('.').ok_or_else(form)?;
        let (rest, release) = rest.rsplit_once('-').ok_or_else(form)?;
        let (name, version) = rest.rsplit_once('-').ok_or_else(form)?;
        if name.is_empty() || release.is_empty() || arch.is_empty() {
            return Err(form());
        }
        let evr: Evr = format!("{version}-{release}").parse()?;
        Ok(Self::new(name, evr, arch))
    }
}

impl From<Nevra> for String {
    fn from(nevra: Nevra) -> Self {
        nevra.to_string()
    }
}

impl<'de> Deserialize<'de> for Nevra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText::new("a NEVRA"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_names_with_dashes_apart() {
        let nevra: Nevra = "python3-foo-bar-1:1.2.3~rc1-4.mw1.noarch".parse().unwrap();
        assert_eq!(nevra.name, "python3-foo-bar");
        assert_eq!(nevra.evr, Evr::new(1, "1.2.3~rc1", Some("4.mw1")));
        assert_eq!(nevra.file_name(), "python3-foo-bar-1.2.3~rc1-4.mw1.noarch.rpm");
    }

    #[test]
    fn rejects_what_is_no_nevra() {
        for text in ["", "a", "a-1", "a-1-2", "-1-2.x", "a-1-.x", "a-1-2."] {
            assert!(text.parse::<Nevra>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_leads_out_of_a_directory_is_no_word() {
        for text in ["zlib", "gtk+", "1.3~rc1", "noarch", "é"] {
            assert!(is_identity_word(text), "{text}");
        }
        for text in ["", ".", "..", ".x", "a/b", "/", "a b", "a\n", "a\0", "\u{1b}[2J"] {
            assert!(!is_identity_word(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(name in "[a-zA-Z][a-z0-9+_-]{0,12}", epoch in 0u32..3, version in "[0-9][0-9a-z.~^]{0,6}", release in "[0-9][a-z0-9.]{0,6}", arch in "x86_64|noarch|src") {
            let nevra = Nevra::new(name, Evr::new(epoch, version, Some(&release)), arch);
            prop_assert_eq!(nevra.to_string().parse::<Nevra>().unwrap(), nevra);
        }
    }
}
