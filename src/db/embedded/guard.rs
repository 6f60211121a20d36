//! The shell between us and Postgres, which ends Postgres when we are gone, however we went.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdin};
use tokio::time::timeout;

use super::account::Account;
use super::family;

/// Runs its arguments until they end by themselves or its standard input does, which is a pipe
/// that we hold the only other end of: the kernel closes it whichever way we die.
///
/// - A service manager may signal all our processes: the shells ignore that, as they are needed
///   until the end, and Postgres has handlers of its own. Hence also the final `KILL`.
/// - Commands in the background read from /dev/null unless told otherwise, hence descriptor 3.
/// - The inner shell sleeps in short steps because a `sleep` outlives the shell it belongs to.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
exec 3<&0 </dev/null
"$@" 3<&- &
postgres=$!
{
    while read -r line; do :; done
    kill -s INT "$postgres"
    sleep 1; sleep 1; sleep 1
    kill -s QUIT "$postgres"
} <&3 3<&- 2>/dev/null &
watcher=$!
exec 3<&-
wait "$postgres"
status=$?
kill -s KILL "$watcher"
exit "$status"
"#;

/// How long a clean end may take when there is no hurry. The script turns to an unclean one a second before.
pub(super) const STOPPED_WITHIN: Duration = Duration::from_secs(4);

/// A Postgres which ends when this is dropped.
pub(super) struct Guard {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Run this command line, writing to `log`.
    pub fn spawn(account: &Account, postgres: &[OsString], log: File) -> io::Result<Self> {
        let mut shell = account
            .command("/bin/sh")
            .args(["-c", SCRIPT, "bloq-accounts-postgres"])
            .args(postgres)
            // In a container we may have the number a killed Postgres had. It refuses to start
            // beside what it takes for itself, unless it knows that this is its grandparent.
            .env("PG_GRANDPARENT_PID", std::process::id().to_string())
            // Ctrl-C in a terminal is for us alone: we stop Postgres when we need it no longer.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        // Waiting for the child would close the pipe if the child still had it.
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// Wait for Postgres, or its guard, to end.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.shell.wait().await
    }

    /// Wake Postgres where somebody has frozen it (SIGSTOP): it could not even end.
    pub fn wake(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// End Postgres, by force if that takes longer than `patience`, and wait until it is gone.
    pub async fn stop(&mut self, patience: Duration) {
        self.wake();
        self.pipe = None;
        if timeout(patience, self.shell.wait()).await.is_err() {
            tracing::warn!("the private Postgres does not end: it is killed and recovers at the next start");
            self.signal(Signal::SIGKILL);
            let _ = self.shell.wait().await;
        }
    }

    /// To the shells, Postgres and its backends. A child that was waited for has no number any more.
    fn signal(&self, signal: Signal) {
        if let Some(shell) = self.shell.id().and_then(|pid| i32::try_from(pid).ok()) {
            family::signal(Pid::from_raw(shell), signal);
        }
    }
}
