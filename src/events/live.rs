//! Follows events while they come: each once and none left out, whichever server wrote it, and whatever the order of commits.
//!
//! Events are handed out in the order of (transaction, id), and only those whose transaction is older than every one in
//! progress: nothing can come before them any more. So the last one that a client saw is all that it needs to go on, with any
//! server. A transaction of somebody else that changes something and takes its time holds everybody up for as long, and loses
//! nothing; those that only read (a backup) have no number and hold up nobody.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::feed::MOST_LOOKED_AT;
use super::store::{self, Moment, Place, Present, Range, Stretch};
use super::{Event, EventId, Events, Filter, Order, Patience, first_id, instant};
use crate::error::{Code, Error, Problem, Result};
use crate::ratelimit::{Share, Shares};
use crate::users::UserId;

/// How often Postgres is asked for news, for all streams of this server together.
pub const PERIOD: Duration = Duration::from_millis(500);

/// Streams of one user at once, at this server: each counts for itself.
const AT_ONCE: usize = 5;

/// Events handed out at once, which is what a slow reader holds in memory.
const STEP: i64 = 100;

/// Rows that are looked at for a step as long as most of them pass the filter; up to [`MOST_LOOKED_AT`] where few do.
const FIRST_LOOK: i64 = 10 * STEP;

/// An event that is written earlier than this before its instant, or later than that after it, says when it was (migration 0023).
const EARLY: TimeDelta = TimeDelta::seconds(1);
const LATE: TimeDelta = TimeDelta::seconds(3);

/// By how much the clock of Postgres may be set back, at once or by a standby that takes over.
const SLACK: TimeDelta = TimeDelta::seconds(2);

/// After such a time without a look nothing is made up for: streams that are older look for themselves.
const LONGEST_MEMORY: Duration = Duration::from_secs(60);

/// Longest time from the arrival of a statement to its first row, and more: the pool bounds statements at a minute.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(2);

/// All streams of this server.
#[derive(Clone)]
pub struct Live {
    events: Events,
    patience: Patience,
    places: Shares<UserId>,
    known: Arc<Mutex<Option<Known>>>,
}

/// The snapshot before the first transaction of any Postgres.
const NOTHING_SEEN: &str = "3:3:";

/// What was learned at the last look.
struct Known {
    looked_at: Instant,
    present: Present,
    /// A present before this one, such that no transaction from the horizon on had begun by then.
    passed: Present,
    /// The first present after that one: the next `passed`, as soon as the horizon is there.
    awaited: Present,
    /// The horizon at the first look, since when news are noted;
    first_horizon: i64,
    /// and the horizon at the look that last found events of a user.
    news: HashMap<UserId, i64>,
}

/// One who follows.
pub struct Stream {
    live: Live,
    user: UserId,
    filter: Range,
    position: Position,
    /// Rows to look at for the next step.
    look_at: i64,
    /// The snapshot of its beginning: what was committed by then is no news, although its turn comes later.
    seen: String,
    /// What was written before came with a backup.
    arrived_at: DateTime<Utc>,
    _place: Share<UserId>,
}

/// How far a stream is. Transactions that are still to be looked at began no earlier than `began`.
#[derive(Clone, Copy)]
enum Position {
    /// Everything of transactions before this one was handed out.
    Head { horizon: i64, began: DateTime<Utc> },
    /// Everything up to this place was handed out.
    Behind { place: Place, began: DateTime<Utc> },
    /// The last event came with a backup, whose transactions mean nothing here: by id, up to this horizon.
    Restored { last: Uuid, horizon: i64, began: DateTime<Utc> },
}

impl Live {
    /// Streams of these events.
    pub fn new(events: Events, patience: Patience) -> Self {
        Self { events, patience, places: Shares::new(AT_ONCE), known: Arc::default() }
    }

