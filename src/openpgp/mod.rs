//! OpenPGP (RFC 9580): public keys that strangers send, what they have signed, and what is encrypted to them.
//!
//! The library reads packets and does the mathematics. What belongs to a key is decided here (`packets.rs`), what its owner has said
//! last (`self_signatures.rs`), and what it is good for (`certificate.rs`): no signature is believed that is not valid, not strong or not of
//! now. Nobody else names the library.

mod certificate;
mod encryption;
mod packets;
mod proof;
mod self_signatures;

use chrono::{DateTime, TimeDelta, Utc};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, Subpacket, SubpacketData};
use pgp::types::{KeyDetails, Timestamp};

use crate::error::{Code, Error, Problem};

pub use certificate::{Certificate, Encryption, Facts};
pub use encryption::encrypt;

/// What is wrong with the key in the field `publicKey`.
fn refused(code: Code, reason: impl Into<String>) -> Error {
    Error::invalid(code, Problem::new("publicKey", reason))
}

/// How far the clock of whoever made a key or a signature may be ahead of ours.
const LARGEST_LEAD: TimeDelta = TimeDelta::minutes(5);

/// Bits of an RSA key at least.
const LEAST_RSA_BITS: usize = 2048;

/// An instant of OpenPGP: seconds since 1970, until 2106.
fn instant(timestamp: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp(timestamp.as_secs().into(), 0).unwrap_or_default()
}

/// Whether nobody can make two texts with the same hash.
fn is_strong(signature: &Signature) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha224, Sha256, Sha384, Sha512};
    matches!(signature.hash_alg(), Some(Sha224 | Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512))
}

/// Whether a signature counts now, or did: it says when it was made, which was not after now, and has no condition that we would have to
/// understand.
fn has_counted(signature: &Signature, now: DateTime<Utc>) -> bool {
    use SubpacketData::{Experimental, Notation, Other};
    let is_condition =
        |part: &Subpacket| part.is_critical && matches!(part.data, Notation(_) | Experimental(..) | Other(..));
    if signature.config().is_none_or(|config| config.hashed_subpackets.iter().any(is_condition)) {
        return false;
    }
    signature.created().is_some_and(|created| instant(created) <= now + LARGEST_LEAD)
}

/// When a signature itself is over, whatever it says of the end of a key.
fn end_of_signature(signature: &Signature) -> Option<DateTime<Utc>> {
    let life = signature.signature_expiration_time().map(|life| life.as_secs()).filter(|life| *life > 0)?;
    Some(instant(signature.created()?) + TimeDelta::seconds(life.into()))
}

/// Whether a signature counts now: it has counted, and is not over.
fn is_current(signature: &Signature, now: DateTime<Utc>) -> bool {
    has_counted(signature, now) && end_of_signature(signature).is_none_or(|end| end > now)
}

/// The e-mail in a user id, which by custom is `Name <local@domain>`.
pub fn email_of(user_id: &str) -> Option<&str> {
    let inner = user_id.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(user_id, |(inner, _)| inner);
    Some(inner.trim()).filter(|email| email.contains('@') && !email.contains(char::is_whitespace))
}

/// The fingerprint in lower-case hex: 40 digits of a key of version 4, 64 of one of version 6.
fn fingerprint(key: &impl KeyDetails) -> String {
    hex::encode(key.fingerprint().as_bytes())
}
