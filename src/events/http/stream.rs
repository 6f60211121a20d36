//! `GET /users/me/events/stream`: server-sent events.

use std::collections::VecDeque;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, HeaderMap, HeaderName};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Error as BodyError, Extension};
use futures_util::stream;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::{EventView, Passing, Reader, event_id, service, status};
use crate::error::{Code, Error, Problem, Result};
use crate::events::layer::Streamed;
use crate::events::{Draft, Event, EventId, Filter, Live, PERIOD, Stream, Whose};
use crate::http::Stop;
use crate::http::extract::Caller;
use crate::http::openapi::{Anywhere, BadRequest, NeedsAccount, TooManyRequests};
use crate::http::query::Query;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells nginx to hand each event on at once.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// When a client that lost its stream should ask again.
const RETRY: Duration = Duration::from_secs(2);

/// How old the knowledge that the token is still good may be when an event is handed out, or the next one is waited for.
const CHECK: Duration = Duration::from_secs(2);

/// How often a stream without events says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The events of the caller, while they happen
///
/// Each one as in the list, once, from now on or from behind the one named by `Last-Event-ID`, whichever server it came to: about
/// half a second after its commit. The order is that of commits, which is not always that of ids. A stream ends with its token,
/// when the server stops, and when the database is away; ask again with the last id. Five of a user may be open at each server.
#[utoipa::path(
    get,
    path = "/users/me/events/stream",
    tag = "Events",
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen"),
        Passing,
    ),
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "Server-sent events: `id` is the id, `data` the event", content_type = "text/event-stream",
         body = String, example = "id: event-0199f0a4-8f6e-7c31-a3c5-2f1de2a8b0c4\ndata: {\"id\":\"event-0199f0a4-8f6e-7c31-a3c5-2f1de2a8b0c4\", …}\n\n"),
        BadRequest, NeedsAccount,
    ),
    security(("account" = [])),
)]
pub async fn follow_events(
    State(live): State<Live>,
    Caller(caller): Caller,
    reader: Reader,
    Extension(Stop(stop)): Extension<Stop>,
    draft: Draft,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let mut query = Query::parse(query.as_deref());
    let filter =
        Filter { service: query.take("service", service), status: query.take("status", status), ..Filter::default() };
    query.finish()?;
    let stream = live.follow(caller.user.id, &filter, last_event_id(&headers)?).await?;
    draft.add("stream", true);

    let whose = Whose::User(caller.user.id);
    let waiting = VecDeque::new();
    let follower = Follower { stream, whose, reader, waiting, is_first: true, checked_at: Instant::now() };
    let span = Span::current();
    let messages = stream::try_unfold(follower, move |mut follower| {
        let stop = stop.clone();
        let next = async move {
            let next = stop.run_until_cancelled(follower.next()).await.flatten();
            Ok::<_, BodyError>(next.map(|message| (message, follower)))
        };
        next.instrument(span.clone())
    });
    let answer = Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    let mut response = ([(CACHE_CONTROL, "no-store"), (BUFFERING, "no")], answer).into_response();
    response.extensions_mut().insert(Streamed);
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<EventId>> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let id = value.to_str().map_err(|_| "must be an event id".to_owned()).and_then(event_id);
    id.map(Some).map_err(|message| Error::invalid(Code::ValidationFailed, Problem::new("Last-Event-ID", message)))
}

/// A stream on its way to a client.
struct Follower {
    stream: Stream,
    whose: Whose,
    reader: Reader,
    /// What was read, and not handed out yet.
    waiting: VecDeque<Event>,
    is_first: bool,
    /// When the token was good last.
    checked_at: Instant,
}

impl Follower {
    /// The next message; `None` at the end. Asked for when the client has taken the one before.
    async fn next(&mut self) -> Option<Message> {
        if std::mem::take(&mut self.is_first) {
            return Some(Message::default().retry(RETRY));
        }
        match self.event().await {
            Ok(event) => message(event),
            Err(Error::Internal(reason)) => {
                tracing::error!(reason = format!("{reason:#}"), "a stream of events ends");
                None
            }
            // Its token is dead, or the database is away.
            Err(_) => None,
        }
    }

    /// The next event. Whoever lost the right to see it meanwhile sees nothing of it: neither of what is new, nor, however slowly
    /// it is taken, of what waited.
    async fn event(&mut self) -> Result<Event> {
        loop {
            let mut is_new = false;
            if self.waiting.is_empty() {
                self.waiting.extend(self.stream.next().await?);
                is_new = !self.waiting.is_empty();
            }
            if is_new || self.checked_at.elapsed() >= CHECK {
                self.reader.may_still_see(self.whose).await?;
                self.checked_at = Instant::now();
            }
            match self.waiting.pop_front() {
                Some(event) => return Ok(event),
                None => tokio::time::sleep(PERIOD).await,
            }
        }
    }
}

fn message(event: Event) -> Option<Message> {
    let id = EventId(event.id).to_string();
    Message::default().id(id).json_data(EventView::from(event)).ok()
}
