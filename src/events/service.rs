//! Hands events to the writer. `feed.rs` reads them back.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use uuid::Uuid;

use super::crowd::{Crowds, Row};
use super::store;
use super::trouble::Trouble;
use super::writer::{Fate, Handover, Writer};
use super::{Draft, Event};
use crate::clock::Clock;
use crate::config::{self, Durability, Retention};
use crate::db::Pool;
use crate::db::pulse::Pulse;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::users::UserId;

/// The events.
#[derive(Clone)]
pub struct Events {
    pub(super) pool: Pool,
    queue: mpsc::Sender<Handover>,
    crowds: Crowds,
    /// Places in memory for events, where answers do not wait for them.
    places: Option<Arc<Semaphore>>,
    deadline: Duration,
    pub(super) clock: Clock,
    random: Random,
    /// Wakes the eraser of this process; those of other replicas look by themselves.
    pub(super) forgotten: Arc<Notify>,
    trouble: Trouble,
    pub(super) retention: Retention,
}

/// Why an answer must not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCommitted {
    /// The event was not written: what the answer rests on has changed.
    Outdated,
    /// The event is not known to be in the table.
    Unknown,
}

impl Events {
    /// The events of this database, and the writer that must run for them, which has so many connections of its own.
    pub fn new(
        pool: Pool,
        side_by_side: usize,
        pulse: Pulse,
        config: &config::Events,
        clock: Clock,
        random: Random,
        metrics: Metrics,
    ) -> (Self, Writer) {
        let trouble = Trouble::none(metrics.clone());
        let (writer, queue) = Writer::new(pool.clone(), side_by_side, pulse, config, trouble.clone(), metrics);
        let (deadline, retention) = (Duration::from_millis(config.commit_deadline_ms), config.retention);
        let crowds = Crowds::default();
        let is_relaxed = config.durability == Durability::Relaxed;
        let places = is_relaxed.then(|| Arc::new(Semaphore::new(config.queue)));
        (
            Self {
                pool,
                queue,
                crowds,
                places,
                deadline,
                clock,
                random,
                forgotten: Arc::default(),
                trouble,
                retention,
            },
            writer,
        )
    }

    /// Events that wait for the writer, and how many may.
    pub fn queue(&self) -> (usize, usize) {
        let most = self.queue.max_capacity();
        (most - self.queue.capacity(), most)
    }

    /// Events without a partition of their month; counted up to 1000.
    pub async fn strays(&self) -> Result<usize> {
        let strays = store::count_strays(&mut *self.pool.acquire().await?).await?;
        Ok(strays.try_into().unwrap_or(0))
    }

    /// Whether answers leave before their events are committed.
    pub fn are_relaxed(&self) -> bool {
        self.places.is_some()
    }

    /// The present instant, as events see it.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A new event id; its instant is now.
    pub fn next_id(&self) -> Uuid {
        self.random.uuid_v7(self.clock.now())
    }

