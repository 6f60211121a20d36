//! Signing in with the key of an Ethereum address, which administrators enable for one user (bloqstake-auth.md).
//!
//! Routes: `POST`, `GET /users/{publicAddress}/nonce` and `/auth/users/{publicAddress}/nonce`; the JSON body of `POST /auth` (whose
//! door is in `auth`), `POST /auth/siwe`; `GET`, `POST /users/me/addresses`, `DELETE /users/me/addresses/{address}`,
//! `POST /users/me/addresses/{address}/nonce`; for administrators `GET /users/{userId}/addresses`, `PUT` and
//! `DELETE /users/{userId}/addresses/{address}`. Tables: `wallets`, `wallet_nonces`.
//! What it refuses: a nonce for an address that is not enabled, a signature that could be another one (high s), a nonce twice. It
//! knows no contracts: a wallet is a key pair.

pub mod http;

mod address;
mod message;
mod service;
mod signature;
mod store;

use chrono::{DateTime, TimeDelta, Utc};

use crate::users::UserId;

pub use address::{PostedAddress, WalletAddress};
pub use message::{SignInMessage, SignedAt};
pub use service::{Ethereum, Proof};
pub use signature::WalletSignature;

/// Characters of a nonce (bloqstake-auth.md section 2).
pub const NONCE_LENGTH: usize = 17;

/// How long a nonce can be used.
pub const NONCE_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// How long before now a message may have been signed.
pub const OLDEST_SIGNATURE: TimeDelta = TimeDelta::minutes(10);

/// How far the clock of a wallet may be ahead.
pub const LARGEST_LEAD: TimeDelta = TimeDelta::minutes(2);

/// An address of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// The address.
    pub address: WalletAddress,
    /// Whose it is.
    pub user: UserId,
    /// When its user proved to hold the key.
    pub linked_at: Option<DateTime<Utc>>,
    /// Since when it signs its user in; `None` when it does not.
    pub enabled_at: Option<DateTime<Utc>>,
    /// When it became this user's.
    pub created_at: DateTime<Utc>,
}

/// What a nonce is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Purpose {
    /// Getting a token.
    SignIn,
    /// Linking an address to the own account.
    Link,
}
