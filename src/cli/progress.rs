//! How far something is that takes its time, on stderr.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::output;

/// A terminal sees one line that changes; a log sees a line now and then, and of short work none.
const LOGGED_EVERY: Duration = Duration::from_secs(10);

const MEBIBYTE: u64 = 1024 * 1024;

/// One piece of work.
pub struct Progress {
    what: &'static str,
    total: Option<u64>,
    is_terminal: bool,
    told: Instant,
}

impl Progress {
    /// Of a work of so many bytes, if that is known.
    pub fn new(what: &'static str, total: Option<u64>) -> Self {
        Self { what, total, is_terminal: std::io::stderr().is_terminal(), told: Instant::now() }
    }

    /// It is at this byte.
    pub fn at(&mut self, byte: u64) {
        let mut text = format!("{}: {}", self.what, size(byte));
        if let Some(total) = self.total {
            text = format!("{text} of {}", size(total));
        }
        // Nobody stops working because nobody watches.
        if self.is_terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
        } else if self.told.elapsed() >= LOGGED_EVERY {
            self.told = Instant::now();
            output::note(text);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        ..MEBIBYTE => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{}.{} MiB", bytes / MEBIBYTE, bytes % MEBIBYTE * 10 / MEBIBYTE),
    }
}
