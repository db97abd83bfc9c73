//! Checks that a package file is what somebody says it is: for acceptance, which trusts no worker.

use std::path::Path;

use rpm::{IndexTag, PackageMetadata};
use rpm_model::{ContentDigest, PackageArtifact, PackageOrigin};

use crate::error::{BadPackage, RepositoryError};
use crate::header::{IndexedPackage, indexed, read_with_payload_hash};

/// rpm's number for SHA-256 among digest algorithms (RFC 4880, section 9.4).
const SHA256: u32 = 8;

/// Reads a binary package and checks it: its NEVRA and the SHA-256 of its bytes are the announced ones, and
/// the digests in the file match its header and its payload.
///
/// # Errors
/// [`RepositoryError::BadPackage`] with the first difference, or as [`crate::read_package`].
pub fn verify_package(
    path: &Path,
    announced: &PackageArtifact,
    origin: PackageOrigin,
) -> Result<IndexedPackage, RepositoryError> {
    let (parsed, payload) = read_with_payload_hash(path)?;
    if parsed.sha256 != announced.sha256 {
        let (expected, found) = (announced.sha256.clone(), parsed.sha256);
        return Err(BadPackage::WrongHash { expected, found }.at(path));
    }
    check_digests(&parsed.metadata, &payload).map_err(|bad| bad.at(path))?;
    let package = indexed(parsed, path, origin)?;
    if package.header.nevra != announced.nevra {
        let expected = Box::new(announced.nevra.clone());
        let found = Box::new(package.header.nevra);
        return Err(BadPackage::WrongIdentity { expected, found }.at(path));
    }
    Ok(package)
}

fn check_digests(metadata: &PackageMetadata, payload: &ContentDigest) -> Result<(), BadPackage> {
    // SHA-256 or SHA-1 of the header, as the signature header states them.
    metadata.verify_digests().map_err(|error| BadPackage::Digest { message: error.to_string() })?;
    // The rpm crate checks payloads only of packages that it holds in memory.
    match payload_digest(metadata).ok_or(BadPackage::Missing { what: "payload digest" })? {
        expected if expected == *payload => Ok(()),
        expected => {
            Err(BadPackage::Digest { message: format!("payload: expected {expected}, found {payload}") })
        }
    }
}

/// Returns the SHA-256 of the compressed payload that the header states.
fn payload_digest(metadata: &PackageMetadata) -> Option<ContentDigest> {
    let header = &metadata.header;
    let algorithm = header.get_entry_data_as_u32(IndexTag::RPMTAG_PAYLOADSHA256ALGO);
    if algorithm.is_ok_and(|algorithm| algorithm != SHA256) {
        return None;
    }
    let digests = header.get_entry_data_as_string_array(IndexTag::RPMTAG_PAYLOADSHA256).ok()?;
    digests.first()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scratch, TinyPackage};

    fn announced(bytes: &[u8], nevra: &str) -> PackageArtifact {
        PackageArtifact {
            nevra: nevra.parse().unwrap(),
            path: String::new(),
            sha256: ContentDigest::of_bytes(bytes),
            size: bytes.len() as u64,
        }
    }

    #[track_caller]
    fn check(bytes: &[u8], announced: &PackageArtifact, expected: Result<(), &str>) {
        let scratch = Scratch::new();
        let path = scratch.write("a.rpm", bytes);
        let found = verify_package(&path, announced, PackageOrigin::Tree);
        match (expected, found) {
            (Ok(()), found) => assert_eq!(found.unwrap().path, path),
            (Err(words), found) => {
                let error = found.unwrap_err().to_string();
                assert!(error.contains(words), "expected `{words}` in `{error}`");
            }
        }
    }

    #[test]
    fn only_what_was_announced_passes() {
        let good = TinyPackage::new("a", "1-1", "noarch").file("/usr/bin/a").bytes();
        check(&good, &announced(&good, "a-1-1.noarch"), Ok(()));
        check(&good, &announced(b"other", "a-1-1.noarch"), Err("the SHA-256 is"));
        check(
            &good,
            &announced(&good, "a-1-2.noarch"),
            Err("it is a-1-1.noarch, a-1-2.noarch was announced"),
        );
    }

    /// A worker that announces the hash of damaged bytes is caught by the digests inside the file.
    #[test]
    fn damage_inside_is_found() {
        let good = TinyPackage::new("a", "1-1", "noarch").file("/usr/bin/a").bytes();
        let damaged = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            let announced = announced(&bytes, "a-1-1.noarch");
            (bytes, announced)
        };
        let (bytes, words) = damaged(good.len() - 1);
        check(&bytes, &words, Err("payload: expected"));
        let summary = good.windows(6).position(|window| window == b"A tiny").unwrap();
        let (bytes, words) = damaged(summary);
        check(&bytes, &words, Err("digest"));
    }
}
