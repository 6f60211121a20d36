//! Who are you? Log-in, client grants, and the question behind every `Authorization: Bearer`.
//!
//! Routes: `POST`, `DELETE /auth`, `POST /auth/token`. Owns no table: it asks `users`, `client_keys` and `tokens`, and
//! puts their answers together. Rights come from the user's row on every call, never from a token.

pub mod http;

mod memory;
mod service;

pub use service::{Auth, Caller, ClientTokens};
