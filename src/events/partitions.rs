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
            // Another replica may be at it: whoever comes second finds the name taken, and all is well.
            let mut tx = self.pool.begin().await?;
            match store::insert_partition(&mut tx, month).await {
                Ok(()) => tx.commit().await?,
                Err(error) if is_taken(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Duration::from_secs(6 * 3600))
    }
}

/// 42P07 duplicate_table, or its race 23505 on the catalogue.
fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|refusal| refusal.code()).is_some_and(|code| code == "42P07" || code == "23505")
}
