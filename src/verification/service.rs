//! Makes one-time tokens and consumes them, each once.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Purpose, store};
use crate::clock::Clock;
use crate::db::Pool;
use crate::error::Result;
use crate::random::Random;
use crate::secret::PlainSecret;
use crate::users::UserId;

/// One-time tokens.
#[derive(Clone)]
pub struct Verification {
    pool: Pool,
    clock: Clock,
    random: Random,
}

/// What a token says for its bearer.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The user it was made for.
    pub user: UserId,
    /// Whether it has done its work before.
    pub is_used: bool,
}

impl Verification {
    /// Life of an unused token.
    pub const LIFETIME: TimeDelta = TimeDelta::hours(48);

    /// One-time tokens in this database.
    pub fn new(pool: Pool, clock: Clock, random: Random) -> Self {
        Self { pool, clock, random }
    }

    /// A fresh token (a bare UUID v4, bloq-accounts.md section 1), good until [`Verification::LIFETIME`] from now or
    /// `no_later_than`. Earlier ones stay good: whoever asks for a second mail may still find the first.
    pub async fn issue(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        purpose: Purpose,
        no_later_than: Option<DateTime<Utc>>,
    ) -> Result<PlainSecret> {
        let now = self.clock.now();
        let token = PlainSecret::new(self.random.uuid_v4().to_string());
        let expires_at = no_later_than.map_or(now + Self::LIFETIME, |end| end.min(now + Self::LIFETIME));
        store::insert(connection, &token.hash(), user, purpose, now, expires_at).await?;
        Ok(token)
    }

    /// Whose token this is, if it was used or still can be.
    pub async fn find(
        &self,
        connection: &mut PgConnection,
        token: &PlainSecret,
        purpose: Purpose,
    ) -> Result<Option<Claim>> {
        Ok(store::find(connection, &token.hash(), purpose, self.clock.now()).await?)
    }

    /// Uses the token up, and withdraws the user's other ones for this purpose. `false` when it was too late.
    pub async fn consume(
        &self,
        connection: &mut PgConnection,
        token: &PlainSecret,
        user: UserId,
        purpose: Purpose,
    ) -> Result<bool> {
        let won = store::mark_used(connection, &token.hash(), purpose, self.clock.now()).await?;
        if won {
            store::delete_unused(connection, user, purpose).await?;
        }
        Ok(won)
    }

    /// Drops unused tokens whose time is over; they are dead already. Returns how many, `at_most` a call.
    pub async fn sweep(&self, at_most: i64) -> Result<u64> {
        Ok(store::delete_expired(&mut *self.pool.acquire().await?, self.clock.now(), at_most).await?)
    }
}
