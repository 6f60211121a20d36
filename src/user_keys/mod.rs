//! Public keys of users, proved by a signature: of OpenPGP, and Bitcoin addresses (decisions.md section 6, bloq-accounts.md 3.12).
//!
//! Routes: `GET /users/me/keys`, `GET`, `POST /users/me/keys/{pgp|bit}`, `GET`, `DELETE /users/me/keys/{pgp|bit}/{id}`, `PATCH
//! /users/me/keys/pgp/{id}`, `POST /users/me/keys/{pgp|bit}/{id}/verification`; for everybody `GET /users/{userId}/keys/pgp.asc` and
//! the Web Key Directory under `/.well-known/openpgpkey`. Table: `user_keys`. What a key of OpenPGP is good for is decided in
//! `openpgp`; mails to users with a proved one are encrypted by `mail`.
//! What it refuses: to take a secret key, to believe that a key is somebody's without a signature, to publish one unasked.

pub mod http;

mod bitcoin;
mod service;
mod store;
mod wkd;

use chrono::{DateTime, TimeDelta, Utc};

use crate::openpgp::Encryption;
use crate::users::UserId;

pub use bitcoin::BitcoinAddress;
pub use service::UserKeys;

/// How long a text to sign is good.
pub const CHALLENGE_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum KeyType {
    /// A public key of OpenPGP.
    Pgp,
    /// A Bitcoin address.
    Bit,
}

/// A public key of a user.
#[derive(Clone, Debug)]
pub struct UserKey {
    /// Whose it is, or is said to be.
    pub user: UserId,
    /// What it is.
    pub key_type: KeyType,
    /// The fingerprint in lower-case hex, or the address.
    pub id: String,
    /// What a key of OpenPGP says of itself; `None` for an address.
    pub openpgp: Option<OpenPgp>,
    /// What is to be signed; `None` when that is done.
    pub challenge: Option<Challenge>,
    /// When its owner proved to hold the secret key.
    pub verified_at: Option<DateTime<Utc>>,
    /// Whether everybody may have it.
    pub published: bool,
    /// Where a Web Key Directory has it.
    pub listed: Option<Listed>,
    /// When it was given to us.
    pub created_at: DateTime<Utc>,
}

/// What is kept of a key of OpenPGP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenPgp {
    /// In ASCII armor, with what its owner has signed and nothing else.
    pub certificate: String,
    /// The algorithm of the primary key, with its size or curve.
    pub algorithm: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// When its time is over; `None` when it has no end.
    pub expires_at: Option<DateTime<Utc>>,
    /// Its user ids, the primary one first.
    pub user_ids: Vec<String>,
    /// Whether mails can be encrypted to it, and until when.
    pub encryption: Encryption,
}

impl OpenPgp {
    /// Whether its time is over.
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// A place in a Web Key Directory: that of an e-mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The domain of the e-mail.
    pub domain: String,
    /// What its local part is hashed to; see `wkd.rs`.
    pub name: String,
}

/// A text that the owner of a key is to sign, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Exactly these bytes.
    pub text: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
}

impl Challenge {
    /// Until when it can be used.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.made_at + CHALLENGE_LIFETIME
    }
}
