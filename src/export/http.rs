//! `GET /users/me/export`

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{Export, Holdings};
use crate::app::App;
use crate::client_keys::http::ClientKeyView;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::ethereum::http::AddressView;
use crate::events::http::{EventView, Reader, download};
use crate::events::{Event, Filter, Order, Whose};
use crate::http::extract::Caller;
use crate::http::openapi::{Anywhere, NeedsAccount, TooManyRequests};
use crate::tokens::http::TokenView;
use crate::user_keys::UserKeys;
use crate::user_keys::http::KeysResponse;
use crate::users::http::ProfileView;
use crate::users::{AccessLevel, BlockCause};
use crate::verification::Purpose;

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export))
}

/// Everything we hold about a user.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ExportView {
    profile: ProfileView,
    account: AccountView,
    /// Live ones, the newest 1,000.
    account_tokens: Vec<TokenView>,
    application_keys: Vec<ApplicationKeyView>,
    client_keys: Vec<ClientKeyView>,
    /// OpenPGP keys and Bitcoin addresses.
    user_keys: KeysResponse,
    /// Ethereum addresses.
    addresses: Vec<AddressView>,
    /// Of the last ten minutes.
    idempotency_keys: Vec<IdempotencyKeyView>,
    /// Tokens that were sent by mail and are not over yet, or proved the e-mail.
    one_time_tokens: Vec<OneTimeTokenView>,
    /// Where the account was logged in to in the last 90 days, newest first.
    log_ins: Vec<LogInView>,
    /// Of the last week; what they said is not kept.
    mails: Vec<MailView>,
    /// All of them, oldest first.
    events: Vec<EventView>,
}

/// What the profile does not show.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct AccountView {
    #[schema(example = "ada")]
    login_name: Option<String>,
    access_level: AccessLevel,
    #[schema(example = false)]
    read_only: bool,
    blocked_by: Option<BlockCause>,
    #[schema(example = 0)]
    failed_login_attempts: i32,
    activated_at: Option<Timestamp>,
    activation_expires_at: Option<Timestamp>,
}

/// An application key, without its secret.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApplicationKeyView {
    #[schema(example = "0d29971f687991a2gR3uYxA007P1kQ4z", pattern = "^[0-9a-zA-Z]{32}$")]
    id: String,
    #[schema(example = "surveillance camera")]
    purpose: String,
    /// `authorized` or `admin`; the account's own level bounds it.
    #[schema(example = "authorized")]
    access_level: AccessLevel,
    #[schema(example = false)]
    read_only: bool,
    /// Whether services may take it as the password of HTTP Basic; this one does not.
    #[schema(example = false)]
    http: bool,
    created_at: Timestamp,
}

/// A one-time token, without the token.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct OneTimeTokenView {
    #[schema(example = "passwordReset")]
    purpose: &'static str,
    created_at: Timestamp,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
    /// The address it proves, where that is not the user's yet.
    #[schema(example = "ada.king@example.com")]
    email: Option<String>,
}

/// A creation of a client key that can be repeated.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct IdempotencyKeyView {
    #[schema(example = "build-server-1")]
    key: String,
    #[schema(example = "1d1c6c2c6cb5a1b2f36c4f0a3f0c5f5a3a7c9d10")]
    client_id: String,
    created_at: Timestamp,
}

/// A place and a program from which somebody logged in.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct LogInView {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    #[schema(example = "203.0.113.9/32")]
    network: String,
    #[schema(example = "curl/8.5.0")]
    user_agent: Option<String>,
    first_at: Timestamp,
    /// Give or take an hour.
    last_at: Timestamp,
}

/// A mail, without its text.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct MailView {
    #[schema(example = "verification")]
    template: String,
    #[schema(example = "ada@example.com")]
    recipient: String,
    created_at: Timestamp,
    sent_at: Option<Timestamp>,
    failed_at: Option<Timestamp>,
}

