//! What comes in crowds and is nobody's own doing becomes one row, or strangers could fill the disk with events.
//!
//! Requests without a user beyond [`STRANGERS`] a minute from one address, failed log-ins and nonces for a wallet beyond
//! [`FAILURES`] a minute of one user, and every 429: one row for each user, address, route, status and minute, whose `serviceData.count` is how many were
//! told so. Whatever a user does with a token, or with a right password, stays an event of its own.
//!
//! A row is written whole every time, with the count of all requests so far: to write it again neither doubles nor loses.
//! Each word of a row ends later than the one before, so the last one wins in whatever order they come to the table
//! (`store::insert_again`). Each server has rows of its own.
//!
//! The memory is of one minute, and bounded like that of the limits (`ratelimit/ledger.rs`). Beyond [`MOST_ROWS`] of an
//! address or a user, the rest of a status shares a row that names neither address nor route.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use super::{Draft, Event, GRPC_STATUS, instant};
use crate::ratelimit::{Action, Key, Ledger, Network};
use crate::users::UserId;

/// Requests without a user, a minute from one address, that are events of their own.
const STRANGERS: u32 = 100;

/// Failed log-ins, a minute of one user, that are events of their own. Refused client grants, activations, tokens of mails and wallets
/// are such, too, and so is each nonce: everybody may ask for one.
const FAILURES: u32 = 30;

/// Rows of one address or one user in a minute that name address and route. Who is served by them in earnest has one or two.
const MOST_ROWS: usize = 16;

/// The path of a row whose requests had different ones.
const UNKNOWN: &str = "/{…}";

/// What too often asked is answered.
const TOO_MANY: u16 = 429;

/// The crowds of this minute; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Crowds(Arc<Mutex<Minute>>);

#[derive(Default)]
struct Minute {
    number: i64,
    crowds: Ledger<Subject, Crowd>,
}

/// Who has an allowance of events.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Subject {
    Address(Network),
    User(UserId),
}

#[derive(Default)]
struct Crowd {
    /// Events of their own.
    alone: u32,
    rows: HashMap<Sort, Row>,
}

/// What the requests of one row have in common.
#[derive(PartialEq, Eq, Hash)]
struct Sort {
    user: Option<UserId>,
    status: u16,
    place: Option<(Network, &'static str, Option<String>)>,
}

/// One row of many requests.
#[derive(Clone)]
pub(super) struct Row(Arc<Mutex<Counted>>);

struct Counted {
    word: Event,
    count: u64,
}

impl Crowds {
    /// Whether this is an event of those that come in crowds, be there one or not.
    pub fn concern(&self, event: &Event, draft: &Draft) -> bool {
        allowance(event, draft).is_some()
    }

    /// The row of which this event becomes a part, and what is to be written of it; `None` for an event of its own. A new
    /// row is called `id`, whose minute it is.
    pub fn take_in(&self, event: &Event, draft: &Draft, id: Uuid) -> Option<(Row, Arc<Event>)> {
        let allowance = allowance(event, draft)?;
        // Those without an address are one client, which is the safe mistake.
        let address = Network::of(event.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let subject = event.user.map_or(Subject::Address(address), Subject::User);
        let row = {
            let mut minute = self.minute(instant(id).timestamp().div_euclid(60));
            let crowd = minute.crowds.entry(&subject);
            if crowd.alone < allowance {
                crowd.alone += 1;
                return None;
            }
            crowd.row(event, address, draft.pattern(), id)
        };
        let word = row.say(|row| {
            row.count += 1;
            row.word.bytes_out = row.word.bytes_out.saturating_add(event.bytes_out);
            row.word.ended_at = row.word.ended_at.max(event.ended_at);
        });
        Some((row, word))
    }

    /// What is known of this minute; what was known of another is forgotten.
    fn minute(&self, number: i64) -> MutexGuard<'_, Minute> {
        let mut minute = lock(&self.0);
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        minute
    }
}

impl Crowd {
    fn row(&mut self, event: &Event, address: Network, route: Option<String>, id: Uuid) -> Row {
        let place = Some((address, known(&event.method), route));
        let mut sort = Sort { user: event.user, status: event.status, place };
        if !self.rows.contains_key(&sort) && self.rows.len() >= MOST_ROWS {
            sort.place = None;
        }
        if let Some(row) = self.rows.get(&sort) {
            return row.clone();
        }
        let row = Row::new(event, &sort, id);
        self.rows.insert(sort, row.clone());
        row
    }
}

impl Row {
    /// Shows the first of its requests, but the path as the route has it.
    fn new(first: &Event, sort: &Sort, id: Uuid) -> Self {
        let mut word = Event { id, bytes_out: 0, ..first.clone() };
        match &sort.place {
            Some((_, _, Some(route))) => word.path.clone_from(route),
            // Of many paths, which we do not know.
            Some((_, _, None)) => word.path = UNKNOWN.to_owned(),
            None => (word.path, word.ip, word.user_agent) = (UNKNOWN.to_owned(), None, None),
        }
        known(&first.method).clone_into(&mut word.method);
        // What its own handler added is not the others'.
        let status = word.service_data.take().and_then(|data| data.get(GRPC_STATUS).cloned());
        word.service_data = status.map(|status| json!({ GRPC_STATUS: status }));
        word.ended_at -= TICK;
        Self(Arc::new(Mutex::new(Counted { word, count: 0 })))
    }

