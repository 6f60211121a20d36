//! `POST`, `GET /users/me/client-keys` and `DELETE /users/me/client-keys/{id}`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ClientKeys;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::http::error::ErrorBody;
use crate::http::extract::{Caller, PathFields};
use crate::http::openapi::{Anywhere, NeedsAccount, UnknownThing};

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_client_key, list_client_keys)).routes(routes!(delete_client_key))
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
}

/// A key without its secret.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ClientKeyView {
    #[schema(example = "1d1c6c2c6cb5a1b2f36c4f0a3f0c5f5a3a7c9d10", pattern = "^[0-9a-f]{40}$")]
    id: String,
    created_at: Timestamp,
}

/// Make a client key
///
/// The secret is in this answer and nowhere else. Other keys stay good; a user may have 50.
#[utoipa::path(
    post,
    path = "/users/me/client-keys",
    tag = "Client keys",
    responses(
        Anywhere,
        (status = 200, description = "The key, with its secret", body = NewClientKeyResponse),
        NeedsAccount,
        (status = 409, description = "`TooManyClientKeys`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
async fn create_client_key(
    State(keys): State<ClientKeys>,
    Caller(caller): Caller,
) -> Result<Json<NewClientKeyResponse>> {
    let (key, secret) = keys.create(&caller.user).await?;
    Ok(Json(NewClientKeyResponse {
        client_id: key.id,
        client_secret: secret.expose().to_owned(),
        created_at: key.created_at.into(),
    }))
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
    Ok(Json(keys.into_iter().map(|key| ClientKeyView { id: key.id, created_at: key.created_at.into() }).collect()))
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
    keys.delete(&caller.user, &path.get("id").to_ascii_lowercase()).await?;
    Ok(StatusCode::NO_CONTENT)
}
