//! The worker that makes partitions before their month begins.

use std::time::Duration;

use super::store;
use crate::clock::Clock;
use crate::db::Pool;
use crate::error::Result;
use crate::worker::Worker;

/// Months that are ready at any time: this one and the next two.
const AHEAD: u32 = 2;

/// How often to look.
const POLL: Duration = Duration::from_secs(6 * 3600);

/// How long to leave alone somebody who is at the default partition.
const PAUSE: Duration = Duration::from_secs(60);

/// Keeps partitions ahead of the clock.
pub struct Partitions {
    pool: Pool,
    clock: Clock,
}

impl Partitions {
    /// For the events of this database.
    pub fn new(pool: Pool, clock: Clock) -> Self {
        Self { pool, clock }
    }
}

impl Worker for Partitions {
    const NAME: &'static str = "partitions";

    async fn step(&self) -> Result<Duration> {
        let now = self.clock.now();
        for month in (0..=AHEAD).map(|ahead| store::month(now, ahead)) {
            if store::find_partition(&mut *self.pool.acquire().await?, month).await? {
                continue;
            }
            let mut tx = self.pool.begin().await?;
            if !store::lock_partitions(&mut tx).await? {
                // No harm: until then its events are in the default partition.
                tracing::info!(%month, again_in = ?PAUSE, "no partition yet: a transaction is at the events for long");
                return Ok(PAUSE);
            }
            // Another replica may have been at it.
            if !store::find_partition(&mut tx, month).await? {
                store::insert_partition(&mut tx, month).await?;
            }
            tx.commit().await?;
        }
        Ok(POLL)
    }
}
