//! What a public key is good for, by its newest valid self-signatures (RFC 9580 section 5.2.3.10).

use chrono::{DateTime, TimeDelta, Utc};
use pgp::composed::{ArmorOptions, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{KeyFlags, Signature, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{EcdhPublicParams, EcdsaPublicParams, KeyDetails, KeyVersion, PublicParams, SignedUser};
use rsa::traits::PublicKeyParts;

use super::self_signatures::{is_revocation, last_word, made_at, settle};
use super::{
    LARGEST_LEAD, LEAST_RSA_BITS, email_of, end_of_signature, fingerprint, instant, is_current, is_strong, packets,
    refused,
};
use crate::error::{Code, Result};

/// A public key of version 4 or 6, neither revoked nor weak when it was read, and nothing in it but what its owner has signed, what he
/// took back included.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(super) key: SignedPublicKey,
    facts: Facts,
    /// Subkeys with a valid binding that are neither over nor revoked, by their place in the key.
    subkeys: Vec<Subkey>,
    /// What the primary key itself may do.
    primary: Uses,
}

/// What a key says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// In lower-case hex.
    pub fingerprint: String,
    /// 4 or 6.
    pub version: u8,
    /// The algorithm of the primary key, with its size or curve: `RSA 3072`, `Ed25519`, `ECDSA NIST P-256`.
    pub algorithm: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its time is over; `None` when it has no end.
    pub expires_at: Option<DateTime<Utc>>,
    /// User ids with a valid certification that was not revoked, the primary one first.
    pub user_ids: Vec<String>,
    /// Whether something can be encrypted to it.
    pub encryption: Encryption,
}

/// Whether something can be encrypted to a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// It has no part for that, or none that we can use.
    #[default]
    Never,
    /// Until the last of these parts is over.
    Until(DateTime<Utc>),
    /// As long as the key lives.
    Always,
}

impl Encryption {
    /// Whether something can be encrypted now.
    pub fn is_possible(self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Never => false,
            Self::Until(end) => end > now,
            Self::Always => true,
        }
    }

    /// When it ends, if it does so before the key.
    pub fn end(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Until(end) => Some(end),
            Self::Never | Self::Always => None,
        }
    }

    /// The later end of both.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Always, _) | (_, Self::Always) => Self::Always,
            (Self::Until(one), Self::Until(other)) => Self::Until(one.max(other)),
            (Self::Never, only) | (only, Self::Never) => only,
        }
    }
}

/// What a key or a subkey may be used for.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    sign: bool,
    encrypt: bool,
}

#[derive(Clone, Debug)]
struct Subkey {
    at: usize,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    uses: Uses,
}

impl Certificate {
    /// Reads one public key in ASCII armor, of at most 64 KiB without it.
    ///
    /// # Errors
    /// `KeyTooLarge`, `SecretKey`, `NestedPacket`, `KeyExpired`, `KeyRevoked`, `WeakKey`, `InvalidKey`; each names the field
    /// `publicKey`.
    pub fn parse(armor: &str, now: DateTime<Utc>) -> Result<Self> {
        Self::read(&packets::public_key(armor)?, now)
    }

    /// Reads it without armor.
    ///
    /// # Errors
    /// The same.
    pub fn read(bytes: &[u8], now: DateTime<Utc>) -> Result<Self> {
        Self::judge(packets::read(bytes)?, now)?.not_over(now)
    }

    /// Reads one public key in ASCII armor, as [`Certificate::parse`] does, together with what [`Certificate::to_armor`] wrote of it before:
    /// whoever brings an older copy, or one with something left out, takes nothing back that its owner has said since. Nor does it
    /// matter whether what was known is still good. What comes out may have expired, which is worth knowing of a key that is in use.
    ///
    /// # Errors
    /// The same but `KeyExpired`; `InvalidKey` for another key.
    pub fn parse_beside(armor: &str, known: &str, now: DateTime<Utc>) -> Result<Self> {
        let given = packets::read(&packets::public_key(armor)?)?;
        Self::judge(packets::union(kept(known)?, given)?, now)
    }

    /// Reads what [`Certificate::to_armor`] wrote, and verifies no signature again: that they are valid does not change with time. What
    /// they say does.
    ///
    /// # Errors
    /// `KeyExpired`, and others of [`Certificate::parse`] that time brings; an internal one when it is not what was written.
    pub fn reread(armor: &str, now: DateTime<Utc>) -> Result<Self> {
        weigh(kept(armor)?, now)?.not_over(now)
    }

