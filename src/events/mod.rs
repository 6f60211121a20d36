//! What happened: every API request is an event, committed before its answer leaves (decisions.md section 3).
//!
//! Routes: `GET /users/me/events`, `GET /users/me/events/stream`, `GET /events`. Tables: `events`, partitioned by month, `erasures`, and `clusters`. The layer (`layer.rs`) makes one
//! event of each request, the writer (`writer.rs`) commits many of them at once. The room never holds a password, a token,
//! a query string or an e-mail. It deletes nothing but months that are older than `events.retention` (`pruner.rs`): of a deleted
//! user the rows stay and the person goes (`eraser.rs`).

pub mod http;
pub mod layer;

mod agent;
mod crowd;
mod disk;
mod draft;
mod eraser;
mod feed;
mod live;
mod partitions;
mod patience;
mod pen;
mod pruner;
mod service;
mod store;
mod trouble;
mod writer;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use uuid::Uuid;

pub use disk::Disk;
pub use draft::Draft;
pub use eraser::Eraser;
pub use feed::{Feed, Filter, Page, StatusFilter, Walk, Whose};
pub use live::{Live, PERIOD, Stream};
pub use partitions::Partitions;
pub use patience::Patience;
pub use pruner::{Dropped, Month, Over, Pruner};
pub use service::{Events, NotCommitted};
pub use writer::Writer;

use crate::users::UserId;

/// The name of the REST door in the `service` of an event.
pub const REST: &str = "cloud-accounts";

/// The name of the gRPC door.
pub const GRPC: &str = "qb2-accounts";

/// The member of `serviceData` with the status of a gRPC call.
pub const GRPC_STATUS: &str = "grpcStatus";

/// What a gRPC call of a client that hung up came to: CANCELLED.
pub const GRPC_CANCELLED: i32 = 1;

/// What a client that hung up was told: nothing. 499 is what access logs call it.
const CLIENT_GONE: u16 = 499;

/// Which events come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Those with the greatest ids.
    NewestFirst,
    /// Those with the least.
    OldestFirst,
}

/// One request, as it is stored.
#[derive(Clone, Debug)]
pub struct Event {
    /// UUID v7: identity, instant and order in one.
    pub id: Uuid,
    /// Whose event it is.
    pub user: Option<UserId>,
    /// Which door.
    pub service: String,
    /// When the request arrived.
    pub started_at: DateTime<Utc>,
    /// When its answer was ready.
    pub ended_at: DateTime<Utc>,
    /// The status the client was told.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// The method.
    pub method: String,
    /// The path without query; secrets and e-mails replaced by the route's pattern.
    pub path: String,
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The client's program, at most 256 bytes.
    pub user_agent: Option<String>,
    /// The id of the request.
    pub request_id: String,
    /// What the handler added.
    pub service_data: Option<serde_json::Value>,
}

impl Event {
    /// The same of a client that hung up before it was told anything.
    fn unheard(&self) -> Self {
        let mut unheard = Self { status: CLIENT_GONE, bytes_out: 0, ..self.clone() };
        if let Some(status) = unheard.service_data.as_mut().and_then(|data| data.get_mut(GRPC_STATUS)) {
            *status = GRPC_CANCELLED.into();
        }
        unheard
    }

    /// The instant inside the id.
    pub fn created_at(&self) -> DateTime<Utc> {
        instant(self.id)
    }
}

/// The instant inside a UUID v7.
fn instant(id: Uuid) -> DateTime<Utc> {
    let (seconds, nanos) = id.get_timestamp().map_or((0, 0), |time| time.to_unix());
    DateTime::from_timestamp(i64::try_from(seconds).unwrap_or(0), nanos).unwrap_or_default()
}

/// The smallest id that an event of `at` can have.
fn first_id(at: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(u128::from(millis) << 80)
}

/// The beginning of a day.
fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// An event's id as the wire shows it: `event-<uuid>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId(pub Uuid);

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "event-{}", self.0.as_hyphenated())
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let uuid = text.strip_prefix("event-").filter(|uuid| uuid.len() == 36).ok_or(())?;
        Uuid::try_parse(uuid).map(Self).map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Event {
        /// Any.
        pub fn example() -> Self {
            let at = DateTime::from_timestamp_millis(1_790_000_000_123).expect("in range");
            Self {
                id: Uuid::nil(),
                user: None,
                service: REST.into(),
                started_at: at,
                ended_at: at,
                status: 404,
                bytes_out: 10,
                method: "GET".into(),
                path: "/nowhere".into(),
                ip: None,
                user_agent: Some("tests/1.0".into()),
                request_id: "first".into(),
                service_data: None,
            }
        }
    }

    #[test]
    fn an_id_knows_its_instant_and_sorts_after_the_first_of_it() {
        let at = DateTime::from_timestamp_millis(1_790_000_000_123).expect("in range");
        let id = crate::random::Random::seeded(3).uuid_v7(at);
        assert_eq!(instant(id), at);
        assert!(first_id(at) <= id && id < first_id(at + chrono::TimeDelta::milliseconds(1)));
        assert_eq!(EventId(id).to_string().parse(), Ok(EventId(id)));
        assert!("event-".parse::<EventId>().is_err());
    }
}
