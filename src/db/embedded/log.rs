//! The log Postgres writes, `postgres.log` in the data folder.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::account::Account;

/// A log longer than this is put aside at the next start.
const LONGEST: u64 = 10 * 1024 * 1024;
/// How much of its end an error shows.
const TAIL: u64 = 4096;

/// The log of the server and how much of it is from earlier starts.
pub(super) struct ServerLog {
    pub path: PathBuf,
    earlier: u64,
}

impl ServerLog {
    /// Open the log for one start of Postgres, and the file for Postgres to write to.
    pub fn open(path: PathBuf, account: &Account) -> Result<(Self, File)> {
        let failed = || format!("opening the log {}", path.display());
        if fs::metadata(&path).is_ok_and(|log| log.len() > LONGEST) {
            fs::rename(&path, path.with_extension("log.1")).with_context(failed)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).with_context(failed)?;
        account.own_file(&file).with_context(failed)?;
        let earlier = file.metadata().with_context(failed)?.len();
        Ok((Self { path, earlier }, file))
    }

    /// The last lines Postgres wrote since this start.
    pub fn tail(&self) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.earlier.max(end.saturating_sub(TAIL))))?;
            let mut tail = Vec::new();
            file.take(TAIL).read_to_end(&mut tail)?;
            Ok(tail)
        };
        // The log explains another error, which must not be lost because the log is.
        read().map_or_else(
            |error| format!("(the log cannot be read: {error})"),
            // Its answers to us, who asked whether it is up, are no news.
            |tail| {
                let text = String::from_utf8_lossy(&tail);
                let lines: Vec<_> =
                    text.lines().filter(|line| !line.contains("database system is starting up")).collect();
                lines.join("\n")
            },
        )
    }
}
