//! `bloq-accounts serve`

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::database;
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::embedded::{Embedded, Holder};
use crate::random::Random;
use crate::{data_dir, server};

/// Serves until SIGTERM or Ctrl-C.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signal()?;
    let listener = server::bind(config.server.listen).await?;
    data_dir::prepare(&config.data_dir)?;
    let embedded = match config.database_url() {
        Some(_) => None,
        None => Some(Embedded::start(database::embedded_settings(&config), Holder::Server).await?),
    };
    let url = embedded.as_ref().map(Embedded::url).or(config.database_url()).unwrap_or_default();

    let outcome = async {
        let (app, workers) = App::build(&config, url, Clock::System, Random::default()).await?;
        let address = listener.local_addr()?;
        println!(
            "bloq-accounts {} listens on http://{address}, data in {}, docs at {}/docs",
            env!("CARGO_PKG_VERSION"),
            config.data_dir.display(),
            config.server.public_url,
        );
        server::run(listener, app, workers, &config.server, stop).await
    }
    .await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

/// A token that is cancelled by the first SIGTERM or Ctrl-C; the second one ends the process on the spot.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
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
