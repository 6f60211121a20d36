//! `GET /`, `GET /health/live` and `GET /health/ready`: for clients and machines that ask whether we are there.

use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::db::pulse::Pulse;
use crate::error::{Code, Error, Result};
use crate::events::Events;
use crate::http::error::ErrorBody;
use crate::http::openapi::Static;

/// Tells when the server stops.
#[derive(Clone)]
pub struct Stop(pub CancellationToken);

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(root)).routes(routes!(live)).routes(routes!(ready))
}

/// The one probe that needs no [`App`].
pub fn live_router() -> Router {
    Router::new().route("/health/live", get(live))
}

/// What this is.
#[derive(Serialize, utoipa::ToSchema)]
struct RootResponse {
    #[schema(example = "bloq-accounts")]
    name: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// The path of the documents.
    #[schema(example = "/docs")]
    docs: &'static str,
}

/// What this is
#[utoipa::path(
    get,
    path = "/",
    tag = "Service",
    responses((status = 200, description = "It is up", body = RootResponse), Static)
)]
async fn root() -> Json<RootResponse> {
    Json(RootResponse { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), docs: "/docs" })
}

/// The state of the service.
#[derive(Serialize, utoipa::ToSchema)]
struct HealthResponse {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process runs
#[utoipa::path(
    get,
    path = "/health/live",
    tag = "Service",
    responses(
        (status = 200, description = "It runs", body = HealthResponse),
        (status = 413, description = "`PayloadTooLarge`: the body is larger than 64 KiB", body = ErrorBody),
    )
)]
async fn live() -> Json<HealthResponse> {
    Json(HealthResponse { status: "ok" })
}

/// Whether requests can be served
///
/// That is: migrated, connected to the database right now, able to write events, and not about to stop.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "Service",
    responses(
        (status = 200, description = "Ready", body = HealthResponse),
        (status = 413, description = "`PayloadTooLarge`: the body is larger than 64 KiB", body = ErrorBody),
        (status = 500, description = "`InternalError`", body = ErrorBody),
        (status = 503, description = "`DatabaseUnavailable`, `ShuttingDown`, `Timeout`", body = ErrorBody,
         headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
async fn ready(
    State(pulse): State<Pulse>,
    State(events): State<Events>,
    Extension(Stop(stop)): Extension<Stop>,
) -> Result<Json<HealthResponse>> {
    if stop.is_cancelled() {
        Err(Error::Busy { code: Code::ShuttingDown, retry_after: Duration::from_secs(1) })
    } else if pulse.ask().await && !events.are_stuck() {
        Ok(Json(HealthResponse { status: "ok" }))
    } else {
        Err(Error::Away(None))
    }
}
