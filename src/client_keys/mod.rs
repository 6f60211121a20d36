//! Client keys: the id and secret with which programs get client tokens (bloq-accounts.md 3.8 to 3.10).
//!
//! Routes: `POST`, `GET /users/me/client-keys`, `DELETE /users/me/client-keys/{id}`. Table: `client_keys`.
//! The secret is shown once, at creation; after that nobody can tell it, not even we.

pub mod http;
mod service;
mod store;

use chrono::{DateTime, Utc};

pub use service::ClientKeys;

use crate::users::UserId;

/// A client key, without its secret.
#[derive(Clone, Debug)]
pub struct ClientKey {
    /// 40 hex digits.
    pub id: String,
    /// Whose key it is.
    pub user: UserId,
    /// Refresh tokens of an older generation are dead.
    pub generation: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}