    /// Commits an event, sharing the commit with all that wait at the same time; if its answer rests on what is remembered of
    /// its user, only while the user's row is still the same. An event without an id is written for the first time: it gets
    /// one, or becomes a part of a crowd's row.
    ///
    /// # Errors
    /// `Outdated` when the user's row has changed. `Unknown` when it is not known to be committed within
    /// `events.commit_deadline_ms`: it may still come to be; a later [`Events::hand_over`] of the same id has the last word.
    /// Then the event is given back. With `events.durability = "relaxed"` there is no error and no wait.
    pub async fn commit(&self, event: &mut Option<Arc<Event>>, draft: &Draft) -> Result<(), NotCommitted> {
        if self.are_relaxed() {
            event.take().into_iter().for_each(|event| self.leave(event, draft));
            return Ok(());
        }
        let version = draft.version();
        if version.is_some() && event.as_ref().is_some_and(|event| self.crowds.concern(event, draft)) {
            // The row of a crowd stands for many: it cannot depend on what one of them rests on.
            return Err(NotCommitted::Outdated);
        }
        let mut entry = None;
        let wait = async {
            let place = self.queue.reserve().await.map_err(|_| NotCommitted::Unknown)?;
            // Taken only now: until there is a place, the event stays with the caller, who may be dropped any time.
            let told = event.take().ok_or(NotCommitted::Unknown)?;
            let Entry { word, row, .. } = entry.insert(self.enter(told, draft));
            let (done, fate) = oneshot::channel();
            let is_new = row.is_none();
            place.send(Handover { event: word.clone(), version, is_new, done: Some(done), _place: None });
            let mut wait = Wait { events: self, word, is_new, fate };
            match (&mut wait.fate).await {
                Ok(Fate::Committed) => Ok(()),
                Ok(Fate::Outdated) => Err(NotCommitted::Outdated),
                Ok(Fate::Unknown) | Err(_) => Err(NotCommitted::Unknown),
            }
        };
        let outcome = tokio::time::timeout(self.deadline, wait).await.unwrap_or(Err(NotCommitted::Unknown));
        if let (Err(_), Some(Entry { told, row, .. })) = (&outcome, entry) {
            if let Some(row) = row {
                self.hand_over(row.take_back(&told));
            }
            *event = Some(told);
        }
        outcome
    }

    /// Hands an event over for the first time without waiting for its commit: of a client that is gone, or of a 503 that
    /// tells of a missing database.
    pub fn leave(&self, event: Arc<Event>, draft: &Draft) {
        let is_first = event.id.is_nil();
        let Entry { word, row, .. } = self.enter(event, draft);
        self.send(word, is_first && row.is_none());
    }

    /// Hands an event over, which has an id, without waiting for its commit: the last word about it.
    pub fn hand_over(&self, event: Arc<Event>) {
        self.send(event, false);
    }

    fn send(&self, event: Arc<Event>, is_new: bool) {
        let place = self.places.clone().map(Semaphore::try_acquire_owned).transpose();
        let handover = place.map(|_place| Handover { event, version: None, is_new, done: None, _place });
        if handover.is_err() || handover.is_ok_and(|handover| self.queue.try_send(handover).is_err()) {
            // Full, or closed because the server stops.
            self.trouble.drop_one();
        }
    }

    fn enter(&self, mut told: Arc<Event>, draft: &Draft) -> Entry {
        if told.id.is_nil() {
            let id = self.next_id();
            if let Some((row, word)) = self.crowds.take_in(&told, draft, id) {
                return Entry { word, told, row: Some(row) };
            }
            Arc::make_mut(&mut told).id = id;
        }
        Entry { word: told.clone(), told, row: None }
    }

    /// Whether no answer but a refusal can leave, because events cannot be written although the database is there. Not where
    /// answers do not wait for them.
    pub fn are_stuck(&self) -> bool {
        !self.are_relaxed() && self.trouble.is_stuck()
    }

    /// Notes in the transaction that deletes users that the persons have to go from their events, too. A worker does it,
    /// in batches.
    pub async fn forget(&self, connection: &mut PgConnection, users: &[UserId]) -> Result<()> {
        if !users.is_empty() {
            store::insert_erasures(connection, users, self.clock.now()).await?;
            // A little early is no harm: the worker looks again.
            self.forgotten.notify_one();
        }
        Ok(())
    }
}

/// Who waits for what becomes of an event.
struct Wait<'a> {
    events: &'a Events,
    word: &'a Arc<Event>,
    is_new: bool,
    fate: oneshot::Receiver<Fate>,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // From here on nobody can be told, and the writer knows. Of what was told and not heard, the answer did not leave.
        self.fate.close();
        if let Ok(Fate::Outdated | Fate::Unknown) = self.fate.try_recv() {
            let word = if self.is_new { Arc::new(self.word.unheard()) } else { self.word.clone() };
            self.events.hand_over(word);
        }
    }
}

/// How an event enters the table.
struct Entry {
    /// What is written.
    word: Arc<Event>,
    /// The event itself. One that is a part of a row has no id.
    told: Arc<Event>,
    row: Option<Row>,
}