    /// The fingerprint of a public key in ASCII armor, of which nothing else is looked at.
    ///
    /// # Errors
    /// Those of [`Certificate::parse`] that its first packet alone brings.
    pub fn fingerprint_of(armor: &str) -> Result<String> {
        packets::fingerprint(&packets::public_key(armor)?)
    }

    /// What [`Certificate::to_armor`] wrote, without armor and with no other user ids than those of this e-mail; `None` when it has none.
    /// Cheap, for whoever asks.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn of_email(armor: &str, email: &str) -> Result<Option<Vec<u8>>> {
        let is_of = |id: &[u8]| email_of(&text_of(id)).is_some_and(|given| names(given, email));
        packets::with_users(&packets::public_key(armor)?, is_of)
    }

    /// The same, unless it has expired.
    ///
    /// # Errors
    /// `KeyExpired`.
    pub fn not_over(self, now: DateTime<Utc>) -> Result<Self> {
        match self.facts.expires_at {
            Some(end) if end <= now => Err(refused(Code::KeyExpired, "has expired")),
            _ => Ok(self),
        }
    }

    fn judge(key: SignedPublicKey, now: DateTime<Utc>) -> Result<Self> {
        basics(&key, now)?;
        let certificate = weigh(settle(key, now)?, now)?;
        // What two copies have between them may be more than one may have; and what could not be read again would encrypt no mail.
        packets::read(&certificate.to_bytes()?)?;
        Ok(certificate)
    }

    /// What it says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The key without armor, with what its owner has signed and nothing else.
    ///
    /// # Errors
    /// Never, of a key that was read.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(self.key.to_bytes().map_err(anyhow::Error::from)?)
    }

    /// The same in ASCII armor.
    ///
    /// # Errors
    /// Never, of a key that was read.
    pub fn to_armor(&self) -> Result<String> {
        Ok(self.key.to_armored_string(ArmorOptions::default()).map_err(anyhow::Error::from)?)
    }

    /// The newest subkey to encrypt to, if there is one.
    pub(super) fn encryption_subkey(&self) -> Option<&SignedPublicSubKey> {
        let newest = self.subkeys.iter().filter(|subkey| subkey.uses.encrypt).max_by_key(|subkey| subkey.created_at)?;
        self.key.public_subkeys.get(newest.at)
    }

    /// Whether the primary key is one to sign with.
    pub(super) fn primary_signs(&self) -> bool {
        self.primary.sign
    }

    /// The subkeys to sign with. Whether they say themselves whose they are is still to be asked.
    pub(super) fn signing_subkeys(&self) -> impl Iterator<Item = &SignedPublicSubKey> {
        let signing = self.subkeys.iter().filter(|subkey| subkey.uses.sign);
        signing.filter_map(|subkey| self.key.public_subkeys.get(subkey.at))
    }

    /// Whether a signing subkey says itself whose it is, or anybody could claim it (RFC 9580 section 5.2.1.9, type 0x19).
    pub(super) fn is_claimed_by(&self, subkey: &SignedPublicSubKey, now: DateTime<Utc>) -> bool {
        let (public, primary) = (&subkey.key, &self.key.primary_key);
        last_word(&subkey.signatures).and_then(Signature::embedded_signature).is_some_and(|back| {
            is_strong(back) && is_current(back, now) && back.verify_primary_key_binding(public, primary).is_ok()
        })
    }
}

/// Reads what was written here. That this cannot be read is nobody's fault but ours.
fn kept(armor: &str) -> Result<SignedPublicKey> {
    let key = packets::public_key(armor).and_then(|bytes| packets::read(&bytes));
    Ok(key.map_err(|error| anyhow::anyhow!("a key that was kept cannot be read: {}", error.reason()))?)
}

/// What is seen without a verification: version and algorithm of the primary key.
fn basics(key: &SignedPublicKey, now: DateTime<Utc>) -> Result<(u8, String)> {
    let primary = &key.primary_key;
    let version = match primary.version() {
        KeyVersion::V4 => 4,
        KeyVersion::V6 => 6,
        _ => return Err(refused(Code::InvalidKey, "must be of version 4 or 6")),
    };
    if instant(primary.created_at()) > now + LARGEST_LEAD {
        return Err(refused(Code::InvalidKey, "was made in the future"));
    }
    let strength = strength(primary.public_params());
    Ok((version, strength.map_err(|(code, reason)| refused(code, format!("is {reason}")))?))
}

