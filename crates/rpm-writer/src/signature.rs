//! The signature header: digests and sizes of what follows it. No keys are involved.

use crate::error::WriteError;
use crate::header::Header;
use crate::payload::hex;
use crate::tag;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Room for an OpenPGP signature to be added later without moving the rest, as rpmbuild leaves it: 4096 bytes,
/// and 32 for the 64-bit sizes that a larger package would have.
pub(crate) const ROOM_OF_RPMBUILD: usize = 4096 + 32;

/// What follows the signature header, digested.
pub(crate) struct Signed<'a> {
    /// The encoded main header.
    pub(crate) header: &'a [u8],
    /// MD5 of header and compressed payload.
    pub(crate) md5: [u8; 16],
    /// Size of the compressed payload.
    pub(crate) payload_size: u64,
    /// Size of the archive before compression.
    pub(crate) archive_size: u64,
    /// Bytes to reserve; 0 for none.
    pub(crate) room: usize,
}

/// Returns the encoded signature header, filled up so that the main header can follow it.
pub(crate) fn encode(signed: &Signed<'_>) -> Result<Vec<u8>, WriteError> {
    let size = signed.header.len() as u64 + signed.payload_size;
    let fits =
        |size: u64| u32::try_from(size).map_err(|_| WriteError::TooLarge { what: "payload".into(), size });
    let mut signature = Header::new(tag::HEADER_SIGNATURES);
    signature.text(tag::SIGNATURE_SHA1, hex(&Sha1::digest(signed.header)));
    signature.text(tag::SIGNATURE_SHA256, hex(&Sha256::digest(signed.header)));
    signature.int32(tag::SIGNATURE_SIZE, vec![fits(size)?]);
    signature.binary(tag::SIGNATURE_MD5, signed.md5.to_vec());
    signature.int32(tag::SIGNATURE_PAYLOAD_SIZE, vec![fits(signed.archive_size)?]);
    if signed.room > 0 {
        signature.binary(tag::SIGNATURE_RESERVED_SPACE, vec![0; signed.room]);
    }
    let mut bytes = signature.encode();
    bytes.resize(bytes.len().next_multiple_of(Header::ALIGNMENT), 0);
    Ok(bytes)
}
