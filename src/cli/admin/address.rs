//! `admin address …`

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::user::named;
use super::{PAGE, plain};
use crate::app::App;
use crate::cli::output;
use crate::clock::Timestamp;
use crate::ethereum::http::AddressView;
use crate::ethereum::{Wallet, WalletAddress};
use crate::users::By;

#[derive(Subcommand)]
pub enum Command {
    /// Let whoever holds the key of an address sign in as a user
    Enable {
        #[command(flatten)]
        shown: Shown,
        /// User id, e-mail or login name
        #[arg(long)]
        user: String,
    },
    /// Let nobody sign in with an address any more; once more, or where nobody linked it, take it off its user
    Disable(Shown),
    /// List addresses and whose they are
    List {
        /// Only those of this user: user id, e-mail or login name
        #[arg(long)]
        user: Option<String>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub struct Shown {
    /// 0x and 40 hex digits, in lower case or with the checksum of EIP-55
    #[arg(value_parser = WalletAddress::parse)]
    address: WalletAddress,
    /// Print the address as JSON
    #[arg(long)]
    json: bool,
}

/// An address as the REST API shows it, and whose it is.
#[derive(Serialize)]
struct OwnedView {
    user: String,
    #[serde(flatten)]
    address: AddressView,
}

impl From<Wallet> for OwnedView {
    fn from(wallet: Wallet) -> Self {
        Self { user: wallet.user.to_string(), address: wallet.into() }
    }
}

/// Does one command.
pub async fn run(app: &App, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Enable { shown, user } => {
            let user = named(&app.users, &user).await?;
            let wallet = app.ethereum.enable(user.id, shown.address, By::Operator).await.map_err(plain)?;
            output::note(format_args!("{} signs in as {}", shown.address, user.id));
            shown.answer(wallet)
        }
        Command::Disable(shown) => {
            let wallet = app.ethereum.find(shown.address).await.map_err(plain)?;
            let wallet = wallet.with_context(|| format!("nobody has the address {}", shown.address))?;
            let left = app.ethereum.disable(wallet.user, shown.address, By::Operator).await.map_err(plain)?;
            match &left {
                Some(_) => output::note(format_args!("{} signs nobody in; it stays linked", shown.address)),
                None => output::note(format_args!("{} is nobody's", shown.address)),
            }
            shown.answer(left.unwrap_or(Wallet { linked_at: None, enabled_at: None, ..wallet }))
        }
        Command::List { user, json } => list(app, user.as_deref(), json).await,
    }
}

impl Shown {
    /// Prints the address if that was asked for.
    fn answer(&self, wallet: Wallet) -> anyhow::Result<()> {
        if self.json { output::json(&OwnedView::from(wallet)) } else { Ok(()) }
    }
}

async fn list(app: &App, user: Option<&str>, json: bool) -> anyhow::Result<()> {
    let user = match user {
        Some(user) => Some(named(&app.users, user).await?),
        None => None,
    };
    let mut array = output::Array::default();
    let mut print = |wallet: Wallet| {
        if json {
            return array.push(&OwnedView::from(wallet));
        }
        let shown = |at: Option<_>| at.map_or_else(|| "-".to_owned(), |at| Timestamp(at).to_string());
        let (linked, enabled) = (shown(wallet.linked_at), shown(wallet.enabled_at));
        output::line(format_args!(
            "{:<42}  {:<24}  {:<24}  {}",
            wallet.address.to_string(),
            linked,
            enabled,
            wallet.user
        ))
    };
    if !json {
        output::line(format_args!("{:<42}  {:<24}  {:<24}  USER", "ADDRESS", "LINKED", "ENABLED"))?;
    }
    if let Some(user) = user {
        app.ethereum.list(user.id).await.map_err(plain)?.into_iter().try_for_each(&mut print)?;
    } else {
        let mut last = None;
        loop {
            let page = app.ethereum.page(last, PAGE).await.map_err(plain)?;
            let Some(wallet) = page.last() else { break };
            last = Some(wallet.address);
            page.into_iter().try_for_each(&mut print)?;
        }
    }
    if json { array.end() } else { Ok(()) }
}
