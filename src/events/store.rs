//! SQL for `events`.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use ipnetwork::IpNetwork;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::pruner::midnight;
use super::{Event, Order, REST, agent, first_id};
use crate::users::UserId;

/// An event to write, if the row of its user has this version.
pub struct Claim {
    pub event: Arc<Event>,
    pub version: Option<i64>,
}

/// The statement that inserts many events at once, and what it does `on conflict` with rows that are there.
macro_rules! insert_events {
    ($connection:expr, $claims:expr, $on_conflict:tt) => {{
        let claims: &[Claim] = $claims;
        let versions: Vec<Option<i64>> = claims.iter().map(|claim| claim.version).collect();
        let done = sqlx::query!(
            "insert into events (id, user_id, service, started_at, ended_at, status, bytes_out, method, path, ip, user_agent,
                                 request_id, service_data, request_uuid, written_at)
             select event.id, event.user_id, service, started_at, ended_at, status, bytes_out, method,
                    case when is_known then path else path_without_names(path) end, case when is_known then ip end,
                    case when is_known then user_agent end, case when is_known then request_id else '-' end,
                    case when is_known then service_data end, case when is_known then request_uuid end,
                    case when event.id not between present.first and present.last then statement_timestamp() end
             from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::smallint[],
                         $7::bigint[], $8::text[], $9::text[], $10::inet[], $11::text[], $12::text[], $13::jsonb[],
                         $14::uuid[], $15::bigint[])
                  as event (id, user_id, service, started_at, ended_at, status, bytes_out, method, path, ip, user_agent,
                            request_id, service_data, request_uuid, claimed)
             left join users on users.id = event.user_id
             cross join lateral (select event.user_id is null or users.id is not null) as person (is_known)
             cross join events_of_now() as present
             where claimed is null or claimed = users.version "
                + $on_conflict,
            &column(claims, |event| event.id),
            &column(claims, |event| event.user.map(|user| user.0)) as &[Option<Uuid>],
            // The usual one is not written (`migrations/0025_events_usual_service.sql`).
            &column(claims, |event| Some(event.service.as_str()).filter(|service| *service != REST)) as &[Option<&str>],
            &column(claims, |event| event.started_at),
            &column(claims, |event| event.ended_at),
            &column(claims, |event| i16::try_from(event.status).unwrap_or(0)),
            &column(claims, |event| i64::try_from(event.bytes_out).unwrap_or(i64::MAX)),
            &column(claims, |event| event.method.as_str()) as &[&str],
            &column(claims, |event| event.path.as_str()) as &[&str],
            &column(claims, |event| event.ip.map(IpNetwork::from)) as &[Option<IpNetwork>],
            &column(claims, |event| event.user_agent.as_deref().map(agent::short)) as &[Option<Cow<'_, str>>],
            &column(claims, |event| own_name(event).is_none().then_some(event.request_id.as_str())) as &[Option<&str>],
            &column(claims, |event| event.service_data.as_ref()) as &[Option<&Value>],
            &column(claims, own_name) as &[Option<Uuid>],
            &versions as &[Option<i64>],
        )
        .execute(&mut *$connection)
        .await?;
        match usize::try_from(done.rows_affected()) {
            Ok(written) if written == claims.len() => Ok(Vec::new()),
            // Looked for only now: to have them answered by the statement costs it a quarter more.
            _ => list_left_out($connection, claims).await,
        }
    }};
}

/// The events that claimed a version and are not in the table.
async fn list_left_out(connection: &mut PgConnection, claims: &[Claim]) -> sqlx::Result<Vec<Uuid>> {
    let claimed = claims.iter().filter(|claim| claim.version.is_some());
    let (ids, users): (Vec<Uuid>, Vec<Option<Uuid>>) =
        claimed.map(|claim| (claim.event.id, claim.event.user.map(|user| user.0))).unzip();
    sqlx::query_scalar!(
        r#"select claim.id as "id!" from unnest($1::uuid[], $2::uuid[]) as claim (id, user_id)
           where not exists (select from events where events.user_id = claim.user_id and events.id = claim.id)"#,
        &ids,
        &users as &[Option<Uuid>],
    )
    .fetch_all(connection)
    .await
}

