//! The shape of everything that runs beside the requests: one unit of work that tests call, and one loop around it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::db;
use crate::db::pulse::Pulse;
use crate::error::Error;
use crate::stop::{Stop, Task};

/// The pause before a look whether the database is back.
const AWAY: Duration = Duration::from_millis(250);

/// A background job made of steps.
pub trait Worker: Send + Sync + 'static {
    /// What the log calls it.
    const NAME: &'static str;

    /// Whether the last thing before the end is one more step, so that nothing noted in memory is lost.
    const DRAINS: bool = false;

    /// Whether a step may be dropped where it stands when the database goes away. One that may not looks after itself.
    const MAY_BE_CUT: bool = true;

    /// Does what is due, once, and says how long nothing will be (it may be woken earlier by [`Worker::woken`]).
    fn step(&self) -> impl Future<Output = crate::error::Result<Duration>> + Send;

    /// Resolves when there is something to do before the pause is over.
    fn woken(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Runs `worker` until `until`, while the database is there. A failing step is tried again, more and more slowly; the log is
/// told of the first failure of each kind, and when all is well again.
pub fn spawn<W: Worker>(worker: W, pulse: &Pulse, stop: &Stop, until: &CancellationToken) -> Task {
    stop.watch(W::NAME, until, run(worker, pulse.clone(), until.clone()))
}

async fn run<W: Worker>(worker: W, pulse: Pulse, stop: CancellationToken) {
    let (mut failures, mut told) = (0u32, Vec::new());
    while !stop.is_cancelled() {
        if stop.run_until_cancelled(pulse.here()).await.is_none() {
            break;
        }
        let step = worker.step();
        let outcome = if W::MAY_BE_CUT { pulse.during(step).await.flatten() } else { step.await };
        let pause = match outcome {
            Ok(pause) => {
                if !told.is_empty() {
                    tracing::info!(worker = W::NAME, "a background step works again");
                    told.clear();
                }
                failures = 0;
                pause
            }
            // The pulse tells of an outage; it is waited for above, and is no fault of the step.
            Err(Error::Away(_)) if stop.run_until_cancelled(pulse.ask()).await != Some(true) => AWAY,
            Err(error) => {
                failures = failures.saturating_add(1);
                let pause = Duration::from_millis(250u64 << failures.min(7));
                let kind = (error.code(), db::sqlstate(&error));
                if !told.contains(&kind) {
                    let reason = error.reason();
                    tracing::warn!(worker = W::NAME, reason, retry_in = ?pause, "a background step failed");
                    told.push(kind);
                }
                pause
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = worker.woken(), if failures == 0 => {}
            () = stop.cancelled() => {}
        }
    }
    if W::DRAINS
        && let Err(error) = pulse.during(worker.step()).await.flatten()
    {
        tracing::warn!(worker = W::NAME, reason = error.reason(), "the last background step failed");
    }
}
