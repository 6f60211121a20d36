//! What is written inside a token (decisions.md section 2, "Claims").

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// For whom a token is meant: one word of the `aud` claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// This service.
    Accounts,
    /// The Nodes service.
    Nodes,
    /// The Connect service.
    Connect,
    /// Tells clients, and only tells them, that the user is an administrator.
    Manager,
    /// `POST /auth/token`, and nothing else.
    Refresh,
    /// An audience of another door of this service.
    #[serde(other)]
    Other,
}

/// The claims of every token of ours. Types are strict: `"exp": "9999999999"` is not a number and not a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer: `tokens.issuer`.
    pub iss: String,
    /// Subject: the user id, `user-<uuid>`.
    pub sub: String,
    /// Audiences, always an array: the vendor's client asks `aud.includes("manager")`.
    pub aud: Vec<Audience>,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Expires at, seconds since 1970: at this second the token is dead.
    pub exp: i64,
    /// The token's own id.
    pub jti: Uuid,
    /// The client key behind a client token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The generation of that key which a refresh token belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

impl Claims {
    /// Whether the token is meant for `audience`.
    pub fn is_for(&self, audience: Audience) -> bool {
        self.aud.contains(&audience)
    }

    /// Whether the token is dead at `now`.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.exp <= now.timestamp()
    }
}
