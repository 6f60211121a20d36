//! What is older than `events.retention` goes, a whole month at a time: a partition is dropped in milliseconds, where
//! deleting its rows would take minutes and leave as much to vacuum.
//!
//! Dropping one needs the table for itself for a moment, and all events wait behind whoever waits for that. `detach … concurrently`
//! would not, but there is none for a table with a default partition. So the wait is short (`store::lock_events`): behind a long
//! reader the month stays, and is tried again.
//!
//! Nothing brings back what was dropped, and a clock can be wrong. So no clock is believed alone:
//!
//! - It is as late as the earlier of this server's clock and Postgres' says.
//! - Nothing goes unless there is an event that is one to two weeks old by then, and stays: whoever set the clock ahead has a week to notice.
//! - What was written after something that stays, stays as well, however old it says it is: a clock was behind.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Events, first_id, midnight, store};
use crate::clock::Clock;
use crate::config::Retention;
use crate::db::Pool;
use crate::error::Result;
use crate::metrics::Months;
use crate::worker::Worker;

/// Rows of the default partition deleted by one statement.
const BATCH: i64 = 5000;

/// How often to look for a month that is over.
const POLL: Duration = Duration::from_secs(6 * 3600);

/// How long to leave alone what somebody is at.
const PAUSE: Duration = Duration::from_secs(60);

/// An event at least so old, and less than twice, shows that time has really passed.
const WITNESS: TimeDelta = TimeDelta::weeks(1);

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

/// What is older than events are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// The months, oldest first.
    pub months: Vec<Month>,
    /// Events that never had a partition of their month.
    pub strays: u64,
    /// Whether an event shows that it is really so late. If not, nothing may be dropped.
    pub is_certain: bool,
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

/// Drops what is older than events are kept.
#[derive(Clone)]
pub struct Pruner {
    pool: Pool,
    clock: Clock,
    retention: Retention,
}

impl Events {
    /// Who drops those of this server's retention.
    pub fn pruner(&self) -> Pruner {
        Pruner::new(self.pool.clone(), self.clock.clone(), self.retention)
    }
}

impl Pruner {
    /// For the events of this database.
    pub fn new(pool: Pool, clock: Clock, retention: Retention) -> Self {
        Self { pool, clock, retention }
    }

    /// The months that have a partition, oldest first.
    pub async fn months(&self) -> Result<Vec<Month>> {
        let mut connection = self.pool.acquire().await?;
        let kept = self.first_kept(self.now(&mut connection).await?);
        Ok(list_months(&mut connection, kept).await?)
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

    /// What is older than events are kept, and whether it may be dropped.
    pub async fn over(&self) -> Result<Over> {
        let mut connection = self.pool.acquire().await?;
        let now = self.now(&mut connection).await?;
        let Some(kept) = self.first_kept(now) else {
            return Ok(Over { months: Vec::new(), strays: 0, is_certain: true });
        };
        let mut months = list_months(&mut connection, Some(kept)).await?;
        months.retain(|month| month.is_over);
        let first = first_id(midnight(kept));
        let strays = match store::find_first_transaction(&mut connection, first).await? {
            Some(transaction) => store::count_strays_before(&mut connection, first, transaction).await?,
            None => 0,
        };
        let since = first_id(now - WITNESS * 2).max(first);
        let is_certain = store::find_any(&mut connection, since, first_id(now - WITNESS)).await?;
        Ok(Over { months, strays: strays.try_into().unwrap_or(0), is_certain })
    }

    /// Drops the partition of a month, which is over for certain.
    pub async fn drop_month(&self, first: NaiveDate) -> Result<Dropped> {
        let mut tx = self.pool.begin().await?;
        // All events wait for this lock: not for nothing.
        if !store::find_partition(&mut tx, first).await? {
            return Ok(Dropped::Before);
        }
        if !store::lock_events(&mut tx).await? {
            return Ok(Dropped::NotYet);
        }
        // Another replica may have been at it.
        if !store::find_partition(&mut tx, first).await? {
            tx.rollback().await?;
            return Ok(Dropped::Before);
        }
        if !store::delete_partition(&mut tx, first).await? {
            return Ok(Dropped::NotYet);
        }
        tx.commit().await?;
        Ok(Dropped::Done)
    }

    /// Deletes the events of [`Over::strays`], which are over for certain; answers how many.
    pub async fn drop_strays(&self) -> Result<u64> {
        let mut connection = self.pool.acquire().await?;
        let Some(kept) = self.first_kept(self.now(&mut connection).await?) else { return Ok(0) };
        let first = first_id(midnight(kept));
        let Some(transaction) = store::find_first_transaction(&mut connection, first).await? else { return Ok(0) };
        let mut deleted = 0;
        loop {
            let batch = store::delete_strays(&mut connection, first, transaction, BATCH).await?;
            deleted += batch;
            if i64::try_from(batch).is_ok_and(|batch| batch < BATCH) {
                return Ok(deleted);
            }
        }
    }

    /// As late as two clocks agree that it is.
    async fn now(&self, connection: &mut PgConnection) -> Result<DateTime<Utc>> {
        Ok(self.clock.now().min(store::find_now(connection).await?))
    }

    /// The oldest month that is kept; `None` when all of them are.
    fn first_kept(&self, now: DateTime<Utc>) -> Option<NaiveDate> {
        self.retention.ends(now).map(|end| store::month(end, 0))
    }
}

/// The months that have a partition; those before `kept` are over.
async fn list_months(connection: &mut PgConnection, kept: Option<NaiveDate>) -> sqlx::Result<Vec<Month>> {
    let partitions = store::list_partitions(connection).await?;
    let is_before = |first| kept.is_some_and(|kept| first < kept);
    // One that was made after a month that is kept belongs to a clock that was behind.
    let later = partitions.iter().filter(|partition| partition.month().is_some_and(|first| !is_before(first)));
    let first_made = later.map(|partition| partition.made).min();
    let month = |partition: &store::Partition| {
        let first = partition.month()?;
        Some(Month {
            first,
            events: (partition.rows >= 0.0).then_some(partition.rows as u64),
            bytes: partition.bytes.try_into().unwrap_or(0),
            is_over: is_before(first) && first_made.is_none_or(|made| partition.made < made),
        })
    };
    Ok(partitions.iter().filter_map(month).collect())
}

impl Worker for Pruner {
    const NAME: &'static str = "pruner";

    async fn step(&self) -> Result<Duration> {
        let over = self.over().await?;
        if over.months.is_empty() && over.strays == 0 {
            return Ok(POLL);
        }
        if !over.is_certain {
            tracing::warn!(
                months = over.months.len(),
                strays = over.strays,
                "kept events that are older than `events.retention`: is the clock right? None is one to two weeks old by it"
            );
            return Ok(POLL);
        }
        let (mut months, mut pause) = (0, POLL);
        for month in over.months {
            match self.drop_month(month.first).await? {
                Dropped::Done => months += 1,
                Dropped::Before => {}
                Dropped::NotYet => {
                    pause = PAUSE;
                    break;
                }
            }
        }
        let strays = self.drop_strays().await?;
        if months > 0 || strays > 0 {
            tracing::info!(months, strays, "dropped events that are older than `events.retention`");
        }
        Ok(pause)
    }
}
