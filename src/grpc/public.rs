//! What everybody may ask, and what is not recorded: whether the server is well, and what can be called. The library answers,
//! within our bounds.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_reflection::server::Builder;

use super::arrivals::Arrivals;
use super::health::Doctor;
use super::{foreign, message, refusal, status};
use crate::db::pulse::Pulse;
use crate::error::Code;
use crate::http::around::{Around, Inner, Middleware};
use crate::http::bounded;

/// All of `proto/`, for those who ask what there is.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.bin"));

/// How long a question may take to arrive.
const LONGEST_QUESTION: Duration = Duration::from_secs(10);

/// How long somebody may go on asking in one stream.
const LONGEST_TALK: Duration = Duration::from_secs(60);

/// Bytes of a question: the name of something.
const LARGEST: usize = 4 * 1024;

/// The services, until `stop`. Without a pulse the server is starting.
pub fn router(pulse: Option<Pulse>, stop: CancellationToken, arrivals: Arrivals) -> Router {
    let builder = || {
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
    let health = Doctor::service(pulse, stop).max_decoding_message_size(LARGEST);
    let v1 = builder().build_v1().expect(built).max_decoding_message_size(LARGEST);
    let v1alpha = builder().build_v1alpha().expect(built).max_decoding_message_size(LARGEST);
    let router = Router::new().route_service(&path(&health), health);
    router.route_service(&path(&v1), v1).route_service(&path(&v1alpha), v1alpha).layer(Around(Ask(arrivals)))
}

/// All methods of a service.
fn path<S: NamedService>(_: &S) -> String {
    format!("/{}/{{method}}", S::NAME)
}

/// Bounds a question, and says whose fault it is: the library's codec calls its own what a client got wrong.
#[derive(Clone)]
struct Ask(Arrivals);

impl Middleware for Ask {
    async fn handle<S: Inner>(self, request: Request, inner: S) -> Response {
        if let Some(status) = foreign(&request) {
            return status.into_response();
        }
        let arriving = match self.0.one(&request) {
            Ok(arriving) => arriving,
            Err(error) => return refusal(&error),
        };
        let request = request.map(|body| {
            let questions = body.into_data_stream().take_until(tokio::time::sleep(LONGEST_TALK));
            Body::from_stream(questions.inspect(move |_| {
                let _ = &arriving;
            }))
        });
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
