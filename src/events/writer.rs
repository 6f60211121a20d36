//! Group commit: collects events, has a batch inserted in one statement, wakes those who wait. Knows no HTTP.
//!
//! While one batch is on its way to the disk, the next one gathers by itself, so a lone request waits for one commit and a
//! thousand requests share one. When as many wait as are under way, they go on their way too: one statement computes while
//! the other one waits for the disk. The queue has a bound: when it is full, requests wait at the door.
//!
//! Events that are new never share a statement with those that may be in the table already, in whose row another transaction
//! may hold them up. Of these, in turn, those that somebody waits for do not share one with those that have failed before.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Event;
use super::pen::{Failure, Pen};
use super::store::Claim;
use super::trouble::Trouble;
use crate::config;
use crate::db::Pool;
use crate::db::pulse::Pulse;
use crate::metrics::Metrics;

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
    /// New events, taken from the queue and not in a statement yet.
    new: Vec<Handover>,
    /// The same of events that may be in the table, and that somebody waits for.
    known: Vec<Handover>,
    overdue: Overdue,
    /// Statements on their way to the disk.
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Batch> + Send>>>,
    /// How many statements there may be; how many there are of new events, and whether there is one of others.
    side_by_side: usize,
    new_under_way: usize,
    is_other_under_way: bool,
    /// Whether the others were served last, so that new events begin before them.
    is_turn_of_new: bool,
    /// Events of the statement of new ones that began last.
    last: usize,
    /// Events of all statements that are under way.
    in_doubt: usize,
    batch: usize,
    pulse: Pulse,
    trouble: Trouble,
    metrics: Metrics,
    pen: Arc<Pen>,
}

/// What nobody waits for any more, to be written when the database is back. Of one event the last word is enough.
struct Overdue {
    events: BTreeMap<Uuid, Handover>,
    most: usize,
    /// When they may be tried, how long they rested before, and whether others were served since they were.
    due: Instant,
    pause: Duration,
    is_their_turn: bool,
    /// The last one that was tried, and how many are tried next: fewer after a failure and those behind, because somebody
    /// may hold the row of one of them for long.
    tried: Uuid,
    portion: usize,
}

/// What a batch is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    New,
    Known,
    Overdue,
}

/// Events of one statement, and what became of them.
struct Batch {
    kind: Kind,
    handovers: Vec<Handover>,
    failures: HashMap<Uuid, Failure>,
}

impl Writer {
    /// A writer, and the queue that feeds it. It writes at most `side_by_side` statements at once, each on a connection of
    /// its own: requests must not starve it of those of `pool`.
    pub(super) fn new(
        pool: Pool,
        side_by_side: usize,
        pulse: Pulse,
        config: &config::Events,
        trouble: Trouble,
        metrics: Metrics,
    ) -> (Self, mpsc::Sender<Handover>) {
        let (sender, queue) = mpsc::channel(config.queue);
        let deadline = Duration::from_millis(config.commit_deadline_ms);
        let pen = Arc::new(Pen::new(pool, pulse.clone(), deadline, trouble.clone(), metrics.clone()));
        let writer = Self {
            queue,
            new: Vec::new(),
            known: Vec::new(),
            overdue: Overdue::new(config.queue, config.batch),
            under_way: FuturesUnordered::new(),
            side_by_side,
            new_under_way: 0,
            is_other_under_way: false,
            is_turn_of_new: false,
            last: 0,
            in_doubt: 0,
            batch: config.batch,
            pulse,
            trouble,
            metrics,
            pen,
        };
        (writer, sender)
    }

