//! Client keys: the id and secret with which programs get client tokens (bloq-accounts.md 3.8 to 3.10).
//!
//! Routes: `POST`, `GET /users/me/client-keys`, `PATCH`, `DELETE /users/me/client-keys/{id}`,
//! `DELETE /users/me/client-keys/{id}/tokens`. Tables: `client_keys`, `idempotency_keys`.
//! The secret is shown once, at creation; after that nobody can tell it, not even we. The one exception lasts ten minutes:
//! a creation with an `Idempotency-Key` can be repeated by the token that made it (`replay.rs`).

pub mod http;

mod replay;
mod service;
mod store;

use chrono::{DateTime, Utc};

pub use replay::IdempotencyKey;
pub use service::ClientKeys;

use crate::secret::PlainSecret;
use crate::users::{ShortText, UserId};

/// A client key, without its secret.
#[derive(Clone, Debug)]
pub struct ClientKey {
    /// 40 hex digits.
    pub id: String,
    /// Whose key it is.
    pub user: UserId,
    /// What its owner calls it.
    pub label: Option<String>,
    /// Refresh tokens of an older generation are dead.
    pub generation: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last used, give or take a second.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A client key as it is found by its id.
#[derive(Clone, Debug)]
pub struct LiveKey {
    /// The key.
    pub key: ClientKey,
    /// SHA-256 of its secret.
    pub secret_hash: Vec<u8>,
    /// The version of its user's row at the same moment.
    pub user_version: i64,
}

/// What its owner says of a client key that is to be made.
#[derive(Clone, Debug, Default)]
pub struct NewClientKey {
    /// What to call it.
    pub label: Option<ShortText>,
    /// The name of the request, so that it may be repeated.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// A creation that can be repeated for ten minutes, without its answer.
#[derive(Clone, Debug)]
pub struct KeptCreation {
    /// The `Idempotency-Key`, as the client chose it.
    pub idempotency_key: String,
    /// The client key that was made.
    pub client_key_id: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// A key that was just made, with its secret.
#[derive(Clone, Debug)]
pub struct WithSecret {
    /// The key.
    pub key: ClientKey,
    /// 80 hex digits, shown here and never again.
    pub secret: PlainSecret,
}
