//! Group commit: collects events, inserts a batch in one statement, wakes those who wait. Knows no HTTP.
//!
//! One task. While one batch is on its way to the disk, the next one gathers by itself, so a lone request waits for one
//! commit and a thousand requests share one. The queue has a bound: when it is full, requests wait at the door.

use std::collections::{HashMap, VecDeque};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::trouble::Trouble;
use super::{Event, store};
use crate::config;
use crate::db::pulse::Pulse;
use crate::db::{self, Meaning, Pool};
use crate::metrics::{Metrics, WriteFailure};

/// An event on its way to the table.
pub(super) struct Handover {
    pub event: Arc<Event>,
    /// Told whether the event is committed; absent when nobody waits.
    pub done: Option<oneshot::Sender<bool>>,
}

/// Writes events.
pub struct Writer {
    pool: Pool,
    pulse: Pulse,
    queue: mpsc::Receiver<Handover>,
    /// Taken from the queue, and being written.
    gathered: Vec<Handover>,
    /// Events that nobody waits for any more, to be written when the database is back.
    backlog: VecDeque<Arc<Event>>,
    batch: usize,
    capacity: usize,
    deadline: Duration,
    trouble: Trouble,
    metrics: Metrics,
}

impl Writer {
    /// A writer, and the queue that feeds it. `pool` should be its own: requests must not starve it of connections.
    pub(super) fn new(
        pool: Pool,
        pulse: Pulse,
        config: &config::Events,
        trouble: Trouble,
        metrics: Metrics,
    ) -> (Self, mpsc::Sender<Handover>) {
        let (sender, queue) = mpsc::channel(config.queue);
        let writer = Self {
            pool,
            pulse,
            queue,
            gathered: Vec::new(),
            backlog: VecDeque::new(),
            batch: config.batch,
            capacity: config.queue,
            deadline: Duration::from_millis(config.commit_deadline_ms),
            trouble,
            metrics,
        };
        (writer, sender)
    }

