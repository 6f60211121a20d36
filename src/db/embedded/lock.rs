//! Who holds the data folder: one process at a time, known to the others.

use std::fmt::{self, Display, Formatter};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Who holds the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The server, for as long as it runs.
    Server,
    /// A command such as `admin` or `migrate`, until it is done.
    Command,
}

impl Display for Holder {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Server => "server",
            Self::Command => "command",
        })
    }
}

/// The lock on a data folder. The kernel frees it when its holder dies, however it dies.
pub(super) struct FolderLock {
    _locked: File,
}

/// What came of trying to lock the folder.
pub(super) enum Attempt {
    Taken(FolderLock),
    Held(HeldBy),
}

/// What the lock file tells of its holder. It is written just after the lock is taken, so for a
/// moment it tells of nobody, or of the holder before.
pub(super) struct HeldBy(Option<(Holder, u32)>);

impl HeldBy {
    pub fn holder(&self) -> Option<Holder> {
        self.0.map(|(holder, _)| holder)
    }

    fn parse(text: &str) -> Self {
        Self(text.trim_end().split_once(' ').and_then(|(holder, pid)| {
            let holder = match holder {
                "server" => Holder::Server,
                "command" => Holder::Command,
                _ => return None,
            };
            Some((holder, pid.parse().ok()?))
        }))
    }
}

impl Display for HeldBy {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((holder, pid)) => write!(formatter, "a {holder} (pid {pid})"),
            None => formatter.write_str("another process"),
        }
    }
}

impl FolderLock {
    /// Lock the folder, or tell who holds it. Never waits.
    pub fn attempt(data_dir: &Path, holder: Holder) -> Result<Attempt> {
        let path = data_dir.join("server.lock");
        let failed = || format!("locking {}: run this as the user who runs the server", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(failed)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)
                    .and_then(|()| writeln!(file, "{holder} {}", std::process::id()))
                    .with_context(failed)?;
                Ok(Attempt::Taken(Self { _locked: file }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text).with_context(failed)?;
                Ok(Attempt::Held(HeldBy::parse(&text)))
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(failed),
        }
    }
}
