//! Group commit: collects events, inserts a batch in one statement, wakes those who wait. Knows no HTTP.
//!
//! One task. While one batch is on its way to the disk, the next one gathers by itself, so a lone request waits for one
//! commit and a thousand requests share one. The queue has a bound: when it is full, requests wait at the door.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Event, store};
use crate::config;
use crate::db::Pool;

/// An event on its way to the table.
pub(super) struct Handover {
    pub event: Arc<Event>,
    /// Told whether the event is committed; absent when nobody waits.
    pub done: Option<oneshot::Sender<bool>>,
}

/// Writes events.
pub struct Writer {
    pool: Pool,
    queue: mpsc::Receiver<Handover>,
    /// Events that nobody waits for any more, to be written when the database is back.
    backlog: VecDeque<Arc<Event>>,
    batch: usize,
    capacity: usize,
    deadline: Duration,
    dropped: u64,
}

impl Writer {
    /// A writer, and the queue that feeds it. `pool` should be its own: requests must not starve it of connections.
    pub(super) fn new(pool: Pool, config: &config::Events) -> (Self, mpsc::Sender<Handover>) {
        let (sender, queue) = mpsc::channel(config.queue);
        let writer = Self {
            pool,
            queue,
            backlog: VecDeque::new(),
            batch: config.batch,
            capacity: config.queue,
            deadline: Duration::from_millis(config.commit_deadline_ms),
            dropped: 0,
        };
        (writer, sender)
    }

    /// Runs until `stop`, and then until everything handed over is written (or the database stays away).
    pub fn spawn(self, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(self.run(stop))
    }

    async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(self.batch);
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                received = self.queue.recv_many(&mut batch, self.batch) => {
                    if received == 0 { break; }
                }
                () = tokio::time::sleep(pause), if !self.backlog.is_empty() => {}
                () = stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
            let committed = self.write(&mut batch).await;
            pause = if committed { Duration::ZERO } else { (pause * 2).clamp(RETRY_FIRST, RETRY_LATER) };
        }
        // The last chance for events that waited for the database: a bounded one, so that a stop is a stop.
        while !self.backlog.is_empty() && self.write(&mut batch).await {}
        if !self.backlog.is_empty() {
            tracing::error!(events = self.backlog.len(), "events were lost: the database is away and the server stops");
        }
    }

    /// Writes what has gathered and a part of the backlog; answers whether the database took it.
    async fn write(&mut self, batch: &mut Vec<Handover>) -> bool {
        let overdue = self.backlog.len().min(self.batch);
        // A later word about the same event counts; a statement could not say both.
        let mut order: Vec<Uuid> = Vec::with_capacity(overdue + batch.len());
        let mut latest: HashMap<Uuid, Arc<Event>> = HashMap::with_capacity(overdue + batch.len());
        for event in self.backlog.iter().take(overdue).chain(batch.iter().map(|handover| &handover.event)) {
            if latest.insert(event.id, event.clone()).is_none() {
                order.push(event.id);
            }
        }
        let events: Vec<Arc<Event>> = order.iter().filter_map(|id| latest.remove(id)).collect();
        if events.is_empty() {
            return true;
        }

        match self.insert(&events).await {
            Ok(()) => {
                self.backlog.drain(..overdue);
                for done in batch.drain(..).filter_map(|handover| handover.done) {
                    // Whoever hung up meanwhile does not need to know.
                    let _ = done.send(true);
                }
                true
            }
            Err(reason) => {
                tracing::warn!(
                    events = events.len(),
                    backlog = self.backlog.len(),
                    reason,
                    "events could not be written yet"
                );
                for Handover { event, done } in batch.drain(..) {
                    // Who still waits is told, answers 503 and hands over what it told its client. Who does not wait
                    // has had the last word: that is kept.
                    if done.is_none_or(|done| done.send(false).is_err()) {
                        self.keep(event);
                    }
                }
                false
            }
        }
    }

    async fn insert(&self, events: &[Arc<Event>]) -> Result<(), String> {
        let insert = async {
            let mut connection = self.pool.acquire().await?;
            store::insert_batch(&mut connection, events).await
        };
        match tokio::time::timeout(self.deadline, insert).await {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer from the database within {:?}", self.deadline)),
        }
    }

    fn keep(&mut self, event: Arc<Event>) {
        if self.backlog.len() < self.capacity {
            self.backlog.push_back(event);
        } else {
            self.dropped += 1;
            tracing::error!(event = %event.id, dropped = self.dropped, "an event was dropped: too many wait already");
        }
    }
}

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LATER: Duration = Duration::from_secs(1);