/// What a key is good for, all of whose signatures are valid.
fn weigh(mut key: SignedPublicKey, now: DateTime<Utc>) -> Result<Certificate> {
    let (version, algorithm) = basics(&key, now)?;
    let primary = &key.primary_key;
    let created_at = instant(primary.created_at());
    let users = &mut key.details.users;
    // Of several user ids that are said to be the primary one, and of several that are not, that of the last word (section 5.2.3.27).
    let rank = |user: &SignedUser| last_word(&user.signatures).map(|word| (word.is_primary(), made_at(word)));
    if let Some(first) = (0..users.len()).rev().max_by_key(|at| rank(&users[*at])) {
        users[..=first].rotate_right(1);
    }
    let certified = || users.iter().filter_map(|user| Some((user, last_word(&user.signatures)?)));
    let is_over = |word: &Signature| end_of_signature(word).is_some_and(|end| end <= now);
    let user_ids = certified().filter(|(_, word)| !is_over(word)).map(|(user, _)| text_of(user.id.id())).collect();
    // A key of version 6 speaks by a signature over itself. One of version 4 does so by that of its primary user id, by one over itself, or
    // by both, each of which may say something that the other does not.
    let mut of_users: Vec<&Signature> = certified().map(|(_, word)| word).filter(|_| version == 4).collect();
    let direct = last_word(&key.details.direct_signatures);
    let spoken: Vec<&Signature> = of_users.first().copied().into_iter().chain(direct).collect();
    if spoken.is_empty() {
        let reason = match (version, users.is_empty()) {
            (4, false) => "has no user id left that its owner has not revoked",
            (4, true) => "has no valid signature of its own",
            _ => "has no valid signature over itself",
        };
        return Err(refused(Code::InvalidKey, reason));
    }
    let primary_uses = uses(spoken.iter().find_map(|signature| flags(signature)), primary);
    // The last end that a user id gives is one, also where the primary one gives none: so programs read it that are much in use. Of
    // that and of what the key says of itself the earlier one: who wanted the later one has said so in both places. What speaks
    // for the key ends it when it is over itself, so that nothing but time changes what was found.
    let end_of_key = direct.and_then(|direct| end(created_at, direct));
    let silent_at = spoken.iter().filter_map(|word| end_of_signature(word)).min();
    of_users.sort_by_key(|word| made_at(word));
    let end_of_users = of_users.iter().rev().find_map(|word| end(created_at, word));
    let expires_at = [end_of_key, end_of_users, silent_at].into_iter().flatten().min();
    let mut subkeys = Vec::new();
    for (at, subkey) in key.public_subkeys.iter().enumerate() {
        let Some((uses, expires_at)) = uses_of(subkey, now) else { continue };
        match strength(subkey.key.public_params()) {
            Ok(_) => subkeys.push(Subkey { at, created_at: instant(subkey.key.created_at()), expires_at, uses }),
            Err((Code::WeakKey, reason)) => {
                return Err(refused(Code::WeakKey, format!("has a subkey that is {reason}")));
            }
            // Of an algorithm of tomorrow; the others are as good as before.
            Err(_) => {}
        }
    }
    let encrypts = subkeys.iter().filter(|subkey| subkey.uses.encrypt);
    let ends = encrypts.map(|subkey| subkey.expires_at.map_or(Encryption::Always, Encryption::Until));
    let of_primary = if primary_uses.encrypt { Encryption::Always } else { Encryption::Never };
    let encryption = ends.fold(of_primary, Encryption::or);
    let fingerprint = fingerprint(primary);
    let facts = Facts { fingerprint, version, algorithm, created_at, expires_at, user_ids, encryption };
    Ok(Certificate { key, facts, subkeys, primary: primary_uses })
}

/// What a subkey may be used for that is neither over nor revoked, and until when.
fn uses_of(subkey: &SignedPublicSubKey, now: DateTime<Utc>) -> Option<(Uses, Option<DateTime<Utc>>)> {
    let created_at = instant(subkey.key.created_at());
    if subkey.signatures.iter().any(is_revocation) || created_at > now + LARGEST_LEAD {
        return None;
    }
    let binding = last_word(&subkey.signatures)?;
    let expires_at = [end(created_at, binding), end_of_signature(binding)].into_iter().flatten().min();
    expires_at.is_none_or(|end| end > now).then(|| (uses(flags(binding), &subkey.key), expires_at))
}