/// Columns, not rows: one statement of fixed text takes any number of them.
fn column<'a, T>(claims: &'a [Claim], value: impl Fn(&'a Event) -> T) -> Vec<T> {
    claims.iter().map(|claim| value(&claim.event)).collect()
}

/// The id of a request that is a UUID, as those are which we give (`migrations/0026_events_request_uuid.sql`).
fn own_name(event: &Event) -> Option<Uuid> {
    let text = event.request_id.as_str();
    let is_canonical = text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    Uuid::try_parse(text).ok().filter(|_| is_canonical)
}

/// Inserts many events in one statement, but those that claim a version which the row of their user does not have: their ids
/// are answered. Of a user who is deleted by now (a late event, or a request with a token that outlived its user) the row
/// tells no more of the person than [`update_forgotten`] leaves.
///
/// # Errors
/// Among others when one of them is in the table already; [`insert_again`] is for those.
pub async fn insert_batch(connection: &mut PgConnection, claims: &[Claim]) -> sqlx::Result<Vec<Uuid>> {
    insert_events!(connection, claims, "")
}

/// The same for events of which some may be there already (their commit was not known, or there is more to say). Such a row is
/// brought to what the client was told: by the later word, also when a connection that froze executes the earlier one last.
/// No id may occur twice in `claims`. In the order of ids, so that two statements with the same rows wait for one another and
/// not each for the other.
pub async fn insert_again(connection: &mut PgConnection, claims: &[Claim]) -> sqlx::Result<Vec<Uuid>> {
    insert_events!(
        connection,
        claims,
        "order by event.id on conflict (user_id, id) do update
         set ended_at = excluded.ended_at, status = excluded.status, bytes_out = excluded.bytes_out,
             service_data = excluded.service_data
         where events.ended_at <= excluded.ended_at"
    )
}

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

struct EventRow {
    id: Uuid,
    user_id: Option<Uuid>,
    service: Option<String>,
    started_at: DateTime<Utc>,
    ended_at: DateTime<Utc>,
    status: i16,
    bytes_out: i64,
    method: String,
    path: String,
    ip: Option<IpNetwork>,
    user_agent: Option<String>,
    request_id: String,
    service_data: Option<Value>,
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
}

