//! From ASCII armor to the packets of one public key, within bounds, and nothing else that could be hidden in there.

use std::io::{BufReader, Read};

use pgp::armor::{BlockType, Dearmor};
use pgp::composed::{SignedKeyDetails, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{
    Packet, PacketHeader, PacketParser, PublicKey, PublicSubkey, Signature, SignatureType, Subpacket, SubpacketData,
    UserId,
};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, KeyVersion, PacketLength, SignedUser, Tag};

use super::refused;
use crate::error::{Code, Error, Problem, Result};

/// Bytes of a key without its armor.
pub const LARGEST: usize = 64 * 1024;

/// Packets of a key: who has more has been collecting signatures of others.
const MOST_PACKETS: usize = 1000;

/// Subkeys of a key.
const MOST_SUBKEYS: usize = 30;

/// Bytes of signatures without their armor; one has some hundred.
const LARGEST_SIGNATURES: usize = 16 * 1024;

/// Signatures that are looked at: programs make one for each key they are told to sign with.
const MOST_SIGNATURES: usize = 4;

/// The refusal of a key that would take too long.
pub fn too_large() -> Error {
    let reason = "has more than 64 KiB, 1000 packets or 30 subkeys, or so many signatures of its own that they take too long to check; \
                  leave out what others have signed (gpg --export-options export-minimal)";
    refused(Code::KeyTooLarge, reason)
}

fn secret() -> Error {
    refused(Code::SecretKey, "is or has a secret key, which nobody else must ever see; send the public one")
}

fn unreadable() -> Error {
    refused(Code::InvalidKey, "has a packet that cannot be read")
}

/// Takes the armor off a public key.
///
/// # Errors
/// `SecretKey`, `KeyTooLarge`, `InvalidKey`.
pub fn public_key(text: &str) -> Result<Vec<u8>> {
    if text.contains("-----BEGIN PGP PRIVATE KEY BLOCK-----") {
        return Err(secret());
    }
    if text.matches("-----BEGIN PGP").count() != 1 {
        return Err(refused(Code::InvalidKey, "must be one public key in ASCII armor"));
    }
    let (kind, bytes) = dearmor(text, LARGEST)?;
    if kind == Some(BlockType::PublicKey) {
        Ok(bytes)
    } else {
        Err(refused(Code::InvalidKey, "must be one public key in ASCII armor"))
    }
}

/// What is inside the armor, and what the armor calls it. Blanks at the end of a line, which mail programs and web pages add, are
/// nobody's fault.
fn dearmor(text: &str, most: usize) -> Result<(Option<BlockType>, Vec<u8>)> {
    let unreadable = || refused(Code::InvalidKey, "has an ASCII armor that cannot be read");
    let text: String = text.lines().flat_map(|line| [line.trim_ascii_end(), "\n"]).collect();
    let mut armor = Dearmor::new(BufReader::new(text.as_bytes()));
    armor.read_header().map_err(|_| unreadable())?;
    let kind = armor.typ;
    let mut bytes = Vec::new();
    armor.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|_| unreadable())?;
    if bytes.len() > most { Err(too_large()) } else { Ok((kind, bytes)) }
}

/// A packet that was not read yet.
struct Frame<'a> {
    header: PacketHeader,
    body: &'a [u8],
    /// Header and body.
    whole: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes the first packet off a key.
    fn take(key: &mut &'a [u8]) -> Result<Self> {
        let whole = *key;
        let header = PacketHeader::try_from_reader(&mut *key).map_err(|_| unreadable())?;
        match header.tag() {
            Tag::PublicKey | Tag::PublicSubkey | Tag::Signature | Tag::UserId | Tag::UserAttribute => {}
            Tag::SecretKey | Tag::SecretSubkey => return Err(secret()),
            // These say nothing to others than their maker, and those of tomorrow or of one program nothing to us.
            Tag::Trust | Tag::Marker | Tag::Padding | Tag::UnassignedNonCritical(_) | Tag::Experimental(_) => {}
            other => return Err(refused(Code::NestedPacket, format!("has a packet that no key has: {other:?}"))),
        }
        // Other lengths are for what nobody knows the end of.
        let PacketLength::Fixed(length) = header.packet_length() else { return Err(unreadable()) };
        let (body, rest) = key.split_at_checked(length as usize).ok_or_else(unreadable)?;
        *key = rest;
        Ok(Self { header, body, whole: &whole[..whole.len() - rest.len()] })
    }

    /// The packet; `None` when the library cannot read it.
    fn read(&self) -> Option<Packet> {
        Packet::from_reader(self.header, self.body).ok()
    }
}

