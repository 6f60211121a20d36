//! Everything we hold about a user, for the user.
//!
//! Route: `GET /users/me/export`. No table of its own: every room says what it holds. Hashes and sealed values are left
//! out: they tell a person nothing, and they are the secrets of the account.

pub mod http;
mod service;

pub use service::{Export, Holdings};