    /// Runs until `stop`, and then until everything handed over is written. How long the latter may take is up to the
    /// caller: dropped before, the writer tells the log what is lost.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                received = self.queue.recv_many(&mut self.gathered, self.batch) => {
                    if received == 0 { break; }
                }
                () = returned(&self.pulse, pause), if !self.backlog.is_empty() => {}
                () = stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
            let committed = self.write().await;
            pause = if committed { Duration::ZERO } else { (pause * 2).clamp(RETRY_FIRST, RETRY_LATER) };
        }
        // The last chance for events that waited for the database.
        while !self.backlog.is_empty() {
            returned(&self.pulse, pause).await;
            let committed = self.write().await;
            pause = if committed { Duration::ZERO } else { RETRY_FIRST };
        }
    }

    /// Writes what has gathered and a part of the backlog; answers whether the database took it.
    async fn write(&mut self) -> bool {
        let overdue = self.backlog.len().min(self.batch);
        // A later word about the same event counts; a statement could not say both.
        let mut order: Vec<Uuid> = Vec::with_capacity(overdue + self.gathered.len());
        let mut latest: HashMap<Uuid, Arc<Event>> = HashMap::with_capacity(overdue + self.gathered.len());
        for event in self.backlog.iter().take(overdue).chain(self.gathered.iter().map(|handover| &handover.event)) {
            if latest.insert(event.id, event.clone()).is_none() {
                order.push(event.id);
            }
        }
        let events: Vec<Arc<Event>> = order.iter().filter_map(|id| latest.remove(id)).collect();
        if events.is_empty() {
            return true;
        }

        let failures = match self.insert(&events).await {
            Ok(()) => HashMap::new(),
            Err(Failure::Refused) => self.insert_each(&events).await,
            Err(Failure::Away) => events.iter().map(|event| (event.id, Failure::Away)).collect(),
        };
        let is_away = |id: &Uuid| matches!(failures.get(id), Some(Failure::Away));
        let waiting: Vec<_> = self.backlog.drain(..overdue).filter(|event| is_away(&event.id)).collect();
        for event in waiting.into_iter().rev() {
            self.backlog.push_front(event);
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        for Handover { event, done } in gathered.drain(..) {
            // Who still waits is told, and where it failed answers 503 and hands over what it told its client. Who does
            // not wait has had the last word: that is kept.
            let is_told = done.is_some_and(|done| done.send(!failures.contains_key(&event.id)).is_ok());
            if !is_told && is_away(&event.id) {
                self.keep(event);
            }
        }
        // Its memory is used again.
        self.gathered = gathered;
        self.metrics.events_wait(self.backlog.len());
        if self.backlog.is_empty() && self.queue.is_empty() {
            self.trouble.settle();
        }
        // A refusal is an answer: there is nothing to wait for before the rest is tried.
        !failures.values().any(|failure| matches!(failure, Failure::Away))
    }

    /// The way around an event that the table will not take, whatever the reason: one bad row must not hold up
    /// everybody's. Answers those that failed.
    async fn insert_each(&self, events: &[Arc<Event>]) -> HashMap<Uuid, Failure> {
        let mut failures = HashMap::new();
        for (position, event) in events.iter().enumerate() {
            match self.insert(slice::from_ref(event)).await {
                Ok(()) => {}
                Err(Failure::Refused) => {
                    self.metrics.event_dropped();
                    failures.insert(event.id, Failure::Refused);
                }
                // Not to be waited for once more for each of the rest.
                Err(Failure::Away) => {
                    failures.extend(events[position..].iter().map(|event| (event.id, Failure::Away)));
                    break;
                }
            }
        }
        failures
    }

    async fn insert(&self, events: &[Arc<Event>]) -> Result<(), Failure> {
        let insert = async {
            let mut connection = self.pool.acquire().await?;
            store::insert_batch(&mut connection, events).await
        };
        let (events, began) = (events.len(), Instant::now());
        // Nobody is kept waiting by a database that is known to be away; its pulse has told the log.
        let Ok(outcome) = self.pulse.during(tokio::time::timeout(self.deadline, insert)).await else {
            self.metrics.events_not_written(WriteFailure::Away);
            return Err(Failure::Away);
        };
        match outcome {
            Ok(Ok(())) => {
                self.metrics.events_written(events, began.elapsed());
                self.trouble.end();
                Ok(())
            }
            Ok(Err(error)) if db::meaning(&error) == Meaning::Fault => {
                self.metrics.events_not_written(WriteFailure::Refused);
                self.trouble.end();
                tracing::error!(events, %error, "events were refused; a single one is dropped, more are tried one by one");
                Err(Failure::Refused)
            }
            Ok(Err(error)) => {
                self.metrics.events_not_written(WriteFailure::Away);
                self.trouble.begin(events, &error);
                Err(Failure::Away)
            }
            Err(_) => {
                self.metrics.events_not_written(WriteFailure::Away);
                self.trouble.begin(events, &format_args!("no answer within {:?}", self.deadline));
                Err(Failure::Away)
            }
        }
    }

    fn keep(&mut self, event: Arc<Event>) {
        if self.backlog.len() < self.capacity {
            self.backlog.push_back(event);
        } else {
            self.trouble.drop_one();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let events = self.backlog.len() + self.gathered.len() + self.queue.len();
        if events > 0 {
            tracing::error!(events, "events were lost: the database did not take them before the server stopped");
        }
    }
}

/// Waits at least for `pause`, and until the database is there.
async fn returned(pulse: &Pulse, pause: Duration) {
    tokio::time::sleep(pause).await;
    pulse.here().await;
}

/// Why a statement did not insert its events.
enum Failure {
    /// The database cannot be reached, or does not answer: worth another try.
    Away,
    /// The database will not have them: another try would end the same way.
    Refused,
}

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LATER: Duration = Duration::from_secs(1);
