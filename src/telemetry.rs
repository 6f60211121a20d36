//! The tracing subscriber. Which fields mean what is written in `docs/logging.md`; none of them is defined here.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// What libraries warn of, and nobody needs to know. A more specific directive of `log.level` outweighs it.
const QUIET: [&str; 3] = [
    // Whatever it does not like about a key that a stranger sends: the stranger is told.
    "pgp=off",
    // "relation already exists, skipping": the migrator asks, Postgres answers. "There is no transaction in progress": a caller was gone
    // when it was about to begin, as often as callers like.
    "sqlx::postgres::notice=error",
    // A connection that an outage took along, at its return to the pool: once for each of them, and the pulse has said it.
    "sqlx_core::pool=error",
];

/// Stderr for lines that can be missed: a full disk or a reader that went away costs them, and nothing else. An error
/// would be told on stderr, which panics when that cannot be written.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends log lines to stderr, as the section `[log]` says. Stdout belongs to what a command prints.
pub fn start(log: &Log) {
    // The filter was checked with the configuration; "info" is for the impossible rest.
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = QUIET
        .iter()
        .fold(filter, |filter, directive| filter.add_directive(directive.parse().expect("a filter directive")));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Stderr)
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    // A second start in one process (tests) keeps the first.
    let _ = match log.format {
        LogFormat::Pretty => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
