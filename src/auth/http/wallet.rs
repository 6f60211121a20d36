//! What wallets get: the JSON body of `POST /auth`, and `POST /auth/siwe`.

use axum::extract::State;
use serde::Serialize;

use super::LogInResponse;
use crate::error::Result;
use crate::ethereum::http::proof;
use crate::ethereum::{Ethereum, SignInMessage, WalletSignature};
use crate::events::Draft;
use crate::http::compression::SecretJson;
use crate::http::extract::JsonBody;
use crate::http::fields::Fields;
use crate::http::openapi::{Anywhere, BadJson, TooManyRequests, WalletSignIn};
use crate::origin::Origin;
use crate::secret::PlainSecret;

/// The signature of a wallet under our message.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
pub(super) struct WalletRequest {
    /// In lower case, or with the checksum of EIP-55.
    #[schema(example = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")]
    address: String,
    /// `stake` (or `staking`)
    #[schema(example = "stake")]
    service: String,
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

/// A token for the staking routes.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct StakeResponse {
    /// A JWT, good for 12 hours.
    #[schema(example = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwOi8v.c2lnbmF0dXJl")]
    token: String,
}

impl From<PlainSecret> for StakeResponse {
    fn from(token: PlainSecret) -> Self {
        Self { token: token.expose().to_owned() }
    }
}

/// Gives a token for the staking routes to a wallet.
pub(super) async fn sign_in(
    ethereum: &Ethereum,
    mut body: Fields,
    origin: &Origin,
    draft: &Draft,
) -> Result<StakeResponse> {
    body.required("service", service);
    Ok(ethereum.sign_in(&proof(body)?, origin, draft).await?.into())
}

/// Reads what a wallet signs in for.
fn service(text: &str) -> Result<(), String> {
    if ["stake", "staking"].contains(&text) { Ok(()) } else { Err("must be stake".into()) }
}

/// A message of EIP-4361 and the signature of its address.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "for the document; http/fields.rs reads the body")]
struct MessageRequest {
    /// For `wallet.siwe_domain` and `wallet.chain_id`, with a nonce of ours.
    #[schema(
        example = "accounts.bloq.cloud wants you to sign in with your Ethereum account:\n0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed\n\n\nURI: https://accounts.bloq.cloud\nVersion: 1\nChain ID: 1\nNonce: Qd4b6cs9OUOEoXiSx\nIssued At: 2022-07-11T18:23:22.513Z"
    )]
    message: String,
    /// 65 bytes r, s, v (EIP-191) as 130 hex digits.
    #[schema(
        pattern = "^0x[0-9a-fA-F]{130}$",
        example = "0xb91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a0291c"
    )]
    signature: String,
}

/// Sign in with Ethereum
///
/// With a message of EIP-4361 that the wallet has put together: for our domain and a URI there, our chain, a nonce of
/// `POST /users/{publicAddress}/nonce`, issued at most 10 minutes ago, neither expired nor before its time. The token is an account
/// token as of `POST /auth`, which the staking routes take as well.
#[utoipa::path(
    post,
    path = "/auth/siwe",
    tag = "Wallets",
    request_body = MessageRequest,
    responses(
        Anywhere, TooManyRequests,
        (status = 200, description = "A token for every Accounts operation", body = LogInResponse),
        BadJson, WalletSignIn,
    ),
)]
pub(super) async fn sign_in_with_message(
    State(ethereum): State<Ethereum>,
    draft: Draft,
    origin: Origin,
    JsonBody(mut body): JsonBody,
) -> Result<SecretJson<LogInResponse>> {
    let message = body.required("message", SignInMessage::parse);
    let signature = body.required("signature", WalletSignature::parse);
    let (Some(message), Some(signature), true) = (message, signature, body.is_fine()) else {
        return Err(body.into_error());
    };
    Ok(SecretJson(ethereum.sign_in_with_message(&message, &signature, &origin, &draft).await?.into()))
}
