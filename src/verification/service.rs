//! Makes one-time tokens and consumes them, each once.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Purpose, store};
use crate::clock::Clock;
use crate::db::{self, Pool};
use crate::error::{Code, Result};
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
#[derive(Clone, Debug)]
pub struct Claim {
    /// The user it was made for.
    pub user: UserId,
    /// What it is good for.
    pub purpose: Purpose,
    /// Whether it has done its work before.
    pub is_used: bool,
    /// The address it proves, where that is not the user's yet.
    pub new_email: Option<NewEmail>,
}

/// An address on its way to become the user's.
#[derive(Clone, Debug)]
pub struct NewEmail {
    /// As it was typed.
    pub given: String,
    /// The form on which e-mails are compared.
    pub canonical: String,
}

/// What is kept of a token.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What it is good for.
    pub purpose: Purpose,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its time is over.
    pub expires_at: DateTime<Utc>,
    /// When it did its work.
    pub used_at: Option<DateTime<Utc>>,
    /// The address it proves, where that is not the user's yet.
    pub email: Option<String>,
}

/// A token that was just made.
pub struct Issued {
    /// A bare UUID v4 (bloq-accounts.md section 1).
    pub token: PlainSecret,
    /// When its time is over.
    pub expires_at: DateTime<Utc>,
}

impl Verification {
    /// One-time tokens in this database.
    pub fn new(pool: Pool, clock: Clock, random: Random) -> Self {
        Self { pool, clock, random }
    }

    /// A fresh token, good for the lifetime of its purpose, but no longer than `no_later_than`. Earlier ones stay good:
    /// whoever asks for a second mail may still find the first.
    pub async fn issue(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        purpose: Purpose,
        no_later_than: Option<DateTime<Utc>>,
    ) -> Result<Issued> {
        self.make(connection, user, purpose, no_later_than, None).await
    }

    /// A fresh token that proves another e-mail of this user. It voids earlier ones: the last wish counts.
    pub async fn issue_for_email(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        email: &NewEmail,
    ) -> Result<Issued> {
        self.withdraw(connection, user, Purpose::EmailChange).await?;
        self.make(connection, user, Purpose::EmailChange, None, Some(email)).await
    }

    async fn make(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        purpose: Purpose,
        no_later_than: Option<DateTime<Utc>>,
        email: Option<&NewEmail>,
    ) -> Result<Issued> {
        let now = self.clock.now();
        let token = PlainSecret::new(self.random.uuid_v4().to_string());
        let end = now + purpose.lifetime();
        let expires_at = no_later_than.map_or(end, |latest| latest.min(end));
        let inserted = store::insert(connection, &token.hash(), user, purpose, email, now, expires_at).await;
        db::on_constraint(inserted, &[("one_time_tokens_user_fkey", Code::TokenInvalid)])?;
        Ok(Issued { token, expires_at })
    }

    /// Whose token this is, if it was made for one of these purposes, and was used or still can be.
    pub async fn find(
        &self,
        connection: &mut PgConnection,
        token: &PlainSecret,
        purposes: &[Purpose],
    ) -> Result<Option<Claim>> {
        let claim = store::find(connection, &token.hash(), self.clock.now()).await?;
        Ok(claim.filter(|claim| purposes.contains(&claim.purpose)))
    }

    /// Uses the token up, and withdraws the user's other ones for this purpose. `false` when it was too late.
    pub async fn consume(
        &self,
        connection: &mut PgConnection,
        token: &PlainSecret,
        user: UserId,
        purpose: Purpose,
    ) -> Result<bool> {
        let won = store::mark_used(connection, &token.hash(), user, purpose, self.clock.now()).await?;
        if won {
            self.withdraw(connection, user, purpose).await?;
        }
        Ok(won)
    }

    /// Ends the unused tokens of this user and purpose.
    pub async fn withdraw(&self, connection: &mut PgConnection, user: UserId, purpose: Purpose) -> Result<()> {
        Ok(store::delete_unused(connection, user, purpose).await?)
    }

    /// The tokens of a user that can still be used, or were: purpose, making and end.
    pub async fn list(&self, user: UserId) -> Result<Vec<Kept>> {
        Ok(store::list(&mut *self.pool.acquire().await?, user).await?)
    }

    /// Drops unused tokens whose time is over; they are dead already. Returns how many, `at_most` a call.
    pub async fn sweep(&self, at_most: i64) -> Result<u64> {
        Ok(store::delete_expired(&mut *self.pool.acquire().await?, self.clock.now(), at_most).await?)
    }
}
