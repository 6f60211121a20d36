//! `admin events …`

use anyhow::bail;
use clap::{Args, Subcommand};

use super::plain;
use crate::cli::output;
use crate::cli::progress::size;
use crate::events::{Dropped, Events, Month};

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
}

/// Does one command.
pub async fn run(events: &Events, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Prune(Prune { dry_run }) => prune(events, dry_run).await,
    }
}

async fn prune(events: &Events, dry_run: bool) -> anyhow::Result<()> {
    let over: Vec<Month> = events.months().await.map_err(plain)?.into_iter().filter(|month| month.is_over).collect();
    output::line(format_args!("{:<7}  {:>12}  {}", "MONTH", "EVENTS", "SIZE"))?;
    for month in &over {
        output::line(row(month))?;
    }
    if dry_run {
        let strays = events.strays_over().await.map_err(plain)?;
        output::note(format_args!("would be dropped: {}", sum(over.len(), strays)));
        return Ok(());
    }
    let (mut dropped, mut left) = (0, Vec::new());
    for month in &over {
        match events.drop_month(month.first).await.map_err(plain)? {
            Dropped::Done => dropped += 1,
            Dropped::Before => {}
            Dropped::NotYet => left.push(name(month)),
        }
    }
    let strays = events.drop_strays().await.map_err(plain)?;
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
