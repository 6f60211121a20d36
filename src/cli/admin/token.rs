//! `admin token …`

use clap::Subcommand;

use super::{first_line_of_stdin, plain};
use crate::cli::output;
use crate::secret::PlainSecret;
use crate::tokens::Tokens;

/// Bytes of a token that are read; ours have some 500.
const LONGEST: usize = 4096;

#[derive(Subcommand)]
pub enum Command {
    /// Revoke the one refresh token on the first line of stdin; others of its client key stay good
    Revoke,
}

/// Does one command.
pub async fn run(tokens: &Tokens, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Revoke => {
            let token = PlainSecret::new(first_line_of_stdin(LONGEST, "refresh token")?);
            tokens.revoke_refresh(&token).await.map_err(plain)?;
            output::note("the refresh token is revoked");
            Ok(())
        }
    }
}
