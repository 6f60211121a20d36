//! One-time tokens that travel by mail: today the proof of an e-mail.
//!
//! Routes: `PUT /users/{userId}/token/{token}`, `POST /users/{userId}/token`. Table: `one_time_tokens`.
//! The room makes tokens and consumes them, each once. What a proof changes about a user is a rule of `users`.

pub mod http;
mod service;
mod store;

pub use service::{Claim, Verification};

/// What a one-time token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Purpose {
    /// Proves that its bearer reads the mail of an address.
    EmailVerification,
}
