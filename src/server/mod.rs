//! Binds the listeners, starts the workers, and stops everything in order. Knows no URL. `accept.rs` is one listener, `http2.rs`
//! a connection of the gRPC door, `tls.rs` what makes one private.

mod accept;
mod http2;
mod tls;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Workers};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::pulse::Pulse;
use crate::http::browsers::Browsers;
use crate::mail::Courier;
use crate::metrics::Connections;
use crate::stop::{Step, Stop, Task};
use crate::{config, grpc, http, worker};
use accept::{Entrance, Protocol};
use http2::Bounds;
pub use tls::Certificates;

/// Connections of the door for metrics: it must not be a way around `server.max_connections`.
const MOST_SCRAPERS: usize = 50;

/// The doors for REST and gRPC: open from the first moment, with an answer for everybody.
///
/// Until there is an [`App`] behind them, they tell probes that the server lives and everybody else that the database is not
/// there yet. An orchestrator sees a server that is starting instead of one that is missing.
pub struct Door {
    addresses: Addresses,
    certificates: Option<Certificates>,
    router: watch::Sender<Router>,
    grpc_router: watch::Sender<Router>,
    metrics_router: Option<watch::Sender<Router>>,
    accepting: Vec<Task>,
    stop: Stop,
    connections: Connections,
}

/// Where a server listens; with the real port where the configuration said 0.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The REST door.
    pub rest: SocketAddr,
    /// The same with TLS.
    pub rest_tls: Option<SocketAddr>,
    /// The gRPC door.
    pub grpc: Option<SocketAddr>,
    /// The same with TLS.
    pub grpc_tls: Option<SocketAddr>,
    /// Metrics, where they have a door of their own.
    pub metrics: Option<SocketAddr>,
}

impl Door {
    /// Listens, also with TLS where a certificate is configured, and serves until `stop`; then finishes what is under way.
    ///
    /// # Errors
    /// When an address cannot be had or the certificate cannot be used.
    pub async fn open(config: &Config, clock: Clock, stop: Stop) -> anyhow::Result<Self> {
        let Config { server, tls, grpc, .. } = config;
        let certificates = Certificates::open(tls, clock)?;
        let (router, current) = watch::channel(http::starting(&Browsers::new(config)));
        let (grpc_router, grpc_current) = watch::channel(grpc::starting());
        let connections = Connections::new(server.max_connections);
        let rest_entrance = Entrance::new(server, current, &connections);
        let grpc_entrance = rest_entrance.clone().to(grpc_current, protocol(grpc));
        let mut entrances = Vec::new();
        let mut open = |listener: TcpListener, entrance: Entrance| {
            let address = listener.local_addr()?;
            entrances.push((listener, entrance));
            anyhow::Ok(address)
        };

        let rest = open(listen("--listen", server.listen).await?, rest_entrance.clone())?;
        let grpc_listener = match grpc.listen {
            Some(address) => listen_unless_taken(config, address).await?,
            None => None,
        };
        let grpc_address = grpc_listener.map(|listener| open(listener, grpc_entrance.clone())).transpose()?;
        let (mut rest_tls, mut grpc_tls) = (None, None);
        if let Some(certificates) = &certificates {
            let private = |entrance: Entrance| {
                let acceptor = certificates.acceptor(&[entrance.protocol().alpn()])?;
                anyhow::Ok(entrance.behind(acceptor))
            };
            let listener = listen("server.tls_listen", server.tls_listen).await?;
            rest_tls = Some(open(listener, private(rest_entrance)?)?);
            if let Some(address) = grpc.tls_listen {
                grpc_tls = Some(open(listen("grpc.tls_listen", address).await?, private(grpc_entrance)?)?);
            }
        }
        let (mut metrics, mut metrics_router) = (None, None);
        if let Some(address) = server.metrics_listen {
            let (router, current) = watch::channel(http::starting(&Browsers::new(config)));
            let entrance = Entrance::new(server, current, &Connections::new(MOST_SCRAPERS));
            metrics = Some(open(listen("server.metrics_listen", address).await?, entrance)?);
            metrics_router = Some(router);
        }
        let addresses = Addresses { rest, rest_tls, grpc: grpc_address, grpc_tls, metrics };

        let accept = |(listener, entrance): (_, Entrance)| {
            stop.watch("listener", stop.token(), entrance.serve(listener, stop.clone()))
        };
        let accepting = entrances.into_iter().map(accept).collect();
        if let Some(certificates) = certificates.clone() {
            worker::spawn(certificates, &Pulse::steady(), &stop, stop.token());
        }
        Ok(Self { addresses, certificates, router, grpc_router, metrics_router, accepting, stop, connections })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What it shows where it listens with TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Lets requests through to the rooms, also those of connections that are open already.
    pub fn lead_to(&self, app: App) {
        if let Some(metrics) = &self.metrics_router {
            drop(metrics.send_replace(http::metrics_router(app.clone(), self.connections.clone())));
        }
        let stop = self.stop.token();
        drop(self.grpc_router.send_replace(grpc::router(app.clone(), stop.clone())));
        let has_metrics = self.metrics_router.is_none();
        drop(self.router.send_replace(http::router(app, self.connections.clone(), has_metrics, stop.clone())));
    }

    /// Resolves when the door is closed and the last request is answered.
    pub async fn closed(self) {
        for task in self.accepting {
            task.ended().await;
        }
    }
}

async fn listen(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(key, address, error))
}

