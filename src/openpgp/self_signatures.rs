//! What the owner of a key has said last, and all that he took back: self-signatures (RFC 9580 section 5.2.3.10) that were verified.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{PublicKey, PublicSubkey, Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, PublicParams, SignedUser, Tag};

use super::{has_counted, is_current, is_strong, packets, refused};
use crate::error::{Code, Result};

/// What verifications of a key may cost together, in those of RSA or a smaller curve: years of extended ends, of many user ids.
const MOST_VERIFICATIONS: usize = 100;

/// What one by Ed448 costs.
const COST_OF_ED448: usize = 4;

/// Leaves of a key what its owner has said last of each part, and all that he took back: what was revoked or is over stays, or an older
/// copy would bring it back.
///
/// # Errors
/// `KeyRevoked`; `WeakKey` when nothing is left but what SHA-1 or an older hash binds, or when a revocation cannot be checked for that
/// reason; `KeyTooLarge` when it takes too many verifications.
pub fn settle(mut key: SignedPublicKey, now: DateTime<Utc>) -> Result<SignedPublicKey> {
    let primary = key.primary_key.clone();
    let mut checks = Checks {
        primary: &primary,
        now,
        left: MOST_VERIFICATIONS,
        strays: Vec::new(),
        has_weak: false,
        has_idle: false,
    };
    for revocation in std::mem::take(&mut key.details.revocation_signatures) {
        if revocation.typ() != Some(SignatureType::KeyRevocation) {
            checks.strays.push(revocation);
        } else if checks.holds(&revocation, |signature| signature.verify_key(&primary))? {
            return Err(refused(Code::KeyRevoked, "was revoked by its owner"));
        }
    }
    checks.settle(&mut key.details.direct_signatures, |signature| signature.verify_key(&primary))?;
    for SignedUser { id, signatures } in &mut key.details.users {
        checks.settle(signatures, |signature| signature.verify_certification(&primary, Tag::UserId, id))?;
    }
    for SignedPublicSubKey { key: subkey, signatures } in &mut key.public_subkeys {
        checks.settle(signatures, |signature| signature.verify_subkey_binding(&primary, subkey))?;
        for binding in signatures {
            checks.settle_backs(binding, subkey)?;
        }
    }
    // A revocation that stands behind another part than it is of is one all the same, as in GnuPG.
    for stray in std::mem::take(&mut checks.strays) {
        if stray.typ() == Some(SignatureType::CertRevocation) {
            for SignedUser { id, signatures } in &mut key.details.users {
                let verify = |stray: &Signature| stray.verify_certification(&primary, Tag::UserId, id);
                checks.adopt(&stray, signatures, verify)?;
            }
        } else {
            for SignedPublicSubKey { key: subkey, signatures } in &mut key.public_subkeys {
                checks.adopt(&stray, signatures, |stray| stray.verify_subkey_binding(&primary, subkey))?;
            }
        }
    }
    key.details.users.retain(|user| !user.signatures.is_empty());
    key.public_subkeys.retain(|subkey| !subkey.signatures.is_empty());
    let is_silent = key.details.direct_signatures.is_empty() && key.details.users.is_empty();
    if is_silent && checks.has_weak {
        let reason =
            "is bound by SHA-1, or by another hash that is too short; let your program sign it anew with SHA-512";
        return Err(refused(Code::WeakKey, reason));
    }
    if is_silent && checks.has_idle {
        let reason = "has no signature of its own that counts: what it has was made in the future, or has a condition";
        return Err(refused(Code::InvalidKey, reason));
    }
    Ok(key)
}

/// The verifications of one key.
struct Checks<'a> {
    primary: &'a PublicKey,
    now: DateTime<Utc>,
    /// What they may still cost.
    left: usize,
    /// Revocations of another part than they stand behind, or of none.
    strays: Vec<Signature>,
    /// Whether there was something that a weak hash binds, or that does not count.
    has_weak: bool,
    has_idle: bool,
}

