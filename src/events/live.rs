//! Follows events while they come: each once and none left out, whichever server wrote it, and whatever the order of commits.
//!
//! Events are handed out in the order of (transaction, id), and only those whose transaction is older than every one in
//! progress: nothing can come before them any more. So the last one that a client saw is all that it needs to go on, with any
//! server. A transaction of somebody else that changes something and takes its time holds everybody up for as long, and loses
//! nothing; those that only read (a backup) have no number and hold up nobody.

use std::collections::HashMap;
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

/// An event that is written earlier before or later after its instant says when it was (migration 0023).
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
    /// The snapshot of its beginning: what was committed by then is no news, although its turn comes later.
    seen: String,
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

    /// Follows a user's events from now on, or from behind the last one that was seen. Of the filter, service and status
    /// count.
    ///
    /// # Errors
    /// `TooManyRequests` when too many streams are open, `ValidationFailed` when there is no such event of this user.
    pub async fn follow(&self, user: UserId, filter: &Filter, last: Option<EventId>) -> Result<Stream> {
        // First a place: from now on looks are for this user, too.
        let place = self.places.take(user)?;
        let Moment { began, snapshot } = store::find_moment(&mut *self.events.pool.acquire().await?).await?;
        let present = self.look(Duration::ZERO, |known| known.present).await?;
        let position = match last {
            None => Position::Head { horizon: present.horizon, began },
            Some(EventId(id)) => {
                let unknown = Problem::new("Last-Event-ID", "must be the id of an event of yours");
                let found = store::find_place(&mut *self.events.pool.acquire().await?, user, id).await?;
                let (place, written_at) = found.ok_or_else(|| Error::invalid(Code::ValidationFailed, unknown))?;
                if place.xact < present.next {
                    Position::Behind { place, began: beginning_of(id, written_at) }
                } else {
                    Position::Restored { last: id, horizon: present.horizon, began }
                }
            }
        };
        let seen = if last.is_none() { snapshot } else { NOTHING_SEEN.to_owned() };
        Ok(Stream { live: self.clone(), user, filter: filter.range(), position, seen, _place: place })
    }

    /// What is known, not older than this. Whoever comes first asks Postgres for all; the others wait without a connection.
    async fn look<T>(&self, age: Duration, take: impl FnOnce(&Known) -> T) -> Result<T> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.looked_at.elapsed() < age) {
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
        let mut connection = self.live.events.pool.acquire().await?;
        let (place, began) = match self.position {
            Position::Head { horizon, began } => (Place { xact: horizon, id: Uuid::nil() }, began),
            Position::Behind { place, began } => (place, began),
            Position::Restored { last, horizon, began } => {
                let rest = Range { after: last, ..self.filter.clone() };
                let events = store::list_restored(&mut connection, user, horizon, &rest, STEP).await?;
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
        let (reach, beyond) = self.reach(&mut connection, place, began, present.horizon).await?;
        let (from, since) = bounds(began);
        let stretch = Stretch {
            behind: place,
            reach,
            from,
            to: beyond.map_or(Uuid::max(), |_| reach.id),
            since,
            seen: &self.seen,
        };
        let found = store::list_stretch(&mut connection, user, &stretch, &self.filter, STEP).await?;
        let is_whole = i64::try_from(found.len()).is_ok_and(|found| found < STEP);
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

    /// How far one can go from a place without looking at too much. Where that is not as far as the horizon: since when the
    /// transactions beyond began.
    ///
    /// Events that were written about their instant are in the order of their transactions, but for some seconds. So behind a
    /// row that many further there are none of the transactions before those seconds.
    async fn reach(
        &self,
        connection: &mut PgConnection,
        place: Place,
        began: DateTime<Utc>,
        horizon: i64,
    ) -> Result<(Place, Option<DateTime<Utc>>)> {
        let (from, _) = bounds(began);
        let all = Filter { after: Some(EventId(from)), ..Filter::default() }.range();
        let mut look_at = MOST_LOOKED_AT;
        let end = Place { xact: horizon - 1, id: Uuid::max() };
        loop {
            let edge = store::find_edge_of_user(connection, self.user, &all, Order::OldestFirst, look_at).await?;
            let Some(edge) = edge else { return Ok((end, None)) };
            let before = first_id(instant(edge) - EARLY - LATE - SLACK);
            match store::find_last_place(connection, self.user, from, before).await? {
                Some(last) if last.xact >= horizon => return Ok((end, None)),
                Some(last) if (Place { id: edge, ..last }) > place => {
                    return Ok((Place { id: edge, ..last }, Some(beginning_of(last.id, None))));
                }
                // Very many within those seconds.
                _ => look_at *= 2,
            }
        }
    }
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
