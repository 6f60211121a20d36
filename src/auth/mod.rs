//! Who are you? Log-in, client grants, and the question behind every `Authorization: Bearer` and every Qb2 token.
//!
//! Routes: `POST`, `DELETE /auth`, `POST /auth/token`; the Qb2 service Authentication. Owns no table: it asks `users`, `client_keys` and `tokens`, and
//! puts their answers together. Rights come from the user's row on every call, never from a token.

pub mod grpc;
pub mod http;

mod memory;
mod qb2;
mod service;

pub use qb2::Qb2Caller;
pub use service::{Auth, Caller, ClientTokens};
