//! OpenPGP keys: `/users/me/keys/pgp…`

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::{KeysResponse, ProofRequest};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::http::compression::SecretJson;
use crate::http::error::ErrorBody;
use crate::http::extract::{Caller, JsonBody, MergePatch, PathFields};
use crate::http::openapi::{Anywhere, BadJson, NeedsAccount, TooManyRequests, UnknownThing};
use crate::openpgp::email_of;
use crate::origin::Origin;
use crate::user_keys::{KeyType, UserKey, UserKeys};

/// A public key of OpenPGP.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgpKeyView {
    /// The fingerprint in lower-case hex.
    #[schema(example = "d1a66e1a23b182c9980f788cfbfcc82a015e7330")]
    id: String,
    /// The same.
    #[schema(example = "d1a66e1a23b182c9980f788cfbfcc82a015e7330")]
    fingerprint: String,
    /// The e-mail of its first user id; null when that has none.
    #[schema(example = "ada@example.com")]
    email: Option<String>,
    /// The primary one first.
    #[schema(example = json!(["Ada Lovelace <ada@example.com>"]))]
    user_ids: Vec<String>,
    /// Of the primary key, with its size or curve.
    #[schema(example = "RSA 3072")]
    algorithm: String,
    /// When the key was made.
    created_at: Timestamp,
    /// When its time is over; null when it has no end.
    expires_at: Option<Timestamp>,
    /// When it was given to us.
    added_at: Timestamp,
    /// When its owner proved to hold the secret key; null until then.
    verified_at: Option<Timestamp>,
    /// Whether mails with a token can be encrypted to it now, which they are when it is proved.
    #[schema(example = true)]
    encrypts: bool,
    /// Whether everybody may have it.
    #[schema(example = false)]
    published: bool,
    /// What is to be signed to prove it; null when it was, or when the text is over: then send the key again.
    #[schema(
        example = "The key d1a66e1a23b182c9980f788cfbfcc82a015e7330 belongs to user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11 of https://accounts.bloq.cloud (Qd4b6cs9OUOEoXiSx1n2m3)"
    )]
    verification_token: Option<String>,
    /// In ASCII armor; in lists left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n…\n-----END PGP PUBLIC KEY BLOCK-----\n")]
    keylist: Option<String>,
}

impl PgpKeyView {
    pub(super) fn new(keys: &UserKeys, key: &UserKey, with_armor: bool) -> Self {
        let openpgp = key.openpgp.clone().unwrap_or_default();
        Self {
            id: key.id.clone(),
            fingerprint: key.id.clone(),
            email: openpgp.user_ids.first().and_then(|id| email_of(id)).map(str::to_owned),
            user_ids: openpgp.user_ids,
            algorithm: openpgp.algorithm,
            created_at: openpgp.made_at.into(),
            expires_at: openpgp.expires_at.map(Timestamp::from),
            added_at: key.created_at.into(),
            verified_at: key.verified_at.map(Timestamp::from),
            encrypts: keys.encrypts(key),
            published: key.published,
            verification_token: keys.text_to_sign(key),
            keylist: with_armor.then_some(openpgp.certificate),
        }
    }
}

/// Keys of OpenPGP, oldest first.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct PgpKeysResponse {
    pub(super) pgpkeys: Vec<PgpKeyView>,
}

/// The OpenPGP keys of the caller
#[utoipa::path(
    get,
    path = "/users/me/keys/pgp",
    tag = "User keys",
    responses(
        Anywhere,
        (status = 200, description = "The keys", body = PgpKeysResponse),
        NeedsAccount,
    ),
    security(("account" = [])),
)]
pub(super) async fn list_pgp_keys(
    State(keys): State<UserKeys>,
    Caller(caller): Caller,
) -> Result<SecretJson<PgpKeysResponse>> {
    Ok(SecretJson(KeysResponse::new(&keys, &keys.list(caller.user.id).await?).pgp))
}

/// A public key.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct PgpKeyRequest {
    /// One key in ASCII armor, of at most 64 KiB without it.
    #[schema(example = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n…\n-----END PGP PUBLIC KEY BLOCK-----\n")]
    public_key: String,
}

/// Give an OpenPGP key
///
/// Of version 4 or 6. What others have signed is left out. To prove that it is yours, sign the `verificationToken` of the answer within
/// 24 hours. The same key again adds what is new about it; what it had revoked stays so. A copy that is revoked as a whole takes the key
/// off the account; of one that has expired the end is kept. A user may have 20 keys.
#[utoipa::path(
    post,
    path = "/users/me/keys/pgp",
    tag = "User keys",
    request_body = PgpKeyRequest,
    responses(
        Anywhere, TooManyRequests,
        (status = 201, description = "The key", body = PgpKeyView),
        BadJson,
        (status = 400, description = "`MalformedBody`, `ValidationFailed`; `InvalidKey`, `KeyTooLarge`, `SecretKey`, `NestedPacket`, \
                                      `KeyExpired`, `KeyRevoked`, `WeakKey`", body = ErrorBody),
        NeedsAccount,
        (status = 409, description = "`TooManyUserKeys`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
pub(super) async fn add_pgp_key(
    State(keys): State<UserKeys>,
    Caller(caller): Caller,
    origin: Origin,
    JsonBody(mut body): JsonBody,
) -> Result<(StatusCode, SecretJson<PgpKeyView>)> {
    let armor = body.required("publicKey", |text| Ok(text.to_owned()));
    let (Some(armor), true) = (armor, body.is_fine()) else { return Err(body.into_error()) };
    let key = keys.add_openpgp(caller.user.id, caller.by(), armor, &origin).await?;
    Ok((StatusCode::CREATED, SecretJson(PgpKeyView::new(&keys, &key, true))))
}

/// An OpenPGP key
#[utoipa::path(
    get,
    path = "/users/me/keys/pgp/{id}",
    tag = "User keys",
    params(("id" = String, Path, description = "The fingerprint in hex")),
    responses(
        Anywhere,
        (status = 200, description = "The key", body = PgpKeyView),
        NeedsAccount, UnknownThing,
    ),
    security(("account" = [])),
)]
pub(super) async fn show_pgp_key(
    State(keys): State<UserKeys>,
    Caller(caller): Caller,
    path: PathFields,
) -> Result<SecretJson<PgpKeyView>> {
    let key = keys.find(caller.user.id, KeyType::Pgp, &fingerprint(&path)).await?;
    Ok(SecretJson(PgpKeyView::new(&keys, &key, true)))
}

