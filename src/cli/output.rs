//! Stdout: what a command was asked for. Everything else goes to stderr.

use std::fmt::Display;
use std::io::Write;

use anyhow::Context;

/// Prints a line; a reader that went away is an error like any other, not a panic.
pub fn line(text: impl Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("cannot write to stdout")
}
