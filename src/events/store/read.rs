//! Reading events by id, with filters.

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::events::{Event, Order, REST, agent};
use crate::users::UserId;

/// What to read: strictly between two ids, and only these.
#[derive(Clone, Debug)]
pub struct Range {
    pub after: Uuid,
    pub before: Uuid,
    pub service: Option<String>,
    pub least_status: i16,
    pub greatest_status: i16,
}

impl Range {
    /// Whether events within may be passed over.
    pub fn is_filtered(&self) -> bool {
        self.service.is_some() || self.least_status > 0 || self.greatest_status < i16::MAX
    }

    /// Whether nothing but refusals and failures passes, for which there is an index.
    fn is_of_refusals(&self) -> bool {
        self.least_status >= 400
    }
}

pub(super) struct EventRow {
    pub id: Uuid,
    pub user_id: Option<Uuid>,
    pub service: Option<String>,
    pub started_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    pub status: i16,
    pub bytes_out: i64,
    pub method: String,
    pub path: String,
    pub ip: Option<IpNetwork>,
    pub user_agent: Option<String>,
    pub request_id: String,
    pub service_data: Option<Value>,
}

/// `select … from` the rows that are looked at, and of those what passes the filter of a [`Range`]. Where the former have a
/// limit, the planner cannot move the filter into them: what is passed over is bounded.
macro_rules! select_events {
    ($range:expr, [$($looked_at:tt)+], $order:tt, $at_most:expr $(, $more:expr)*) => {
        sqlx::query_as!(
            EventRow,
            r#"select id, user_id, service, started_at, ended_at, status, bytes_out, method, path, ip, user_agent,
                      coalesce(request_uuid::text, request_id) as "request_id!", service_data
             from (select * from events where "# + $($looked_at)+ + ") as looked_at
             where ($3::text is null or coalesce(service, 'cloud-accounts') = $3) and status between $4 and $5
             order by id " + $order + " limit $6",
            $range.after,
            $range.before,
            $range.service,
            $range.least_status,
            $range.greatest_status,
            $at_most,
            $($more,)*
        )
    };
}
pub(super) use select_events;

/// Events of a user in this order: of the first `look_at` within the range those that pass its filter.
pub async fn list_of_user(
    connection: &mut PgConnection,
    user: UserId,
    range: &Range,
    order: Order,
    look_at: i64,
    at_most: i64,
) -> sqlx::Result<Vec<Event>> {
    macro_rules! list {
        ($only:tt, $order:tt) => {
            select_events!(
                range,
                ["user_id = $7 and id > $1 and id < $2 " + $only + " order by id " + $order + " limit $8"],
                $order,
                at_most,
                user.0,
                look_at
            )
            .fetch_all(connection)
            .await?
        };
    }
    let rows = match (order, range.is_of_refusals()) {
        (Order::NewestFirst, false) => list!("", "desc"),
        (Order::OldestFirst, false) => list!("", "asc"),
        (Order::NewestFirst, true) => list!("and status >= 400", "desc"),
        (Order::OldestFirst, true) => list!("and status >= 400", "asc"),
    };
    Ok(rows.into_iter().map(Event::from).collect())
}

/// The last row that [`list_of_user`] looks at; none when there are fewer.
pub async fn find_edge_of_user(
    connection: &mut PgConnection,
    user: UserId,
    range: &Range,
    order: Order,
    look_at: i64,
) -> sqlx::Result<Option<Uuid>> {
    macro_rules! find {
        ($only:tt, $order:tt) => {
            sqlx::query_scalar!(
                "select id from events where user_id = $1 and id > $2 and id < $3 "
                    + $only
                    + " order by id "
                    + $order
                    + " offset $4::bigint - 1 limit 1",
                user.0,
                range.after,
                range.before,
                look_at,
            )
            .fetch_optional(connection)
            .await
        };
    }
    match (order, range.is_of_refusals()) {
        (Order::NewestFirst, false) => find!("", "desc"),
        (Order::OldestFirst, false) => find!("", "asc"),
        (Order::NewestFirst, true) => find!("and status >= 400", "desc"),
        (Order::OldestFirst, true) => find!("and status >= 400", "asc"),
    }
}

/// Everybody's events within a range, in this order, that pass its filter. There is no index for that: all of the range is read,
/// which must not be much ([`find_crowd`]).
pub async fn list_of_all(
    connection: &mut PgConnection,
    range: &Range,
    order: Order,
    at_most: i64,
) -> sqlx::Result<Vec<Event>> {
    let rows = match order {
        Order::NewestFirst => {
            select_events!(range, ["id > $1 and id < $2"], "desc", at_most).fetch_all(connection).await?
        }
        Order::OldestFirst => {
            select_events!(range, ["id > $1 and id < $2"], "asc", at_most).fetch_all(connection).await?
        }
    };
    Ok(rows.into_iter().map(Event::from).collect())
}

/// How many events there are within a range, whatever its filter; counted up to `at_most`.
pub async fn find_crowd(connection: &mut PgConnection, range: &Range, at_most: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from (select from events where id > $1 and id < $2 limit $3) as crowd"#,
        range.after,
        range.before,
        at_most,
    )
    .fetch_one(connection)
    .await
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            user: row.user_id.map(UserId),
            service: row.service.unwrap_or_else(|| REST.to_owned()),
            started_at: row.started_at,
            ended_at: row.ended_at,
            status: row.status.try_into().unwrap_or(0),
            bytes_out: row.bytes_out.try_into().unwrap_or(0),
            method: row.method,
            path: row.path,
            ip: row.ip.map(|network| network.ip()),
            user_agent: row.user_agent.as_deref().map(agent::long),
            request_id: row.request_id,
            service_data: row.service_data,
        }
    }
}
