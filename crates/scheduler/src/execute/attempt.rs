//! One attempt at a job: its name, its secret, its lease.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rpm_model::ContentDigest;
use serde::{Deserialize, Serialize};

use super::job::JobDigest;

/// The name of an attempt: the job's digest and a number that no other attempt at the package has.
///
/// Everything about an attempt is keyed by it, in every engine; an engine's own numbers are never relied on, for an
/// engine may hand them out twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct AttemptId {
    /// The job.
    pub job: JobDigest,
    /// Counts attempts at the package in a run, from 1.
    pub number: u32,
}

/// A text that names no attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no attempt: it is `<sha256>-<number>`")]
pub struct AttemptIdError(String);

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.job, self.number)
    }
}

impl From<AttemptId> for String {
    fn from(id: AttemptId) -> Self {
        id.to_string()
    }
}

impl FromStr for AttemptId {
    type Err = AttemptIdError;

    fn from_str(text: &str) -> Result<Self, AttemptIdError> {
        let parsed = text.split_once('-').and_then(|(job, number)| {
            let job = JobDigest::new(job.parse::<ContentDigest>().ok()?);
            Some(Self { job, number: number.parse().ok()? })
        });
        parsed.ok_or_else(|| AttemptIdError(text.to_owned()))
    }
}

impl TryFrom<String> for AttemptId {
    type Error = AttemptIdError;

    fn try_from(text: String) -> Result<Self, AttemptIdError> {
        text.parse()
    }
}

/// What a worker shows to be believed to be the one that an attempt was given to. Nobody else knows it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Returns a token of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns a token that nobody can guess.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        // Thirty-two bytes in the form of a digest: they are as hard to guess, and fit into a word.
        Ok(Self(ContentDigest::of_bytes(&bytes).to_string()))
    }

    /// Returns its text, for the worker alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    /// A secret does not get into messages by accident.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// An attempt as an engine is given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its name.
    pub id: AttemptId,
    /// The package, for people.
    pub package: String,
    /// What the worker shows.
    pub token: Token,
    /// A worker that could not renew for so long ends itself.
    pub lease: Duration,
    /// Hosts that are not to be given it, sorted.
    pub avoid: Vec<String>,
}

/// Who calls the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The attempt that it says to make.
    pub attempt: AttemptId,
    /// The attempt's secret.
    pub token: Token,
    /// What this start of the worker calls itself: an engine may start an attempt twice, and only one of both may
    /// go on.
    pub instance: String,
    /// The host that it runs on.
    pub host: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_attempts_are_read_and_written() {
        let job = JobDigest::new(ContentDigest::of_bytes(b"job"));
        let id = AttemptId { job, number: 3 };
        assert_eq!(id.to_string().parse::<AttemptId>().unwrap(), id);
        for bad in ["", "x-1", &format!("{}-", id.job), id.job.short()] {
            assert!(bad.parse::<AttemptId>().is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", Token::new("secret")), "Token(..)");
    }
}
