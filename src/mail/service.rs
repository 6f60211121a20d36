//! Puts mails into the outbox.

use std::sync::Arc;

use anyhow::Context;
use chrono::TimeDelta;
use sqlx::PgConnection;
use tokio::sync::Notify;
use uuid::Uuid;

use super::Letter;
use super::store::{self, NewMail};
use crate::clock::Clock;
use crate::db::Pool;
use crate::error::Result;
use crate::random::Random;
use crate::sealing::MasterKey;
use crate::users::UserId;

/// How long rows of finished mails stay, for caps and for operators.
const KEPT: TimeDelta = TimeDelta::days(7);

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

impl Mail {
    /// The outbox of this database.
    pub fn new(pool: Pool, master_key: MasterKey, clock: Clock, random: Random) -> Self {
        Self { pool, master_key, clock, random, queued: Arc::default() }
    }

    /// Queues a letter to `recipient`, the address stored with `user`; it leaves once the transaction is committed and
    /// [`Mail::wake`] was called.
    pub async fn queue(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        recipient: &str,
        letter: &Letter,
    ) -> Result<()> {
        let now = self.clock.now();
        let id = self.random.uuid_v7(now);
        let variables = serde_json::to_vec(letter).context("a letter is plain data")?;
        let mail = NewMail {
            id,
            user_id: user,
            template: letter.template(),
            recipient,
            sealed_variables: self.master_key.seal(&place(id), &variables),
        };
        Ok(store::insert(connection, &mail, now).await?)
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

    /// Opens what waits in the outbox under this id.
    pub(super) fn open(&self, id: Uuid, sealed: &[u8]) -> anyhow::Result<Letter> {
        let variables = self.master_key.open(&place(id), sealed)?;
        serde_json::from_slice(&variables).context("a queued mail of another version")
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
