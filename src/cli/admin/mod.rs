//! `bloq-accounts admin …`: what an operator does, through the same services as every other door.

mod address;
mod backup;
mod certs;
mod events;
mod mail;
mod token;
mod user;

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, anyhow, ensure};
use clap::Subcommand;

use super::database;
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Error;
use crate::random::Random;

/// Rows of one page of a list; all pages are printed.
const PAGE: i64 = 500;

#[derive(Subcommand)]
pub enum Admin {
    /// Look after users: make, find, block, reset and delete them, and give them rights
    #[command(subcommand)]
    User(user::Command),
    /// Look after Ethereum addresses: which sign in as whom
    #[command(subcommand)]
    Address(address::Command),
    /// Look after tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Look after mails: what waits, what failed and why
    #[command(subcommand)]
    Mail(mail::Command),
    /// Look after events: drop what is older than they are kept
    #[command(subcommand)]
    Events(events::Command),
    /// Make certificates for trials
    #[command(subcommand)]
    Certs(certs::Command),
    /// Write the private database into a file; the server may run meanwhile
    Backup(backup::Backup),
    /// Make the private database of an empty data folder from a backup
    Restore(backup::Restore),
}

impl Admin {
    /// Whether an installation may begin with it. All others look after a database that is there.
    fn may_begin(&self) -> bool {
        matches!(self, Self::User(user::Command::Create(_)) | Self::Certs(_) | Self::Restore(_))
    }
}

/// Does one command.
pub async fn run(config: &Config, command: Admin) -> anyhow::Result<ExitCode> {
    if !command.may_begin() {
        database::must_exist(config)?;
    }
    match command {
        Admin::User(command) => with_app(config, async |app| user::run(&app.users, command).await).await,
        Admin::Address(command) => with_app(config, async |app| address::run(&app, command).await).await,
        Admin::Token(command) => with_app(config, async |app| token::run(&app.tokens, command).await).await,
        Admin::Mail(command) => with_app(config, async |app| mail::run(&app.mail, command).await).await,
        Admin::Events(command) => events::run(config, command).await,
        Admin::Certs(command) => certs::run(config, command),
        Admin::Backup(command) => backup::backup(config, command).await,
        Admin::Restore(command) => backup::restore(config, command).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Gives `work` the services, on whichever database there is.
async fn with_app(config: &Config, work: impl AsyncFnOnce(App) -> anyhow::Result<()>) -> anyhow::Result<()> {
    database::with_url(config, async |url| {
        let (app, _workers) = App::build(config, url, Clock::System, Random::default()).await?;
        work(app).await
    })
    .await
}

/// Reads a secret from where neither the process list nor the history of a shell shows it.
fn first_line_of_stdin(longest: usize, what: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    // One byte more than is allowed, and a line end, so that a longer one is seen to be longer.
    let most = longest as u64 + 3;
    std::io::stdin()
        .take(most)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read the {what} from stdin"))?;
    let line = text.lines().next().unwrap_or_default();
    ensure!(!line.is_empty(), "no {what} on stdin");
    Ok(line.to_owned())
}

/// The error as an operator wants it: the whole inside of our own failures, the plain words of a refusal.
fn plain(error: Error) -> anyhow::Error {
    match error {
        Error::Internal(error) => error,
        refusal => anyhow!("{refusal}"),
    }
}
