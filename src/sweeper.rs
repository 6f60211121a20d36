//! The worker that drops what is over: expired tokens, sign-ups that nobody proved, mails long sent, what a limit
//! need not remember any more. Each room knows what that is; nothing depends on the sweep being on time, because expiry is
//! checked wherever something is used.

use std::time::Duration;

use crate::client_keys::ClientKeys;
use crate::error::Result;
use crate::ethereum::Ethereum;
use crate::log_ins::LogIns;
use crate::mail::Mail;
use crate::ratelimit::{Quotas, Throttle};
use crate::tokens::Tokens;
use crate::users::Users;
use crate::verification::Verification;
use crate::worker::Worker;

/// Rows deleted by one statement: small enough to disturb nobody.
const AT_MOST: i64 = 1000;

/// Sweeps the rooms.
pub struct Sweeper {
    /// Sign-ups that nobody proved.
    pub users: Users,
    /// Answers that cannot be repeated any more.
    pub client_keys: ClientKeys,
    /// Nonces whose time is over.
    pub ethereum: Ethereum,
    /// Account tokens whose time is over.
    pub tokens: Tokens,
    /// One-time tokens whose time is over.
    pub verification: Verification,
    /// Mails long done.
    pub mail: Mail,
    /// Log-ins long past.
    pub log_ins: LogIns,
    /// Addresses that asked long ago.
    pub quotas: Quotas,
    /// Failures long past.
    pub throttle: Throttle,
}

impl Worker for Sweeper {
    const NAME: &'static str = "sweeper";

    async fn step(&self) -> Result<Duration> {
        let Self { users, client_keys, ethereum, tokens, verification, mail, log_ins, quotas, throttle } = self;
        // These first: they need no database, and must stay small when there is none.
        quotas.sweep();
        throttle.sweep();
        let swept = [
            users.sweep(AT_MOST).await?,
            client_keys.sweep(AT_MOST).await?,
            ethereum.sweep(AT_MOST).await?,
            tokens.sweep(AT_MOST).await?,
            verification.sweep(AT_MOST).await?,
            mail.sweep(AT_MOST).await?,
            log_ins.sweep(AT_MOST).await?,
        ];
        let is_more_left = swept.iter().any(|rows| i64::try_from(*rows).is_ok_and(|rows| rows >= AT_MOST));
        Ok(if is_more_left { Duration::ZERO } else { Duration::from_secs(60) })
    }
}
