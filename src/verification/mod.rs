//! One-time tokens that travel by mail: the proof of an e-mail, a new password, another e-mail, an invitation.
//!
//! Routes: `PUT /users/{userId}/token/{token}`, `POST /users/{userId}/token`. Table: `one_time_tokens`.
//! The room makes tokens and consumes them, each once. What a token changes about a user is a rule of `users`, and so are
//! the routes of the other purposes.

pub mod http;
mod service;
mod store;

use chrono::TimeDelta;

pub use service::{Claim, Issued, Kept, NewEmail, Verification};

/// What a one-time token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Purpose {
    /// Proves that its bearer reads the mail of the user's address.
    EmailVerification,
    /// Stands for the old password, once.
    PasswordReset,
    /// Proves that its bearer reads the mail of the address that the token carries.
    EmailChange,
    /// Stands for the first password, once, and proves that its bearer reads the mail of the user's address.
    Invitation,
}

impl Purpose {
    /// Life of an unused token.
    pub const fn lifetime(self) -> TimeDelta {
        match self {
            Self::EmailVerification | Self::EmailChange => TimeDelta::hours(48),
            Self::PasswordReset => TimeDelta::hours(1),
            Self::Invitation => TimeDelta::days(7),
        }
    }
}
