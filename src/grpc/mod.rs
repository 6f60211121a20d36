//! The gRPC door: merges the services of the rooms and lists the layers, outermost first. No method of a room is here.
//!
//! It is a router like that of the REST door, behind listeners of the same kind, and shares its events, limits and bounds. What
//! the rooms answer with `proto/` is in their `grpc.rs`.

pub mod call;
pub mod codec;
pub mod fields;
mod health;
mod measure;
mod message;
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
use tonic_reflection::server::Builder;
use tower::{Service, ServiceBuilder};
use tracing::Instrument;

use self::call::{Call, METHODS, Method};
use self::health::Doctor;
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

/// All of `proto/`, for those who ask what there is.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.bin"));

/// How long a question to the library's own services may take to arrive.
const LONGEST_QUESTION: Duration = Duration::from_secs(10);

/// The whole gRPC door. After `stop` it serves on, and says that it is not well.
pub fn router(app: App, stop: CancellationToken) -> Router {
    let layers = ServiceBuilder::new()
        // Outside everything: counts and times what the client sees.
        .layer(Around(Measure(app.metrics.clone())))
        .layer(Around(Name(app.host.clone())))
        // Outside all that may refuse, fail or give up: those are events, too.
        .layer(Around(Record(app.clone())))
        .layer(Around(Admit(app.clone())));
    let rooms = Router::new();
    let rooms = serve(rooms, users::grpc::service(&app));
    let rooms = serve(rooms, application_keys::grpc::service(&app));
    let rooms = serve(rooms, auth::grpc::service(&app));
    let rooms = serve(rooms, device_session::grpc::service(&app));
    rooms.fallback(async || refusal(&Code::MethodNotAllowed.into())).layer(layers).merge(public(Some(app), stop))
}

/// What is behind the door before there is an [`App`]: these calls are no events, because there is no database to hold them.
pub fn starting() -> Router {
    // Who watches this is told once, and asks again: it is another router that will know.
    let told = CancellationToken::new();
    told.cancel();
    Router::new().fallback(async || refusal(&Error::Away(None))).merge(public(None, told))
}

/// What everybody may ask, and what is not recorded: whether the server is well, and what can be called. The library answers,
/// within our bounds.
fn public(app: Option<App>, stop: CancellationToken) -> Router {
    let health = Doctor::service(app.map(|app| app.pulse.clone()), stop);
    let reflection = || {
        let all = [
            DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        // Each version would tell of itself only.
        let builder = Builder::configure().include_reflection_service(false);
        all.into_iter().fold(builder, Builder::register_encoded_file_descriptor_set)
    };
    let built = "our own descriptors are good";
    let health = health.max_decoding_message_size(body::LARGEST);
    let v1 = reflection().build_v1().expect(built).max_decoding_message_size(body::LARGEST);
    let v1alpha = reflection().build_v1alpha().expect(built).max_decoding_message_size(body::LARGEST);
    let router = Router::new().route_service(&path(&health), health);
    router.route_service(&path(&v1), v1).route_service(&path(&v1alpha), v1alpha).layer(Around(Blame))
}

/// All methods of a service.
fn path<S: NamedService>(_: &S) -> String {
    format!("/{}/{{method}}", S::NAME)
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
struct Admit(App);

impl Middleware for Admit {
    async fn handle<S: Inner>(self, request: Request, inner: S) -> Response {
        let Self(app) = self;
        if let Some(status) = foreign(&request) {
            return status.into_response();
        }
        let longest = match call::patience(request.headers()) {
            Ok(patience) => patience.unwrap_or(Duration::MAX).min(app.request_timeout),
            Err(error) => return refusal(&error),
        };
        let work = pin!(async {
            client_ip::require(&request)?;
            let request = body::read(request).await?;
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

/// Says of a message to the library's own services whose fault it is: the library's codec calls its own what a client got wrong.
#[derive(Clone)]
struct Blame;

impl Middleware for Blame {
    async fn handle<S: Inner>(self, request: Request, inner: S) -> Response {
        if let Some(status) = foreign(&request) {
            return status.into_response();
        }
        // Until the answer begins; those who watch go on.
        let mut answer = pin!(async { Ok(inner.run(request).await) });
        let answer = bounded(LONGEST_QUESTION, answer.as_mut()).await;
        let told = answer.as_ref().map(|response| status::status_in(response.headers(), None));
        match told {
            Ok(tonic::Code::Internal) => refusal(&message::malformed("is not the request of this method")),
            Ok(tonic::Code::OutOfRange) => refusal(&Code::PayloadTooLarge.into()),
            _ => answer.unwrap_or_else(|error| refusal(&error)),
        }
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
        let pool = prost_reflect::DescriptorPool::decode(DESCRIPTORS).expect("our own descriptors");
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
