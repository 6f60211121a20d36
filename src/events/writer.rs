//! Group commit: collects events, inserts a batch in one statement, wakes those who wait. Knows no HTTP.
//!
//! While one batch is on its way to the disk, the next one gathers by itself, so a lone request waits for one commit and a
//! thousand requests share one. When as many wait as are under way, they go on their way too: one statement computes while
//! the other one waits for the disk. The queue has a bound: when it is full, requests wait at the door.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
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
    /// Whether nothing of its id can be in the table, or on its way there.
    pub is_new: bool,
    /// Told what became of the event; absent when nobody waits.
    pub done: Option<oneshot::Sender<Fate>>,
    /// What it takes of `events.queue` until it is written, where answers do not wait.
    pub _place: Option<OwnedSemaphorePermit>,
}

impl Handover {
    /// The same to be tried again: it may be in the table by now, and has left whatever it rests on.
    fn last_word(self) -> Self {
        Self { version: None, is_new: false, ..self }
    }
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
    queue: mpsc::Receiver<Handover>,
    /// Taken from the queue, and not in a statement yet.
    gathered: Vec<Handover>,
    /// Statements on their way to the disk.
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Batch> + Send>>>,
    /// How many there may be, and events of the one that began last, and of all of them.
    side_by_side: usize,
    last: usize,
    in_doubt: usize,
    /// What nobody waits for any more, to be written when the database is back. Of one event the last word is enough.
    backlog: BTreeMap<Uuid, Handover>,
    batch: usize,
    capacity: usize,
    pen: Arc<Pen>,
}

/// What a statement is written with.
struct Pen {
    pool: Pool,
    pulse: Pulse,
    deadline: Duration,
    trouble: Trouble,
    metrics: Metrics,
}

/// Events of one statement, and what became of them.
#[derive(Default)]
struct Batch {
    handovers: Vec<Handover>,
    failures: HashMap<Uuid, Failure>,
}

impl Writer {
    /// A writer, and the queue that feeds it. `pool` should be its own: requests must not starve it of connections. It writes
    /// as many statements at once as `pool` has connections.
    pub(super) fn new(
        pool: Pool,
        pulse: Pulse,
        config: &config::Events,
        trouble: Trouble,
        metrics: Metrics,
    ) -> (Self, mpsc::Sender<Handover>) {
        let (sender, queue) = mpsc::channel(config.queue);
        let side_by_side = pool.most();
        let deadline = Duration::from_millis(config.commit_deadline_ms);
        let writer = Self {
            queue,
            gathered: Vec::new(),
            under_way: FuturesUnordered::new(),
            side_by_side,
            last: 0,
            in_doubt: 0,
            backlog: BTreeMap::new(),
            batch: config.batch,
            capacity: config.queue,
            pen: Arc::new(Pen { pool, pulse, deadline, trouble, metrics }),
        };
        (writer, sender)
    }

