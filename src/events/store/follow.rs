//! Reading events in the order of their transactions (docs/decisions/0017).

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Range;
use super::read::{EventRow, select_events};
use crate::events::Event;
use crate::users::UserId;

/// How far Postgres is with its transactions.
#[derive(Clone, Copy, Debug)]
pub struct Present {
    /// All transactions before this one are over.
    pub horizon: i64,
    /// The next one gets this number, or a greater one.
    pub next: i64,
    /// When this was asked, by the clock of Postgres.
    pub at: DateTime<Utc>,
}

pub async fn find_present(connection: &mut PgConnection) -> sqlx::Result<Present> {
    // xmax would not do: it is the number after the last transaction that is over, and greater ones may be under way.
    sqlx::query_as!(
        Present,
        r#"select oldest.xact::text::bigint as "horizon!",
                  oldest.xact::text::bigint + age(oldest.xact::xid) as "next!", statement_timestamp() as "at!"
           from (select pg_snapshot_xmin(pg_current_snapshot())) as oldest (xact)"#
    )
    .fetch_one(connection)
    .await
}

/// A moment of Postgres.
pub struct Moment {
    /// Every transaction that is under way and writes events, or begins later, began after this; as far as Postgres shows them
    /// to us, which it does for those of our own role.
    pub began: DateTime<Utc>,
    /// Which ones are over.
    pub snapshot: String,
    /// Since when the tables are in this Postgres.
    pub arrived_at: DateTime<Utc>,
}

pub async fn find_moment(connection: &mut PgConnection) -> sqlx::Result<Moment> {
    sqlx::query_as!(
        Moment,
        r#"select least(statement_timestamp(), min(xact_start)) as "began!", pg_current_snapshot()::text as "snapshot!",
                  (select max(arrived_at) from clusters) as "arrived_at!"
           from pg_stat_activity where backend_xid is not null and datname = current_database()"#
    )
    .fetch_one(connection)
    .await
}

/// A place in the order in which events are handed out to those who follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub xact: i64,
    pub id: Uuid,
}

/// An event of a user: its place, and when it was written where that is not about its instant.
pub async fn find_place(
    connection: &mut PgConnection,
    user: UserId,
    id: Uuid,
) -> sqlx::Result<Option<(Place, Option<DateTime<Utc>>)>> {
    let row = sqlx::query!(
        r#"select xact::text::bigint as "xact!", written_at from events where user_id = $1 and id = $2"#,
        user.0,
        id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (Place { xact: row.xact, id }, row.written_at)))
}

/// Notes the Postgres in which the tables are, if they were in another one before.
pub async fn insert_cluster(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into clusters (arrived_at, system_identifier)
         select clock_timestamp(), system_identifier from pg_control_system()
         where system_identifier is distinct from (select last.system_identifier from clusters as last order by arrived_at desc limit 1)"
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The last place of a user's events with ids within these bounds that were written about their instant.
pub async fn find_last_place(
    connection: &mut PgConnection,
    user: UserId,
    from: Uuid,
    before: Uuid,
) -> sqlx::Result<Option<Place>> {
    sqlx::query_as!(
        Place,
        r#"select xact::text::bigint as "xact!", id from events
           where user_id = $1 and id >= $2 and id < $3 and written_at is null
           order by events.xact desc, id desc limit 1"#,
        user.0,
        from,
        before,
    )
    .fetch_optional(connection)
    .await
}

/// Of a user's events that were not written about their instant, but since another: the place of the last of so many behind a
/// place, and when it was written; none when there are fewer.
pub async fn find_late_place(
    connection: &mut PgConnection,
    user: UserId,
    behind: Place,
    since: DateTime<Utc>,
    look_at: i64,
) -> sqlx::Result<Option<(Place, DateTime<Utc>)>> {
    let row = sqlx::query!(
        r#"select xact::text::bigint as "xact!", id, written_at as "written_at!" from events
           where user_id = $1 and written_at >= $4 and (xact, id) > ($2::text::xid8, $3)
           order by events.xact, id offset $5::bigint - 1 limit 1"#,
        user.0,
        behind.xact.to_string(),
        behind.id,
        since,
        look_at,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (Place { xact: row.xact, id: row.id }, row.written_at)))
}

