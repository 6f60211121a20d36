//! What is written inside a token (decisions.md section 2, "Claims").

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::users::AccessLevel;

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
    /// The Qb2 door.
    Qb2,
    /// The staking routes.
    Stake,
    /// An audience of another door of this service.
    #[serde(other)]
    Other,
}

/// What the bearer of a Qb2 token may do at most; each level has the rights of those before it (qb2-account-service.md 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// To put a password in the place of an activation password, and nothing else.
    Public,
    /// The own account.
    Authorized,
    /// Every account.
    Admin,
}

impl From<AccessLevel> for Level {
    fn from(level: AccessLevel) -> Self {
        match level {
            AccessLevel::Authorized => Self::Authorized,
            AccessLevel::Admin => Self::Admin,
        }
    }
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
    /// The Ethereum address that has signed in, with the checksum of EIP-55.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Of a Qb2 token: what it may do. Only `public` counts; the rest tells clients what was true when it was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Of a Qb2 token: whether it may only read. It tells clients, and only tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// The session in which a Qb2 token is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
    /// The application key with which a Qb2 token was got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_key: Option<String>,
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