    /// Takes a request out that was told something else in the end. What is to be written then may say that there was none.
    pub fn take_back(&self, event: &Event) -> Arc<Event> {
        self.say(|row| {
            row.count = row.count.saturating_sub(1);
            row.word.bytes_out = row.word.bytes_out.saturating_sub(event.bytes_out);
        })
    }

    fn say(&self, change: impl FnOnce(&mut Counted)) -> Arc<Event> {
        let mut row = lock(&self.0);
        let next = row.word.ended_at + TICK;
        change(&mut row);
        row.word.ended_at = row.word.ended_at.max(next);
        let count = json!(row.count);
        row.word.service_data.get_or_insert_default()["count"] = count;
        Arc::new(row.word.clone())
    }
}

/// By how much two words of a row differ at least: the least that the table can tell apart.
const TICK: TimeDelta = TimeDelta::microseconds(1);

/// How many of these are events of their own in a minute; `None` for what always is.
fn allowance(event: &Event, draft: &Draft) -> Option<u32> {
    match event.user {
        _ if event.status == TOO_MANY => Some(0),
        None => Some(STRANGERS),
        Some(_) => is_anybodys(event, draft).then_some(FAILURES),
    }
}

/// Whether a stranger may have done this to the user: was refused who claimed to be the user, with whatever strangers can guess at,
/// or asked what the user's wallet is to sign.
fn is_anybodys(event: &Event, draft: &Draft) -> bool {
    match draft.action() {
        Some(Action::LogIn | Action::TokenGrant | Action::Redemption) => (400..500).contains(&event.status),
        Some(Action::Nonce) => true,
        Some(Action::SignUp | Action::Mail | Action::Confirmation | Action::Lookup) | None => false,
    }
}

/// A method of those that there are; clients invent others.
fn known(method: &str) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("other")
}

/// A value that is whole after every line that changes it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Key for Subject {
    fn neighbourhood(&self) -> impl Hash {
        match self {
            Self::Address(network) => Ok(network.neighbourhood()),
            Self::User(user) => Err(*user),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::random::Random;

    fn event(ip: IpAddr, status: u16) -> Event {
        Event { ip: Some(ip), status, ..Event::example() }
    }

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    /// Takes the event in at its instant.
    fn take_in(crowds: &Crowds, event: &Event) -> Option<(Row, Arc<Event>)> {
        take_in_at(crowds, event, &Draft::default())
    }

    fn take_in_at(crowds: &Crowds, event: &Event, draft: &Draft) -> Option<(Row, Arc<Event>)> {
        let id = Random::default().uuid_v7(event.ended_at);
        crowds.take_in(event, draft, id)
    }

    fn count(word: &Event) -> u64 {
        word.service_data.as_ref().and_then(|data| data["count"].as_u64()).expect("a count")
    }

    #[test]
    fn a_stranger_has_a_hundred_events_a_minute_and_then_a_row() {
        let crowds = Crowds::default();
        let mut told = event(address(1), 404);
        for _ in 0..STRANGERS {
            assert!(take_in(&crowds, &told).is_none());
        }
        let (_, first) = take_in(&crowds, &told).expect("a row");
        let (_, second) = take_in(&crowds, &told).expect("a row");
        assert_eq!((first.id, count(&first), first.bytes_out), (second.id, 1, 10));
        assert_eq!((count(&second), second.bytes_out), (2, 20));
        assert_eq!(first.ended_at, told.ended_at);
        assert!(second.ended_at > first.ended_at, "of two words of a row one is the later");
        assert!(take_in(&crowds, &event(address(2), 404)).is_none(), "another address has its own");

        told.ended_at += TimeDelta::minutes(1);
        assert!(take_in(&crowds, &told).is_none(), "another minute");
    }

    #[test]
    fn what_was_not_told_in_the_end_is_taken_back_by_a_later_word() {
        let crowds = Crowds::default();
        let told = event(address(1), 429);
        let (row, first) = take_in(&crowds, &told).expect("a row");
        let (_, second) = take_in(&crowds, &told).expect("a row");
        let third = row.take_back(&told);
        assert_eq!((count(&third), third.bytes_out, third.id), (1, 10, first.id));
        assert!(third.ended_at > second.ended_at);
    }

    #[test]
    fn methods_routes_and_addresses_that_somebody_invents_make_no_rows_without_end() {
        let crowds = Crowds::default();
        let mut rows = HashSet::new();
        for number in 0..500_u32 {
            let mut told = event(address(1), 429);
            told.method = format!("M{number}");
            let draft = Draft::default();
            draft.matches(&format!("/route/{}", number / 2), None);
            rows.insert(take_in_at(&crowds, &told, &draft).expect("a row").1.id);

            let mut guessed = event(address(number), 429);
            guessed.user = Some(UserId(Uuid::from_u128(7)));
            let (_, word) = take_in(&crowds, &guessed).expect("a row");
            assert_eq!(word.user, guessed.user, "it stays in the user's feed");
            rows.insert(word.id);
        }
        assert_eq!(rows.len(), 2 * (MOST_ROWS + 1));
    }

    #[test]
    fn more_addresses_than_there_are_places_share_rows() {
        let crowds = Crowds::default();
        let mut rows = HashSet::new();
        let (mut told, most) = (event(address(0), 429), crate::ratelimit::MOST_KEYS);
        for number in 0..most + 20_000 {
            told.ip = Some(address(u32::try_from(number).expect("few")));
            rows.insert(take_in(&crowds, &told).expect("every one is counted").1.id);
        }
        let shared = rows.len() - most;
        // The newcomers are of one or two networks of /16.
        assert!((1..=2 * (MOST_ROWS + 1)).contains(&shared), "{shared}");
    }
}
