//! Reads events: pages of them, and all of them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::store::{self, Range};
use super::{Event, EventId, Events, Order, Patience, first_id};
use crate::error::Result;
use crate::ratelimit::{Share, Shares};
use crate::users::UserId;

/// Rows that a page looks at, whatever passes its filter: some milliseconds of Postgres. Where a million rows lie between two
/// that pass, a page ends early, and its links go on behind the last row looked at.
pub(super) const MOST_LOOKED_AT: i64 = 20_000;

/// Which events to read.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// How many, 1 to 1000.
    pub limit: Option<u16>,
    /// Only older than this one.
    pub before: Option<EventId>,
    /// Only newer than this one.
    pub after: Option<EventId>,
    /// Only from this instant on.
    pub since: Option<DateTime<Utc>>,
    /// Only before this instant.
    pub until: Option<DateTime<Utc>>,
    /// Only of this service.
    pub service: Option<String>,
    /// Only with these statuses.
    pub status: Option<StatusFilter>,
}

/// `404`, or `4xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusFilter {
    /// The least status that passes.
    pub least: i16,
    /// The greatest.
    pub greatest: i16,
}

/// A page of events, oldest first, and where to read on. It may be empty and not the last.
pub struct Page {
    /// The events.
    pub events: Vec<Event>,
    /// The events before this one were not looked at, and there may be some that pass the filter.
    pub older: Option<EventId>,
    /// The same of the events after this one.
    pub newer: Option<EventId>,
}

/// Whose events to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of one user.
    User(UserId),
    /// All, those of nobody as well.
    Everybody,
}

/// Milliseconds of everybody's events that are read first; and how many events are too many for one window.
const FIRST_WINDOW: u64 = 1000;
const MOST_IN_WINDOW: i64 = 5000;

/// Events in the order in which they were read, and behind which id to read on; none when that was all.
struct Piece {
    events: Vec<Event>,
    rest: Option<Uuid>,
}

impl Piece {
    fn cut(mut events: Vec<Event>, at_most: usize) -> Self {
        let is_all = events.len() <= at_most;
        events.truncate(at_most);
        let rest = events.last().map(|event| event.id).filter(|_| !is_all);
        Self { events, rest }
    }

    /// Whether there is, or may be, an event.
    fn is_something(&self) -> bool {
        self.rest.is_some() || !self.events.is_empty()
    }
}

/// The events, for readers.
#[derive(Clone)]
pub struct Feed {
    events: Events,
    patience: Patience,
    places: Shares<UserId>,
}

/// The way through all events that pass a filter, walked after the request was answered.
pub struct Walk {
    feed: Feed,
    whose: Whose,
    /// What is still to be read.
    rest: Option<Range>,
    order: Order,
    _place: Share<UserId>,
}

impl Feed {
    /// Walks of one user at once, at this server: one, and another try after a connection that was lost.
    pub const WALKS_AT_ONCE: usize = 2;

    /// Events shown when nobody says how many.
    pub const DEFAULT_LIMIT: u16 = 100;

    /// Events shown at most.
    pub const GREATEST_LIMIT: u16 = 1000;

    /// A reader of these events.
    pub fn new(events: Events, patience: Patience) -> Self {
        Self { events, patience, places: Shares::new(Self::WALKS_AT_ONCE) }
    }

    /// The place of a walk that this user asks for, from its beginning to its end.
    ///
    /// # Errors
    /// `TooManyRequests` when others are under way.
    pub fn place(&self, user: UserId) -> Result<Share<UserId>> {
        self.places.take(user)
    }

    /// All events that pass the filter, up to now: the event of the request that asks for them comes later.
    pub fn walk(&self, whose: Whose, filter: &Filter, order: Order, place: Share<UserId>) -> Walk {
        let mut range = filter.range();
        range.before = range.before.min(self.events.next_id());
        Walk { feed: self.clone(), whose, rest: Some(range), order, _place: place }
    }

