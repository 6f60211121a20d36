//! One accept loop for every listener: what a connection may cost, and how its requests end at a stop.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::http2::{self, Bounds};
use crate::config;
use crate::error::Result;
use crate::http::client_ip::TrustedProxies;
use crate::metrics::Connections;
use crate::ratelimit::{Network, Share, Shares};
use crate::stop::{Step, Stop};

/// Bytes of a request's head.
const LONGEST_HEAD: usize = 64 * 1024;

/// After so much silence a client's machine is asked whether it is still there, and then every [`PROBES`], some times.
const SILENCE: Duration = Duration::from_secs(60);

/// See [`SILENCE`].
const PROBES: Duration = Duration::from_secs(10);

/// What is behind a listener: who answers, and within which bounds. Clones share the places for connections.
#[derive(Clone)]
pub struct Entrance {
    router: watch::Receiver<Router>,
    protocol: Protocol,
    tls: Option<TlsAcceptor>,
    connections: Connections,
    shares: Shares<Network>,
    proxies: TrustedProxies,
    introduction: Duration,
    patience: Duration,
}

/// What is spoken behind a listener.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// HTTP/1.1 only: it is what the clients of that door speak, and streams held back by flow control would be memory that no
    /// timeout of ours ends (docs/decisions/0007).
    Http1,
    /// HTTP/2 only, from the first byte on, with these bounds: what gRPC is made of.
    Http2(Bounds),
}

impl Protocol {
    /// What a handshake of TLS agrees on (RFC 7301).
    pub fn alpn(&self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2(_) => "h2",
        }
    }
}

impl Entrance {
    /// An entrance to whatever `router` is at the moment of a request, with room for these connections.
    pub fn new(config: &config::Server, router: watch::Receiver<Router>, connections: &Connections) -> Self {
        let patience = Duration::from_secs(config.idle_timeout_seconds);
        Self {
            router,
            protocol: Protocol::Http1,
            tls: None,
            connections: connections.clone(),
            shares: Shares::new(config.max_connections_per_address),
            proxies: TrustedProxies::new(&config.trusted_proxies),
            introduction: Duration::from_secs(config.head_timeout_seconds).min(patience),
            patience,
        }
    }

    /// The same behind TLS.
    pub fn behind(self, tls: TlsAcceptor) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// An entrance to another router by another protocol, within the same bounds.
    pub fn to(self, router: watch::Receiver<Router>, protocol: Protocol) -> Self {
        Self { router, protocol, ..self }
    }

    /// What is spoken here.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// Accepts connections until `stop`, and as long after it as configured, then gives open requests a bounded time to
    /// finish.
    pub async fn serve(self, listener: TcpListener, stop: Stop) {
        let graceful = GracefulShutdown::new();
        let (connections, closed, cut_off) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let mut closing = pin!(async {
            stop.asked().await;
            tokio::time::sleep_until(stop.end_of(Step::ServeOn)).await;
        });

        let mut told = false;
        loop {
            // Accepted first: a place that one listener reserves for nobody would be missing at the others.
            let accepted = async {
                let (stream, peer) = listener.accept().await?;
                // Before the place: who has enough neither gets one nor waits for one.
                let Ok(share) = self.share_of(peer.ip()) else {
                    self.connections.refuse();
                    return Ok(None);
                };
                let place = self.connections.free.clone().acquire_owned().await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(Some(((place, share), stream, peer)))
            };
            let (place, stream, peer) = tokio::select! {
                () = &mut closing => break,
                accepted = accepted => match accepted {
                    Ok(Some(accepted)) => {
                        told = false;
                        accepted
                    }
                    Ok(None) => continue,
                    Err(error) => {
                        // Out of file descriptors, or a client that was gone before it was here. Strangers must not
                        // fill the log with it.
                        if !std::mem::replace(&mut told, true) {
                            tracing::warn!(%error, "cannot accept a connection");
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                },
            };
            let (watcher, tasks) = (graceful.watcher(), connections.clone());
            let connection = self.clone().welcome(stream, peer, watcher, closed.clone(), tasks);
            let cut_off = cut_off.clone();
            connections.spawn(async move {
                cut_off.run_until_cancelled(connection).await;
                drop(place);
            });
        }

        drop(listener);
        closed.cancel();
        if tokio::time::timeout_at(stop.end_of(Step::Requests), graceful.shutdown()).await.is_err() {
            tracing::warn!("some connections did not finish in time");
        }
        // Dropped requests hand their events over, so the writer must outlive them.
        cut_off.cancel();
        connections.close();
        connections.wait().await;
    }

    /// The share that a connection takes of what its client address may have. A trusted proxy brings those of many.
    fn share_of(&self, peer: IpAddr) -> Result<Option<Share<Network>>> {
        let is_client = !self.proxies.trusts(peer.to_canonical());
        is_client.then(|| self.shares.take(Network::of(peer))).transpose()
    }

    async fn welcome(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        watcher: Watcher,
        closed: CancellationToken,
        tasks: TaskTracker,
    ) {
        stream.set_nodelay(true).ok();
        let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(PROBES);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive).ok();
        // A client that does not take its answer must not keep it for ever.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.patience));
        let stream = Box::pin(stream);
        let Some(tls) = self.tls.clone() else { return self.speak(stream, peer, watcher, closed, tasks).await };
        // In this task, not in the loop: nobody waits for somebody else's handshake, and a stop waits for none.
        let handshake = tokio::time::timeout(self.introduction, tls.accept(stream));
        match closed.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => Box::pin(self.speak(stream, peer, watcher, closed, tasks)).await,
            // Somebody who does not trust us, speaks no TLS, or only looks whether the port is open.
            Some(Ok(Err(error))) => tracing::debug!(%error, "a TLS handshake failed"),
            Some(Err(_)) | None => {}
        }
    }

    async fn speak<S>(
        self,
        stream: S,
        peer: SocketAddr,
        watcher: Watcher,
        closed: CancellationToken,
        tasks: TaskTracker,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self { router, protocol, patience, introduction, .. } = self;
        let desk = Desk { router, peer };
        match protocol {
            Protocol::Http1 => speak_http1(stream, desk, watcher, introduction, patience).await,
            Protocol::Http2(bounds) => {
                http2::speak(stream, desk, bounds, introduction, patience, closed, tasks).await;
                // Until here a stop has waited for this conversation.
                drop(watcher);
            }
        }
    }
}

/// Where the requests of one connection are answered.
#[derive(Clone)]
pub struct Desk {
    router: watch::Receiver<Router>,
    peer: SocketAddr,
}

impl Desk {
    /// Answers a request by whatever is behind the door at this moment.
    pub fn answer(
        &self,
        mut request: hyper::Request<Incoming>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let router = self.router.borrow().clone();
        router.oneshot(request)
    }
}

async fn speak_http1<S>(stream: S, desk: Desk, watcher: Watcher, introduction: Duration, patience: Duration)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let has_begun = Arc::new(Notify::new());
    let beginning = has_begun.clone();
    let service = service_fn(move |request| {
        beginning.notify_one();
        desk.answer(request)
    });
    let mut builder = http1::Builder::new();
    // The library has one limit for idling and for every head, the first one as well.
    builder.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(LONGEST_HEAD);
    let mut conversation = pin!(watcher.watch(builder.serve_connection(TokioIo::new(stream), service)));
    // How it ends (resets, bad framing) is the client's business.
    tokio::select! {
        _ = &mut conversation => {}
        begun = tokio::time::timeout(introduction, has_begun.notified()) => if begun.is_ok() {
            conversation.await.ok();
        },
    }
}
