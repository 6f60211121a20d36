//! `GET /.well-known/jwks.json`

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use jsonwebtoken::jwk::JwkSet;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::SigningKeys;
use crate::app::App;
use crate::http::openapi::Static;

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(jwks))
}

/// The public keys that verify our tokens
///
/// A JSON Web Key Set (RFC 7517). Choose the key by the `kid` of the token's header and accept only the `alg` that the
/// key names.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "Service",
    responses((status = 200, description = "The key set", body = Object, example = json!({"keys": [{
        "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256",
        "kid": "kSW1vvK7ULsSZRC3qULbLxrF5VmZ9fdOe9uT0r8yTAI",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    }]})), Static)
)]
async fn jwks(State(keys): State<SigningKeys>) -> impl IntoResponse {
    // Five minutes: long enough to spare us, short enough for a rotation.
    ([(CACHE_CONTROL, "public, max-age=300")], Json::<JwkSet>(keys.jwks().clone()))
}
