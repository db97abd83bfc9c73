//! SHA-256 of bytes as they pass by.

use std::io::{self, Read, Write};

use rpm_model::ContentDigest;
use sha2::{Digest, Sha256};

/// Bytes per read or write; large enough that system calls do not show.
const BUFFER: usize = 256 * 1024;

/// Copies everything and returns the SHA-256 of what was copied.
pub(crate) fn copy_hashing(from: &mut impl Read, to: &mut impl Write) -> io::Result<ContentDigest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(ContentDigest::from_hash(&hash.finalize())),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..length]);
        to.write_all(&buffer[..length])?;
    }
}
