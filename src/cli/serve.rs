//! `bloq-accounts serve`

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{database, output};
use crate::app::{App, Workers};
use crate::clock::Clock;
use crate::config::{Config, Overrides};
use crate::db::embedded::{Embedded, Holder};
use crate::random::Random;
use crate::server::{Certificates, Door};
use crate::{data_dir, db, server};

/// How long to wait before another try to reach the configured database.
const RETRY: Duration = Duration::from_secs(2);

/// How long the last events and the private Postgres may take at a stop, after the requests had their time; and the least
/// that Postgres is given, whatever was left.
const LAST_THINGS: Duration = Duration::from_millis(1500);
const LEAST_PATIENCE: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or Ctrl-C.
pub async fn run(mut config: Config, overrides: &Overrides) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signal()?;
    raise_file_limit();
    let mut door = Door::open(&config, Clock::System, stop.clone()).await?;
    if let Some(certificates) = door.certificates() {
        look_on_signal(certificates.clone())?;
    }
    if config.server.listen.port() == 0 {
        // What is derived from the address must know the real port.
        let listen = Some(door.address().to_string());
        config = Config::load(&Overrides { listen, ..overrides.clone() })?;
    }
    for doubt in config.doubts() {
        tracing::warn!("{doubt}");
    }
    data_dir::prepare(&config.data_dir)?;
    let embedded = match config.database_url() {
        Some(_) => None,
        None => tokio::select! {
            started = Embedded::start(database::embedded_settings(&config), Holder::Server) => Some(started?),
            // What was started so far ends when it is dropped.
            () = stop.cancelled() => {
                door.closed().await;
                return Ok(ExitCode::SUCCESS);
            }
        },
    };
    let stopping = tokio::spawn(stopping(stop.clone(), embedded.as_ref().map(Embedded::alarm)));
    let url = embedded.as_ref().map(Embedded::url).or(config.database_url()).unwrap_or_default();

    let outcome = tokio::select! {
        built = build(&config, url) => match built {
            Ok((app, workers)) => {
                let opened = |door: &Door| greet(&config, door);
                server::run(door, app, workers, stop.clone(), opened).await
            }
            Err(error) => Err(error),
        },
        // Stopped before it was ready.
        () = stop.cancelled() => {
            door.closed().await;
            Ok(())
        }
    };
    if let Some(embedded) = embedded {
        stop.cancel();
        let seconds = config.server.shutdown_delay_seconds + config.server.shutdown_grace_seconds;
        let end = stopping.await? + Duration::from_secs(seconds) + LAST_THINGS;
        embedded.stop_within(end.saturating_duration_since(Instant::now()).max(LEAST_PATIENCE)).await;
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Waits for the stop and answers when it came. A Postgres of our own that somebody froze is woken: requests and events
/// that are under way need it.
async fn stopping(stop: CancellationToken, alarm: Option<Arc<Notify>>) -> Instant {
    stop.cancelled().await;
    if let Some(alarm) = alarm {
        alarm.notify_one();
    }
    Instant::now()
}

/// The one line that tells where everything is. From here on every request is served.
fn greet(config: &Config, door: &Door) {
    let address = door.address();
    let tls = door.tls_address().map(|address| format!(" and https://{address}")).unwrap_or_default();
    let (version, folder, url) = (env!("CARGO_PKG_VERSION"), config.data_dir.display(), &config.server.public_url);
    let line =
        format!("bloq-accounts {version} listens on http://{address}{tls}, data in {folder}, docs at {url}/docs");
    if let Err(error) = output::line(line) {
        tracing::warn!(%error, "nobody reads stdout");
    }
}

/// Every connection is an open file, and the usual soft limit of 1,024 is far below `server.max_connections`.
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, "cannot raise the limit of open files");
    }
}

/// Builds the app, and waits for a database that is not there yet: machines that start together do not start in order.
async fn build(config: &Config, url: &str) -> anyhow::Result<(App, Workers)> {
    loop {
        match App::build(config, url, Clock::System, Random::default()).await {
            Err(error) if db::is_unreachable(&error) => {
                tracing::warn!(error = format!("{error:#}"), retry_in = ?RETRY, "waiting for the database");
                tokio::time::sleep(RETRY).await;
            }
            built => return built,
        }
    }
}

/// SIGHUP is how tools that renew certificates say that they did. Without a certificate it means what it always means.
fn look_on_signal(certificates: Certificates) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            certificates.look_now();
        }
    });
    Ok(())
}

/// A token that is cancelled by the first SIGTERM or Ctrl-C; the second one ends the process on the spot.
pub(super) fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!("stopping; once more to stop at once");
        stopping.cancel();
        next().await;
        std::process::exit(130);
    });
    Ok(stop)
}
