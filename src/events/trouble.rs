//! What keeps events from the table while the database is there (a full disk, a locked table), told when it begins and when
//! it is over: told for each event, it would be a lever by which strangers fill the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::metrics::Metrics;

/// The state of a writer and its queue; cheap to clone.
#[derive(Clone)]
pub(super) struct Trouble(Arc<State>);

struct State {
    is_stuck: AtomicBool,
    /// The same of events that were tried before: no answer waits for those.
    is_behind: AtomicBool,
    /// Events dropped since it began.
    dropped: AtomicU64,
    metrics: Metrics,
}

impl Trouble {
    pub fn none(metrics: Metrics) -> Self {
        Self(Arc::new(State {
            is_stuck: AtomicBool::default(),
            is_behind: AtomicBool::default(),
            dropped: AtomicU64::default(),
            metrics,
        }))
    }

    /// A statement failed, of new events or of others, or had no answer in time, and the database is not known to be away.
    pub fn begin(&self, are_new: bool, events: usize, reason: &dyn std::fmt::Display) {
        let state = if are_new { &self.0.is_stuck } else { &self.0.is_behind };
        // Where new ones cannot be written, it is no news that others cannot.
        if (are_new || !self.is_stuck()) && !state.swap(true, Ordering::Relaxed) {
            tracing::warn!(events, are_new, %reason, "events could not be written yet");
        }
    }

    /// There was no room for an event.
    pub fn drop_one(&self) {
        self.0.metrics.event_dropped();
        if self.0.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!("events are dropped: too many wait already; `events_dropped_total` counts them");
        }
    }

    /// The database had an answer.
    pub fn end(&self, are_new: bool) {
        let was_stuck = self.0.is_stuck.swap(false, Ordering::Relaxed);
        let was_behind = !are_new && self.0.is_behind.swap(false, Ordering::Relaxed);
        if was_stuck || was_behind {
            tracing::info!(are_new, "events are written again");
        }
    }

    /// Nothing waits any more. Told only then: while a crowd is there, each batch would be an end and the next drop a beginning.
    pub fn settle(&self) {
        let dropped = self.0.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::error!(dropped, "events were dropped while too many waited");
        }
    }

    pub fn is_stuck(&self) -> bool {
        self.0.is_stuck.load(Ordering::Relaxed)
    }
}
