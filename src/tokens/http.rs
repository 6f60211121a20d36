//! `GET`, `DELETE /users/me/tokens` and `DELETE /users/me/tokens/{id}`

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{AccountToken, Tokens};
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Code, Result};
use crate::events::GRPC;
use crate::http::extract::{Caller, PathFields};
use crate::http::openapi::{Anywhere, NeedsAccount, UnknownThing};

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_tokens, delete_other_tokens)).routes(routes!(delete_token))
}

/// A live token, without the token.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenView {
    /// The `jti` of the token.
    #[schema(value_type = String, example = "5cf5e1f1-53a2-4f3c-a9f6-1a0f4c7f6b1e")]
    id: Uuid,
    created_at: Timestamp,
    expires_at: Timestamp,
    /// Give or take a minute; null before the first use.
    last_used_at: Option<Timestamp>,
    /// From where it was fetched.
    #[schema(value_type = Option<String>, example = "203.0.113.9")]
    ip: Option<IpAddr>,
    /// With which program, as that names itself.
    #[schema(example = "curl/8.5.0")]
    user_agent: Option<String>,
    /// Of a token for another door than this one: which, as in events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "qb2-accounts", nullable = false)]
    service: Option<&'static str>,
    /// With which application key a Qb2 token was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "0d29971f687991a2gR3uYxA007P1kQ4z")]
    application_key: Option<String>,
    /// With which Ethereum address it was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")]
    address: Option<String>,
    /// Whether it is the one that asks.
    #[schema(example = true)]
    current: bool,
}

impl TokenView {
    /// As the bearer of the token `current` sees it.
    pub fn new(token: AccountToken, current: Uuid) -> Self {
        Self {
            id: token.id,
            created_at: token.created_at.into(),
            expires_at: token.expires_at.into(),
            last_used_at: token.last_used_at.map(Timestamp::from),
            ip: token.origin.address,
            user_agent: token.origin.agent,
            service: token.session.map(|_| GRPC),
            application_key: token.application_key,
            address: token.address,
            current: token.id == current,
        }
    }
}

/// The live tokens of the caller, of all doors
///
/// Newest first, at most 1000.
#[utoipa::path(
    get,
    path = "/users/me/tokens",
    tag = "Authentication",
    responses(
        Anywhere,
        (status = 200, description = "The tokens", body = Vec<TokenView>),
        NeedsAccount,
    ),
    security(("account" = [])),
)]
async fn list_tokens(State(tokens): State<Tokens>, Caller(caller): Caller) -> Result<Json<Vec<TokenView>>> {
    let live = tokens.list_account(caller.user.id, caller.user.token_version).await?;
    Ok(Json(live.into_iter().map(|token| TokenView::new(token, caller.token_id)).collect()))
}

/// Revoke every token of the caller but this one
#[utoipa::path(
    delete,
    path = "/users/me/tokens",
    tag = "Authentication",
    responses(
        Anywhere,
        (status = 204, description = "They are dead"),
        NeedsAccount,
    ),
    security(("account" = [])),
)]
async fn delete_other_tokens(State(tokens): State<Tokens>, Caller(caller): Caller) -> Result<StatusCode> {
    tokens.revoke_all_but(caller.user.id, caller.token_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revoke a token
///
/// Also the one that asks.
#[utoipa::path(
    delete,
    path = "/users/me/tokens/{id}",
    tag = "Authentication",
    params(("id" = String, Path, description = "The `jti` of the token")),
    responses(
        Anywhere,
        (status = 204, description = "It is dead"),
        NeedsAccount,
        UnknownThing,
    ),
    security(("account" = [])),
)]
async fn delete_token(State(tokens): State<Tokens>, Caller(caller): Caller, path: PathFields) -> Result<StatusCode> {
    let id = Uuid::try_parse(path.get("id")).map_err(|_| Code::NotFound)?;
    match tokens.revoke_account(caller.user.id, id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Code::NotFound.into()),
    }
}
