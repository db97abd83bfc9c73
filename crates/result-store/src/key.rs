//! Keys of publishers: ed25519, the public one as text in the configuration, the private one in a file.
//!
//! The forms are those of OpenSSL: `openssl genpkey -algorithm ed25519` writes the private key (PKCS #8, PEM);
//! the public key is the base64 of its 32 bytes.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use rpm_model::ContentDigest;

/// How many digits of the SHA-256 of a public key name it.
const ID_LENGTH: usize = 16;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no public key.
    #[error("`{text}` is no ed25519 public key (the base64 of 32 bytes)")]
    Public {
        /// The text.
        text: String,
    },
    /// The file cannot be read.
    #[error("cannot read the signing key `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no private key.
    #[error("`{path}` holds no ed25519 private key (PKCS #8, PEM: `openssl genpkey -algorithm ed25519`)")]
    Private {
        /// The file.
        path: PathBuf,
    },
}

/// A publisher's public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Returns the name of the key in documents: the first 16 digits of the SHA-256 of its bytes.
    pub fn id(&self) -> String {
        ContentDigest::of_bytes(self.0.as_bytes()).as_str()[..ID_LENGTH].to_owned()
    }

    /// Returns the key as the configuration states it.
    pub fn text(&self) -> String {
        STANDARD.encode(self.0.as_bytes())
    }

    /// Returns whether these 64 bytes are the key's signature of a message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let refused = || KeyError::Public { text: text.to_owned() };
        let bytes: [u8; 32] =
            STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(refused)?;
        VerifyingKey::from_bytes(&bytes).map(Self).map_err(|_| refused())
    }
}

/// A publisher's private key. It is shown by nothing.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

impl SigningKey {
    /// Reads a key file.
    ///
    /// # Errors
    /// When it cannot be read or holds no ed25519 key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        ed25519_dalek::SigningKey::from_pkcs8_pem(&text)
            .map(Self)
            .map_err(|_| KeyError::Private { path: path.to_owned() })
    }

    /// Returns the key that verifies what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Returns the signature of a message, 64 bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).to_bytes().to_vec()
    }

    #[cfg(test)]
    pub(crate) fn of_seed(seed: u8) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.3: the private key, and its public key.
    const RFC_8410: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

    #[test]
    fn keys_of_openssl_are_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), RFC_8410).unwrap();
        let key = SigningKey::read(file.path()).unwrap();
        assert_eq!(key.public().text(), "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=");
        let public: PublicKey = key.public().text().parse().unwrap();
        assert!(public.verifies(b"message", &key.sign(b"message")));
        assert!(!public.verifies(b"another", &key.sign(b"message")));
        assert!(!public.verifies(b"message", b"short"));
        assert_eq!(public.id().len(), ID_LENGTH);
        assert!(!format!("{key:?}").contains("212"), "a private key is never shown");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(matches!("AAAA".parse::<PublicKey>(), Err(KeyError::Public { .. })));
        assert!(matches!("*".parse::<PublicKey>(), Err(KeyError::Public { .. })));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no key").unwrap();
        assert!(matches!(SigningKey::read(file.path()), Err(KeyError::Private { .. })));
        assert!(matches!(SigningKey::read(Path::new("/nowhere")), Err(KeyError::Read { .. })));
    }
}
