//! The REST door: merges the routers of the rooms and lists the layers, outermost first. No handler of a room is here.

pub mod browsers;
pub mod client_ip;
pub mod compression;
pub mod error;
pub mod extract;
pub mod fields;
pub mod metrics;
pub mod openapi;
pub mod query;
pub mod request_id;

mod body;
mod docs;
mod probes;

use std::any::Any;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use self::browsers::Browsers;
use self::metrics::Scraper;
use crate::app::App;
use crate::db::pulse::Pulse;
use crate::error::{Code, Error};
use crate::events::Draft;
use crate::metrics::Connections;
use crate::random::Random;
use crate::{auth, client_keys, events, export, ratelimit, signing_keys, tokens, users, verification};

/// Every route of every room, and its description.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(probes::router())
        .merge(users::http::router())
        .merge(verification::http::router())
        .merge(auth::http::router())
        .merge(tokens::http::router())
        .merge(client_keys::http::router())
        .merge(events::http::router())
        .merge(export::http::router())
        .merge(signing_keys::http::router())
}

/// The OpenAPI 3.1 document.
pub fn document() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

/// The whole REST door, with these connections. `/metrics` is there unless it has a door of its own. After `stop` it serves
/// on, and says that it is not ready.
pub fn router(app: App, connections: Connections, has_metrics: bool, stop: CancellationToken) -> Router {
    let (mut router, document) = routes().split_for_parts();
    if has_metrics {
        router = router.merge(metrics::guarded(Scraper::new(app.clone(), connections)));
    }
    let layers = ServiceBuilder::new()
        // Outside everything: counts and times what the client sees.
        .layer(metrics::Measure(app.metrics.clone()))
        // A name first: everything after it can be found in the log by it.
        .layer(from_fn_with_state(app.random.clone(), request_id::assign))
        // On every answer, or a browser could not read the refusals.
        .layer(from_fn_with_state(app.browsers.clone(), browsers::guard))
        .layer(option_layer(app.browsers.cors()))
        // Who is asking, for the event and for mails.
        .layer(from_fn_with_state(app.trusted_proxies.clone(), client_ip::find))
        // Outside all that may refuse, fail or give up: those are events, too.
        .layer(from_fn_with_state(app.clone(), events::layer::record))
        // Inside the events, which count the bytes of bodies as they leave.
        .layer(from_fn(compression::settle))
        .layer(compression::layer())
        .layer(from_fn(error::render))
        .layer(CatchPanicLayer::custom(on_panic))
        // Bounds the handler and the reading of the body.
        .layer(from_fn_with_state(app.request_timeout, bound_time))
        .layer(from_fn(client_ip::require))
        .layer(from_fn(body::read))
        // After the body, or the refusal would be lost in a connection that is reset.
        .layer(from_fn_with_state(app.quotas.clone(), ratelimit::layer::limit))
        // With the request in hand, so that the refusal arrives; what is under way is cut off.
        .layer(from_fn_with_state(app.pulse.clone(), need_database));
    router
        .merge(docs::router(&document))
        .fallback(async || Error::from(Code::NotFound))
        .method_not_allowed_fallback(async || Error::from(Code::MethodNotAllowed))
        .layer(Extension(probes::Stop(stop)))
        .layer(layers)
        .with_state(app)
}

/// The door of `server.metrics_listen`: metrics for everybody who reaches it, and nothing else.
pub fn metrics_router(app: App, connections: Connections) -> Router {
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(app.random.clone(), request_id::assign))
        .layer(from_fn_with_state(app.browsers.clone(), browsers::guard))
        .layer(from_fn(error::render))
        .layer(CatchPanicLayer::custom(on_panic))
        .layer(from_fn_with_state(app.request_timeout, bound_time));
    metrics::open(Scraper::new(app, connections))
        .fallback(async || Error::from(Code::NotFound))
        .method_not_allowed_fallback(async || Error::from(Code::MethodNotAllowed))
        .layer(layers)
}

/// What is behind the door before there is an [`App`]: a process that lives and cannot serve yet. These requests are no
/// events; there is no database to hold them.
pub fn starting(browsers: &Browsers) -> Router {
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(Random::default(), request_id::assign))
        .layer(from_fn_with_state(browsers.clone(), browsers::guard))
        .layer(option_layer(browsers.cors()))
        .layer(from_fn(error::render));
    Router::new().merge(probes::live_router()).fallback(async || Error::Away(None)).layer(layers)
}

fn on_panic(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    Error::Internal(anyhow::anyhow!("a handler panicked: {text}")).into_response()
}

/// Every request that is recorded needs the database, if only for its event.
async fn need_database(State(pulse): State<Pulse>, request: Request, next: Next) -> Response {
    if request.extensions().get::<Draft>().is_none() {
        return next.run(request).await;
    }
    pulse.during(next.run(request)).await.unwrap_or_else(IntoResponse::into_response)
}

async fn bound_time(State(longest): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(longest, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::Busy { code: Code::Timeout, retry_after: Duration::from_secs(1) }.into_response(),
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::test_runner::{Config, RngSeed};

    /// The same cases every time: a failure that cannot be repeated is worth nothing.
    pub fn config() -> Config {
        Config { cases: 500, failure_persistence: None, rng_seed: RngSeed::Fixed(1843), ..Config::default() }
    }
}