pub async fn find_moment(connection: &mut PgConnection) -> sqlx::Result<Moment> {
    sqlx::query_as!(
        Moment,
        r#"select least(statement_timestamp(), min(xact_start)) as "began!", pg_current_snapshot()::text as "snapshot!"
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

/// A user's next events by id: those of transactions before `horizon`, and those that came with a backup, whose transactions
/// have numbers that this Postgres has not come to.
pub async fn list_restored(
    connection: &mut PgConnection,
    user: UserId,
    horizon: i64,
    filter: &Range,
    at_most: i64,
) -> sqlx::Result<Vec<Event>> {
    let rows = sqlx::query_as!(
        EventRow,
        r#"select id, user_id, service, started_at, ended_at, status, bytes_out, method, path, ip, user_agent,
                  coalesce(request_uuid::text, request_id) as "request_id!", service_data
         from events
         where user_id = $1 and id > $2
           and (xact < $3::text::xid8
                or xact >= (select (oldest.xact::text::bigint + age(oldest.xact::xid))::text::xid8
                            from (select pg_snapshot_xmin(pg_current_snapshot())) as oldest (xact)))
           and ($4::text is null or coalesce(service, 'cloud-accounts') = $4) and status between $5 and $6
         order by id limit $7"#,
        user.0,
        filter.after,
        horizon.to_string(),
        filter.service,
        filter.least_status,
        filter.greatest_status,
        at_most,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Event::from).collect())
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

/// Notes that the events of these users have to lose the person.
pub async fn insert_erasures(connection: &mut PgConnection, users: &[UserId], now: DateTime<Utc>) -> sqlx::Result<()> {
    let users: Vec<Uuid> = users.iter().map(|user| user.0).collect();
    sqlx::query!("insert into erasures (user_id, deleted_at, next_at) select unnest($1::uuid[]), $2, $2", &users, now)
        .execute(connection)
        .await
        .map(drop)
}

pub struct Erasure {
    pub user: UserId,
    pub deleted_at: DateTime<Utc>,
    pub clean_up_to: Uuid,
}

/// Takes the erasure that is due longest, and with it the sole right to work on it until `lease_end`.
pub async fn mark_erasure_taken(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    lease_end: DateTime<Utc>,
) -> sqlx::Result<Option<Erasure>> {
    sqlx::query_as!(
        Erasure,
        r#"update erasures set next_at = $2
           where user_id = (select user_id from erasures where next_at <= $1
                            order by next_at limit 1 for update skip locked)
           returning user_id as "user: UserId", deleted_at, clean_up_to"#,
        now,
        lease_end,
    )
    .fetch_optional(connection)
    .await
}

pub async fn update_erasure(
    connection: &mut PgConnection,
    user: UserId,
    clean_up_to: Uuid,
    next_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!("update erasures set clean_up_to = $2, next_at = $3 where user_id = $1", user.0, clean_up_to, next_at,)
        .execute(connection)
        .await
        .map(drop)
}

pub async fn delete_erasure(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    sqlx::query!("delete from erasures where user_id = $1", user.0).execute(connection).await.map(drop)
}

/// What one batch of [`update_forgotten`] did.
pub struct Cleared {
    pub events: i64,
    pub last: Option<Uuid>,
}

/// Takes the person out of a user's next `at_most` events after this one: the address, the agent, what the client called the
/// request, what the handler added, and names in the path.
pub async fn update_forgotten(
    connection: &mut PgConnection,
    user: UserId,
    after: Uuid,
    at_most: i64,
) -> sqlx::Result<Cleared> {
    sqlx::query_as!(
        Cleared,
        r#"with batch as (
               select id from events where user_id = $1 and id > $2 order by id limit $3
           ), cleared as (
               update events set ip = null, user_agent = null, service_data = null, request_uuid = null, request_id = '-',
                   path = path_without_names(path)
               from batch where events.user_id = $1 and events.id = batch.id
           )
           select count(*) as "events!", (select id from batch order by id desc limit 1) as last from batch"#,
        user.0,
        after,
        at_most,
    )
    .fetch_one(connection)
    .await
}

/// The first day of the month of `instant`, and of `ahead` months later.
pub fn month(instant: DateTime<Utc>, ahead: u32) -> NaiveDate {
    let date = instant.date_naive();
    date.with_day(1).and_then(|first| first.checked_add_months(Months::new(ahead))).unwrap_or(date)
}

/// Whether this month has a partition of its own.
pub async fn find_partition(connection: &mut PgConnection, month: NaiveDate) -> sqlx::Result<bool> {
    let name = partition_name(month);
    sqlx::query_scalar!(r#"select to_regclass($1) is not null as "found!""#, name).fetch_one(connection).await
}

/// A month of events.
pub struct Partition {
    pub name: String,
    /// As many as at the last vacuum or analyze; less than none before the first.
    pub rows: f32,
    /// With its indexes.
    pub bytes: i64,
}

/// The partitions of months, oldest first. One that is being dropped may be without its size.
pub async fn list_partitions(connection: &mut PgConnection) -> sqlx::Result<Vec<Partition>> {
    sqlx::query_as!(
        Partition,
        r#"select relname as "name!", reltuples as "rows!", coalesce(pg_total_relation_size(oid), 0) as "bytes!"
           from pg_inherits join pg_class on oid = inhrelid
           where inhparent = 'events'::regclass and oid <> 'events_default'::regclass
           order by relname"#
    )
    .fetch_all(connection)
    .await
}

/// Keeps everybody from the events until the end of the transaction, for what changes the list of partitions; `false`,
/// and a transaction that is good for nothing any more, when somebody was at them for longer than that may take.
///
/// All events wait behind whoever waits for this lock: it must have it at once, or let go.
pub async fn lock_events(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query!("set local lock_timeout = '200ms'").execute(&mut *connection).await?;
    had_lock(sqlx::query!("lock table only events in access exclusive mode").execute(connection).await)
}

/// Drops the partition of a month, under [`lock_events`] and with the same answer: somebody may be at this partition alone.
pub async fn delete_partition(connection: &mut PgConnection, month: NaiveDate) -> sqlx::Result<bool> {
    // Its name is made of digits.
    let drop = format!("drop table {}", partition_name(month));
    had_lock(sqlx::query(AssertSqlSafe(drop)).execute(connection).await)
}

fn had_lock<T>(outcome: sqlx::Result<T>) -> sqlx::Result<bool> {
    match outcome {
        Ok(_) => Ok(true),
        // lock_not_available
        Err(sqlx::Error::Database(refusal)) if refusal.code().as_deref() == Some("55P03") => Ok(false),
        Err(error) => Err(error),
    }
}

/// How many rows of the default partition are before this id.
pub async fn find_strays_before(connection: &mut PgConnection, before: Uuid) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "rows!" from events_default where id < $1"#, before)
        .fetch_one(connection)
        .await
}

/// Deletes rows of the default partition before this id, `at_most` of them, and answers how many.
pub async fn delete_strays(connection: &mut PgConnection, before: Uuid, at_most: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from events_default where ctid = any(array(
             select ctid from events_default where id < $1 limit $2 for update skip locked))",
        before,
        at_most,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}

/// How many rows are in the default partition; counted up to 1000.
pub async fn list_strays(connection: &mut PgConnection) -> sqlx::Result<usize> {
    let rows =
        sqlx::query_scalar!(r#"select 1 as "one!" from events_default limit 1000"#).fetch_all(connection).await?;
    Ok(rows.len())
}

/// Lets one replica at a time make partitions, until its transaction ends.
///
/// The order is that of every statement on `events`, first the table and then its partitions: whoever took the default
/// partition first would wait for a replica that waits for it. Nothing can fall into it meanwhile.
pub async fn lock_partitions(connection: &mut PgConnection) -> sqlx::Result<()> {
    // A move takes as long as it takes; only this transaction may.
    sqlx::query!("set local statement_timeout = 0").execute(&mut *connection).await?;
    sqlx::query!("lock table only events in share update exclusive mode").execute(&mut *connection).await?;
    sqlx::query!("lock table events_default in access exclusive mode").execute(connection).await?;
    Ok(())
}

/// Makes the partition of a month, under [`lock_partitions`]. Rows of it that fell into the default partition move
/// over, or the new one could not be attached.
pub async fn insert_partition(connection: &mut PgConnection, month: NaiveDate) -> sqlx::Result<()> {
    let name = partition_name(month);
    let (from, to) = (first_id(midnight(month)), first_id(midnight(month + Months::new(1))));
    // Names and bounds cannot be parameters of DDL; both are made of digits here.
    for statement in [
        format!("create table {name} (like events including all) with ({VACUUM})"),
        format!(
            "with strays as (delete from events_default where id >= '{from}' and id < '{to}' returning *)
             insert into {name} select * from strays"
        ),
        format!("alter table events attach partition {name} for values from ('{from}') to ('{to}')"),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// When to vacuum and analyze a partition: see `migrations/0024_events_vacuum.sql`.
const VACUUM: &str = "autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 100000, autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_analyze_threshold = 50000, autovacuum_analyze_scale_factor = 0";

fn partition_name(month: NaiveDate) -> String {
    format!("events_{}", month.format("%Y_%m"))
}

impl Partition {
    /// The first day of its month; `None` for a table that somebody else attached.
    pub fn month(&self) -> Option<NaiveDate> {
        let month = self.name.strip_prefix("events_")?;
        NaiveDate::parse_from_str(&format!("{month}_01"), "%Y_%m_%d").ok()
    }
}
