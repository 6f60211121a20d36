//! `bloq-accounts migrate [--check]`

use std::process::ExitCode;

use super::database;
use crate::config::Config;
use crate::db;

/// Brings the schema up to date, or only says whether it is.
pub async fn run(config: &Config, check: bool) -> anyhow::Result<ExitCode> {
    database::with_url(config, async |url| {
        let pool = db::connect(url, 2).await?;
        let pending = db::pending_migrations(&pool).await?;
        if pending == 0 {
            println!("the database is up to date");
            return Ok(ExitCode::SUCCESS);
        }
        if check {
            println!("the database is not up to date: {pending} migrations are missing");
            return Ok(ExitCode::FAILURE);
        }
        db::alone(&pool, async |connection| db::migrate(connection).await).await?;
        println!("the database is up to date: {pending} migrations applied");
        Ok(ExitCode::SUCCESS)
    })
    .await
}
