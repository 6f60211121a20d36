//! Binds the listeners, starts the workers, and stops everything in order. Knows no URL. `accept.rs` is one listener,
//! `tls.rs` what makes it a private one.

mod accept;
mod tls;

use std::net::SocketAddr;

use anyhow::Context;
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
use crate::{http, worker};
use accept::Entrance;
pub use tls::Certificates;

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
    accepting: Vec<Task>,
    stop: Stop,
    connections: Connections,
    metrics: Option<(SocketAddr, watch::Sender<Router>)>,
}

impl Door {
    /// Listens, also with TLS where a certificate is configured, and serves until `stop`; then finishes what is under way.
    ///
    /// # Errors
    /// When an address cannot be had or the certificate cannot be used.
    pub async fn open(config: &Config, clock: Clock, stop: Stop) -> anyhow::Result<Self> {
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

        let accept = |(listener, entrance): (_, Entrance)| {
            stop.watch("listener", stop.token(), entrance.serve(listener, stop.clone()))
        };
        let accepting = entrances.into_iter().map(accept).collect();
        if let Some(certificates) = certificates.clone() {
            worker::spawn(certificates, &Pulse::steady(), &stop, stop.token());
        }
        Ok(Self { address: plain, tls: private.zip(certificates), router, accepting, stop, connections, metrics })
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
        let (connections, stop) = (self.connections.clone(), self.stop.token().clone());
        drop(self.router.send_replace(http::router(app, connections, self.metrics.is_none(), stop)));
    }

    /// Resolves when the door is closed and the last request is answered.
    pub async fn closed(self) {
        for task in self.accepting {
            task.ended().await;
        }
    }
}

async fn listen(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}; choose another address with `{key}`"))
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
