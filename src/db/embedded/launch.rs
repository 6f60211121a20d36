//! Starting Postgres in a data folder.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;
use tokio::time::sleep;

use super::account::Account;
use super::binaries::{Binaries, Search};
use super::cluster::{self, DATABASE};
use super::guard::Guard;
use super::log::ServerLog;
use super::postmaster::end_leftover;
use super::socket::{self, PORT, SocketFolder};
use super::{POLL, Settings};

/// How long Postgres may take to accept connections, which includes recovering from a crash.
const READY_WITHIN: Duration = Duration::from_secs(600);
/// The longest pause between two looks at whether it does.
const SLOWEST_POLL: Duration = Duration::from_millis(250);

/// The programs of PostgreSQL for a data folder, and who runs them.
pub(super) struct Tools {
    account: Account,
    binaries: Binaries,
    /// The version that made the database, if there is one.
    made_by: Option<u32>,
}

impl Tools {
    /// Find the programs for this folder, which may not exist yet.
    pub async fn find(settings: &Settings) -> Result<Self> {
        let pgdata = cluster::pgdata(&settings.data_dir);
        let account = Account::choose(&pgdata)?;
        let made_by = cluster::made_by(&pgdata)?;
        let binaries = Search::system(settings.postgres_bin.clone()).find(made_by).await?;
        account.check_reach(&binaries.folder).await?;
        Ok(Self { account, binaries, made_by })
    }

    /// A command for one of the client programs. It ends with us, and Ctrl-C in a terminal is for us alone.
    pub fn program(&self, name: &str) -> Result<Command> {
        let mut command = self.account.command(self.binaries.client(name)?);
        command.kill_on_drop(true).process_group(0);
        Ok(command)
    }
}

/// All it takes to start Postgres in a folder, again and again.
pub(super) struct Launch {
    account: Account,
    binaries: Binaries,
    pub pgdata: PathBuf,
    pub log: PathBuf,
    socket: SocketFolder,
    max_connections: u32,
    is_durable: bool,
}

impl Launch {
    /// Get a data folder which is locked ready for Postgres: the database made, and no earlier
    /// Postgres in it.
    pub async fn prepare(settings: &Settings) -> Result<Self> {
        let tools = Tools::find(settings).await?;
        let (data_dir, pgdata) = (&settings.data_dir, cluster::pgdata(&settings.data_dir));
        tools.account.check_reach(data_dir).await?;
        if tools.made_by.is_none() {
            tracing::info!(folder = %pgdata.display(), version = tools.binaries.major, "making a new database");
            let aside = cluster::aside(data_dir);
            cluster::remove_unfinished(data_dir).await?;
            cluster::make(&aside, &tools.account, &tools.binaries).await?;
            cluster::put_in_place(&aside, data_dir)?;
        }
        Self::at(pgdata, tools, settings).await
    }

    /// Make a new database in a folder that is not the one where a database is looked for.
    pub async fn aside(settings: &Settings, folder: PathBuf) -> Result<Self> {
        let tools = Tools::find(settings).await?;
        tools.account.check_reach(&settings.data_dir).await?;
        cluster::remove_unfinished(&settings.data_dir).await?;
        cluster::make(&folder, &tools.account, &tools.binaries).await?;
        Self::at(folder, tools, settings).await
    }

    async fn at(pgdata: PathBuf, tools: Tools, settings: &Settings) -> Result<Self> {
        let Tools { account, binaries, .. } = tools;
        end_leftover(&pgdata).await?;
        let socket = SocketFolder::make(&settings.data_dir, &account)?;
        account.check_reach(&socket.path).await?;
        let log = cluster::log_path(&settings.data_dir);
        let Settings { max_connections, is_durable, .. } = *settings;
        Ok(Self { account, binaries, pgdata, log, socket, max_connections, is_durable })
    }

    /// Where Postgres will be reached.
    pub fn url(&self) -> String {
        socket::url(&self.socket.path, PORT)
    }

    /// Start Postgres, without waiting for it.
    pub fn spawn(&self) -> Result<(Guard, ServerLog)> {
        let (log, file) = ServerLog::open(self.log.clone(), &self.account)?;
        let mut command = vec![self.binaries.folder.join("postgres").into(), "-D".into()];
        command.push(self.pgdata.clone().into_os_string());
        let mut socket_folder = OsString::from("unix_socket_directories=");
        socket_folder.push(&self.socket.path);
        let durable = if self.is_durable { "on" } else { "off" };
        // Given here these win over whatever the folder's own configuration says.
        for setting in [
            socket_folder,
            "unix_socket_permissions=0700".into(),
            "listen_addresses=".into(),
            format!("port={PORT}").into(),
            format!("max_connections={}", self.max_connections).into(),
            // Our role may use them all anyway; a reserve only sets a lower bound to the above.
            "superuser_reserved_connections=0".into(),
            format!("fsync={durable}").into(),
            format!("synchronous_commit={durable}").into(),
            format!("full_page_writes={durable}").into(),
            // The log goes where we sent it.
            "log_destination=stderr".into(),
            "logging_collector=off".into(),
            // Neither rows nor statements: they hold what belongs to users.
            "log_error_verbosity=terse".into(),
            "log_min_error_statement=panic".into(),
        ] {
            command.extend(["-c".into(), setting]);
        }
        let guard = Guard::spawn(&self.account, &command, file).context("starting /bin/sh, which runs Postgres")?;
        Ok((guard, log))
    }

    /// Wait until Postgres accepts connections and has our database.
    pub async fn ready(&self, guard: &mut Guard, log: &ServerLog) -> Result<()> {
        let failure = tokio::select! {
            made = self.make_database() => return made,
            ended = guard.ended() => format!("ended while it started ({})", ended?),
            () = sleep(READY_WITHIN) => format!("accepts no connections after {READY_WITHIN:?}"),
        };
        bail!("Postgres {failure}. The last lines of {}:\n{}", log.path.display(), log.tail())
    }

    /// Make the database of the account service if it is missing, as soon as Postgres lets us.
    async fn make_database(&self) -> Result<()> {
        // This one is always there.
        let options = PgConnectOptions::from_str(&self.url())?.database("postgres");
        // More and more slowly: each attempt during a recovery is a line in the log of Postgres.
        let mut pause = POLL;
        let mut connection = loop {
            match PgConnection::connect_with(&options).await {
                Ok(connection) => break connection,
                Err(_) => sleep(pause).await,
            }
            pause = (pause * 3 / 2).min(SLOWEST_POLL);
        };
        let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(DATABASE)
            .fetch_one(&mut connection)
            .await
            .context("looking for the database in the private Postgres")?;
        if !exists {
            sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {DATABASE}")))
                .execute(&mut connection)
                .await
                .context("making the database in the private Postgres")?;
        }
        connection.close().await.context("leaving the private Postgres")
    }
}