    /// A page of events. The newest that pass the filter, unless `after` asks for those that follow an event.
    pub async fn list(&self, whose: Whose, filter: &Filter) -> Result<Page> {
        let limit = usize::from(filter.limit.unwrap_or(Self::DEFAULT_LIMIT));
        let (whole, asked) = (filter.range_of_time(), filter.range());
        let order = if filter.after.is_some() { Order::OldestFirst } else { Order::NewestFirst };
        let mut connection = self.events.pool.acquire().await?;
        let Piece { mut events, rest } = self.read(&mut connection, whose, &asked, order, limit).await?;
        if order == Order::NewestFirst {
            events.reverse();
        }

        // Where the page was read from, there may be others on the other side. They are looked up, not guessed: one tells.
        let (oldest, newest) = (events.first().map(|event| event.id), events.last().map(|event| event.id));
        let (older, newer) = match order {
            Order::NewestFirst => {
                let Some(newest) = newest.or(rest) else { return Ok(Page { events, older: None, newer: None }) };
                let others = Range { after: newest, ..whole };
                let other = self.read(&mut connection, whose, &others, Order::OldestFirst, 1).await?;
                (rest, other.is_something().then_some(newest))
            }
            // Between two cursors one goes forwards, and no link leads out.
            Order::OldestFirst if filter.before.is_some() => (None, rest),
            Order::OldestFirst => {
                let Some(oldest) = oldest.or(rest) else { return Ok(Page { events, older: None, newer: None }) };
                let others = Range { before: oldest, ..whole };
                let other = self.read(&mut connection, whose, &others, Order::NewestFirst, 1).await?;
                (other.is_something().then_some(oldest), rest)
            }
        };
        Ok(Page { events, older: older.map(EventId), newer: newer.map(EventId) })
    }

    /// Reads at most so many events from one end of a range, and looks at no more than about [`MOST_LOOKED_AT`].
    async fn read(
        &self,
        connection: &mut PgConnection,
        whose: Whose,
        range: &Range,
        order: Order,
        at_most: usize,
    ) -> Result<Piece> {
        match whose {
            Whose::User(user) => read_of_user(connection, user, range, order, at_most).await,
            Whose::Everybody => {
                let now = self.events.now().timestamp_millis().cast_unsigned();
                read_of_all(connection, range, order, at_most, now).await
            }
        }
    }
}

impl Walk {
    /// Events of one read.
    const STEP: usize = 1000;

    /// Whose events it leads through.
    pub fn whose(&self) -> Whose {
        self.whose
    }

    /// The next events, perhaps none; `None` at the end.
    ///
    /// # Errors
    /// As of [`Patience::bound`].
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>> {
        let Some(range) = self.rest.take() else { return Ok(None) };
        let reading = async {
            let mut connection = self.feed.events.pool.acquire().await?;
            self.feed.read(&mut connection, self.whose, &range, self.order, Self::STEP).await
        };
        let Piece { events, rest } = self.feed.patience.bound(reading).await??;
        self.rest = rest.map(|last| match self.order {
            Order::NewestFirst => Range { before: last, ..range },
            Order::OldestFirst => Range { after: last, ..range },
        });
        Ok(Some(events))
    }
}

impl Filter {
    /// What it asks for, but for the cursors.
    fn range_of_time(&self) -> Range {
        let status = self.status.unwrap_or(StatusFilter { least: 0, greatest: i16::MAX });
        Range {
            after: self.since.map_or(Uuid::nil(), just_before),
            before: self.until.map_or(Uuid::max(), first_id),
            service: self.service.clone(),
            least_status: status.least,
            greatest_status: status.greatest,
        }
    }

    pub(super) fn range(&self) -> Range {
        let whole = self.range_of_time();
        let after = self.after.map_or(whole.after, |id| id.0.max(whole.after));
        let before = self.before.map_or(whole.before, |id| id.0.min(whole.before));
        Range { after, before, ..whole }
    }
}

async fn read_of_user(
    connection: &mut PgConnection,
    user: UserId,
    range: &Range,
    order: Order,
    at_most: usize,
) -> Result<Piece> {
    // One more than asked for tells whether there is more.
    let one_more = i64::try_from(at_most).unwrap_or(0) + 1;
    let events = store::list_of_user(connection, user, range, order, MOST_LOOKED_AT, one_more).await?;
    let mut piece = Piece::cut(events, at_most);
    if piece.rest.is_none()
        && range.is_filtered()
        && let Some(edge) = store::find_edge_of_user(connection, user, range, order, MOST_LOOKED_AT).await?
    {
        // Found a moment later: an event that was committed meanwhile moves the edge this way.
        let is_within = |event: &Event| match order {
            Order::NewestFirst => event.id >= edge,
            Order::OldestFirst => event.id <= edge,
        };
        piece.events.retain(is_within);
        piece.rest = Some(edge);
    }
    Ok(piece)
}

