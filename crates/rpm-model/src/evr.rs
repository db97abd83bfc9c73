//! Epoch, version, release and their order.
//!
//! The comparison itself is `rpm-version`'s, which passes rpm's own vectors; this type adds what package
//! data needs: a release that may be missing, a text form that round-trips, and an order usable as a key.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An `[epoch:]version[-release]`.
///
/// `Ord` is RPM's order with the spelling as tie-break, so that it agrees with `Eq` (`1.0` and `1.00` are
/// the same version to RPM but different text). Use [`Evr::compare`] where RPM's own answer is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Evr {
    /// Zero where none is written.
    pub epoch: u32,
    /// Everything between the epoch and the last `-`; never empty.
    pub version: String,
    /// `None` where only a version is named, as in `Requires: zlib >= 1.2`.
    pub release: Option<String>,
}

/// Why a text is not an EVR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvrError {
    /// The part before `:` is not a number of at most 32 bits.
    #[error("`{text}`: the epoch is not a number from 0 to 4294967295")]
    Epoch {
        /// The whole text.
        text: String,
    },
    /// Nothing is left for the version.
    #[error("`{text}`: the version is empty")]
    EmptyVersion {
        /// The whole text.
        text: String,
    },
}

impl Evr {
    /// Returns the EVR with these parts.
    pub fn new(epoch: u32, version: impl Into<String>, release: Option<&str>) -> Self {
        Self { epoch, version: version.into(), release: release.map(str::to_owned) }
    }

    /// Returns RPM's order of two EVRs; a missing release on either side is not compared.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.epoch.cmp(&other.epoch).then_with(|| compare_labels(&self.version, &other.version)).then_with(
            || match (&self.release, &other.release) {
                (Some(a), Some(b)) => compare_labels(a, b),
                _ => Ordering::Equal,
            },
        )
    }

    /// Returns the text without the epoch, as file names carry it.
    pub fn without_epoch(&self) -> String {
        match &self.release {
            Some(release) => format!("{}-{release}", self.version),
            None => self.version.clone(),
        }
    }
}

/// Compares two versions or two releases as `rpmvercmp` does.
fn compare_labels(a: &str, b: &str) -> Ordering {
    rpm_version::Evr::new("0", a, "").cmp(&rpm_version::Evr::new("0", b, ""))
}

impl Ord for Evr {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare(other)
            .then_with(|| self.release.is_some().cmp(&other.release.is_some()))
            .then_with(|| (&self.version, &self.release).cmp(&(&other.version, &other.release)))
    }
}

impl PartialOrd for Evr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Evr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch != 0 {
            write!(f, "{}:", self.epoch)?;
        }
        f.write_str(&self.version)?;
        self.release.as_ref().map_or(Ok(()), |release| write!(f, "-{release}"))
    }
}

impl FromStr for Evr {
    type Err = EvrError;

    fn from_str(text: &str) -> Result<Self, EvrError> {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => {
                let epoch = if epoch.is_empty() { Ok(0) } else { epoch.parse() };
                (epoch.map_err(|_| EvrError::Epoch { text: text.to_owned() })?, rest)
            }
            None => (0, text),
        };
        let (version, release) = match rest.rsplit_once('-') {
            Some((version, release)) if !release.is_empty() => (version, Some(release)),
            Some((version, _)) => (version, None),
            None => (rest, None),
        };
        if version.is_empty() {
            return Err(EvrError::EmptyVersion { text: text.to_owned() });
        }
        Ok(Self::new(epoch, version, release))
    }
}

impl From<Evr> for String {
    fn from(evr: Evr) -> Self {
        evr.to_string()
    }
}

impl TryFrom<String> for Evr {
    type Error = EvrError;

    fn try_from(text: String) -> Result<Self, EvrError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn evr(text: &str) -> Evr {
        text.parse().unwrap()
    }

    #[test]
    fn orders_as_rpm() {
        let ascending = ["1.0~rc1-1", "1.0-1", "1.0^git1-1", "1.0.1-1", "1.0.1-2", "1.0.1-10", "1:0.1-1"];
        for pair in ascending.windows(2) {
            assert_eq!(evr(pair[0]).compare(&evr(pair[1])), Ordering::Less, "{pair:?}");
        }
        assert_eq!(evr("1.0").compare(&evr("1.0-5")), Ordering::Equal);
        assert_eq!(evr("1.00-1").compare(&evr("1.0-1")), Ordering::Equal);
        assert_ne!(evr("1.00-1"), evr("1.0-1"));
    }

    #[test]
    fn rejects_what_is_no_evr() {
        for text in ["", ":", "x:1", "-1", "1:", "99999999999:1"] {
            assert!(text.parse::<Evr>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(epoch in 0u32..5, version in "[0-9a-z][0-9a-z.~^+]{0,8}", release in proptest::option::of("[0-9][0-9a-z.]{0,6}")) {
            let evr = Evr::new(epoch, version, release.as_deref());
            prop_assert_eq!(evr.to_string().parse::<Evr>().unwrap(), evr);
        }

        #[test]
        fn order_is_total(a in "[0-9]{1,2}[.~^][0-9a-z]{1,2}-[0-9]", b in "[0-9]{1,2}[.~^][0-9a-z]{1,2}-[0-9]", c in "[0-9]{1,2}[.~^][0-9a-z]{1,2}-[0-9]") {
            let (a, b, c) = (evr(&a), evr(&b), evr(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
            if a <= b && b <= c { prop_assert!(a <= c); }
        }
    }
}
