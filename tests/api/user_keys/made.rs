//! Keys that no program makes, but some attackers do: put together anew from the parts of a real one, by its owner or by anybody.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgp::composed::{Deserializable, SignedPublicKey, SignedPublicSubKey, SignedSecretKey};
use pgp::packet::{
    KeyFlags, Packet, PublicSubkey, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize;
use pgp::types::{Duration, KeyDetails, PacketHeaderVersion, Password, SignedUser, SigningKey, Tag, Timestamp};

use super::fixture;

/// Somebody with a secret key, and the parts of its certificate.
pub struct Owner {
    secret: SignedSecretKey,
    pub key: SignedPublicKey,
}

/// What is signed besides the rest.
#[derive(Clone, Default)]
pub struct Word {
    /// The day of March 2026 on which it is said.
    day: u32,
    said: Vec<SubpacketData>,
    unsigned: Vec<SubpacketData>,
}

impl Word {
    pub fn on(day: u32) -> Self {
        Self { day, ..Self::default() }
    }

    pub fn saying(mut self, what: SubpacketData) -> Self {
        self.said.push(what);
        self
    }

    /// The key is over so many days after it was made, on the first.
    pub fn ends_after(self, days: u32) -> Self {
        self.saying(SubpacketData::KeyExpirationTime(Duration::from_secs(days * 86_400)))
    }

    /// The signature itself is.
    pub fn lasts(self, days: u32) -> Self {
        self.saying(SubpacketData::SignatureExpirationTime(Duration::from_secs(days * 86_400)))
    }

    pub fn primary(self) -> Self {
        self.saying(SubpacketData::IsPrimary(true))
    }

    pub fn may_encrypt(self) -> Self {
        let mut flags = KeyFlags::default();
        flags.set_encrypt_comms(true);
        self.saying(SubpacketData::KeyFlags(flags))
    }

    pub fn may_sign(self) -> Self {
        let mut flags = KeyFlags::default();
        flags.set_sign(true);
        self.saying(SubpacketData::KeyFlags(flags))
    }

    /// With something that nobody signs, and anybody can put there.
    pub fn with_unsigned(mut self, what: SubpacketData) -> Self {
        self.unsigned.push(what);
        self
    }
}

fn midnight(day: u32) -> Timestamp {
    Timestamp::from_secs(1_772_323_200 + (day - 1) * 86_400)
}

impl Owner {
    /// The owner of a fixture.
    pub fn of(name: &str) -> Self {
        let (secret, _) = SignedSecretKey::from_string(&fixture(&format!("{name}.sec.asc"))).expect("a secret key");
        let key = secret.to_public_key();
        Self { secret, key }
    }

    /// The same, as if this were the primary key.
    pub fn beside(mut self, other: &Self) -> Self {
        self.key.primary_key = other.key.primary_key.clone();
        self
    }

    fn config(&self, kind: SignatureType, word: Word) -> SignatureConfig {
        let primary = &self.secret.primary_key;
        let mut config = SignatureConfig::v4(kind, primary.algorithm(), primary.hash_alg());
        let maker = [
            SubpacketData::SignatureCreationTime(midnight(word.day)),
            SubpacketData::IssuerFingerprint(primary.fingerprint()),
        ];
        let regular = |data| Subpacket::regular(data).expect("it fits");
        config.hashed_subpackets = maker.into_iter().chain(word.said).map(regular).collect();
        config.unhashed_subpackets = word.unsigned.into_iter().map(regular).collect();
        config
    }

    /// What its owner says of a user id.
    pub fn certifies(&self, id: &UserId, kind: SignatureType, word: Word) -> Signature {
        let (secret, public) = (&self.secret.primary_key, &self.key.primary_key);
        let signed = self.config(kind, word).sign_certification(secret, public, &Password::empty(), Tag::UserId, id);
        signed.expect("a signature")
    }

    /// A user id with what its owner says of it.
    pub fn user(&self, id: &str, words: impl IntoIterator<Item = (SignatureType, Word)>) -> SignedUser {
        let id = UserId::from_str(PacketHeaderVersion::New, id).expect("a user id");
        let signatures = words.into_iter().map(|(kind, word)| self.certifies(&id, kind, word)).collect();
        SignedUser { id, signatures }
    }

    /// What its owner says of a subkey.
    pub fn binds(&self, subkey: &PublicSubkey, kind: SignatureType, word: Word) -> Signature {
        let (secret, public) = (&self.secret.primary_key, &self.key.primary_key);
        let signed = self.config(kind, word).sign_subkey_binding(secret, public, &Password::empty(), subkey);
        signed.expect("a signature")
    }

    /// What its owner says of the key.
    pub fn says(&self, kind: SignatureType, word: Word) -> Signature {
        let signed =
            self.config(kind, word).sign_key(&self.secret.primary_key, &Password::empty(), &self.key.primary_key);
        signed.expect("a signature")
    }

    /// A detached signature under a text, by one of the secret keys.
    pub fn signs(&self, text: &str) -> String {
        let signed = self.config(SignatureType::Binary, Word::on(4)).sign(
            &self.secret.primary_key,
            &Password::empty(),
            text.as_bytes(),
        );
        detached(&signed.expect("a signature"))
    }

    /// What its first subkey says on this day.
    fn config_of_subkey(&self, kind: SignatureType, day: u32) -> SignatureConfig {
        let subkey = &self.secret.secret_subkeys[0].key;
        let mut config = SignatureConfig::v4(kind, subkey.algorithm(), subkey.hash_alg());
        config.hashed_subpackets = [
            SubpacketData::SignatureCreationTime(midnight(day)),
            SubpacketData::IssuerFingerprint(subkey.fingerprint()),
        ]
        .map(|data| Subpacket::regular(data).expect("it fits"))
        .into();
        config
    }

    /// A detached signature under a text, by its first subkey.
    pub fn signs_by_subkey(&self, text: &str) -> String {
        let (subkey, config) = (&self.secret.secret_subkeys[0].key, self.config_of_subkey(SignatureType::Binary, 4));
        detached(&config.sign(subkey, &Password::empty(), text.as_bytes()).expect("a signature"))
    }

    /// What its first subkey says itself of the key, on this day.
    pub fn back(&self, day: u32) -> Signature {
        let (subkey, config) =
            (&self.secret.secret_subkeys[0].key, self.config_of_subkey(SignatureType::KeyBinding, day));
        let (public, password) = (&self.key.public_subkeys[0].key, Password::empty());
        config.sign_primary_key_binding(subkey, public, &password, &self.key.primary_key).expect("a signature")
    }

    /// The key with this subkey alone, and what its owner says of that.
    pub fn with_subkey(&self, subkey: &PublicSubkey, words: impl IntoIterator<Item = Word>) -> SignedPublicKey {
        let bind = |word| self.binds(subkey, SignatureType::SubkeyBinding, word);
        let signatures = words.into_iter().map(bind).collect();
        let public_subkeys = vec![SignedPublicSubKey { key: subkey.clone(), signatures }];
        SignedPublicKey { public_subkeys, ..self.key.clone() }
    }

    /// The key with these user ids.
    pub fn with_users(&self, users: Vec<SignedUser>) -> SignedPublicKey {
        let mut key = self.key.clone();
        key.details.users = users;
        key
    }
}

/// Packets in the armor of a public key.
pub fn armored(bytes: &[u8]) -> String {
    format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{}\n-----END PGP PUBLIC KEY BLOCK-----\n", STANDARD.encode(bytes))
}

/// A key in its armor.
pub fn armor_of(key: &SignedPublicKey) -> String {
    armored(&key.to_bytes().expect("bytes"))
}

fn detached(signature: &Signature) -> String {
    let bytes = bytes_of(signature);
    format!("-----BEGIN PGP SIGNATURE-----\n\n{}\n-----END PGP SIGNATURE-----\n", STANDARD.encode(bytes))
}

/// A signature as a packet.
pub fn bytes_of(signature: &Signature) -> Vec<u8> {
    Packet::from(signature.clone()).to_bytes().expect("bytes")
}

/// A packet of the new format with this body.
pub fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("it is small").to_be_bytes();
    [&[0xc0 | tag, 0xff][..], &length[..], body].concat()
}

/// A signature that says it was made with SHA-1.
pub fn as_if_sha1(signature: &Signature) -> Vec<u8> {
    // Version, type, algorithm, hash.
    let mut body = signature.to_bytes().expect("bytes");
    body[3] = 2;
    packet(2, &body)
}
