//! Fills the table of events with a year of them, as fast as Postgres takes them.
//!
//! Every month is a partition, in a small table as in a large one. A tenth of the events is of one user, the others have a
//! thousand each, and all are mixed in time, as requests are. The rows are copies of one that the server wrote itself.

use anyhow::{Context, Result};
use bloq_accounts::clock::Clock;
use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::document::cores;

/// Months of events, this one included.
const MONTHS: u32 = 12;

/// Fills the table of a database on which a server has run. A tenth of the events is of the user `busy-2`, the others are of
/// `busy-3` and so on, whether there are rows of these or not.
pub async fn fill(database_url: &str, rows: u64) -> Result<()> {
    let mut connection = PgConnection::connect(database_url).await?;
    // Ten million rows are more than Postgres likes to write between two checkpoints.
    run(&mut connection, "alter system set max_wal_size = '32GB'").await?;
    run(&mut connection, "select pg_reload_conf()").await?;
    run(&mut connection, "create table sample as select * from events where user_id is not null limit 1").await?;
    let columns: Vec<String> = sqlx::query_scalar(
        "select column_name::text from information_schema.columns where table_name = 'sample' order by ordinal_position",
    )
    .fetch_all(&mut connection)
    .await?;

    let now = Clock::System.now();
    let this_month = now.date_naive().with_day(1).context("a month begins")?;
    let first_month = this_month - Months::new(MONTHS - 1);
    let whole = Year { columns, rows, from: midnight(first_month), to: now };
    let mut filling = JoinSet::new();
    for month in (0..MONTHS).map(|ahead| first_month + Months::new(ahead)) {
        if filling.len() == cores() {
            filling.join_next().await.transpose()?.transpose()?;
        }
        filling.spawn(fill_month(database_url.to_owned(), whole.clone(), month));
    }
    filling.join_all().await.into_iter().collect::<Result<()>>()?;

    run(&mut connection, "analyze events").await?;
    run(&mut connection, "alter system reset max_wal_size").await?;
    run(&mut connection, "select pg_reload_conf()").await?;
    run(&mut connection, "checkpoint").await
}

/// An event in the middle of those of the user who has a tenth of them.
pub async fn middle(database_url: &str) -> Result<Uuid> {
    let middle = "select id from events where user_id = md5('busy-2')::uuid order by id
                  offset (select count(*) / 2 from events where user_id = md5('busy-2')::uuid) limit 1";
    Ok(sqlx::query_scalar(middle).fetch_one(&mut PgConnection::connect(database_url).await?).await?)
}

/// All events, evenly from one instant to another.
#[derive(Clone)]
struct Year {
    columns: Vec<String>,
    rows: u64,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

impl Year {
    /// How many events there were before this instant.
    fn before(&self, instant: DateTime<Utc>) -> i64 {
        let span = (self.to - self.from).num_milliseconds().unsigned_abs();
        let passed = (instant.min(self.to) - self.from).num_milliseconds().unsigned_abs();
        let events = (u128::from(passed) * u128::from(self.rows)).div_ceil(u128::from(span));
        i64::try_from(events).unwrap_or(i64::MAX)
    }

    /// A statement that inserts those of a month.
    fn insert(&self, table: &str, month: NaiveDate) -> String {
        let Self { columns, rows, from, to } = self;
        let (first, after) = (self.before(midnight(month)), self.before(midnight(month + Months::new(1))));
        let (from, span) = (from.timestamp_millis(), (*to - from).num_milliseconds());
        let users = (rows * 9 / 10 / 1000).max(1);
        let values: Vec<String> = columns
            .iter()
            .map(|column| match column.as_str() {
                "id" => "(lpad(to_hex(ms), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid".into(),
                "user_id" => format!(
                    "md5('busy-' || case when n % 10 = 0 then 2 else 3 + abs(hashint8(n)::bigint) % {users} end)::uuid"
                ),
                "started_at" | "ended_at" => "to_timestamp(ms / 1000.0)".into(),
                column => format!("sample.{column}"),
            })
            .collect();
        format!(
            "insert into {table} ({}) select {} from sample, generate_series({first}::bigint, {after} - 1) n,
             lateral (select {from}::bigint + n * {span} / {rows} as ms) instant",
            columns.join(", "),
            values.join(", "),
        )
    }
}

/// Fills a partition before it is one, so that its indexes are made at once and not row by row, and without a log, which
/// readers never see. The server has made the present month itself.
async fn fill_month(database_url: String, year: Year, month: NaiveDate) -> Result<()> {
    let mut connection = PgConnection::connect(&database_url).await?;
    run(&mut connection, "set maintenance_work_mem = '512MB'").await?;
    run(&mut connection, "set synchronous_commit = off").await?;
    let table = format!("events_{}", month.format("%Y_%m"));
    let is_there: bool =
        sqlx::query_scalar("select to_regclass($1) is not null").bind(&table).fetch_one(&mut connection).await?;
    if !is_there {
        run(
            &mut connection,
            &format!("create unlogged table {table} (like events including defaults including constraints)"),
        )
        .await?;
    }
    run(&mut connection, &year.insert(&table, month)).await?;
    if !is_there {
        let (from, to) = (first_id(month), first_id(month + Months::new(1)));
        let attach = format!("alter table events attach partition {table} for values from ('{from}') to ('{to}')");
        run(&mut connection, &attach).await?;
    }
    // Or it would be done by itself, while pages are timed.
    run(&mut connection, &format!("vacuum (analyze) {table}")).await
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// The least id of a month, as `events` has it.
fn first_id(month: NaiveDate) -> Uuid {
    let millis = u128::try_from(midnight(month).timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

async fn run(connection: &mut PgConnection, statement: &str) -> Result<()> {
    let ran = sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await;
    ran.map(drop).with_context(|| format!("running {statement}"))
}