    /// Runs until `stop`, and then until everything handed over is written. How long the latter may take is up to the
    /// caller: dropped before, the writer tells the log what is lost.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut is_open = true;
        while is_open || !self.is_idle() {
            let room = self.batch.saturating_sub(self.new.len());
            let may_try = !self.overdue.events.is_empty() && self.may_begin_other();
            tokio::select! {
                biased;
                Some(batch) = self.under_way.next(), if !self.under_way.is_empty() => self.settle(batch),
                received = self.queue.recv_many(&mut self.new, room), if is_open && room > 0 => {
                    is_open = received > 0;
                    self.sort(received);
                }
                () = returned(&self.pulse, self.overdue.due), if may_try => {}
                () = stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
            if self.is_turn_of_new {
                self.begin_new();
                self.begin_other();
            } else {
                self.begin_other();
                self.begin_new();
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.new.is_empty() && self.known.is_empty() && self.overdue.events.is_empty() && self.under_way.is_empty()
    }

    /// Takes what is not new out of the events that were received last.
    fn sort(&mut self, received: usize) {
        let first = self.new.len() - received;
        for handover in self.new.extract_if(first.., |handover| !handover.is_new) {
            match handover.done {
                Some(done) if self.known.len() >= self.overdue.most => _ = done.send(Fate::Unknown),
                Some(_) => self.known.push(handover),
                None => self.overdue.keep(handover, &self.trouble),
            }
        }
    }

    /// Begins a statement of new events, if there are any and a second statement would be worth it: it is, when it carries as
    /// much as the one that is under way. Smaller ones would only share the same work among more commits.
    fn begin_new(&mut self) {
        let waiting = self.new.len();
        // One connection is for the others, if there is a second one.
        let most = self.side_by_side.saturating_sub(1).max(1);
        let is_worth_it = match self.new_under_way {
            0 => waiting > 0,
            _ => waiting >= self.last.max(WORTH_A_STATEMENT),
        };
        if is_worth_it && self.new_under_way < most && self.under_way.len() < self.side_by_side {
            self.last = waiting;
            self.new_under_way += 1;
            let handovers = std::mem::take(&mut self.new);
            self.write(Kind::New, handovers);
        }
    }

    fn may_begin_other(&self) -> bool {
        !self.is_other_under_way && self.under_way.len() < self.side_by_side
    }

    /// Begins a statement of events that may be in the table, if there is none.
    fn begin_other(&mut self) {
        if !self.may_begin_other() {
            return;
        }
        let is_due = self.overdue.are_due(self.pulse.is_here());
        if is_due && (self.overdue.is_their_turn || self.known.is_empty()) {
            self.overdue.is_their_turn = false;
            let handovers = self.overdue.take();
            self.write(Kind::Overdue, handovers);
        } else if !self.known.is_empty() {
            self.overdue.is_their_turn = true;
            let portion = self.known.len().min(self.batch);
            let handovers = self.known.drain(..portion).collect();
            self.write(Kind::Known, handovers);
        }
    }

    fn write(&mut self, kind: Kind, handovers: Vec<Handover>) {
        self.is_other_under_way |= kind != Kind::New;
        self.in_doubt += handovers.len();
        let pen = self.pen.clone();
        self.under_way.push(Box::pin(async move {
            let failures = pen.write(&claims(&handovers), kind == Kind::New).await;
            Batch { kind, handovers, failures }
        }));
    }

    /// Tells those who wait for a batch what became of it, and keeps what has to be tried again.
    fn settle(&mut self, batch: Batch) {
        let Batch { kind, handovers, failures } = batch;
        // A refusal is an answer: there is nothing to wait for before the rest is tried.
        let is_written = !failures.values().any(|failure| *failure == Failure::Away);
        self.in_doubt -= handovers.len();
        self.is_turn_of_new = kind != Kind::New;
        match kind {
            Kind::New => self.new_under_way -= 1,
            Kind::Known => self.is_other_under_way = false,
            Kind::Overdue => {
                self.is_other_under_way = false;
                self.overdue.were_tried(is_written, handovers.len(), self.batch);
            }
        }
        for mut handover in handovers {
            let failure = failures.get(&handover.event.id);
            let fate = match failure {
                None => Fate::Committed,
                Some(Failure::Outdated) => Fate::Outdated,
                Some(Failure::Refused | Failure::Away) => Fate::Unknown,
            };
            // Who still waits is told, and where it failed answers otherwise and hands over what it told its client. Who
            // does not wait has had the last word: that is kept.
            let is_told = handover.done.take().is_some_and(|done| done.send(fate).is_ok());
            match failure {
                Some(Failure::Away) if !is_told => self.overdue.keep(handover, &self.trouble),
                Some(Failure::Outdated) if !is_told => {
                    // The answer did not leave.
                    handover.event = Arc::new(handover.event.unheard());
                    self.overdue.keep(handover, &self.trouble);
                }
                Some(Failure::Refused) if !is_told => self.metrics.event_dropped(),
                _ => {}
            }
        }
        self.metrics.events_wait(self.overdue.events.len());
        if self.is_idle() && self.queue.is_empty() {
            self.trouble.settle();
        }
    }
}

impl Overdue {
    fn new(most: usize, portion: usize) -> Self {
        Self {
            events: BTreeMap::new(),
            most,
            due: Instant::now(),
            pause: Duration::ZERO,
            is_their_turn: true,
            tried: Uuid::nil(),
            portion,
        }
    }

    fn keep(&mut self, handover: Handover, trouble: &Trouble) {
        let room = self.events.len() < self.most;
        // It may be in the table by now, and has left whatever it rests on.
        let last_word = Handover { version: None, is_new: false, ..handover };
        match self.events.entry(last_word.event.id) {
            Entry::Occupied(mut kept) if kept.get().event.ended_at <= last_word.event.ended_at => {
                kept.insert(last_word);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(place) if room => {
                place.insert(last_word);
            }
            Entry::Vacant(_) => trouble.drop_one(),
        }
    }

    fn are_due(&self, is_database_here: bool) -> bool {
        !self.events.is_empty() && is_database_here && self.due <= Instant::now()
    }

    /// The next ones to try.
    fn take(&mut self) -> Vec<Handover> {
        let behind = self.events.range((Bound::Excluded(self.tried), Bound::Unbounded));
        let in_front = self.events.range(..=self.tried);
        let next: Vec<Uuid> = behind.chain(in_front).map(|(id, _)| *id).take(self.portion).collect();
        self.tried = next.last().copied().unwrap_or_default();
        next.iter().filter_map(|id| self.events.remove(id)).collect()
    }

    fn were_tried(&mut self, is_written: bool, tried: usize, most: usize) {
        if is_written {
            (self.pause, self.portion) = (Duration::ZERO, (self.portion * 2).min(most));
        } else {
            self.pause = (self.pause * 2).clamp(RETRY_FIRST, RETRY_LATER);
            self.portion = (tried / 2).max(1);
        }
        self.due = Instant::now() + self.pause;
    }
}

/// What is written of these. In the order of ids, so that two statements with the same rows do not wait for each other. Of the
/// same event the later word counts; a statement could not say both.
fn claims(handovers: &[Handover]) -> Vec<Claim> {
    let claim = |handover: &Handover| Claim { event: handover.event.clone(), version: handover.version };
    let mut claims: Vec<Claim> = handovers.iter().map(claim).collect();
    claims.sort_by_key(|claim| (claim.event.id, claim.event.ended_at));
    claims.dedup_by(|later, earlier| {
        let is_same = later.event.id == earlier.event.id;
        if is_same {
            std::mem::swap(later, earlier);
        }
        is_same
    });
    claims
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A statement that is under way may still be executed: nobody will know.
        let gathered = self.new.len() + self.known.len() + self.queue.len();
        let events = self.overdue.events.len() + gathered + self.in_doubt;
        if events > 0 {
            tracing::error!(events, "events were lost: the database did not take them before the server stopped");
        }
    }
}

/// Waits until `due`, and until the database is there.
async fn returned(pulse: &Pulse, due: Instant) {
    tokio::time::sleep_until(due).await;
    pulse.here().await;
}

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LATER: Duration = Duration::from_secs(1);

/// Events for which a second statement is begun beside another.
const WORTH_A_STATEMENT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn overdue(ids: impl IntoIterator<Item = u128>, portion: usize) -> Overdue {
        let mut overdue = Overdue::new(10, portion);
        let trouble = Trouble::none(Metrics::default());
        for id in ids {
            overdue.keep(handover(id), &trouble);
        }
        overdue
    }

    fn handover(id: u128) -> Handover {
        let event = Arc::new(Event { id: Uuid::from_u128(id), ..Event::example() });
        Handover { event, version: None, is_new: false, done: None, _place: None }
    }

    fn next(overdue: &mut Overdue) -> Vec<u128> {
        overdue.take().iter().map(|handover| handover.event.id.as_u128()).collect()
    }

    #[test]
    fn an_event_that_cannot_be_written_for_long_does_not_hold_up_the_others_for_long() {
        let trouble = Trouble::none(Metrics::default());
        let mut overdue = overdue(1..=6, 4);
        let mut written = Vec::new();
        // Somebody holds the row of the first.
        for _ in 0..10 {
            let tried = next(&mut overdue);
            let is_written = !tried.contains(&1);
            overdue.were_tried(is_written, tried.len(), 4);
            if is_written {
                written.extend(tried);
            } else {
                tried.into_iter().for_each(|id| overdue.keep(handover(id), &trouble));
            }
        }
        written.sort_unstable();
        assert_eq!(written, [2, 3, 4, 5, 6]);
        assert_eq!(next(&mut overdue), [1]);
    }
}
