//! Layers: what browsers are told with every answer, also with refusals and before the server has started.
//!
//! Every answer of ours, that is. A head that is no HTTP, or larger than 64 KiB, never becomes a request: hyper answers it
//! with a bare 400 or 431.

use std::time::Duration;

use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LINK, LOCATION, REFERRER_POLICY,
    RETRY_AFTER, STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use super::extract::REQUEST_ID;
use crate::config::Config;

/// For answers that no browser is meant to show: nothing may be loaded, run, framed or sent.
const NOTHING: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// How long a browser may remember a preflight. A changed configuration is obeyed by then.
const MAX_AGE: Duration = Duration::from_secs(600);

/// How browsers are treated.
#[derive(Clone, Debug)]
pub struct Browsers {
    cors: Option<CorsLayer>,
    is_https: bool,
}

impl Browsers {
    /// Reads `[cors]` and whether people come by https.
    pub fn new(config: &Config) -> Self {
        let origins = &config.cors.origins;
        let allowed = match origins.iter().any(|origin| origin == "*") {
            true => AllowOrigin::from(Any),
            false => AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
        };
        // Without credentials: who is asking is said by the Authorization header, and there are no cookies.
        let cors = CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers([
                AUTHORIZATION,
                CONTENT_TYPE,
                REQUEST_ID,
                HeaderName::from_static("idempotency-key"),
                HeaderName::from_static("last-event-id"),
            ])
            .expose_headers([REQUEST_ID, LINK, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE])
            .max_age(MAX_AGE);
        Self { cors: (!origins.is_empty()).then_some(cors), is_https: config.server.public_url.starts_with("https://") }
    }

    /// Layer: answers preflights and lets scripts of the allowed origins read; none when no origin is allowed.
    pub fn cors(&self) -> Option<CorsLayer> {
        self.cors.clone()
    }

    /// Puts the security headers on an answer. A handler that sets one of them knows better, as `/docs` does.
    pub fn guard(&self, response: &mut Response) {
        let headers = response.headers_mut();
        // Those below, the request's id, and what answers have of their own: it grows once.
        headers.reserve(8);
        for (name, value) in [
            (CONTENT_SECURITY_POLICY, NOTHING),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            // Answers are about one person; the public documents say otherwise.
            (CACHE_CONTROL, "no-store"),
            // Holds back only what is loaded without CORS, so allowed origins are not in its way.
            (RESOURCE_POLICY, "same-origin"),
        ] {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        if self.is_https {
            // A year, for this host alone: about its neighbours the operator decides.
            headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
    }
}
