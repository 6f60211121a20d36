//! The command line: what can be typed, and who does it. Dispatch only.

mod admin;
mod database;
mod migrate;
mod output;
mod progress;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Log, Overrides};
use crate::{app, http, stop, telemetry};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILT_FROM_COMMIT"), ")");

/// The account service behind accounts.bloq.cloud
///
/// Without a command it serves: the REST API on 127.0.0.1:4000, with a private Postgres under the data folder unless a
/// database URL is given.
#[derive(Parser)]
#[command(name = "bloq-accounts", version = VERSION, max_term_width = 100, after_long_help = AFTER_HELP)]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
Configuration:
  Every key of `bloq-accounts config` can be set in the file of --config, or as an environment
  variable: server.listen is BLOQ_ACCOUNTS_SERVER__LISTEN. Command line, environment, file and
  built-in defaults count in this order.

Examples:
  bloq-accounts                                      serve, with a private Postgres
  bloq-accounts serve --listen 0.0.0.0:4000          on all addresses
  bloq-accounts --database-url postgres://… migrate  bring a database up to date
  bloq-accounts admin user create --name root --admin
  curl http://127.0.0.1:4000/                        ask a server what it is

Exit status: 0 done, 1 failed (stderr says why), 2 wrong usage.";

/// Options of every command, before or after it.
#[derive(Args)]
struct Global {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Postgres to use instead of a private one; also DATABASE_URL
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Folder of the private Postgres, the master key and the mails of the file transport
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default)
    Serve {
        /// Address of the REST API, such as 0.0.0.0:4000
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<SocketAddr>,
    },
    /// Bring the database schema up to date
    Migrate {
        /// Change nothing; exit with 1 if something is to be done
        #[arg(long)]
        check: bool,
    },
    /// Look after users, addresses, tokens, mails, events, certificates and backups
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Print the OpenAPI document
    Openapi,
    /// Print the merged configuration, secrets masked
    Config,
}

/// Parses the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    let CommandLine { global, command } = CommandLine::parse();
    let command = command.unwrap_or(Command::Serve { listen: None });
    let listen = match &command {
        Command::Serve { listen: Some(address) } => Some(address.to_string()),
        _ => None,
    };
    let overrides =
        Overrides { file: global.config, data_dir: global.data_dir, database_url: global.database_url, listen };
    match run(command, &overrides) {
        Ok(code) => code,
        Err(error) => {
            output::note(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, overrides: &Overrides) -> anyhow::Result<ExitCode> {
    let load = || {
        let config = Config::load(overrides)?;
        app::check(&config)?;
        anyhow::Ok(config)
    };
    match command {
        Command::Openapi => {
            output::line(http::document().to_pretty_json()?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Config => {
            load()?;
            output::line(Config::show(overrides)?.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve { .. } => {
            let config = load()?;
            complete(&config.log.clone(), serve::run(config, overrides))
        }
        Command::Migrate { check } => {
            let config = load()?;
            complete(&config.log, migrate::run(&config, check))
        }
        Command::Admin(command) => {
            let config = load()?;
            complete(&config.log, admin::run(&config, command))
        }
    }
}

/// Runs a command to its end, with its log.
fn complete(log: &Log, command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    telemetry::start(log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_timeout(stop::THREADS);
    outcome
}
