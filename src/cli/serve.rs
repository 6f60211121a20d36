//! `bloq-accounts serve`

use std::process::ExitCode;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::{database, output};
use crate::app::{App, Workers};
use crate::clock::Clock;
use crate::config::{Config, Overrides};
use crate::db::embedded::{Embedded, Holder};
use crate::random::Random;
use crate::server::{Addresses, Certificates, Door};
use crate::stop::{Step, Stop};
use crate::{data_dir, db, server};

/// How long to wait before another try to reach the configured database: a part of the two seconds within which a server
/// is ready when its database answers.
const RETRY: Duration = Duration::from_millis(500);

/// How long the start waits to know whether there is an administrator with full rights.
const ADVICE: Duration = Duration::from_secs(1);

/// Of so many reasons why it cannot be reached is remembered that they were told.
const REASONS: usize = 16;

/// Serves until SIGTERM or Ctrl-C.
pub async fn run(mut config: Config, overrides: &Overrides) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signal(&config)?;
    raise_file_limit();
    let door = Door::open(&config, Clock::System, stop.clone()).await?;
    if let Some(certificates) = door.certificates() {
        look_on_signal(certificates.clone(), &stop)?;
    }
    if config.server.listen.port() == 0 {
        // What is derived from the address must know the real port.
        let listen = Some(door.addresses().rest.to_string());
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
            () = stop.asked() => {
                door.closed().await;
                return stop.outcome().map(|()| ExitCode::SUCCESS);
            }
        },
    };
    if let Some(embedded) = &embedded {
        stop.watch("supervisor of the private Postgres", stop.token(), attend(embedded, stop.clone()));
    }
    let url = embedded.as_ref().map(Embedded::url).or(config.database_url()).unwrap_or_default();

    let outcome = tokio::select! {
        built = build(&config, url) => match built {
            Ok((app, workers)) => {
                advise(&app, &config, overrides).await;
                let opened = |door: &Door| greet(&config, door);
                server::run(door, app, workers, opened).await;
                Ok(())
            }
            Err(error) => Err(error),
        },
        // Stopped before it was ready.
        () = stop.asked() => {
            door.closed().await;
            Ok(())
        }
    };
    stop.ask();
    let ended = match embedded {
        Some(embedded) => {
            let patience = stop.end_of(Step::Postgres).saturating_duration_since(Instant::now());
            embedded.stop_within(patience).await
        }
        None => Ok(()),
    };
    outcome.and(stop.outcome()).and(ended).map(|()| ExitCode::SUCCESS)
}

/// Waits for the stop. A Postgres of our own that somebody froze is woken then: requests and events that are under way need
/// it. Ends before the stop when nobody looks after Postgres any more.
fn attend(embedded: &Embedded, stop: Stop) -> impl Future<Output = ()> + use<> {
    let (gone, alarm) = (embedded.gone(), embedded.alarm());
    async move {
        tokio::select! {
            () = gone => {}
            () = stop.asked() => alarm.notify_one(),
        }
    }
}

/// The one line that tells where everything is. From here on every request is served.
fn greet(config: &Config, door: &Door) {
    let Addresses { rest, rest_tls, grpc, grpc_tls, .. } = door.addresses();
    let tls = rest_tls.map(|address| format!(" and https://{address}")).unwrap_or_default();
    let grpc: Vec<String> = grpc
        .map(|address| address.to_string())
        .into_iter()
        .chain(grpc_tls.map(|address| format!("{address} (TLS)")))
        .collect();
    let grpc = if grpc.is_empty() { String::new() } else { format!(", gRPC on {}", grpc.join(" and ")) };
    let (version, folder, url) = (env!("CARGO_PKG_VERSION"), config.data_dir.display(), &config.server.public_url);
    let line =
        format!("bloq-accounts {version} listens on http://{rest}{tls}{grpc}, data in {folder}, docs at {url}/docs");
    if let Err(error) = output::line(line) {
        tracing::warn!(%error, "nobody reads stdout");
    }
    // SAFETY: it asks for nothing, and may be called at any time. What was only needed to start goes back to the system, which
    // the allocator would do as soon as somebody needs memory again.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Nobody can look after a server without an administrator with full rights.
async fn advise(app: &App, config: &Config, overrides: &Overrides) {
    // The same command without these would make another database somewhere else. A URL may hold a password.
    let file = overrides.file.as_ref().map(|file| format!("--config {} ", file.display()));
    let folder = config.origin("data_dir").map(|_| format!("--data-dir {} ", config.data_dir.display()));
    let url = config.database_url().map(|_| "--database-url … ".to_owned());
    let options: String = [file, folder, url].into_iter().flatten().collect();
    // A database that does not answer that soon has its own words for it.
    if let Ok(Ok(false)) = tokio::time::timeout(ADVICE, app.users.has_full_admin()).await {
        tracing::warn!(
            "there is no administrator with full rights yet: type \
             `bloq-accounts {options}admin user create --name NAME --admin`"
        );
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

/// Builds the app, and waits for a database that is not there yet: machines that start together do not start in order. The
/// log is told each reason once.
async fn build(config: &Config, url: &str) -> anyhow::Result<(App, Workers)> {
    let mut told = Vec::new();
    loop {
        match App::build(config, url, Clock::System, Random::default()).await {
            Err(error) if db::is_unreachable(&error) => {
                let reason = format!("{error:#}");
                if !told.contains(&reason) {
                    tracing::warn!(error = reason, retry_every = ?RETRY, "waiting for the database");
                    if told.len() == REASONS {
                        told.clear();
                    }
                    told.push(reason);
                }
                tokio::time::sleep(RETRY).await;
            }
            built => {
                if built.is_ok() && !told.is_empty() {
                    tracing::info!("the database answers");
                }
                return built;
            }
        }
    }
}

/// SIGHUP is how tools that renew certificates say that they did. Without a certificate it means what it always means.
fn look_on_signal(certificates: Certificates, stop: &Stop) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    stop.watch("listener to SIGHUP", stop.token(), async move {
        while hangup.recv().await.is_some() {
            certificates.look_now();
        }
    });
    Ok(())
}

/// A stop that the first SIGTERM or Ctrl-C asks for; the second one ends the process on the spot.
pub(super) fn stop_on_signal(config: &Config) -> anyhow::Result<Stop> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = Stop::new(&config.server);
    let stopping = stop.clone();
    stop.watch("listener to signals", stop.token(), async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!("stopping; once more to stop at once");
        stopping.ask();
        next().await;
        std::process::exit(130);
    });
    Ok(stop)
}
