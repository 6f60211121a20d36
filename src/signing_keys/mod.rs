//! The key ring: the keys that sign our tokens, and their public halves for everybody who verifies them.
//!
//! Route: `GET /.well-known/jwks.json` (RFC 7517). Table: `signing_keys`.
//! A key never changes its algorithm, and a token never chooses one. The newest key signs, every key verifies; the
//! room has no verb that lets a private key out.

pub mod http;
mod service;
mod store;

pub use service::{Established, SigningKeys, TABLE, check_backup, establish};