/// The primary key with which a key begins, and the rest of it. Nothing else is read.
fn primary_of(mut bytes: &[u8]) -> Result<(PublicKey, &[u8])> {
    if bytes.len() > LARGEST {
        return Err(too_large());
    }
    let first = Frame::take(&mut bytes)?;
    match first.read() {
        Some(Packet::PublicKey(primary)) => Ok((primary, bytes)),
        None if first.header.tag() == Tag::PublicKey => {
            Err(refused(Code::InvalidKey, "is of a version, an algorithm or a size that is not known here"))
        }
        _ => Err(refused(Code::InvalidKey, "must begin with a public key, also where it is sent for its revocation")),
    }
}

/// The fingerprint of a public key, of which nothing else is looked at.
///
/// # Errors
/// `KeyTooLarge`, `SecretKey`, `NestedPacket`, `InvalidKey`.
pub fn fingerprint(bytes: &[u8]) -> Result<String> {
    Ok(super::fingerprint(&primary_of(bytes)?.0))
}

/// What the packet that was read last begins, and signatures behind it are about.
#[derive(Clone, Copy)]
enum Part {
    Key,
    User(usize),
    Subkey(usize),
    /// Something that is not kept.
    Other,
}

/// What the owner of one public key has said, or may have: nothing is judged. What others have signed is left out, and so are parts that
/// nobody can read here: a key is not worse for a subkey of tomorrow.
///
/// # Errors
/// `KeyTooLarge`, `SecretKey`, `NestedPacket`, `InvalidKey`.
pub fn read(bytes: &[u8]) -> Result<SignedPublicKey> {
    let (primary_key, mut rest) = primary_of(bytes)?;
    let details = SignedKeyDetails::new(Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut key = SignedPublicKey { primary_key, details, public_subkeys: Vec::new() };
    let mut part = Part::Key;
    let (mut packets, mut subkeys) = (1, 0);
    while !rest.is_empty() {
        let frame = Frame::take(&mut rest)?;
        let tag = frame.header.tag();
        packets += 1;
        subkeys += usize::from(tag == Tag::PublicSubkey);
        // While they are read: to read a subkey costs far more than its bytes, if it is a compressed point of a curve.
        if packets > MOST_PACKETS || subkeys > MOST_SUBKEYS {
            return Err(too_large());
        }
        if tag == Tag::PublicKey {
            return Err(refused(Code::InvalidKey, "must be one public key, not several"));
        }
        match frame.read() {
            Some(Packet::Signature(signature)) if is_verbatim(&signature, frame.body) => {
                keep(&mut key, part, signature)
            }
            Some(Packet::UserId(id)) => part = Part::User(user_of(&mut key, id)),
            Some(Packet::PublicSubkey(subkey)) => part = Part::Subkey(subkey_of(&mut key, subkey)),
            Some(Packet::Trust(_) | Packet::Marker(_) | Packet::Padding(_)) => {}
            // One of somebody else says nothing of its neighbours. One of the owner may take back what they say.
            _ if tag == Tag::Signature => {
                if names(frame.body, &key.primary_key) {
                    return Err(refused(Code::InvalidKey, "has a signature that names it and cannot be read"));
                }
            }
            _ => part = Part::Other,
        }
    }
    Ok(key)
}

/// The place of this user id, which is given one if it has none: said twice, it is the same.
fn user_of(key: &mut SignedPublicKey, id: UserId) -> usize {
    let users = &mut key.details.users;
    users.iter().position(|user| user.id.id() == id.id()).unwrap_or_else(|| {
        users.push(SignedUser { id, signatures: Vec::new() });
        users.len() - 1
    })
}

/// The same of a subkey.
fn subkey_of(key: &mut SignedPublicKey, subkey: PublicSubkey) -> usize {
    let subkeys = &mut key.public_subkeys;
    subkeys.iter().position(|known| known.key.fingerprint() == subkey.fingerprint()).unwrap_or_else(|| {
        subkeys.push(SignedPublicSubKey { key: subkey, signatures: Vec::new() });
        subkeys.len() - 1
    })
}

/// Whether what was signed is as the library read it, which writes some of it in another way: then it could not be verified.
fn is_verbatim(signature: &Signature, body: &[u8]) -> bool {
    // Version, type, two algorithms and a length stand before it (RFC 9580 section 5.2.3).
    let length = match body {
        [4, _, _, _, length @ ..] => length.first_chunk().map(|bytes| 6 + usize::from(u16::from_be_bytes(*bytes))),
        [6, _, _, _, length @ ..] => length.first_chunk().map(|bytes| 8 + u32::from_be_bytes(*bytes) as usize),
        // All that is signed of older ones has its own place.
        [2 | 3, ..] => Some(0),
        _ => None,
    };
    let written = signature.to_bytes().unwrap_or_default();
    length.is_some_and(|length| written.get(..length) == body.get(..length))
}

/// Whether the bytes of a signature have the id of this key in them, as those that it has made do.
fn names(signature: &[u8], key: &PublicKey) -> bool {
    let id = key.legacy_key_id();
    signature.windows(id.as_ref().len()).any(|bytes| bytes == id.as_ref())
}

/// Keeps a signature that may be the owner's, and of a kind that says something: of this part, of the key wherever it stands, or, of a
/// revocation, of another part.
fn keep(key: &mut SignedPublicKey, part: Part, mut signature: Signature) {
    use SignatureType::{
        CertCasual, CertGeneric, CertPersona, CertPositive, CertRevocation, Key, KeyRevocation, SubkeyBinding,
        SubkeyRevocation,
    };
    let (Some(kind), true) = (signature.typ(), is_own(&signature, &key.primary_key)) else { return };
    let backs = match (part, kind) {
        (Part::Subkey(at), SubkeyBinding) => backs(&signature, &key.public_subkeys[at].key),
        _ => Vec::new(),
    };
    let kept = match (part, kind) {
        (_, Key) => &mut key.details.direct_signatures,
        (Part::User(at), CertGeneric | CertPersona | CertCasual | CertPositive | CertRevocation) => {
            &mut key.details.users[at].signatures
        }
        (Part::Subkey(at), SubkeyBinding | SubkeyRevocation) => &mut key.public_subkeys[at].signatures,
        (_, KeyRevocation | CertRevocation | SubkeyRevocation) => &mut key.details.revocation_signatures,
        _ => return,
    };
    strip(&mut signature, &key.primary_key);
    add(kept, signature, backs);
}

/// Adds a signature, or to the same one what this copy has besides of what a subkey says itself. Which of that is good is seen when it
/// is verified.
fn add(kept: &mut Vec<Signature>, signature: Signature, backs: Vec<Subpacket>) {
    let at = kept.iter().position(|known| is_same(known, &signature)).unwrap_or_else(|| {
        kept.push(signature);
        kept.len() - 1
    });
    for back in backs {
        let is_there = kept[at].config().is_some_and(|config| config.unhashed_subpackets.contains(&back));
        if !is_there {
            // It has a length: signatures that have none are not read.
            let _ = kept[at].unhashed_subpacket_push(back);
        }
    }
}

/// What a subkey says itself of its key (RFC 9580 section 5.2.1.9, type 0x19) in the part of its binding that nobody has signed, where the
/// signed part has nothing of the kind.
fn backs(binding: &Signature, subkey: &PublicSubkey) -> Vec<Subpacket> {
    let back_of = |part: &Subpacket| match &part.data {
        SubpacketData::EmbeddedSignature(back) => Some(Signature::clone(back)),
        _ => None,
    };
    let Some(config) =
        binding.config().filter(|config| !config.hashed_subpackets.iter().any(|part| back_of(part).is_some()))
    else {
        return Vec::new();
    };
    let backs = config.unhashed_subpackets.iter().filter_map(back_of).map(|mut back| {
        strip(&mut back, subkey);
        Subpacket::regular(SubpacketData::EmbeddedSignature(Box::new(back)))
    });
    backs.filter_map(Result::ok).collect()
}

/// Whether two signatures say the same, whatever else stands in them that nobody has signed.
pub fn is_same(one: &Signature, other: &Signature) -> bool {
    let (Some(config), Some(others)) = (one.config(), other.config()) else { return false };
    // Which of two is valid may hang on each of these.
    one.signature() == other.signature()
        && one.signed_hash_value() == other.signed_hash_value()
        && (config.typ, config.pub_alg, config.hash_alg) == (others.typ, others.pub_alg, others.hash_alg)
        && config.version_specific == others.version_specific
        && config.hashed_subpackets == others.hashed_subpackets
}

/// Whether this may be a signature of the key itself: those of others are not worth a verification.
fn is_own(signature: &Signature, primary: &PublicKey) -> bool {
    let (fingerprints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
    let is_named = fingerprints.contains(&&primary.fingerprint()) || ids.contains(&&primary.legacy_key_id());
    is_named || (fingerprints.is_empty() && ids.is_empty())
}

/// Takes out of a signature what nobody has signed and anybody may have put there or taken away, and puts in who made it where that was not
/// signed: programs look for it before they verify.
fn strip(signature: &mut Signature, maker: &impl KeyDetails) {
    let Some(config) = signature.config() else { return };
    let is_old = maker.version() == KeyVersion::V4;
    let name = match is_old {
        true => SubpacketData::IssuerKeyId(maker.legacy_key_id()),
        false => SubpacketData::IssuerFingerprint(maker.fingerprint()),
    };
    let is_named = config.hashed_subpackets.iter().any(|part| part.data == name);
    let unsigned = config.unhashed_subpackets.len();
    // It has a length, and so many parts.
    (0..unsigned).rev().for_each(|at| drop(signature.unhashed_subpacket_remove(at)));
    if let (false, Ok(name)) = (is_named, Subpacket::regular(name)) {
        let _ = signature.unhashed_subpacket_push(name);
    }
}

/// All that two copies of a key have between them; nothing is judged.
///
/// # Errors
/// `InvalidKey` for two keys.
pub fn union(mut one: SignedPublicKey, other: SignedPublicKey) -> Result<SignedPublicKey> {
    if one.primary_key.fingerprint() != other.primary_key.fingerprint() {
        return Err(refused(Code::InvalidKey, "is another key"));
    }
    let details = other.details;
    for signature in details.revocation_signatures.into_iter().chain(details.direct_signatures) {
        keep(&mut one, Part::Key, signature);
    }
    for user in details.users {
        let part = Part::User(user_of(&mut one, user.id));
        user.signatures.into_iter().for_each(|signature| keep(&mut one, part, signature));
    }
    for subkey in other.public_subkeys {
        let part = Part::Subkey(subkey_of(&mut one, subkey.key));
        subkey.signatures.into_iter().for_each(|signature| keep(&mut one, part, signature));
    }
    Ok(one)
}

/// A key with no other user ids than those of which this is true; `None` when it has none. Its packets are sorted, not read.
///
/// # Errors
/// Never, of a key that was read.
pub fn with_users(bytes: &[u8], is_kept: impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>> {
    let (mut rest, mut kept) = (bytes, Vec::new());
    let (mut is_in, mut users) = (true, 0);
    while !rest.is_empty() {
        let frame = Frame::take(&mut rest)?;
        match frame.header.tag() {
            Tag::UserId => {
                is_in = is_kept(frame.body);
                users += usize::from(is_in);
            }
            Tag::PublicSubkey => is_in = true,
            _ => {}
        }
        if is_in {
            kept.extend_from_slice(frame.whole);
        }
    }
    Ok(Some(kept).filter(|_| users > 0))
}

/// Armored detached signatures.
///
/// # Errors
/// `ValidationFailed`, which names the field `signature`.
pub fn signatures(text: &str) -> Result<Vec<Signature>> {
    let unreadable = |reason: String| Error::invalid_fields(vec![Problem::new("signature", reason)]);
    let not_detached = || unreadable("must be a detached signature of OpenPGP in ASCII armor".into());
    if !text.contains("-----BEGIN PGP SIGNATURE-----") || text.contains("-----BEGIN PGP SIGNED MESSAGE-----") {
        return Err(not_detached());
    }
    let (kind, bytes) = dearmor(text, LARGEST_SIGNATURES).map_err(|_| not_detached())?;
    if kind != Some(BlockType::Signature) || bytes.is_empty() {
        return Err(not_detached());
    }
    let mut signatures = Vec::new();
    for packet in PacketParser::new(BufReader::new(bytes.as_slice())) {
        let Ok(Packet::Signature(signature)) = packet else { return Err(not_detached()) };
        signatures.push(signature);
        if signatures.len() > MOST_SIGNATURES {
            return Err(unreadable(format!("must not be more than {MOST_SIGNATURES} signatures")));
        }
    }
    Ok(signatures)
}
