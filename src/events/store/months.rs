//! The months of the table: its partitions, and the rows that have none.

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::events::{first_id, midnight};

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
    /// Less than that of one that was made later.
    pub made: i64,
}

/// The partitions of months, oldest first. One that is being dropped may be without its size.
pub async fn list_partitions(connection: &mut PgConnection) -> sqlx::Result<Vec<Partition>> {
    sqlx::query_as!(
        Partition,
        r#"select relname as "name!", reltuples as "rows!", coalesce(pg_total_relation_size(oid), 0) as "bytes!",
                  oid::bigint as "made!"
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
    hurry(connection).await?;
    had_lock(sqlx::query!("lock table only events in access exclusive mode").execute(connection).await)
}

/// For a transaction that locks what others want at any moment: it waits for no lock for long, and nobody for a process that
/// was suspended or cut off with the lock in its hands.
async fn hurry(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("set local lock_timeout = '200ms'").execute(&mut *connection).await?;
    sqlx::query!("set local idle_in_transaction_session_timeout = '2s'").execute(connection).await.map(drop)
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

/// What time it is by the clock of Postgres.
pub async fn find_now(connection: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(connection).await
}

/// Whether there is an event from this id on and before that one.
pub async fn find_any(connection: &mut PgConnection, from: Uuid, before: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from events where id >= $1 and id < $2) as "is_there!""#,
        from,
        before,
    )
    .fetch_one(connection)
    .await
}

/// The first transaction that wrote an event of this id or a later one; `None` when nothing in the default partition is before
/// it, and then nothing is read.
pub async fn find_first_transaction(connection: &mut PgConnection, from: Uuid) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "select min(xact::text::bigint) from events
         where id >= $1 and (select exists (select from events_default where id < $1))",
        from,
    )
    .fetch_one(connection)
    .await
}

/// How many rows of the default partition are before this id and were written before this transaction.
pub async fn count_strays_before(connection: &mut PgConnection, before: Uuid, transaction: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "rows!" from events_default where id < $1 and xact < $2::text::xid8"#,
        before,
        transaction.to_string(),
    )
    .fetch_one(connection)
    .await
}

/// Deletes such rows, `at_most` of them, and answers how many.
pub async fn delete_strays(
    connection: &mut PgConnection,
    before: Uuid,
    transaction: i64,
    at_most: i64,
) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from events_default where ctid = any(array(
             select ctid from events_default where id < $1 and xact < $2::text::xid8 limit $3
             for update skip locked))",
        before,
        transaction.to_string(),
        at_most,
    )
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}

/// How many rows are in the default partition; counted up to 1000.
pub async fn count_strays(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "rows!" from (select from events_default limit 1000) as strays"#)
        .fetch_one(connection)
        .await
}

/// Lets one replica at a time make partitions, until its transaction ends; `false`, and a transaction that is good for nothing any
/// more, when somebody was at the default partition for longer than that may take.
///
/// The order is that of every statement on `events`, first the table and then its partitions: whoever took the default
/// partition first would wait for a replica that waits for it. Nothing can fall into it meanwhile.
pub async fn lock_partitions(connection: &mut PgConnection) -> sqlx::Result<bool> {
    // A move takes as long as it takes; only this transaction may.
    sqlx::query!("set local statement_timeout = 0").execute(&mut *connection).await?;
    // One replica waits for another here, and nobody who reads or writes events behind it.
    sqlx::query!("set local lock_timeout = '5s'").execute(&mut *connection).await?;
    let outcome = sqlx::query!("lock table only events in share update exclusive mode").execute(&mut *connection).await;
    if !had_lock(outcome)? {
        return Ok(false);
    }
    hurry(connection).await?;
    had_lock(sqlx::query!("lock table events_default in access exclusive mode").execute(connection).await)
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