    /// Notes in which Postgres these tables are. To be done before anything is written to it.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn settle(connection: &mut PgConnection) -> Result<()> {
        Ok(store::insert_cluster(connection).await?)
    }

    /// Follows a user's events from now on, or from behind the last one that was seen. Of the filter, service and status
    /// count.
    ///
    /// # Errors
    /// `TooManyRequests` when too many streams are open, `ValidationFailed` when there is no such event of this user.
    pub async fn follow(&self, user: UserId, filter: &Filter, last: Option<EventId>) -> Result<Stream> {
        // First a place: from now on looks are for this user, too.
        let place = self.places.take(user)?;
        let Moment { began, snapshot, arrived_at } =
            store::find_moment(&mut *self.events.pool.acquire().await?).await?;
        let present = self.look(Duration::ZERO, |known| known.present).await?;
        let position = match last {
            None => Position::Head { horizon: present.horizon, began },
            Some(EventId(id)) => {
                let unknown = Problem::new("Last-Event-ID", "must be the id of an event of yours");
                let found = store::find_place(&mut *self.events.pool.acquire().await?, user, id).await?;
                let (place, written_at) = found.ok_or_else(|| Error::invalid(Code::ValidationFailed, unknown))?;
                if written_at.unwrap_or_else(|| instant(id)) < arrived_at {
                    Position::Restored { last: id, horizon: present.horizon, began }
                } else {
                    Position::Behind { place, began: beginning_of(id, written_at) }
                }
            }
        };
        let seen = if last.is_none() { snapshot } else { NOTHING_SEEN.to_owned() };
        let (live, filter) = (self.clone(), filter.range());
        Ok(Stream { live, user, filter, position, look_at: FIRST_LOOK, seen, arrived_at, _place: place })
    }

    /// What is known, looked at no longer than `age` before this is asked. Whoever comes first asks Postgres for all; the others
    /// wait without a connection, and share what was looked at meanwhile.
    async fn look<T>(&self, age: Duration, take: impl FnOnce(&Known) -> T) -> Result<T> {
        let asked_at = Instant::now();
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.looked_at + age >= asked_at) {
            return Ok(take(known));
        }
        let connection = &mut *self.events.pool.acquire().await?;
        let looked_at = Instant::now();
        let Some(last) = known.as_mut().filter(|known| known.looked_at.elapsed() < LONGEST_MEMORY) else {
            let began = store::find_moment(connection).await?.began;
            let present = store::find_present(connection).await?;
            let passed = Present { at: began, ..present };
            let (first_horizon, news) = (present.horizon, HashMap::new());
            let first = Known { looked_at, present, passed, awaited: present, first_horizon, news };
            return Ok(take(known.insert(first)));
        };
        let present = store::find_present(connection).await?;
        let users = self.places.holders();
        if present.horizon > last.present.horizon {
            let (from, since) = bounds(last.passed.at);
            let (first, horizon) = (last.present.horizon, present.horizon);
            let news = store::list_with_news(connection, &users, first, horizon, from, since).await?;
            last.news.extend(news.into_iter().map(|user| (user, horizon)));
        }
        let users: HashSet<UserId> = users.into_iter().collect();
        last.news.retain(|user, _| users.contains(user));
        (last.looked_at, last.present) = (looked_at, present);
        if present.horizon >= last.awaited.next {
            (last.passed, last.awaited) = (last.awaited, present);
        }
        Ok(take(last))
    }
}

