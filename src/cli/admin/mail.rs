//! `admin mail …`

use std::fmt::Write;

use anyhow::bail;
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{PAGE, plain};
use crate::cli::output;
use crate::clock::Timestamp;
use crate::mail::{Mail, Queued, Unsent};

#[derive(Subcommand)]
pub enum Command {
    /// List the mails of the last days, oldest first, with the last complaint of the mail server
    List(Which),
    /// Give mails that wait or failed another try now, with all their tries before them
    Retry(Retried),
}

#[derive(Args)]
#[group(multiple = false)]
pub struct Which {
    /// Only mails that were given up
    #[arg(long)]
    failed: bool,
    /// Only mails that are still tried
    #[arg(long)]
    waiting: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Retried {
    /// Ids of mails, as `admin mail list` shows them
    #[arg(value_name = "ID")]
    ids: Vec<Uuid>,
    /// Every mail that was given up
    #[arg(long)]
    all_failed: bool,
}

/// Does one command.
pub async fn run(mail: &Mail, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(which) => list(mail, which).await,
        Command::Retry(Retried { all_failed: true, .. }) => {
            let retried = mail.retry_failed().await.map_err(plain)?;
            output::note(format_args!("tried again: {retried}"));
            Ok(())
        }
        Command::Retry(Retried { ids, .. }) => retry(mail, &ids).await,
    }
}

async fn list(mail: &Mail, which: Which) -> anyhow::Result<()> {
    let only = match which {
        Which { failed: true, .. } => Some(Unsent::Failed),
        Which { waiting: true, .. } => Some(Unsent::Waiting),
        _ => None,
    };
    let head = ("ID", "STATE", "TRIES", "NEXT TRY", "TEMPLATE", "RECIPIENT, LAST ERROR");
    let (id, state, tries, next, template, rest) = head;
    output::line(format_args!("{id:<36}  {state:<7}  {tries:>5}  {next:<24}  {template:<20}  {rest}"))?;
    let mut last = None;
    loop {
        let page = mail.list_queued(only, last, PAGE).await.map_err(plain)?;
        for mail in &page {
            output::line(row(mail))?;
        }
        match page.last() {
            Some(mail) => last = Some(mail.id),
            None => return Ok(()),
        }
    }
}

fn row(mail: &Queued) -> String {
    let Queued { id, recipient, template, state, attempts, .. } = mail;
    let next = mail.next_attempt_at.map(|at| Timestamp(at).to_string()).unwrap_or_default();
    let mut row = format!("{id}  {state:<7}  {attempts:>5}  {next:<24}  {template:<20}  {recipient}");
    if let Some(error) = &mail.last_error {
        // Writing to a text does not fail.
        let _ = write!(row, ", {error}");
    }
    row
}

async fn retry(mail: &Mail, ids: &[Uuid]) -> anyhow::Result<()> {
    let retried = mail.retry(ids).await.map_err(plain)?;
    output::note(format_args!("tried again: {}", retried.len()));
    let others: Vec<_> = ids.iter().filter(|id| !retried.contains(id)).map(Uuid::to_string).collect();
    if !others.is_empty() {
        bail!("not tried again, being unknown, sent, or under way right now: {}", others.join(", "));
    }
    Ok(())
}
