//! The gRPC door: merges the services of the rooms and lists the layers, outermost first. No method of a room is here.
//!
//! It is a router like that of the REST door, behind listeners of the same kind, and shares its events, limits and bounds. What
//! the rooms answer with `proto/` is in their `grpc.rs`.

mod arrivals;
pub mod call;
pub mod codec;
pub mod fields;
mod health;
mod measure;
mod message;
mod public;
mod recorded;
mod status;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method as HttpMethod, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any_service;
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tower::{Service, ServiceBuilder};
use tracing::Instrument;

use self::arrivals::Arrivals;
use self::call::{Call, METHODS, Method};
use self::measure::Measure;
use self::recorded::Grpc;
use crate::app::App;
use crate::error::{Code, Error};
use crate::http::around::{Around, Inner, Middleware};
use crate::http::request_id::RequestId;
use crate::http::{Host, body, bounded, client_ip};
use crate::{application_keys, auth, device_session, events, ratelimit, users};

/// The messages and services of `proto/`, as the build has them compiled.
#[expect(missing_docs, clippy::all, clippy::pedantic, reason = "written by a program")]
pub mod contract {
    include!(concat!(env!("OUT_DIR"), "/contract.rs"));
}

/// The whole gRPC door. After `stop` it serves on, and says that it is not well.
pub fn router(app: App, stop: CancellationToken) -> Router {
    let arrivals = Arrivals::default();
    let layers = ServiceBuilder::new()
        // Outside everything: counts and times what the client sees.
        .layer(Around(Measure(app.metrics.clone())))
        .layer(Around(Name(app.host.clone())))
        // Outside all that may refuse, fail or give up: those are events, too.
        .layer(Around(Record(app.clone())))
        .layer(Around(Admit(app.clone(), arrivals.clone())));
    let rooms = Router::new();
    let rooms = serve(rooms, users::grpc::service(&app));
    let rooms = serve(rooms, application_keys::grpc::service(&app));
    let rooms = serve(rooms, auth::grpc::service(&app));
    let rooms = serve(rooms, device_session::grpc::service(&app));
    rooms.fallback(async || refusal(&Code::MethodNotAllowed.into())).layer(layers).merge(public::router(
        Some(app.pulse.clone()),
        stop,
        arrivals,
    ))
}

/// What is behind the door before there is an [`App`]: these calls are no events, because there is no database to hold them.
pub fn starting() -> Router {
    // Who watches this is told once, and asks again: it is another router that will know.
    let told = CancellationToken::new();
    told.cancel();
    Router::new().fallback(async || refusal(&Error::Away(None))).merge(public::router(None, told, Arrivals::default()))
}

/// Adds the methods of a room, each as a route of its own, so that routes have the names that limits, events and metrics know.
fn serve<S>(router: Router, service: S) -> Router
where
    S: Service<Request, Response: IntoResponse, Error = Infallible, Future: Send>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
{
    let is_own = |method: &&Method| method.path.split('/').nth(1) == Some(S::NAME);
    METHODS.iter().filter(is_own).fold(router, |router, method| router.route(method.path, any_service(service.clone())))
}

/// An answer that tells of an error.
fn refusal(error: &Error) -> Response {
    status::of(error).into_http::<Body>()
}

/// Names a call before anything else happens to it, so that all of it can be found in the log by that name.
#[derive(Clone)]
struct Name(Arc<Host>);

impl Middleware for Name {
    async fn handle<S: Inner>(self, mut request: Request, inner: S) -> Response {
        let id = RequestId::of(&request, &self.0.random);
        let span = tracing::info_span!("call", %id);
        request.extensions_mut().insert(id.clone());
        let mut response = inner.run(request).instrument(span).await;
        id.put_on(&mut response);
        response
    }
}

/// Makes an event of a call.
#[derive(Clone)]
struct Record(App);

impl Middleware for Record {
    fn handle<S: Inner>(self, mut request: Request, inner: S) -> impl Future<Output = Response> + Send {
        self.0.trusted_proxies.find(&mut request);
        events::layer::record::<Grpc>(self.0, request, inner)
    }
}

/// Lets a call through to its method, within bounds: of time, of size, of how often, and of rights.
#[derive(Clone)]
struct Admit(App, Arrivals);

impl Middleware for Admit {
    async fn handle<S: Inner>(self, request: Request, inner: S) -> Response {
        let Self(app, arrivals) = self;
        if let Some(status) = foreign(&request) {
            return status.into_response();
        }
        let longest = match call::patience(request.headers()) {
            Ok(patience) => patience.unwrap_or(Duration::MAX).min(app.request_timeout),
            Err(error) => return refusal(&error),
        };
        let work = pin!(async {
            client_ip::require(&request)?;
            let arriving = arrivals.one(&request)?;
            let request = body::read(request).await?;
            drop(arriving);
            let Some(method) = Method::find(request.uri().path()) else { return Ok(inner.run(request).await) };
            ratelimit::layer::limit(&app.quotas, &request)?;
            let (mut head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Code::MalformedBody)?.to_bytes();
            let answer = pin!(async {
                let call = Call::identify(&app.auth, method, &head).await?;
                message::check(&head.headers, &body)?;
                head.extensions.insert(call);
                Ok(inner.run(Request::from_parts(head, Body::from(body))).await)
            });
            if app.events.are_relaxed() {
                app.pulse.during_if_needed(answer).await?
            } else {
                app.pulse.during(answer).await?
            }
        });
        // Whoever gave the call less time has gone by the end of it, and all that was done for it ends there as well.
        bounded(longest, work).await.unwrap_or_else(|error: Error| refusal(&error))
    }
}

/// What is answered to a request that is no call of gRPC (PROTOCOL-HTTP2, "Requests").
fn foreign(request: &Request) -> Option<StatusCode> {
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let rest = media_type.strip_prefix("application/grpc");
    let is_grpc = rest.is_some_and(|rest| ["", "+proto"].contains(&rest.split(';').next().unwrap_or_default().trim()));
    match *request.method() {
        HttpMethod::POST if is_grpc => None,
        HttpMethod::POST => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        _ => Some(StatusCode::METHOD_NOT_ALLOWED),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::tokens::Level;

    #[test]
    fn the_contract_says_of_every_method_what_the_table_says() {
        // Options of ours are unknown fields to the library's own descriptors, so they are read from the bytes.
        let pool = prost_reflect::DescriptorPool::decode(public::DESCRIPTORS).expect("our own descriptors");
        let option = pool.get_extension_by_name("blickfeld.base.access_control_method").expect("it is in proto/");
        let mut found = 0;
        for service in pool.services() {
            for described in service.methods() {
                let path = format!("/{}/{}", service.full_name(), described.name());
                let method = Method::find(&path).expect("every method is in the table");
                let options = described.options();
                let said = options.get_extension(&option);
                let said = contract::blickfeld::base::AccessControl::decode(
                    &*said.as_message().expect("a message").encode_to_vec(),
                )
                .expect("the same");
                let level = match method.level {
                    Level::Public => 1,
                    Level::Authorized => 2,
                    Level::Admin => 3,
                };
                assert_eq!((said.level, said.read_only), (level, method.is_for_readers), "{path}");
                found += 1;
            }
        }
        assert_eq!(found, METHODS.len());
    }
}