/// What a key may be used for: what it can, as far as its owner wants it. Where nothing is said about it, all of that.
fn uses(flags: Option<&KeyFlags>, key: &impl KeyDetails) -> Uses {
    Uses {
        sign: flags.is_none_or(|flags| flags.sign() || flags.certify()) && key.algorithm().can_sign(),
        encrypt: flags.is_none_or(|flags| flags.encrypt_comms() || flags.encrypt_storage())
            && is_encryptable(key.public_params()),
    }
}

/// What the owner wants a key to be used for; `None` when that is not said.
fn flags(signature: &Signature) -> Option<&KeyFlags> {
    signature.config()?.hashed_subpackets.iter().find_map(|part| match &part.data {
        SubpacketData::KeyFlags(flags) => Some(flags),
        _ => None,
    })
}

/// A user id as it can be shown: without what controls a terminal, turns the writing around, or cannot be stored.
fn text_of(user_id: &[u8]) -> String {
    let is_harmless = |letter: char| {
        !letter.is_control()
            && !matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let text = String::from_utf8_lossy(user_id);
    text.chars().map(|letter| if is_harmless(letter) { letter } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Whether somebody wrote this e-mail, whose canonical form is lower case with a domain of ASCII.
fn names(given: &str, canonical: &str) -> bool {
    let ascii = given
        .rsplit_once('@')
        .and_then(|(local, domain)| Some(format!("{}@{}", local.to_lowercase(), idna::domain_to_ascii(domain).ok()?)));
    ascii.as_deref() == Some(canonical)
}

/// When a key is over that was made then, by this signature.
fn end(created_at: DateTime<Utc>, signature: &Signature) -> Option<DateTime<Utc>> {
    let life = signature.key_expiration_time().map(|life| life.as_secs()).filter(|life| *life > 0)?;
    Some(created_at + TimeDelta::seconds(life.into()))
}

/// Whether the library can encrypt to it, and we would.
fn is_encryptable(params: &PublicParams) -> bool {
    use EcdhPublicParams::{Curve25519Legacy, P256, P384, P521};
    match params {
        PublicParams::RSA(_) | PublicParams::X25519(_) | PublicParams::X448(_) => true,
        PublicParams::ECDH(
            Curve25519Legacy { hash, alg_sym, .. }
            | P256 { hash, alg_sym, .. }
            | P384 { hash, alg_sym, .. }
            | P521 { hash, alg_sym, .. },
        ) => {
            matches!(hash, HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512)
                && matches!(
                    alg_sym,
                    SymmetricKeyAlgorithm::AES128 | SymmetricKeyAlgorithm::AES192 | SymmetricKeyAlgorithm::AES256
                )
        }
        _ => false,
    }
}

/// The algorithm in words.
///
/// # Errors
/// `WeakKey` for RSA of less than 2048 bits and for DSA; `InvalidKey` for what cannot be verified here. Each with what it is.
fn strength(params: &PublicParams) -> Result<String, (Code, String)> {
    use EcdsaPublicParams::{P256, P384, P521};
    Ok(match params {
        PublicParams::RSA(rsa) => match rsa.key.n().bits() {
            bits if bits < LEAST_RSA_BITS => {
                let reason = format!("RSA of {bits} bits; at least {LEAST_RSA_BITS} are needed");
                return Err((Code::WeakKey, reason));
            }
            bits => format!("RSA {bits}"),
        },
        PublicParams::DSA(_) => return Err((Code::WeakKey, "DSA, which is too weak".into())),
        // Not secp256k1: of the two signatures of which each is as good as the other the library takes one, and programs make both.
        PublicParams::ECDSA(ecdsa @ (P256 { .. } | P384 { .. } | P521 { .. })) => {
            format!("ECDSA {}", ecdsa.curve().name())
        }
        PublicParams::ECDH(ecdh) => format!("ECDH {}", ecdh.curve().name()),
        // Two ways to write the same key.
        PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) => "Ed25519".into(),
        PublicParams::Ed448(_) => "Ed448".into(),
        PublicParams::X25519(_) => "X25519".into(),
        PublicParams::X448(_) => "X448".into(),
        PublicParams::Elgamal(_) => "Elgamal".into(),
        _ => return Err((Code::InvalidKey, "of an algorithm or a curve that is not known here".into())),
    })
}
