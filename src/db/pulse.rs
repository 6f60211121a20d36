//! Whether Postgres is there: one connection asks it several times a second, and everybody else reads the answer.
//!
//! Without this, each request finds out for itself, and a Postgres that is frozen is found out by nobody: its connections
//! are open, and it says nothing.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Pool;
use crate::error::Error;

/// The pause between two questions while Postgres is there, and while it is away.
const PAUSE: Duration = Duration::from_millis(300);
const PAUSE_AWAY: Duration = Duration::from_millis(100);

/// How long an answer may take: this many moments, in each of which this process was awake. On a machine so busy that
/// our own timers come late, Postgres has as much more time.
const MOMENT: Duration = Duration::from_millis(100);
const MOMENTS: u32 = 10;

/// What is known about Postgres; cheap to clone.
#[derive(Clone)]
pub struct Pulse {
    is_here: watch::Receiver<bool>,
    beats: watch::Receiver<u64>,
    ask: Arc<Notify>,
}

/// The worker behind a [`Pulse`].
pub struct Heart {
    pools: Vec<Pool>,
    connection: Option<PgConnection>,
    is_here: watch::Sender<bool>,
    beats: watch::Sender<u64>,
    ask: Arc<Notify>,
}

impl Pulse {
    /// For work that needs no database: it is always there.
    pub fn steady() -> Self {
        Self { is_here: watch::channel(true).1, beats: watch::channel(0).1, ask: Arc::default() }
    }

    /// Whether Postgres was there when it was asked last.
    pub fn is_here(&self) -> bool {
        *self.is_here.borrow()
    }

    /// Asks now; the answer is there within a second or so.
    pub async fn ask(&self) -> bool {
        let mut beats = self.beats.clone();
        beats.mark_unchanged();
        self.ask.notify_one();
        // A heart that stopped has nothing to tell.
        beats.changed().await.is_ok() && self.is_here()
    }

    /// Resolves when Postgres is away; at once, if it is.
    pub async fn away(&self) {
        if self.is_here.clone().wait_for(|is_here| !is_here).await.is_err() {
            // The heart has stopped: nobody will know any more.
            std::future::pending().await
        }
    }

    /// Resolves when Postgres is there; at once, if it is.
    pub async fn here(&self) {
        if self.is_here.clone().wait_for(|is_here| *is_here).await.is_err() {
            std::future::pending().await
        }
    }

    /// Does `work` as long as Postgres is there.
    ///
    /// # Errors
    /// `DatabaseUnavailable` when it is not, or goes away meanwhile: then `work` was dropped where it stood.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.away() => Err(Error::database_unavailable()),
            done = work => Ok(done),
        }
    }
}

impl Heart {
    /// For the Postgres behind these pools, which are made anew when it goes away. It was just there.
    pub fn new(pools: Vec<Pool>) -> (Pulse, Self) {
        let ((is_here, here), (beats, beat), ask) = (watch::channel(true), watch::channel(0), Arc::<Notify>::default());
        let pulse = Pulse { is_here: here, beats: beat, ask: ask.clone() };
        (pulse, Self { pools, connection: None, is_here, beats, ask })
    }

    /// Beats until `stop`.
    pub fn spawn(self, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(async move {
            stop.run_until_cancelled(self.run()).await;
        })
    }

    async fn run(mut self) {
        loop {
            let answer = self.beat().await;
            let is_here = answer.is_ok();
            let was_here = self.is_here.send_replace(is_here);
            match answer {
                Ok(()) if !was_here => tracing::info!("the database is back"),
                Err(reason) if was_here => {
                    tracing::error!(reason, "the database is away; requests are refused until it is back");
                    self.pools.iter().for_each(Pool::renew);
                }
                _ => {}
            }
            self.beats.send_modify(|beats| *beats = beats.wrapping_add(1));
            tokio::select! {
                () = tokio::time::sleep(if is_here { PAUSE } else { PAUSE_AWAY }) => {}
                () = self.ask.notified() => {}
            }
        }
    }

    /// Asks once; answers why Postgres is as good as away.
    async fn beat(&mut self) -> Result<(), String> {
        let Some(options) = self.pools.first().map(Pool::options).cloned() else { return Ok(()) };
        let mut moments = 0;
        let mut asking = Box::pin(question(self.connection.take(), &options));
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut asking => break answer,
                () = tokio::time::sleep(MOMENT) => moments += 1,
            }
            if moments == MOMENTS {
                return Err("it does not answer".into());
            }
        };
        drop(asking);
        match answer {
            Ok((connection, false)) => {
                self.connection = Some(connection);
                Ok(())
            }
            // A standby that was not promoted. Its connection goes: the next one may find the server that was.
            Ok((_, true)) => Err("it takes no changes".into()),
            // Full, or it does not like us any more: but it is there, and those who are connected may go on.
            Err(sqlx::Error::Database(refusal)) if !refusal.code().is_some_and(|code| code.starts_with("57P")) => {
                tracing::debug!(%refusal, "the pulse was refused");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Whether Postgres is read-only. A connection that died alone is replaced: that is no outage.
async fn question(connection: Option<PgConnection>, options: &PgConnectOptions) -> sqlx::Result<(PgConnection, bool)> {
    if let Some(mut connection) = connection
        && let Ok(is_read_only) = is_read_only(&mut connection).await
    {
        return Ok((connection, is_read_only));
    }
    let mut connection = PgConnection::connect_with(options).await?;
    let is_read_only = is_read_only(&mut connection).await?;
    Ok((connection, is_read_only))
}

async fn is_read_only(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select current_setting('transaction_read_only')::boolean").fetch_one(connection).await
}
