//! Wallets: who signs in with which (`sign_in.rs`), and whose an address is (`addresses.rs`).

mod addresses;
mod sign_in;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::message::candidates;
use super::{NONCE_LIFETIME, PostedAddress, Purpose, SignedAt, Wallet, WalletAddress, WalletSignature, store};
use crate::clock::Clock;
use crate::config;
use crate::db::Pool;
use crate::error::{Code, Error, Problem, Result};
use crate::mail::Mail;
use crate::random::Random;
use crate::ratelimit::Throttle;
use crate::tokens::Tokens;
use crate::users::{UserId, Users};

/// Wallets, and those who sign in with them.
#[derive(Clone)]
pub struct Ethereum {
    pool: Pool,
    users: Users,
    tokens: Tokens,
    mail: Mail,
    throttle: Throttle,
    clock: Clock,
    random: Random,
    terms: Arc<config::Wallet>,
}

/// A message that was signed and not sent: address and time of signing are all of it that the server does not know.
pub struct Proof {
    /// Who signs.
    pub posted: PostedAddress,
    /// When.
    pub signed_at: SignedAt,
    /// The signature.
    pub signature: WalletSignature,
}

impl Ethereum {
    /// Addresses a user may have.
    pub const MOST: usize = 20;

    /// The wallets of this database.
    #[expect(clippy::too_many_arguments, reason = "called once, where every part has its name")]
    pub fn new(
        pool: Pool,
        users: Users,
        tokens: Tokens,
        mail: Mail,
        throttle: Throttle,
        clock: Clock,
        random: Random,
        terms: config::Wallet,
    ) -> Self {
        Self { pool, users, tokens, mail, throttle, clock, random, terms: Arc::new(terms) }
    }

    /// The nonce that is answered again, of almost all who ask twice: nothing is written for them.
    async fn young_nonce(&self, user: UserId, address: WalletAddress, purpose: Purpose) -> Result<Option<String>> {
        let since = self.clock.now() - NONCE_LIFETIME / 2;
        let young = store::list_nonces(&mut *self.pool.acquire().await?, user, address, purpose, since).await?;
        Ok(young.into_iter().next())
    }

    /// Which of these nonces somebody has signed, in our message with this statement.
    ///
    /// # Errors
    /// `InvalidSignature`.
    fn judge(&self, proof: &Proof, statement: &str, nonces: &[String], now: DateTime<Utc>) -> Result<String> {
        let Proof { posted, signed_at, signature } = proof;
        signed_at.judge(now).map_err(|reason| unfit("signedAt", reason))?;
        if nonces.is_empty() {
            return Err(unfit("signature", NO_NONCE));
        }
        let is_signed = |text: &String| signature.signer(text) == Some(posted.address);
        let signed = nonces
            .iter()
            .find(|nonce| candidates(&self.terms, statement, posted, nonce, signed_at).iter().any(is_signed));
        signed.cloned().ok_or_else(|| unfit("signature", NOT_OF_ADDRESS))
    }

    /// Whose address this is, enabled or not.
    pub async fn find(&self, address: WalletAddress) -> Result<Option<Wallet>> {
        Ok(store::find(&mut *self.pool.acquire().await?, address).await?)
    }

    /// The addresses of a user, oldest first.
    pub async fn list(&self, user: UserId) -> Result<Vec<Wallet>> {
        Ok(store::list(&mut *self.pool.acquire().await?, user).await?)
    }

    /// Addresses of everybody, in their order, behind `after`.
    pub async fn page(&self, after: Option<WalletAddress>, at_most: i64) -> Result<Vec<Wallet>> {
        Ok(store::list_after(&mut *self.pool.acquire().await?, after, at_most).await?)
    }

    /// Drops nonces whose time is over; they are dead already. Returns how many, `at_most` a call.
    pub async fn sweep(&self, at_most: i64) -> Result<u64> {
        let before = self.clock.now() - NONCE_LIFETIME;
        Ok(store::delete_expired_nonces(&mut *self.pool.acquire().await?, before, at_most).await?)
    }
}

/// Why a signature is none, where that helps whoever writes a client.
const NO_NONCE: &str =
    "is under no nonce that can be used: none was asked for, or it was used, or is over after 10 minutes";
const NOT_OF_ADDRESS: &str = "is not that of this address under the expected message";

fn unfit(field: &str, reason: impl Into<String>) -> Error {
    Error::invalid(Code::InvalidSignature, Problem::new(field, reason))
}
