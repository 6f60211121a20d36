//! Nonces, and addresses: those of the caller, and, for administrators, of anybody. Signing in is at the door of `auth`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Ethereum, PostedAddress, Proof, SignedAt, Wallet, WalletAddress, WalletSignature};
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Problem, Result};
use crate::events::Draft;
use crate::http::error::ErrorBody;
use crate::http::extract::{Admin, Caller, FullAdmin, JsonBody, PathFields};
use crate::http::fields::Fields;
use crate::http::openapi::{Anywhere, BadJson, BadRequest, NeedsAccount, TooManyRequests, UnknownThing};
use crate::origin::Origin;
use crate::users::Users;
use crate::users::http::named;

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show_nonce, make_nonce))
        .routes(routes!(show_nonce_of_auth, make_nonce_of_auth))
        .routes(routes!(list_addresses, link_address))
        .routes(routes!(unlink_address))
        .routes(routes!(make_link_nonce))
        .routes(routes!(list_addresses_of_user))
        .routes(routes!(enable_address, disable_address))
}

/// What a wallet is to sign once.
#[derive(Serialize, utoipa::ToSchema)]
struct NonceResponse {
    #[schema(example = "Qd4b6cs9OUOEoXiSx", pattern = "^[0-9A-Za-z]{17}$")]
    nonce: String,
}

/// An Ethereum address of a user.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressView {
    /// With the checksum of EIP-55.
    #[schema(example = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")]
    address: String,
    /// When its user proved to hold the key; null: an administrator enabled it without.
    linked_at: Option<Timestamp>,
    /// Since when it signs its user in; null: it does not.
    enabled_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl From<Wallet> for AddressView {
    fn from(wallet: Wallet) -> Self {
        Self {
            address: wallet.address.to_string(),
            linked_at: wallet.linked_at.map(Timestamp::from),
            enabled_at: wallet.enabled_at.map(Timestamp::from),
            created_at: wallet.created_at.into(),
        }
    }
}

/// One question at four places (bloqstake-auth.md section 6).
macro_rules! nonce_route {
    ($name:ident, $method:tt, $path:tt) => {
        /// What a wallet is to sign
        ///
        /// To get a token: with `POST /auth`, or in a message of EIP-4361 with `POST /auth/siwe`. Good for 10 minutes and one token;
        /// asked again within 5 minutes it is the same one, and a later one takes nothing from it. `GET` and `POST` are the same, and so
        /// are the two paths.
        #[utoipa::path(
            $method,
            path = $path,
            tag = "Wallets",
            params(("publicAddress" = String, Path, description = "In lower case, or with the checksum of EIP-55")),
            responses(
                Anywhere, TooManyRequests,
                (status = 200, description = "The nonce", body = NonceResponse),
                BadRequest,
                (status = 404, description = "`NotFound`: the address is not enabled", body = ErrorBody),
            ),
        )]
        async fn $name(State(ethereum): State<Ethereum>, draft: Draft, path: PathFields) -> Result<Json<NonceResponse>> {
            let nonce = ethereum.sign_in_nonce(address(&path, "publicAddress")?, &draft).await?;
            Ok(Json(NonceResponse { nonce }))
        }
    };
}

nonce_route!(make_nonce, post, "/users/{publicAddress}/nonce");
nonce_route!(show_nonce, get, "/users/{publicAddress}/nonce");
nonce_route!(make_nonce_of_auth, post, "/auth/users/{publicAddress}/nonce");
nonce_route!(show_nonce_of_auth, get, "/auth/users/{publicAddress}/nonce");

/// Reads what is needed to put the message together once more.
///
/// # Errors
/// `ValidationFailed`.
pub fn proof(mut body: Fields) -> Result<Proof> {
    let posted = body.required("address", PostedAddress::parse);
    let signature = body.required("signature", WalletSignature::parse);
    let signed_at = body.required("signedAt", SignedAt::parse);
    match (posted, signature, signed_at, body.is_fine()) {
        (Some(posted), Some(signature), Some(signed_at), true) => Ok(Proof { posted, signed_at, signature }),
        _ => Err(body.into_error()),
    }
}

/// The addresses of the caller
///
/// Oldest first.
#[utoipa::path(
    get,
    path = "/users/me/addresses",
    tag = "Wallets",
    responses(
        Anywhere,
        (status = 200, description = "The addresses", body = Vec<AddressView>),
        NeedsAccount,
    ),
    security(("account" = [])),
)]
async fn list_addresses(State(ethereum): State<Ethereum>, Caller(caller): Caller) -> Result<Json<Vec<AddressView>>> {
    Ok(Json(ethereum.list(caller.user.id).await?.into_iter().map(AddressView::from).collect()))
}

/// What a wallet is to sign to be linked
///
/// Good for 10 minutes, for this account and this address alone; asked again within 5 minutes it is the same one.
#[utoipa::path(
    post,
    path = "/users/me/addresses/{address}/nonce",
    tag = "Wallets",
    params(("address" = String, Path, description = "In lower case, or with the checksum of EIP-55")),
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "The nonce", body = NonceResponse),
        BadRequest, NeedsAccount,
    ),
    security(("account" = [])),
)]
async fn make_link_nonce(
    State(ethereum): State<Ethereum>,
    Caller(caller): Caller,
    path: PathFields,
) -> Result<Json<NonceResponse>> {
    let nonce = ethereum.link_nonce(&caller.user, caller.by(), address(&path, "address")?).await?;
    Ok(Json(NonceResponse { nonce }))
}

