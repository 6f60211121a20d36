//! `POST`, `GET /users/me/client-keys`, `PATCH`, `DELETE /users/me/client-keys/{id}` and
//! `DELETE /users/me/client-keys/{id}/tokens`

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ClientKey, ClientKeys, IdempotencyKey, NewClientKey, WithSecret};
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::http::compression::SecretJson;
use crate::http::error::ErrorBody;
use crate::http::extract::{Caller, MergePatch, OptionalJsonBody, PathFields};
use crate::http::fields::Fields;
use crate::http::openapi::{Anywhere, BadJson, NeedsAccount, UnknownThing};
use crate::origin::Origin;
use crate::users::ShortText;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_client_key, list_client_keys))
        .routes(routes!(change_client_key, delete_client_key))
        .routes(routes!(delete_refresh_tokens))
}

/// A new key with its secret.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewClientKeyResponse {
    #[schema(example = "1d1c6c2c6cb5a1b2f36c4f0a3f0c5f5a3a7c9d10", pattern = "^[0-9a-f]{40}$")]
    client_id: String,
    /// Shown here and never again.
    #[schema(
        example = "5f4dcc3b5aa765d61d8327deb882cf995f4dcc3b5aa765d61d8327deb882cf99b109f3bbbc244eb8",
        pattern = "^[0-9a-f]{80}$"
    )]
    client_secret: String,
    created_at: Timestamp,
    /// What its owner calls it.
    #[schema(example = "build server")]
    label: Option<String>,
}

/// A key without its secret.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientKeyView {
    #[schema(example = "1d1c6c2c6cb5a1b2f36c4f0a3f0c5f5a3a7c9d10", pattern = "^[0-9a-f]{40}$")]
    id: String,
    created_at: Timestamp,
    /// What its owner calls it.
    #[schema(example = "build server")]
    label: Option<String>,
    /// Give or take a second; null before the first use.
    last_used_at: Option<Timestamp>,
}

impl From<ClientKey> for ClientKeyView {
    fn from(key: ClientKey) -> Self {
        Self {
            id: key.id,
            label: key.label,
            created_at: key.created_at.into(),
            last_used_at: key.last_used_at.map(Timestamp::from),
        }
    }
}

/// What to call a key.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct ClientKeyRequest {
    #[schema(example = "build server", min_length = 1, max_length = 200)]
    label: Option<String>,
}

/// Make a client key
///
/// The secret is in this answer and nowhere else. Other keys stay good; a user may have 50. No body is needed. With an
/// `Idempotency-Key`, the same request by the same token gets the same answer for ten minutes, so that a lost one orphans
/// no secret.
#[utoipa::path(
    post,
    path = "/users/me/client-keys",
    tag = "Client keys",
    params((
        "Idempotency-Key" = Option<String>, Header,
        description = "1 to 255 visible ASCII characters, chosen by the client",
    )),
    request_body(content = Option<ClientKeyRequest>),
    responses(
        Anywhere,
        (status = 200, description = "The key, with its secret", body = NewClientKeyResponse),
        BadJson, NeedsAccount,
        (status = 409, description = "`TooManyClientKeys`, `IdempotencyKeyReused`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
async fn create_client_key(
    State(keys): State<ClientKeys>,
    Caller(caller): Caller,
    origin: Origin,
    headers: HeaderMap,
    OptionalJsonBody(mut body): OptionalJsonBody,
) -> Result<SecretJson<NewClientKeyResponse>> {
    let new = NewClientKey {
        label: body.optional("label", ShortText::parse_filled),
        idempotency_key: idempotency_key(&headers, &mut body),
    };
    if !body.is_fine() {
        return Err(body.into_error());
    }
    let WithSecret { key, secret } = keys.create(caller.user.id, caller.token_id, &new, &origin).await?;
    Ok(SecretJson(NewClientKeyResponse {
        client_id: key.id,
        client_secret: secret.expose().to_owned(),
        label: key.label,
        created_at: key.created_at.into(),
    }))
}

/// The header `Idempotency-Key`; what is wrong with it is noted beside the fields of the body.
fn idempotency_key(headers: &HeaderMap, body: &mut Fields) -> Option<IdempotencyKey> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let parsed = match (values.next()?.to_str(), values.next()) {
        (Ok(value), None) => IdempotencyKey::parse(value),
        (Err(_), None) => IdempotencyKey::parse(""),
        (_, Some(_)) => Err("must be given once".into()),
    };
    parsed.map_err(|message| body.note("Idempotency-Key", Err(message))).ok()
}

/// The client keys of the caller
///
/// Newest first, without secrets.
#[utoipa::path(
    get,
    path = "/users/me/client-keys",
    tag = "Client keys",
    responses(
        Anywhere,
        (status = 200, description = "The keys", body = Vec<ClientKeyView>),
        NeedsAccount,
    ),
    security(("account" = [])),
)]
async fn list_client_keys(State(keys): State<ClientKeys>, Caller(caller): Caller) -> Result<Json<Vec<ClientKeyView>>> {
    let keys = keys.list(caller.user.id).await?;
    Ok(Json(keys.into_iter().map(ClientKeyView::from).collect()))
}

/// Call a client key something else
///
/// A JSON merge patch (RFC 7396): `null` removes the label.
#[utoipa::path(
    patch,
    path = "/users/me/client-keys/{id}",
    tag = "Client keys",
    params(("id" = String, Path, description = "The client id")),
    request_body(content(
        (ClientKeyRequest = "application/merge-patch+json"),
        (ClientKeyRequest = "application/json"),
    )),
    responses(
        Anywhere,
        (status = 200, description = "The key", body = ClientKeyView),
        BadJson, NeedsAccount, UnknownThing,
    ),
    security(("account" = [])),
)]
async fn change_client_key(
    State(keys): State<ClientKeys>,
    Caller(caller): Caller,
    path: PathFields,
    MergePatch(mut body): MergePatch,
) -> Result<Json<ClientKeyView>> {
    let label = body.change("label", ShortText::parse_filled);
    if !body.is_fine() {
        return Err(body.into_error());
    }
    Ok(Json(keys.relabel(&caller.user, &client_id(&path), label).await?.into()))
}

/// Delete a client key
///
/// Its refresh tokens die at once; its access tokens live out their hour.
#[utoipa::path(
    delete,
    path = "/users/me/client-keys/{id}",
    tag = "Client keys",
    params(("id" = String, Path, description = "The client id")),
    responses(
        Anywhere,
        (status = 204, description = "It is gone"),
        NeedsAccount,
        UnknownThing,
    ),
    security(("account" = [])),
)]
async fn delete_client_key(
    State(keys): State<ClientKeys>,
    Caller(caller): Caller,
    path: PathFields,
) -> Result<StatusCode> {
    keys.delete(caller.user.id, &client_id(&path), caller.by()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revoke the refresh tokens of a client key
///
/// All that were issued so far. The key stays good, and gets new ones.
#[utoipa::path(
    delete,
    path = "/users/me/client-keys/{id}/tokens",
    tag = "Client keys",
    params(("id" = String, Path, description = "The client id")),
    responses(
        Anywhere,
        (status = 204, description = "They are dead"),
        NeedsAccount,
        UnknownThing,
    ),
    security(("account" = [])),
)]
async fn delete_refresh_tokens(
    State(keys): State<ClientKeys>,
    Caller(caller): Caller,
    path: PathFields,
) -> Result<StatusCode> {
    keys.revoke_refresh_tokens(caller.user.id, &client_id(&path), caller.by()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The client id of the path; hex digits have no case.
fn client_id(path: &PathFields) -> String {
    path.get("id").to_ascii_lowercase()
}
