//! Answers the present session, and ends it.

use chrono::{DateTime, Days, NaiveTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Session, store};
use crate::clock::Clock;
use crate::db::Pool;
use crate::error::Result;
use crate::random::Random;

/// The session of all Qb2 tokens.
#[derive(Clone)]
pub struct DeviceSession {
    pool: Pool,
    clock: Clock,
    random: Random,
}

impl DeviceSession {
    /// The session of this database.
    pub fn new(pool: Pool, clock: Clock, random: Random) -> Self {
        Self { pool, clock, random }
    }

    /// The present session. Who asks first on a day begins it; one of a later day, which another server's clock has reached,
    /// is as good.
    pub async fn current(&self) -> Result<Session> {
        let mut connection = self.pool.acquire().await?;
        let now = self.clock.now();
        let today = midnight(now);
        match store::find(&mut connection).await? {
            Some(session) if session.began_at >= today => Ok(session),
            _ => Ok(store::insert(&mut connection, &self.begin(now), today).await?),
        }
    }

    /// Whether this session is the present one, within a transaction that has more to ask. It begins none.
    pub async fn is_current(&self, connection: &mut PgConnection, id: Uuid) -> Result<bool> {
        Ok(store::find(connection).await?.is_some_and(|session| session.id == id))
    }

    /// Ends the session, and with it every Qb2 token on every replica; answers the new one.
    pub async fn invalidate(&self) -> Result<Session> {
        let mut tx = self.pool.begin().await?;
        let session = self.begin(self.clock.now());
        store::update(&mut tx, &session).await?;
        tx.commit().await?;
        Ok(session)
    }

    /// When a session of this instant ends by itself: at the next UTC midnight.
    pub fn ends_at(now: DateTime<Utc>) -> DateTime<Utc> {
        midnight(now) + Days::new(1)
    }

    fn begin(&self, now: DateTime<Utc>) -> Session {
        Session { id: self.random.uuid_v4(), nonce: hex::encode(self.random.bytes::<32>()), began_at: now }
    }
}

/// When the UTC day of this instant began.
fn midnight(now: DateTime<Utc>) -> DateTime<Utc> {
    now.date_naive().and_time(NaiveTime::MIN).and_utc()
}