/// Everybody's events are in no order but that of the disk, which is about that of time. So they are read window by window,
/// from the end that is asked for: wider ones where little happened, narrower ones where much did.
async fn read_of_all(
    connection: &mut PgConnection,
    range: &Range,
    order: Order,
    at_most: usize,
    now: u64,
) -> Result<Piece> {
    let (mut rest, mut width, mut looked_at) = (range.clone(), FIRST_WINDOW, 0);
    let (mut now, mut stride) = (now, FIRST_WINDOW);
    // How far ahead there is a crowd, and of how many: where it is, is found by halves.
    let mut ahead: Option<(u64, i64)> = None;
    let mut events = Vec::new();
    loop {
        let window = window(&rest, order, width, now);
        let crowd = store::find_crowd(connection, &window, MOST_IN_WINDOW).await?;
        // The clocks of other servers may be ahead, or ours was set back: then the end of the ids is looked for in strides.
        if crowd == MOST_IN_WINDOW {
            let later = Range { after: window.after.max(last_id(now)), ..window.clone() };
            if later.after < later.before
                && store::find_crowd(connection, &later, MOST_IN_WINDOW).await? == MOST_IN_WINDOW
            {
                (now, stride) = ((now + stride).min(LAST_MILLISECOND), stride * 4);
                continue;
            }
        }
        // What was written within a millisecond cannot be parted.
        if crowd == MOST_IN_WINDOW && width > 1 {
            ahead = Some((width, crowd));
            width /= 2;
            continue;
        }
        if crowd > 0 {
            let one_more = i64::try_from(at_most + 1 - events.len()).unwrap_or(0);
            events.extend(store::list_of_all(connection, &window, order, one_more).await?);
        }
        if events.len() > at_most {
            return Ok(Piece::cut(events, at_most));
        }
        let is_all = (window.after, window.before) == (rest.after, rest.before);
        let edge = match order {
            Order::NewestFirst => {
                rest.before = Uuid::from_u128(window.after.as_u128().saturating_add(1));
                rest.before
            }
            Order::OldestFirst => {
                rest.after = Uuid::from_u128(window.before.as_u128().saturating_sub(1));
                rest.after
            }
        };
        looked_at += crowd;
        if is_all || looked_at >= MOST_LOOKED_AT {
            return Ok(Piece { events, rest: (!is_all).then_some(edge) });
        }
        ahead = ahead.map(|(far, many)| (far.saturating_sub(width), many - crowd));
        ahead = ahead.filter(|(far, many)| *far > 0 && *many > MOST_IN_WINDOW / 2);
        if crowd < MOST_IN_WINDOW / 8 {
            width *= 4;
        }
        width = width.min(ahead.map_or(u64::MAX, |(far, _)| far / 2)).max(1);
    }
}

/// The last one that an id has room for.
const LAST_MILLISECOND: u64 = (1 << 48) - 1;

/// The greatest id of a millisecond.
fn last_id(millisecond: u64) -> Uuid {
    Uuid::from_u128((u128::from(millisecond) << 80) | ((1 << 80) - 1))
}

/// The part of a range that is so many milliseconds wide and lies at the end that is asked for.
fn window(range: &Range, order: Order, width: u64, now: u64) -> Range {
    let millis = |id: u128| u64::try_from(id >> 80).unwrap_or(u64::MAX);
    let first = |millis: u64| u128::from(millis) << 80;
    match order {
        Order::NewestFirst => {
            let last = millis(range.before.as_u128().saturating_sub(1)).min(now);
            let after = Uuid::from_u128(first((last + 1).saturating_sub(width)).saturating_sub(1));
            Range { after: after.max(range.after), ..range.clone() }
        }
        Order::OldestFirst => {
            let end = millis(range.after.as_u128().saturating_add(1)).saturating_add(width);
            let before = if end > now { range.before } else { Uuid::from_u128(first(end)).min(range.before) };
            Range { before, ..range.clone() }
        }
    }
}

/// The greatest id before every event of `at`.
fn just_before(at: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(first_id(at).as_u128().saturating_sub(1))
}
