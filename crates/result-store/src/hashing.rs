//! Copies bytes and says which they were.

use std::io::{self, Read, Write};

use rpm_model::ContentDigest;
use sha2::{Digest, Sha256};

use crate::document::StoredFile;

/// Hashes and counts what is written through it.
pub(crate) struct HashingWriter<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W> HashingWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    /// Returns the writer below, and what was written.
    pub(crate) fn finish(self) -> (W, StoredFile) {
        let sha256 = ContentDigest::from_hash(self.hash.finalize().as_slice());
        (self.inner, StoredFile { sha256, size: self.size })
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Copies everything and returns what it was.
pub(crate) fn copy_hashing(from: &mut impl Read, to: impl Write) -> io::Result<StoredFile> {
    let mut writer = HashingWriter::new(to);
    io::copy(from, &mut writer)?;
    writer.flush()?;
    Ok(writer.finish().1)
}
