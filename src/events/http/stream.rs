//! `GET /users/me/events/stream`: server-sent events.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderName};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Error as BodyError, Extension};
use futures_util::{TryStreamExt, stream};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::{EventView, event_id, service, status};
use crate::auth::Auth;
use crate::error::{Code, Error, Problem, Result};
use crate::events::layer::Streamed;
use crate::events::{Draft, Event, EventId, Filter, Live, PERIOD, Stream};
use crate::http::Stop;
use crate::http::extract::{Caller, credentials_in};
use crate::http::openapi::{Anywhere, BadRequest, NeedsAccount, TooManyRequests};
use crate::http::query::Query;
use crate::secret::PlainSecret;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells nginx to hand each event on at once.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// When a client that lost its stream should ask again.
const RETRY: Duration = Duration::from_secs(2);

/// How often a stream without events looks whether its token is still good.
const CHECK: Duration = Duration::from_secs(2);

/// How often a stream without events says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The events of the caller, while they happen
///
/// Each one as in the list, once, from now on or from behind the one named by `Last-Event-ID`, whichever server it came to: about
/// half a second after its commit. The order is that of commits, which is not always that of ids. A stream ends with its token,
/// when the server stops, and when the database is away; ask again with the last id. Five may be open at once.
#[utoipa::path(
    get,
    path = "/users/me/events/stream",
    tag = "Events",
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen"),
        ("service" = Option<String>, Query, description = "Only events of this service, such as cloud-accounts"),
        ("status" = Option<String>, Query, description = "Only events with this status (404) or class of statuses (4xx)"),
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
    State(auth): State<Auth>,
    Caller(caller): Caller,
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

    let token = headers.get(AUTHORIZATION).and_then(|value| credentials_in(value, "bearer")).unwrap_or_default();
    let follower =
        Follower { stream, auth, token: PlainSecret::new(token), is_first: true, checked_at: Instant::now() };
    let span = Span::current();
    let messages = stream::try_unfold(follower, move |mut follower| {
        let stop = stop.clone();
        let next = async move {
            let next = stop.run_until_cancelled(follower.next()).await.flatten();
            Ok(next.map(|messages| (stream::iter(messages.into_iter().map(Ok::<_, BodyError>)), follower)))
        };
        next.instrument(span.clone())
    });
    let answer = Sse::new(messages.try_flatten()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
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
    auth: Auth,
    token: PlainSecret,
    is_first: bool,
    /// When the token was good last.
    checked_at: Instant,
}

impl Follower {
    /// The next messages; `None` at the end. Asked for when the client has taken those before.
    async fn next(&mut self) -> Option<Vec<Message>> {
        if std::mem::take(&mut self.is_first) {
            return Some(vec![Message::default().retry(RETRY)]);
        }
        loop {
            match self.look().await {
                Ok(events) if events.is_empty() => tokio::time::sleep(PERIOD).await,
                Ok(events) => return events.into_iter().map(message).collect(),
                Err(Error::Internal(reason)) => {
                    tracing::error!(reason = format!("{reason:#}"), "a stream of events ends");
                    return None;
                }
                // Its token is dead, or the database is away.
                Err(_) => return None,
            }
        }
    }

    /// What is new. Whoever lost the right to see it meanwhile sees nothing of it.
    async fn look(&mut self) -> Result<Vec<Event>> {
        let events = self.stream.next().await?;
        if !events.is_empty() || self.checked_at.elapsed() >= CHECK {
            self.stream.in_time(self.auth.identify(&self.token, &Draft::default())).await??;
            self.checked_at = Instant::now();
        }
        Ok(events)
    }
}

fn message(event: Event) -> Option<Message> {
    let id = EventId(event.id).to_string();
    Message::default().id(id).json_data(EventView::from(event)).ok()
}
