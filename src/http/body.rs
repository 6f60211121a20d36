//! Reads the body before anybody decides, within bounds.
//!
//! An answer that leaves while the client is still sending is lost in a reset connection. So the body is read first:
//! up to [`LARGEST`] (`LARGEST_KEY` of a public key) is kept for the handler, up to `PATIENCE` is read and dropped for the sake of a 413 that arrives.
//! Whoever calls bounds the time.

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request};
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt;

use crate::error::{Code, Result};
use crate::events::Draft;

/// Bytes that a handler may see.
pub const LARGEST: usize = 64 * 1024;

/// Bytes of a body that carries a public key.
const LARGEST_KEY: usize = 128 * 1024;

/// The route of those.
const KEYS: &str = "/users/me/keys/pgp";

/// Bytes that are read at all.
const PATIENCE: usize = 1024 * 1024;

/// Reads the body of a request, or refuses it.
pub async fn read(request: Request) -> Result<Request> {
    let (parts, body) = request.into_parts();
    let is_key = parts.extensions.get::<MatchedPath>().is_some_and(|route| route.as_str() == KEYS);
    let largest = if is_key { LARGEST_KEY } else { LARGEST };
    let announced = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let is_announced_too_large = announced.is_some_and(|length| length > largest as u64);
    // Whoever asks before sending is told before sending.
    if is_announced_too_large && parts.headers.contains_key(EXPECT) {
        return Err(Code::PayloadTooLarge.into());
    }

    let (mut kept, mut seen) = (Vec::new(), 0);
    let mut body = body;
    while let Some(frame) = body.frame().await {
        // The client went away or broke the framing; there is probably nobody left to tell.
        let frame = frame.map_err(|_| Code::MalformedBody)?;
        let Some(data) = frame.data_ref() else { continue };
        seen += data.len();
        if seen > PATIENCE {
            break;
        }
        if seen <= largest && !is_announced_too_large {
            kept.extend_from_slice(data);
        }
    }
    if seen > largest || is_announced_too_large {
        return Err(Code::PayloadTooLarge.into());
    }
    let body = Bytes::from(kept);
    if let Some(draft) = parts.extensions.get::<Draft>() {
        draft.keep_body(&body);
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}
