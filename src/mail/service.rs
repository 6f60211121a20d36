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
use crate::db::{self, Pool};
use crate::error::{Code, Result};
use crate::metrics::Backlog;
use crate::random::Random;
use crate::sealing::MasterKey;
use crate::users::UserId;

/// Mails that one statement gives another try.
const RETRIED_AT_ONCE: i64 = 1000;

/// How long rows of finished mails stay, for caps and for operators.
const KEPT: TimeDelta = TimeDelta::days(7);

/// So many mails within a period.
type Cap = (usize, TimeDelta);

/// Mails of one kind that one recipient gets at most, whoever asks for them.
const CAPS: &[Cap] = &[(3, TimeDelta::hours(1)), (10, TimeDelta::days(1))];

/// What tells only of strangers is not worth more.
const CAPS_OF_STRANGERS: &[Cap] = &[(1, LONGEST_PERIOD)];

/// What tells of a way in, or of who can read mails, must not be hidden behind others: as many as a user can have addresses or keys.
const CAPS_OF_NEWS: &[Cap] = &[(20, LONGEST_PERIOD)];

/// The longest period of a cap.
const LONGEST_PERIOD: TimeDelta = TimeDelta::days(1);

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
    /// [`Mail::wake`] was called. A letter of no user outlives the one it is about. `false` when the recipient got enough
    /// of this kind: then nothing is queued, and nobody is told but the caller.
    ///
    /// # Errors
    /// `TokenInvalid` when the user was deleted meanwhile.
    pub async fn queue(
        &self,
        connection: &mut PgConnection,
        user: Option<UserId>,
        recipient: &str,
        letter: &Letter,
    ) -> Result<bool> {
        if !self.count(connection, recipient, letter).await? {
            return Ok(false);
        }
        let now = self.clock.now();
        let id = self.random.uuid_v7(now);
        let variables = serde_json::to_vec(letter).context("a letter is plain data")?;
        let sealed_variables = self.master_key.seal(&place(id), &variables);
        let mail = NewMail { id, user_id: user, template: letter.template(), recipient, sealed_variables };
        let inserted = store::insert(connection, &mail, now).await;
        db::on_constraint(inserted, &[("outbox_user_fkey", Code::TokenInvalid)])?;
        Ok(true)
    }

    /// Counts a letter against the caps of `recipient` without queueing it; `false` when there were enough. What was
    /// counted is not forgotten with the user who caused it.
    pub async fn count(&self, connection: &mut PgConnection, recipient: &str, letter: &Letter) -> Result<bool> {
        let (now, template) = (self.clock.now(), letter.template());
        // Asked before the lock as well: a crowd that is refused anyway shall not queue for it.
        if self.has_room(connection, recipient, template).await? {
            let digest = self.digest(recipient, template);
            // One at a time for a recipient, or a burst of requests would each count no mail.
            store::lock_counted(connection, &digest).await?;
            if self.has_room(connection, recipient, template).await? {
                store::insert_counted(connection, self.random.uuid_v7(now), &digest, now).await?;
                return Ok(true);
            }
        }
        tracing::debug!(template, "a recipient got enough mails of a kind");
        Ok(false)
    }

    /// Whether the caps of `recipient` leave room for one more letter of this [`Letter::template`]. Nothing is locked: a
    /// moment later there may be none.
    pub async fn has_room(&self, connection: &mut PgConnection, recipient: &str, template: &str) -> Result<bool> {
        let (now, digest) = (self.clock.now(), self.digest(recipient, template));
        let counted = store::list_counted(connection, &digest, now - LONGEST_PERIOD).await?;
        let within = |period: TimeDelta| counted.iter().filter(|at| **at > now - period).count();
        Ok(caps(template).iter().all(|(most, period)| within(*period) < *most))
    }

    fn digest(&self, recipient: &str, template: &str) -> [u8; 32] {
        self.master_key.digest(&format!("mail:{template}:{}", recipient.to_lowercase()))
    }

    /// Lets the notices of a user who is about to be deleted leave all the same. What carries a token goes with the user.
    pub async fn keep_notices(&self, connection: &mut PgConnection, user: UserId) -> Result<()> {
        Ok(store::update_ownerless(connection, user, &Letter::WITH_TOKENS.map(str::to_owned)).await?)
    }

    /// Has the mails of a user that hand out a token encrypted to this key from now on, beside others of the user.
    pub async fn encrypt_to(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        fingerprint: &str,
        certificate: &str,
    ) -> Result<()> {
        Ok(store::insert_certificate(connection, user, fingerprint, certificate).await?)
    }

    /// Encrypts nothing to this key any more.
    pub async fn forget_key(&self, connection: &mut PgConnection, user: UserId, fingerprint: &str) -> Result<()> {
        Ok(store::delete_certificate(connection, user, fingerprint).await?)
    }

    /// Tells the courier that a transaction with mails in it is committed. Without it they leave a little later.
    pub fn wake(&self) {
        self.queued.notify_one();
    }

    /// The mails of a user of the last week, oldest first. Not those that ask whether an address can be had: that one was
    /// sent would tell that nobody has it. The wish itself is a token of [`Verification`](crate::verification).
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

    /// Drops rows of mails that were finished a week ago, and what no cap counts any more. Returns how many, `at_most` a
    /// call of each.
    pub async fn sweep(&self, at_most: i64) -> Result<u64> {
        let (mut connection, now) = (self.pool.acquire().await?, self.clock.now());
        let done = store::delete_done(&mut connection, now - KEPT, at_most).await?;
        Ok(done + store::delete_counted(&mut connection, now - LONGEST_PERIOD, at_most).await?)
    }
}

fn caps(template: &str) -> &'static [Cap] {
    match template {
        Letter::ADDRESS_TAKEN => CAPS_OF_STRANGERS,
        Letter::WALLET_ENABLED | Letter::USER_KEY_PROVED | Letter::USER_KEY_DELETED => CAPS_OF_NEWS,
        _ => CAPS,
    }
}

/// Where sealed variables belong, see [`MasterKey::seal`].
fn place(id: Uuid) -> String {
    format!("outbox:{id}")
}