impl ExportView {
    /// As the bearer of the token `current` sees it.
    fn new(holdings: Holdings, current: Uuid, keys: &UserKeys) -> Self {
        let user = &holdings.user;
        let account = AccountView {
            login_name: user.login_name.clone(),
            access_level: user.access_level,
            read_only: user.read_only,
            blocked_by: user.block_cause,
            failed_login_attempts: user.failed_login_attempts,
            activated_at: user.activated_at.map(Timestamp::from),
            activation_expires_at: user.activation_expires_at.map(Timestamp::from),
        };
        let application_keys = holdings.application_keys.into_iter().map(|key| ApplicationKeyView {
            id: key.id,
            purpose: key.purpose,
            access_level: key.level,
            read_only: key.read_only,
            http: key.http,
            created_at: key.created_at.into(),
        });
        let one_time_tokens = holdings.one_time_tokens.into_iter().map(|token| OneTimeTokenView {
            purpose: match token.purpose {
                Purpose::EmailVerification => "emailVerification",
                Purpose::PasswordReset => "passwordReset",
                Purpose::EmailChange => "emailChange",
                Purpose::Invitation => "invitation",
            },
            created_at: token.created_at.into(),
            expires_at: token.expires_at.into(),
            used_at: token.used_at.map(Timestamp::from),
            email: token.email,
        });
        let log_ins = holdings.log_ins.into_iter().map(|place| LogInView {
            network: place.network.to_string(),
            user_agent: place.agent,
            first_at: place.first_at.into(),
            last_at: place.last_at.into(),
        });
        let mails = holdings.mails.into_iter().map(|mail| MailView {
            template: mail.template,
            recipient: mail.recipient,
            created_at: mail.created_at.into(),
            sent_at: mail.sent_at.map(Timestamp::from),
            failed_at: mail.failed_at.map(Timestamp::from),
        });
        let creations = holdings.creations.into_iter().map(|kept| IdempotencyKeyView {
            key: kept.idempotency_key,
            client_id: kept.client_key_id,
            created_at: kept.created_at.into(),
        });
        let account_tokens = holdings.account_tokens.into_iter().map(|token| TokenView::new(token, current));
        Self {
            account,
            account_tokens: account_tokens.collect(),
            application_keys: application_keys.collect(),
            client_keys: holdings.client_keys.into_iter().map(ClientKeyView::from).collect(),
            user_keys: KeysResponse::new(keys, &holdings.user_keys),
            addresses: holdings.wallets.into_iter().map(AddressView::from).collect(),
            idempotency_keys: creations.collect(),
            one_time_tokens: one_time_tokens.collect(),
            log_ins: log_ins.collect(),
            mails: mails.collect(),
            events: Vec::new(),
            profile: (&holdings.user).into(),
        }
    }
}

/// Everything we hold about the caller
///
/// Written while it is read, however many events there are. An answer that ends before its last brace is not whole, and
/// its connection is broken off, also when its token dies meanwhile: ask again. Two may be under way at each server.
#[utoipa::path(
    get,
    path = "/users/me/export",
    tag = "Users",
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "All of it", body = ExportView),
        NeedsAccount,
    ),
    security(("account" = [])),
)]
async fn export(State(export): State<Export>, Caller(caller): Caller, reader: Reader) -> Result<Response> {
    let user = caller.user.id;
    let place = export.feed.place(user)?;
    let view = ExportView::new(export.gather(user).await?, caller.token_id, &export.user_keys);
    let whole = serde_json::to_string(&view).map_err(anyhow::Error::from)?;
    // The list of events is the last member, and empty: they follow where it was opened.
    let Some(head) = whole.strip_suffix("]}") else {
        return Err(anyhow::anyhow!("an export does not end with its events").into());
    };
    let mut is_first = true;
    let write = move |events: Vec<Event>, piece: &mut Vec<u8>| {
        for event in events {
            if !std::mem::take(&mut is_first) {
                piece.push(b',');
            }
            serde_json::to_writer(&mut *piece, &EventView::from(event)).map_err(anyhow::Error::from)?;
        }
        Ok(())
    };
    let walk = export.feed.walk(Whose::User(user), &Filter::default(), Order::OldestFirst, place);
    let headers =
        [(CONTENT_TYPE, "application/json"), (CONTENT_DISPOSITION, "attachment; filename=\"bloq-account.json\"")];
    Ok((headers, download(head.into(), walk, reader, write, "]}")).into_response())
}