impl Stream {
    /// The next events, none when there are none yet. Those that it answers count as handed out.
    ///
    /// # Errors
    /// As of [`Patience::bound`].
    pub async fn next(&mut self) -> Result<Vec<Event>> {
        loop {
            let patience = self.live.patience.clone();
            let (events, is_all) = patience.bound(self.read()).await??;
            // Where none of many pass the filter, there is more to look at.
            if is_all || !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// The next events, and whether these are all up to the horizon.
    async fn read(&mut self) -> Result<(Vec<Event>, bool)> {
        let user = self.user;
        let (present, passed, may_be_news) = self
            .live
            .look(PERIOD, |known| {
                let news = known.news.get(&user).copied().unwrap_or(0).max(known.first_horizon);
                let may_be_news = matches!(self.position, Position::Head { horizon, .. } if news > horizon);
                (known.present, known.passed.at, may_be_news)
            })
            .await?;
        let head = Position::Head { horizon: present.horizon, began: passed };
        if let Position::Head { horizon, .. } = self.position
            && !may_be_news
        {
            if present.horizon > horizon {
                self.position = head;
            }
            return Ok((Vec::new(), true));
        }
        let (place, began) = match self.position {
            Position::Head { horizon, began } => (Place { xact: horizon, id: Uuid::nil() }, began),
            Position::Behind { place, began } => (place, began),
            Position::Restored { last, horizon, began } => {
                let rest = Range { after: last, ..self.filter.clone() };
                let mut connection = self.live.events.pool.acquire().await?;
                let (first, since) = (first_id(self.arrived_at), self.arrived_at);
                let events = store::list_restored(&mut connection, user, &rest, first, since, horizon, STEP).await?;
                let is_all = events.is_empty();
                self.position = match events.last() {
                    Some(event) => Position::Restored { last: event.id, horizon, began },
                    None => Position::Head { horizon, began },
                };
                return Ok((events, is_all));
            }
        };

        if place.xact >= present.horizon {
            // Seen in a list, before its turn.
            return Ok((Vec::new(), true));
        }
        let mut connection = self.live.events.pool.acquire().await?;
        let Reach { place: reach, to, beyond } = self.reach(&mut connection, place, began, present.horizon).await?;
        let (from, since) = self.bounds(began);
        let stretch = Stretch { behind: place, reach, from, to, since, seen: &self.seen };
        let found = store::list_stretch(&mut connection, user, &stretch, &self.filter, STEP).await?;
        let is_whole = i64::try_from(found.len()).is_ok_and(|found| found < STEP);
        self.look_at = if is_whole && beyond.is_some() { (2 * self.look_at).min(MOST_LOOKED_AT) } else { FIRST_LOOK };
        self.position = match (found.last(), beyond) {
            (Some((place, written_at, _)), _) if !is_whole => {
                Position::Behind { place: *place, began: beginning_of(place.id, *written_at).max(began) }
            }
            (_, Some(began)) => Position::Behind { place: reach, began },
            (_, None) => head,
        };
        let is_all = matches!(self.position, Position::Head { .. });
        Ok((found.into_iter().map(|(_, _, event)| event).collect(), is_all))
    }

    /// Those of [`bounds`] within what was written here: the transactions of a backup have numbers of another Postgres.
    fn bounds(&self, began: DateTime<Utc>) -> (Uuid, DateTime<Utc>) {
        let (from, since) = bounds(began);
        (from.max(first_id(self.arrived_at)), since.max(self.arrived_at))
    }

    /// How far one can go from a place without looking at too much.
    ///
    /// Events that were written about their instant are in the order of their transactions, but for some seconds. So behind a
    /// row that many further there are none of the transactions before those seconds. The others have an index in that order.
    async fn reach(
        &self,
        connection: &mut PgConnection,
        place: Place,
        began: DateTime<Utc>,
        horizon: i64,
    ) -> Result<Reach> {
        let (from, since) = self.bounds(began);
        let late = store::find_late_place(connection, self.user, place, since, self.look_at).await?;
        let end = match late.filter(|(late, _)| late.xact < horizon) {
            Some((late, written_at)) => {
                let to = first_id(written_at + LONGEST_WAIT + EARLY + SLACK);
                Reach { place: late, to, beyond: Some(written_at) }
            }
            None => Reach { place: Place { xact: horizon - 1, id: Uuid::max() }, to: Uuid::max(), beyond: None },
        };
        let within = Filter { after: Some(EventId(from)), before: Some(EventId(end.to)), ..Filter::default() }.range();
        let mut look_at = self.look_at;
        loop {
            let edge = store::find_edge_of_user(connection, self.user, &within, Order::OldestFirst, look_at).await?;
            let Some(edge) = edge else { return Ok(end) };
            let before = first_id(instant(edge) - EARLY - LATE - SLACK);
            match store::find_last_place(connection, self.user, from, before).await? {
                Some(last) if last.xact >= end.place.xact => return Ok(end),
                Some(last) if (Place { id: edge, ..last }) > place => {
                    let beyond = Some(beginning_of(last.id, None));
                    return Ok(Reach { place: Place { id: edge, ..last }, to: edge, beyond });
                }
                // Very many within those seconds.
                _ => look_at *= 2,
            }
        }
    }
}

/// How far to go from a place.
struct Reach {
    place: Place,
    /// Events up to the place that were written about their instant have no greater ids.
    to: Uuid,
    /// Since when the transactions beyond began; nothing is beyond the horizon.
    beyond: Option<DateTime<Utc>>,
}

/// The transaction of this event began no earlier.
fn beginning_of(id: Uuid, written_at: Option<DateTime<Utc>>) -> DateTime<Utc> {
    written_at.unwrap_or_else(|| instant(id) - EARLY)
}

/// Where to look for events of transactions that began no earlier: those that were written about their instant have no lesser
/// ids, and of the others no statement came before.
fn bounds(began: DateTime<Utc>) -> (Uuid, DateTime<Utc>) {
    (first_id(began - LATE - SLACK), began - LONGEST_WAIT)
}
