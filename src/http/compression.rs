//! Layer: gzip for answers of 1 KiB and more that hold no secret.
//!
//! What is compressed tells by its length what it has in common with text that an attacker may place beside it (BREACH,
//! CVE-2013-3587). So an answer with a token or a secret is a [`SecretJson`] and always leaves as it is; the house laws
//! find one that is not.

use axum::Json;
use axum::http::header::ACCEPT_ENCODING;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tower_http::CompressionLevel;
use tower_http::compression::predicate::{And, NotForContentType, SizeAbove};
use tower_http::compression::{CompressionLayer, Predicate};

/// Bytes from which on it is worth the work.
const SMALLEST: u64 = 1024;

/// A JSON answer that holds a token or a secret, and is therefore never compressed.
#[derive(Clone, Debug)]
pub struct SecretJson<T>(pub T);

/// Says on a response that it holds a secret.
#[derive(Clone, Copy)]
struct HoldsSecret;

impl<T: Serialize> IntoResponse for SecretJson<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.0).into_response();
        response.extensions_mut().insert(HoldsSecret);
        response
    }
}

type AtRest = And<And<SizeAbove, NotForContentType>, NotForContentType>;

type Rule = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// Layer: compresses what may be compressed.
pub fn layer() -> CompressionLayer<And<AtRest, Rule>> {
    let holds_no_secret: Rule = |_, _, _, extensions| extensions.get::<HoldsSecret>().is_none();
    // An event of a stream must not wait for those that fill a block.
    let is_at_rest = SizeAbove::new(SMALLEST).and(NotForContentType::IMAGES).and(NotForContentType::SSE);
    let rule = is_at_rest.and(holds_no_secret);
    // Lists of like things shrink to a small part at any level; the time is what differs.
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(rule)
}

/// Outside of [`layer`]: leaves of `Accept-Encoding` either `gzip` or nothing.
///
/// A client that refuses every coding we have gets the plain answer, as RFC 9110 section 12.5.3 allows: a 406 would come
/// after the request did its work.
pub fn settle(headers: &mut HeaderMap) {
    let takes_gzip = headers.get_all(ACCEPT_ENCODING).iter().any(takes_gzip);
    headers.remove(ACCEPT_ENCODING);
    if takes_gzip {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

fn takes_gzip(value: &HeaderValue) -> bool {
    value.to_str().unwrap_or_default().split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        // A weight that is none wants nothing that could be had wrong.
        let is_wanted = |weight: &str| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0);
        is_gzip && parts.all(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")).is_some_and(is_wanted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_ask_for_it() {
        for (header, expected) in [
            ("gzip", true),
            ("GZip", true),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("br;q=1, gzip; q=0.001", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("gzip;q=lots", false),
            ("identity;q=0", false),
            ("br, zstd", false),
            ("gzipped", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&HeaderValue::from_static(header)), expected, "{header}");
        }
    }

    #[test]
    fn a_secret_is_marked_whatever_its_size() {
        let rule = |response: &Response| response.extensions().get::<HoldsSecret>().is_none();
        assert!(rule(&Json("x".repeat(9999)).into_response()));
        assert!(!rule(&SecretJson("x".repeat(9999)).into_response()));
    }
}
