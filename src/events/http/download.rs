//! Answers with all events there are: written while they are read, however many.

use std::mem;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tracing::{Instrument, Span};

use super::Reader;
use crate::error::{Error, Result};
use crate::events::layer::Streamed;
use crate::events::{Event, Walk};

/// An answer of a head, the events of a walk as `write` puts them down, and a tail. Whoever reads slowly is waited for, and
/// nothing is read ahead. Where the events cannot be read to the end, or are not for `reader` any more, the connection is broken
/// off, so that nobody takes a part for the whole.
pub fn download(
    head: Vec<u8>,
    walk: Walk,
    reader: Reader,
    write: impl FnMut(Vec<Event>, &mut Vec<u8>) -> Result<()> + Send + 'static,
    tail: &'static str,
) -> Response {
    // The body is made after the request has its answer; its log lines belong to the request all the same.
    let span = Span::current();
    let pieces = stream::try_unfold((head, Some(walk), reader, write), move |(mut piece, walk, reader, mut write)| {
        let next = async move {
            let Some(mut walk) = walk else { return Ok(None) };
            let walk = match walk.next().await.inspect_err(tell)? {
                Some(events) => {
                    reader.may_still_see(walk.whose()).await.inspect_err(tell)?;
                    write(events, &mut piece).inspect_err(tell)?;
                    Some(walk)
                }
                None => {
                    piece.extend_from_slice(tail.as_bytes());
                    None
                }
            };
            Ok::<_, Error>(Some((Bytes::from(mem::take(&mut piece)), (piece, walk, reader, write))))
        };
        next.instrument(span.clone())
    });
    let mut response = Body::from_stream(pieces).into_response();
    response.extensions_mut().insert(Streamed);
    response
}

fn tell(error: &Error) {
    match error {
        // The pulse tells of an outage.
        Error::Away(_) => {}
        Error::Internal(_) => tracing::error!(reason = error.reason(), "an export could not be finished"),
        _ => tracing::warn!(reason = error.reason(), "an export could not be finished"),
    }
}
