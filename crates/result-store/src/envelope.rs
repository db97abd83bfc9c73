//! The envelope around a result document: DSSE, as the supply-chain documents of in-toto use it.
//!
//! `{"payloadType": T, "payload": base64(P), "signatures": [{"keyid": I, "sig": base64(S)}]}`. What is signed is
//! not JSON but the bytes `DSSEv1 <length of T> T <length of P> P` (lengths in decimal, single blanks between),
//! so that no two readings of a document have the same signature. An unsigned document has no signatures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::key::{PublicKey, SigningKey};
use crate::miss::MissReason;

/// What the payload is.
const PAYLOAD_TYPE: &str = "application/vnd.millwright.build-result+json";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Serialize, Deserialize)]
struct EnvelopeSignature {
    keyid: String,
    sig: String,
}

/// A payload that may be believed.
pub(crate) struct Opened {
    pub(crate) payload: Vec<u8>,
    /// The trusted key that signed it; absent when none was asked for.
    pub(crate) signed_by: Option<String>,
}

/// Puts a payload into an envelope, signed when there is a key.
pub(crate) fn seal(payload: &[u8], key: Option<&SigningKey>) -> Vec<u8> {
    let sign = |key: &SigningKey| EnvelopeSignature {
        keyid: key.public().id(),
        sig: STANDARD.encode(key.sign(&signed_bytes(payload))),
    };
    let envelope = Envelope {
        payload_type: PAYLOAD_TYPE.to_owned(),
        payload: STANDARD.encode(payload),
        signatures: key.map(sign).into_iter().collect(),
    };
    serde_json::to_vec(&envelope).expect("texts and lists can always be written as JSON")
}

/// Takes a payload out of an envelope. With trusted keys, one of them must have signed it.
pub(crate) fn open(bytes: &[u8], trusted: &[PublicKey]) -> Result<Opened, MissReason> {
    let refused = |message: String| MissReason::NotADocument { message };
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|error| refused(error.to_string()))?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(refused(format!("its payload is `{}`", envelope.payload_type)));
    }
    let payload = STANDARD.decode(&envelope.payload).map_err(|error| refused(error.to_string()))?;
    if trusted.is_empty() {
        return Ok(Opened { payload, signed_by: None });
    }
    if envelope.signatures.is_empty() {
        return Err(MissReason::Unsigned);
    }
    let message = signed_bytes(&payload);
    let mut bad = None;
    for EnvelopeSignature { keyid, sig } in &envelope.signatures {
        let Some(key) = trusted.iter().find(|key| key.id() == *keyid) else { continue };
        if STANDARD.decode(sig).is_ok_and(|signature| key.verifies(&message, &signature)) {
            return Ok(Opened { payload, signed_by: Some(keyid.clone()) });
        }
        bad = Some(MissReason::BadSignature { id: keyid.clone() });
    }
    let ids = || envelope.signatures.iter().map(|signature| signature.keyid.clone()).collect();
    Err(bad.unwrap_or_else(|| MissReason::UnknownKey { ids: ids() }))
}

/// Returns what a signature is over: DSSE's pre-authentication encoding.
fn signed_bytes(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_trusted_key_signed_is_believed() {
        let (one, two) = (SigningKey::of_seed(1), SigningKey::of_seed(2));
        let sealed = seal(b"{}", Some(&one));
        let opened = open(&sealed, &[two.public(), one.public()]).unwrap_or_else(|miss| panic!("{miss}"));
        assert_eq!((opened.payload.as_slice(), opened.signed_by), (&b"{}"[..], Some(one.public().id())));
        assert!(open(&sealed, &[]).is_ok_and(|opened| opened.signed_by.is_none()));
        let reason = |bytes: &[u8], keys: &[PublicKey]| open(bytes, keys).err().unwrap();
        let unknown = MissReason::UnknownKey { ids: vec![one.public().id()] };
        assert_eq!(reason(&sealed, &[two.public()]), unknown);
        assert_eq!(reason(&seal(b"{}", None), &[one.public()]), MissReason::Unsigned);

        // The payload is another than the signed one.
        let mut envelope: serde_json::Value = serde_json::from_slice(&sealed).unwrap();
        envelope["payload"] = STANDARD.encode(b"{ }").into();
        let changed = envelope.to_string();
        let bad = MissReason::BadSignature { id: one.public().id() };
        assert_eq!(reason(changed.as_bytes(), &[one.public()]), bad);
        // Another key's signature in the name of a trusted one.
        let mut envelope: serde_json::Value = serde_json::from_slice(&seal(b"{}", Some(&two))).unwrap();
        envelope["signatures"][0]["keyid"] = one.public().id().into();
        assert_eq!(reason(envelope.to_string().as_bytes(), &[one.public()]), bad);
        assert!(matches!(reason(b"<html>", &[]), MissReason::NotADocument { .. }));
        assert!(matches!(
            reason(br#"{"payloadType":"x","payload":"","signatures":[]}"#, &[]),
            MissReason::NotADocument { .. }
        ));
    }
}
