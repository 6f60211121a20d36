//! `bloq-accounts migrate [--check]`

use std::process::ExitCode;

use super::{database, output};
use crate::config::Config;
use crate::db;

/// Brings the schema up to date, or only says whether it is.
pub async fn run(config: &Config, check: bool) -> anyhow::Result<ExitCode> {
    if check && !database::exists(config)? {
        output::line("the database is not up to date: there is none yet")?;
        return Ok(ExitCode::FAILURE);
    }
    database::with_url(config, async |url| {
        let pool = db::connect(url, 2).await?;
        let pending = db::pending_migrations(&pool).await?;
        if pending == 0 {
            output::line("the database is up to date")?;
            return Ok(ExitCode::SUCCESS);
        }
        if check {
            output::line(format_args!("the database is not up to date: {pending} migrations are missing"))?;
            return Ok(ExitCode::FAILURE);
        }
        db::alone(&pool, async |connection| db::migrate(connection).await).await?;
        output::line(format_args!("the database is up to date: {pending} migrations applied"))?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}
