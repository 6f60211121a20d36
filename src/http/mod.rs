//! The REST door: merges the routers of the rooms and lists the layers, outermost first. No handler of a room is here.

pub mod accept;
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

pub mod around;
pub mod body;
mod docs;
mod probes;
mod recorded;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower::util::option_layer;
use tracing::Instrument;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use self::probes::Stop;

use self::around::{Around, Inner, Middleware};
use self::browsers::Browsers;
use self::metrics::Scraper;
use self::recorded::Rest;
use self::request_id::RequestId;
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::events::Draft;
use crate::metrics::Connections;
use crate::random::Random;
use crate::{
    auth, client_keys, ethereum, events, export, ratelimit, signing_keys, tokens, user_keys, users, verification,
};

/// Every route of every room, and its description.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(probes::router())
        .merge(users::http::router())
        .merge(verification::http::router())
        .merge(auth::http::router())
        .merge(ethereum::http::router())
        .merge(tokens::http::router())
        .merge(client_keys::http::router())
        .merge(user_keys::http::router())
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
        .layer(Around(Greet(app.host.clone())))
        // On every answer, or a browser could not read the refusals.
        .layer(option_layer(app.host.browsers.cors()))
        // Outside all that may refuse, fail or give up: those are events, too.
        .layer(Around(Record(app.clone())))
        // Inside the events, which count the bytes of bodies as they leave.
        .layer(compression::layer())
        .layer(Around(Admit(app.clone())));
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
    let layers = ServiceBuilder::new().layer(Around(Greet(app.host.clone()))).layer(Around(Bound(app.request_timeout)));
    metrics::open(Scraper::new(app, connections))
        .fallback(async || Error::from(Code::NotFound))
        .method_not_allowed_fallback(async || Error::from(Code::MethodNotAllowed))
        .layer(layers)
}

/// What is behind the door before there is an [`App`]: a process that lives and cannot serve yet. These requests are no
/// events; there is no database to hold them.
pub fn starting(browsers: &Browsers) -> Router {
    let host = Arc::new(Host { random: Random::default(), browsers: browsers.clone() });
    let layers = ServiceBuilder::new()
        .layer(Around(Greet(host)))
        .layer(option_layer(browsers.cors()))
        .layer(Around(Bound(Duration::from_secs(1))));
    Router::new().merge(probes::live_router()).fallback(async || Error::Away(None)).layer(layers)
}

/// What answers have of the server that gives them; cheap to clone.
#[derive(Clone)]
pub struct Host {
    /// Chance, for request ids.
    pub random: Random,
    /// How browsers are treated.
    pub browsers: Browsers,
}

/// Names a request before anything else happens to it, so that all of it can be found in the log by that name, and tells
/// browsers what they may do with the answer.
#[derive(Clone)]
struct Greet(Arc<Host>);

impl Middleware for Greet {
    async fn handle<S: Inner>(self, mut request: Request, inner: S) -> Response {
        let id = RequestId::of(&request, &self.0.random);
        let span = tracing::info_span!("request", %id, method = %request.method());
        request.extensions_mut().insert(id.clone());
        let mut response = inner.run(request).instrument(span).await;
        self.0.browsers.guard(&mut response);
        id.put_on(&mut response);
        response
    }
}

/// Makes an event of a request, when it is known who is asking.
#[derive(Clone)]
struct Record(App);

impl Middleware for Record {
    fn handle<S: Inner>(self, mut request: Request, inner: S) -> impl Future<Output = Response> + Send {
        self.0.trusted_proxies.find(&mut request);
        compression::settle(request.headers_mut());
        events::layer::record::<Rest>(self.0, request, inner)
    }
}

/// Lets a request through to its handler, within bounds: of time, of size, and of how often. Every request that is recorded
/// needs the database, if only for its event, unless answers do not wait for those.
#[derive(Clone)]
struct Admit(App);

impl Middleware for Admit {
    async fn handle<S: Inner>(self, request: Request, inner: S) -> Response {
        let Self(app) = self;
        let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
        let work = pin!(async {
            client_ip::require(&request)?;
            // With the request in hand, so that a refusal arrives and is not lost in a connection that is reset.
            let request = body::read(request).await?;
            ratelimit::layer::limit(&app.quotas, &request)?;
            let is_recorded = request.extensions().get::<Draft>().is_some();
            let answer = pin!(inner.run(request));
            match is_recorded {
                true if app.events.are_relaxed() => app.pulse.during_if_needed(answer).await,
                true => app.pulse.during(answer).await,
                false => Ok(answer.await),
            }
        });
        finish(app.request_timeout, work, &id).await
    }
}

/// Bounds the time of an answer.
#[derive(Clone)]
struct Bound(Duration);

impl Middleware for Bound {
    async fn handle<S: Inner>(self, request: Request, inner: S) -> Response {
        let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
        finish(self.0, pin!(inner.run(request).map(Ok)), &id).await
    }
}

/// Makes an answer of whatever `work` comes to, and gives refusals their body.
async fn finish(longest: Duration, work: Pin<&mut impl Future<Output = Result<Response>>>, id: &RequestId) -> Response {
    error::write_down(bounded(longest, work).await.unwrap_or_else(IntoResponse::into_response), id)
}

/// What `work` comes to; a panic is an error, and so is no end in time.
pub async fn bounded<T>(longest: Duration, work: Pin<&mut impl Future<Output = Result<T>>>) -> Result<T> {
    // What a handler that panicked leaves behind is its own: services hold their locks for moments, and never in a broken state.
    match tokio::time::timeout(longest, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(panicked(&*panic)),
        Err(_) => Err(Error::Busy { code: Code::Timeout, retry_after: Duration::from_secs(1) }),
    }
}

fn panicked(payload: &(dyn Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    Error::Internal(anyhow::anyhow!("a handler panicked: {text}"))
}

#[cfg(test)]
pub mod tests {
    use proptest::test_runner::{Config, RngSeed};

    /// The same cases every time: a failure that cannot be repeated is worth nothing.
    pub fn config() -> Config {
        Config { cases: 500, failure_persistence: None, rng_seed: RngSeed::Fixed(1843), ..Config::default() }
    }
}
