//! What is older than `events.retention` goes, a whole month at a time: a partition is dropped in milliseconds, where
//! deleting its rows would take minutes and leave as much to vacuum.
//!
//! Dropping one needs the table for itself for a moment, and all events wait behind whoever waits for that. `detach … concurrently`
//! would not, but there is none for a table with a default partition. So the wait is short (`store::lock_events`): behind a long
//! reader the month stays, and is tried again.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};

use super::{Events, first_id, store};
use crate::error::Result;
use crate::metrics::Months;
use crate::worker::Worker;

/// Rows of the default partition deleted by one statement.
const BATCH: i64 = 5000;

/// How often to look for a month that is over.
const POLL: Duration = Duration::from_secs(6 * 3600);

/// How long to leave alone what somebody is at.
const PAUSE: Duration = Duration::from_secs(60);

/// A month of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month {
    /// Its first day.
    pub first: NaiveDate,
    /// How many events, as Postgres last estimated.
    pub events: Option<u64>,
    /// Bytes on the disk, indexes included.
    pub bytes: u64,
    /// Whether it ended longer ago than events are kept.
    pub is_over: bool,
}

/// What became of a month that was to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It is gone.
    Done,
    /// Somebody else dropped it.
    Before,
    /// Somebody is at it, or at all events, and may not be kept waiting.
    NotYet,
}

impl Events {
    /// The months that have a partition, oldest first.
    pub async fn months(&self) -> Result<Vec<Month>> {
        let partitions = store::list_partitions(&mut *self.pool.acquire().await?).await?;
        let kept = self.first_kept();
        let month = |partition: &store::Partition| {
            let first = partition.month()?;
            Some(Month {
                first,
                events: (partition.rows >= 0.0).then_some(partition.rows as u64),
                bytes: partition.bytes.try_into().unwrap_or(0),
                is_over: kept.is_some_and(|kept| first < kept),
            })
        };
        Ok(partitions.iter().filter_map(month).collect())
    }

    /// The same in figures.
    pub async fn gauge(&self) -> Result<Months> {
        let months = self.months().await?;
        Ok(Months {
            all: months.len(),
            over: months.iter().filter(|month| month.is_over).count(),
            oldest: months.first().map(|month| midnight(month.first).timestamp()).unwrap_or_default(),
            bytes: months.iter().map(|month| month.bytes).sum(),
        })
    }

    /// Drops the partition of a month, which is over.
    pub async fn drop_month(&self, first: NaiveDate) -> Result<Dropped> {
        let mut tx = self.pool.begin().await?;
        if !store::lock_events(&mut tx).await? {
            return Ok(Dropped::NotYet);
        }
        // Another replica may have been at it.
        if !store::find_partition(&mut tx, first).await? {
            return Ok(Dropped::Before);
        }
        if !store::delete_partition(&mut tx, first).await? {
            return Ok(Dropped::NotYet);
        }
        tx.commit().await?;
        Ok(Dropped::Done)
    }

    /// How many events [`Events::drop_strays`] would delete.
    pub async fn strays_over(&self) -> Result<u64> {
        let Some(kept) = self.first_kept() else { return Ok(0) };
        let strays = store::find_strays_before(&mut *self.pool.acquire().await?, first_id(midnight(kept))).await?;
        Ok(strays.try_into().unwrap_or(0))
    }

    /// Deletes events that are as old and that never had a partition of their month; answers how many.
    pub async fn drop_strays(&self) -> Result<u64> {
        let Some(kept) = self.first_kept() else { return Ok(0) };
        let before = first_id(midnight(kept));
        let mut connection = self.pool.acquire().await?;
        let mut deleted = 0;
        loop {
            let batch = store::delete_strays(&mut connection, before, BATCH).await?;
            deleted += batch;
            if i64::try_from(batch).is_ok_and(|batch| batch < BATCH) {
                return Ok(deleted);
            }
        }
    }

    /// The oldest month that is kept; `None` when all of them are.
    fn first_kept(&self) -> Option<NaiveDate> {
        self.retention.ends(self.clock.now()).map(|end| store::month(end, 0))
    }
}

/// The beginning of a day.
pub(super) fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(chrono::NaiveTime::MIN).and_utc()
}

/// Drops what is older than events are kept.
pub struct Pruner(pub Events);

impl Worker for Pruner {
    const NAME: &'static str = "pruner";

    async fn step(&self) -> Result<Duration> {
        let Self(events) = self;
        let (mut months, mut pause) = (0, POLL);
        for month in events.months().await?.into_iter().filter(|month| month.is_over) {
            match events.drop_month(month.first).await? {
                Dropped::Done => months += 1,
                Dropped::Before => {}
                Dropped::NotYet => {
                    pause = PAUSE;
                    break;
                }
            }
        }
        let strays = events.drop_strays().await?;
        if months > 0 || strays > 0 {
            tracing::info!(months, strays, "dropped events that are older than `events.retention`");
        }
        Ok(pause)
    }
}