/// The signature of a wallet that is to be linked.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct LinkRequest {
    /// In lower case, or with the checksum of EIP-55.
    #[schema(example = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")]
    address: String,
    /// 65 bytes r, s, v (EIP-191) as 130 hex digits.
    #[schema(
        pattern = "^0x[0-9a-fA-F]{130}$",
        example = "0xb91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a0291c"
    )]
    signature: String,
    /// The `Issued At` of the message, letter by letter.
    #[schema(example = "2022-07-11T18:23:22.513Z", format = DateTime)]
    signed_at: String,
}

/// Link an address
///
/// By a signature under the message of `POST /auth`, with the statement `Link this address to Bloq account <user id>` and the nonce
/// of `POST /users/me/addresses/{address}/nonce`. An administrator has to enable it before it signs anybody in.
#[utoipa::path(
    post,
    path = "/users/me/addresses",
    tag = "Wallets",
    request_body = LinkRequest,
    responses(
        Anywhere, TooManyRequests,
        (status = 201, description = "The address", body = AddressView),
        BadJson, NeedsAccount,
        (status = 403, description = "`InvalidSignature`, `Forbidden`, `UserBlocked`", body = ErrorBody),
        (status = 409, description = "`AddressTaken`, `TooManyAddresses`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
async fn link_address(
    State(ethereum): State<Ethereum>,
    Caller(caller): Caller,
    origin: Origin,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<AddressView>)> {
    let wallet = ethereum.link(&caller.user, caller.by(), &proof(body)?, &origin).await?;
    Ok((StatusCode::CREATED, Json(wallet.into())))
}

/// Remove an address
///
/// It signs nobody in any more, also if an administrator had enabled it, and account tokens that were got with it end; tokens for the
/// staking routes live out their time.
#[utoipa::path(
    delete,
    path = "/users/me/addresses/{address}",
    tag = "Wallets",
    params(("address" = String, Path, description = "In lower case, or with the checksum of EIP-55")),
    responses(
        Anywhere,
        (status = 204, description = "It is gone"),
        BadRequest, NeedsAccount, UnknownThing,
    ),
    security(("account" = [])),
)]
async fn unlink_address(
    State(ethereum): State<Ethereum>,
    Caller(caller): Caller,
    path: PathFields,
) -> Result<StatusCode> {
    ethereum.unlink(caller.user.id, caller.by(), address(&path, "address")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The addresses of a user
///
/// For administrators, also those who may only read. Oldest first. `userId` may also be the e-mail or the login name.
#[utoipa::path(
    get,
    path = "/users/{userId}/addresses",
    tag = "Administration",
    params(("userId" = String, Path, description = "User id, e-mail or login name")),
    responses(
        Anywhere,
        (status = 200, description = "The addresses", body = Vec<AddressView>),
        NeedsAccount, UnknownThing,
        (status = 409, description = "`SeveralSignUps`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
async fn list_addresses_of_user(
    State(users): State<Users>,
    State(ethereum): State<Ethereum>,
    _admin: Admin,
    draft: Draft,
    path: PathFields,
) -> Result<Json<Vec<AddressView>>> {
    let user = named(&users, &path, &draft).await?;
    Ok(Json(ethereum.list(user.id).await?.into_iter().map(AddressView::from).collect()))
}

/// Enable an address
///
/// For administrators. From now on whoever holds the key of the address can sign in as this user, who is told by mail. `userId` may
/// also be the e-mail or the login name.
#[utoipa::path(
    put,
    path = "/users/{userId}/addresses/{address}",
    tag = "Administration",
    params(
        ("userId" = String, Path, description = "User id, e-mail or login name"),
        ("address" = String, Path, description = "In lower case, or with the checksum of EIP-55"),
    ),
    responses(
        Anywhere,
        (status = 200, description = "The address", body = AddressView),
        BadRequest, NeedsAccount, UnknownThing,
        (status = 409, description = "`AddressTaken`, `TooManyAddresses`, `SeveralSignUps`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
async fn enable_address(
    State(users): State<Users>,
    State(ethereum): State<Ethereum>,
    FullAdmin(admin): FullAdmin,
    draft: Draft,
    path: PathFields,
) -> Result<Json<AddressView>> {
    let address = address(&path, "address")?;
    let user = named(&users, &path, &draft).await?;
    Ok(Json(ethereum.enable(user.id, address, admin.by()).await?.into()))
}

/// Disable an address
///
/// For administrators. It signs nobody in any more, and account tokens that were got with it end; tokens for the staking routes live
/// out their time. If its user has linked it, it stays linked; one that is not enabled is taken off the account. `userId` may also
/// be the e-mail or the login name.
#[utoipa::path(
    delete,
    path = "/users/{userId}/addresses/{address}",
    tag = "Administration",
    params(
        ("userId" = String, Path, description = "User id, e-mail or login name"),
        ("address" = String, Path, description = "In lower case, or with the checksum of EIP-55"),
    ),
    responses(
        Anywhere,
        (status = 204, description = "It is disabled"),
        BadRequest, NeedsAccount, UnknownThing,
        (status = 409, description = "`SeveralSignUps`", body = ErrorBody),
    ),
    security(("account" = [])),
)]
async fn disable_address(
    State(users): State<Users>,
    State(ethereum): State<Ethereum>,
    FullAdmin(admin): FullAdmin,
    draft: Draft,
    path: PathFields,
) -> Result<StatusCode> {
    let address = address(&path, "address")?;
    let user = named(&users, &path, &draft).await?;
    ethereum.disable(user.id, address, admin.by()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The address that the path names.
fn address(path: &PathFields, name: &str) -> Result<WalletAddress> {
    WalletAddress::parse(path.get(name)).map_err(|reason| Error::invalid_fields(vec![Problem::new(name, reason)]))
}
