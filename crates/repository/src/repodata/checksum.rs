//! Checksums of metadata files, computed at once or while bytes go by.

use std::fmt::Write;

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::BadRepodata;

/// A checksum with the name of its algorithm, as `repomd.xml` writes both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checksum {
    pub(super) kind: String,
    pub(super) digits: String,
}

impl Checksum {
    pub(super) fn sha256(bytes: &[u8]) -> Self {
        Self { kind: "sha256".into(), digits: hexadecimal(&Sha256::digest(bytes)) }
    }

    /// Returns what computes a checksum of this kind.
    pub(super) fn hasher(&self) -> Result<Hasher, BadRepodata> {
        match self.kind.as_str() {
            "sha256" => Ok(Hasher::Sha256(Sha256::new())),
            "sha384" => Ok(Hasher::Sha384(Sha384::new())),
            "sha512" => Ok(Hasher::Sha512(Sha512::new())),
            other => Err(BadRepodata::ChecksumType { kind: other.to_owned() }),
        }
    }

    /// Checks that some bytes have this checksum; `which` is `compressed` or `open`.
    pub(super) fn verify(&self, which: &'static str, bytes: &[u8]) -> Result<(), BadRepodata> {
        let mut hasher = self.hasher()?;
        hasher.update(bytes);
        self.compare(which, hasher)
    }

    /// Checks what a hasher of [`Self::hasher`] has computed.
    pub(super) fn compare(&self, which: &'static str, hasher: Hasher) -> Result<(), BadRepodata> {
        let found = hasher.finish();
        if found.eq_ignore_ascii_case(&self.digits) {
            Ok(())
        } else {
            Err(BadRepodata::Checksum { kind: which, expected: self.digits.clone(), found })
        }
    }
}

/// A checksum in the making.
#[derive(Clone)]
pub(super) enum Hasher {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(hasher) => hexadecimal(&hasher.finalize()),
            Self::Sha384(hasher) => hexadecimal(&hasher.finalize()),
            Self::Sha512(hasher) => hexadecimal(&hasher.finalize()),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_accepted_kind_is_computed() {
        // Of "abc", from FIPS 180-4's examples.
        for (kind, digits) in [
            ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "sha384",
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            ),
            (
                "sha512",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd\
                 454d4423643ce80e2a9ac94fa54ca49f",
            ),
        ] {
            let checksum = Checksum { kind: kind.into(), digits: digits.to_ascii_uppercase() };
            checksum.verify("open", b"abc").unwrap();
            let error = checksum.verify("open", b"abd").unwrap_err();
            assert!(matches!(error, BadRepodata::Checksum { .. }), "{kind}: {error}");
        }
    }

    #[test]
    fn a_weak_kind_is_refused_with_advice() {
        for kind in ["md5", "sha", "sha1", "sha224", ""] {
            let weak = Checksum { kind: kind.into(), digits: String::new() };
            let error = weak.verify("open", b"x").unwrap_err().to_string();
            assert!(error.contains("createrepo_c --checksum sha256"), "{error}");
        }
    }
}
