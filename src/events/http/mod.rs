//! `GET /users/me/events`, `GET /users/me/events/stream` and `GET /events`

mod download;
mod form;
mod reader;
mod stream;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Event, EventId, Feed, Filter, GRPC, Order, StatusFilter, Whose};
use crate::app::App;
use crate::auth;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::http::extract::{Admin, Caller};
use crate::http::openapi::{Anywhere, BadRequest, NeedsAccount, TooManyRequests};
use crate::http::query::{Query, links};
use crate::users::UserId;
use form::Form;

pub use download::download;
pub use reader::Reader;

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_events))
        .routes(routes!(list_all_events))
        .routes(routes!(stream::follow_events))
}

/// An event as the wire shows it (bloq-accounts.md 3.11).
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// `event-<uuid v7>`; later events have greater ids.
    #[schema(example = "event-0199f0a4-8f6e-7c31-a3c5-2f1de2a8b0c4")]
    id: String,
    /// The door that was used.
    #[schema(example = "cloud-accounts")]
    service: String,
    input: InputView,
    output: OutputView,
    /// What the operation itself had to say; `{}` for most. With a `count` the event stands for so many requests of one minute
    /// that were answered alike (those beyond 100 of an address without a user, beyond 30 failed log-ins of a user, and every 429):
    /// it shows the first of them, when the last one ended, and the bytes of all. `complete: false` is an export that did not leave
    /// whole; `stream: true` a stream.
    service_data: Value,
    /// Whose event it is.
    #[schema(example = "user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11")]
    user: Option<String>,
    /// The instant inside the id.
    created_at: Timestamp,
}

/// What came in.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct InputView {
    /// Of gRPC the call, as in `path`.
    #[schema(example = "GET")]
    method: String,
    /// Without query; the route's pattern where a segment is a secret or an e-mail.
    #[schema(example = "/users/me")]
    path: String,
    #[schema(example = "203.0.113.9")]
    ip: Option<String>,
    #[schema(example = "curl/8.5.0")]
    user_agent: Option<String>,
    /// The id of the request.
    #[schema(example = "4c1f6f0e-5b1e-4a4e-9d5e-4f5b8b7a2c11")]
    request_id: String,
}

/// What went out.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct OutputView {
    start_time: Timestamp,
    end_time: Timestamp,
    #[schema(example = 200)]
    http_status_code: u16,
    /// Bytes of the body as they left.
    #[schema(example = 412)]
    bytes_out: u64,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self {
            id: EventId(event.id).to_string(),
            created_at: event.created_at().into(),
            input: InputView {
                // What is called over gRPC is called by its path; the method of HTTP is always the same.
                method: if event.service == GRPC { event.path.clone() } else { event.method },
                path: event.path,
                ip: event.ip.map(|ip| ip.to_string()),
                user_agent: event.user_agent,
                request_id: event.request_id,
            },
            output: OutputView {
                start_time: event.started_at.into(),
                end_time: event.ended_at.into(),
                http_status_code: event.status,
                bytes_out: event.bytes_out,
            },
            service_data: event.service_data.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            user: event.user.map(|user| user.to_string()),
            service: event.service,
        }
    }
}

/// Which events to list, and how.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document; http/query.rs reads the query")]
struct Which {
    /// How many, 1 to 1000; if not given 100, or all that are not JSON
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// Only events older than this event id
    before: Option<String>,
    /// Only events newer than this event id, the next ones first; with both, rel="next" leads on up to `before`
    after: Option<String>,
    /// Only events from this instant on (RFC 3339)
    since: Option<String>,
    /// Only events before this instant (RFC 3339)
    until: Option<String>,
    /// asc (oldest first, if not given) or desc
    order: Option<String>,
}

/// What passes.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document; http/query.rs reads the query")]
struct Passing {
    /// Only events of this service, such as cloud-accounts
    service: Option<String>,
    /// Only events with this status (404) or class of statuses (4xx)
    status: Option<String>,
}

