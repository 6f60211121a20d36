//! The way to Postgres: pool, migrations, and what a database error means. Knows no table.

pub mod change;
pub mod embedded;
pub mod pulse;

mod pool;

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sqlx::migrate::{Migrate, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

pub use pool::{Pool, Tx};

use crate::error::{Code, Error, Result};

/// The schema, compiled in.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long the first connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One key for everything that only one replica may do at a time while starting: "bloqacct" in ASCII.
const STARTUP_LOCK: i64 = 0x626c_6f71_6163_6374;

/// Whether a database URL can be understood at all; the reason never contains the URL itself.
pub fn check_url(url: &str) -> std::result::Result<(), &'static str> {
    match PgConnectOptions::from_str(url) {
        Ok(_) if url.starts_with("postgres://") || url.starts_with("postgresql://") => Ok(()),
        _ => Err("it cannot be understood"),
    }
}

/// Opens a pool of at most `connections`, and makes sure that it reaches a database.
pub async fn connect(url: &str, connections: u32) -> anyhow::Result<Pool> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| anyhow::anyhow!("the database URL cannot be understood"))?
        .application_name("bloq-accounts");
    // One connection first: a pool tries again until its time is up, and then tells of the time instead of the reason.
    first(&options).await?.close().await.ok();
    Ok(Pool::new(options, connections))
}

/// A connection, or why there is none.
async fn first(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    let place = format!("{} on {}", options.get_database().unwrap_or("(default)"), options.get_host());
    let first = tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(options)).await;
    let first = first.unwrap_or(Err(sqlx::Error::PoolTimedOut));
    first.with_context(|| format!("cannot reach the database {place}; check --database-url"))
}

/// Runs `work` on one connection while holding the start-up lock, so that ten replicas may start at once.
pub async fn alone<T>(
    pool: &Pool,
    work: impl AsyncFnOnce(&mut PgConnection) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    // Session locks belong to a connection: it is taken out of the pool and closed at the end, which frees the lock on
    // every way out.
    let mut connection = pool.acquire().await?.detach();
    // A migration takes as long as it takes, and so does waiting for one.
    sqlx::query("set statement_timeout = 0").execute(&mut connection).await?;
    sqlx::query("select pg_advisory_lock($1)").bind(STARTUP_LOCK).execute(&mut connection).await?;
    let outcome = work(&mut connection).await;
    connection.close().await.ok();
    outcome
}

/// Brings the schema up to date. To be called under [`alone`].
pub async fn migrate(connection: &mut PgConnection) -> anyhow::Result<()> {
    MIGRATIONS.run(connection).await.context("cannot bring the database schema up to date")
}

/// How many migrations this binary has that the database has not seen.
///
/// # Errors
/// When the database cannot be read, or was migrated by a newer binary.
pub async fn pending_migrations(pool: &Pool) -> anyhow::Result<usize> {
    let mut connection = pool.acquire().await?;
    let table = &MIGRATIONS.table_name;
    let known = sqlx::query_scalar::<_, bool>("select to_regclass($1) is not null")
        .bind(table.as_ref())
        .fetch_one(&mut *connection)
        .await?;
    if !known {
        return Ok(MIGRATIONS.iter().count());
    }
    let applied = connection.list_applied_migrations(table).await?;
    check_known(applied.iter().map(|migration| migration.version))?;
    Ok(MIGRATIONS.iter().filter(|own| !applied.iter().any(|seen| seen.version == own.version)).count())
}

/// Refuses migrations of a newer binary.
fn check_known(mut applied: impl Iterator<Item = i64>) -> anyhow::Result<()> {
    match applied.find(|version| !MIGRATIONS.version_exists(*version)) {
        Some(newer) => bail!("the database has migration {newer}, which this version does not know: it is older"),
        None => Ok(()),
    }
}

/// The table that [`check_backup`] reads.
pub fn migrations_table() -> &'static str {
    &MIGRATIONS.table_name
}

/// Refuses a backup of a newer binary. One of an older binary is migrated once it is restored.
pub fn check_backup(tables: &embedded::Tables) -> anyhow::Result<()> {
    let applied = tables.rows(migrations_table(), ["version"])?;
    ensure!(!applied.is_empty(), "there is no schema in the backup: it is none of bloq-accounts");
    let versions: Vec<i64> = applied.iter().map(|[version]| version.parse()).collect::<Result<_, _>>()?;
    check_known(versions.into_iter())
}

/// Gives violations of named constraints their public codes; every other error keeps its meaning.
pub fn on_constraint<T>(outcome: sqlx::Result<T>, codes: &[(&str, Code)]) -> Result<T> {
    outcome.map_err(|error| {
        let violated = error.as_database_error().and_then(|refusal| refusal.constraint());
        match codes.iter().find(|(name, _)| violated == Some(name)) {
            Some((_, code)) => (*code).into(),
            None => error.into(),
        }
    })
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match meaning(&error) {
            Meaning::Away => {
                tracing::debug!(%error, "the database is away");
                Self::Away(Some(error.into()))
            }
            Meaning::Busy => {
                // Not of a crowd that waits for connections, which could fill the log.
                if error.as_database_error().is_some() {
                    tracing::warn!(%error, "a transaction was given up");
                }
                Self::Busy { code: Code::Overloaded, retry_after: Duration::from_secs(1) }
            }
            Meaning::Fault => Self::Internal(error.into()),
        }
    }
}

/// Whether the reason of a failure is a database that cannot be reached (yet).
pub fn is_unreachable(error: &anyhow::Error) -> bool {
    let may_pass = |error: &sqlx::Error| meaning(error) != Meaning::Fault;
    error.chain().any(|cause| cause.downcast_ref::<sqlx::Error>().is_some_and(may_pass))
}

/// What Postgres calls the reason of a failure (SQLSTATE), if it gave one.
pub fn sqlstate(error: &Error) -> Option<String> {
    let (Error::Away(Some(reason)) | Error::Internal(reason)) = error else { return None };
    let refusal = reason.chain().find_map(|cause| cause.downcast_ref::<sqlx::Error>()?.as_database_error());
    refusal?.code().map(Cow::into_owned)
}

/// What an error of the database means for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The database is gone, or not yet there: worth another try when it is.
    Away,
    /// It is there, and this once it was too much: worth another try.
    Busy,
    /// Another try would end the same way.
    Fault,
}

/// What this error means.
pub fn meaning(error: &sqlx::Error) -> Meaning {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            Meaning::Away
        }
        // All are in use: had the database gone away, its pulse would have told sooner.
        sqlx::Error::PoolTimedOut => Meaning::Busy,
        sqlx::Error::Database(refusal) => match refusal.code().as_deref().unwrap_or_default() {
            // Gave in to another transaction (deadlock, serialization), or took too long (`db/pool.rs`).
            "40P01" | "40001" | "57014" => Meaning::Busy,
            // A read-only transaction: a standby that has not been promoted yet.
            "25006" => Meaning::Away,
            // Connection exception, insufficient resources, operator intervention (shutdown, crash, start-up).
            code if ["08", "53", "57P"].iter().any(|class| code.starts_with(class)) => Meaning::Away,
            _ => Meaning::Fault,
        },
        _ => Meaning::Fault,
    }
}