impl Checks<'_> {
    /// Leaves of the signatures of a part the newest that counts, or has, and all revocations, as far as they hold. One after another, so
    /// that of what was said anew again and again only the last word costs something.
    fn settle(
        &mut self,
        signatures: &mut Vec<Signature>,
        verify: impl Fn(&Signature) -> pgp::errors::Result<()>,
    ) -> Result<()> {
        let (revocations, mut words): (Vec<_>, Vec<_>) = signatures.drain(..).partition(is_revocation);
        for revocation in revocations {
            match self.holds(&revocation, &verify)? {
                true => signatures.push(revocation),
                false => self.strays.push(revocation),
            }
        }
        // Of two of the same second the one that ends sooner.
        words.sort_by_key(|word| (Reverse(made_at(word)), life_of(word)));
        for word in words {
            if !is_strong(&word) || is_short(&word, self.primary) {
                self.has_weak = true;
            } else if !has_counted(&word, self.now) {
                self.has_idle = true;
            } else if self.holds(&word, &verify)? {
                signatures.push(word);
                break;
            }
        }
        Ok(())
    }

    /// Adds a revocation to the signatures of a part, if it is of that.
    fn adopt(
        &mut self,
        stray: &Signature,
        signatures: &mut Vec<Signature>,
        verify: impl Fn(&Signature) -> pgp::errors::Result<()>,
    ) -> Result<()> {
        let is_known = signatures.iter().any(|known| packets::is_same(known, stray));
        if !is_known && self.holds(stray, verify)? {
            signatures.insert(0, stray.clone());
        }
        Ok(())
    }

    /// Leaves of what a subkey says itself of its key, and nobody has signed, the best that holds: one that counts, and the newest.
    fn settle_backs(&mut self, binding: &mut Signature, subkey: &PublicSubkey) -> Result<()> {
        let unsigned = binding.config().map(|config| config.unhashed_subpackets.clone()).unwrap_or_default();
        let mut best = None;
        for (at, part) in unsigned.iter().enumerate() {
            let SubpacketData::EmbeddedSignature(back) = &part.data else { continue };
            self.pay(subkey)?;
            if back.verify_primary_key_binding(subkey, self.primary).is_ok() {
                let rank = (is_strong(back) && is_current(back, self.now), made_at(back));
                best = best.max(Some((rank, at)));
            }
        }
        let is_back = |at: &usize| matches!(unsigned[*at].data, SubpacketData::EmbeddedSignature(_));
        for at in (0..unsigned.len()).rev().filter(is_back).filter(|at| best.is_none_or(|(_, best)| best != *at)) {
            // It has a length, and so many parts.
            let _ = binding.unhashed_subpacket_remove(at);
        }
        Ok(())
    }

    /// Whether a signature is valid, whatever its hash: a weak revocation is one all the same.
    fn holds(&mut self, signature: &Signature, verify: impl Fn(&Signature) -> pgp::errors::Result<()>) -> Result<bool> {
        self.pay(self.primary)?;
        if is_revocation(signature) && is_short(signature, self.primary) {
            // To believe that it is none would be as wrong as to believe it.
            let reason = "says, as a whole or of a part, that it is revoked, with a hash that is too short to be checked; if it is, \
                          delete it here";
            return Err(refused(Code::WeakKey, reason));
        }
        Ok(verify(signature).is_ok())
    }

    /// Counts a verification by this key.
    fn pay(&mut self, key: &impl KeyDetails) -> Result<()> {
        let cost = if matches!(key.public_params(), PublicParams::Ed448(_)) { COST_OF_ED448 } else { 1 };
        self.left = self.left.checked_sub(cost).ok_or_else(packets::too_large)?;
        Ok(())
    }
}

/// Whether the library verifies no signature with such a hash by this key.
pub fn is_short(signature: &Signature, key: &impl KeyDetails) -> bool {
    let digest = signature.hash_alg().and_then(HashAlgorithm::digest_size);
    digest.is_none_or(|bytes| bytes < least_digest(key.public_params()))
}

/// Bytes of a hash below which the library verifies no signature by such a key.
fn least_digest(params: &PublicParams) -> usize {
    match params {
        PublicParams::Ed25519(_) | PublicParams::EdDSALegacy(_) => 32,
        PublicParams::Ed448(_) => 64,
        PublicParams::ECDSA(ecdsa) => ecdsa.secret_key_length().unwrap_or_default() / 2,
        _ => 0,
    }
}

/// Whether a signature takes something back.
pub fn is_revocation(signature: &Signature) -> bool {
    use SignatureType::{CertRevocation, KeyRevocation, SubkeyRevocation};
    matches!(signature.typ(), Some(KeyRevocation | CertRevocation | SubkeyRevocation))
}

/// Seconds since 1970 when a signature says that it was made.
pub fn made_at(signature: &Signature) -> Option<u32> {
    signature.created().map(|at| at.as_secs())
}

/// How many seconds after it was made, or the key was, a word is over at the latest.
fn life_of(word: &Signature) -> u32 {
    let lives = [word.key_expiration_time(), word.signature_expiration_time()].into_iter().flatten();
    lives.map(|life| life.as_secs()).filter(|life| *life > 0).min().unwrap_or(u32::MAX)
}

/// The last word of these signatures, over or not; `None` where it is a revocation. Of two of the same second a revocation is the last.
pub fn last_word(signatures: &[Signature]) -> Option<&Signature> {
    let last = signatures.iter().max_by_key(|signature| (made_at(signature), is_revocation(signature)));
    last.filter(|word| !is_revocation(word))
}
