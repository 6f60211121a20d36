//! The tower layer that makes an event of every request: a draft on the way in, an event on the way out, and no answer
//! before the event is committed. No SQL here.

use std::future::ready as ready_with;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use serde_json::json;
use uuid::Uuid;

use super::{CLIENT_GONE, Draft, Event, Events, NotCommitted};
use crate::app::App;
use crate::db::change::Change;
use crate::error::{Code, Error};
use crate::ethereum::WalletAddress;
use crate::http::around::Inner;
use crate::http::client_ip::ClientIp;
use crate::http::extract::{agent, cut};
use crate::http::request_id::RequestId;
use crate::ratelimit::layer::action_of;
use crate::secret::PlainSecret;
use crate::users::UserId;

/// Characters of a path that are kept.
const LONGEST_PATH: usize = 256;

/// What a door has of its own in the eyes of this layer.
pub trait Door: Send + Sync + 'static {
    /// The `service` of its events.
    const SERVICE: &'static str;

    /// Whether a request is an event at all.
    fn is_recorded(request: &Request) -> bool;

    /// Whether a request can be answered a second time without harm, because it changes nothing.
    fn is_repeatable(request: &Request) -> bool;

    /// The header that says who asks, where one does.
    fn credentials(request: &Request) -> Option<&HeaderValue>;

    /// The token in such a header.
    fn token(credentials: &HeaderValue) -> Option<&str>;

    /// Notes on the draft of a request that begins what its event says in case nobody hears of the answer.
    fn begin(draft: &Draft);

    /// An answer that tells of an error.
    fn refusal(error: Error, id: &RequestId) -> Response;

    /// The public code in an answer, if it tells of an error.
    fn code_of(response: &Response) -> Option<Code>;

    /// What the client is told, as a status of HTTP; what the door has to say besides is noted on the draft and the answer.
    fn outcome(head: &mut Parts, trailers: Option<&HeaderMap>, draft: &Draft) -> u16;
}

/// Records the request. Outermost of all layers but those that name it.
pub async fn record<D: Door>(app: App, mut request: Request, inner: impl Inner) -> Response {
    if !D::is_recorded(&request) {
        return inner.run(request).await;
    }
    let draft = Draft::default();
    D::begin(&draft);
    if let Some(pattern) = request.extensions().get::<MatchedPath>() {
        draft.matches(pattern.as_str(), action_of(request.method(), pattern.as_str()));
    }
    request.extensions_mut().insert(draft.clone());
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
    let pending = Pending::new::<D>(app.events.clone(), draft.clone(), &request, &id);
    let credentials = D::credentials(&request).cloned();
    let is_head = request.method() == Method::HEAD;
    let recorder: Recorder<D> =
        Recorder { app, draft, id, credentials, is_head, change: Change::default(), door: PhantomData };

    let mut once_more = recorder.may_repeat(&request).then(|| (copy_of(&request), inner.clone()));
    let (mut request, mut inner, mut pending) = (request, inner, pending);
    loop {
        let (why, refused) = match recorder.answer(pin!(inner.run(request)), pending).await {
            Ok(response) => return response,
            Err(refused) => refused,
        };
        pending = refused;
        let (Some((head, again)), NotCommitted::Outdated) = (once_more.take(), why) else {
            return recorder.refuse(pending).await;
        };
        // The first answer did not leave, and until there is a second one, the client may hang up.
        pending.answer(CLIENT_GONE, 0);
        (request, inner) = (head.map(|()| Body::from(recorder.draft.start_over())), again);
    }
}

/// What is known of a request from its beginning to its end.
struct Recorder<D> {
    app: App,
    draft: Draft,
    id: RequestId,
    credentials: Option<HeaderValue>,
    /// hyper sends the head of such an answer and not a byte of its body.
    is_head: bool,
    change: Change,
    door: PhantomData<D>,
}

impl<D: Door> Recorder<D> {
    /// Whether the request may be answered from memory, because it can be answered a second time. Not with `events.durability = "relaxed"`, where no answer waits for the statement that would find
    /// out that memory is outdated.
    fn may_repeat(&self, request: &Request) -> bool {
        let may = D::is_repeatable(request) && !self.app.events.are_relaxed();
        if may {
            self.draft.allow_memory();
        }
        may
    }

    /// The answer, when its event is committed; else why not, and the event.
    async fn answer(
        &self,
        answer: Pin<&mut impl Future<Output = Response>>,
        mut pending: Pending,
    ) -> Result<Response, (NotCommitted, Pending)> {
        let answer = self.change.watch(answer).await;
        let is_database_away = D::code_of(&answer) == Some(Code::DatabaseUnavailable);
        let is_in_doubt = self.change.is_begun() && D::code_of(&answer).is_some_and(leaves_doubt);
        let answer = if is_in_doubt { D::refusal(Error::outcome_unknown(), &self.id) } else { answer };
        let (mut parts, body) = answer.into_parts();
        // No handler looked at the token (404, 405, 413 …): it is its bearer's request all the same.
        if let (None, Some(credentials)) = (self.draft.user(), &self.credentials)
            && let Some(token) = D::token(credentials)
            && let Some(user) = self.app.auth.signed_for(&PlainSecret::new(token))
        {
            self.draft.concerns(user);
        }
        if parts.extensions.remove::<Streamed>().is_some() {
            return stream(Response::from_parts(parts, body), pending).await;
        }
        let response = self.told(&mut pending, parts, body).await;
        if is_database_away {
            // There is nothing to wait for: dropping hands the event over, and it is written when the database is back.
            return Ok(response);
        }
        pending.commit().await.map(|()| response)
    }

