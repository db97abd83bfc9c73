//! Checks an RPM file before anything of it is unpacked.
//!
//! One pass over the file compares its SHA-256 with the one asked for, the SHA-256 of its main header
//! with the one in its signature header, and the SHA-256 of its payload with the one in its main
//! header. Nothing is written until all three are right. The content of each file is compared with
//! its own digest while it is unpacked ([`super::unpack`]): that needs the payload decompressed, and
//! what is unpacked is not published before all of it was right.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use rpm_model::ContentDigest;
use sha2::{Digest, Sha256};

use super::package::{PackageContent, PackageFault, parse_package};
use super::record::{LayerRequest, SetuidPolicy};
use super::vet::read_headers;
use crate::error::{LayerError, PathContext};

const BUFFER_BYTES: usize = 128 << 10;

/// What SHA-256 takes in one step.
const BLOCK_BYTES: usize = 64;

/// How much each of two hashes of the same bytes takes in its turn.
const TURN_BYTES: usize = 2 * BLOCK_BYTES;

/// Opens an RPM file for reading in large pieces.
pub(super) fn open_package(path: &Path) -> Result<BufReader<File>, LayerError> {
    Ok(BufReader::with_capacity(BUFFER_BYTES, File::open(path).context("open", path)?))
}

/// Returns what the package says of itself when all digests are right; `reader` is then at the beginning
/// of the payload.
pub(super) fn verified_package(
    reader: &mut BufReader<File>,
    request: &LayerRequest,
    setuid: SetuidPolicy,
) -> Result<PackageContent, LayerError> {
    let path = &request.path;
    let size = reader.get_ref().metadata().context("examine", path)?.len();
    if let Some(expected) = request.size.filter(|&expected| expected != size) {
        return Err(LayerError::Size { path: path.clone(), expected, found: size });
    }
    let mut whole = HashedReader { inner: &mut *reader, hash: BlockHash::default() };
    // What is wrong with the headers is told only of the file that was asked for.
    let headers = read_headers(&mut whole);
    let mut payload = BlockHash::default();
    loop {
        let piece = whole.inner.fill_buf().context("read", path)?;
        if piece.is_empty() {
            break;
        }
        update_both(&mut whole.hash, &mut payload, piece);
        let taken = piece.len();
        whole.inner.consume(taken);
    }
    let found = whole.hash.digest();
    if found != request.sha256 {
        return Err(LayerError::Digest { path: path.clone(), expected: request.sha256.clone(), found });
    }
    let refused = |fault: PackageFault| LayerError::Package { path: path.clone(), fault };
    let headers = headers.context("read", path)?.map_err(|fault| refused(fault.into()))?;
    let content = parse_package(&headers, setuid).map_err(refused)?;
    let found = payload.digest();
    if let Some(expected) = content.payload_sha256.clone().filter(|expected| expected != found.as_str()) {
        return Err(refused(PackageFault::PayloadDigest { expected, found: found.to_string() }));
    }
    reader.seek(SeekFrom::Start(headers.bytes.len() as u64)).context("read", path)?;
    Ok(content)
}

/// Compares the SHA-256 of a file with the one asked for.
pub(crate) fn verify_sha256(file: &mut File, request: &LayerRequest) -> Result<(), LayerError> {
    let path = &request.path;
    let mut whole = HashedReader { inner: file, hash: BlockHash::default() };
    io::copy(&mut whole, &mut io::sink()).context("read", path)?;
    let found = whole.hash.digest();
    if found == request.sha256 {
        return Ok(());
    }
    Err(LayerError::Digest { path: path.clone(), expected: request.sha256.clone(), found })
}

/// Returns the NEVRA of the package of a verified file, and when it was built in seconds since 1970.
pub(crate) fn identity_and_build_time(path: &Path) -> Result<(String, u32), LayerError> {
    let mut file = File::open(path).context("open", path)?;
    let headers = read_headers(&mut file).context("read", path)?;
    let parsed = headers
        .map_err(PackageFault::from)
        .and_then(|headers| parse_package(&headers, SetuidPolicy::Strip))
        .map_err(|fault| LayerError::Package { path: path.to_owned(), fault })?;
    Ok((parsed.identity.nevra, parsed.build_time))
}

/// Hashes everything that is read through it.
struct HashedReader<R> {
    inner: R,
    hash: BlockHash,
}

impl<R: Read> Read for HashedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// A SHA-256 that knows how full its current block is.
#[derive(Default)]
struct BlockHash {
    hash: Sha256,
    filled: usize,
}

impl BlockHash {
    fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.filled = (self.filled + bytes.len()) % BLOCK_BYTES;
    }

    /// Takes what the current block lacks; returns the other bytes.
    fn complete_block<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let lacking = (BLOCK_BYTES - self.filled) % BLOCK_BYTES;
        let (now, later) = bytes.split_at(lacking.min(bytes.len()));
        self.update(now);
        later
    }

    fn digest(self) -> ContentDigest {
        ContentDigest::from_hash(&self.hash.finalize())
    }
}

/// Adds the same bytes to two hashes, a third faster than to one after the other: each step of a SHA-256 waits for
/// the step before, but not for the other hash's, and with short turns the processor is at both at once.
fn update_both(first: &mut BlockHash, second: &mut BlockHash, bytes: &[u8]) {
    let mut for_first = first.complete_block(bytes).chunks(TURN_BYTES);
    let mut for_second = second.complete_block(bytes).chunks(TURN_BYTES);
    loop {
        match (for_first.next(), for_second.next()) {
            (None, None) => break,
            (of_first, of_second) => {
                first.update(of_first.unwrap_or_default());
                second.update(of_second.unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn two_hashes_at_once_are_those_of_one_after_the_other(
            before in proptest::collection::vec(any::<u8>(), 0..300),
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 0..8)
        ) {
            let (mut first, mut second) = (BlockHash::default(), BlockHash::default());
            first.update(&before);
            for piece in &pieces {
                update_both(&mut first, &mut second, piece);
            }
            let second_bytes = pieces.concat();
            prop_assert_eq!(first.digest(), ContentDigest::of_bytes(&[before, second_bytes.clone()].concat()));
            prop_assert_eq!(second.digest(), ContentDigest::of_bytes(&second_bytes));
        }
    }
}
