//! Which Postgres a command works on: the configured one, or the private one.

use anyhow::ensure;

use crate::config::Config;
use crate::data_dir;
use crate::db::embedded::{self, Settings};

/// The settings of the private Postgres.
pub fn embedded_settings(config: &Config) -> Settings {
    let folder = &config.database.postgres_bin;
    Settings {
        data_dir: config.data_dir.clone(),
        postgres_bin: (!folder.as_os_str().is_empty()).then(|| folder.clone()),
        // Room for a server and for commands beside it.
        max_connections: config.database.max_connections + 20,
        is_durable: true,
    }
}

/// Whether there is a database to work on, as far as can be told without making one.
pub fn exists(config: &Config) -> anyhow::Result<bool> {
    Ok(config.database_url().is_some() || embedded::exists(&config.data_dir)?)
}

/// Fails when there is no database to work on: whoever looks after one and finds an empty new one was in the wrong place.
pub fn must_exist(config: &Config) -> anyhow::Result<()> {
    ensure!(
        exists(config)?,
        "there is no database in {}: name the data folder of the server with --data-dir, or the server's configuration \
         with --config",
        config.data_dir.display()
    );
    Ok(())
}

/// Gives `work` a database URL: of the configured Postgres, of a running server's private one, or of a private one that
/// is started for this and stopped again.
pub async fn with_url<T>(config: &Config, work: impl AsyncFnOnce(&str) -> anyhow::Result<T>) -> anyhow::Result<T> {
    data_dir::prepare(&config.data_dir)?;
    if let Some(url) = config.database_url() {
        return work(url).await;
    }
    let reached = embedded::reach(embedded_settings(config)).await?;
    let outcome = work(reached.url()).await;
    reached.release().await;
    outcome
}
