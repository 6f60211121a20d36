//! Keeping Postgres running.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};

use super::family;
use super::guard::{Guard, STOPPED_WITHIN};
use super::launch::Launch;
use super::postmaster::end_leftover;

/// How long the processes of an earlier Postgres are waited for at the start.
const FREED_WITHIN: Duration = Duration::from_secs(30);
/// How long they may take to notice that their main process is gone.
const NOTICED_WITHIN: Duration = Duration::from_secs(3);
/// The pause before Postgres is started once more: the first and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// What Postgres says when processes of an earlier one still use the folder.
const STILL_USED: [&str; 2] = ["pre-existing shared memory block", "\" already exists"];

impl Launch {
    /// Kills what an earlier Postgres has left, when it had its time to end. The folder is ours, and nothing of ours runs in it.
    fn end_orphans(&self, since: Instant) {
        if since.elapsed() > NOTICED_WITHIN {
            let count = family::kill_orphans(&self.pgdata);
            if count > 0 {
                tracing::warn!(count, "processes of an earlier Postgres waited for each other, and were killed");
            }
        }
    }
}

/// A Postgres which accepts connections, and what it takes to start it again.
pub(super) struct Supervisor {
    launch: Launch,
    guard: Guard,
}

impl Supervisor {
    /// Start Postgres and wait until it accepts connections.
    pub async fn start(launch: Launch) -> Result<Self> {
        let began = Instant::now();
        let mut told = false;
        loop {
            let (mut guard, log) = launch.spawn()?;
            let Err(error) = launch.ready(&mut guard, &log).await else {
                return Ok(Self { launch, guard });
            };
            guard.stop(STOPPED_WITHIN).await;
            let said = log.tail();
            let still_used = STILL_USED.iter().any(|words| said.contains(words));
            if !still_used || began.elapsed() > FREED_WITHIN {
                return Err(error);
            }
            if !mem::replace(&mut told, true) {
                tracing::info!("waiting for the processes of an earlier Postgres to end");
            }
            launch.end_orphans(began);
            sleep(PAUSE.0).await;
        }
    }

    /// Keep it running until `stopped` comes, then end it in the time that this names. Dropping the
    /// other side of `stopped` does as well as sending. Meanwhile wake it whenever `wake` says so.
    pub async fn run(mut self, mut stopped: oneshot::Receiver<Duration>, wake: Arc<Notify>) {
        let patience = loop {
            tokio::select! {
                biased;
                patience = &mut stopped => break patience,
                () = wake.notified() => {
                    self.guard.wake();
                    continue;
                }
                ended = self.guard.ended() => tracing::error!(
                    status = %ended.map_or_else(|error| error.to_string(), |status| status.to_string()),
                    log = %self.launch.log.display(),
                    "the private Postgres ended by itself: it is started again",
                ),
            }
            tokio::select! {
                biased;
                patience = &mut stopped => break patience,
                () = self.revive() => tracing::info!("the private Postgres accepts connections again"),
            }
        };
        self.guard.stop(patience.unwrap_or(STOPPED_WITHIN)).await;
        // A guard which was killed alone leaves its Postgres behind.
        if let Err(error) = end_leftover(&self.launch.pgdata).await {
            tracing::error!("{error:#}");
        }
    }

    /// Start Postgres until it accepts connections. Until the processes of the one before are gone
    /// it refuses to run beside them, which takes a few attempts.
    async fn revive(&mut self) {
        let (mut pause, began) = (PAUSE.0, Instant::now());
        while let Err(error) = self.restart().await {
            tracing::warn!("the private Postgres does not start yet: {error:#}");
            self.guard.stop(STOPPED_WITHIN).await;
            self.launch.end_orphans(began);
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn restart(&mut self) -> Result<()> {
        self.guard.stop(STOPPED_WITHIN).await;
        end_leftover(&self.launch.pgdata).await?;
        let (guard, log) = self.launch.spawn()?;
        self.guard = guard;
        self.launch.ready(&mut self.guard, &log).await
    }
}