fn cannot_listen(key: &str, address: SocketAddr, error: std::io::Error) -> anyhow::Error {
    anyhow::Error::from(error).context(format!("cannot listen on {address}; choose another address with `{key}`"))
}

fn protocol(config: &config::Grpc) -> Protocol {
    let idle = Duration::from_secs(config.idle_timeout_seconds);
    let age = Duration::from_secs(config.max_connection_age_seconds);
    Protocol::Http2(Bounds { streams: config.max_streams, idle, age })
}

/// Listens for gRPC without encryption. Where nobody has chosen the address and something else is there, the server does without
/// this door, and says so.
async fn listen_unless_taken(config: &Config, address: SocketAddr) -> anyhow::Result<Option<TcpListener>> {
    match TcpListener::bind(address).await {
        Err(error) if error.kind() == ErrorKind::AddrInUse && config.origin("grpc.listen").is_none() => {
            tracing::warn!(%address, "there is no gRPC door: its address is taken; choose another with `grpc.listen`");
            Ok(None)
        }
        Err(error) => Err(cannot_listen("grpc.listen", address, error)),
        Ok(listener) => Ok(Some(listener)),
    }
}

/// Runs the workers, opens the rooms (and says so by `opened`) and serves until the door closes; then finishes what is
/// under way: requests first, then what they left to others.
pub async fn run(door: Door, app: App, workers: Workers, opened: impl FnOnce(&Door)) {
    let Workers { heart, writer, courier, partitions, sweeper, eraser, pruner, last_uses } = workers;
    let (stop, pulse) = (door.stop.clone(), app.pulse.clone());
    let (answered, written) = (CancellationToken::new(), CancellationToken::new());
    // To the end: what is under way at a stop must not wait for a database that is away.
    let heart = stop.watch("pulse", &written, heart.run(written.clone()));
    // As long as there are requests, and then to the end of the step they are in: a mail that a server is just taking is
    // noted as sent.
    let mut others = vec![
        stop.watch("event writer", &answered, writer.run(answered.clone())),
        worker::spawn(partitions, &pulse, &stop, &answered),
        worker::spawn(sweeper, &pulse, &stop, &answered),
        worker::spawn(eraser, &pulse, &stop, &answered),
        worker::spawn(pruner, &pulse, &stop, &answered),
        worker::spawn(last_uses, &pulse, &stop, &answered),
    ];
    // Also while the database is away: a full disk is a reason for that.
    others.extend(app.disk.clone().map(|disk| worker::spawn(disk, &Pulse::steady(), &stop, &answered)));
    others.extend((0..Courier::SIDE_BY_SIDE).map(|_| worker::spawn(courier.clone(), &pulse, &stop, &answered)));

    door.lead_to(app);
    opened(&door);
    door.closed().await;
    answered.cancel();
    let deadline = stop.end_of(Step::LastWrites);
    for other in others {
        other.ended_by(deadline).await;
    }
    written.cancel();
    heart.ended().await;
}