    /// The answer to a request whose event could not be committed.
    async fn refuse(&self, mut pending: Pending) -> Response {
        let error = if self.change.is_begun() { Error::outcome_unknown() } else { Error::Away(None) };
        let (parts, body) = D::refusal(error, &self.id).into_parts();
        self.told(&mut pending, parts, body).await
    }

    /// The whole answer, noted in its event. Its body is in memory already; collecting it compresses where that was asked for, and
    /// counts the bytes.
    async fn told(&self, pending: &mut Pending, mut parts: Parts, body: Body) -> Response {
        let collected = body.collect().await.ok();
        let trailers = collected.as_ref().and_then(|collected| collected.trailers().cloned());
        let body = collected.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let status = D::outcome(&mut parts, trailers.as_ref(), &self.draft);
        pending.answer(status, self.bytes_out(&body));
        let body = match trailers {
            Some(trailers) => Body::new(Full::new(body).with_trailers(ready_with(Some(Ok(trailers))))),
            None => Body::from(body),
        };
        Response::from_parts(parts, body)
    }

    fn bytes_out(&self, body: &Bytes) -> usize {
        if self.is_head { 0 } else { body.len() }
    }
}

/// The head of a request, and what layers have learned about it.
fn copy_of(request: &Request) -> axum::http::Request<()> {
    let mut copy = axum::http::Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

/// Marks an answer whose body is made while it is sent: it has no length yet, and must not be collected.
#[derive(Clone, Copy, Debug)]
pub struct Streamed;

/// Commits the event before the first byte leaves, and once more, with the bytes that left, after the last one. Nobody
/// asks for the bytes of an answer to HEAD, so they are never made.
async fn stream(response: Response, mut pending: Pending) -> Result<Response, (NotCommitted, Pending)> {
    pending.answer(response.status().as_u16(), 0);
    // Now, because it is written twice.
    pending.name();
    let (events, event) = (pending.events.clone(), pending.event.clone());
    pending.commit().await?;
    Ok(response.map(|body| Body::new(Counted { body, bytes: 0, is_whole: false, events, event })))
}

/// A body on its way out that knows how much of it has left, and whether that was all.
struct Counted {
    body: Body,
    bytes: u64,
    is_whole: bool,
    events: Events,
    event: Option<Arc<Event>>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.bytes += data.len() as u64;
        }
        self.is_whole = frame.is_none();
        Poll::Ready(frame)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(mut event) = self.event.take() {
            let told = Arc::make_mut(&mut event);
            (told.bytes_out, told.ended_at) = (self.bytes, later(&self.events, told.ended_at));
            // What has no end anyway (`serviceData.stream`) is never whole.
            if !self.is_whole && told.service_data.is_none() {
                told.service_data = Some(json!({ "complete": false }));
            }
            self.events.hand_over(event);
        }
    }
}

/// Whether a request that ends with this may have changed something, if it had begun to.
fn leaves_doubt(code: Code) -> bool {
    matches!(code, Code::DatabaseUnavailable | Code::Timeout | Code::Overloaded)
}

/// An event that is not handed over yet. Dropped at any point (the client hung up, the task was cancelled), it hands
/// itself over: a request cannot end without its event.
struct Pending {
    events: Events,
    draft: Draft,
    event: Option<Arc<Event>>,
}

impl Pending {
    fn new<D: Door>(events: Events, draft: Draft, request: &Request, id: &RequestId) -> Self {
        let now = events.now();
        let event = Event {
            id: Uuid::nil(),
            user: None,
            service: D::SERVICE.to_owned(),
            started_at: now,
            ended_at: now,
            status: CLIENT_GONE,
            bytes_out: 0,
            method: cut(request.method().as_str(), 16),
            path: harmless_path(request.uri().path(), draft.pattern().as_deref()),
            ip: request.extensions().get::<ClientIp>().map(|client| client.address),
            user_agent: agent(request.headers()),
            request_id: id.to_string(),
            service_data: None,
        };
        Self { events, draft, event: Some(Arc::new(event)) }
    }

    /// Notes what the client is told.
    fn answer(&mut self, status: u16, bytes_out: usize) {
        self.complete();
        if let Some(event) = self.event.as_mut().map(Arc::make_mut) {
            event.status = status;
            event.bytes_out = bytes_out as u64;
        }
    }

    /// Gives the event its id; whatever is written later is the same row.
    fn name(&mut self) {
        if let Some(event) = self.event.as_mut().map(Arc::make_mut) {
            event.id = self.events.next_id();
        }
    }

