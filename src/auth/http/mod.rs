//! `POST`, `DELETE /auth`, `POST /auth/token`, and `POST /auth/siwe`

mod wallet;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::wallet::{StakeResponse, WalletRequest};
use super::{Auth, ClientTokens};
use crate::app::App;
use crate::error::{Code, Result};
use crate::ethereum::Ethereum;
use crate::events::Draft;
use crate::http::compression::SecretJson;
use crate::http::error::ErrorBody;
use crate::http::extract::{BasicCredentials, Caller, Credentials, JsonBody};
use crate::http::openapi::{Anywhere, BadJson, NeedsAccount, TooManyRequests};
use crate::origin::Origin;
use crate::secret::PlainSecret;

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(log_in, log_out))
        .routes(routes!(grant))
        .routes(routes!(wallet::sign_in_with_message))
}

/// An account token.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct LogInResponse {
    /// A JWT, good for 12 hours.
    #[schema(example = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwOi8v.c2lnbmF0dXJl")]
    access_token: String,
}

impl From<PlainSecret> for LogInResponse {
    fn from(token: PlainSecret) -> Self {
        Self { access_token: token.expose().to_owned() }
    }
}

/// A token of either kind.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum AuthResponse {
    Account(LogInResponse),
    Stake(StakeResponse),
}

/// Log in
///
/// HTTP Basic with the e-mail, the user id or the login name, and the password, answers an account token. A wrong name, a wrong
/// password and an unverified e-mail are one answer.
///
/// A JSON body without HTTP Basic is the sign-in of a wallet, and answers a token for the staking routes. The address has signed
/// (EIP-191), at most 10 minutes ago, this message with the nonce of `POST /users/{publicAddress}/nonce` and the `signedAt` of the
/// body, lines ended by LF and the last one by nothing:
///
/// ```text
/// api.bloq.com wants you to sign in with your Ethereum account:
/// <address>
///
/// Signing In With Ethereum on Bloq
///
/// URI: https://api.bloq.com
/// Version: 1
/// Chain ID: 1
/// Nonce: <nonce>
/// Issued At: <signedAt>
/// ```
#[utoipa::path(
    post,
    path = "/auth",
    tag = "Authentication",
    request_body(content = Option<WalletRequest>),
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "A token for every Accounts operation, or for the staking routes", body = AuthResponse),
        BadJson,
        (status = 401, description = "`InvalidCredentials`; `UserNotFound` for an address that is not enabled", body = ErrorBody,
         headers(("WWW-Authenticate" = String, description = "RFC 7617, RFC 6750"))),
        (status = 403, description = "`UserBlocked`, `ActivationRequired`; `InvalidSignature`", body = ErrorBody),
    ),
    security(("basic" = []), ()),
)]
async fn log_in(
    State(auth): State<Auth>,
    State(ethereum): State<Ethereum>,
    draft: Draft,
    origin: Origin,
    credentials: Credentials,
) -> Result<SecretJson<AuthResponse>> {
    Ok(SecretJson(match credentials {
        Credentials::Basic(BasicCredentials { login, password }) => {
            AuthResponse::Account(auth.log_in(&login, &password, &origin, &draft).await?.into())
        }
        Credentials::Json(body) => AuthResponse::Stake(wallet::sign_in(&ethereum, body, &origin, &draft).await?),
    }))
}

/// Log out
///
/// Revokes the token that is used, and no other.
#[utoipa::path(
    delete,
    path = "/auth",
    tag = "Authentication",
    responses(
        Anywhere,
        (status = 204, description = "The token is dead"),
        NeedsAccount,
    ),
    security(("account" = [])),
)]
async fn log_out(State(auth): State<Auth>, Caller(caller): Caller) -> Result<StatusCode> {
    auth.log_out(&caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Client keys, or a refresh token.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct GrantRequest {
    /// `clientCredentials` or `refreshToken`
    #[schema(example = "clientCredentials")]
    grant_type: String,
    /// 40 hex digits; with `clientCredentials`
    #[schema(example = "1d1c6c2c6cb5a1b2f36c4f0a3f0c5f5a3a7c9d10", nullable = false)]
    client_id: Option<String>,
    /// 80 hex digits; with `clientCredentials`
    #[schema(
        example = "5f4dcc3b5aa765d61d8327deb882cf995f4dcc3b5aa765d61d8327deb882cf99b109f3bbbc244eb8",
        nullable = false
    )]
    client_secret: Option<String>,
    /// with `refreshToken`
    #[schema(example = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwOi8v.c2lnbmF0dXJl", nullable = false)]
    refresh_token: Option<String>,
}

/// Client tokens.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct GrantResponse {
    /// A JWT for the Nodes and Connect services, good for 1 hour.
    #[schema(example = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwOi8v.c2lnbmF0dXJl")]
    access_token: String,
    /// A JWT for this route, good for 1 year; with `refreshToken` the one that was given.
    #[schema(example = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwOi8v.c2lnbmF0dXJl")]
    refresh_token: String,
}

/// Get client tokens
///
/// With client keys, or with a refresh token. The Authorization header is ignored.
#[utoipa::path(
    post,
    path = "/auth/token",
    tag = "Authentication",
    request_body = GrantRequest,
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "The tokens", body = GrantResponse),
        BadJson,
        (status = 401, description = "`InvalidClientCredentials`, `InvalidRefreshToken`", body = ErrorBody,
         headers(("WWW-Authenticate" = String, description = "RFC 6750"))),
        (status = 403, description = "`UserBlocked`, `ActivationRequired`", body = ErrorBody),
    ),
)]
async fn grant(
    State(auth): State<Auth>,
    draft: Draft,
    JsonBody(mut body): JsonBody,
) -> Result<SecretJson<GrantResponse>> {
    let text = |text: &str| Ok(text.to_owned());
    // Hex digits have no case.
    let id = |text: &str| Ok(text.to_ascii_lowercase());
    let secret = |text: &str| Ok(PlainSecret::new(text));
    let tokens = match body.required("grantType", text).as_deref() {
        Some("clientCredentials") => {
            let (id, secret) = (body.required("clientId", id), body.required("clientSecret", secret));
            let (Some(id), Some(secret), true) = (id, secret, body.is_fine()) else { return Err(body.into_error()) };
            auth.grant_by_keys(&id, &secret, &draft).await?
        }
        Some("refreshToken") => {
            let token = body.required("refreshToken", secret);
            let (Some(token), true) = (token, body.is_fine()) else { return Err(body.into_error()) };
            auth.grant_by_refresh(token, &draft).await?
        }
        Some(_) => return Err(Code::UnsupportedGrantType.into()),
        None => {
            // Either grant's fields are known fields: only the missing one is worth a word.
            for name in ["clientId", "clientSecret", "refreshToken"] {
                body.optional(name, text);
            }
            return Err(body.into_error());
        }
    };
    let ClientTokens { access, refresh } = tokens;
    Ok(SecretJson(GrantResponse {
        access_token: access.expose().to_owned(),
        refresh_token: refresh.expose().to_owned(),
    }))
}
