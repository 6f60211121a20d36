//! A private Postgres under the data folder, for whoever configured no database.
//!
//! It is the system's own PostgreSQL, run as a child process which only a Unix socket in a folder
//! of mode 0700 leads to. Nobody else in the program knows: they get a URL like any other.

mod account;
mod archive;
mod backup;
pub mod binaries;
mod cluster;
mod family;
mod guard;
mod launch;
mod lock;
mod log;
mod postmaster;
mod socket;
mod supervisor;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::{Connection, PgConnection};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use self::archive::{Archive, Tables};
pub use self::backup::{check_empty, dump, restore, tables};
use self::launch::Launch;
pub use self::lock::Holder;
use self::lock::{Attempt, FolderLock};
use self::postmaster::Postmaster;
use self::supervisor::Supervisor;
use crate::data_dir;

/// How long a start waits for another process to let go of the folder before it refuses.
const FREED_WITHIN: Duration = Duration::from_millis(1500);
/// How long a command waits for a server which is just starting.
const SERVER_WITHIN: Duration = Duration::from_secs(30);
/// How long a command waits for another command to end.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);
/// How often something we wait for is looked at.
const POLL: Duration = Duration::from_millis(10);

/// What the private Postgres is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder everything is kept in; made if missing.
    pub data_dir: PathBuf,
    /// The configured folder of server binaries (`database.postgres_bin`); nothing else is
    /// searched when it is given.
    pub postgres_bin: Option<PathBuf>,
    /// How many connections Postgres accepts.
    pub max_connections: u32,
    /// Whether what is committed outlives a crash. Tests alone say no.
    pub is_durable: bool,
}

/// A running private Postgres: started again when it dies, ended when this is dropped.
pub struct Embedded {
    url: String,
    /// Tells the supervisor to end Postgres, and how long that may take; dropping it does as well.
    stop: oneshot::Sender<Duration>,
    wake: Arc<Notify>,
    supervisor: JoinHandle<()>,
    gone: CancellationToken,
}

impl Embedded {
    /// Lock the data folder, make the database if it is missing, start Postgres, and return when
    /// it accepts connections. A folder which another process holds is refused within 2 seconds.
    pub async fn start(mut settings: Settings, holder: Holder) -> Result<Self> {
        settings.data_dir = data_dir::prepare(&settings.data_dir)?;
        let lock = take(&settings.data_dir, holder).await?;
        Self::start_locked(settings, lock).await
    }

    async fn start_locked(settings: Settings, lock: FolderLock) -> Result<Self> {
        Self::run(Launch::prepare(&settings).await?, lock).await
    }

    /// Start Postgres, and let go of the lock when it is gone.
    async fn run(launch: Launch, lock: impl Send + 'static) -> Result<Self> {
        let url = launch.url();
        let supervisor = Supervisor::start(launch).await?;
        let ((stop, stopped), wake) = (oneshot::channel(), Arc::<Notify>::default());
        let (woken, gone) = (wake.clone(), CancellationToken::new());
        let is_gone = gone.clone().drop_guard();
        let supervisor = tokio::spawn(async move {
            let _is_gone = is_gone;
            supervisor.run(stopped, woken).await;
            // Only now: whoever takes the folder next must find no Postgres in it.
            drop(lock);
        });
        Ok(Self { url, stop, wake, supervisor, gone })
    }

    /// Where it is reached: a `postgres://` URL of a Unix socket.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Notified, it wakes a Postgres that somebody has frozen: what is under way at a stop needs it.
    pub fn alarm(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// Resolves when nobody looks after Postgres any more, which takes a stop, or a fault of ours.
    pub fn gone(&self) -> impl Future<Output = ()> + use<> {
        self.gone.clone().cancelled_owned()
    }

    /// End Postgres cleanly, or after 4 seconds by force, and return when it is gone.
    pub async fn stop(self) {
        if let Err(error) = self.stop_within(guard::STOPPED_WITHIN).await {
            tracing::error!("{error:#}");
        }
    }

    /// End Postgres cleanly, or when `patience` is over by force, and return when it is gone. It fails
    /// when nobody was there to do it any more.
    pub async fn stop_within(self, patience: Duration) -> Result<()> {
        // A supervisor that is gone has ended it.
        let _ = self.stop.send(patience);
        self.supervisor.await.context("the supervisor of the private Postgres failed")
    }
}

/// Lock the data folder, or refuse within 2 seconds.
async fn take(data_dir: &Path, holder: Holder) -> Result<FolderLock> {
    let deadline = Instant::now() + FREED_WITHIN;
    loop {
        match FolderLock::attempt(data_dir, holder)? {
            Attempt::Taken(lock) => return Ok(lock),
            Attempt::Held(_) if Instant::now() < deadline => sleep(POLL).await,
            Attempt::Held(by) => bail!(
                "the data folder {} is in use by {by}: stop that one, or choose another --data-dir",
                data_dir.display(),
            ),
        }
    }
}

/// Whether this data folder has a private Postgres, running or not; an error when that cannot be seen.
pub fn exists(data_dir: &Path) -> Result<bool> {
    Ok(cluster::made_by(&cluster::pgdata(data_dir))?.is_some())
}

/// The database as a command which works beside the server finds it.
pub enum Reached {
    /// The Postgres of a running server.
    Running {
        /// Where it is reached.
        url: String,
    },
    /// One started for this command alone.
    Started(Embedded),
}

impl Reached {
    /// Where the database is reached.
    pub fn url(&self) -> &str {
        match self {
            Self::Running { url } => url,
            Self::Started(embedded) => embedded.url(),
        }
    }

    /// Leave the database as it was found: running, or stopped.
    pub async fn release(self) {
        if let Self::Started(embedded) = self {
            embedded.stop().await;
        }
    }
}

/// Reach the private Postgres from a command: a running server's own, or one started for this
/// command. Another command is waited for.
pub async fn reach(mut settings: Settings) -> Result<Reached> {
    settings.data_dir = data_dir::prepare(&settings.data_dir)?;
    let began = Instant::now();
    loop {
        let by = match FolderLock::attempt(&settings.data_dir, Holder::Command)? {
            Attempt::Taken(lock) => {
                return Ok(Reached::Started(Embedded::start_locked(settings, lock).await?));
            }
            Attempt::Held(by) => by,
        };
        // Asked again each time round: the holder may be replaced by one of the other kind, and
        // for a moment after that the file still tells of the one before.
        let (patience, trouble) = match by.holder() {
            Some(Holder::Server) => (SERVER_WITHIN, "whose Postgres does not answer"),
            Some(Holder::Command) => (COMMAND_WITHIN, "which does not end"),
            None => (SERVER_WITHIN, "which does not say what it is"),
        };
        if by.holder() == Some(Holder::Server)
            && let Some(url) = running(&settings).await
        {
            return Ok(Reached::Running { url });
        }
        if began.elapsed() > patience {
            bail!(
                "the data folder {} is in use by {by}, {trouble}: see {}, or stop that process",
                settings.data_dir.display(),
                cluster::log_path(&settings.data_dir).display(),
            );
        }
        sleep(POLL).await;
    }
}

/// The URL of a running server's Postgres, once it accepts connections.
async fn running(settings: &Settings) -> Option<String> {
    let postmaster = Postmaster::recorded(&cluster::pgdata(&settings.data_dir))?;
    let url = socket::url(&postmaster.socket_folder, postmaster.port);
    let connecting = tokio::time::timeout(Duration::from_secs(1), PgConnection::connect(&url));
    connecting.await.ok()?.ok()?.close().await.ok()?;
    Some(url)
}
