//! From request to typed value: who is calling, with which credentials, with which body and query. No rule lives here.

use std::convert::Infallible;

use axum::body::Bytes;
use axum::extract::RawPathParams;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use serde_json::Value;

use super::client_ip::ClientIp;
use super::fields::Fields;
use crate::app::App;
use crate::auth;
use crate::error::{Code, Error, Problem, Result};
use crate::events::Draft;
use crate::origin::Origin;
use crate::secret::PlainSecret;
use crate::users::Login;
use crate::users::password::Password;

/// The user behind the account token of `Authorization: Bearer` (RFC 6750).
pub struct Caller(pub auth::Caller);

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let token = credentials(&parts.headers, "bearer").ok_or(Code::Unauthorized)?;
        app.auth.identify(&PlainSecret::new(token), &draft(parts)).await.map(Self)
    }
}

/// A [`Caller`] who is an administrator, maybe one who may only read. Rights are those of the user's row, on every request.
pub struct Admin(pub auth::Caller);

impl FromRequestParts<App> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let Caller(caller) = Caller::from_request_parts(parts, app).await?;
        if caller.user.is_admin() { Ok(Self(caller)) } else { Err(Code::Forbidden.into()) }
    }
}

/// An [`Admin`] who may also change things.
pub struct FullAdmin(pub auth::Caller);

impl FromRequestParts<App> for FullAdmin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let Admin(caller) = Admin::from_request_parts(parts, app).await?;
        caller.user.may_change()?;
        Ok(Self(caller))
    }
}

/// Name and password of `Authorization: Basic` (RFC 7617): UTF-8, split at the first colon.
pub struct BasicCredentials {
    /// Who is named.
    pub login: Login,
    /// The password.
    pub password: Password,
}

impl FromRequestParts<App> for BasicCredentials {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self> {
        let read = || {
            let decoded = BASE64_STANDARD.decode(credentials(&parts.headers, "basic")?).ok()?;
            let text = String::from_utf8(decoded).ok()?;
            let (name, password) = text.split_once(':')?;
            // A NUL names nobody and opens nothing; Postgres would refuse it as text.
            (!text.contains('\0')).then(|| Self { login: Login::parse(name), password: Password::new(password) })
        };
        read().ok_or_else(|| Code::InvalidCredentials.into())
    }
}

/// What `POST /auth` is shown: a password, or the JSON body of a wallet (decisions.md section 2).
pub enum Credentials {
    /// `Authorization: Basic`, whatever the body.
    Basic(BasicCredentials),
    /// A body, and no such header.
    Json(Fields),
}

impl FromRequest<App> for Credentials {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        let (mut parts, body) = request.into_parts();
        if parts.headers.get_all(AUTHORIZATION).iter().any(|value| credentials_in(value, "basic").is_some()) {
            return BasicCredentials::from_request_parts(&mut parts, app).await.map(Self::Basic);
        }
        let body = read(Request::from_parts(parts, body), &["application/json"]).await?;
        if body.is_empty() { Err(Code::InvalidCredentials.into()) } else { object(&body).map(Self::Json) }
    }
}

/// What follows the scheme in the one `Authorization` header; two of them are none.
pub fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    credentials_in(value, scheme)
}

/// What follows the scheme in this `Authorization` header.
pub fn credentials_in<'a>(value: &'a HeaderValue, scheme: &str) -> Option<&'a str> {
    let (given, credentials) = value.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}

/// The body: a JSON object, field by field.
pub struct JsonBody(pub Fields);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let body = read(request, &["application/json"]).await?;
        object(&body).map(Self)
    }
}

/// The same where a client may as well send nothing at all: an empty body is an empty object.
pub struct OptionalJsonBody(pub Fields);

impl<S: Send + Sync> FromRequest<S> for OptionalJsonBody {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let body = read(request, &["application/json"]).await?;
        if body.is_empty() { Ok(Self(Fields::default())) } else { object(&body).map(Self) }
    }
}

/// The body: a JSON merge patch (RFC 7396), which may also call itself plain JSON.
pub struct MergePatch(pub Fields);

impl<S: Send + Sync> FromRequest<S> for MergePatch {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let body = read(request, &["application/merge-patch+json", "application/json"]).await?;
        object(&body).map(Self)
    }
}

/// The bytes of a body of one of these media types; an empty one needs none.
async fn read(request: Request, media_types: &[&str]) -> Result<Bytes> {
    let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let given = given.split(';').next().unwrap_or("").trim().to_owned();
    // The body layer has read it already: this only hands the bytes over.
    let body = request.into_body().collect().await.map_err(|_| Code::MalformedBody)?.to_bytes();
    if !body.is_empty() && !media_types.iter().any(|known| given.eq_ignore_ascii_case(known)) {
        return Err(Code::UnsupportedMediaType.into());
    }
    Ok(body)
}

fn object(body: &[u8]) -> Result<Fields> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(values)) => Ok(Fields::new(values)),
        Ok(_) => Err(Error::invalid(Code::ValidationFailed, Problem::new("body", "must be a JSON object"))),
        Err(_) => Err(Code::MalformedBody.into()),
    }
}

/// The parameters of a path by name. Bad percent-encoding makes an empty text, which is nobody and nothing.
pub struct PathFields(Vec<(String, String)>);

impl PathFields {
    /// The parameter with this name of the route's pattern. What Postgres would not take as text is nobody and nothing,
    /// too.
    pub fn get(&self, name: &str) -> &str {
        let value = self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        if value.contains('\0') { "" } else { value }
    }

    /// The user whom `{userId}` names: by id, e-mail or login name (decisions.md sections 1 and 2).
    pub fn user(&self) -> Login {
        Login::parse(self.get("userId"))
    }

    /// The one-time token of `{token}`; without regard to case, as UUIDs are.
    pub fn token(&self) -> PlainSecret {
        PlainSecret::new(self.get("token").to_ascii_lowercase())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathFields {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let found = match RawPathParams::from_request_parts(parts, state).await {
            Ok(parameters) => parameters.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            Err(_) => Vec::new(),
        };
        Ok(Self(found))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Draft {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(draft(parts))
    }
}

/// The event draft that the events layer hung on this request; a loose one on routes that are not recorded.
fn draft(parts: &Parts) -> Draft {
    parts.extensions.get().cloned().unwrap_or_default()
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ClientIp>().map(|client| client.address);
        Ok(Self { address, agent: agent(&parts.headers) })
    }
}

/// Bytes of the `User-Agent` that are kept.
const LONGEST_AGENT: usize = 256;

/// The client's program as it names itself; `None` when it does not.
pub fn agent(headers: &HeaderMap) -> Option<String> {
    headers.get(USER_AGENT).map(|value| cut(&String::from_utf8_lossy(value.as_bytes()), LONGEST_AGENT))
}

/// At most `longest` bytes of a text, whole characters.
pub fn cut(text: &str, longest: usize) -> String {
    text[..text.floor_char_boundary(longest)].to_owned()
}

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
