//! Binds the listener, starts the workers, and stops everything in order. Knows no URL.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::app::{App, Workers};
use crate::config;
use crate::{http, worker};

/// Bytes of a request's head.
const LONGEST_HEAD: usize = 64 * 1024;

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
    pub async fn open(config: &config::Server, stop: CancellationToken) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}; choose another address with --listen", config.listen))?;
        let address = listener.local_addr()?;
        let (router, current) = watch::channel(http::starting());
        let accepting = tokio::spawn(accept(listener, current, config.clone(), stop));
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

/// Accepts connections until `stop`, then gives open requests a bounded time to finish.
async fn accept(
    listener: TcpListener,
    router: watch::Receiver<Router>,
    config: config::Server,
    stop: CancellationToken,
) {
    let patience = Duration::from_secs(config.idle_timeout_seconds);
    // HTTP/1.1 only: it is what the clients of this door speak, and streams held back by flow control would be memory
    // that no timeout of ours ends.
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(LONGEST_HEAD);
    let open = Arc::new(Semaphore::new(config.max_connections));
    let graceful = GracefulShutdown::new();
    let (connections, cut_off) = (TaskTracker::new(), CancellationToken::new());

    loop {
        let accepted = async {
            let place = open.clone().acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let (place, stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => match accepted {
                Some((place, Ok((stream, peer)))) => (place, stream, peer),
                Some((_, Err(error))) => {
                    // Out of file descriptors, or a client that was gone before it was here.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                None => break,
            },
        };
        stream.set_nodelay(true).ok();
        // A client that does not take its answer must not keep it for ever.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(patience));
        let router = router.clone();
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let router = router.borrow().clone();
            router.oneshot(request)
        });
        let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = graceful.watch(connection);
        let cut_off = cut_off.clone();
        connections.spawn(async move {
            // Resets and bad framing are the client's business.
            cut_off.run_until_cancelled(connection).await;
            drop(place);
        });
    }

    drop(listener);
    let grace = Duration::from_secs(config.shutdown_grace_seconds);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(?grace, "some connections did not finish in time");
    }
    // Dropped requests hand their events over, so the writer must outlive them.
    cut_off.cancel();
    connections.close();
    connections.wait().await;
}
