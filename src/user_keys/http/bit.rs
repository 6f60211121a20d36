//! Bitcoin addresses: `/users/me/keys/bit…`

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::{KeysResponse, ProofRequest};
use crate::clock::Timestamp;
use crate::error::{Code, Result};
use crate::http::compression::SecretJson;
use crate::http::error::ErrorBody;
use crate::http::extract::{Caller, JsonBody, PathFields};
use crate::http::openapi::{Anywhere, BadJson, NeedsAccount, TooManyRequests, UnknownThing};
use crate::origin::Origin;
use crate::user_keys::{BitcoinAddress, KeyType, UserKey, UserKeys};

/// A Bitcoin address.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BitKeyView {
    /// The address.
    #[schema(example = "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l")]
    id: String,
    /// The same.
    #[schema(example = "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l")]
    address: String,
    /// When it was given to us.
    added_at: Timestamp,
    /// When its owner proved to hold the secret key; null until then.
    verified_at: Option<Timestamp>,
    /// What is to be signed to prove it; null when it was, or when the text is over: then send the address again.
    #[schema(
        example = "The address bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l belongs to user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11 of https://accounts.bloq.cloud (Qd4b6cs9OUOEoXiSx1n2m3)"
    )]
    verification_token: Option<String>,
}

impl BitKeyView {
    pub(super) fn new(keys: &UserKeys, key: &UserKey) -> Self {
        Self {
            id: key.id.clone(),
            address: key.id.clone(),
            added_at: key.created_at.into(),
            verified_at: key.verified_at.map(Timestamp::from),
            verification_token: keys.text_to_sign(key),
        }
    }
}

/// Bitcoin addresses, oldest first.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct BitKeysResponse {
    pub(super) bitkeys: Vec<BitKeyView>,
}

/// The Bitcoin addresses of the caller
#[utoipa::path(
    get,
    path = "/users/me/keys/bit",
    tag = "User keys",
    responses(
        Anywhere,
        (status = 200, description = "The addresses", body = BitKeysResponse),
        NeedsAccount,
    ),
    security(("account" = [])),
)]
pub(super) async fn list_bit_keys(
    State(keys): State<UserKeys>,
    Caller(caller): Caller,
) -> Result<SecretJson<BitKeysResponse>> {
    Ok(SecretJson(KeysResponse::new(&keys, &keys.list(caller.user.id).await?).bit))
}

/// A Bitcoin address.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct BitKeyRequest {
    /// Of the main network: Base58, P2WPKH or Taproot.
    #[schema(example = "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l")]
    address: String,
}

/// Give a Bitcoin address
///
/// To prove that it is yours, sign the `verificationToken` of the answer within 24 hours. A user may have 20 keys.
#[utoipa::path(
    post,
    path = "/users/me/keys/bit",
    tag = "User keys",
    request_body = BitKeyRequest,
    responses(
        Anywhere,
        (status = 201, description = "The address", body = BitKeyView),
        BadJson, NeedsAccount,
        (status = 409, description = "`TooManyUserKeys`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
pub(super) async fn add_bit_key(
    State(keys): State<UserKeys>,
    Caller(caller): Caller,
    JsonBody(mut body): JsonBody,
) -> Result<(StatusCode, SecretJson<BitKeyView>)> {
    let address = body.required("address", BitcoinAddress::parse);
    let (Some(address), true) = (address, body.is_fine()) else { return Err(body.into_error()) };
    let key = keys.add_bitcoin(caller.user.id, caller.by(), &address).await?;
    Ok((StatusCode::CREATED, SecretJson(BitKeyView::new(&keys, &key))))
}

/// A Bitcoin address
#[utoipa::path(
    get,
    path = "/users/me/keys/bit/{id}",
    tag = "User keys",
    params(("id" = String, Path, description = "The address")),
    responses(
        Anywhere,
        (status = 200, description = "The address", body = BitKeyView),
        NeedsAccount, UnknownThing,
    ),
    security(("account" = [])),
)]
pub(super) async fn show_bit_key(
    State(keys): State<UserKeys>,
    Caller(caller): Caller,
    path: PathFields,
) -> Result<SecretJson<BitKeyView>> {
    let key = keys.find(caller.user.id, KeyType::Bit, &bitcoin_address(&path)?).await?;
    Ok(SecretJson(BitKeyView::new(&keys, &key)))
}

/// Delete a Bitcoin address
#[utoipa::path(
    delete,
    path = "/users/me/keys/bit/{id}",
    tag = "User keys",
    params(("id" = String, Path, description = "The address")),
    responses(
        Anywhere,
        (status = 204, description = "It is gone"),
        NeedsAccount, UnknownThing,
    ),
    security(("account" = [])),
)]
pub(super) async fn delete_bit_key(
    State(keys): State<UserKeys>,
    Caller(caller): Caller,
    origin: Origin,
    path: PathFields,
) -> Result<StatusCode> {
    keys.delete(caller.user.id, caller.by(), KeyType::Bit, &bitcoin_address(&path)?, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Prove a Bitcoin address
///
/// With a signature under its `verificationToken`: of BIP-137, or of BIP-322, which Taproot needs. From then on nobody else can prove
/// it. Again it changes nothing.
#[utoipa::path(
    post,
    path = "/users/me/keys/bit/{id}/verification",
    tag = "User keys",
    params(("id" = String, Path, description = "The address")),
    request_body = ProofRequest,
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "The address", body = BitKeyView),
        BadJson,
        (status = 400, description = "`MalformedBody`, `ValidationFailed`; `ChallengeExpired`", body = ErrorBody),
        NeedsAccount,
        (status = 403, description = "`InvalidSignature`, `Forbidden`, `UserBlocked`", body = ErrorBody),
        UnknownThing,
        (status = 409, description = "`KeyTaken`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
pub(super) async fn prove_bit_key(
    State(keys): State<UserKeys>,
    Caller(caller): Caller,
    origin: Origin,
    path: PathFields,
    JsonBody(mut body): JsonBody,
) -> Result<SecretJson<BitKeyView>> {
    let signature = body.required("signature", |text| Ok(text.to_owned()));
    let (Some(signature), true) = (signature, body.is_fine()) else { return Err(body.into_error()) };
    let (by, id) = (caller.by(), bitcoin_address(&path)?);
    let key = keys.prove(caller.user.id, by, KeyType::Bit, &id, signature, &origin).await?;
    Ok(SecretJson(BitKeyView::new(&keys, &key)))
}

/// The address of the path as we write it. What is none is nobody's.
fn bitcoin_address(path: &PathFields) -> Result<String> {
    let address = BitcoinAddress::parse(path.get("id")).map_err(|_| Code::NotFound)?;
    Ok(address.to_string())
}
