//! `GET /users/me/keys`; the routes of each type, and of what is published, have files of their own.

mod bit;
mod pgp;
mod published;

use axum::extract::State;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::bit::{BitKeyView, BitKeysResponse};
use self::pgp::{PgpKeyView, PgpKeysResponse};
use super::{KeyType, UserKey, UserKeys};
use crate::app::App;
use crate::error::Result;
use crate::http::compression::SecretJson;
use crate::http::extract::Caller;
use crate::http::openapi::{Anywhere, NeedsAccount};

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_keys))
        .routes(routes!(pgp::list_pgp_keys, pgp::add_pgp_key))
        .routes(routes!(pgp::show_pgp_key, pgp::change_pgp_key, pgp::delete_pgp_key))
        .routes(routes!(pgp::prove_pgp_key))
        .routes(routes!(bit::list_bit_keys, bit::add_bit_key))
        .routes(routes!(bit::show_bit_key, bit::delete_bit_key))
        .routes(routes!(bit::prove_bit_key))
        .routes(routes!(published::published_keys))
        .routes(routes!(published::directory))
        .routes(routes!(published::directory_of_host))
        .routes(routes!(published::directory_policy))
        .routes(routes!(published::directory_policy_of_host))
}

/// Keys of both types, oldest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct KeysResponse {
    #[serde(flatten)]
    pgp: PgpKeysResponse,
    #[serde(flatten)]
    bit: BitKeysResponse,
}

impl KeysResponse {
    /// These keys, by type, without their armor.
    pub fn new(keys: &UserKeys, all: &[UserKey]) -> Self {
        let of = |key_type| all.iter().filter(move |key| key.key_type == key_type);
        Self {
            pgp: PgpKeysResponse { pgpkeys: of(KeyType::Pgp).map(|key| PgpKeyView::new(keys, key, false)).collect() },
            bit: BitKeysResponse { bitkeys: of(KeyType::Bit).map(|key| BitKeyView::new(keys, key)).collect() },
        }
    }
}

/// The public keys of the caller
#[utoipa::path(
    get,
    path = "/users/me/keys",
    tag = "User keys",
    responses(
        Anywhere,
        (status = 200, description = "The keys", body = KeysResponse),
        NeedsAccount,
    ),
    security(("account" = [])),
)]
async fn list_keys(State(keys): State<UserKeys>, Caller(caller): Caller) -> Result<SecretJson<KeysResponse>> {
    Ok(SecretJson(KeysResponse::new(&keys, &keys.list(caller.user.id).await?)))
}

/// The proof that a key is the caller's.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct ProofRequest {
    /// Under exactly the `verificationToken`: of OpenPGP a detached signature in ASCII armor, of Bitcoin one of BIP-137 or BIP-322 in
    /// Base64.
    #[schema(example = "-----BEGIN PGP SIGNATURE-----\n…\n-----END PGP SIGNATURE-----\n")]
    signature: String,
}
