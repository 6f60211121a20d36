//! Whether the owner of a key has signed a text.

use chrono::{DateTime, Utc};
use pgp::packet::{Signature, SignatureType};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, VerifyingKey};

use super::certificate::Certificate;
use super::self_signatures::is_short;
use super::{is_current, is_strong, packets};
use crate::error::{Code, Error, Problem, Result};

impl Certificate {
    /// Checks an armored detached signature over exactly this text, by the key or one of its signing subkeys. A line end behind the
    /// text, that of any system, is nobody's fault.
    ///
    /// # Errors
    /// `ValidationFailed` for what is no signature; `InvalidSignature`, with a reason.
    pub fn verify(&self, text: &str, armor: &str, now: DateTime<Utc>) -> Result<()> {
        let mut reason = None;
        for signature in packets::signatures(armor)? {
            match self.judge_proof(text, &signature, now) {
                Ok(()) => return Ok(()),
                Err(refused) => reason = reason.or(Some(refused)),
            }
        }
        let reason = reason.unwrap_or("is none");
        Err(Error::invalid(Code::InvalidSignature, Problem::new("signature", reason)))
    }

    fn judge_proof(&self, text: &str, signature: &Signature, now: DateTime<Utc>) -> Result<(), &'static str> {
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return Err("is not one of a document");
        }
        if !is_strong(signature) {
            return Err("is made with SHA-1 or an older hash");
        }
        if !is_current(signature, now) {
            return Err("has expired, was made in the future, or has a condition");
        }
        let primary = Some(&self.key.primary_key).filter(|key| self.primary_signs() && has_made(*key, signature));
        let subkey = || self.signing_subkeys().find(|subkey| has_made(&subkey.key, signature));
        match (primary, subkey()) {
            (Some(primary), _) => has_signed(primary, text, signature),
            (None, Some(subkey)) if self.is_claimed_by(subkey, now) => has_signed(&subkey.key, text, signature),
            (None, Some(_)) => Err("is of a subkey that does not say itself that it is of this key"),
            (None, None) => Err("does not say that it is of this key, or of a subkey of it that can sign"),
        }
    }
}

/// Whether a signature names this key as its maker. One that names nobody is not tried with every key there is.
fn has_made(key: &impl KeyDetails, signature: &Signature) -> bool {
    signature.issuer_fingerprint().contains(&&key.fingerprint())
        || signature.issuer_key_id().contains(&&key.legacy_key_id())
}

fn has_signed<K: VerifyingKey + Serialize>(key: &K, text: &str, signature: &Signature) -> Result<(), &'static str> {
    if is_short(signature, key) {
        return Err("is made with a hash that is too short for this key");
    }
    let is_of = |end: &&&str| signature.verify(key, format!("{text}{end}").as_bytes()).is_ok();
    let found = ["", "\n", "\r\n"].iter().find(is_of);
    found.map(drop).ok_or("is not one of exactly the text in verificationToken")
}
