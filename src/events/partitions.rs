//! The worker that makes partitions before their month begins.

use std::time::Duration;

use super::store;
use crate::clock::Clock;
use crate::db::Pool;
use crate::error::Result;
use crate::worker::Worker;

/// Months that are ready at any time: this one and the next two.
const AHEAD: u32 = 2;

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
            store::lock_partitions(&mut tx).await?;
            // Another replica may have been at it.
            if !store::find_partition(&mut tx, month).await? {
                store::insert_partition(&mut tx, month).await?;
            }
            tx.commit().await?;
        }
        Ok(Duration::from_secs(6 * 3600))
    }
}
