//! Connections, and transactions made of them.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Transaction};

use super::{Meaning, change, meaning};

/// How long a request may wait for a connection before it is told that the server is busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a statement of a request or a worker may take.
const LONGEST_STATEMENT: Duration = Duration::from_secs(60);

/// A bounded number of connections to Postgres; cheap to clone.
///
/// After an outage all of them are new (`renew`): one that froze or died with its server must not be the first
/// that a request is given when Postgres is back.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    current: RwLock<PgPool>,
    options: PgConnectOptions,
    connections: u32,
    /// Somebody was refused a connection, and the pulse has not asked why.
    is_refused: AtomicBool,
}

impl Pool {
    /// A pool of at most `connections`; none is made before somebody asks.
    pub(super) fn new(options: PgConnectOptions, connections: u32) -> Self {
        let current = RwLock::new(fresh(&options, connections));
        Self(Arc::new(Shared { current, options, connections, is_refused: AtomicBool::new(false) }))
    }

    /// How to connect, for whoever needs a connection outside of the pool.
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.0.options
    }

    /// A connection for statements that stand alone.
    ///
    /// # Errors
    /// When none can be made, or none was free for two seconds.
    pub async fn acquire(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        self.reached(self.current().acquire().await)
    }

    /// A transaction; without a commit it leaves nothing.
    ///
    /// # Errors
    /// As of [`Pool::acquire`].
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        let connection = self.acquire().await?;
        // In a task of its own, which nobody cuts off: the library knows of a transaction once BEGIN is answered, so one
        // that was dropped before would stay open in the pool, and swallow what the next ones write.
        let begun = tokio::spawn(Transaction::begin(connection, None)).await;
        begun.unwrap_or(Err(sqlx::Error::WorkerCrashed)).map(Tx)
    }

    /// A connection outside of the pool, for who must not wait for a crowd. Gone as soon as it is dropped, whatever happens on it.
    /// No statement on it takes longer than `longest`.
    ///
    /// # Errors
    /// When none can be made within two seconds.
    pub async fn connect(&self, longest: Duration) -> sqlx::Result<PgConnection> {
        let connect = async {
            let mut connection = PgConnection::connect_with(&self.0.options).await?;
            prepare(&mut connection, longest).await?;
            Ok(connection)
        };
        let connected = tokio::time::timeout(ACQUIRE_TIMEOUT, connect).await;
        self.reached(connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)))
    }

    /// Whatever keeps us from a connection, a wrong password as much as a closed port, is a database that cannot be
    /// reached. The pulse asks why: its own connection may be older than the reason.
    fn reached<T>(&self, outcome: sqlx::Result<T>) -> sqlx::Result<T> {
        outcome.map_err(|error| match error {
            // All are in use, or were just renewed.
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => error,
            error => {
                self.0.is_refused.store(true, Ordering::Relaxed);
                if meaning(&error) == Meaning::Away { error } else { sqlx::Error::Io(io::Error::other(error)) }
            }
        })
    }

    /// Whether somebody was refused a connection since this was asked last.
    pub(super) fn take_refusal(&self) -> bool {
        self.0.is_refused.swap(false, Ordering::Relaxed)
    }

    /// The connections as the library sees them, until the next outage.
    pub fn current(&self) -> PgPool {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets every connection: who waits for one is refused, who has one may keep it.
    pub(super) fn renew(&self) {
        let fresh = fresh(&self.0.options, self.0.connections);
        let old = std::mem::replace(&mut *self.0.current.write().unwrap_or_else(PoisonError::into_inner), fresh);
        // The call itself closes it; the future would say good-bye to a server that does not listen.
        drop(old.close());
    }
}

fn fresh(options: &PgConnectOptions, connections: u32) -> PgPool {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| Box::pin(prepare(connection, LONGEST_STATEMENT)));
    pool.connect_lazy_with(options.clone())
}

/// Ends what goes on in Postgres after nobody waits for it any more: a request that is cut off only hangs up. And makes a
/// commit wait for the disk where role, database or server say it need not: what was answered would be lost in a crash.
/// What they say of standbys counts.
async fn prepare(connection: &mut PgConnection, longest: Duration) -> sqlx::Result<()> {
    let settings = format!(
        "set statement_timeout = {};
         select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'",
        longest.as_millis()
    );
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await.map(drop)
}

/// A transaction: begun and ended by a service, handed to stores as a connection.
pub struct Tx(Transaction<'static, Postgres>);

impl Tx {
    /// Commits a change that somebody asked for. From here on the request cannot say that nothing has changed, whatever
    /// becomes of it: see [`change`].
    ///
    /// # Errors
    /// When Postgres refuses, or its answer was lost.
    pub async fn commit(self) -> sqlx::Result<()> {
        change::note();
        self.0.commit().await
    }

    /// Commits what a request leaves by the way (a failed log-in is counted, a mail is asked for), and which nobody has to
    /// look for.
    ///
    /// # Errors
    /// As of [`Tx::commit`].
    pub async fn commit_aside(self) -> sqlx::Result<()> {
        self.0.commit().await
    }

    /// Gives it up at once; dropping does it by and by.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn rollback(self) -> sqlx::Result<()> {
        self.0.rollback().await
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}
