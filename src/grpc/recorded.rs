//! The gRPC door in the eyes of the events: every call of the contract is one (decisions.md section 3).

use axum::extract::Request;
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use super::call::TOKEN;
use super::status;
use crate::error::{Code, Error};
use crate::events::layer::Door;
use crate::events::{Draft, GRPC, GRPC_CANCELLED, GRPC_STATUS};
use crate::http::request_id::RequestId;

/// This door.
pub struct Grpc;

impl Door for Grpc {
    const SERVICE: &'static str = GRPC;

    fn is_recorded(_: &Request) -> bool {
        true
    }

    fn is_repeatable(_: &Request) -> bool {
        false
    }

    fn credentials(request: &Request) -> Option<&HeaderValue> {
        request.headers().get(TOKEN)
    }

    fn token(credentials: &HeaderValue) -> Option<&str> {
        credentials.to_str().ok()
    }

    fn begin(draft: &Draft) {
        draft.add(GRPC_STATUS, GRPC_CANCELLED);
    }

    fn refusal(error: Error, _: &RequestId) -> Response {
        super::refusal(&error)
    }

    fn code_of(response: &Response) -> Option<Code> {
        status::code_in(response.headers())
    }

    fn outcome(head: &mut Parts, trailers: Option<&HeaderMap>, draft: &Draft) -> u16 {
        if !head.status.is_success() {
            // It was no call of gRPC, and was not answered as one.
            draft.remove(GRPC_STATUS);
            return head.status.as_u16();
        }
        let status = status::status_in(&head.headers, trailers);
        draft.add(GRPC_STATUS, i32::from(status));
        head.extensions.insert(status);
        status::http_status(status)
    }
}
