//! The REST door in the eyes of the events: what is recorded, and what may be answered twice.

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};

use super::error;
use super::extract::credentials_in;
use super::request_id::RequestId;
use crate::error::{Code, Error};
use crate::events::layer::Door;
use crate::events::{Draft, REST};

/// The path of client grants: they sign, and change nothing.
const GRANT: &str = "/auth/token";

/// This door.
pub struct Rest;

impl Door for Rest {
    const SERVICE: &'static str = REST;

    /// Every API request; probes, documents and preflights are not (decisions.md section 3).
    fn is_recorded(request: &Request) -> bool {
        let path = request.uri().path();
        let is_under =
            |folder: &str| path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        request.method() != Method::OPTIONS
            && !["/", "/metrics", "/openapi.json"].contains(&path)
            && !["/health", "/docs", "/.well-known"].into_iter().any(is_under)
    }

    fn is_repeatable(request: &Request) -> bool {
        let is_grant = request.uri().path() == GRANT;
        let is_safe = request.method().is_safe() || (request.method() == Method::POST && is_grant);
        // Of a stranger nothing is remembered.
        is_safe && (is_grant || request.headers().contains_key(AUTHORIZATION))
    }

    fn credentials(request: &Request) -> Option<&HeaderValue> {
        // A grant ignores the header.
        request.headers().get(AUTHORIZATION).filter(|_| request.uri().path() != GRANT)
    }

    fn token(credentials: &HeaderValue) -> Option<&str> {
        credentials_in(credentials, "bearer")
    }

    fn begin(_: &Draft) {}

    fn refusal(error: Error, id: &RequestId) -> Response {
        error::write_down(error.into_response(), id)
    }

    fn code_of(response: &Response) -> Option<Code> {
        error::code_of(response)
    }

    fn outcome(head: &mut Parts, _: Option<&HeaderMap>, _: &Draft) -> u16 {
        head.status.as_u16()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn probes_and_documents_are_no_events() {
        let recorded = |method: Method, path: &str| {
            let mut request = Request::new(Body::empty());
            (*request.method_mut(), *request.uri_mut()) = (method, path.parse().expect("a path"));
            Rest::is_recorded(&request)
        };
        assert!(recorded(Method::GET, "/users/me"));
        assert!(recorded(Method::GET, "/nowhere"));
        assert!(recorded(Method::GET, "/healthy"));
        assert!(!recorded(Method::GET, "/health/live"));
        assert!(!recorded(Method::GET, "/docs/index.html"));
        assert!(!recorded(Method::OPTIONS, "/users/me"));
    }
}
