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

use super::Event;
use super::store::{self, Claim};
use super::trouble::Trouble;
use crate::config;
use crate::db::pulse::Pulse;
use crate::db::{self, Meaning, Pool};
use crate::metrics::{Metrics, WriteFailure};

/// An event on its way to the table.
pub(super) struct Handover {
    pub event: Arc<Event>,
    /// The version of its user's row on which the answer rests: the event is written if the row still has it.
    pub version: Option<i64>,
    /// Told what became of the event; absent when nobody waits.
    pub done: Option<oneshot::Sender<Fate>>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in the table, and will be after a crash.
    Committed,
    /// It was not written: what its answer rests on has changed.
    Outdated,
    /// It is not known to be in the table.
    Unknown,
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
        let mut latest: HashMap<Uuid, Claim> = HashMap::with_capacity(overdue + self.gathered.len());
        let overdue_events = self.backlog.iter().take(overdue).map(|event| (event, None));
        let gathered_events = self.gathered.iter().map(|handover| (&handover.event, handover.version));
        for (event, version) in overdue_events.chain(gathered_events) {
            if latest.insert(event.id, Claim { event: event.clone(), version }).is_none() {
                order.push(event.id);
            }
        }
        let claims: Vec<Claim> = order.iter().filter_map(|id| latest.remove(id)).collect();
        if claims.is_empty() {
            return true;
        }

        let failures = match self.insert(&claims).await {
            Ok(outdated) => outdated.into_iter().map(|id| (id, Failure::Outdated)).collect(),
            Err(Failure::Away) => claims.iter().map(|claim| (claim.event.id, Failure::Away)).collect(),
            Err(_) => self.insert_each(&claims).await,
        };
        let is_away = |id: &Uuid| matches!(failures.get(id), Some(Failure::Away));
        let waiting: Vec<_> = self.backlog.drain(..overdue).filter(|event| is_away(&event.id)).collect();
        for event in waiting.into_iter().rev() {
            self.backlog.push_front(event);
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        for Handover { event, done, .. } in gathered.drain(..) {
            let fate = match failures.get(&event.id) {
                None => Fate::Committed,
                Some(Failure::Outdated) => Fate::Outdated,
                Some(Failure::Refused | Failure::Away) => Fate::Unknown,
            };
            // Who still waits is told, and where it failed answers 503 and hands over what it told its client. Who does
            // not wait has had the last word: that is kept.
            let is_told = done.is_some_and(|done| done.send(fate).is_ok());
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
    async fn insert_each(&self, claims: &[Claim]) -> HashMap<Uuid, Failure> {
        let mut failures = HashMap::new();
        for (position, claim) in claims.iter().enumerate() {
            match self.insert(slice::from_ref(claim)).await {
                Ok(outdated) => failures.extend(outdated.into_iter().map(|id| (id, Failure::Outdated))),
                // Not to be waited for once more for each of the rest.
                Err(Failure::Away) => {
                    failures.extend(claims[position..].iter().map(|claim| (claim.event.id, Failure::Away)));
                    break;
                }
                Err(refused) => {
                    self.metrics.event_dropped();
                    failures.insert(claim.event.id, refused);
                }
            }
        }
        failures
    }

    /// Inserts events in one statement; answers those whose answers were outdated.
    async fn insert(&self, claims: &[Claim]) -> Result<Vec<Uuid>, Failure> {
        let insert = async {
            let mut connection = self.pool.acquire().await?;
            store::insert_batch(&mut connection, claims).await
        };
        let (events, began) = (claims.len(), Instant::now());
        // Nobody is kept waiting by a database that is known to be away; its pulse has told the log.
        let Ok(outcome) = self.pulse.during(tokio::time::timeout(self.deadline, insert)).await else {
            self.metrics.events_not_written(WriteFailure::Away);
            return Err(Failure::Away);
        };
        match outcome {
            Ok(Ok(outdated)) => {
                self.metrics.events_written(events - outdated.len(), began.elapsed());
                self.trouble.end();
                Ok(outdated)
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

/// Why a statement did not insert an event.
enum Failure {
    /// The answer that it tells of rests on something that has changed.
    Outdated,
    /// The database cannot be reached, or does not answer: worth another try.
    Away,
    /// The database will not have them: another try would end the same way.
    Refused,
}

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LATER: Duration = Duration::from_secs(1);
