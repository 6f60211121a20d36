//! Binds the listeners, starts the workers, and stops everything in order. Knows no URL. `accept.rs` is one listener,
//! `tls.rs` what makes it a private one.

mod accept;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Workers};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::pulse::Pulse;
use crate::http::browsers::Browsers;
use crate::mail::Courier;
use crate::metrics::Connections;
use crate::{http, worker};
use accept::Entrance;
pub use tls::Certificates;

/// How long the last events may take at a stop.
const FLUSHED_WITHIN: Duration = Duration::from_millis(1200);
/// Connections of the door for metrics: it must not be a way around `server.max_connections`.
const MOST_SCRAPERS: usize = 50;

/// The REST door: open from the first moment, with an answer for everybody.
///
/// Until there is an [`App`] behind it, it tells probes that it lives and everybody else that the database is not there
/// yet. An orchestrator sees a server that is starting instead of one that is missing.
pub struct Door {
    address: SocketAddr,
    tls: Option<(SocketAddr, Certificates)>,
    router: watch::Sender<Router>,
    accepting: TaskTracker,
    stop: CancellationToken,
    /// From the stop to the end of the last request.
    grace: Duration,
    connections: Connections,
    metrics: Option<(SocketAddr, watch::Sender<Router>)>,
}

impl Door {
    /// Listens, also with TLS where a certificate is configured, and serves until `stop`; then finishes what is under way.
    ///
    /// # Errors
    /// When an address cannot be had or the certificate cannot be used.
    pub async fn open(config: &Config, clock: Clock, stop: CancellationToken) -> anyhow::Result<Self> {
        let (router, current) = watch::channel(http::starting(&Browsers::new(config)));
        let Config { server, tls, .. } = config;
        let certificates = Certificates::open(tls, clock)?;
        let connections = Connections::new(server.max_connections);
        let entrance = Entrance::new(server, current, &connections);
        let mut entrances = vec![(listen("--listen", server.listen).await?, entrance.clone())];
        if let Some(certificates) = &certificates {
            let entrance = entrance.behind(certificates.acceptor(&["http/1.1"])?);
            entrances.push((listen("server.tls_listen", server.tls_listen).await?, entrance));
        }
        let address = |index: usize| entrances.get(index).map(|(listener, _)| listener.local_addr()).transpose();
        let (plain, private) = (address(0)?.context("there is a plain listener")?, address(1)?);

        let metrics = match server.metrics_listen {
            Some(address) => {
                let listener = listen("server.metrics_listen", address).await?;
                let address = listener.local_addr()?;
                let (router, current) = watch::channel(http::starting(&Browsers::new(config)));
                entrances.push((listener, Entrance::new(server, current, &Connections::new(MOST_SCRAPERS))));
                Some((address, router))
            }
            None => None,
        };

        let accepting = TaskTracker::new();
        for (listener, entrance) in entrances {
            let stop = stop.clone();
            accepting.spawn(async move {
                // A panic in one accept loop ends the server like a stop does.
                let _ends_all = stop.clone().drop_guard();
                entrance.serve(listener, stop).await;
            });
        }
        accepting.close();
        if let Some(certificates) = certificates.clone() {
            worker::spawn(certificates, Pulse::steady(), stop.clone());
        }
        let grace = Duration::from_secs(server.shutdown_delay_seconds + server.shutdown_grace_seconds);
        Ok(Self {
            address: plain,
            tls: private.zip(certificates),
            router,
            accepting,
            stop,
            grace,
            connections,
            metrics,
        })
    }

    /// Where it listens; with the real port where the configuration said 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens with TLS, if it does.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(|(address, _)| *address)
    }

    /// What it shows there.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.tls.as_ref().map(|(_, certificates)| certificates)
    }

    /// Where metrics are, if they have a door of their own.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(address, _)| *address)
    }

    /// Lets requests through to the rooms, also those of connections that are open already.
    pub fn lead_to(&self, app: App) {
        if let Some((_, metrics)) = &self.metrics {
            drop(metrics.send_replace(http::metrics_router(app.clone(), self.connections.clone())));
        }
        let (connections, stop) = (self.connections.clone(), self.stop.clone());
        drop(self.router.send_replace(http::router(app, connections, self.metrics.is_none(), stop)));
    }

    /// Resolves when the door is closed and the last request is answered.
    pub async fn closed(&mut self) {
        self.accepting.wait().await;
    }
}

async fn listen(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}; choose another address with `{key}`"))
}

/// Runs the workers, opens the rooms (and says so by `opened`) and serves until the door closes; then finishes what is
/// under way: requests first, then their events.
pub async fn run(
    mut door: Door,
    app: App,
    workers: Workers,
    stop: CancellationToken,
    opened: impl FnOnce(&Door),
) -> anyhow::Result<()> {
    let (stop_writer, stop_heart) = (CancellationToken::new(), CancellationToken::new());
    let Workers { heart, writer, courier, partitions, sweeper, eraser, last_uses } = workers;
    // To the end: what is under way at a stop must not wait for a database that is away.
    let heart = heart.spawn(stop_heart.clone());
    let pulse = &app.pulse;
    let mut writer = writer.spawn(stop_writer.clone());
    // These finish the step they are in while the door closes: a mail that a server is just taking is noted as sent.
    let mut others = vec![
        worker::spawn(partitions, pulse.clone(), stop.clone()),
        worker::spawn(sweeper, pulse.clone(), stop.clone()),
        worker::spawn(eraser, pulse.clone(), stop.clone()),
        worker::spawn(last_uses, pulse.clone(), stop.clone()),
    ];
    others.extend((0..Courier::SIDE_BY_SIDE).map(|_| worker::spawn(courier.clone(), pulse.clone(), stop.clone())));
    let stopped = stop.clone().cancelled_owned();
    let stopping = tokio::spawn(async move {
        stopped.await;
        Instant::now()
    });

    door.lead_to(app);
    opened(&door);
    let outcome = tokio::select! {
        () = door.closed() => Ok(()),
        // Without its writer the server could answer nothing: better to end and be started again.
        ended = &mut writer => Err(anyhow::anyhow!("the event writer ended: {ended:?}")),
    };
    stop_writer.cancel();
    if outcome.is_ok() {
        match tokio::time::timeout(FLUSHED_WITHIN, &mut writer).await {
            Ok(ended) => ended.context("the event writer failed")?,
            Err(_) => {
                tracing::error!("events were lost: the database does not take them and the server stops");
                writer.abort();
            }
        }
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
    stop_heart.cancel();
    heart.await.ok();
    outcome
}
