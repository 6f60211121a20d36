//! Application keys: the secrets with which Qb2 clients log in without a password (qb2-account-service.md 2.3 and 4.9).
//!
//! Table: `application_keys`. The secret is shown once, at creation; after that nobody can tell it, not even we. What it
//! refuses: to judge who may make a key of which level; that is for the door, which knows the rights of its caller.

pub mod grpc;

mod service;
mod store;

use chrono::{DateTime, Utc};

pub use service::ApplicationKeys;

use crate::secret::PlainSecret;
use crate::users::{AccessLevel, ShortText, UserId};

/// An application key, without its secret.
#[derive(Clone, Debug)]
pub struct ApplicationKey {
    /// 32 letters and digits.
    pub id: String,
    /// Whose key it is.
    pub user: UserId,
    /// What it is for, in the words of whoever made it; may be empty.
    pub purpose: String,
    /// What it gives at most; its user's level bounds it on every call.
    pub level: AccessLevel,
    /// Whether only reading is allowed; so it is too where its user may only read.
    pub read_only: bool,
    /// Whether services may take it as the password of HTTP Basic, beside the name of its user; no door of ours does.
    pub http: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What is said of an application key that is to be made.
#[derive(Clone, Debug)]
pub struct NewApplicationKey {
    /// What it is for.
    pub purpose: ShortText,
    /// What it gives at most.
    pub level: AccessLevel,
    /// Whether only reading is allowed.
    pub read_only: bool,
    /// Whether services may take it as the password of HTTP Basic; no door of ours does.
    pub http: bool,
}

/// A key that was just made, with its secret.
#[derive(Clone, Debug)]
pub struct WithSecret {
    /// The key.
    pub key: ApplicationKey,
    /// 32 letters and digits, shown here and never again.
    pub secret: PlainSecret,
}
