//! Notes where somebody logged in, and remembers for 90 days.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use ipnetwork::IpNetwork;
use sqlx::PgConnection;

use super::store::{self, LogIn, Place};
use crate::clock::Clock;
use crate::db::{self, Pool};
use crate::error::{Code, Result};
use crate::origin::Origin;
use crate::ratelimit::Network;
use crate::users::UserId;

/// Rows of one user. More pairs than these are seen only in an attack from the inside; the oldest go.
const MOST_PER_USER: i64 = 100;

/// How old the noted time may be before it is written again.
const COARSE: TimeDelta = TimeDelta::hours(1);

/// Successful log-ins by network and agent.
#[derive(Clone)]
pub struct LogIns {
    pool: Pool,
    clock: Clock,
    /// How far the sweep has looked. Behind it are only rows that were the newest of their user; what becomes of those
    /// is seen to when the user logs in again.
    swept: Arc<Mutex<Option<Place>>>,
}

/// What a log-in is compared with those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// This user never logged in before.
    First,
    /// Not from this network with this agent in the last 90 days. Of several such log-ins at the same moment one is new.
    New,
    /// It was.
    Known,
}

/// From where somebody logged in.
#[derive(Clone, Debug)]
pub struct KnownPlace {
    /// IPv4 /32 or IPv6 /64.
    pub network: IpNetwork,
    /// The program, as it named itself.
    pub agent: Option<String>,
    /// When first.
    pub first_at: DateTime<Utc>,
    /// When last, give or take an hour.
    pub last_at: DateTime<Utc>,
}

impl LogIns {
    /// How long a pair is remembered.
    pub const MEMORY: TimeDelta = TimeDelta::days(90);

    /// The log-ins of this database.
    pub fn new(pool: Pool, clock: Clock) -> Self {
        Self { pool, clock, swept: Arc::default() }
    }

    /// Notes a log-in that succeeded. Writes only what is news: of a storm of log-ins the first.
    pub async fn note(&self, connection: &mut PgConnection, user: UserId, origin: &Origin) -> Result<Seen> {
        let (network, agent, now) = (Network::of_client(origin), origin.agent.as_deref(), self.clock.now());
        let before = store::find(connection, user, network, agent).await?;
        if before.last_at.is_some_and(|last_at| now - last_at < COARSE) {
            return Ok(Seen::Known);
        }
        // Whoever comes second at the same moment finds the row as fresh as the first has left it.
        let inserted = store::insert(connection, user, network, agent, now, now - COARSE).await;
        // Deleted since the password was checked.
        let is_mine = db::on_constraint(inserted, &[("log_ins_user_fkey", Code::InvalidCredentials)])?;
        store::delete_surplus(connection, user, now - Self::MEMORY, MOST_PER_USER).await?;
        Ok(match before {
            _ if !is_mine => Seen::Known,
            LogIn { is_first: true, .. } => Seen::First,
            LogIn { last_at: Some(last_at), .. } if now - last_at < Self::MEMORY => Seen::Known,
            LogIn { .. } => Seen::New,
        })
    }

    /// Whether this user logged in from this network since then. A user who does not exist did not, after the same work.
    pub async fn has_been_here(&self, user: UserId, network: Network, since: DateTime<Utc>) -> Result<bool> {
        Ok(store::find_since(&mut *self.pool.acquire().await?, user, network, since).await?)
    }

    /// The places from which a user logged in, the newest first.
    pub async fn list(&self, user: UserId) -> Result<Vec<KnownPlace>> {
        Ok(store::list(&mut *self.pool.acquire().await?, user).await?)
    }

    /// Drops rows older than [`LogIns::MEMORY`], but the newest of each user. Returns how many it looked at, `at_most` a
    /// call.
    pub async fn sweep(&self, at_most: i64) -> Result<u64> {
        let swept = || self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let from = *swept();
        let before = self.clock.now() - Self::MEMORY;
        let old = store::list_until(&mut *self.pool.acquire().await?, from, before, at_most).await?;
        if let Some(last) = old.last() {
            let ids: Vec<i64> = old.iter().map(|place| place.id).collect();
            store::delete_superseded(&mut *self.pool.acquire().await?, &ids, before).await?;
            *swept() = Some(*last);
        }
        Ok(old.len() as u64)
    }
}
