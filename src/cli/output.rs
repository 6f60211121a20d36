//! Stdout: what a command was asked for. Everything else goes to stderr, and is no reason to fail.

use std::fmt::Display;
use std::io::Write;

use anyhow::Context;

/// Prints a line; a reader that went away is an error like any other, not a panic.
pub fn line(text: impl Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("cannot write to stdout")
}

/// Says a line to whoever watches, on stderr. What was done is done, also when nobody can be told.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
