//! What everybody may have: `GET /users/{userId}/keys/pgp.asc`, and the Web Key Directory.

use axum::extract::State;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use crate::error::{Code, Result};
use crate::http::extract::PathFields;
use crate::http::openapi::{Anywhere, TooManyRequests, UnknownThing};
use crate::user_keys::UserKeys;
use crate::users::Login;

/// The published keys of a user
///
/// Those whose ownership was proved and that their owner has published, in ASCII armor.
#[utoipa::path(
    get,
    path = "/users/{userId}/keys/pgp.asc",
    tag = "User keys",
    params(("userId" = String, Path, description = "User id")),
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "The keys", body = String, content_type = "application/pgp-keys"),
        UnknownThing,
    ),
)]
pub(super) async fn published_keys(State(keys): State<UserKeys>, path: PathFields) -> Result<Response> {
    // By id only: whose e-mail or name it is, is nobody's business.
    let Login::Id(user) = path.user() else { return Err(Code::NotFound.into()) };
    let armor = keys.published(user).await?.ok_or(Code::NotFound)?;
    Ok(everybodys("application/pgp-keys", armor))
}

/// The Web Key Directory
///
/// The published keys of whoever has the e-mail, without other user ids (advanced method).
#[utoipa::path(
    get,
    path = "/.well-known/openpgpkey/{domain}/hu/{name}",
    tag = "User keys",
    params(
        ("domain" = String, Path, description = "Domain of the e-mail"),
        ("name" = String, Path, description = "SHA-1 of its local part in lower case, in Z-Base-32"),
    ),
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "The keys, binary", body = Vec<u8>, content_type = "application/octet-stream"),
        UnknownThing,
    ),
)]
pub(super) async fn directory(State(keys): State<UserKeys>, path: PathFields) -> Result<Response> {
    binary(keys.listed(path.get("domain"), path.get("name")).await?)
}

/// The Web Key Directory
///
/// The same for the domain of the request (direct method).
#[utoipa::path(
    get,
    path = "/.well-known/openpgpkey/hu/{name}",
    tag = "User keys",
    params(("name" = String, Path, description = "SHA-1 of the local part in lower case, in Z-Base-32")),
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "The keys, binary", body = Vec<u8>, content_type = "application/octet-stream"),
        UnknownThing,
    ),
)]
pub(super) async fn directory_of_host(
    State(keys): State<UserKeys>,
    headers: HeaderMap,
    path: PathFields,
) -> Result<Response> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let domain = host.rsplit_once(':').map_or(host, |(domain, _)| domain);
    binary(keys.listed(domain, path.get("name")).await?)
}

fn binary(keys: Option<Vec<u8>>) -> Result<Response> {
    Ok(everybodys("application/octet-stream", keys.ok_or(Code::NotFound)?))
}

/// An answer that scripts of every page may read; for five minutes, so that what is withdrawn is soon gone.
fn everybodys(kind: &'static str, body: impl IntoResponse) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin")),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
    ];
    let mut response = body.into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value);
    }
    response
}

/// That there is a Web Key Directory
///
/// Empty: it has no rules of its own (advanced method).
#[utoipa::path(
    get,
    path = "/.well-known/openpgpkey/{domain}/policy",
    tag = "User keys",
    params(("domain" = String, Path, description = "Domain of the e-mail")),
    responses(Anywhere, (status = 200, description = "Nothing", body = String, content_type = "text/plain")),
)]
pub(super) async fn directory_policy() -> &'static str {
    ""
}

/// That there is a Web Key Directory
///
/// Empty: it has no rules of its own (direct method).
#[utoipa::path(
    get,
    path = "/.well-known/openpgpkey/policy",
    tag = "User keys",
    responses(Anywhere, (status = 200, description = "Nothing", body = String, content_type = "text/plain")),
)]
pub(super) async fn directory_policy_of_host() -> &'static str {
    ""
}