/// The events
#[derive(utoipa::ToResponse)]
#[response(headers(("Link" = String, description = "RFC 8288: rel=\"prev\" to older, rel=\"next\" to newer events")))]
#[expect(dead_code, reason = "for the document; form.rs writes the answer")]
enum Listed {
    Json(#[content("application/json")] Vec<EventView>),
    #[response(example = json!("{\"id\":\"event-0199f0a4-8f6e-7c31-a3c5-2f1de2a8b0c4\", …}"))]
    Ndjson(#[content("application/x-ndjson")] String),
    #[response(example = json!("\"id\",\"createdAt\",\"service\", …"))]
    Csv(#[content("text/csv")] String),
}

/// The events of the caller
///
/// Every request made with a token of the user or about the user, also a refused one. The newest 100, oldest first.
/// `Link` leads to older (`rel="prev"`) and newer (`rel="next"`) events. A page looks at no more than 20,000 events, so it may
/// hold few that pass a filter, or none: whoever follows its links finds all of them.
///
/// With `Accept: application/x-ndjson` or `text/csv` and without `limit`, all that pass the filters are written while they are
/// read. An answer that cannot be finished, or whose token dies meanwhile, has its connection broken off: ask again. Two may be
/// under way at each server. In a table every cell is quoted, and before what a spreadsheet would take for a formula stands an
/// apostrophe. Whoever takes none of the three forms gets JSON.
#[utoipa::path(
    get,
    path = "/users/me/events",
    tag = "Events",
    params(Which, Passing),
    responses(
        Anywhere, TooManyRequests,
        (status = 200, response = inline(Listed)),
        BadRequest, NeedsAccount,
    ),
    security(("account" = [])),
)]
async fn list_events(
    State(feed): State<Feed>,
    Caller(caller): Caller,
    reader: Reader,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let whose = Whose::User(caller.user.id);
    answer(&feed, &caller, reader, |_| Some(whose), "/users/me/events", &headers, query.as_deref()).await
}

/// The events of everybody
///
/// For administrators, also those who may only read: as `GET /users/me/events`, with those of all users and of nobody
/// (`"user": null`), or of one `user`.
#[utoipa::path(
    get,
    path = "/events",
    tag = "Events",
    params(
        ("user" = Option<String>, Query, description = "Only events of this user, user-<uuid>"),
        Which,
        Passing,
    ),
    responses(
        Anywhere, TooManyRequests,
        (status = 200, response = inline(Listed)),
        BadRequest, NeedsAccount,
    ),
    security(("account" = [])),
)]
async fn list_all_events(
    State(feed): State<Feed>,
    Admin(caller): Admin,
    reader: Reader,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let whose = |query: &mut Query| query.take("user", user).map(Whose::User);
    answer(&feed, &caller, reader, whose, "/events", &headers, query.as_deref()).await
}

/// A page, or all events, in the form that the client would have. `whose` reads what the query says about that; everybody's, if
/// it says nothing.
async fn answer(
    feed: &Feed,
    caller: &auth::Caller,
    reader: Reader,
    whose: impl FnOnce(&mut Query) -> Option<Whose>,
    path: &str,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Response> {
    let mut query = Query::parse(query);
    let whose = whose(&mut query).unwrap_or(Whose::Everybody);
    let (filter, order) = (filter(&mut query), query.take("order", order).unwrap_or(Order::OldestFirst));
    let kept = query.finish()?;

    let form = Form::wanted(headers);
    if form != Form::Json && filter.limit.is_none() {
        return form.all(feed.walk(whose, &filter, order, feed.place(caller.user.id)?), reader);
    }
    let mut page = feed.list(whose, &filter).await?;
    let links = links(path, &kept, page.older, page.newer);
    if order == Order::NewestFirst {
        page.events.reverse();
    }
    Ok((links, form.page(page.events)?).into_response())
}

/// The parameters that say which events.
fn filter(query: &mut Query) -> Filter {
    Filter {
        limit: query.take("limit", limit),
        before: query.take("before", event_id),
        after: query.take("after", event_id),
        since: query.take("since", instant),
        until: query.take("until", instant),
        service: query.take("service", service),
        status: query.take("status", status),
    }
}

fn limit(text: &str) -> Result<u16, String> {
    let allowed = 1..=Feed::GREATEST_LIMIT;
    text.parse().ok().filter(|limit| allowed.contains(limit)).ok_or_else(|| "must be a number from 1 to 1000".into())
}

fn event_id(text: &str) -> Result<EventId, String> {
    text.parse().map_err(|()| "must be an event id such as event-0199f0a4-8f6e-7c31-a3c5-2f1de2a8b0c4".into())
}

fn user(text: &str) -> Result<UserId, String> {
    text.parse().map_err(|()| "must be a user id such as user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11".into())
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let instant = DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc());
    instant.map_err(|_| "must be an RFC 3339 time such as 2020-04-24T20:35:22.808Z".into())
}

fn service(text: &str) -> Result<String, String> {
    let is_name =
        (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_name { Ok(text.to_owned()) } else { Err("must be the name of a service such as cloud-accounts".into()) }
}

fn status(text: &str) -> Result<StatusFilter, String> {
    let one = |status: i16| StatusFilter { least: status, greatest: status };
    let class = |first: i16| StatusFilter { least: first * 100, greatest: first * 100 + 99 };
    let parsed = match text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
        Some(first) => first.parse().ok().filter(|first| (1..=5).contains(first)).map(class),
        None => text.parse().ok().filter(|status| (100..=599).contains(status)).map(one),
    };
    parsed.ok_or_else(|| "must be a status such as 404, or a class such as 4xx".into())
}

fn order(text: &str) -> Result<Order, String> {
    match text {
        "asc" => Ok(Order::OldestFirst),
        "desc" => Ok(Order::NewestFirst),
        _ => Err("must be asc or desc".into()),
    }
}
