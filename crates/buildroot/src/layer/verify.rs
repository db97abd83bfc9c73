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
    let mut whole = HashedReader { inner: &mut *reader, hash: Sha256::new() };
    // What is wrong with the headers is told only of the file that was asked for.
    let headers = read_headers(&mut whole);
    let mut payload = Sha256::new();
    loop {
        let piece = whole.inner.fill_buf().context("read", path)?;
        if piece.is_empty() {
            break;
        }
        whole.hash.update(piece);
        payload.update(piece);
        let taken = piece.len();
        whole.inner.consume(taken);
    }
    let found = ContentDigest::from_hash(&whole.hash.finalize());
    if found != request.sha256 {
        return Err(LayerError::Digest { path: path.clone(), expected: request.sha256.clone(), found });
    }
    let refused = |fault: PackageFault| LayerError::Package { path: path.clone(), fault };
    let headers = headers.context("read", path)?.map_err(|fault| refused(fault.into()))?;
    let content = parse_package(&headers, setuid).map_err(refused)?;
    let found = ContentDigest::from_hash(&payload.finalize());
    if let Some(expected) = content.payload_sha256.clone().filter(|expected| expected != found.as_str()) {
        return Err(refused(PackageFault::PayloadDigest { expected, found: found.to_string() }));
    }
    reader.seek(SeekFrom::Start(headers.bytes.len() as u64)).context("read", path)?;
    Ok(content)
}

/// Compares the SHA-256 of a file with the one asked for.
pub(crate) fn verify_sha256(file: &mut File, request: &LayerRequest) -> Result<(), LayerError> {
    let path = &request.path;
    let mut whole = HashedReader { inner: file, hash: Sha256::new() };
    io::copy(&mut whole, &mut io::sink()).context("read", path)?;
    let found = ContentDigest::from_hash(&whole.hash.finalize());
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
    hash: Sha256,
}

impl<R: Read> Read for HashedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