    /// Fills in what was learned under way.
    fn complete(&mut self) {
        let Some(event) = self.event.as_mut().map(Arc::make_mut) else { return };
        event.user = self.draft.user();
        event.service_data = self.draft.service_data();
        event.ended_at = if event.id.is_nil() { self.events.now() } else { later(&self.events, event.ended_at) };
    }

    /// Waits until the event is committed; gives it back when it is not, or that is not known.
    async fn commit(mut self) -> Result<(), (NotCommitted, Self)> {
        match self.events.clone().commit(&mut self.event, &self.draft).await {
            Ok(()) => Ok(()),
            Err(why) => Err((why, self)),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.event.as_ref().is_some_and(|event| event.id.is_nil()) {
            self.complete();
        }
        if let Some(event) = self.event.take() {
            self.events.leave(event, &self.draft);
        }
    }
}

/// When a later word about an event was said. By its time the table knows which one counts, so it is later also by a clock that
/// was set back.
fn later(events: &Events, before: DateTime<Utc>) -> DateTime<Utc> {
    events.now().max(before + TimeDelta::microseconds(1))
}

/// The path as it may be kept for long: segments that are secrets or e-mails show the route's pattern instead.
///
/// On a path that matches no route there is no pattern to tell a secret from a typo, so only what cannot be one stays.
fn harmless_path(path: &str, pattern: Option<&str>) -> String {
    if pattern == Some(path) {
        return cut(path, LONGEST_PATH);
    }
    let segments: Vec<String> = match pattern {
        Some(pattern) => path
            .split('/')
            .zip(pattern.split('/'))
            .map(|(segment, name)| match name {
                "{token}" => name.to_owned(),
                // Who links or enables which, is told by the answer; a chain tells who that is for ever, and so do key servers.
                "{address}" => name.to_owned(),
                "{id}" if pattern.starts_with("/users/me/keys/") => name.to_owned(),
                // A login name is a word that a person chose, and this may be the event of somebody who stays.
                "{userId}" if segment.parse::<UserId>().is_err() => name.to_owned(),
                _ if name.starts_with('{') && !is_harmless(segment) => name.to_owned(),
                _ => segment.to_owned(),
            })
            .collect(),
        None => path
            .split('/')
            .map(|segment| if is_common(segment) { segment.to_owned() } else { "{…}".to_owned() })
            .collect(),
    };
    cut(&segments.join("/"), LONGEST_PATH)
}

/// Whether a segment of a path that we do not know is kept: it is an id, or what scanners ask for. Passwords that we make have
/// capitals.
fn is_common(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let is_plain = digits <= 4 && !segment.bytes().any(|byte| byte.is_ascii_uppercase());
    is_harmless(segment) && (is_plain || segment.parse::<UserId>().is_ok())
}

/// Ids and words are harmless; e-mails are not, and what is long or looks random may be a secret.
fn is_harmless(segment: &str) -> bool {
    let is_client_key = segment.len() == 40 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_word =
        segment.len() <= 24 && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    segment.parse::<UserId>().is_ok() || WalletAddress::parse(segment).is_ok() || is_client_key || is_word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_gives_away_neither_token_nor_e_mail() {
        let id = "user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11";
        let token = "5cf5e1f1-53a2-4f3c-a9f6-1a0f4c7f6b1e";
        let pattern = Some("/users/{userId}/token/{token}");
        assert_eq!(
            harmless_path(&format!("/users/{id}/token/{token}"), pattern),
            format!("/users/{id}/token/{{token}}")
        );
        assert_eq!(
            harmless_path(&format!("/users/ada%40example.com/token/{token}"), pattern),
            "/users/{userId}/token/{token}"
        );
        assert_eq!(harmless_path("/users/ada/block", Some("/users/{userId}/block")), "/users/{userId}/block");
        let address = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed";
        let of_wallet =
            |segment: &str| harmless_path(&format!("/users/{segment}/nonce"), Some("/users/{publicAddress}/nonce"));
        assert_eq!(of_wallet(address), format!("/users/{address}/nonce"));
        assert_eq!(of_wallet(&address.replace('5', "x")), "/users/{publicAddress}/nonce");
        let of_key = |path: &str| harmless_path(&format!("{path}/{}", &address[2..]), Some(&format!("{path}/{{id}}")));
        assert_eq!(of_key("/users/me/keys/pgp"), "/users/me/keys/pgp/{id}");
        assert_eq!(of_key("/users/me/client-keys"), format!("/users/me/client-keys/{}", &address[2..]));
        assert_eq!(harmless_path(&format!("/v2/users/a@b.c/tokens/{token}"), None), "/v2/users/{…}/tokens/{…}");
        assert_eq!(harmless_path("/wp-admin/setup.php", None), "/wp-admin/setup.php");
        let typed = format!("/users/{id}/activation/YWTfD2sW5uhZHaSN");
        assert_eq!(harmless_path(&typed, None), format!("/users/{id}/activation/{{…}}"));
        assert!(harmless_path(&"/ä".repeat(900), None).len() <= LONGEST_PATH);
    }
}