    /// Runs until `stop`, and then until everything handed over is written. How long the latter may take is up to the
    /// caller: dropped before, the writer tells the log what is lost.
    pub async fn run(mut self, stop: CancellationToken) {
        let (mut pause, mut is_open) = (Duration::ZERO, true);
        while is_open || !self.is_idle() {
            let room = self.batch.saturating_sub(self.gathered.len());
            let mut is_due = false;
            tokio::select! {
                biased;
                Some(batch) = self.under_way.next(), if !self.under_way.is_empty() => {
                    let committed = self.settle(batch);
                    pause = if committed { Duration::ZERO } else { (pause * 2).clamp(RETRY_FIRST, RETRY_LATER) };
                }
                received = self.queue.recv_many(&mut self.gathered, room), if is_open && room > 0 => {
                    is_open = received > 0;
                }
                () = returned(&self.pen.pulse, pause), if !self.backlog.is_empty() && self.under_way.is_empty() => {
                    is_due = true;
                }
                () = stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
            self.begin(is_due);
        }
    }

    fn is_idle(&self) -> bool {
        self.gathered.is_empty() && self.backlog.is_empty() && self.under_way.is_empty()
    }

    /// Begins a statement, if there is something to write and a second statement would be worth it: it is, when it carries
    /// as much as the one that is under way. Smaller ones would only share the same work among more commits.
    fn begin(&mut self, is_due: bool) {
        let waiting = self.gathered.len();
        let may_begin = match self.under_way.len() {
            0 => waiting > 0 || is_due,
            busy => busy < self.side_by_side && waiting >= self.last.max(WORTH_A_STATEMENT),
        };
        if !may_begin {
            return;
        }
        // Events of earlier go along with the first statement, and not with two.
        let overdue = if self.under_way.is_empty() { self.batch } else { 0 };
        let mut handovers: Vec<Handover> =
            std::iter::from_fn(|| Some(self.backlog.pop_first()?.1)).take(overdue).collect();
        handovers.append(&mut self.gathered);
        let batch = Batch { handovers, ..Batch::default() };
        self.last = waiting;
        self.in_doubt += batch.handovers.len();
        self.under_way.push(Box::pin(self.pen.clone().write(batch)));
    }

    /// Tells those who wait for a batch what became of it, and keeps what has to be tried again; answers whether the
    /// database took it.
    fn settle(&mut self, batch: Batch) -> bool {
        let Batch { handovers, failures } = batch;
        self.in_doubt -= handovers.len();
        for mut handover in handovers {
            let failure = failures.get(&handover.event.id);
            let fate = match failure {
                None => Fate::Committed,
                Some(Failure::Outdated) => Fate::Outdated,
                Some(Failure::Refused | Failure::Away) => Fate::Unknown,
            };
            // Who still waits is told, and where it failed answers 503 and hands over what it told its client. Who does
            // not wait has had the last word: that is kept.
            let is_told = handover.done.take().is_some_and(|done| done.send(fate).is_ok());
            if !is_told && matches!(failure, Some(Failure::Away)) {
                self.keep(handover);
            }
        }
        self.pen.metrics.events_wait(self.backlog.len());
        if self.is_idle() && self.queue.is_empty() {
            self.pen.trouble.settle();
        }
        // A refusal is an answer: there is nothing to wait for before the rest is tried.
        !failures.values().any(|failure| matches!(failure, Failure::Away))
    }

    fn keep(&mut self, handover: Handover) {
        let room = self.backlog.len() < self.capacity;
        match self.backlog.entry(handover.event.id) {
            Entry::Occupied(mut kept) if kept.get().event.ended_at <= handover.event.ended_at => {
                kept.insert(handover.last_word());
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(place) if room => {
                place.insert(handover.last_word());
            }
            Entry::Vacant(_) => self.pen.trouble.drop_one(),
        }
    }
}

impl Pen {
    async fn write(self: Arc<Self>, mut batch: Batch) -> Batch {
        let claim = |handover: &Handover| Claim { event: handover.event.clone(), version: handover.version };
        let mut claims: Vec<Claim> = batch.handovers.iter().map(claim).collect();
        // In the order of ids, so that two statements with the same rows do not wait for each other. Of the same event the later
        // word counts; a statement could not say both.
        claims.sort_by_key(|claim| (claim.event.id, claim.event.ended_at));
        claims.dedup_by(|later, earlier| {
            let is_same = later.event.id == earlier.event.id;
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
        let is_new = batch.handovers.iter().all(|handover| handover.is_new);
        batch.failures = match self.insert(&claims, is_new).await {
            Ok(outdated) => outdated.into_iter().map(|id| (id, Failure::Outdated)).collect(),
            Err(Failure::Away) => claims.iter().map(|claim| (claim.event.id, Failure::Away)).collect(),
            Err(_) => self.insert_each(&claims).await,
        };
        batch
    }

    /// The way around an event that the table will not take, whatever the reason: one bad row must not hold up
    /// everybody's. Answers those that failed.
    async fn insert_each(&self, claims: &[Claim]) -> HashMap<Uuid, Failure> {
        let mut failures = HashMap::new();
        for (position, claim) in claims.iter().enumerate() {
            match self.insert(slice::from_ref(claim), false).await {
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
    async fn insert(&self, claims: &[Claim], is_new: bool) -> Result<Vec<Uuid>, Failure> {
        let insert = async {
            let mut connection = self.pool.acquire().await?;
            if is_new {
                store::insert_batch(&mut connection, claims).await
            } else {
                store::insert_again(&mut connection, claims).await
            }
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
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A statement that is under way may still be executed: nobody will know.
        let events = self.backlog.len() + self.gathered.len() + self.queue.len() + self.in_doubt;
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

/// Events for which a second statement is begun beside another.
const WORTH_A_STATEMENT: usize = 16;
