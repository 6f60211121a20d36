//! The `bloq-accounts` binary: reads the command line and leaves everything else to [`bloq_accounts::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    bloq_accounts::cli::main()
}
