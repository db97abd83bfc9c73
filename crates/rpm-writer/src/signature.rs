//! The signature header: digests and sizes of what follows it. No keys are involved.

use crate::error::WriteError;
use crate::header::Header;
use crate::payload::{Payload, hex};
use crate::tag;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Returns the encoded signature header for an encoded main header and its payload.
pub(crate) fn encode(header: &[u8], payload: &Payload) -> Result<Vec<u8>, WriteError> {
    let size = (header.len() + payload.bytes.len()) as u64;
    let fits =
        |size: u64| u32::try_from(size).map_err(|_| WriteError::TooLarge { what: "payload".into(), size });
    let mut signature = Header::new(tag::HEADER_SIGNATURES);
    signature.text(tag::SIGNATURE_SHA1, hex(&Sha1::digest(header)));
    signature.text(tag::SIGNATURE_SHA256, hex(&Sha256::digest(header)));
    signature.int32(tag::SIGNATURE_SIZE, vec![fits(size)?]);
    let md5 = Md5::new().chain_update(header).chain_update(&payload.bytes).finalize();
    signature.binary(tag::SIGNATURE_MD5, md5.to_vec());
    signature.int32(tag::SIGNATURE_PAYLOAD_SIZE, vec![fits(payload.archive_size)?]);
    Ok(signature.encode())
}