/// What can be changed about a key.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct PgpKeyPatch {
    /// Whether everybody may have the key: with `GET /users/{userId}/keys/pgp.asc`, and from the Web Key Directory for your e-mail.
    #[schema(example = true)]
    published: bool,
}

/// Publish an OpenPGP key, or not any more
///
/// A JSON merge patch (RFC 7396). Only a key whose ownership was proved can be published. The
/// directory has it under the e-mail of that moment: after a change of e-mail publish it again.
#[utoipa::path(
    patch,
    path = "/users/me/keys/pgp/{id}",
    tag = "User keys",
    params(("id" = String, Path, description = "The fingerprint in hex")),
    request_body(content(
        (PgpKeyPatch = "application/merge-patch+json"),
        (PgpKeyPatch = "application/json"),
    )),
    responses(
        Anywhere,
        (status = 200, description = "The key", body = PgpKeyView),
        BadJson, NeedsAccount, UnknownThing,
        (status = 409, description = "`KeyNotProved`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
pub(super) async fn change_pgp_key(
    State(keys): State<UserKeys>,
    Caller(caller): Caller,
    path: PathFields,
    MergePatch(mut body): MergePatch,
) -> Result<SecretJson<PgpKeyView>> {
    let published = body.change_flag("published");
    let published = body.staying("published", published);
    if !body.is_fine() {
        return Err(body.into_error());
    }
    let id = fingerprint(&path);
    let key = match published {
        Some(published) => keys.publish(caller.user.id, caller.by(), &id, published).await?,
        None => keys.find(caller.user.id, KeyType::Pgp, &id).await?,
    };
    Ok(SecretJson(PgpKeyView::new(&keys, &key, true)))
}

/// Delete an OpenPGP key
///
/// Mails are not encrypted to it any more, and nobody gets it from us.
#[utoipa::path(
    delete,
    path = "/users/me/keys/pgp/{id}",
    tag = "User keys",
    params(("id" = String, Path, description = "The fingerprint in hex")),
    responses(
        Anywhere,
        (status = 204, description = "It is gone"),
        NeedsAccount, UnknownThing,
    ),
    security(("account" = [])),
)]
pub(super) async fn delete_pgp_key(
    State(keys): State<UserKeys>,
    Caller(caller): Caller,
    origin: Origin,
    path: PathFields,
) -> Result<StatusCode> {
    keys.delete(caller.user.id, caller.by(), KeyType::Pgp, &fingerprint(&path), &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Prove an OpenPGP key
///
/// With a detached signature under its `verificationToken`, by the key or one of its signing subkeys. From then on nobody else can
/// prove it, and mails that hand out a token are encrypted to it as long as it `encrypts`. Again it changes nothing.
#[utoipa::path(
    post,
    path = "/users/me/keys/pgp/{id}/verification",
    tag = "User keys",
    params(("id" = String, Path, description = "The fingerprint in hex")),
    request_body = ProofRequest,
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "The key", body = PgpKeyView),
        BadJson,
        (status = 400, description = "`MalformedBody`, `ValidationFailed`; `ChallengeExpired`; `KeyExpired`", body = ErrorBody),
        NeedsAccount,
        (status = 403, description = "`InvalidSignature`, `Forbidden`, `UserBlocked`", body = ErrorBody),
        UnknownThing,
        (status = 409, description = "`KeyTaken`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
pub(super) async fn prove_pgp_key(
    State(keys): State<UserKeys>,
    Caller(caller): Caller,
    origin: Origin,
    path: PathFields,
    JsonBody(mut body): JsonBody,
) -> Result<SecretJson<PgpKeyView>> {
    let signature = body.required("signature", |text| Ok(text.to_owned()));
    let (Some(signature), true) = (signature, body.is_fine()) else { return Err(body.into_error()) };
    let (by, id) = (caller.by(), fingerprint(&path));
    let key = keys.prove(caller.user.id, by, KeyType::Pgp, &id, signature, &origin).await?;
    Ok(SecretJson(PgpKeyView::new(&keys, &key, true)))
}

/// The fingerprint of the path; hex digits have no case.
fn fingerprint(path: &PathFields) -> String {
    path.get("id").to_ascii_lowercase()
}
