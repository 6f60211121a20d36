//! What a client carries: JSON Web Tokens (RFC 7519), signed by `signing_keys`.
//!
//! Tables: `account_tokens`, one row per live account or Qb2 token; `revoked_tokens`, one per refresh token that was revoked by
//! itself (good client tokens have no rows). Routes: `GET`, `DELETE /users/me/tokens`, `DELETE /users/me/tokens/{id}`.
//! This room issues, verifies and revokes. It does not know who a user is or what a user may do: rights are read from the
//! user's row, never from a token (`auth`).

pub mod http;

mod claims;
mod service;
mod store;

pub use claims::{Audience, Claims, Level};
pub use service::{AccountToken, Qb2Grant, Tokens};
