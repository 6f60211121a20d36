//! `GET /metrics`, and the layer that counts requests.
//!
//! The page is for the machine itself, for trusted proxies, and for whoever reaches `server.metrics_listen`. To everybody
//! else there is nothing at this path. It is bounded when the database is not there: the database has a second to answer,
//! one question at a time however many scrapers there are, and what it did not say is left out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::client_ip::ClientIp;
use super::error::code_of;
use crate::app::{App, Services};
use crate::error::{Code, Error, Result};
use crate::events::Disk;
use crate::metrics::{Asked, Connections, MEDIA_TYPE, Metrics, Readings};

/// How long the database has to answer, and how long its answer serves other scrapers.
const PATIENCE: Duration = Duration::from_secs(1);

/// The status of a request whose client hung up, as in the events.
const CLIENT_GONE: &str = "499";

/// The route on the REST door, for those who are [inside](ClientIp::is_inside).
pub fn guarded<S: Clone + Send + Sync + 'static>(scraper: Scraper) -> Router<S> {
    Router::new().route("/metrics", any(answer_inside)).with_state(scraper)
}

/// The route on a door of its own, for everybody who reaches it.
pub fn open(scraper: Scraper) -> Router {
    Router::new().route("/metrics", get(answer)).with_state(scraper)
}

/// Asks everybody for their figures.
#[derive(Clone)]
pub struct Scraper {
    app: App,
    connections: Connections,
    /// What the database said last, and when. Held while it is asked: a crowd of scrapers is one question.
    last: Arc<Mutex<Option<(Instant, FromDatabase)>>>,
}

/// What the database said, if it said something.
#[derive(Clone, Copy, Default)]
struct FromDatabase {
    is_up: bool,
    asked: Option<Asked>,
}

impl Scraper {
    /// For this app behind a door with these connections.
    pub fn new(app: App, connections: Connections) -> Self {
        Self { app, connections, last: Arc::default() }
    }

    async fn readings(&self) -> Readings {
        let FromDatabase { is_up, asked } = self.ask_database().await;
        let Services { pool, hasher, events, .. } = &*self.app;
        let pool = pool.current();
        let (events_queued, events_most) = events.queue();
        Readings {
            connections: self.connections.clone(),
            pool_size: pool.size() as usize,
            pool_idle: pool.num_idle(),
            pool_most: pool.options().get_max_connections() as usize,
            hashing: hasher.load(),
            events_queued,
            events_most,
            disk: self.app.disk.as_ref().and_then(Disk::space),
            is_database_up: is_up,
            asked,
        }
    }

    async fn ask_database(&self) -> FromDatabase {
        let mut last = self.last.lock().await;
        if let Some((at, said)) = *last
            && at.elapsed() < PATIENCE
        {
            return said;
        }
        let mut said = FromDatabase::default();
        match tokio::time::timeout(PATIENCE, self.ask(&mut said)).await {
            Ok(Err(error)) if error.code() != Code::DatabaseUnavailable => {
                tracing::warn!(?error, "cannot read all metrics");
            }
            _ => {}
        }
        *last = Some((Instant::now(), said));
        said
    }

    /// Notes each answer as it comes: the time may be over before the last one.
    async fn ask(&self, said: &mut FromDatabase) -> Result<()> {
        said.is_up = self.app.pulse.ask().await;
        if said.is_up {
            let outbox = self.app.mail.backlog().await?;
            let strays = self.app.events.strays().await?;
            said.asked = Some(Asked { outbox, strays, months: self.app.events.pruner().gauge().await? });
        }
        Ok(())
    }
}

async fn answer(State(scraper): State<Scraper>) -> Result<Response> {
    let page = scraper.app.metrics.page(&scraper.readings().await)?;
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], page).into_response())
}

async fn answer_inside(scraper: State<Scraper>, request: Request) -> Response {
    if !request.extensions().get::<ClientIp>().is_some_and(|client| client.is_inside) {
        return Error::from(Code::NotFound).into_response();
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return ([(ALLOW, "GET,HEAD")], Error::from(Code::MethodNotAllowed)).into_response();
    }
    answer(scraper).await.into_response()
}

/// Layer, outermost: counts and times what clients see, also of those who do not wait for it.
///
/// A service of its own and not `from_fn`, which would copy all layers below it for every request.
#[derive(Clone)]
pub struct Measure(pub Metrics);

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { metrics: self.0.clone(), inner }
    }
}

/// What [`Measure`] makes of a service.
#[derive(Clone)]
pub struct Measured<S> {
    metrics: Metrics,
    inner: S,
}

impl<S> Service<Request> for Measured<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let under_way = UnderWay::new(self.metrics.clone(), known(request.method()), route);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            under_way.answered(&response);
            Ok(response)
        })
    }
}

/// A request that is counted when it ends, in whatever way.
struct UnderWay {
    metrics: Metrics,
    method: &'static str,
    route: Option<MatchedPath>,
    began: Instant,
    status: Option<StatusCode>,
}

impl UnderWay {
    fn new(metrics: Metrics, method: &'static str, route: Option<MatchedPath>) -> Self {
        metrics.request_began();
        Self { metrics, method, route, began: Instant::now(), status: None }
    }

    fn answered(mut self, response: &Response) {
        self.status = Some(response.status());
        if let Some(code) = code_of(response) {
            self.metrics.refused(code);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let route = self.route.as_ref().map_or("unmatched", MatchedPath::as_str);
        let status = self.status.as_ref().map_or(CLIENT_GONE, StatusCode::as_str);
        self.metrics.request_ended(self.method, route, status, self.began.elapsed());
    }
}

/// The method, if it is one that anybody has heard of: clients may invent more.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
