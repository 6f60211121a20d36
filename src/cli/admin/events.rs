//! `admin events …`

use anyhow::{bail, ensure};
use clap::{Args, Subcommand};

use super::plain;
use crate::cli::progress::size;
use crate::cli::{database, output};
use crate::clock::Clock;
use crate::config::{Config, Retention};
use crate::db;
use crate::events::{Dropped, Month, Over, Pruner};

#[derive(Subcommand)]
pub enum Command {
    /// Drop the months that ended longer ago than events are kept (events.retention), as the server does by itself
    Prune(Prune),
}

#[derive(Args)]
pub struct Prune {
    /// Change nothing; only list what would be dropped
    #[arg(long)]
    dry_run: bool,
    /// How long events are kept, such as "13 months"; needed unless events.retention is configured here as it is for the server
    #[arg(long, value_name = "TIME")]
    retention: Option<Retention>,
}

/// Does one command.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Prune(options) => prune(config, options).await,
    }
}

async fn prune(config: &Config, Prune { dry_run, retention }: Prune) -> anyhow::Result<()> {
    let (retention, origin) = match retention {
        Some(retention) => (retention, Some("--retention")),
        None => (config.events.retention, config.origin("events.retention")),
    };
    // The server may have been told something else than this command was.
    ensure!(
        dry_run || origin.is_some(),
        "nothing is dropped by default: say how long events are kept with --retention \"{retention}\", or name a configuration \
         that sets events.retention with --config"
    );
    output::note(format_args!("retention: {retention}, from {}", origin.unwrap_or("the built-in defaults")));
    // Not the services, which would bring a database up to date that a running server may still want as it is.
    database::with_url(config, async |url| {
        let pool = db::connect(url, 2).await?;
        let pending = db::pending_migrations(&pool).await?;
        ensure!(pending == 0, "the database is not up to date: {pending} migrations are missing, see `migrate`");
        drop_over(&Pruner::new(pool, Clock::System, retention), dry_run).await
    })
    .await
}

async fn drop_over(pruner: &Pruner, dry_run: bool) -> anyhow::Result<()> {
    let Over { months, strays, is_certain } = pruner.over().await.map_err(plain)?;
    output::line(format_args!("{:<7}  {:>12}  {}", "MONTH", "EVENTS", "SIZE"))?;
    for month in &months {
        output::line(row(month))?;
    }
    if dry_run {
        output::note(format_args!("would be dropped: {}", sum(months.len(), strays)));
    }
    ensure!(
        is_certain || (months.is_empty() && strays == 0),
        "nothing may be dropped: is the clock right? No event is one to two weeks old by it"
    );
    if dry_run {
        return Ok(());
    }
    let (mut dropped, mut left) = (0, Vec::new());
    for month in &months {
        match pruner.drop_month(month.first).await.map_err(plain)? {
            Dropped::Done => dropped += 1,
            Dropped::Before => {}
            Dropped::NotYet => left.push(name(month)),
        }
    }
    let strays = pruner.drop_strays().await.map_err(plain)?;
    output::note(format_args!("dropped: {}", sum(dropped, strays)));
    if !left.is_empty() {
        bail!("not dropped, because somebody reads or writes events for long: {}; try again", left.join(", "));
    }
    Ok(())
}

fn row(month: &Month) -> String {
    let events = month.events.map_or("unknown".to_owned(), |events| events.to_string());
    format!("{:<7}  {events:>12}  {}", name(month), size(month.bytes))
}

fn name(month: &Month) -> String {
    month.first.format("%Y-%m").to_string()
}

fn sum(months: usize, strays: u64) -> String {
    let plural = if months == 1 { "" } else { "s" };
    format!("{months} month{plural}, {strays} events without a partition")
}
