//! Stdout: what a command was asked for. Everything else goes to stderr, and is no reason to fail.

use std::fmt::Display;
use std::io::Write;

use anyhow::Context;
use serde::Serialize;

/// Prints a line; a reader that went away is an error like any other, not a panic.
pub fn line(text: impl Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("cannot write to stdout")
}

/// Says a line to whoever watches, on stderr. What was done is done, also when nobody can be told.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a value as a line of JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)
}

/// A JSON array, printed element by element while they are read.
#[derive(Default)]
pub struct Array {
    is_begun: bool,
}

impl Array {
    /// Prints one more element.
    pub fn push(&mut self, element: &impl Serialize) -> anyhow::Result<()> {
        let before = if std::mem::replace(&mut self.is_begun, true) { ',' } else { '[' };
        line(format_args!("{before}{}", serde_json::to_string(element)?))
    }

    /// Prints its end.
    pub fn end(self) -> anyhow::Result<()> {
        line(if self.is_begun { "]" } else { "[]" })
    }
}
