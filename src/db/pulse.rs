//! Whether Postgres is there: one connection asks it several times a second, and everybody else reads the answer.
//!
//! Without this, each request finds out for itself, and a Postgres that is frozen is found out by nobody: its connections
//! are open, and it says nothing.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::{Connection, PgConnection};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{Pool, first};
use crate::error::Error;

/// The pause between two questions while Postgres is there, and while it is away.
const PAUSE: Duration = Duration::from_millis(300);
const PAUSE_AWAY: Duration = Duration::from_millis(100);

/// How long an answer may take: this many moments, in each of which this process was awake. On a machine so busy that
/// our own timers come late, Postgres has as much more time.
const MOMENT: Duration = Duration::from_millis(100);
const MOMENTS: u32 = 10;

/// How many moments a new connection may take, the two seconds of the pool: with one that takes longer nobody could work.
/// The database counts as away after [`MOMENTS`], and the connection is made meanwhile.
const MOMENTS_TO_CONNECT: u32 = 20;

/// Reasons that the log is told before all is well again.
const MOST_TOLD: usize = 8;

/// What is known about Postgres; cheap to clone.
#[derive(Clone)]
pub struct Pulse {
    is_here: watch::Receiver<bool>,
    beats: watch::Receiver<u64>,
    ask: Arc<Notify>,
}

/// The worker behind a [`Pulse`].
pub struct Heart {
    pool: Pool,
    connection: Option<PgConnection>,
    /// One that is being made, for longer than one question if it must.
    connecting: Option<Connecting>,
    is_here: watch::Sender<bool>,
    beats: watch::Sender<u64>,
    ask: Arc<Notify>,
}

/// A connection, why there is none, or nothing at all in [`MOMENTS_TO_CONNECT`].
type Connecting = Pin<Box<dyn Future<Output = Option<sqlx::Result<PgConnection>>> + Send>>;

/// What a question found out.
#[derive(Debug, PartialEq)]
enum Found {
    /// It is there.
    Here,
    /// It lets nobody in, and those who are in may go on.
    Closed(String),
    /// It is as good as away.
    Away(String),
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
        if !self.is_here() {
            return Err(Error::Away(None));
        }
        self.during_if_needed(work).await
    }

    /// The same for work that may turn out to need no Postgres: what waits for nothing is done without.
    ///
    /// # Errors
    /// As of [`Pulse::during`].
    pub async fn during_if_needed<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.away() => Err(Error::Away(None)),
        }
    }
}

impl Heart {
    /// For the Postgres behind this pool, which is made anew when it goes away.
    ///
    /// # Errors
    /// When there is no connection to it.
    pub async fn new(pool: Pool) -> anyhow::Result<(Pulse, Self)> {
        let connection = Some(first(pool.options()).await?);
        let ((is_here, here), (beats, beat), ask) = (watch::channel(true), watch::channel(0), Arc::<Notify>::default());
        let pulse = Pulse { is_here: here, beats: beat, ask: ask.clone() };
        Ok((pulse, Self { pool, connection, connecting: None, is_here, beats, ask }))
    }

    /// Beats until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.beats()).await;
    }

    async fn beats(&mut self) {
        let mut told: Vec<Found> = Vec::new();
        loop {
            let found = self.beat().await;
            let is_here = !matches!(found, Found::Away(_));
            if self.is_here.send_replace(is_here) && !is_here {
                self.pool.renew();
            }
            self.beats.send_modify(|beats| *beats = beats.wrapping_add(1));
            match &found {
                Found::Here if told.is_empty() => {}
                Found::Here => {
                    tracing::info!("the database is back");
                    told.clear();
                }
                // Once for each reason: a server that is back may have another one than the one that went.
                trouble if told.contains(trouble) || told.len() == MOST_TOLD => {}
                Found::Closed(reason) => {
                    tracing::warn!(reason, "the database takes no new connections; requests use those that are open");
                    told.push(found);
                }
                Found::Away(reason) => {
                    tracing::error!(reason, "the database is away; requests are refused until it is back");
                    told.push(found);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(if is_here { PAUSE } else { PAUSE_AWAY }) => {}
                () = self.ask.notified() => {}
            }
        }
    }

    /// Asks once.
    async fn beat(&mut self) -> Found {
        // Where somebody was refused, an older connection proves nothing.
        let is_refused = self.pool.take_refusal();
        let connection = self.connection.take().filter(|_| !is_refused);
        // One that died alone is replaced: that is no outage.
        if let Some(connection) = connection
            && let Ok(found) = self.ask(connection).await
        {
            return found;
        }
        let options = self.pool.options();
        let connecting = self.connecting.get_or_insert_with(|| {
            let options = options.clone();
            Box::pin(within(MOMENTS_TO_CONNECT, async move { PgConnection::connect_with(&options).await }))
        });
        let Some(connected) = within(MOMENTS, connecting).await else { return no_answer() };
        self.connecting = None;
        match connected {
            None => no_answer(),
            Some(Ok(connection)) => self.ask(connection).await.unwrap_or_else(|error| Found::Away(error.to_string())),
            Some(Err(sqlx::Error::Database(refusal))) if self.is_served(&*refusal).await => {
                Found::Closed(refusal.to_string())
            }
            Some(Err(error)) => Found::Away(error.to_string()),
        }
    }

    /// Asks whether Postgres takes changes; fails when this connection is none any more. One that did not answer is not
    /// asked again.
    async fn ask(&mut self, mut connection: PgConnection) -> sqlx::Result<Found> {
        let question = sqlx::query_scalar("select current_setting('transaction_read_only')::boolean");
        let Some(is_read_only) = within(MOMENTS, question.fetch_one(&mut connection)).await else {
            return Ok(no_answer());
        };
        if is_read_only? {
            // A standby that was not promoted. Its connection goes: the next one may find the server that was.
            return Ok(Found::Away("it takes no changes".into()));
        }
        self.connection = Some(connection);
        Ok(Found::Here)
    }

    /// Whether requests go on where we are refused, because it is full or does not like us any more: they have
    /// connections, or are such a crowd that none is free.
    async fn is_served(&mut self, refusal: &dyn DatabaseError) -> bool {
        // 57P operator intervention: it starts or stops.
        let is_down = refusal.code().is_some_and(|code| code.starts_with("57P"));
        let was_here = *self.is_here.borrow();
        was_here && !is_down && !matches!(within(MOMENTS, self.pool.acquire()).await, Some(Err(_)))
    }
}

fn no_answer() -> Found {
    Found::Away("it does not answer".into())
}

/// Does `work` for so many moments.
async fn within<T>(moments: u32, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    for _ in 0..moments {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = tokio::time::sleep(MOMENT) => {}
        }
    }
    None
}
