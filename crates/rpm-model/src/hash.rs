//! Content hashing with a written encoding.
//!
//! Every key that Millwright decides with (build identity, layer key, cache key) is a SHA-256 over this
//! encoding: each field is its name and its value, both length-prefixed (u64, little endian), so that no
//! two different field lists have the same bytes. Lists hash their length first; callers sort what has no
//! order. Keys begin with a schema name and number, so that a change of meaning changes the key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A SHA-256 as 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContentDigest(String);

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 (64 hexadecimal digits)")]
pub struct ContentDigestError(String);

impl ContentDigest {
    /// Returns the digest of some bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::from_hash(Sha256::digest(bytes).as_slice())
    }

    /// Returns the digest that a finished SHA-256 holds.
    pub fn from_hash(hash: &[u8]) -> Self {
        // By hand: trees of thousands of files are looked at through these few lines.
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
        Self(hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
    }

    /// Returns the SHA-256 as bytes.
    pub fn to_hash(&self) -> [u8; 32] {
        let value = |digit: u8| if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 };
        let digits = self.0.as_bytes();
        std::array::from_fn(|place| value(digits[2 * place]) << 4 | value(digits[2 * place + 1]))
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContentDigest {
    type Err = ContentDigestError;

    fn from_str(text: &str) -> Result<Self, ContentDigestError> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(ContentDigestError(text.to_owned()))
        }
    }
}

impl From<ContentDigest> for String {
    fn from(digest: ContentDigest) -> Self {
        digest.0
    }
}

impl TryFrom<String> for ContentDigest {
    type Error = ContentDigestError;

    fn try_from(text: String) -> Result<Self, ContentDigestError> {
        text.parse()
    }
}

/// Builds a key field by field; see the module text for the encoding.
pub struct ContentHasher {
    hash: Sha256,
}

impl ContentHasher {
    /// Starts a key of a schema, for example `("build-identity", 1)`.
    pub fn new(schema: &str, version: u32) -> Self {
        let mut hasher = Self { hash: Sha256::new() };
        hasher.field(schema, &version.to_string());
        hasher
    }

    /// Adds a named text.
    pub fn field(&mut self, name: &str, value: &str) -> &mut Self {
        self.bytes(name.as_bytes());
        self.bytes(value.as_bytes());
        self
    }

    /// Adds a named list in the order given.
    pub fn list<T: AsRef<str>>(&mut self, name: &str, values: impl IntoIterator<Item = T>) -> &mut Self {
        let values: Vec<T> = values.into_iter().collect();
        self.bytes(name.as_bytes());
        self.hash.update((values.len() as u64).to_le_bytes());
        for value in &values {
            self.bytes(value.as_ref().as_bytes());
        }
        self
    }

    /// Returns the key.
    pub fn finish(self) -> ContentDigest {
        ContentDigest::from_hash(self.hash.finalize().as_slice())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fields: &[(&str, &str)]) -> ContentDigest {
        let mut hasher = ContentHasher::new("test", 1);
        for (name, value) in fields {
            hasher.field(name, value);
        }
        hasher.finish()
    }

    #[test]
    fn fields_do_not_run_into_one_another() {
        assert_ne!(key(&[("a", "bc")]), key(&[("ab", "c")]));
        assert_ne!(key(&[("a", ""), ("b", "")]), key(&[("a", "b")]));
    }

    /// A golden vector: a change of the encoding must be seen and must raise every schema number.
    #[test]
    fn encoding_is_frozen() {
        let mut hasher = ContentHasher::new("golden", 1);
        hasher.field("name", "zlib").list("list", ["a", "b"]);
        let expected = {
            let mut raw = Vec::new();
            for text in ["golden", "1", "name", "zlib", "list"] {
                raw.extend((text.len() as u64).to_le_bytes());
                raw.extend(text.as_bytes());
            }
            raw.extend(2u64.to_le_bytes());
            for text in ["a", "b"] {
                raw.extend(1u64.to_le_bytes());
                raw.extend(text.as_bytes());
            }
            ContentDigest::of_bytes(&raw)
        };
        assert_eq!(hasher.finish(), expected);
    }

    #[test]
    fn digest_text_is_checked() {
        assert!("abc".parse::<ContentDigest>().is_err());
        let upper = "AB".repeat(32);
        let digest: ContentDigest = upper.parse().unwrap();
        assert_eq!(digest.as_str(), "ab".repeat(32));
        assert_eq!(digest.to_hash(), [0xab; 32]);
        let digest = ContentDigest::of_bytes(b"x");
        assert_eq!(ContentDigest::from_hash(&digest.to_hash()), digest);
    }
}
