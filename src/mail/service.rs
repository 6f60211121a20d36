//! Puts mails into the outbox.

use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio::sync::Notify;
use uuid::Uuid;

use super::store::{self, NewMail};
use super::{Letter, Queued, Unsent};
use crate::clock::Clock;
use crate::db::Pool;
use crate::error::Result;
use crate::metrics::Backlog;
use crate::random::Random;
use crate::sealing::MasterKey;
use crate::users::UserId;

/// Mails that one statement gives another try.
const RETRIED_AT_ONCE: i64 = 1000;

/// How long rows of finished mails stay, for caps and for operators.
const KEPT: TimeDelta = TimeDelta::days(7);

/// Mails of one kind that one recipient gets at most within a period, whoever asks for them.
const CAPS: [(usize, TimeDelta); 2] = [(3, TimeDelta::hours(1)), (10, TimeDelta::days(1))];

/// The outbox.
#[derive(Clone)]
pub struct Mail {
    pool: Pool,
    master_key: MasterKey,
    clock: Clock,
    random: Random,
    /// Wakes the courier of this process; those of other replicas look by themselves.
    pub(super) queued: Arc<Notify>,
}

/// What is kept of a mail after it was sent.
#[derive(Clone, Debug)]
pub struct SentMail {
    /// Which letter it was.
    pub template: String,
    /// To whom it went.
    pub recipient: String,
    /// When it was queued.
    pub created_at: DateTime<Utc>,
    /// When a mail server took it.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it was given up.
    pub failed_at: Option<DateTime<Utc>>,
}

impl Mail {
    /// The outbox of this database.
    pub fn new(pool: Pool, master_key: MasterKey, clock: Clock, random: Random) -> Self {
        Self { pool, master_key, clock, random, queued: Arc::default() }
    }

    /// Queues a letter to `recipient`, an address stored with `user`; it leaves once the transaction is committed and
    /// [`Mail::wake`] was called. `false` when the recipient got enough of this kind: then nothing is queued, and nobody
    /// is told but the caller.
    pub async fn queue(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        recipient: &str,
        letter: &Letter,
    ) -> Result<bool> {
        let now = self.clock.now();
        let template = letter.template();
        // One at a time for a recipient, or a burst of requests would each count no mail.
        store::lock_recipient(connection, recipient, template).await?;
        for (most, period) in CAPS {
            if store::count_since(connection, recipient, template, now - period).await? >= most {
                tracing::debug!(template, "a recipient got enough mails of a kind");
                return Ok(false);
            }
        }
        let id = self.random.uuid_v7(now);
        let variables = serde_json::to_vec(letter).context("a letter is plain data")?;
        let sealed_variables = self.master_key.seal(&place(id), &variables);
        store::insert(connection, &NewMail { id, user_id: user, template, recipient, sealed_variables }, now).await?;
        Ok(true)
    }

    /// Tells the courier that a transaction with mails in it is committed. Without it they leave a little later.
    pub fn wake(&self) {
        self.queued.notify_one();
    }

    /// Whether `user` was sent a letter like this within the last `period`.
    pub async fn was_sent_within(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        letter: &Letter,
        period: TimeDelta,
    ) -> Result<bool> {
        Ok(store::find_since(connection, user, letter.template(), self.clock.now() - period).await?)
    }

    /// The mails of a user of the last week, oldest first.
    pub async fn list(&self, user: UserId) -> Result<Vec<SentMail>> {
        Ok(store::list(&mut *self.pool.acquire().await?, user).await?)
    }

    /// At most `limit` mails queued after `after`, oldest first; all of them, or those in one state.
    pub async fn list_queued(&self, only: Option<Unsent>, after: Option<Uuid>, limit: i64) -> Result<Vec<Queued>> {
        let rows = store::list_queued(&mut *self.pool.acquire().await?, after, only, limit).await?;
        let now = self.clock.now();
        Ok(rows.into_iter().map(|row| Queued::new(row, now)).collect())
    }

    /// Makes mails that wait or were given up due at once, with all their tries before them. Returns the ids of those it
    /// could do that to: not of mails that are unknown or sent, and not of one that a courier has in hand, which would
    /// arrive twice.
    pub async fn retry(&self, ids: &[Uuid]) -> Result<Vec<Uuid>> {
        let due = store::mark_due(&mut *self.pool.acquire().await?, ids, self.clock.now()).await?;
        self.wake();
        Ok(due)
    }

    /// [`Mail::retry`] for every mail that was given up by now. Returns how many.
    pub async fn retry_failed(&self) -> Result<u64> {
        let now = self.clock.now();
        let mut retried = 0;
        loop {
            let rows = store::mark_failed_due(&mut *self.pool.acquire().await?, now, now, RETRIED_AT_ONCE).await?;
            retried += rows;
            self.wake();
            // What a courier gave up again meanwhile is not tried for ever: it was given up later than `now`.
            if rows == 0 {
                return Ok(retried);
            }
        }
    }

    /// Opens what waits in the outbox under this id.
    pub(super) fn open(&self, id: Uuid, sealed: &[u8]) -> anyhow::Result<Letter> {
        let variables = self.master_key.open(&place(id), sealed)?;
        serde_json::from_slice(&variables).context("a queued mail of another version")
    }

    /// What waits in the outbox; counted up to 10000 mails, those due longest.
    pub async fn backlog(&self) -> Result<Backlog> {
        let waiting = store::list_waiting(&mut *self.pool.acquire().await?).await?;
        let now = self.clock.now();
        let since = |at: Option<DateTime<Utc>>| at.and_then(|at| (now - at).to_std().ok()).unwrap_or_default();
        Ok(Backlog {
            waiting: waiting.mails.try_into().unwrap_or(0),
            oldest: since(waiting.oldest),
            overdue: since(waiting.due),
        })
    }

    /// Drops rows of mails that were finished a week ago. Returns how many, `at_most` a call.
    pub async fn sweep(&self, at_most: i64) -> Result<u64> {
        Ok(store::delete_done(&mut *self.pool.acquire().await?, self.clock.now() - KEPT, at_most).await?)
    }
}

/// Where sealed variables belong, see [`MasterKey::seal`].
fn place(id: Uuid) -> String {
    format!("outbox:{id}")
}
