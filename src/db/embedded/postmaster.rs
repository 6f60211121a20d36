//! The process which a folder's `postmaster.pid` tells of.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use super::{POLL, socket};

/// How an earlier Postgres is ended: ever harder, each after the time waited so far.
const SIGNALS: [(Duration, Signal); 3] = [
    (Duration::ZERO, Signal::SIGINT),
    (Duration::from_secs(5), Signal::SIGQUIT),
    (Duration::from_secs(15), Signal::SIGKILL),
];
/// How long an earlier Postgres is waited for.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// The main process of a Postgres and where it listens.
pub(super) struct Postmaster {
    pid: Pid,
    pub port: u16,
    pub socket_folder: PathBuf,
}

impl Postmaster {
    /// What `postmaster.pid` tells, which may be of a process that died long ago. That of another
    /// folder, which this one is a copy of, is none of our business.
    pub fn recorded(pgdata: &Path) -> Option<Self> {
        let file = fs::read(pgdata.join("postmaster.pid")).ok()?;
        let lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();
        let number = |line: usize| str::from_utf8(lines.get(line)?).ok()?.trim().parse().ok();
        let path = |line: usize| Some(Path::new(OsStr::from_bytes(lines.get(line)?)));
        if path(1)? != pgdata {
            return None;
        }
        Some(Self {
            pid: Pid::from_raw(number(0)?),
            port: u16::try_from(number(3)?).ok()?,
            socket_folder: path(4)?.to_path_buf(),
        })
    }

    /// Whether it is this process which listens on the socket. The number alone proves nothing:
    /// by now it may belong to any other program.
    async fn listens(&self) -> bool {
        let Ok(stream) = UnixStream::connect(socket::file(&self.socket_folder, self.port)).await else {
            return false;
        };
        stream.peer_cred().is_ok_and(|peer| peer.pid() == Some(self.pid.as_raw()))
    }
}

/// End a Postgres which still runs in the folder although the lock on the folder is ours: its
/// server was killed and it is about to end, or its guard was killed and it never would.
pub(super) async fn end_leftover(pgdata: &Path) -> Result<()> {
    let Some(postmaster) = Postmaster::recorded(pgdata) else {
        return Ok(());
    };
    let began = Instant::now();
    let mut signals = SIGNALS.into_iter().peekable();
    while postmaster.listens().await {
        let waited = began.elapsed();
        if waited > ENDED_WITHIN {
            bail!(
                "an earlier Postgres (pid {}) still runs in {} and does not end: end it by hand",
                postmaster.pid,
                pgdata.display(),
            );
        }
        if let Some((_, signal)) = signals.next_if(|(after, _)| waited >= *after) {
            tracing::info!(pid = %postmaster.pid, %signal, "waiting for an earlier Postgres to end");
            // A process which is gone already is what we want.
            let _ = kill(postmaster.pid, signal);
        }
        sleep(POLL).await;
    }
    Ok(())
}