/// Which events to hand out: behind a place, and up to another.
pub struct Stretch<'a> {
    pub behind: Place,
    pub reach: Place,
    /// Events that were written about their instant have ids from here
    pub from: Uuid,
    /// to here;
    pub to: Uuid,
    /// others were written since.
    pub since: DateTime<Utc>,
    /// What is visible here is passed over.
    pub seen: &'a str,
}

/// The first events of a stretch that pass the filter of a range, in order; and the transaction of each.
pub async fn list_stretch(
    connection: &mut PgConnection,
    user: UserId,
    stretch: &Stretch<'_>,
    filter: &Range,
    at_most: i64,
) -> sqlx::Result<Vec<(Place, Option<DateTime<Utc>>, Event)>> {
    let rows = sqlx::query!(
        r#"select id as "id!", user_id, service, started_at as "started_at!", ended_at as "ended_at!",
                  status as "status!", bytes_out as "bytes_out!", method as "method!", path as "path!", ip, user_agent,
                  coalesce(request_uuid::text, request_id) as "request_id!", service_data, xact::text::bigint as "xact!", written_at
           from (
               (select * from events
                where user_id = $1 and id between $5 and $6 and written_at is null
                  and (xact, id) > ($2::text::xid8, $3) and (xact, id) <= ($4::text::xid8, $12)
                  and not pg_visible_in_snapshot(xact, $13::text::pg_snapshot)
                  and ($8::text is null or coalesce(service, 'cloud-accounts') = $8) and status between $9 and $10
                order by xact, id limit $11)
               union all
               (select * from events
                where user_id = $1 and written_at >= $7
                  and (xact, id) > ($2::text::xid8, $3) and (xact, id) <= ($4::text::xid8, $12)
                  and not pg_visible_in_snapshot(xact, $13::text::pg_snapshot)
                  and ($8::text is null or coalesce(service, 'cloud-accounts') = $8) and status between $9 and $10
                order by xact, id limit $11)
           ) as event
           order by event.xact, id limit $11"#,
        user.0,
        stretch.behind.xact.to_string(),
        stretch.behind.id,
        stretch.reach.xact.to_string(),
        stretch.from,
        stretch.to,
        stretch.since,
        filter.service,
        filter.least_status,
        filter.greatest_status,
        at_most,
        stretch.reach.id,
        stretch.seen,
    )
    .fetch_all(connection)
    .await?;
    let with_place = rows.into_iter().map(|row| {
        let place = Place { xact: row.xact, id: row.id };
        let event = EventRow {
            id: row.id,
            user_id: row.user_id,
            service: row.service,
            started_at: row.started_at,
            ended_at: row.ended_at,
            status: row.status,
            bytes_out: row.bytes_out,
            method: row.method,
            path: row.path,
            ip: row.ip,
            user_agent: row.user_agent,
            request_id: row.request_id,
            service_data: row.service_data,
        };
        (place, row.written_at, event.into())
    });
    Ok(with_place.collect())
}

/// Those of these users who have events of transactions from `first` on and before `horizon`; bounds as of a [`Stretch`].
pub async fn list_with_news(
    connection: &mut PgConnection,
    users: &[UserId],
    first: i64,
    horizon: i64,
    from: Uuid,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<UserId>> {
    let users: Vec<Uuid> = users.iter().map(|user| user.0).collect();
    sqlx::query_scalar!(
        r#"select asked.id as "id!: UserId" from unnest($1::uuid[]) as asked (id)
           where exists (select from events where user_id = asked.id and id >= $4 and written_at is null
                           and xact >= $2::text::xid8 and xact < $3::text::xid8)
              or exists (select from events where user_id = asked.id and written_at >= $5
                           and xact >= $2::text::xid8 and xact < $3::text::xid8)"#,
        &users,
        first.to_string(),
        horizon.to_string(),
        from,
        since,
    )
    .fetch_all(connection)
    .await
}

/// A user's next events by id: those that came with a backup, whose ids are before `first` or which were written before `since`,
/// and those of transactions before `horizon`.
pub async fn list_restored(
    connection: &mut PgConnection,
    user: UserId,
    range: &Range,
    first: Uuid,
    since: DateTime<Utc>,
    horizon: i64,
    at_most: i64,
) -> sqlx::Result<Vec<Event>> {
    let rows = select_events!(
        range,
        ["user_id = $7 and id > $1 and id < $2
          and (xact < $8::text::xid8 or written_at < $9 or written_at is null and id < $10)"],
        "asc",
        at_most,
        user.0,
        horizon.to_string(),
        since,
        first
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Event::from).collect())
}
