//! When things were last used: noted in memory by requests, written in batches by a worker.
//!
//! No request waits for it, and a crash loses half a second of it. Rooms decide how coarse it is, by comparing with what
//! the row they read says.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::client_keys::ClientKeys;
use crate::error::Result;
use crate::tokens::Tokens;
use crate::worker::Worker;

/// How often it is written.
const PAUSE: Duration = Duration::from_millis(500);

/// Things noted between two writes; beyond that some keep an older time.
const MOST: usize = 100_000;

/// What was used since the last write.
#[derive(Clone)]
pub struct LastUse<Id>(Arc<Mutex<HashMap<Id, DateTime<Utc>>>>);

impl<Id> Default for LastUse<Id> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// When one thing was last used, as far as whoever remembers it knows.
#[derive(Debug)]
pub struct Known(AtomicI64);

impl From<Option<DateTime<Utc>>> for Known {
    /// As the row says.
    fn from(last_used_at: Option<DateTime<Utc>>) -> Self {
        Self(AtomicI64::new(last_used_at.map_or(i64::MIN, |at| at.timestamp_millis())))
    }
}

impl<Id: Eq + Hash + Clone> LastUse<Id> {
    /// Notes a use, unless `known` is an earlier one that is no older than `coarse`.
    pub fn note(&self, id: &Id, now: DateTime<Utc>, known: &Known, coarse: TimeDelta) {
        let (millis, before) = (now.timestamp_millis(), known.0.load(Ordering::Relaxed));
        if millis < before.saturating_add(coarse.num_milliseconds()) {
            return;
        }
        known.0.store(millis, Ordering::Relaxed);
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() < MOST || used.contains_key(id) {
            used.insert(id.clone(), now);
        }
    }

    /// Takes what was noted, in the order of the ids, so that two replicas lock the same rows in the same order.
    pub fn take(&self) -> (Vec<Id>, Vec<DateTime<Utc>>)
    where
        Id: Ord,
    {
        let used = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut used: Vec<_> = used.into_iter().collect();
        used.sort();
        used.into_iter().unzip()
    }
}

/// Writes the last uses of all rooms that keep one.
pub struct LastUses {
    /// Account tokens.
    pub tokens: Tokens,
    /// Client keys.
    pub client_keys: ClientKeys,
}

impl Worker for LastUses {
    const NAME: &'static str = "last uses";
    const DRAINS: bool = true;

    async fn step(&self) -> Result<Duration> {
        self.tokens.write_last_uses().await?;
        self.client_keys.write_last_uses().await?;
        Ok(PAUSE)
    }
}
