//! Where everything happens: one Postgres in a temporary folder, and the servers on it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use bloq_accounts::db::embedded::{Embedded, Holder, Settings};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::server::Server;

/// The binary that is measured.
pub const BINARY: &str = env!("CARGO_BIN_EXE_bloq-accounts");

/// Sealed with it, keys in the database are open to every server of this run.
const MASTER_KEY: &str = "5f4dcc3b5aa765d61d8327deb882cf995f4dcc3b5aa765d61d8327deb882cf99";

/// A Postgres of our own, started by the code that `serve` uses, with the settings that it gets there.
pub struct World {
    folder: TempDir,
    postgres: Embedded,
}

impl World {
    pub async fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bloq-accounts-bench-").tempdir()?;
        // As root, Postgres is run by another user, who must get through.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711))?;
        let settings = Settings {
            data_dir: folder.path().join("database"),
            postgres_bin: None,
            max_connections: 100,
            is_durable: true,
        };
        let postgres = Embedded::start(settings, Holder::Server).await?;
        Ok(Self { folder, postgres })
    }

    /// Ends Postgres, and only then removes the folder.
    pub async fn close(self) -> Result<()> {
        self.postgres.stop().await;
        self.folder.close().context("removing the temporary folder")
    }

    /// Drops the databases that were made: Postgres would look after them while others are measured.
    pub async fn clear(&self) -> Result<()> {
        let mut connection = PgConnection::connect(self.url()).await?;
        let names = sqlx::query_scalar("select datname::text from pg_database where datname like 'bench%'");
        let names: Vec<String> = names.fetch_all(&mut connection).await?;
        for name in names {
            let statement = AssertSqlSafe(format!("drop database {name} with (force)"));
            sqlx::query(statement).execute(&mut connection).await?;
        }
        sqlx::query("checkpoint").execute(&mut connection).await?;
        Ok(())
    }

    /// A database that is always there.
    pub fn url(&self) -> &str {
        self.postgres.url()
    }

    /// A folder that is not there yet.
    pub fn new_folder(&self) -> PathBuf {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        self.folder.path().join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// A new empty database, whose name begins with `bench`; answers its URL.
    pub async fn database(&self, name: &str) -> Result<String> {
        let options = PgConnectOptions::from_str(self.postgres.url())?;
        let mut connection = PgConnection::connect_with(&options).await?;
        sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await?;
        Ok(options.database(name).to_url_lossy().to_string())
    }

    /// The binary with a data folder and an environment of its own. One address asks for everything here, so the limits per
    /// address are off.
    pub fn command(&self, data_dir: &Path) -> Command {
        let mut command = Command::new(BINARY);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("BLOQ_ACCOUNTS_DATA_DIR", data_dir)
            .env("BLOQ_ACCOUNTS_SERVER__LISTEN", "127.0.0.1:0")
            .env("BLOQ_ACCOUNTS_GRPC__LISTEN", "127.0.0.1:0")
            .env("BLOQ_ACCOUNTS_SERVER__MASTER_KEY", MASTER_KEY)
            .env("BLOQ_ACCOUNTS_RATE_LIMIT__ENABLED", "false")
            .kill_on_drop(true);
        command
    }

    /// Our server on this database.
    pub async fn serve(&self, database_url: &str) -> Result<Server> {
        self.serve_with(database_url, &[]).await
    }

    /// Our server with hashes that cost next to nothing, for very many log-ins that are not what is measured.
    pub async fn serve_hastily(&self, database_url: &str) -> Result<Server> {
        let environment =
            [("BLOQ_ACCOUNTS_PASSWORD__ARGON2_MEMORY_KIB", "8"), ("BLOQ_ACCOUNTS_PASSWORD__ARGON2_ITERATIONS", "1")];
        self.serve_with(database_url, &environment).await
    }

    async fn serve_with(&self, database_url: &str, environment: &[(&str, &str)]) -> Result<Server> {
        let mut command = self.command(&self.new_folder());
        command.args(["serve", "--database-url", database_url]).envs(environment.iter().copied());
        Server::start(&mut command, &self.new_folder()).await
    }

    /// The floor on this database, with these further arguments: this program once more.
    pub async fn floor(&self, database_url: &str, arguments: &[&str]) -> Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--floor", database_url]).args(arguments).kill_on_drop(true);
        Server::start(&mut command, &self.new_folder()).await
    }

    /// Makes a user with this login name and password, as an operator does.
    pub async fn create_user(&self, database_url: &str, name: &str, password: &str) -> Result<()> {
        let mut command = self.command(&self.new_folder());
        command.args(["--database-url", database_url, "admin", "user", "create", "--name", name, "--password-stdin"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("piped")?.write_all(format!("{password}\n").as_bytes()).await?;
        let output = child.wait_with_output().await?;
        ensure!(output.status.success(), "admin user create: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }
}
