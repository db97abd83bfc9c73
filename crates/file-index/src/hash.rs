//! SHA-256 of a file's content.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rpm_model::ContentDigest;
use sha2::{Digest, Sha256};

/// Bytes per read; large enough that system calls do not show, small enough for many threads.
const BUFFER: usize = 64 * 1024;

/// Returns the SHA-256 of a file's content.
///
/// # Errors
///
/// Returns the system's error where the file cannot be opened or read.
pub fn hash_file(path: &Path) -> io::Result<ContentDigest> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(ContentDigest::from_hash(&hash.finalize())),
            Ok(length) => hash.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
