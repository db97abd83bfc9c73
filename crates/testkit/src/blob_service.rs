//! What the Blob service of Azure Storage has of its own: how requests are signed, and blobs that are put together from
//! blocks.
//!
//! What it is: the part of [`crate::ObjectServer`] that clients of that service speak to, as its emulator answers: the
//! account is the first part of the path. It checks every signature, computed from the documented string to sign and
//! not by the code under test. What it is not: the service; it knows no containers, leases or ranges.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The account that every emulator of the service has.
pub const BLOB_ACCOUNT: &str = "devstoreaccount1";

/// The key of that account: published, the same everywhere, and no secret.
pub const BLOB_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A request as far as its signature covers it.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// By name in small letters.
    pub(crate) headers: &'a BTreeMap<String, String>,
}

impl Signed<'_> {
    /// Returns whether the request speaks the protocol of the service.
    pub(crate) fn is_blob_request(&self) -> bool {
        self.headers.contains_key("x-ms-version")
    }

    /// Returns whether the request is signed with the emulator's key.
    pub(crate) fn is_right(&self) -> bool {
        let Ok(key) = STANDARD.decode(BLOB_KEY) else { return false };
        let signature = STANDARD.encode(hmac_sha256(&key, self.string_to_sign().as_bytes()));
        let expected = format!("SharedKey {BLOB_ACCOUNT}:{signature}");
        self.headers.get("authorization") == Some(&expected)
    }

    fn string_to_sign(&self) -> String {
        let header = |name: &str| self.headers.get(name).map_or("", String::as_str);
        let standard = [
            "content-encoding",
            "content-language",
            "content-length",
            "content-md5",
            "content-type",
            "date",
            "if-modified-since",
            "if-match",
            "if-none-match",
            "if-unmodified-since",
            "range",
        ];
        let mut text = format!("{}\n", self.method);
        for name in standard {
            // No length and one of zero are the same to the service.
            let value = if name == "content-length" && header(name) == "0" { "" } else { header(name) };
            text.push_str(&format!("{value}\n"));
        }
        for (name, value) in self.headers.iter().filter(|(name, _)| name.starts_with("x-ms-")) {
            text.push_str(&format!("{name}:{value}\n"));
        }
        text.push_str(&format!("/{BLOB_ACCOUNT}{}", self.path));
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let sorted: BTreeMap<String, String> =
            pairs.map(|(name, value)| (name.to_ascii_lowercase(), unescaped(value))).collect();
        for (name, value) in sorted {
            text.push_str(&format!("\n{name}:{value}"));
        }
        text
    }
}

/// Returns the ids of the blocks that a `Put Block List` puts together, in order.
pub(crate) fn block_list(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body).into_owned();
    let ids = text.split("<Uncommitted>").skip(1);
    ids.filter_map(|rest| Some(rest.split_once("</Uncommitted>")?.0.to_owned())).collect()
}

/// Returns a value of a query without its percent signs.
pub(crate) fn unescaped(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match (first, code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the HMAC of RFC 2104 with SHA-256; the key is of at most one block.
fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second test case of RFC 4231.
    #[test]
    fn the_mac_is_that_of_the_standard() {
        let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn queries_and_block_lists_are_read() {
        assert_eq!(unescaped("MDA%3D%2b%"), "MDA=+%");
        let body = b"<BlockList><Uncommitted>a=</Uncommitted><Uncommitted>b</Uncommitted></BlockList>";
        assert_eq!(block_list(body), ["a=", "b"]);
    }
}
