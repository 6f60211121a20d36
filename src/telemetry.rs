//! The tracing subscriber. Which fields mean what is written in `docs/logging.md`; none of them is defined here.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Sends log lines to stderr, as the section `[log]` says. Stdout belongs to what a command prints.
pub fn start(log: &Log) {
    // The filter was checked with the configuration; "info" is for the impossible rest.
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    // "relation already exists, skipping": the migrator asks, Postgres answers, nobody needs to know.
    let quiet = "sqlx::postgres::notice=warn".parse().expect("a filter directive");
    let filter = filter.add_directive(quiet);
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start in one process (tests) keeps the first.
    let _ = match log.format {
        LogFormat::Pretty => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
