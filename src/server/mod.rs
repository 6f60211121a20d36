//! Binds the listeners, starts the workers, and stops everything in order. Knows no URL. `accept.rs` is one listener.

mod accept;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Workers};
use crate::config::Config;
use crate::http::browsers::Browsers;
use crate::{http, worker};
use accept::Entrance;

/// The REST door: open from the first moment, with an answer for everybody.
///
/// Until there is an [`App`] behind it, it tells probes that it lives and everybody else that the database is not there
/// yet. An orchestrator sees a server that is starting instead of one that is missing.
pub struct Door {
    address: SocketAddr,
    router: watch::Sender<Router>,
    accepting: JoinHandle<()>,
    grace: Duration,
}

impl Door {
    /// Listens, and serves until `stop`; then finishes what is under way.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn open(config: &Config, stop: CancellationToken) -> anyhow::Result<Self> {
        let browsers = Browsers::new(config);
        let config = &config.server;
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}; choose another address with --listen", config.listen))?;
        let address = listener.local_addr()?;
        let (router, current) = watch::channel(http::starting(&browsers));
        let accepting = tokio::spawn(Entrance::new(config, current).serve(listener, stop));
        Ok(Self { address, router, accepting, grace: Duration::from_secs(config.shutdown_grace_seconds) })
    }

    /// Where it listens; with the real port where the configuration said 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets requests through to the rooms, also those of connections that are open already.
    pub fn lead_to(&self, app: App) {
        drop(self.router.send_replace(http::router(app)));
    }

    /// Resolves when the door is closed and the last request is answered.
    pub async fn closed(&mut self) {
        // A panic in the accept loop ends the server like a stop does.
        (&mut self.accepting).await.ok();
    }
}

/// Runs the workers, opens the rooms (and says so by `opened`) and serves until the door closes; then finishes what is
/// under way: requests first, then their events.
pub async fn run(
    mut door: Door,
    app: App,
    workers: Workers,
    stop: CancellationToken,
    opened: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let stop_writer = CancellationToken::new();
    let Workers { writer, courier, partitions, sweeper, eraser, last_uses } = workers;
    let mut writer = writer.spawn(stop_writer.clone());
    // These finish the step they are in while the door closes: a mail that a server is just taking is noted as sent.
    let others = [
        worker::spawn(courier, stop.clone()),
        worker::spawn(partitions, stop.clone()),
        worker::spawn(sweeper, stop.clone()),
        worker::spawn(eraser, stop.clone()),
        worker::spawn(last_uses, stop.clone()),
    ];
    let stopped = stop.clone().cancelled_owned();
    let stopping = tokio::spawn(async move {
        stopped.await;
        Instant::now()
    });

    door.lead_to(app);
    opened(door.address());
    let outcome = tokio::select! {
        () = door.closed() => Ok(()),
        // Without its writer the server could answer nothing: better to end and be started again.
        ended = &mut writer => Err(anyhow::anyhow!("the event writer ended: {ended:?}")),
    };
    stop_writer.cancel();
    if outcome.is_ok() {
        writer.await.context("the event writer failed")?;
    }
    // Steps have the time that requests have, from the same moment on.
    stop.cancel();
    let deadline = stopping.await.context("the clock of the stop failed")? + door.grace;
    for mut other in others {
        if tokio::time::timeout_at(deadline, &mut other).await.is_err() {
            // Only the courier can take this long, waiting for a mail server. The lease brings the mail back.
            tracing::warn!("a background step was cut off; a mail under way is tried again in a few minutes");
            other.abort();
        }
    }
    outcome
}
